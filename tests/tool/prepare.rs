//! `autoxen prepare` from outside: images as mke2fs makes them today and made them in 2006, bare and in partitions,
//! judged by e2fsck, debugfs and by a comparison of bytes.

use std::fs;

use crate::site::{FSTAB, Site, debugfs_cat, debugfs_stat, e2fsck, run};

/// (name, `filesystemtype`, arguments of mke2fs)
const KINDS: &[(&str, &str, &[&str])] = &[
    ("ext2 of today", "ext2", &["-t", "ext2"]),
    ("ext3 of today", "ext3", &["-t", "ext3"]),
    ("ext4 of today", "ext4", &["-t", "ext4"]),
    (
        "ext4 with all checksums",
        "ext4",
        &["-t", "ext4", "-O", "metadata_csum,64bit,metadata_csum_seed,orphan_file"],
    ),
    ("ext4 with group checksums", "ext4", &["-t", "ext4", "-O", "^metadata_csum,uninit_bg"]),
    ("ext4 of small blocks", "ext4", &["-t", "ext4", "-b", "1024"]),
    (
        "ext2 of 2006",
        "ext2",
        &["-t", "ext2", "-I", "128", "-O", "none,filetype,sparse_super", "-b", "1024"],
    ),
    (
        "ext3 of 2006",
        "ext3",
        &[
            "-t",
            "ext3",
            "-I",
            "128",
            "-O",
            "none,has_journal,filetype,sparse_super,resize_inode,dir_index",
        ],
    ),
    ("ext2 of revision 0", "ext2", &["-t", "ext2", "-r", "0", "-I", "128", "-O", "none"]),
];

#[test]
fn every_kind_of_ext_is_prepared_and_clean() {
    for (kind, filesystem, args) in KINDS {
        let site = Site::new();
        let stock = site.mke2fs("root.img", "24M", args);
        let before = fs::read(&stock).unwrap();
        site.job(filesystem, "root.img");
        site.succeeds(&["prepare", "job.xml", "-o", "ready"]);
        let ready = site.path("ready/xvda.img");
        e2fsck(&ready);
        assert!(fs::read(&stock).unwrap() == before, "{kind}: the stock image changed");
        assert_eq!(
            debugfs_cat(&ready, "/etc/xenjobs.d/10-job"),
            "#!/bin/sh\necho hello\n",
            "{kind}"
        );
        let stat = debugfs_stat(&ready, "/etc/xenjobs.d/10-job");
        assert!(stat.contains("Mode:  0755"), "{kind}: {stat}");
        assert!(stat.contains("User:     0   Group:     0"), "{kind}: {stat}");
        let fstab = debugfs_cat(&ready, "/etc/fstab");
        assert!(fstab.contains("proc\t/proc\tproc\tdefaults\t0 0\n"), "{kind}: {fstab}");
        assert!(fstab.contains(&format!("\n/dev/xvda / {filesystem} ")), "{kind}: {fstab}");
        assert_eq!(debugfs_cat(&stock, "/etc/fstab"), FSTAB, "{kind}");
        assert_eq!(fs::read(site.path("ready/vmlinuz-6.1.0-13-amd64")).unwrap(), b"kernel 13");
        assert_eq!(fs::read(site.path("ready/initrd.img-6.1.0-13-amd64")).unwrap(), b"ramdisk 13");
    }
}

#[test]
fn the_same_input_and_epoch_give_the_same_bytes() {
    let site = Site::new();
    site.mke2fs("root.img", "24M", &["-t", "ext4"]);
    site.job("ext4", "root.img");
    let prepare = || {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_autoxen"))
            .args(["prepare", "job.xml", "-o", "ready"])
            .current_dir(site.path(""))
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", crate::site::text(&output.stderr));
        // 1700000000 = 0x6553f100; no time in what was written comes from the clock.
        let stat = debugfs_stat(&site.path("ready/xvda.img"), "/etc/fstab");
        assert!(stat.contains("mtime: 0x6553f100"), "{stat}");
        assert!(stat.contains("ctime: 0x6553f100"), "{stat}");
        let mut files: Vec<_> = fs::read_dir(site.path("ready"))
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                (path.file_name().unwrap().to_owned(), fs::read(&path).unwrap())
            })
            .collect();
        files.sort();
        fs::remove_dir_all(site.path("ready")).unwrap();
        files
    };
    let first = prepare();
    assert_eq!(first.len(), 5, "domain.cfg, manifest.json, kernel, ramdisk, disk");
    assert!(prepare() == first);
}

