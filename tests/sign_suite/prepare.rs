//! `prepare` asks for signatures, and says where a bundle comes from.

use std::fs;

use serde_json::Value;

use crate::keys::{public, ssh_key, ssh_verify};
use crate::site::{Site, run, text};

/// A site with a signed root image that the job description wants signed by `signedby`.
fn site(signedby: &str) -> Site {
    let site = Site::new();
    site.mke2fs("root.img", "16M", &["-t", "ext4"]);
    let key = public(&ssh_key(&site, "key", &["-t", "ed25519"], ""));
    site.write("signers", format!("alice@site {key}\n"));
    site.succeeds(&["sign", "root.img", "--key", "key"]);
    let job = crate::site::job("ext4", "root.img");
    site.write(
        "job.xml",
        job.replace("<imagefile>", &format!("<imagefile signedby=\"{signedby}\">")),
    );
    site
}

const PREPARE: [&str; 6] = ["prepare", "job.xml", "-o", "ready", "--allowed-signers", "signers"];

fn manifest(site: &Site) -> Value {
    serde_json::from_slice(&fs::read(site.path("ready/manifest.json")).unwrap()).unwrap()
}

#[test]
fn the_manifest_says_which_image_and_who_signed_it() {
    let site = site("*@site");
    site.succeeds(&PREPARE);
    let found = manifest(&site);
    let disk = &found["disks"][0];
    let signed = fs::read_to_string(site.path("root.img.manifest")).unwrap();
    let digest = disk["image_digest"].as_str().unwrap();
    assert!(signed.contains(&format!("\ndigest {digest}\n")), "{signed}");
    let sum = run("sha256sum", "coreutils", &[site.path("root.img.manifest").to_str().unwrap()]);
    assert_eq!(disk["signed"]["manifest_sha256"], &sum[..64]);
    assert_eq!(disk["signed"]["principals"], "alice@site");
    let names: Vec<&str> = found["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["name"].as_str().unwrap())
        .collect();
    let mut expected: Vec<String> = fs::read_dir(site.path("ready"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "manifest.json")
        .collect();
    expected.sort();
    assert_eq!(names, expected);
}

#[test]
fn an_image_that_is_not_vouched_for_is_refused_at_the_attribute() {
    let site = site("*@site");
    let good = fs::read(site.path("root.img")).unwrap();
    let refused = |expected: &str| {
        for verb in [&PREPARE[..], &["plan", "job.xml", "--allowed-signers", "signers"]] {
            let stderr = site.fails(verb);
            assert!(stderr.contains(expected), "{stderr}");
            assert!(stderr.contains("job.xml:6:"), "{stderr}");
            assert!(!site.path("ready").exists());
        }
    };
    // Not an image at all: it would be refused by its form, were that looked at.
    let mut other = good.clone();
    other[..4].copy_from_slice(b"QFI\xfb");
    site.write("root.img", &other);
    refused("changed: it is not what was signed");
    site.write("root.img", &good);
    let stderr = site.fails(&["prepare", "job.xml", "-o", "ready"]);
    assert!(stderr.contains("there is no file of allowed signers"), "{stderr}");
    let job = fs::read_to_string(site.path("job.xml")).unwrap();
    site.write("job.xml", job.replace("*@site", "release@site"));
    refused("wrong signer: signed by `alice@site`, and `release@site` is asked for");
    site.write("job.xml", &job);
    site.write("signers", "");
    refused("unknown key: SHA256:");
    let old = site.autoxen_at(
        "1600000000",
        &["sign", "root.img", "--key", "key", "--expires", "1d", "--force"],
    );
    assert!(old.status.success());
    let key = public(&site.path("key"));
    site.write("signers", format!("alice@site {key}\n"));
    refused("expired: the manifest of `root.img`");
    fs::remove_file(site.path("root.img.manifest")).unwrap();
    refused("unsigned: there is no `root.img.manifest`");
}

#[test]
fn signers_that_nobody_asks_for_are_not_read() {
    let site = Site::new();
    site.mke2fs("root.img", "16M", &["-t", "ext4"]);
    site.job("ext4", "root.img");
    let home = site.path("config");
    site.write("config/autoxen/allowed_signers", "garbage\n");
    let variables = [("XDG_CONFIG_HOME", home.to_str().unwrap())];
    let plan =
        |more: &[&str]| site.autoxen_with(&variables, &[&["plan", "job.xml"], more].concat());
    assert!(plan(&[]).status.success());
    assert!(!plan(&["--allowed-signers", "config/autoxen/allowed_signers"]).status.success());
    let job = fs::read_to_string(site.path("job.xml")).unwrap();
    site.write("job.xml", job.replace("<imagefile>", "<imagefile signedby=\"*\">"));
    let stderr = text(&plan(&[]).stderr);
    assert!(stderr.contains("allowed_signers:1: no key"), "{stderr}");
}

#[test]
fn a_new_disk_cannot_be_signed() {
    let site = site("*");
    let job = fs::read_to_string(site.path("job.xml")).unwrap();
    let refused = |text: String, expected: &str| {
        site.write("other.xml", text);
        let stderr = site.fails(&["check", "other.xml"]);
        assert!(stderr.contains(expected), "{stderr}");
    };
    refused(job.replace("signedby=\"*\"", "signedby=\"!bob@site\""), "names nobody");
    refused(job.replace("signedby=\"*\"", "signedby=\"a b\""), "is no list of signers");
    let swap = "<imagefile size=\"8M\" signedby=\"*\"><filesystemtype>swap</filesystemtype>\
                <mountpoint>none</mountpoint><blockdevice>xvdb</blockdevice></imagefile><job>";
    refused(job.replace("<job>", swap), "`signedby` needs a `url`");
}

#[test]
fn a_compressed_image_is_verified_before_it_is_unpacked() {
    let site = site("alice@site");
    run("zstd", "zstd", &["-q", site.path("root.img").to_str().unwrap()]);
    site.succeeds(&["sign", "root.img.zst", "--key", "key"]);
    let job = fs::read_to_string(site.path("job.xml")).unwrap();
    site.write("job.xml", job.replace(">root.img<", ">root.img.zst<"));
    site.succeeds(&PREPARE);
    fs::remove_dir_all(site.path("ready")).unwrap();
    let mut bytes = fs::read(site.path("root.img.zst")).unwrap();
    // In the middle of the stream: unpacked, it would be told of as damage.
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    site.write("root.img.zst", bytes);
    assert!(site.fails(&PREPARE).contains("changed: it is not what was signed"));
}

#[test]
fn an_edit_in_place_ends_the_signature_and_says_so() {
    let site = site("*");
    let output = site.autoxen(&[&PREPARE[..], &["--in-place"]].concat());
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("its signature will not fit any more"), "{stderr}");
    fs::remove_dir_all(site.path("ready")).unwrap();
    let stderr = site.fails(&[&PREPARE[..], &["--in-place"]].concat());
    assert!(stderr.contains("changed: it is not what was signed"), "{stderr}");
}

#[test]
fn a_backing_file_is_covered_by_no_signature() {
    let site = site("*");
    let top = site.path("top.qcow2");
    let args =
        ["create", "-q", "-f", "qcow2", "-b", "root.img", "-F", "raw", top.to_str().unwrap()];
    run("qemu-img", "qemu-utils", &args);
    site.succeeds(&["sign", "top.qcow2", "--key", "key"]);
    let job = fs::read_to_string(site.path("job.xml")).unwrap();
    site.write("job.xml", job.replace(">root.img<", ">top.qcow2<"));
    let stderr = site.fails(&PREPARE);
    assert!(stderr.contains("its signature does not cover `root.img`"), "{stderr}");
    // Not even looked for.
    fs::remove_file(site.path("root.img")).unwrap();
    let stderr = site.fails(&PREPARE);
    assert!(stderr.contains("its signature does not cover `root.img`"), "{stderr}");
}

#[test]
fn no_digest_is_told_of_an_image_that_is_laid_over_another() {
    let site = site("*");
    let top = site.path("top.qcow2");
    let args =
        ["create", "-q", "-f", "qcow2", "-b", "root.img", "-F", "raw", top.to_str().unwrap()];
    run("qemu-img", "qemu-utils", &args);
    site.job("ext4", "top.qcow2");
    let output = site.autoxen(&["prepare", "job.xml", "-o", "ready"]);
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(manifest(&site)["disks"][0].get("image_digest"), None);
}

#[test]
fn the_signer_is_called_by_the_line_that_met_the_demand() {
    let site = site("release@*");
    let key = public(&site.path("key"));
    site.write("signers", format!("alice@site {key}\nbob@site {key}\nrelease@site {key}\n"));
    site.succeeds(&PREPARE);
    assert_eq!(manifest(&site)["disks"][0]["signed"]["principals"], "release@site");
    let verify = ["verify", "root.img", "--allowed-signers", "signers", "--signer"];
    let found = site.succeeds(&[&verify[..], &["bob@*"]].concat());
    assert!(found.starts_with("root.img: signed by bob@site, key "), "{found}");
    // Who is excluded is so by any line of the key.
    for pattern in ["*,!bob@site", "release@site,!b*"] {
        let stderr = site.fails(&[&verify[..], &[pattern]].concat());
        assert!(stderr.contains("wrong signer"), "{pattern}: {stderr}");
    }
}

#[test]
fn an_image_of_another_name_than_was_signed_is_noted() {
    let site = site("*");
    for suffix in ["", ".manifest", ".manifest.sig"] {
        let [from, to] = ["root.img", "new.img"].map(|name| site.path(&format!("{name}{suffix}")));
        fs::rename(from, to).unwrap();
    }
    let job = fs::read_to_string(site.path("job.xml")).unwrap();
    site.write("job.xml", job.replace(">root.img<", ">new.img<"));
    let output = site.autoxen(&PREPARE);
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("it was signed by the name `root.img`"), "{stderr}");
}

