//! What a policy asks to be signed: bundles, stock images, images where they lie. `ssh-keygen` signs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::lab::{Lab, POLICY, give};

/// Make a key.
fn key(path: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .arg(path)
        .status();
    assert!(made.expect("ssh-keygen (Debian: openssh-client)").success());
}

/// The public half, as a line of allowed signers or of revoked keys has it.
fn public(path: &Path) -> String {
    let text = fs::read_to_string(path.with_extension("pub")).unwrap();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Sign `file`; the signature is `file.sig`.
fn sign(key: &Path, namespace: &str, file: &Path) {
    let signature = file.with_file_name(format!("{}.sig", file.file_name().unwrap().display()));
    let _ = fs::remove_file(&signature);
    let signed = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", namespace, "-f"])
        .args([key, file])
        .output()
        .unwrap();
    assert!(signed.status.success(), "{signed:?}");
    give(&signature);
}

/// The lab's policy, and what it asks of signatures.
fn policy(lab: &Lab, more: &str) -> String {
    format!(
        "{POLICY}[signatures]\nallowed_signers = \"{}\"\nrevoked_signers = \"{}\"\n{more}",
        lab.own("allowed").display(),
        lab.own("revoked").display()
    )
}

#[test]
fn a_bundle_is_signed_by_whom_the_policy_names() {
    let lab = Lab::new();
    let mut bundle = lab.bundle("bundle");
    bundle.write();
    let [own, other] = ["own", "other"].map(|name| lab.own(name));
    key(&own);
    key(&other);
    let allow = |line: &str| fs::write(lab.own("allowed"), line).unwrap();
    allow(&format!("ci@site,release@site {}\n", public(&own)));
    let policy = policy(&lab, "bundles = \"required\"\nbundle_signers = [\"release@*\"]\n");
    let manifest = bundle.at("manifest.json");
    let refused = |expected: &str| {
        let refused = lab.check(&policy, &bundle.path).expect_err(expected);
        assert!(refused.starts_with("refused by signatures."), "{refused}");
        assert!(refused.contains(expected), "{refused}");
    };
    refused("the bundle is not signed");
    sign(&own, "autoxen-bundle", &manifest);
    lab.check(&policy, &bundle.path).expect("it is signed");

    sign(&own, "autoxen-image", &manifest);
    refused("namespace");
    sign(&other, "autoxen-bundle", &manifest);
    refused("not among the allowed signers");
    sign(&own, "autoxen-bundle", &manifest);
    allow(&format!("ci@site {}\n", public(&own)));
    refused("ci@site");
    allow(&format!("release@site valid-before=\"20200101\" {}\n", public(&own)));
    refused("2020");
    allow(&format!("release@site {}\n", public(&own)));
    fs::write(lab.own("revoked"), format!("{}\n", public(&own))).unwrap();
    refused("revoked");
    fs::write(lab.own("revoked"), "garbled\n").unwrap();
    let told = lab.check(&policy, &bundle.path).expect_err("never: nothing is revoked");
    assert!(told.contains("revoked:1: "), "{told}");
    fs::write(lab.own("revoked"), "").unwrap();
    lab.check(&policy, &bundle.path).expect("it is as it was");

    // Whoever may write the list of signers is a signer.
    let open = |mode| {
        fs::set_permissions(lab.own("allowed"), fs::Permissions::from_mode(mode)).unwrap();
    };
    open(0o666);
    refused("others than root may write");
    open(0o644);
    // Each bit of the manifest counts, even one that changes nothing of its meaning.
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, format!("{text}\n")).unwrap();
    refused("the bundle: ");
    fs::write(&manifest, &text).unwrap();
    lab.check(&policy, &bundle.path).expect("it is as it was");
    bundle.manifest["domain"]["memory_mib"] = json!(65);
    bundle.write();
    assert!(lab.check(&policy, &bundle.path).is_err());
}

