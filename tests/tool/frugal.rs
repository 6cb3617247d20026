//! `prepare` costs what the data cost, not what the image's size is.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::site::{Site, debugfs_cat, run};

/// A sparse image of 32 GiB with a small root.
fn large(site: &Site) {
    let args = ["-t", "ext4", "-E", "lazy_itable_init=1,lazy_journal_init=1", "-J", "size=4"];
    site.mke2fs("root.img", "32G", &args);
    site.job("ext4", "root.img");
}

#[test]
fn sixteen_mib_of_private_memory_are_enough_for_32_gib() {
    let site = Site::new();
    large(&site);
    // RLIMIT_DATA counts all private writable memory (getrlimit(2)); the mapped image is shared and does not count.
    let shell = format!(
        "cd {} && exec prlimit --data={} {} prepare job.xml -o ready",
        site.path("").display(),
        16 << 20,
        env!("CARGO_BIN_EXE_autoxen"),
    );
    run("sh", "dash", &["-c", &shell]);
    assert_eq!(
        debugfs_cat(&site.path("ready/xvda.img"), "/etc/xenjobs.d/10-job"),
        "#!/bin/sh\necho hello\n"
    );
}

#[test]
fn holes_stay_holes() {
    let site = Site::new();
    large(&site);
    site.succeeds(&["prepare", "job.xml", "-o", "ready"]);
    let stock = fs::metadata(site.path("root.img")).unwrap();
    let ready = fs::metadata(site.path("ready/xvda.img")).unwrap();
    assert_eq!(ready.len(), 32 << 30);
    // 512-byte blocks. 1 MiB is far more than the edit needs and far less than the 32 GiB.
    assert!(
        ready.blocks() <= stock.blocks() + 2048,
        "{} blocks grew to {}",
        stock.blocks(),
        ready.blocks()
    );
}
