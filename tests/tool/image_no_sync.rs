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
fn of_a_disk_one_volume_is_written_and_nothing_around_it() {
    const SECTOR: usize = 512;
    // Of each: its first sector, its length in MiB, and an edit.
    let volumes = [(2048, 2, "mkdir /EFI/new\n"), (6144, 16, SCRIPT)];
    let site = Site::new();
    let root = site.mke2fs("root.img", "16M", &["-t", "ext4"]);
    site.write("job", "#!/bin/sh\n");
    site.write(
        "layout",
        "label: gpt\nstart=2048, size=4096, type=U\nstart=6144, size=32768, type=L\n",
    );
    let at = site.path("");
    let make = format!(
        "cd {} && truncate -s 20M disk.img && sfdisk -q disk.img < layout && mkfs.fat -C efi.img 2048 > /dev/null &&
         mmd -i efi.img ::EFI && dd if=efi.img of=disk.img bs=512 seek=2048 conv=notrunc status=none &&
         dd if={} of=disk.img bs=512 seek=6144 conv=notrunc status=none",
        at.display(),
        root.display(),
    );
    run("sh", "dash", &["-c", &make]);
    for (nr, (start, mebibytes, script)) in (1..).zip(volumes) {
        let before = fs::read(site.path("disk.img")).unwrap();
        site.write("script", script);
        site.succeeds(&["image", "edit", "--no-sync", &format!("disk.img#{nr}"), "-f", "script"]);
        let after = fs::read(site.path("disk.img")).unwrap();
        let (start, end) = (start * SECTOR, start * SECTOR + (mebibytes << 20));
        assert!(before[..start] == after[..start] && before[end..] == after[end..], "{nr}");
        site.write(&format!("part{nr}.img"), &after[start..end]);
    }
    run("fsck.fat", "dosfstools", &["-n", site.path("part1.img").to_str().unwrap()]);
    run("mdir", "mtools", &["-i", site.path("part1.img").to_str().unwrap(), "::EFI/new"]);
    e2fsck(&site.path("part2.img"));
    assert_eq!(debugfs_cat(&site.path("part2.img"), "/etc/xenjobs.d/10-job"), "#!/bin/sh\n");
    assert!(!site.names().iter().any(|name| name.contains("autoxen-undo")));
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
