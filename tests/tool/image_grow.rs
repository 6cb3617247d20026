//! `autoxen image grow` from outside: file, partition and file system, judged by other programs.

use std::fs;
use std::path::Path;

use crate::site::{Site, e2fsck, judge, run, text};

fn str(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A disk with an ESP and a root of 30 MiB, made by sfdisk and mke2fs.
fn disk(site: &Site, label: &str) -> std::path::PathBuf {
    let root = site.mke2fs("part.img", "30M", &["-t", "ext4", "-L", "rootfs"]);
    let disk = site.path("disk.img");
    fs::File::create(&disk).unwrap().set_len(40 << 20).unwrap();
    let script = site.write(
        "script",
        match label {
            "gpt" => "label: gpt\nstart=2048, size=4096, type=U, name=esp\nstart=6144, size=61440, type=L, name=root\n",
            _ => "label: dos\nstart=2048, size=4096, type=ef\nstart=6144, size=61440, type=83\n",
        },
    );
    run("sh", "dash", &["-c", &format!("sfdisk --quiet {} < {}", str(&disk), str(&script))]);
    dd(&root, &disk, "seek=6144");
    fs::remove_file(root).unwrap();
    disk
}

fn dd(from: &Path, to: &Path, place: &str) {
    let (from, to) = (format!("if={}", str(from)), format!("of={}", str(to)));
    run("dd", "coreutils", &[&from, &to, "bs=512", place, "conv=notrunc,sparse", "status=none"]);
}

/// The file system of partition 2, alone.
fn root(site: &Site, disk: &Path) -> std::path::PathBuf {
    let part = site.path("part.img");
    // What is sparse leaves what was there.
    let _ = fs::remove_file(&part);
    dd(disk, &part, "skip=6144");
    part
}

#[test]
fn a_disk_grows_with_its_last_partition_and_the_file_system_in_it() {
    for label in ["gpt", "dos"] {
        let site = Site::new();
        let disk = disk(&site, label);
        let before = fs::read(&disk).unwrap();
        let args = ["image", "grow", "--size", "200M", "disk.img"];
        let dry = site.succeeds(&[&args[..], &["--dry-run"]].concat());
        assert!(fs::read(&disk).unwrap() == before, "{label}");
        let said = site.succeeds(&args);
        assert_eq!(said, dry.replace("would grow", "grew"), "{label}");
        assert!(
            said.starts_with(
                "disk.img grew from 40.0 MiB (41943040 bytes) to 200.0 MiB (209715200 bytes)\n\
                disk.img: partition 2 grew from 30.0 MiB (31457280 bytes) to 19"
            ),
            "{said}"
        );
        assert_eq!(fs::metadata(&disk).unwrap().len(), 200 << 20);
        if label == "gpt" {
            let verified = run("sgdisk", "gdisk", &["-v", str(&disk)]);
            assert!(verified.contains("No problems found"), "{verified}");
        }
        let verified = judge("sfdisk", "fdisk", &["--verify", str(&disk)]);
        assert!(verified.status.success(), "{}", text(&verified.stdout));
        e2fsck(&root(&site, &disk));
        assert_eq!(
            site.succeeds(&["image", "grow", "--fill", "disk.img"]),
            "disk.img: nothing to do\n"
        );
        // Longer by other means, it is filled.
        fs::File::options().write(true).open(&disk).unwrap().set_len(300 << 20).unwrap();
        for name in ["2", "rootfs"] {
            let said = site.succeeds(&["image", "grow", "--fill", "--partition", name, "disk.img"]);
            assert_eq!(said.contains("partition 2 grew"), name == "2", "{said}");
        }
        e2fsck(&root(&site, &disk));
        let json = site.succeeds(&["image", "grow", "--size", "+100M", "--json", "disk.img"]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["bytes"]["after"], 400 << 20);
        assert_eq!(json["partition"]["number"], 2);
        assert_eq!(json["ext"]["block_size"], 1024);
        e2fsck(&root(&site, &disk));
    }
}

#[test]
fn a_bare_file_system_grows_with_its_file() {
    let site = Site::new();
    let image = site.mke2fs("root.img", "16M", &["-t", "ext3"]);
    let said = site.succeeds(&["image", "grow", "--size", "1G", "root.img"]);
    assert!(
        said.contains("root.img: ext3 grew from 16.0 MiB (16777216 bytes) to 1.0 GiB"),
        "{said}"
    );
    e2fsck(&image);
}

#[test]
fn what_cannot_grow_is_refused_before_anything_is_written() {
    let site = Site::new();
    let disk = disk(&site, "gpt");
    let before = fs::read(&disk).unwrap();
    for (args, expected) in [
        (
            &["--size", "1G", "--partition", "esp"][..],
            "error: image `disk.img`: partition 1 cannot be enlarged: partition 2 (`root`) lies behind it, at byte 3145728\n",
        ),
        (
            &["--size", "1G", "--partition", "home"],
            "error: image `disk.img` has no partition `home`\n\
             hint: write `IMAGE#N`: there are 1 (`esp`, 2.0 MiB (2097152 bytes), nothing known) and 2 (`root`, 30.0 MiB (31457280 bytes), ext4 `rootfs`)\n",
        ),
        (
            &["--size", "1M"],
            "error: image `disk.img` has 40.0 MiB (41943040 bytes) already: it is not made smaller\n\
             hint: `--fill` takes the room that there is\n",
        ),
    ] {
        let said = site.fails(&[&["image", "grow", "disk.img"], args].concat());
        assert_eq!(said, expected);
    }
    assert!(fs::read(&disk).unwrap() == before);
    site.write("swap.img", vec![0; 1 << 20]);
    run("mkswap", "util-linux", &[str(&site.path("swap.img"))]);
    let said = site.fails(&["image", "grow", "--size", "2M", "swap.img"]);
    assert_eq!(said, "error: image `swap.img` holds swap; only ext2, ext3 and ext4 are enlarged\n");
}