#[test]
fn a_time_that_no_file_system_holds_is_refused() {
    let site = Site::new();
    site.mke2fs("root.img", "8M", &["-t", "ext4"]);
    site.job("ext4", "root.img");
    for epoch in ["", "-1", "soon", "1.5", "10737418240", "99999999999999999999"] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_autoxen"))
            .args(["prepare", "job.xml", "-o", "ready"])
            .current_dir(site.path(""))
            .env("SOURCE_DATE_EPOCH", epoch)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{epoch}");
        assert_eq!(
            crate::site::text(&output.stderr),
            format!(
                "error: SOURCE_DATE_EPOCH is no time that serves: `{epoch}`\n\
                 hint: a number of seconds since 1970, from 0 to 10737418239\n"
            )
        );
    }
}

#[test]
fn a_bundle_that_could_not_be_told_of_is_whole() {
    let site = Site::new();
    site.mke2fs("root.img", "8M", &["-t", "ext4"]);
    site.job("ext4", "root.img");
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_autoxen"))
        .args(["prepare", "job.xml", "-o", "ready"])
        .current_dir(site.path(""))
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = crate::site::text(&output.stderr);
    let said = "error: cannot write to standard output: no space left on device\nhint: the bundle is whole: `";
    assert!(stderr.contains(said), "{stderr}");
    e2fsck(&site.path("ready/xvda.img"));
}

/// Put `volume` into a disk image at 1 MiB with the partition table that `script` asks of sfdisk.
pub(crate) fn disk(site: &Site, volume: &str, disk: &str, script: &str, offset: u64) {
    let bytes = fs::read(site.path(volume)).unwrap();
    let path = site.path(disk);
    let file = fs::File::create_new(&path).unwrap();
    file.set_len(offset + bytes.len() as u64 + (1 << 20)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes, offset).unwrap();
    let script = site.write("script", script);
    let shell = format!("sfdisk -q {} < {}", path.display(), script.display());
    run("sh", "dash", &["-c", &shell]);
}

fn in_partition(site: &Site, script: &str, offset: u64, partition: u32, judge: &[&str]) {
    site.mke2fs("root.img", "24M", &["-t", "ext4"]);
    disk(site, "root.img", "disk.img", script, offset);
    let xmf = crate::site::job("ext4", "disk.img")
        .replace("<imagefile>", &format!("<imagefile partition=\"{partition}\">"));
    site.write("job.xml", xmf);
    site.succeeds(&["prepare", "job.xml", "-o", "ready"]);
    let stock = fs::read(site.path("disk.img")).unwrap();
    let ready = fs::read(site.path("ready/xvda.img")).unwrap();
    let (start, end) = (offset as usize, offset as usize + (24 << 20));
    assert!(stock[..start] == ready[..start], "bytes before the partition changed");
    assert!(stock[end..] == ready[end..], "bytes behind the partition changed");
    let volume = site.write("volume.img", &ready[start..end]);
    e2fsck(&volume);
    assert_eq!(debugfs_cat(&volume, "/etc/xenjobs.d/10-job"), "#!/bin/sh\necho hello\n");
    let fstab = debugfs_cat(&volume, "/etc/fstab");
    assert!(fstab.contains(&format!("\n/dev/xvda{partition} / ext4 ")), "{fstab}");
    let cfg = fs::read_to_string(site.path("ready/domain.cfg")).unwrap();
    assert!(cfg.contains("vdev=xvda,"), "the whole disk is attached: {cfg}");
    assert!(cfg.contains(&format!("root=/dev/xvda{partition} ")), "{cfg}");
    let path = site.path("ready/xvda.img");
    let mut args = judge[1..].to_vec();
    args.push(path.to_str().unwrap());
    run(judge[0], "fdisk or gdisk", &args);
}

#[test]
fn the_second_partition_of_a_gpt_disk_is_prepared() {
    let script = "label: gpt\nstart=2048, size=2048\nstart=4096, size=49152\n";
    in_partition(&Site::new(), script, 4096 * 512, 2, &["sgdisk", "-v"]);
}

