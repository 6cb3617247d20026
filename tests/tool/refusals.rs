//! Bad input: one clear line, exit status 2, nothing left behind, the stock image as it was.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::site::{Site, judge, run, umount};

/// A site with a good image and a good job.
fn good() -> Site {
    let site = Site::new();
    site.mke2fs("root.img", "8M", &["-t", "ext4"]);
    fs::remove_dir_all(site.path("tree")).unwrap();
    site.job("ext4", "root.img");
    site
}

/// `prepare` fails, says `expected` in its first line, and leaves everything as it was.
#[track_caller]
fn refused(site: &Site, expected: &str) -> String {
    let names = site.names();
    let image = fs::read(site.path("root.img")).ok();
    let stderr = site.fails(&["prepare", "job.xml", "-o", "ready"]);
    let first = stderr.lines().next().unwrap_or_default();
    assert!(first.starts_with("error: "), "{stderr}");
    assert!(first.contains(expected), "expected `{expected}` in: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert_eq!(site.names(), names, "something was left behind");
    assert!(fs::read(site.path("root.img")).ok() == image, "the stock image changed");
    stderr
}

#[test]
fn a_missing_image_is_named_at_its_place() {
    let site = good();
    fs::remove_file(site.path("root.img")).unwrap();
    let stderr = refused(
        &site,
        "job.xml:10:10: cannot open image `SITE/root.img`: no such file or directory",
    );
    assert!(stderr.contains("<url>root.img</url>"), "{stderr}");
}

#[test]
fn another_file_system_than_the_document_says_is_refused() {
    let site = good();
    site.job("xfs", "root.img");
    let stderr = refused(&site, "job.xml:7:21: ");
    assert!(stderr.contains("xfs") && stderr.contains("ext4"), "{stderr}");
}

#[test]
fn a_truncated_image_is_refused() {
    let site = good();
    File::options().write(true).open(site.path("root.img")).unwrap().set_len(5 << 20).unwrap();
    refused(&site, "job.xml:10:10: image `SITE/root.img`: corrupt image: ");
}

#[test]
fn a_truncated_compressed_image_is_refused_with_a_hint_that_fits() {
    let site = good();
    let image = site.path("root.img");
    run("zstd", "zstd", &["-q", "--rm", image.to_str().unwrap()]);
    let packed = fs::read(site.path("root.img.zst")).unwrap();
    site.write("root.img.zst", &packed[..packed.len() / 2]);
    site.job("ext4", "root.img.zst");
    let stderr = refused(&site, "corrupt image: zstd stream ends too early at byte ");
    assert!(stderr.ends_with("hint: `zstd -t` says more; use a copy that is whole\n"), "{stderr}");
}

#[test]
fn an_image_of_noise_is_refused() {
    let site = good();
    let noise: Vec<u8> =
        (0u32..1 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    site.write("root.img", noise);
    refused(&site, "job.xml:");
}

#[test]
fn a_full_file_system_is_refused_and_grows_as_the_hint_says() {
    let site = good();
    let tree = site.guest_tree();
    // 8 MiB with a file that takes all the room but a block or two.
    let path = site.path("root.img");
    let make = |len: usize| {
        fs::remove_file(&path).ok();
        site.write("tree/filler", vec![b'x'; len]);
        let args = ["-q", "-F", "-t", "ext4", "-m", "0", "-O", "^has_journal", "-d"];
        let mut all = args.to_vec();
        let (tree, path) = (tree.to_str().unwrap(), path.to_str().unwrap());
        all.extend([tree, path, "8M"]);
        judge("mke2fs", "e2fsprogs", &all).status.success()
    };
    // The largest filler that fits, by bisection over blocks of 1 KiB.
    let (mut fits, mut full) = (0, 8 << 10);
    while full - fits > 1 {
        let middle = (fits + full) / 2;
        if make(middle << 10) { fits = middle } else { full = middle }
    }
    assert!(make(fits << 10));
    fs::remove_dir_all(tree).unwrap();
    let expected = "image `SITE/root.img`: no space left in the file system of the image: ";
    let stderr = refused(&site, expected);
    let way_out = "enlarge the image with `autoxen image grow`, or remove files in it";
    assert!(stderr.contains(way_out), "{stderr}");
    site.succeeds(&["image", "grow", "--size", "+1M", "root.img"]);
    site.succeeds(&["prepare", "job.xml", "-o", "ready"]);
}

#[test]
fn a_journal_that_cannot_be_replayed_is_refused_with_a_way_out() {
    let site = good();
    // By debugfs, since the superblock has a checksum.
    let image = site.path("root.img");
    for request in ["feature needs_recovery", "ssv journal_inum 0"] {
        run("debugfs", "e2fsprogs", &["-w", "-R", request, image.to_str().unwrap()]);
    }
    let stderr = refused(&site, "needs_recovery");
    assert!(stderr.contains("external journal"), "{stderr}");
    assert!(stderr.contains("hint: "), "{stderr}");
}

#[test]
fn a_journal_that_is_said_to_need_recovery_and_is_empty_is_clean() {
    let site = good();
    let image = site.path("root.img");
    let args = ["-w", "-R", "feature needs_recovery", image.to_str().unwrap()];
    run("debugfs", "e2fsprogs", &args);
    // The good image has no kernel.
    site.write("vmlinuz", "kernel");
    let output = site.autoxen(&["prepare", "job.xml", "-o", "ready", "--kernel", "vmlinuz"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("journal"));
    crate::site::e2fsck(&site.path("ready/xvda.img"));
}

#[test]
fn an_image_that_somebody_writes_to_is_refused() {
    let site = good();
    let file = File::open(site.path("root.img")).unwrap();
    file.lock().unwrap();
    refused(&site, "image `SITE/root.img` is in use: ");
}

#[test]
fn an_image_behind_a_loop_device_is_refused() {
    let site = good();
    let image = site.path("root.img");
    let device = run("losetup", "mount", &["--find", "--show", image.to_str().unwrap()]);
    let stderr = std::panic::catch_unwind(|| refused(&site, "image `SITE/root.img` is in use: "));
    run("losetup", "mount", &["-d", device.trim()]);
    assert!(stderr.unwrap().contains(device.trim()));
}

#[test]
fn a_target_that_exists_is_refused() {
    let site = good();
    site.write("ready/mine", "precious");
    refused(&site, "`SITE/ready` is there already");
    assert_eq!(fs::read_to_string(site.path("ready/mine")).unwrap(), "precious");
}

#[test]
fn a_target_without_a_parent_is_refused() {
    let site = good();
    let stderr = site.fails(&["prepare", "job.xml", "-o", "no/where/ready"]);
    assert!(stderr.starts_with("error: `no/where`: no such directory\n"), "{stderr}");
}

/// A small tmpfs at `at`, unmounted at the end.
pub(crate) struct Tmpfs<'a> {
    at: &'a Path,
}

impl<'a> Tmpfs<'a> {
    pub(crate) fn mount(at: &'a Path, options: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        run("mount", "mount", &["-t", "tmpfs", "-o", options, "tmpfs", at.to_str().unwrap()]);
        Self { at }
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        umount(self.at);
    }
}

#[test]
fn a_full_host_disk_is_refused_and_nothing_is_left_there() {
    let site = good();
    // Data that does not fit into the tmpfs of 1 MiB.
    fs::remove_file(site.path("root.img")).unwrap();
    let noise: Vec<u8> =
        (0u32..4 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    site.write("tree/noise", noise);
    site.mke2fs("root.img", "16M", &["-t", "ext4"]);
    fs::remove_dir_all(site.path("tree")).unwrap();
    let at = site.path("small");
    let _tmpfs = Tmpfs::mount(&at, "size=1m");
    let stderr = site.fails(&["prepare", "job.xml", "-o", "small/ready"]);
    assert!(stderr.starts_with("error: "), "{stderr}");
    assert!(stderr.contains("no space left on the host"), "{stderr}");
    assert!(stderr.contains("hint: "), "{stderr}");
    assert_eq!(fs::read_dir(&at).unwrap().count(), 0, "something was left behind");
}

#[test]
fn a_limit_of_file_size_is_an_error_and_nothing_is_left_there() {
    let site = good();
    let zst = site.path("root.img.zst");
    run("zstd", "zstd", &["-q", site.path("root.img").to_str().unwrap()]);
    assert!(zst.exists());
    for url in ["root.img", "root.img.zst"] {
        site.job("ext4", url);
        let names = site.names();
        // 1 MiB; SIGXFSZ would end the process.
        let shell = format!(
            "cd {} && exec prlimit --fsize={} {} prepare job.xml -o ready",
            site.path("").display(),
            1 << 20,
            env!("CARGO_BIN_EXE_autoxen"),
        );
        let output = judge("sh", "dash", &["-c", &shell]);
        let stderr = crate::site::text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("file too large"), "{stderr}");
        assert!(stderr.contains("hint: raise the limit (`ulimit -f`)"), "{stderr}");
        assert!(!stderr.contains(".partial"), "a name that is gone: {stderr}");
        assert_eq!(site.names(), names, "something was left behind");
    }
}

#[test]
fn a_read_only_target_is_refused() {
    let site = good();
    let at = site.path("small");
    let _tmpfs = Tmpfs::mount(&at, "size=1m,ro");
    let stderr = site.fails(&["prepare", "job.xml", "-o", "small/ready"]);
    assert!(
        stderr.starts_with("error: cannot write to `SITE/small`: read-only file system\nhint: "),
        "{stderr}"
    );
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let site = good();
    fs::remove_file(site.path("root.img")).unwrap();
    for (make, kind) in [("mkfifo root.img", "a named pipe"), ("mkdir root.img", "a directory")] {
        let shell = format!("cd {} && {make}", site.path("").display());
        run("sh", "dash", &["-c", &shell]);
        let stderr = site.fails(&["prepare", "job.xml", "-o", "ready"]);
        assert!(stderr.starts_with("error: job.xml:10:10: image `SITE/root.img` is "), "{stderr}");
        assert!(stderr.contains(kind), "{stderr}");
        run("sh", "dash", &["-c", &format!("rm -r {}", site.path("root.img").display())]);
    }
    site.job("ext4", "/dev/zero");
    let stderr = site.fails(&["prepare", "job.xml", "-o", "ready"]);
    assert!(stderr.contains("/dev/zero"), "{stderr}");
}

#[test]
fn a_wrong_digest_is_refused_before_the_image_is_read() {
    let site = good();
    let wrong = "0".repeat(64);
    let xmf = crate::site::job("ext4", "root.img")
        .replace("<imagefile>", &format!("<imagefile sha256=\"{wrong}\">"));
    site.write("job.xml", xmf);
    refused(&site, "has another SHA-256");
}

#[test]
fn the_right_digest_is_accepted() {
    let site = good();
    let sum = run("sha256sum", "coreutils", &[site.path("root.img").to_str().unwrap()]);
    let xmf = crate::site::job("ext4", "root.img")
        .replace("<imagefile>", &format!("<imagefile sha256=\"{}\">", &sum[..64]));
    site.write("job.xml", xmf);
    site.succeeds(&["prepare", "job.xml", "-o", "ready"]);
}

#[test]
fn an_image_that_may_not_be_read_is_refused() {
    let site = good();
    // As another user: root may read everything.
    fs::set_permissions(site.path("root.img"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(site.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    let shell = format!(
        "cd {} && exec setpriv --reuid 65534 --regid 65534 --clear-groups {} prepare job.xml -o ready",
        site.path("").display(),
        env!("CARGO_BIN_EXE_autoxen"),
    );
    let output = judge("sh", "dash", &["-c", &shell]);
    let stderr = crate::site::text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("/root.img`: permission denied\n"), "{stderr}");
}

#[test]
fn a_plan_refuses_what_prepare_refuses() {
    let site = good();
    site.write("tree/etc/xenjobs.d", "a file where a directory should be\n");
    site.mke2fs("root.img", "8M", &["-t", "ext4"]);
    fs::remove_dir_all(site.path("tree")).unwrap();
    let prepare = refused(&site, "image `SITE/root.img`: `/etc/xenjobs.d");
    assert_eq!(site.fails(&["plan", "job.xml"]), prepare);
}

#[test]
fn an_image_of_nothing_is_called_empty() {
    let site = good();
    site.write("root.img", "");
    refused(&site, "image `SITE/root.img` is empty");
}
