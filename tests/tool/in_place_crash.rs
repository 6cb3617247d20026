//! What is left of `prepare --in-place` when it is ended in mid-work, and how the same command goes on.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use imgfmt::in_place::Disk;
use imgfmt::{Image, Storage, Volume, ext};
use rustix::process::{Pid, Signal, kill_process};

use crate::refusals::Tmpfs;
use crate::site::{FSTAB, Site, debugfs_cat, e2fsck, judge, run, text};

const PREPARE: &[&str] = &["prepare", "job.xml", "-o", "ready", "--in-place", "--quiet"];

/// Begin `prepare --in-place`.
fn begin(site: &Site) -> Child {
    Command::new(env!("CARGO_BIN_EXE_autoxen"))
        .args(PREPARE)
        .current_dir(site.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Numbers that look random, the same ones each time.
struct Chance(u64);

impl Chance {
    /// One of 0..`end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Whether the image is as before the edit or as after it; anything else fails.
fn is_edited(image: &Path) -> bool {
    let fstab = debugfs_cat(image, "/etc/fstab");
    let output = judge(
        "debugfs",
        "e2fsprogs",
        &["-R", "cat /etc/xenjobs.d/10-job", image.to_str().unwrap()],
    );
    match text(&output.stdout).as_str() {
        "" => {
            assert_eq!(fstab, FSTAB, "the new fstab without the job");
            false
        }
        script => {
            assert_eq!(script, "#!/bin/sh\necho hello\n");
            assert!(fstab.contains("\n/dev/xvda / ext"), "the job without the new fstab: {fstab}");
            true
        }
    }
}

/// Kill it `rounds` times at random moments; what is left is recovered by `e2fsck -p`, and the command ends well.
fn kill(args: &[&str], rounds: u32, seed: u64) {
    let stock = Site::new();
    let image = stock.mke2fs("root.img", "16M", args);
    let mut chance = Chance(seed);
    let (mut before, mut after, mut rolled_back) = (0, 0, 0);
    // How long the whole takes, on this machine and now: longer than thought where the edit was not reached.
    let mut whole = None;
    for round in 0..rounds {
        let site = Site::new();
        let own = site.path("root.img");
        fs::copy(&image, &own).unwrap();
        site.job(args[1], "root.img");
        let Some(expected) = whole else {
            let start = Instant::now();
            assert!(begin(&site).wait().unwrap().success());
            whole = Some(start.elapsed());
            continue;
        };
        // The commit is at the end.
        let share = 0.4 + 0.7 * chance.below(1000) as f64 / 1000.0;
        let moment = Duration::mul_f64(expected, share);
        let start = Instant::now();
        let mut child = begin(&site);
        while start.elapsed() < moment && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let guarded = site.path("root.img.autoxen-undo").exists();
        if guarded {
            rolled_back += 1;
        } else {
            // 0: clean; 1: mended, which is the replay.
            let shown = own.to_str().unwrap();
            let recovered = site.path("recovered.img");
            fs::copy(&own, &recovered).unwrap();
            let args = ["-fp", recovered.to_str().unwrap()];
            let output = judge("e2fsck", "e2fsprogs", &args);
            let said = text(&output.stdout);
            assert!(
                matches!(output.status.code(), Some(0 | 1)),
                "{shown} in round {round}: {said}"
            );
            e2fsck(&recovered);
            if is_edited(&recovered) {
                after += 1;
                whole = Some(expected.mul_f64(0.98));
            } else {
                before += 1;
                whole = Some(expected.mul_f64(1.02));
            }
            fs::remove_file(recovered).unwrap();
        }
        let _ = fs::remove_dir_all(site.path("ready"));
        let again = site.autoxen(PREPARE);
        assert!(again.status.success(), "round {round}: {}", text(&again.stderr));
        e2fsck(&own);
        assert!(is_edited(&own), "round {round}");
        assert!(!site.path("root.img.autoxen-undo").exists(), "round {round}");
    }
    assert_eq!(before + after + rolled_back + 1, rounds, "the first round only takes the time");
    if rounds > 100 {
        assert!(
            before > 0 && after > 0,
            "{before} before, {after} after, {rolled_back} rolled back"
        );
    }
}

/// Ten kills; with `AUTOXEN_LONG=1`, 300.
fn rounds() -> u32 {
    if std::env::var_os("AUTOXEN_LONG").is_some() { 301 } else { 11 }
}

#[test]
fn killed_at_any_moment_an_image_with_a_journal_is_as_before_or_after() {
    kill(&["-t", "ext4"], rounds(), 1);
}

#[test]
fn killed_at_any_moment_an_image_without_a_journal_is_as_before_or_after() {
    kill(&["-t", "ext2"], rounds(), 2);
}

/// An image whose disk fails after `left` writes, as a crash would have it.
struct Failing {
    file: File,
    undo: PathBuf,
    left: usize,
}

impl Storage for Failing {
    fn len(&self) -> u64 {
        self.file.metadata().unwrap().len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}

impl Disk for Failing {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> imgfmt::Result<()> {
        self.left = self.left.checked_sub(1).ok_or_else(|| imgfmt::Error::corrupt("the crash"))?;
        self.file.write_all_at(bytes, offset).unwrap();
        Ok(())
    }

    fn sync(&mut self) -> imgfmt::Result<()> {
        Ok(())
    }

    fn keep_undo(&mut self, undo: &[u8]) -> imgfmt::Result<()> {
        fs::write(&self.undo, undo).unwrap();
        Ok(())
    }

    fn drop_undo(&mut self) -> imgfmt::Result<()> {
        unreachable!("the crash comes before");
    }
}

/// Write `half` into `/etc/fstab` of an image, and `/etc/new`, up to a crash after `left(count of writes)` writes.
pub(crate) fn crash(site: &Site, image: &Path, left: impl Fn(usize) -> usize) {
    let stock = Image::open(image).unwrap();
    let fs = ext::Fs::open(Volume::whole(&stock)).unwrap();
    let mut tx = fs.begin(0).unwrap();
    tx.write("/etc/fstab", b"half\n").unwrap();
    tx.write("/etc/new", b"new\n").unwrap();
    let edit = tx.finish_in_place().unwrap();
    let writes = edit.steps().map(|step| step.iter().count()).sum::<usize>();
    assert!(writes > 4, "{writes} writes are no edit to be in the middle of");
    let file = File::options().read(true).write(true).open(image).unwrap();
    let undo = site.path("root.img.autoxen-undo");
    edit.apply(&mut Failing { file, undo, left: left(writes) }).unwrap_err();
}

/// A site whose ext2 image was left in the middle of an edit of `/etc/fstab`.
pub(crate) fn half_done() -> Site {
    let site = Site::new();
    let image = site.mke2fs("root.img", "16M", &["-t", "ext2"]);
    fs::remove_dir_all(site.path("tree")).unwrap();
    site.job("ext2", "root.img");
    crash(&site, &image, |writes| writes - 2);
    let output = judge("e2fsck", "e2fsprogs", &["-fn", image.to_str().unwrap()]);
    assert_ne!(output.status.code(), Some(0), "the edit is not in its middle");
    site
}

#[test]
fn what_was_interrupted_is_undone_before_anything_else() {
    let site = half_done();
    let image = site.path("root.img");
    let before = fs::read(&image).unwrap();
    for args in [
        &["plan", "job.xml"][..],
        &["plan", "job.xml", "--in-place"],
        &["prepare", "job.xml", "-o", "ready"],
    ] {
        let stderr = site.fails(args);
        let expected = "error: job.xml:10:10: image `SITE/root.img`: an edit of it was interrupted and has to be undone first\n";
        assert!(stderr.starts_with(expected), "{stderr}");
        assert!(stderr.contains("\nhint: `autoxen image recover` undoes "), "{stderr}");
        assert!(fs::read(&image).unwrap() == before, "{args:?} changed the image");
        assert_eq!(site.names(), ["job.xml", "root.img", "root.img.autoxen-undo"]);
    }
    let output = site.autoxen(PREPARE);
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr.contains("root.img`: an edit of it was interrupted, and is undone now\n"),
        "{stderr}"
    );
    assert_eq!(site.names(), ["job.xml", "ready", "root.img"]);
    e2fsck(&image);
    assert!(is_edited(&image));
    let new = judge("debugfs", "e2fsprogs", &["-R", "cat /etc/new", image.to_str().unwrap()]);
    assert_eq!(text(&new.stdout), "", "what was interrupted is not there");
}

#[test]
fn an_undo_file_of_something_else_is_left_alone() {
    let site = half_done();
    let image = site.path("root.img");
    let before = fs::read(&image).unwrap();
    site.write("root.img.autoxen-undo", "mine\n");
    let stderr = site.fails(PREPARE);
    assert!(stderr.contains("root.img.autoxen-undo"), "{stderr}");
    assert!(stderr.contains("\nhint: "), "{stderr}");
    assert!(fs::read(&image).unwrap() == before);
    assert_eq!(fs::read(site.path("root.img.autoxen-undo")).unwrap(), b"mine\n");
    assert!(!site.path("ready").exists());
}

/// A second image with an edit, `url`, in the job description.
fn second_image(site: &Site, url: &str) {
    let second = format!(
        "  <imagefile>\n    <filesystemtype>ext4</filesystemtype>\n    <mountpoint>/data</mountpoint>\n    \
         <blockdevice>/dev/xvdb</blockdevice>\n    <url>{url}</url>\n    \
         <file path=\"/note\">hello</file>\n  </imagefile>\n  <job>"
    );
    site.write("job.xml", crate::site::job("ext4", "root.img").replace("  <job>", &second));
}

#[test]
fn a_failure_after_the_first_of_two_images_says_so_and_the_same_command_finishes() {
    let site = Site::new();
    let first = site.mke2fs("root.img", "16M", &["-t", "ext4"]);
    let at = site.path("small");
    let _tmpfs = Tmpfs::mount(&at, "size=4m");
    let made = site.mke2fs("data.img", "16M", &["-t", "ext4"]);
    let second = at.join("data.img");
    let args = ["--sparse=always", made.to_str().unwrap(), second.to_str().unwrap()];
    run("cp", "coreutils", &args);
    let filler = at.join("filler");
    let shell = format!("cat /dev/zero > {} 2>/dev/null || true", filler.display());
    run("sh", "dash", &["-c", &shell]);
    second_image(&site, "small/data.img");
    let before = fs::read(&second).unwrap();
    let stderr = site.fails(PREPARE);
    let expected = "\
error: no space left on the host for `SITE/small/data.img`; `SITE/root.img` is edited already, and there is no bundle yet
hint: make room there; then run the same command again: an image that is edited twice \
is as one that is edited once
";
    assert_eq!(stderr, expected);
    e2fsck(&first);
    assert!(is_edited(&first));
    assert!(fs::read(&second).unwrap() == before);
    assert!(!site.path("ready").exists());
    fs::remove_file(filler).unwrap();
    site.succeeds(PREPARE);
    for image in [&first, &second] {
        e2fsck(image);
    }
    assert!(is_edited(&first));
    assert_eq!(debugfs_cat(&second, "/note"), "hello");
}

#[test]
fn a_signal_between_two_images_ends_the_work_there() {
    let site = Site::new();
    let first = site.mke2fs("root.img", "16M", &["-t", "ext4"]);
    let second = site.mke2fs("data.img", "16M", &["-t", "ext4"]);
    fs::remove_dir_all(site.path("tree")).unwrap();
    second_image(&site, "data.img");
    let before = fs::read(&second).unwrap();
    // The signal comes as the first image is synced for the first time.
    let shell = format!(
        "cd {} && exec strace -f -qq -o /dev/null -P {} -e inject=fdatasync:signal=INT:when=1 {} {} \
         --kernel job.xml",
        site.path("").display(),
        fs::canonicalize(&first).unwrap().display(),
        env!("CARGO_BIN_EXE_autoxen"),
        PREPARE.join(" "),
    );
    let output = judge("strace", "strace", &["--version"]);
    assert!(output.status.success());
    let output = judge("sh", "dash", &["-c", &shell]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    let here = fs::canonicalize(site.path("")).unwrap();
    let stderr = stderr.replace(here.to_str().unwrap(), "SITE");
    let expected = "\
error: interrupted; `SITE/root.img` is edited already, and there is no bundle yet
hint: run the same command again: an image that is edited twice is as one that is edited once
";
    assert!(stderr.ends_with(expected), "{stderr}");
    e2fsck(&first);
    assert!(is_edited(&first));
    assert!(fs::read(&second).unwrap() == before);
    assert_eq!(site.names(), ["data.img", "job.xml", "root.img"]);
    site.succeeds(PREPARE);
    assert_eq!(debugfs_cat(&second, "/note"), "hello");
}

#[test]
fn a_signal_leaves_images_that_are_told_of() {
    let stock = Site::new();
    let root = stock.mke2fs("root.img", "16M", &["-t", "ext4"]);
    let data = stock.mke2fs("data.img", "16M", &["-t", "ext4"]);
    let (root, data) = (fs::read(root).unwrap(), fs::read(data).unwrap());
    let mut interrupted = 0;
    for round in 0..12_u32 {
        let site = Site::new();
        let (first, second) = (site.write("root.img", &root), site.write("data.img", &data));
        second_image(&site, "data.img");
        let mut child = begin(&site);
        // The staging directory is the sign that the work has begun; then ever later.
        while site.names().len() == 3 && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        for _ in 0..round * 1000 {
            std::hint::black_box(child.try_wait().unwrap());
        }
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = text(&output.stderr);
        let same = |path: &Path, bytes: &[u8]| fs::read(path).unwrap() == *bytes;
        e2fsck(&first);
        e2fsck(&second);
        match output.status.code() {
            Some(130) if stderr.contains("error: interrupted; nothing was left behind\n") => {
                interrupted += 1;
                assert!(same(&first, &root) && same(&second, &data), "round {round}");
                assert_eq!(site.names(), ["data.img", "job.xml", "root.img"]);
            }
            Some(130) => {
                interrupted += 1;
                let said = "/root.img` is edited already, and there is no bundle yet\n";
                assert!(stderr.contains(said), "{stderr}");
                assert!(is_edited(&first) && same(&second, &data), "round {round}");
                assert_eq!(site.names(), ["data.img", "job.xml", "root.img"]);
            }
            Some(0) => {
                assert!(is_edited(&first), "round {round}");
                assert_eq!(debugfs_cat(&second, "/note"), "hello");
                assert_eq!(site.names(), ["data.img", "job.xml", "ready", "root.img"]);
            }
            other => panic!("{other:?}: {stderr}"),
        }
    }
    assert!(interrupted > 0, "no signal fell into the work");
}
