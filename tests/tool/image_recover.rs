//! `autoxen image recover` from outside: what a crash left, of the kernel or of an edit, is brought to its end; other
//! programs judge.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::in_place_crash::{crash, half_done};
use crate::site::{FSTAB, Site, debugfs_cat, e2fsck, judge, run, text, umount};

const RECOVER: &[&str] = &["image", "recover", "root.img"];

fn str(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A line of `dumpe2fs -h`.
fn dumped(image: &Path, field: &str) -> String {
    let all = run("dumpe2fs", "e2fsprogs", &["-h", str(image)]);
    all.lines().find_map(|line| line.strip_prefix(field)).unwrap().trim().to_owned()
}

/// An image as the kernel leaves it when the machine stops: `/etc/new` is only in the log, and a file that was deleted
/// while it was open is an orphan.
fn left_dirty(site: &Site, args: &[&str]) -> PathBuf {
    let image = site.mke2fs("mounted.img", "16M", args);
    let at = site.path("mount");
    fs::create_dir_all(&at).unwrap();
    run("mount", "mount", &["-o", "loop", str(&image), str(&at)]);
    let dirty = site.path("root.img");
    let outcome = std::panic::catch_unwind(|| {
        let open = File::create(at.join("deleted")).unwrap();
        open.write_all_at(&[7; 100_000], 0).unwrap();
        open.sync_all().unwrap();
        fs::write(at.join("etc/old"), "old\n").unwrap();
        rustix::fs::syncfs(&open).unwrap();
        fs::remove_file(at.join("deleted")).unwrap();
        rustix::fs::syncfs(&open).unwrap();
        fs::write(at.join("etc/new"), "new\n").unwrap();
        // With `fast_commit` this is one.
        File::open(at.join("etc/new")).unwrap().sync_all().unwrap();
        run("cp", "coreutils", &["--sparse=always", str(&image), str(&dirty)]);
    });
    umount(&at);
    outcome.unwrap();
    fs::remove_file(image).unwrap();
    fs::remove_dir(at).unwrap();
    fs::remove_dir_all(site.path("tree")).unwrap();
    assert!(dumped(&dirty, "Filesystem features:").contains("needs_recovery"));
    dirty
}

#[test]
fn what_the_kernel_left_is_replayed_and_orphans_are_freed() {
    for args in [
        &["-t", "ext4"][..],
        &["-t", "ext3", "-b", "1024"],
        &["-t", "ext4", "-O", "fast_commit"],
        &["-t", "ext4", "-O", "orphan_file,metadata_csum_seed"],
    ] {
        let site = Site::new();
        let image = left_dirty(&site, args);
        let by_e2fsck = site.path("e2fsck.img");
        fs::copy(&image, &by_e2fsck).unwrap();
        let output = judge("e2fsck", "e2fsprogs", &["-fp", str(&by_e2fsck)]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}", text(&output.stdout));
        let info = site.autoxen(&["image", "info", "root.img"]);
        let state = ", the journal has to be replayed, 1 orphan inode\n";
        assert!(text(&info.stdout).contains(state), "{args:?}: {}", text(&info.stdout));
        let note = "note: a journal has to be replayed: the next mount does that, or `autoxen image recover`\n";
        assert_eq!(text(&info.stderr), note, "{args:?}");
        assert_eq!(
            site.succeeds(RECOVER),
            "root.img: the journal is replayed\nroot.img: 1 orphan inode is freed or cut\n",
            "{args:?}"
        );
        e2fsck(&image);
        assert!(!dumped(&image, "Filesystem features:").contains("needs_recovery"), "{args:?}");
        assert_eq!(debugfs_cat(&image, "/etc/new"), "new\n", "{args:?}");
        assert_eq!(debugfs_cat(&image, "/etc/old"), "old\n", "{args:?}");
        for field in ["Free blocks:", "Free inodes:"] {
            assert_eq!(dumped(&image, field), dumped(&by_e2fsck, field), "{args:?} {field}");
        }
        let before = fs::read(&image).unwrap();
        assert_eq!(site.succeeds(RECOVER), "root.img: nothing to do\n", "{args:?}");
        assert!(fs::read(&image).unwrap() == before, "{args:?}");
    }
}

#[test]
fn each_partition_is_recovered_or_one_alone() {
    let site = Site::new();
    let ext = fs::read(left_dirty(&site, &["-t", "ext4"])).unwrap();
    let path = site.path("disk.img");
    let disk = File::options().read(true).write(true).create_new(true).open(path).unwrap();
    disk.set_len(40 << 20).unwrap();
    // Each 16 MiB; between them is one without anything.
    let script =
        site.write("disk.sfdisk", "label: gpt\nstart=2048, size=32768\nsize=2048\nsize=32768\n");
    let layout = format!("sfdisk -q {} < {}", site.path("disk.img").display(), script.display());
    run("sh", "fdisk", &["-c", &layout]);
    let starts = [2048 * 512, (2048 + 32768 + 2048) * 512];
    for start in starts {
        disk.write_all_at(&ext, start).unwrap();
    }
    let volume = |nr: usize| {
        let mut bytes = vec![0; 16 << 20];
        disk.read_exact_at(&mut bytes, starts[nr]).unwrap();
        site.write(&format!("volume-{nr}.img"), bytes)
    };
    let alone = site.succeeds(&["image", "recover", "--partition", "3", "--json", "disk.img"]);
    let alone: serde_json::Value = serde_json::from_str(&alone).unwrap();
    let expected = serde_json::json!({
        "image": "disk.img",
        "undone_bytes": null,
        "volumes": [{"partition": 3, "journal": "replayed", "orphans": 1}],
    });
    assert_eq!(alone, expected);
    assert!(fs::read(volume(0)).unwrap() == ext, "the other one is as it was");
    e2fsck(&volume(1));
    let all = site.succeeds(&["image", "recover", "disk.img"]);
    let expected = "\
disk.img, partition 1: the journal is replayed
disk.img, partition 1: 1 orphan inode is freed or cut
";
    assert_eq!(all, expected);
    e2fsck(&volume(0));
    let stderr = site.fails(&["image", "recover", "--partition", "9", "disk.img"]);
    assert!(stderr.contains("no partition `9`\nhint: write `IMAGE#N`: there are 1 ("), "{stderr}");
    // One that cannot be recovered keeps the others as they are.
    disk.write_all_at(&ext, starts[0]).unwrap();
    disk.write_all_at(&[0; 4], starts[1] + 1024 + 0x28).unwrap();
    let stderr = site.fails(&["image", "recover", "disk.img"]);
    assert!(
        stderr.starts_with("error: partition 3: image `disk.img`: corrupt image: "),
        "{stderr}"
    );
    assert!(fs::read(volume(0)).unwrap() == ext);
}

#[test]
fn an_edit_that_was_interrupted_is_undone() {
    let site = half_done();
    let image = site.path("root.img");
    let stderr = site.fails(&["image", "info", "root.img"]);
    let expected = "\
error: image `root.img`: an edit of it was interrupted and has to be undone first
hint: `autoxen image recover` undoes what is half done; `autoxen prepare --in-place` does, too, and goes on
";
    assert_eq!(stderr, expected);
    let said = site.succeeds(RECOVER);
    let start = "root.img: an edit of it was interrupted, and is undone now (";
    assert!(said.starts_with(start) && said.ends_with(" bytes put back)\n"), "{said}");
    e2fsck(&image);
    assert_eq!(debugfs_cat(&image, "/etc/fstab"), FSTAB);
    assert_eq!(site.names(), ["job.xml", "root.img"]);
    assert_eq!(site.succeeds(RECOVER), "root.img: nothing to do\n");
    let json: serde_json::Value =
        serde_json::from_str(&half_done().succeeds(&["image", "recover", "root.img", "--json"]))
            .unwrap();
    assert!(json["undone_bytes"].as_u64().unwrap() > 0, "{json}");
    let volume = serde_json::json!({"partition": null, "journal": null, "orphans": 0});
    assert_eq!(json["volumes"], serde_json::json!([volume]));
}

#[test]
fn an_edit_through_the_journal_is_as_before_or_after_wherever_it_ends() {
    let stock = Site::new();
    let image = stock.mke2fs("root.img", "8M", &["-t", "ext4", "-b", "1024"]);
    let (mut left, mut before, mut after) = (0, 0, 0);
    loop {
        let site = Site::new();
        let own = site.path("root.img");
        fs::copy(&image, &own).unwrap();
        let writes = std::cell::Cell::new(0);
        crash(&site, &own, |count| {
            writes.set(count);
            left
        });
        site.succeeds(RECOVER);
        e2fsck(&own);
        assert!(!dumped(&own, "Filesystem features:").contains("needs_recovery"), "{left}");
        let new = judge("debugfs", "e2fsprogs", &["-R", "cat /etc/new", str(&own)]);
        match debugfs_cat(&own, "/etc/fstab").as_str() {
            FSTAB => {
                assert_eq!(text(&new.stdout), "", "{left}");
                before += 1;
            }
            fstab => {
                assert_eq!((fstab, text(&new.stdout).as_str()), ("half\n", "new\n"), "{left}");
                after += 1;
            }
        }
        left += 1;
        if left == writes.get() {
            break;
        }
    }
    assert!(before > 0 && after > 0, "{before} before, {after} after");
}

#[test]
fn where_there_is_nothing_to_do_nothing_is_written() {
    let site = Site::new();
    let image = site.mke2fs("root.img", "8M", &["-t", "ext4"]);
    site.write("text", "hello\n");
    for path in [&image, &site.path("text")] {
        // So that even a read-only image serves.
        fs::set_permissions(path, fs::Permissions::from_mode(0o444)).unwrap();
        let modified = fs::metadata(path).unwrap().modified().unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let said = site.succeeds(&["image", "recover", name]);
        assert_eq!(said, format!("{name}: nothing to do\n"));
        assert_eq!(fs::metadata(path).unwrap().modified().unwrap(), modified);
    }
    // The kernel turns the mark on before there is anything in the log.
    fs::set_permissions(&image, fs::Permissions::from_mode(0o644)).unwrap();
    run("debugfs", "e2fsprogs", &["-w", "-R", "feature needs_recovery", str(&image)]);
    let expected = "root.img: the journal is empty, and is marked so now\n";
    assert_eq!(site.succeeds(RECOVER), expected);
    e2fsck(&image);
}

/// It fails with these first words, says a way out, and the image is as it was.
#[track_caller]
fn refused(site: &Site, expected: &str) {
    let before = fs::read(site.path("root.img")).unwrap();
    let names = site.names();
    let stderr = site.fails(RECOVER);
    assert!(stderr.starts_with(expected), "expected `{expected}` in: {stderr}");
    assert!(stderr.contains("\nhint: "), "{stderr}");
    assert!(fs::read(site.path("root.img")).unwrap() == before, "the image changed");
    assert_eq!(site.names(), names);
}

#[test]
fn what_cannot_be_recovered_is_refused_by_name() {
    let site = Site::new();
    let image = left_dirty(&site, &["-t", "ext4"]);
    fs::set_permissions(&image, fs::Permissions::from_mode(0o444)).unwrap();
    refused(&site, "error: image `root.img` cannot be recovered: it is read-only\n");
    fs::set_permissions(&image, fs::Permissions::from_mode(0o644)).unwrap();

    // Who only reads is in the way.
    let file = File::open(&image).unwrap();
    file.lock_shared().unwrap();
    refused(&site, "error: image `root.img` is in use: ");
    file.unlock().unwrap();
    let device = run("losetup", "mount", &["--find", "--show", str(&image)]);
    let outcome =
        std::panic::catch_unwind(|| refused(&site, "error: image `root.img` is in use: "));
    run("losetup", "mount", &["-d", device.trim()]);
    outcome.unwrap();

    let packed = site.path("packed.zst");
    run("zstd", "zstd", &["-q", str(&image), "-o", str(&packed)]);
    let expected = "\
error: image `packed.zst` is compressed (zstd): no place to write to
hint: unpack it with `zstd -d`, and recover that
";
    assert_eq!(site.fails(&["image", "recover", "packed.zst"]), expected);
    // Of a packed one, nobody is told to recover it where it lies.
    let info = site.autoxen(&["image", "info", "packed.zst"]);
    assert!(info.status.success() && info.stderr.is_empty(), "{}", text(&info.stderr));

    site.write("empty.img", "");
    let expected = "error: image `empty.img` is empty\n";
    assert_eq!(site.fails(&["image", "recover", "empty.img"]), expected);
    let expected = "error: image `missing.img`: no such file or directory\n";
    assert_eq!(site.fails(&["image", "recover", "missing.img"]), expected);

    // Files that are freed would leave its counts wrong.
    let site = Site::new();
    let image = site.mke2fs("root.img", "8M", &["-t", "ext4", "-O", "quota"]);
    run("debugfs", "e2fsprogs", &["-w", "-R", "feature needs_recovery", str(&image)]);
    let what = "ext file systems with the feature `quota` cannot be edited";
    refused(&site, &format!("error: image `root.img`: {what}"));
}

#[test]
fn a_file_that_only_has_the_name_of_an_undo_file_is_left_alone() {
    let site = half_done();
    site.write("root.img.autoxen-undo", "mine\n");
    refused(
        &site,
        "error: image `root.img`: `SITE/root.img.autoxen-undo` has the name of an undo file",
    );
    assert_eq!(fs::read(site.path("root.img.autoxen-undo")).unwrap(), b"mine\n");
}
