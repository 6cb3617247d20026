//! `autoxen image info` from outside: what it says of an image, and its exit status.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::site::{Site, run, text};

const UUID: &str = "6a1d2c3b-0000-4000-8000-1234567890ab";

fn ext4(site: &Site, name: &str) -> std::path::PathBuf {
    let args = ["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^has_journal", "-L", "root"];
    site.mke2fs(name, "8M", &[&args[..], &["-U", UUID]].concat())
}

fn debugfs(image: &std::path::Path, request: &str) {
    run("debugfs", "e2fsprogs", &["-w", "-R", request, image.to_str().unwrap()]);
}

/// What `dumpe2fs` says of a field.
fn dumped(image: &std::path::Path, field: &str) -> String {
    let all = run("dumpe2fs", "e2fsprogs", &["-h", image.to_str().unwrap()]);
    let line = all.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().to_owned()
}

#[test]
fn a_file_system_is_told_as_dumpe2fs_tells_it() {
    let site = Site::new();
    let image = ext4(&site, "root.img");
    let (free_blocks, free_inodes) =
        (dumped(&image, "Free blocks:"), dumped(&image, "Free inodes:"));
    let reserved = dumped(&image, "Reserved block count:");
    // In the words of date(1): `Mon Nov 23 22:40:01 2026`.
    let created = dumped(&image, "Filesystem created:");
    let created = run("date", "coreutils", &["-u", "-d", &format!("{created} UTC"), "+%F %T"]);
    let created = created.trim();
    let out = site.succeeds(&["image", "info", "root.img"]);
    assert_eq!(
        out,
        format!(
            "\
root.img: 8.0 MiB (8388608 bytes)
ext4: uuid {UUID}, label `root`
  blocks: 8192 of 1024 bytes, {free_blocks} free, {reserved} of them kept for root
  inodes: 2048 of 256 bytes, {free_inodes} free
  features: ext_attr resize_inode dir_index filetype extent 64bit flex_bg sparse_super large_file huge_file dir_nlink \
             extra_isize
  state: clean
  created: {created} UTC
"
        )
    );
    let before = std::fs::read(&image).unwrap();
    let deep = site.succeeds(&["image", "info", "--deep", "root.img"]);
    let check = deep.strip_prefix(&out).unwrap();
    // etc, boot, root, lost+found and the root itself.
    assert!(check.starts_with("  check: clean ("), "{check}");
    assert!(check.contains(" inodes, 5 directories, "), "{check}");
    assert_eq!(check.lines().count(), 1, "{check}");
    assert_eq!(before, std::fs::read(&image).unwrap(), "it only looks");
}

#[test]
fn findings_are_listed_and_end_in_status_1() {
    let site = Site::new();
    let image = ext4(&site, "root.img");
    debugfs(&image, "sif /etc/fstab links_count 7");
    let output = site.autoxen(&["image", "info", "--deep", "root.img"]);
    assert_eq!(output.status.code(), Some(1));
    let out = text(&output.stdout);
    assert!(out.contains("  check: 1 finding ("), "{out}");
    assert!(out.contains(": link count is 7, should be 1\n"), "{out}");
    assert_eq!(text(&output.stderr), "");
    // Without --deep nothing is looked for.
    site.succeeds(&["image", "info", "root.img"]);
}

#[test]
fn programs_get_the_same() {
    let site = Site::new();
    let image = ext4(&site, "root.img");
    debugfs(&image, "sif /etc/fstab links_count 7");
    let output = site.autoxen(&["image", "info", "--deep", "--json", "root.img"]);
    assert_eq!(output.status.code(), Some(1));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["image"], &found["bytes"]), (&"root.img".into(), &8_388_608.into()));
    assert!(found["table"].is_null() && found["compression"].is_null());
    let volume = &found["volumes"][0];
    assert_eq!((&volume["holds"], &volume["label"]), (&"ext4".into(), &"root".into()));
    assert_eq!(volume["uuid"], UUID);
    let free: u64 = dumped(&image, "Free blocks:").parse().unwrap();
    assert_eq!(volume["ext"]["free_blocks"], free);
    assert_eq!(volume["ext"]["state"], "clean");
    // It has neither a journal nor programs.
    assert!(volume["ext"]["journal"].is_null() && volume["guest"].is_null(), "{volume}");
    assert_eq!(volume["ext"]["orphans"], 0);
    let check = &volume["check"];
    assert_eq!((&check["clean"], &check["total"]), (&false.into(), &1.into()));
    assert_eq!(check["findings"][0]["kind"], "links");
    assert_eq!(check["findings"][0]["what"], "link count is 7, should be 1");
    assert!(volume["error"].is_null() && volume["partition"].is_null());
}

