//! Every refusal by its name, as the command tells it.

use std::fs;

use crate::keys::{public, ssh_key, ssh_verify};
use crate::site::{Site, run, text};

/// An image that alice has signed.
fn site() -> (Site, String) {
    let site = Site::new();
    site.write("root.img", "bytes");
    let key = public(&ssh_key(&site, "key", &["-t", "ed25519"], ""));
    site.write("signers", format!("alice@site {key}\n"));
    site.succeeds(&["sign", "root.img", "--key", "key", "--expires", "90d"]);
    (site, key)
}

const VERIFY: [&str; 4] = ["verify", "root.img", "--allowed-signers", "signers"];

#[test]
fn refusals_name_their_rule() {
    let (site, key) = site();
    let fails = |site: &Site| {
        let stderr = site.fails(&VERIFY);
        stderr.lines().next().unwrap().strip_prefix("error: `root.img`: ").unwrap().to_owned()
    };
    let [manifest, signature] =
        ["root.img.manifest", "root.img.manifest.sig"].map(|name| site.path(name));
    let [good_manifest, good_signature] =
        [&manifest, &signature].map(|path| fs::read(path).unwrap());
    site.succeeds(&VERIFY);
    // Changed.
    site.write("root.img", "bytez");
    assert_eq!(fails(&site), "changed: it is not what was signed, its digest is another");
    site.write("root.img", "more bytes");
    assert_eq!(fails(&site), "changed: 10 bytes long, and 5 bytes were signed");
    site.write("root.img", "bytes");
    // Somebody else, or somebody who is not asked for.
    let stderr = site.fails(&[&VERIFY[..], &["--signer", "release@*"]].concat());
    assert!(
        stderr.contains("wrong signer: signed by `alice@site`, and `release@*` is asked for"),
        "{stderr}"
    );
    site.succeeds(&[&VERIFY[..], &["--signer", "*@site"]].concat());
    site.write("signers", "");
    assert!(fails(&site).starts_with("unknown key: SHA256:"), "{}", fails(&site));
    site.write("signers", format!("alice@site valid-before=\"20200101Z\" {key}\n"));
    assert!(fails(&site).ends_with(" was valid until 2020-01-01T00:00:00Z"), "{}", fails(&site));
    site.write("signers", format!("alice@site valid-after=\"20990101Z\" {key}\n"));
    assert!(fails(&site).starts_with("not yet valid: "), "{}", fails(&site));
    site.write("signers", format!("alice@site namespaces=\"file\" {key}\n"));
    assert!(fails(&site).ends_with(" may not sign for `autoxen-image`"), "{}", fails(&site));
    site.write("signers", format!("alice@site {key}\n"));
    site.write("revoked", format!("{key}\n"));
    let stderr = site.fails(&[&VERIFY[..], &["--revoked", "revoked"]].concat());
    assert!(stderr.starts_with("error: `root.img`: revoked: the key SHA256:"), "{stderr}");
    // Of another manifest, for another purpose, of nothing.
    let other = text(&good_manifest).replace("creator alice@site", "creator mallory");
    site.write("root.img.manifest", other);
    assert!(fails(&site).starts_with("bad signature: "), "{}", fails(&site));
    site.write("root.img.manifest", &good_manifest);
    fs::remove_file(&signature).unwrap();
    let [secret, file] =
        [site.path("key"), manifest.clone()].map(|p| p.to_str().unwrap().to_owned());
    run("ssh-keygen", "openssh-client", &["-Y", "sign", "-q", "-n", "file", "-f", &secret, &file]);
    assert_eq!(
        fails(&site),
        "wrong namespace: the signature is for `file`, not for `autoxen-image`"
    );
    site.write("root.img.manifest.sig", "-----BEGIN SSH SIGNATURE-----\n");
    assert!(fails(&site).starts_with("garbled signature: "), "{}", fails(&site));
    fs::remove_file(&signature).unwrap();
    assert_eq!(fails(&site), "unsigned: there is no `root.img.manifest.sig`");
    fs::remove_file(&manifest).unwrap();
    assert_eq!(fails(&site), "unsigned: there is no `root.img.manifest`");
    // A manifest that is signed and not spelled as manifests are.
    site.write("root.img.manifest", [&good_manifest[..], b"\n"].concat());
    run(
        "ssh-keygen",
        "openssh-client",
        &["-Y", "sign", "-q", "-n", "autoxen-image", "-f", &secret, &file],
    );
    assert!(fails(&site).starts_with("garbled manifest: "), "{}", fails(&site));
    // Its time is over, by the clock and not by SOURCE_DATE_EPOCH.
    let old = site.autoxen_at(
        "1600000000",
        &["sign", "root.img", "--key", "key", "--expires", "1d", "--force"],
    );
    assert!(old.status.success(), "{}", text(&old.stderr));
    assert!(ssh_verify(&site, "autoxen-image", "root.img.manifest", &[]).status.success());
    let output = site.autoxen_at("1600000000", &VERIFY);
    assert_eq!(
        text(&output.stderr),
        "error: `root.img`: expired: the manifest of `root.img` was valid until 2020-09-14T12:26:40Z\n\
         hint: ask its maker for a newer one, or a newer signature\n"
    );
    site.write("root.img.manifest", &good_manifest);
    site.write("root.img.manifest.sig", &good_signature);
    site.succeeds(&VERIFY);
}

