//! What `--in-place` does not do: one clear line, exit status 2, every image byte for byte as it was, nothing left behind.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;

use crate::refusals::Tmpfs;
use crate::site::{Site, e2fsck, judge, run, text};

const PREPARE: &[&str] = &["prepare", "job.xml", "-o", "ready", "--in-place"];

/// A site with a good image and a good job.
fn good(args: &[&str]) -> Site {
    let site = Site::new();
    site.mke2fs("root.img", "16M", args);
    fs::remove_dir_all(site.path("tree")).unwrap();
    site.job(args[1], "root.img");
    site
}

/// `prepare --in-place` fails, says `expected` in its first line and a way out, and leaves everything as it was.
#[track_caller]
fn refused(site: &Site, expected: &str) -> String {
    let names = site.names();
    let images: Vec<_> = names.iter().filter(|name| name.contains(".img")).collect();
    let read = || images.iter().map(|name| fs::read(site.path(name)).unwrap()).collect::<Vec<_>>();
    let before = read();
    let stderr = site.fails(PREPARE);
    let first = stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    assert!(first.contains(expected), "expected `{expected}` in: {stderr}");
    assert!(stderr.contains("hint: "), "{stderr}");
    assert_eq!(site.names(), names, "something was left behind");
    assert!(read() == before, "an image changed");
    stderr
}

/// A plan refuses it with the same words.
#[track_caller]
fn refused_by_both(site: &Site, expected: &str) {
    let stderr = refused(site, expected);
    assert_eq!(site.fails(&["plan", "job.xml", "--in-place"]), stderr);
}

#[test]
fn a_compressed_image_is_no_place_to_edit() {
    let site = good(&["-t", "ext4"]);
    run("zstd", "zstd", &["-q", "--rm", site.path("root.img").to_str().unwrap()]);
    site.job("ext4", "root.img.zst");
    refused_by_both(
        &site,
        "job.xml:10:10: image `SITE/root.img.zst` is compressed (zstd): no place to edit",
    );
}

#[test]
fn one_image_behind_two_disks_is_refused() {
    let site = good(&["-t", "ext4"]);
    let second = "  <imagefile>\n    <filesystemtype>ext4</filesystemtype>\n    <mountpoint>/data</mountpoint>\n    \
                  <blockdevice>/dev/xvdb</blockdevice>\n    <url>root.img</url>\n  </imagefile>\n  <job>";
    let xmf = crate::site::job("ext4", "root.img").replace("  <job>", second);
    site.write("job.xml", &xmf);
    refused_by_both(&site, "xvda and xvdb are both `SITE/root.img` itself");
    // By another name it is the same file.
    fs::hard_link(site.path("root.img"), site.path("zz.img")).unwrap();
    let at = xmf.rfind("root.img").unwrap();
    site.write("job.xml", format!("{}zz.img{}", &xmf[..at], &xmf[at + 8..]));
    refused_by_both(&site, "`SITE/zz.img` and `SITE/root.img` are one file");
}

#[test]
fn an_image_that_is_read_only_is_refused_even_to_root() {
    let site = good(&["-t", "ext4"]);
    fs::set_permissions(site.path("root.img"), fs::Permissions::from_mode(0o444)).unwrap();
    refused_by_both(&site, "image `SITE/root.img` cannot be edited where it lies: it is read-only");
}