#[test]
fn each_partition_is_told() {
    let site = Site::new();
    let ext = std::fs::read(ext4(&site, "root.img")).unwrap();
    let disk = site.path("disk.img");
    let file = File::create(&disk).unwrap();
    file.set_len(32 << 20).unwrap();
    let script = site.write(
        "disk.sfdisk",
        "label: gpt\nstart=2048, size=16384, name=\"spare\"\nstart=18432, size=16384\n",
    );
    let layout = format!("sfdisk -q {} < {}", disk.display(), script.display());
    run("sh", "fdisk", &["-c", &format!("PATH=$PATH:/sbin:/usr/sbin; {layout}")]);
    file.write_all_at(&ext, 18432 * 512).unwrap();
    let out = site.succeeds(&["image", "info", "--deep", "disk.img"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "disk.img: 32.0 MiB (33554432 bytes)");
    assert!(lines[1].starts_with("partition table: gpt, id "), "{out}");
    assert_eq!(lines[2], "partition 1: 8.0 MiB (8388608 bytes) at byte 1048576, name `spare`");
    assert_eq!(lines[3], "nothing known");
    assert_eq!(lines[4], "partition 2: 8.0 MiB (8388608 bytes) at byte 9437184");
    assert_eq!(lines[5], format!("ext4: uuid {UUID}, label `root`"));
    assert!(out.contains("  check: clean ("), "{out}");
    let alone = site.succeeds(&["image", "info", "--partition", "1", "disk.img"]);
    assert!(alone.contains("partition 1:") && !alone.contains("partition 2:"), "{alone}");
    let refusal = site.fails(&["image", "info", "--partition", "3", "disk.img"]);
    assert!(
        refusal.contains("no partition `3`\nhint: write `IMAGE#N`: there are 1 (`spare`"),
        "{refusal}"
    );
    for name in ["2", "root", UUID] {
        let alone = site.succeeds(&["image", "info", "--partition", name, "disk.img"]);
        assert!(alone.contains("partition 2:") && !alone.contains("partition 1:"), "{alone}");
    }
    let alone = site.succeeds(&["image", "info", "disk.img#root"]);
    assert!(alone.contains("partition 2:") && !alone.contains("partition 1:"), "{alone}");
    let refusal = site.fails(&["image", "info", "--partition", "1", "disk.img#root"]);
    assert!(refusal.starts_with("error: the partition is named twice\n"), "{refusal}");
    let refusal = site.fails(&["image", "info", "--partition", "1", "root.img"]);
    let expected =
        "error: image `root.img` has no partition table\nhint: name no partition of it\n";
    assert_eq!(refusal, expected);
}

#[test]
fn a_compressed_image_is_unpacked_to_be_looked_at() {
    let site = Site::new();
    let image = ext4(&site, "root.img");
    let packed = site.path("root.img.zst");
    let names = [image.to_str().unwrap(), "-o", packed.to_str().unwrap()];
    run("zstd", "zstd", &[&["-q"][..], &names].concat());
    let out = site.succeeds(&["image", "info", "--deep", "root.img.zst"]);
    assert!(
        out.starts_with("root.img.zst: 8.0 MiB (8388608 bytes), zstd unpacked\next4: "),
        "{out}"
    );
    assert!(out.contains("  check: clean ("), "{out}");
}

#[test]
fn what_is_no_image_is_refused() {
    let site = Site::new();
    site.write("empty.img", "");
    std::fs::create_dir(site.path("directory")).unwrap();
    for (name, expected) in [
        ("empty.img", "error: image `empty.img` is empty\n"),
        ("directory", "error: image `directory` is a directory\n"),
        ("missing.img", "error: image `missing.img`: no such file or directory\n"),
    ] {
        assert_eq!(site.fails(&["image", "info", name]), expected);
    }
    // Text is a file like any other, of which nothing is known.
    site.write("text", "hello\n");
    let out = site.succeeds(&["image", "info", "--deep", "text"]);
    assert_eq!(out, "text: 6 bytes\nnothing known\n");
}

#[test]
fn a_damaged_superblock_ends_in_status_2() {
    let site = Site::new();
    let image = ext4(&site, "root.img");
    // s_inodes_per_group.
    File::options().write(true).open(image).unwrap().write_all_at(&[0; 4], 1024 + 0x28).unwrap();
    let output = site.autoxen(&["image", "info", "root.img"]);
    assert_eq!(output.status.code(), Some(2));
    let what = "corrupt image: ext superblock: 0 inodes per group";
    assert!(text(&output.stdout).contains(&format!("  cannot be read: {what}\n")));
    assert!(text(&output.stderr).starts_with(&format!("error: {what}\nhint: ")));
}

#[test]
fn no_label_steers_the_terminal() {
    let site = Site::new();
    let args = ["-t", "ext4", "-L", "a\x1b[31mb", "-M", "/a\x1b[32mb"];
    site.mke2fs("a\x1b[31m.img", "8M", &args);
    let output = site.autoxen(&["image", "info", "--deep", "a\x1b[31m.img"]);
    let out = text(&output.stdout);
    assert!(out.contains("label `a\\u{1b}[31mb`"), "{out:?}");
    assert!(out.contains("last mounted at: /a\\u{1b}[32mb"), "{out:?}");
    assert!(!out.chars().any(|c| c.is_control() && c != '\n'), "{out:?}");
}

#[test]
fn the_man_page_and_completions_know_it() {
    let site = Site::new();
    site.succeeds(&["man", "pages"]);
    let page = std::fs::read_to_string(site.path("pages/autoxen-image-info.1")).unwrap();
    assert!(page.contains("\\-\\-deep") && page.contains("not_checked"), "{page}");
    assert!(site.succeeds(&["completions", "bash"]).contains("--partition"));
    let help = site.succeeds(&["image", "info", "--help"]);
    assert!(help.contains("autoxen image info root.img"), "{help}");
}
