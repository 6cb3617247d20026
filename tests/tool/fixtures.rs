//! Every small image of `fixtures/images` through `prepare`: made right and clean, or refused for its own reason.

use std::fs;
use std::path::Path;

use crate::site::{Site, debugfs_cat, e2fsck, job};

/// What becomes of an image.
enum Outcome {
    /// It is prepared; where its file system begins and how long it is, in bytes (0: all of it).
    Prepared(u64, u64),
    /// It is refused with these words.
    Refused(&'static str),
}
use Outcome::{Prepared, Refused};

/// (image, `filesystemtype`, `partition`, what becomes of it)
const IMAGES: &[(&str, &str, u32, Outcome)] = &[
    ("dirty-ext3", "ext3", 0, Prepared(0, 0)),
    ("dirty-ext4", "ext4", 0, Prepared(0, 0)),
    ("dirty-fast", "ext4", 0, Prepared(0, 0)),
    ("dirty-orphan-file", "ext4", 0, Prepared(0, 0)),
    ("dirty-orphans", "ext4", 0, Prepared(0, 0)),
    ("ext2-2006", "ext2", 0, Prepared(0, 0)),
    ("ext2-rev0", "ext2", 0, Prepared(0, 0)),
    ("ext3-2006", "ext3", 0, Prepared(0, 0)),
    ("ext3-selinux", "ext3", 0, Prepared(0, 0)),
    ("ext4-acl", "ext4", 0, Prepared(0, 0)),
    ("ext4-bigalloc", "ext4", 0, Refused("with the feature `bigalloc` cannot be edited")),
    ("ext4-deep", "ext4", 0, Prepared(0, 0)),
    ("ext4-ea-inode", "ext4", 0, Refused("with the feature `ea_inode` cannot be edited")),
    ("ext4-inline", "ext4", 0, Prepared(0, 0)),
    ("ext4-meta-bg", "ext4", 0, Prepared(0, 0)),
    ("ext4-newest", "ext4", 0, Prepared(0, 0)),
    ("ext4-symlinks", "ext4", 0, Prepared(0, 0)),
    ("ext4-today", "ext4", 0, Prepared(0, 0)),
    ("full-blocks", "ext4", 0, Refused("no space left in the file system of the image: blocks")),
    (
        "full-inodes",
        "ext4",
        0,
        Refused("no space left in the file system of the image: no free inode"),
    ),
    ("gpt-disk", "ext4", 2, Prepared(8192 * 512, 32_768 * 512)),
    ("htree-etc", "ext4", 0, Prepared(0, 0)),
    ("mbr-logical", "ext3", 6, Prepared(14_336 * 512, 32_768 * 512)),
    ("swap", "ext4", 0, Refused("the image holds `swap`, not `ext4`")),
    ("truncated", "ext4", 0, Refused("file system has 4096 blocks, the volume holds 2816")),
];

#[test]
fn each_image_is_prepared_or_refused_for_its_own_reason() {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/images");
    let there = fs::read_dir(&images).unwrap();
    let there =
        there.filter(|e| e.as_ref().unwrap().file_name().to_str().unwrap().ends_with(".zst"));
    assert_eq!(there.count(), IMAGES.len(), "an image is in no row, or a row has no image");
    for (name, filesystem, partition, outcome) in IMAGES {
        let site = Site::new();
        let url = images.join(format!("{name}.img.zst"));
        let mut xmf = job(filesystem, url.to_str().unwrap());
        if *partition > 0 {
            xmf = xmf.replace("<imagefile>", &format!("<imagefile partition=\"{partition}\">"));
        }
        site.write("job.xml", xmf);
        // A kernel of the host, since not every image has one.
        site.write("vmlinuz", "kernel");
        let args = ["prepare", "job.xml", "-o", "ready", "--kernel", "vmlinuz"];
        match outcome {
            Refused(words) => {
                let stderr = site.fails(&args);
                assert!(stderr.lines().next().unwrap().contains(words), "{name}: {stderr}");
                assert_eq!(site.names(), ["job.xml", "vmlinuz"], "{name}");
            }
            Prepared(start, len) => {
                site.succeeds(&args);
                let mut volume = site.path("ready/xvda.img");
                if *len > 0 {
                    let disk = fs::read(&volume).unwrap();
                    let (start, len) = (*start as usize, *len as usize);
                    volume = site.write("volume.img", &disk[start..start + len]);
                }
                e2fsck(&volume);
                let script = debugfs_cat(&volume, "/etc/xenjobs.d/10-job");
                let mut expected = "#!/bin/sh\necho hello\n".to_owned();
                if *name == "ext4-inline" {
                    // It lies in the inode, of which debugfs prints all 60 bytes of `i_block`: so it does for the kernel's files.
                    expected += &"\0".repeat(60 - expected.len());
                }
                assert_eq!(script, expected, "{name}");
            }
        }
    }
}

#[test]
fn what_only_the_journal_knows_is_in_the_copy() {
    for (name, filesystem) in [("dirty-ext3", "ext3"), ("dirty-ext4", "ext4")] {
        let site = Site::new();
        let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/images");
        let url = images.join(format!("{name}.img.zst"));
        site.write("job.xml", job(filesystem, url.to_str().unwrap()));
        site.write("vmlinuz", "kernel");
        let output = site.autoxen(&["prepare", "job.xml", "-o", "ready", "--kernel", "vmlinuz"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {stderr}");
        let said = "it was not unmounted; its journal is replayed in the copy";
        assert!(stderr.contains(said), "{name}: {stderr}");
        let volume = site.path("ready/xvda.img");
        assert_eq!(debugfs_cat(&volume, "/etc/new"), "only in the log\n", "{name}");
        assert!(debugfs_cat(&volume, "/etc/fstab").contains("# written by the guest\n"), "{name}");
    }
}