#[test]
fn a_bundle_is_signed_and_each_of_its_files_is_held_to_it() {
    let site = site("*");
    site.succeeds(&PREPARE);
    assert_eq!(site.succeeds(&["sign", "ready", "--key", "key"]), "ready/manifest.json.sig\n");
    let verify = ["verify", "ready", "--allowed-signers", "signers"];
    assert_eq!(
        site.succeeds(&verify).lines().last(),
        Some("  files    4, all as they were signed")
    );
    let judged = ssh_verify(&site, "autoxen-bundle", "ready/manifest.json", &[]);
    assert!(judged.status.success(), "{}", text(&judged.stderr));
    let files = manifest(&site)["files"].as_array().unwrap().clone();
    for file in files {
        let name = file["name"].as_str().unwrap();
        let path = site.path("ready").join(name);
        let good = fs::read(&path).unwrap();
        let mut other = good.clone();
        let last = other.len() - 1;
        other[last] ^= 1;
        fs::write(&path, &other).unwrap();
        let expected =
            format!("error: `ready`: changed: its file `{name}` is not what was signed\n");
        assert!(site.fails(&verify).starts_with(&expected), "{name}");
        fs::write(&path, &good[..last]).unwrap();
        assert!(site.fails(&verify).contains("is not as long as it was"), "{name}");
        fs::remove_file(&path).unwrap();
        assert!(site.fails(&verify).contains(&format!("its file `{name}` is missing")), "{name}");
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        site.fails(&verify);
        fs::remove_file(&path).unwrap();
        fs::write(&path, &good).unwrap();
    }
    site.succeeds(&verify);
    let text = fs::read_to_string(site.path("ready/manifest.json")).unwrap();
    site.write("ready/manifest.json", text.replace("\"alice@site\"", "\"mallory@site\""));
    assert!(site.fails(&verify).contains("bad signature"));
}

#[test]
fn digests_may_be_left_out_and_the_same_input_gives_the_same_bytes() {
    let site = site("*");
    let once = |name: &str, more: &[&str]| {
        let args = ["prepare", "job.xml", "-o", name, "--allowed-signers", "signers"];
        let output = site.autoxen_at("1700000000", &[&args[..], more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let manifest = fs::read_to_string(site.path(name).join("manifest.json")).unwrap();
        fs::remove_dir_all(site.path(name)).unwrap();
        manifest
    };
    // xl is told absolute paths, so that a bundle of another name has another domain.cfg.
    assert!(once("ready", &[]) == once("ready", &[]));
    let bare: Value = serde_json::from_str(&once("ready", &["--no-digests"])).unwrap();
    assert_eq!(bare["files"], Value::Null);
    // The signature was verified all the same.
    assert_eq!(bare["disks"][0]["signed"]["principals"], "alice@site");
}
