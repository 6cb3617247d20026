//! Results disks that a stranger has bent: whatever stands on them, nothing is written outside of the output, nothing hangs,
//! and the exit status is one of those that are told.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use autoxen::cli::CollectArgs;
use autoxen::commands::collect::collect;

/// Disks of an ordinary run, and of a long one.
const CASES: (u64, u64) = (400, 5000);

/// The longest that one disk may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of the disk.
const LEN: usize = 1 << 20;

/// Numbers that look random and are the same in each run (xorshift64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|e| panic!("`{program}` is needed: {e}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
}

/// A results disk with all that a job may leave.
fn disk(home: &Path) -> Vec<u8> {
    let tree = home.join("tree");
    let outputs = tree.join("10-fit/outputs/srv/out");
    fs::create_dir_all(outputs.join("deep/er")).unwrap();
    fs::create_dir(tree.join("11-sum")).unwrap();
    fs::write(tree.join("run.json"), RUN).unwrap();
    fs::write(tree.join("10-fit/job.json"), JOB).unwrap();
    fs::write(tree.join("11-sum/job.json"), JOB).unwrap();
    fs::write(tree.join("10-fit/stdout"), "out\n".repeat(2000)).unwrap();
    fs::write(tree.join("10-fit/stderr"), "").unwrap();
    for number in 0..40 {
        fs::write(outputs.join(format!("file-{number}")), vec![b'x'; number * 100]).unwrap();
    }
    fs::hard_link(outputs.join("file-9"), outputs.join("deep/er/second")).unwrap();
    std::os::unix::fs::symlink("../file-3", outputs.join("deep/inside")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", outputs.join("deep/outside")).unwrap();
    std::os::unix::fs::symlink("../../../../../../x", outputs.join("deep/climbs")).unwrap();
    let image = home.join("base.img");
    let image = image.to_str().unwrap();
    fs::write(image, vec![0; LEN]).unwrap();
    let tree = tree.to_str().unwrap();
    run(
        "mke2fs",
        &["-q", "-F", "-t", "ext2", "-b", "1024", "-L", "AUTOXEN_RES", "-d", tree, image],
    );
    let requests = home.join("requests");
    fs::write(&requests, "cd /10-fit/outputs\nmknod null c 1 3\nmknod pipe p\n").unwrap();
    run("debugfs", &["-w", "-f", requests.to_str().unwrap(), image]);
    fs::remove_file(requests).unwrap();
    fs::read(image).unwrap()
}

const RUN: &str = r#"{"format":1,"id":"3f","start":1,"end":9,"finished":true,"reason":null}"#;
const JOB: &str = r#"{"format":1,"name":"10-fit","user":"root","start":1,"end":9,"exit":7,"signal":null,"timed_out":false,"finished":true,"full":false,"missing":[]}"#;
const MANIFEST: &str = r#"{"format":1,"id":"3f","jobs":[{"name":"10-fit","outputs":[]},{"name":"11-sum","outputs":[]}],
    "results":{"vdev":"xvdb","file":"xvdb.img","label":"AUTOXEN_RES"},"domain":{"name":"fit"}}"#;

/// Names that lead elsewhere.
const NAMES: [&[u8]; 6] = [b"..", b"../../x", b"/tmp/x", b"a/b", b".", b"\x1b[31m\n"];

/// Bend the disk in a few places.
fn bend(disk: &mut [u8], chance: &mut Chance) {
    for _ in 0..=chance.below(10) {
        // Superblock and tables lie in the first blocks, directories behind them.
        let end = match chance.below(10) {
            0 => 4 << 10,
            1..7 => 200 << 10,
            _ => LEN,
        };
        let at = 1024 + chance.below(end - 1024 - 128);
        match chance.below(5) {
            0 => disk[at] = chance.below(256) as u8,
            1 => disk[at] ^= 1 << chance.below(8),
            2 => {
                let value = if chance.below(2) == 0 { u32::MAX } else { chance.below(1024) as u32 };
                disk[at & !3..(at & !3) + 4].copy_from_slice(&value.to_le_bytes());
            }
            3 => {
                let other = chance.below(LEN - 128);
                disk.copy_within(other..other + 128, at);
            }
            _ => {
                let found = disk.windows(5).enumerate().filter(|(_, five)| five == b"file-");
                let places: Vec<usize> = found.map(|(place, _)| place).collect();
                if !places.is_empty() {
                    let place = places[chance.below(places.len())];
                    let name = NAMES[chance.below(NAMES.len())];
                    disk[place..place + name.len()].copy_from_slice(name);
                }
            }
        }
    }
}

/// All paths below a directory, no link followed.
fn walk(directory: &Path, all: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        all.push(entry.path().display().to_string());
        let kind = entry.file_type().unwrap();
        assert!(kind.is_file() || kind.is_dir() || kind.is_symlink(), "{:?}", entry.path());
        if kind.is_dir() {
            walk(&entry.path(), all);
        }
        if kind.is_symlink() {
            let leads = fs::canonicalize(entry.path());
            if let Ok(place) = leads {
                assert!(
                    place.starts_with(
                        fs::canonicalize(
                            directory.ancestors().find(|up| up.ends_with("results")).unwrap()
                        )
                        .unwrap()
                    )
                );
            }
        }
    }
}

#[test]
fn bent_disks_write_nothing_outside_and_end() {
    let home = tempfile::tempdir().unwrap();
    let base = disk(home.path());
    let cases = if std::env::var_os("AUTOXEN_LONG").is_some() { CASES.1 } else { CASES.0 };
    let (mut taken, mut refused) = (0, 0);
    for case in 0..=cases {
        let place = home.path().join("place");
        let bundle = place.join("bundle");
        fs::create_dir_all(&bundle).unwrap();
        fs::write(bundle.join("manifest.json"), MANIFEST).unwrap();
        let mut bytes = base.clone();
        if case > 0 {
            bend(&mut bytes, &mut Chance(case.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1));
        }
        fs::write(bundle.join("xvdb.img"), bytes).unwrap();
        let args = CollectArgs {
            bundle,
            output: place.join("results"),
            console: None,
            keep_owner: false,
            json: false,
        };
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let _ = sender.send(collect(&args).map_err(|failure| failure.to_string()));
        });
        let outcome = receiver
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|e| panic!("disk {case} of {cases}: {e}"));
        let mut beside: Vec<_> =
            fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        beside.sort();
        match outcome {
            Ok(outcome) => {
                taken += 1;
                assert_eq!(beside, ["bundle", "results"], "disk {case}");
                if case == 0 {
                    assert_eq!((outcome.exit, outcome.jobs[0].taken.outputs.len()), (7, 46));
                    assert_eq!(outcome.warnings.len(), 4, "{:?}", outcome.warnings);
                }
                walk(&place.join("results"), &mut Vec::new());
            }
            Err(what) => {
                refused += 1;
                assert_eq!(beside, ["bundle"], "disk {case}: {what}");
                assert!(!what.contains('\x1b'), "disk {case}: {what}");
            }
        }
        let mut names: Vec<_> =
            fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["base.img", "place", "tree"], "disk {case}");
        fs::remove_dir_all(&place).unwrap();
    }
    assert!(taken > cases / 2 && refused > 0, "{taken} {refused}");
}