#[test]
fn certificates_are_refused_by_name() {
    let (site, key) = site();
    ssh_key(&site, "authority", &["-t", "ed25519"], "");
    let [authority, public, secret, manifest] =
        ["authority", "key.pub", "key-cert.pub", "root.img.manifest"]
            .map(|name| site.path(name).to_str().unwrap().to_owned());
    run(
        "ssh-keygen",
        "openssh-client",
        &["-q", "-s", &authority, "-I", "x", "-n", "alice@site", &public],
    );
    fs::remove_file(site.path("root.img.manifest.sig")).unwrap();
    run(
        "ssh-keygen",
        "openssh-client",
        &["-Y", "sign", "-q", "-n", "autoxen-image", "-f", &secret, &manifest],
    );
    let stderr = site.fails(&VERIFY);
    assert!(
        stderr.contains("not supported: a certificate (`ssh-ed25519-cert-v01@openssh.com`)"),
        "{stderr}"
    );
    let _ = key;
}

#[test]
fn signing_replaces_nothing_unless_it_is_told_to() {
    let (site, _) = site();
    let before = fs::read(site.path("root.img.manifest")).unwrap();
    let sign = ["sign", "root.img", "--key", "key", "--creator", "somebody else"];
    let stderr = site.fails(&sign);
    assert_eq!(
        stderr,
        "error: `root.img.manifest` is there already\nhint: replace it with `--force`\n"
    );
    assert_eq!(fs::read(site.path("root.img.manifest")).unwrap(), before);
    site.succeeds(&[&sign[..], &["--force"]].concat());
    assert_ne!(fs::read(site.path("root.img.manifest")).unwrap(), before);
    site.succeeds(&VERIFY);
    for (more, expected) in [
        (&["--expires", "tomorrow"][..], "error: `--expires tomorrow` is no time\n"),
        (
            &["--creator", "a\nb"],
            "error: `root.img` cannot be signed: a creator with characters that cannot be seen\n",
        ),
        (&["--creator", ""], "error: nobody says who made the image\n"),
    ] {
        let stderr =
            site.fails(&[&["sign", "root.img", "--key", "key", "--force"][..], more].concat());
        assert!(stderr.starts_with(expected), "{stderr}");
    }
}

#[test]
fn json_says_who_signed_and_until_when() {
    let (site, _) = site();
    let found = site.succeeds(&[&VERIFY[..], &["--json"]].concat());
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!((&found["kind"], &found["principals"]), (&"image".into(), &"alice@site".into()));
    assert_eq!(found["manifest"]["size"], 5);
    assert!(found["manifest"]["expires"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn without_a_file_the_users_own_signers_count() {
    let (site, key) = site();
    let home = site.path("config");
    let variables = [("XDG_CONFIG_HOME", home.to_str().unwrap())];
    let output = site.autoxen_with(&variables, &["verify", "root.img"]);
    assert_eq!(
        text(&output.stderr).lines().next(),
        Some("error: no file of allowed signers: nobody's signature counts")
    );
    site.write("config/autoxen/allowed_signers", format!("alice@site {key}\n"));
    assert!(site.autoxen_with(&variables, &["verify", "root.img"]).status.success());
    site.write("config/autoxen/revoked_signers", format!("{key}\n"));
    let output = site.autoxen_with(&variables, &["verify", "root.img"]);
    assert!(text(&output.stderr).contains("revoked: the key"), "{}", text(&output.stderr));
}
