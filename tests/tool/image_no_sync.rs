//! `image edit --no-sync`: the same edit, written straight into a copy.

use std::fs;

use crate::site::{Site, debugfs_cat, debugfs_stat, e2fsck, run};

const SCRIPT: &str =
    "mkdir /etc/xenjobs.d\ncp ./job :/etc/xenjobs.d/10-job\nchmod 0755 /etc/xenjobs.d/10-job\n";

#[test]
fn an_edit_without_a_sync_is_the_edit() {
    for kind in ["ext2", "ext3", "ext4"] {
        let site = Site::new();
        let image = site.mke2fs("root.img", "16M", &["-t", kind]);
        site.write("job", "#!/bin/sh\n");
        site.write("script", SCRIPT);
        let trace = site.path("trace");
        let shell = format!(
            "cd {} && exec strace -f -e trace=fsync,fdatasync,msync,sync_file_range -o {} {} image edit --no-sync root.img -f script",
            site.path("").display(),
            trace.display(),
            env!("CARGO_BIN_EXE_autoxen"),
        );
        run("sh", "dash", &["-c", &shell]);
        let syncs = fs::read_to_string(trace).unwrap();
        assert!(!syncs.contains("sync("), "{kind}: {syncs}");
        e2fsck(&image);
        assert_eq!(debugfs_cat(&image, "/etc/xenjobs.d/10-job"), "#!/bin/sh\n");
        assert!(debugfs_stat(&image, "/etc/xenjobs.d/10-job").contains("Mode:  0755"));
        assert!(!site.names().iter().any(|name| name.contains("autoxen-undo")), "{kind}");
    }
}

#[test]
fn a_refused_edit_changes_nothing() {
    let site = Site::new();
    let image = site.mke2fs("root.img", "16M", &["-t", "ext4"]);
    let before = fs::read(&image).unwrap();
    site.write("script", "mkdir /new\nrm /missing\n");
    let said = site.fails(&["image", "edit", "--no-sync", "root.img", "-f", "script"]);
    assert!(
        said.starts_with("error: script:2: image `root.img`: `/missing`: no such file"),
        "{said}"
    );
    assert!(fs::read(&image).unwrap() == before);
}