#[test]
fn an_image_of_somebody_else_is_refused() {
    for (args, expected) in [
        (&["-t", "ext4"], "cannot be edited where it lies: permission denied\n"),
        // The image may be written to, its directory not.
        (&["-t", "ext2"], "cannot be edited where it lies: no undo file can stand in `"),
    ] {
        let site = good(args);
        let mode = if args[1] == "ext4" { 0o644 } else { 0o666 };
        fs::set_permissions(site.path("root.img"), fs::Permissions::from_mode(mode)).unwrap();
        fs::set_permissions(site.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(site.path("out")).unwrap();
        fs::set_permissions(site.path("out"), fs::Permissions::from_mode(0o777)).unwrap();
        let before = fs::read(site.path("root.img")).unwrap();
        let shell = format!(
            "cd {} && exec setpriv --reuid 65534 --regid 65534 --clear-groups {} prepare job.xml -o out/ready --in-place",
            site.path("").display(),
            env!("CARGO_BIN_EXE_autoxen"),
        );
        let output = judge("sh", "dash", &["-c", &shell]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
        assert!(stderr.contains("hint: leave out --in-place"), "{stderr}");
        assert!(fs::read(site.path("root.img")).unwrap() == before);
        assert_eq!(fs::read_dir(site.path("out")).unwrap().count(), 0);
    }
}

#[test]
fn an_image_on_a_read_only_file_system_is_refused() {
    let site = good(&["-t", "ext4"]);
    let at = site.path("small");
    let _tmpfs = Tmpfs::mount(&at, "size=32m");
    fs::copy(site.path("root.img"), at.join("root.img")).unwrap();
    run("mount", "mount", &["-o", "remount,ro", at.to_str().unwrap()]);
    site.job("ext4", "small/root.img");
    let stderr = site.fails(PREPARE);
    let expected = "error: image `SITE/small/root.img` cannot be edited where it lies: read-only file system\nhint: ";
    assert!(stderr.contains(expected), "{stderr}");
    assert_eq!(site.names(), ["job.xml", "root.img", "small"]);
}

#[test]
fn an_image_in_use_is_refused() {
    let site = good(&["-t", "ext4"]);
    let file = File::open(site.path("root.img")).unwrap();
    // Who only reads is in the way of an edit.
    file.lock_shared().unwrap();
    refused(&site, "image `SITE/root.img` is in use: ");
    file.unlock().unwrap();
    // A loop device that only reads, too.
    let image = site.path("root.img");
    let args = ["--read-only", "--find", "--show", image.to_str().unwrap()];
    let device = run("losetup", "mount", &args);
    let outcome = std::panic::catch_unwind(|| refused(&site, "image `SITE/root.img` is in use: "));
    run("losetup", "mount", &["-d", device.trim()]);
    assert!(outcome.unwrap().contains(device.trim()));
}

#[test]
fn an_image_with_two_names_needs_a_journal() {
    let site = good(&["-t", "ext2"]);
    fs::hard_link(site.path("root.img"), site.path("other.img")).unwrap();
    refused_by_both(&site, "it has 2 names (hard links), and its undo file stands beside one");
}

#[test]
fn an_image_that_a_crash_could_tear_is_refused_with_a_way_out() {
    // Group descriptors of two sectors.
    let site = good(&["-t", "ext4", "-b", "4096", "-O", "64bit", "-E", "desc_size=1024"]);
    let stderr = refused(&site, "an edit in place of an ext file system with group descriptors");
    assert!(stderr.contains("hint: leave out --in-place"), "{stderr}");
    assert_eq!(site.fails(&["plan", "job.xml", "--in-place"]), stderr);
    site.succeeds(&["prepare", "job.xml", "-o", "ready"]);
    e2fsck(&site.path("ready/xvda.img"));
}

#[test]
fn a_full_host_is_refused_and_the_image_is_as_it_was() {
    // On ext2 it is the undo file that finds no room, too.
    for filesystem in ["ext4", "ext2"] {
        let site = good(&["-t", filesystem]);
        let at = site.path("small");
        let _tmpfs = Tmpfs::mount(&at, "size=4m");
        let image = at.join("root.img");
        let sparse = ["--sparse=always", "root.img", "small/root.img"]
            .map(|word| site.path("").join(word).to_str().unwrap().to_owned());
        run("cp", "coreutils", &["--sparse=always", &sparse[1], &sparse[2]]);
        // The rest of the tmpfs, to the last page.
        let filler = at.join("filler");
        let shell = format!("cat /dev/zero > {} 2>/dev/null || true", filler.display());
        run("sh", "dash", &["-c", &shell]);
        site.job(filesystem, "small/root.img");
        let before = fs::read(&image).unwrap();
        let stderr = site.fails(PREPARE);
        let expected =
            "error: no space left on the host for `SITE/small/root.img`\nhint: make room there";
        assert!(stderr.contains(expected), "{filesystem}: {stderr}");
        assert!(fs::read(&image).unwrap() == before, "{filesystem}: the image changed");
        let mut left: Vec<_> =
            fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["filler", "root.img"], "{filesystem}");
        assert!(!site.path("ready").exists());
    }
}

#[test]
fn a_full_file_system_is_refused() {
    let site = good(&["-t", "ext4"]);
    let packed = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, expected) in [("full-blocks", "blocks"), ("full-inodes", "no free inode")] {
        let packed = packed.join(format!("fixtures/images/{name}.img.zst"));
        let image = site.path("root.img");
        run(
            "zstd",
            "zstd",
            &["-q", "-f", "-d", packed.to_str().unwrap(), "-o", image.to_str().unwrap()],
        );
        site.write("vmlinuz", "kernel");
        let xmf = crate::site::job("ext4", "root.img")
            .replace("<general>", "<general>\n    <kernel>vmlinuz</kernel>");
        site.write("job.xml", xmf.replace("<general>\n    <kernel>vmlinuz</kernel>", "<general>"));
        let before = fs::read(&image).unwrap();
        let mut args = PREPARE.to_vec();
        args.extend(["--kernel", "vmlinuz"]);
        let stderr = site.fails(&args);
        assert!(
            stderr.contains(&format!("no space left in the file system of the image: {expected}")),
            "{stderr}"
        );
        let way_out = "hint: enlarge the image with `autoxen image grow`, or remove files in it; ";
        assert!(stderr.contains(way_out), "{stderr}");
        assert!(fs::read(&image).unwrap() == before, "{name}: the image changed");
    }
}

#[test]
fn a_wrong_digest_is_refused_and_a_right_one_fits_once() {
    let site = good(&["-t", "ext4"]);
    site.write("vmlinuz", "kernel");
    let with = |sum: &str| {
        let xmf = crate::site::job("ext4", "root.img")
            .replace("<imagefile>", &format!("<imagefile sha256=\"{sum}\">"));
        site.write("job.xml", xmf);
    };
    with(&"0".repeat(64));
    refused(&site, "has another SHA-256");
    let sum = run("sha256sum", "coreutils", &[site.path("root.img").to_str().unwrap()]);
    with(&sum[..64]);
    let output = site.autoxen(PREPARE);
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("its sha256 in the job description will not fit any more"), "{stderr}");
    fs::remove_dir_all(site.path("ready")).unwrap();
    refused(&site, "has another SHA-256");
}
