//! What `verify` makes of bundles that say too little, or have more in them than they say.

use std::fs;

use serde_json::Value;

use crate::keys::{public, ssh_key};
use crate::site::Site;

const VERIFY: [&str; 4] = ["verify", "ready", "--allowed-signers", "signers"];

/// A site with a bundle, prepared with these arguments, and a key.
fn site(more: &[&str]) -> Site {
    let site = Site::new();
    site.mke2fs("root.img", "16M", &["-t", "ext4"]);
    let key = public(&ssh_key(&site, "key", &["-t", "ed25519"], ""));
    site.write("signers", format!("alice@site {key}\n"));
    site.job("ext4", "root.img");
    site.succeeds(&[&["prepare", "job.xml", "-o", "ready"], more].concat());
    sign(&site);
    site
}

fn sign(site: &Site) {
    site.succeeds(&["sign", "ready", "--key", "key", "--force"]);
}

#[test]
fn a_bundle_without_digests_is_refused_unless_that_is_asked_for() {
    let site = site(&["--no-digests"]);
    let stderr = site.fails(&VERIFY);
    assert!(
        stderr.starts_with("error: `ready`: its manifest has no digests of its files"),
        "{stderr}"
    );
    let found = site.succeeds(&[&VERIFY[..], &["--manifest-only"]].concat());
    assert_eq!(found.lines().last(), Some("  files    not looked at"));
}

#[test]
fn a_file_that_was_not_signed_is_refused() {
    let site = site(&[]);
    site.succeeds(&VERIFY);
    for name in [".hidden", "hook.sh", "manifest.json.minisig.sig"] {
        site.write(&format!("ready/{name}"), "");
        let expected = format!(
            "error: `ready`: changed: its file `{name}` is none of those that were signed\n"
        );
        assert!(site.fails(&VERIFY).starts_with(&expected), "{}", site.fails(&VERIFY));
        fs::remove_file(site.path("ready").join(name)).unwrap();
    }
    fs::create_dir(site.path("ready/more")).unwrap();
    assert!(site.fails(&VERIFY).contains("its file `more` is none of those"));
}

#[test]
fn a_manifest_of_another_format_is_refused() {
    let site = site(&[]);
    let text = fs::read_to_string(site.path("ready/manifest.json")).unwrap();
    for (format, expected) in [
        ("\"format\": 2", "not supported: a manifest of format 2"),
        ("\"formal\": 1", "garbled manifest: missing field `format`"),
    ] {
        site.write("ready/manifest.json", text.replace("\"format\": 1", format));
        sign(&site);
        for more in [&[][..], &["--manifest-only"]] {
            let stderr = site.fails(&[&VERIFY[..], more].concat());
            assert!(stderr.contains(expected), "{stderr}");
        }
    }
}

#[test]
fn a_disk_outside_of_the_bundle_is_named() {
    let site = site(&["--in-place"]);
    let image = site.path("root.img").canonicalize().unwrap();
    let line = format!("  outside  xvda is {}, which was not looked at", image.display());
    assert_eq!(site.succeeds(&VERIFY).lines().last(), Some(line.as_str()));
    let found = site.succeeds(&[&VERIFY[..], &["--json"]].concat());
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["outside"][0]["image"], image.to_str().unwrap());
}