#[test]
fn the_stock_of_a_bundle_is_what_its_signer_says() {
    let lab = Lab::new();
    let mut bundle = lab.bundle("bundle");
    let own = lab.own("own");
    key(&own);
    fs::write(lab.own("allowed"), format!("ci@site {}\n", public(&own))).unwrap();
    let needs = policy(&lab, "bundles = \"required\"\nstock_signers = [\"release@*\"]\n");
    let mut refused = |disks: serde_json::Value| {
        bundle.manifest["disks"] = disks;
        bundle.write();
        sign(&own, "autoxen-bundle", &bundle.at("manifest.json"));
        lab.check(&needs, &bundle.path).map(drop)
    };
    let image = "/srv/root.img";
    let by = |who: &str| json!({"principals": who, "key": "SHA256:x", "manifest_sha256": "", "expires": null});
    for (signed, serves) in [
        (json!(null), false),
        (by("ci@site"), false),
        (by("release@site"), true),
        (by("release@site,ci@site"), true),
        (by("*"), false),
    ] {
        let disks = json!([{"vdev": "xvda", "file": "xvda.img", "image": image, "signed": signed}]);
        let outcome = refused(disks);
        assert_eq!(outcome.is_ok(), serves, "{signed}: {outcome:?}");
        if let Err(told) = outcome {
            assert!(
                told.starts_with("refused by signatures.stock_signers: xvda was made from"),
                "{told}"
            );
        }
    }
    // A disk that was made new has no stock.
    assert_eq!(refused(json!([{"vdev": "xvdb", "file": "results.img"}])), Ok(()));
    // Without a signature of the bundle's own, the word of a manifest counts for nothing.
    let alone = needs.replace("bundles = \"required\"", "bundles = \"optional\"");
    let told = lab.check(&alone, &bundle.path).expect_err("nobody says it");
    assert!(
        told.starts_with("refused by signatures.stock_signers: nobody whose word counts"),
        "{told}"
    );
}

#[test]
fn an_image_that_is_read_where_it_lies_is_signed_where_the_policy_asks() {
    let lab = Lab::new();
    let mut bundle = lab.bundle("bundle");
    let own = lab.own("own");
    key(&own);
    fs::write(lab.own("allowed"), format!("release@site {}\n", public(&own))).unwrap();
    let images = lab.own("images");
    fs::create_dir(&images).unwrap();
    let image = images.join("base.img");
    fs::write(&image, vec![7; 3 << 20]).unwrap();
    std::os::unix::fs::symlink(&images, lab.own("alias")).unwrap();
    let at = |path: &Path| path.to_str().unwrap().to_owned();
    let needs = format!(
        "{}[[signatures.images]]\ndirectory = \"{}\"\nsigners = [\"release@*\"]\n[images]\ndirectories = [\"{}\"]\n",
        policy(&lab, ""),
        at(&images),
        at(&lab.own("")).trim_end_matches('/')
    );
    let mut check = |path: &Path| {
        let disk = json!({"vdev": "xvdc", "read_only": true, "target": {"host": at(path)}});
        bundle.manifest["domain"]["disks"].as_array_mut().unwrap().truncate(2);
        bundle.manifest["domain"]["disks"].as_array_mut().unwrap().push(disk);
        lab.check(&needs, bundle.write()).map(drop)
    };
    let told = check(&image).expect_err("unsigned");
    assert!(
        told.starts_with("refused by signatures.images: ") && told.contains("not signed"),
        "{told}"
    );
    // By another name it is the same image.
    let told = check(&lab.own("alias/base.img")).expect_err("unsigned");
    assert!(told.starts_with("refused by signatures.images: "), "{told}");

    let signed = Command::new(env!("CARGO_BIN_EXE_autoxen"))
        .args(["sign", "--creator", "release@site", "--key"])
        .args([&own, &image])
        .output()
        .unwrap();
    assert!(signed.status.success(), "{signed:?}");
    check(&image).expect("it is signed");
    check(&lab.own("alias/base.img")).expect("it is signed");
    let mut bytes = fs::read(&image).unwrap();
    for at in [0, 1 << 20, (3 << 20) - 1] {
        bytes[at] ^= 1;
        fs::write(&image, &bytes).unwrap();
        let told = check(&image).expect_err("flipped");
        assert!(told.starts_with("refused by signatures.images: "), "{told}");
        bytes[at] ^= 1;
    }
    fs::write(&image, &bytes).unwrap();
    check(&image).expect("it is as it was");
}
