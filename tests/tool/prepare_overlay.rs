//! `prepare --overlay`: disks that are laid over their images. QEMU's tools say what the guest will read.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::site::{Site, debugfs_cat, e2fsck, judge, run};

fn utf8(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// What a guest reads of an image, as QEMU sees it.
fn flat(site: &Site, image: &str, to: &str) -> Vec<u8> {
    let to = site.path(to);
    run("qemu-img", "qemu-utils", &["check", "-q", utf8(&site.path(image))]);
    run("qemu-img", "qemu-utils", &["convert", "-O", "raw", utf8(&site.path(image)), utf8(&to)]);
    fs::read(&to).expect("qemu-img made it")
}

/// The bundle `ready` reads as the copy in the bundle `copied` does, and is small.
fn judge_overlay(site: &Site) {
    let copy = fs::read(site.path("copied/xvda.img")).unwrap();
    assert!(flat(site, "ready/xvda.qcow2", "flat.img") == copy, "another disk than the copy");
    e2fsck(&site.path("flat.img"));
    assert_eq!(
        debugfs_cat(&site.path("flat.img"), "/etc/xenjobs.d/10-job"),
        "#!/bin/sh\necho hello\n"
    );
    let len = fs::metadata(site.path("ready/xvda.qcow2")).unwrap().len();
    assert!(len < 1 << 20, "{len} bytes");
    let cfg = fs::read_to_string(site.path("ready/domain.cfg")).unwrap();
    let here = fs::canonicalize(site.path("ready/xvda.qcow2")).unwrap();
    let line = format!("    \"format=qcow2,vdev=xvda,access=rw,target={}\",\n", here.display());
    assert!(cfg.contains(&line), "{cfg}");
}

#[test]
fn an_overlay_reads_as_the_copy_does() {
    for size in ["64M", "3G"] {
        let site = Site::new();
        site.mke2fs("root.img", size, &["-t", "ext4"]);
        site.job("ext4", "root.img");
        let before = fs::read(site.path("root.img")).unwrap();
        for (to, more) in [("copied", None), ("ready", Some("--overlay"))] {
            let args = ["prepare", "job.xml", "-o", to].into_iter().chain(more);
            let output = site.autoxen_at("1700000000", &args.collect::<Vec<_>>());
            assert!(output.status.success(), "{output:?}");
        }
        judge_overlay(&site);
        assert!(fs::read(site.path("root.img")).unwrap() == before, "the image has changed");
        let info = run(
            "qemu-img",
            "qemu-utils",
            &["info", "--output=json", utf8(&site.path("ready/xvda.qcow2"))],
        );
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        let stock = fs::canonicalize(site.path("root.img")).unwrap();
        assert_eq!(info["backing-filename"], utf8(&stock));
        assert_eq!(info["backing-filename-format"], "raw");
        // What is in the bundle is in its manifest, and so is the image that it needs.
        let manifest: serde_json::Value =
            serde_json::from_slice(&fs::read(site.path("ready/manifest.json")).unwrap()).unwrap();
        assert_eq!(manifest["disks"][0]["how"], "overlay");
        assert_eq!(manifest["disks"][0]["image"], utf8(&stock));
        assert!(manifest["disks"][0]["image_digest"].is_string());
        assert_eq!(manifest["files"][1]["name"], "initrd.img-6.1.0-13-amd64");
        // No digest of a file is of the image's bytes, and `verify` says so.
        site.succeeds(&["key", "new", "-o", "key", "--no-passphrase"]);
        site.succeeds(&["sign", "ready", "--key", "key"]);
        let signers = format!("me {}", fs::read_to_string(site.path("key.pub")).unwrap());
        site.write("signers", signers);
        let said = site.succeeds(&["verify", "ready", "--allowed-signers", "signers"]);
        let outside = format!("xvda is {}, which was not looked at", stock.display());
        assert!(said.contains(&outside), "{said}");
    }
}

#[test]
fn a_qcow2_image_is_laid_over_without_being_unpacked() {
    for (packed, args) in [
        ("plain", &["convert", "-O", "qcow2"][..]),
        ("compressed", &["convert", "-c", "-O", "qcow2"]),
    ] {
        let site = Site::new();
        site.mke2fs("raw.img", "64M", &["-t", "ext4"]);
        let (raw, root) = (site.path("raw.img"), site.path("root.qcow2"));
        run("qemu-img", "qemu-utils", &[args, &[utf8(&raw), utf8(&root)]].concat());
        fs::remove_file(&raw).unwrap();
        site.job("ext4", "root.qcow2");
        for (to, more) in [("copied", None), ("ready", Some("--overlay"))] {
            let args = ["prepare", "job.xml", "-o", to].into_iter().chain(more);
            let output = site.autoxen_at("1700000000", &args.collect::<Vec<_>>());
            assert!(output.status.success(), "{packed}: {output:?}");
        }
        judge_overlay(&site);
    }
}

/// What the block layer of a running QEMU serves, as it does to a guest of Xen.
#[test]
fn qemu_nbd_serves_the_overlay_as_the_copy() {
    let site = Site::new();
    site.mke2fs("root.img", "64M", &["-t", "ext4"]);
    site.job("ext4", "root.img");
    for (to, more) in [("copied", None), ("ready", Some("--overlay"))] {
        let args = ["prepare", "job.xml", "-o", to].into_iter().chain(more);
        let output = site.autoxen_at("1700000000", &args.collect::<Vec<_>>());
        assert!(output.status.success(), "{output:?}");
    }
    let (socket, overlay) = (site.path("nbd"), site.path("ready/xvda.qcow2"));
    let mut serve = vec!["--read-only", "--fork", "--format=qcow2", "--shared=2", "--socket"];
    serve.extend([utf8(&socket), utf8(&overlay)]);
    // It is over when its client has gone.
    run("qemu-nbd", "qemu-utils", &serve);
    let served = format!("nbd+unix:///?socket={}", utf8(&socket));
    let copy = site.path("copied/xvda.img");
    let compare = ["compare", "-f", "raw", "-F", "raw", &served, utf8(&copy)];
    let same = run("qemu-img", "qemu-utils", &compare);
    assert_eq!(same, "Images are identical.\n");
}

#[test]
fn a_guest_writes_to_its_overlay_and_not_to_the_image() {
    let site = Site::new();
    site.mke2fs("root.img", "64M", &["-t", "ext4"]);
    site.job("ext4", "root.img");
    site.succeeds(&["prepare", "job.xml", "-o", "ready", "--overlay"]);
    let stock = fs::read(site.path("root.img")).unwrap();
    let overlay = site.path("ready/xvda.qcow2");
    let write =
        ["-f", "qcow2", "-c", "write -P 0xab 40M 1M", "-c", "read -P 0xab 40M 1M", utf8(&overlay)];
    run("qemu-io", "qemu-utils", &write);
    run("qemu-img", "qemu-utils", &["check", "-q", utf8(&overlay)]);
    assert!(fs::read(site.path("root.img")).unwrap() == stock);
}

#[test]
fn what_no_disk_can_be_laid_over_is_refused_by_name() {
    let site = Site::new();
    let raw = site.mke2fs("root.img", "8M", &["-t", "ext4"]);
    run("zstd", "zstd", &["-q", "--rm", utf8(&raw)]);
    site.job("ext4", "root.img.zst");
    let said = site.fails(&["prepare", "job.xml", "-o", "ready", "--overlay"]);
    assert!(said.contains("no disk can be laid over it"), "{said}");
    assert!(said.contains("or leave out --overlay"), "{said}");
    assert_eq!(site.names(), ["job.xml", "root.img.zst", "tree"]);
    let output = site.autoxen(&["prepare", "job.xml", "-o", "ready", "--overlay", "--in-place"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn an_overlay_of_a_large_image_takes_no_room_for_it() {
    let site = Site::new();
    let args = ["-t", "ext4", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"];
    site.mke2fs("root.img", "1T", &args);
    site.job("ext4", "root.img");
    site.succeeds(&["prepare", "job.xml", "-o", "ready", "--overlay", "--no-digests"]);
    let meta = fs::metadata(site.path("ready/xvda.qcow2")).unwrap();
    assert!(meta.len() < 1 << 20 && meta.blocks() * 512 < 1 << 20, "{} bytes", meta.len());
    let check = judge("qemu-img", "qemu-utils", &["check", utf8(&site.path("ready/xvda.qcow2"))]);
    assert!(check.status.success(), "{check:?}");
}

#[test]
fn what_is_refused_is_refused_before_anything_is_made() {
    let site = Site::new();
    let deep = ["d".repeat(250), "e".repeat(250), "f".repeat(250), "g".repeat(250)].join("/");
    site.mke2fs("root.img", "8M", &["-t", "ext4"]);
    fs::create_dir_all(site.path(&deep)).unwrap();
    fs::rename(site.path("root.img"), site.path(&format!("{deep}/{}", "r".repeat(40)))).unwrap();
    site.job("ext4", &format!("{deep}/{}", "r".repeat(40)));
    for args in
        [&["plan", "job.xml", "--overlay"][..], &["prepare", "job.xml", "-o", "x", "--overlay"]]
    {
        let said = site.fails(args);
        assert!(said.contains("that of an image below an overlay has 1023 at most"), "{said}");
    }
    let said = site.fails(&["run", "job.xml", "-o", "out", "--overlay"]);
    assert!(
        said.contains("`autoxen create`, which is to start the guest, refuses overlays"),
        "{said}"
    );
    assert!(!site.path("x").exists() && !site.path("out").exists());
}
