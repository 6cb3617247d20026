//! `autoxen prepare --in-place` from outside: the image itself is edited, no copy is made, and all is as on a copy.

use std::fs;
use std::path::{Path, PathBuf};

use crate::prepare::{disk, fat_and_ext};
use crate::site::{Site, debugfs_cat, debugfs_stat, e2fsck, run, text, umount};

const PREPARE: &[&str] = &["prepare", "job.xml", "-o", "ready", "--in-place"];

/// The script of the job that [`crate::site::job`] has.
const SCRIPT: &str = "#!/bin/sh\necho hello\n";

/// Run in a site, and expect it to succeed; all that it says.
#[track_caller]
fn says(site: &Site, args: &[&str]) -> String {
    let output = site.autoxen(args);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{said}");
    said
}

/// The manifest of the bundle `ready`.
fn manifest(site: &Site) -> serde_json::Value {
    serde_json::from_slice(&fs::read(site.path("ready/manifest.json")).unwrap()).unwrap()
}

/// The names in the bundle `ready`, sorted.
fn bundle(site: &Site) -> Vec<String> {
    let entries = fs::read_dir(site.path("ready")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What the kernel sees in an image, mounted read-only.
fn kernel_cat(site: &Site, image: &Path, paths: &[&str]) -> Vec<String> {
    let at = site.path("mount");
    fs::create_dir_all(&at).unwrap();
    let (image, at) = (image.to_str().unwrap(), at.to_str().unwrap());
    run("mount", "mount", &["-o", "loop,ro", image, at]);
    let read = paths.iter().map(|path| fs::read_to_string(format!("{at}{path}")));
    let read: Vec<_> = read.collect();
    umount(at.as_ref());
    fs::remove_dir(at).unwrap();
    read.into_iter().map(Result::unwrap).collect()
}

/// The part of a disk image, as a file of its own.
fn part(site: &Site, disk: &str, start: usize, len: usize) -> PathBuf {
    let bytes = fs::read(site.path(disk)).unwrap();
    site.write("part.img", &bytes[start..start + len])
}

/// (arguments of mke2fs, `filesystemtype`, guard)
const KINDS: &[(&[&str], &str, &str)] = &[
    (&["-t", "ext4"], "ext4", "journal"),
    (&["-t", "ext4", "-b", "1024"], "ext4", "journal"),
    (
        &["-t", "ext4", "-O", "metadata_csum,64bit,metadata_csum_seed,orphan_file"],
        "ext4",
        "journal",
    ),
    (&["-t", "ext3", "-I", "128"], "ext3", "journal"),
    (&["-t", "ext4", "-O", "^has_journal"], "ext4", "undo"),
    (&["-t", "ext2"], "ext2", "undo"),
    (&["-t", "ext2", "-r", "0", "-I", "128", "-O", "none"], "ext2", "undo"),
];

#[test]
fn every_kind_of_ext_is_edited_where_it_lies() {
    for (args, filesystem, guard) in KINDS {
        let site = Site::new();
        let image = site.mke2fs("root.img", "24M", args);
        fs::remove_dir_all(site.path("tree")).unwrap();
        site.job(filesystem, "root.img");
        let said = says(&site, PREPARE);
        let how = if *guard == "undo" { "undo file" } else { *guard };
        assert!(said.contains(&format!("edited where it lies ({how}); ")), "{args:?}: {said}");
        let seen =
            if args.contains(&"-r") { "not all read back" } else { "read back by ext4-view" };
        assert!(said.contains(seen), "{args:?}: {said}");
        e2fsck(&image);
        let seen = kernel_cat(&site, &image, &["/etc/fstab", "/etc/xenjobs.d/10-job"]);
        assert!(seen[0].contains(&format!("\n/dev/xvda / {filesystem} ")), "{args:?}: {seen:?}");
        assert_eq!(seen[1], SCRIPT, "{args:?}");
        let stat = debugfs_stat(&image, "/etc/xenjobs.d/10-job");
        assert!(stat.contains("Mode:  0755"), "{args:?}: {stat}");
        assert_eq!(site.names(), ["job.xml", "ready", "root.img"], "{args:?}");
        let files =
            ["domain.cfg", "initrd.img-6.1.0-13-amd64", "manifest.json", "vmlinuz-6.1.0-13-amd64"];
        assert_eq!(bundle(&site), files, "{args:?}");
        let cfg = fs::read_to_string(site.path("ready/domain.cfg")).unwrap();
        let target = fs::canonicalize(&image).unwrap();
        assert!(
            cfg.contains(&format!("vdev=xvda,access=rw,target={}\"", target.display())),
            "{cfg}"
        );
        let disk = &manifest(&site)["disks"][0];
        assert_eq!(disk["how"], "in-place", "{args:?}");
        assert_eq!(disk["guard"], *guard, "{args:?}");
        assert_eq!(disk["image"], target.to_str().unwrap(), "{args:?}");
        assert!(disk.get("file").is_none(), "{disk}");
    }
}

#[test]
fn a_plan_says_how_and_writes_nothing() {
    for (args, filesystem, how, guard) in [
        (&["-t", "ext4"], "ext4", "through its journal", serde_json::json!("journal")),
        (
            &["-t", "ext2"],
            "ext2",
            "with the undo file root.img.autoxen-undo beside it meanwhile",
            serde_json::json!({"undo": "SITE/root.img.autoxen-undo"}),
        ),
    ] {
        let site = Site::new();
        let image = site.mke2fs("root.img", "24M", args);
        site.job(filesystem, "root.img");
        let before = (fs::read(&image).unwrap(), fs::metadata(&image).unwrap().modified().unwrap());
        let said = site.succeeds(&["plan", "job.xml", "--in-place"]);
        let here = fs::canonicalize(site.path("")).unwrap();
        let expected =
            format!("disk xvda: {}/root.img itself, edited where it lies, {how}\n", here.display());
        assert!(said.contains(&expected), "{said}");
        let json = site.succeeds(&["plan", "job.xml", "--in-place", "--json"]);
        let json = json.replace(here.to_str().unwrap(), "SITE");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["disks"][0]["guard"], guard);
        let after = (fs::read(&image).unwrap(), fs::metadata(&image).unwrap().modified().unwrap());
        assert!(before == after, "a plan changed the image");
        assert_eq!(site.names(), ["job.xml", "root.img", "tree"]);
    }
}

#[test]
fn twice_is_as_once() {
    let site = Site::new();
    let image = site.mke2fs("root.img", "24M", &["-t", "ext4"]);
    let xmf = crate::site::job("ext4", "root.img").replace("/dev/xvda", "/dev/hda1").replace(
        "</url>",
        r#"</url>
    <file path="/opt/data/list" mode="0600" owner="7:8">a</file>
    <file path="/opt/link" type="symlink" target="data/list"/>
    <file path="/srv/empty" type="directory"/>
    <hostname>node7</hostname>
    <authorizedkey>ssh-ed25519 AAAA one</authorizedkey>"#,
    );
    site.write("job.xml", xmf);
    let look = || {
        e2fsck(&image);
        let cat =
            ["/etc/fstab", "/etc/hostname", "/root/.ssh/authorized_keys", "/etc/xenjobs.d/10-job"]
                .map(|path| debugfs_cat(&image, path));
        let list = |path: &str| {
            let listed = run(
                "debugfs",
                "e2fsprogs",
                &["-R", &format!("ls -p {path}"), image.to_str().unwrap()],
            );
            // `/inode/mode/uid/gid/name/size/`: a file that is replaced may get another inode.
            let rows = listed.lines().map(|row| row.splitn(3, '/').nth(2).unwrap_or("").to_owned());
            rows.map(|row| row.split_once('/').map_or(row.clone(), |(_, rest)| rest.to_owned()))
                .collect::<Vec<_>>()
        };
        let listed =
            ["/", "/etc", "/etc/xenjobs.d", "/opt", "/opt/data", "/root/.ssh", "/srv"].map(list);
        (cat, listed)
    };
    says(&site, PREPARE);
    let once = look();
    let files = |site: &Site| {
        bundle(site)
            .into_iter()
            .map(|name| fs::read(site.path("ready").join(name)).unwrap())
            .collect::<Vec<_>>()
    };
    let bundle_once = files(&site);
    assert!(once.0[0].contains("\n/dev/xvda1 / ext4 "), "{once:?}");
    for round in 2..5 {
        fs::remove_dir_all(site.path("ready")).unwrap();
        says(&site, PREPARE);
        assert_eq!(look(), once, "round {round}");
        assert_eq!(files(&site)[0], bundle_once[0], "domain.cfg in round {round}");
    }
}

#[test]
fn a_partition_of_a_disk_is_edited_and_nothing_around_it() {
    let site = Site::new();
    site.mke2fs("volume.img", "24M", &["-t", "ext4"]);
    let script = "label: gpt\nstart=2048, size=2048\nstart=4096, size=49152\n";
    disk(&site, "volume.img", "disk.img", script, 4096 * 512);
    let before = fs::read(site.path("disk.img")).unwrap();
    let xmf =
        crate::site::job("ext4", "disk.img").replace("<imagefile>", "<imagefile partition=\"2\">");
    site.write("job.xml", xmf);
    says(&site, PREPARE);
    assert_eq!(manifest(&site)["disks"][0]["guard"], "journal");
    let after = fs::read(site.path("disk.img")).unwrap();
    let (start, end) = (4096 * 512, 4096 * 512 + (24 << 20));
    assert!(before[..start] == after[..start] && before[end..] == after[end..]);
    let volume = part(&site, "disk.img", start, 24 << 20);
    e2fsck(&volume);
    assert_eq!(debugfs_cat(&volume, "/etc/xenjobs.d/10-job"), SCRIPT);
}

#[test]
fn two_file_systems_of_one_image_are_edited_under_one_undo_file() {
    let site = Site::new();
    fat_and_ext(&site);
    says(&site, PREPARE);
    assert_eq!(site.names(), ["disk.img", "job.xml", "ready"]);
    assert_eq!(manifest(&site)["disks"][0]["guard"], "undo");
    let volume = part(&site, "disk.img", 4096 * 512, 24 << 20);
    e2fsck(&volume);
    assert!(debugfs_cat(&volume, "/etc/fstab").contains("\n/dev/xvda1 /boot/efi vfat "));
    let efi = part(&site, "disk.img", 2048 * 512, 1 << 20);
    run("fsck.fat", "dosfstools", &["-n", efi.to_str().unwrap()]);
    assert_eq!(run("mtype", "mtools", &["-i", efi.to_str().unwrap(), "::EFI/note.txt"]), "hello");
}

#[test]
fn a_dirty_image_is_replayed_and_edited() {
    for (name, filesystem) in [("dirty-ext3", "ext3"), ("dirty-ext4", "ext4")] {
        let site = Site::new();
        let packed =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/images/{name}.img.zst"));
        let image = site.path("root.img");
        let args = ["-q", "-d", packed.to_str().unwrap(), "-o", image.to_str().unwrap()];
        run("zstd", "zstd", &args);
        site.job(filesystem, "root.img");
        site.write("vmlinuz", "kernel");
        let mut args = PREPARE.to_vec();
        args.extend(["--kernel", "vmlinuz"]);
        let said = says(&site, &args);
        assert!(said.contains("it was not unmounted; its journal is replayed\n"), "{said}");
        assert_eq!(manifest(&site)["disks"][0]["guard"], "journal");
        e2fsck(&image);
        let seen = kernel_cat(&site, &image, &["/etc/new", "/etc/fstab", "/etc/xenjobs.d/10-job"]);
        assert_eq!(seen[0], "only in the log\n");
        assert!(seen[1].contains("# written by the guest\n"), "{seen:?}");
        assert_eq!(seen[2], SCRIPT);
    }
}

#[test]
fn what_is_not_edited_is_used_where_it_lies_and_new_disks_are_made() {
    let site = Site::new();
    site.mke2fs("root.img", "24M", &["-t", "ext4"]);
    site.mke2fs("data.img", "8M", &["-t", "ext4"]);
    let before = fs::read(site.path("data.img")).unwrap();
    let more = |kind: &str, at: &str, device: &str, what: &str| {
        format!(
            "  <imagefile{what}>\n    <filesystemtype>{kind}</filesystemtype>\n    <mountpoint>{at}</mountpoint>\n    <blockdevice>/dev/{device}</blockdevice>\n"
        )
    };
    let data = more("ext4", "/data", "xvdb", "") + "    <url>data.img</url>\n  </imagefile>\n";
    let swap = more("swap", "none", "xvdc", " size=\"1M\"") + "  </imagefile>\n";
    let xmf = crate::site::job("ext4", "root.img").replace("  <job>", &(data + &swap + "  <job>"));
    site.write("job.xml", xmf);
    let said = says(&site, PREPARE);
    assert!(said.contains("data.img"), "{said}");
    assert!(said.contains(", used where it lies\n"), "{said}");
    assert!(bundle(&site).contains(&"xvdc.img".to_owned()));
    assert!(fs::read(site.path("data.img")).unwrap() == before, "it has no edit");
    let cfg = fs::read_to_string(site.path("ready/domain.cfg")).unwrap();
    assert!(cfg.contains("vdev=xvdb,access=rw,target=") && cfg.contains("/data.img\""), "{cfg}");
}

#[test]
fn what_the_guest_only_reads_is_edited_all_the_same() {
    let site = Site::new();
    let image = site.mke2fs("root.img", "24M", &["-t", "ext4"]);
    let xmf =
        crate::site::job("ext4", "root.img").replace("<imagefile>", "<imagefile access=\"ro\">");
    site.write("job.xml", xmf);
    says(&site, PREPARE);
    e2fsck(&image);
    assert_eq!(debugfs_cat(&image, "/etc/xenjobs.d/10-job"), SCRIPT);
    let cfg = fs::read_to_string(site.path("ready/domain.cfg")).unwrap();
    assert!(cfg.contains("vdev=xvda,access=ro,target="), "{cfg}");
}

#[test]
fn the_kernel_that_starts_is_the_one_that_the_image_has_afterwards() {
    for args in [&PREPARE[..4], PREPARE] {
        let site = Site::new();
        site.mke2fs("root.img", "24M", &["-t", "ext4"]);
        let xmf = crate::site::job("ext4", "root.img").replace(
            "</url>",
            "</url>\n    <file path=\"/boot/vmlinuz-6.1.0-13-amd64\">another kernel</file>",
        );
        site.write("job.xml", xmf);
        says(&site, args);
        let kernel = fs::read_to_string(site.path("ready/vmlinuz-6.1.0-13-amd64")).unwrap();
        assert_eq!(kernel, "another kernel", "{args:?}");
    }
}

#[test]
fn the_quick_start_is_edited_where_it_lies() {
    let site = Site::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/quickstart");
    let packed = fixtures.join("quickstart.img.zst");
    let image = site.path("quickstart.img");
    run("zstd", "zstd", &["-q", "-d", packed.to_str().unwrap(), "-o", image.to_str().unwrap()]);
    let xmf = fs::read_to_string(fixtures.join("job.xml")).unwrap();
    site.write("job.xml", xmf.replace("quickstart.img.zst", "quickstart.img"));
    says(&site, PREPARE);
    e2fsck(&image);
    assert_eq!(site.names(), ["job.xml", "quickstart.img", "ready"]);
    assert!(!bundle(&site).iter().any(|name| name.ends_with(".img")), "{:?}", bundle(&site));
}