#[test]
fn of_a_disk_the_root_is_found_and_what_is_in_doubt_is_listed() {
    let site = Site::new();
    site.write("tree/bin/sh", "");
    site.mke2fs("root.img", "24M", &["-t", "ext4"]);
    let script = "label: gpt\nstart=2048, size=2048\nstart=4096, size=49152\n";
    disk(&site, "root.img", "disk.img", script, 4096 * 512);
    site.job("ext4", "disk.img");
    let plan = site.succeeds(&["plan", "job.xml"]);
    assert!(plan.contains("/dev/xvda: partition 2 holds the root"), "{plan}");
    site.succeeds(&["prepare", "job.xml", "-o", "ready"]);
    let ready = fs::read(site.path("ready/xvda.img")).unwrap();
    let volume = site.write("volume.img", &ready[4096 * 512..4096 * 512 + (24 << 20)]);
    assert!(debugfs_cat(&volume, "/etc/fstab").contains("\n/dev/xvda2 / ext4 "));
    let cfg = fs::read_to_string(site.path("ready/domain.cfg")).unwrap();
    assert!(cfg.contains("vdev=xvda,") && cfg.contains("root=/dev/xvda2 "), "{cfg}");
    // The name of a device says another partition: neither counts.
    let xmf = fs::read_to_string(site.path("job.xml")).unwrap();
    site.write("job.xml", xmf.replace("/dev/xvda<", "/dev/xvda1<"));
    let refusal = site.fails(&["plan", "job.xml"]);
    assert!(
        refusal.contains("a partition table (gpt) with partitions 1 (unknown), 2 (ext4)"),
        "{refusal}"
    );
    // Without programs it is no root.
    site.job("ext4", "disk.img");
    site.succeeds(&["image", "rm", "-r", "disk.img:/bin"]);
    let refusal = site.fails(&["plan", "job.xml"]);
    assert!(
        refusal.contains("hint: set partition=\"2\"") || refusal.contains("partition=\"2\""),
        "{refusal}"
    );
}

#[test]
fn a_logical_partition_of_an_mbr_disk_is_prepared() {
    let script = "label: dos\nstart=2048, size=2048, type=83\nstart=4096, type=5\nstart=6144, size=49152, type=83\n";
    in_partition(&Site::new(), script, 6144 * 512, 5, &["sfdisk", "--verify"]);
}

/// GPT with FAT (1 MiB) in 1 and an ext4 root in 2; a file goes into the FAT.
pub(crate) fn fat_and_ext(site: &Site) {
    site.mke2fs("volume.img", "24M", &["-t", "ext4"]);
    let script = "label: gpt\nstart=2048, size=2048\nstart=4096, size=49152\n";
    disk(site, "volume.img", "disk.img", script, 4096 * 512);
    let fat = site.path("efi.img");
    run("mkfs.fat", "dosfstools", &["-C", fat.to_str().unwrap(), "1024"]);
    let file = fs::OpenOptions::new().write(true).open(site.path("disk.img")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &fs::read(&fat).unwrap(), 2048 * 512).unwrap();
    for name in ["volume.img", "efi.img", "script"] {
        fs::remove_file(site.path(name)).unwrap();
    }
    fs::remove_dir_all(site.path("tree")).unwrap();
    let xmf = crate::site::job("ext4", "disk.img")
        .replace("<imagefile>", "<imagefile partition=\"2\">")
        .replace(
            "  <job>",
            r#"  <imagefile partition="1">
    <filesystemtype>vfat</filesystemtype>
    <mountpoint>/boot/efi</mountpoint>
    <blockdevice>/dev/xvda</blockdevice>
    <url>disk.img</url>
    <file path="/EFI/note.txt">hello</file>
  </imagefile>
  <job>"#,
        );
    site.write("job.xml", xmf);
}

#[test]
fn two_partitions_of_one_image_are_one_disk() {
    let site = Site::new();
    fat_and_ext(&site);
    site.succeeds(&["prepare", "job.xml", "-o", "ready"]);
    let ready = fs::read(site.path("ready/xvda.img")).unwrap();
    let efi = site.write("efi-ready.img", &ready[2048 * 512..4096 * 512]);
    run("fsck.fat", "dosfstools", &["-n", efi.to_str().unwrap()]);
    let read = run("mtype", "mtools", &["-i", efi.to_str().unwrap(), "::EFI/note.txt"]);
    assert_eq!(read, "hello");
    let volume = site.write("volume.img", &ready[4096 * 512..(4096 + 49152) * 512]);
    e2fsck(&volume);
    assert!(debugfs_cat(&volume, "/etc/fstab").contains("\n/dev/xvda1 /boot/efi vfat "));
}
