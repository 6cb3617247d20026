//! A real process that edits an image in place, and is killed in the middle of it. [`crate::crash`] has the states that a
//! power failure may leave; here the host's kernel goes on, and what was written before the signal is there.
//!
//! The process says when a commit begins and when it is done. The signal comes at a random moment of a commit, as long
//! as the ones before it took.
//!
//! Few kills by default; `AUTOXEN_LONG=1` makes more than a thousand, and `SEED` other ones.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use imgfmt::ext::{Fs, Transaction};
use imgfmt::{ImageMut, Result, Volume};

use crate::crash::{is_long, seed, undo_of};
use crate::in_place::image;
use crate::support::{NOW, Random, TestImage, unlocked};

const CHILD: &str = "AUTOXEN_TEST_KILLED_IMAGE";

/// Directories of each edit: each is a block that goes into the log, and then home.
const DIRECTORIES: u64 = 40;

/// Edit number `n`: files and directories that all say so.
fn numbered(n: u64) -> impl FnOnce(&mut Transaction<'_>) -> Result<()> {
    move |tx| {
        tx.write("/etc/fstab", format!("{n}\n"))?;
        tx.write("/etc/job", format!("{n}\n{}", "x".repeat(3000)))?;
        if n > 1 {
            tx.remove_dir_all(format!("/work-{}", n - 1))?;
        }
        (0..DIRECTORIES).try_for_each(|i| tx.create_dir_all(format!("/work-{n}/{i}")))
    }
}

/// Edits an image until it is killed.
#[test]
#[ignore = "the test below runs it, in a process that it kills"]
fn the_process_that_is_killed() {
    let path = std::env::var_os(CHILD).expect("the test below sets it");
    let say = |what: &str, n: u64| {
        writeln!(std::io::stdout(), "{what} {n}").expect("the parent listens");
    };
    for n in 1.. {
        let mut image = ImageMut::open(path.as_ref()).expect("the image opens");
        let edit = {
            let fs = Fs::open(Volume::whole(&image)).expect("it opens");
            let mut tx = fs.begin(NOW).expect("it can be edited");
            numbered(n)(&mut tx).expect("it is edited");
            tx.finish_in_place().expect("it has room")
        };
        say("begun", n);
        image.commit_in_place(&edit).expect("it is written");
        say("done", n);
    }
}

/// The process, and what it says.
struct Editor {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Editor {
    fn of(image: &TestImage) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "killed::the_process_that_is_killed", "--ignored", "--nocapture"])
            .env(CHILD, image.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("this program starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { child, lines }
    }

    fn wait_for(&mut self, what: &str) {
        // The first line begins with the name of the test.
        let said = self.lines.by_ref().map(|line| line.expect("its output"));
        assert!(said.take_while(|line| !line.ends_with(what)).count() < 10, "{what} did not come");
    }

    /// Kill it in a commit; the number of the last edit that it said was done.
    fn kill(mut self, random: &mut Random) -> u64 {
        let mut longest = Duration::ZERO;
        for n in 1..=2 {
            self.wait_for(&format!("begun {n}"));
            let begin = Instant::now();
            self.wait_for(&format!("done {n}"));
            longest = longest.max(begin.elapsed());
        }
        self.wait_for("begun 3");
        let share = random.below(1000) as f64 / 1000.0;
        std::thread::sleep(longest.mul_f64(share));
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
        let rest: Vec<String> = self.lines.map(|line| line.expect("its output")).collect();
        let done = rest.iter().filter_map(|line| line.strip_prefix("done ")).next_back();
        done.map_or(2, |n| n.parse().expect("a number"))
    }
}

/// Whether an edit has begun to be written, and not ended.
fn is_half_done(image: &TestImage) -> bool {
    const NEEDS_RECOVERY: u8 = 4;
    let mut head = [0; 2048];
    let file = std::fs::File::open(image.path()).expect("the image");
    { file }.read_exact(&mut head).expect("a superblock");
    head[1024 + 0x60] & NEEDS_RECOVERY != 0 || undo_of(&image.path()).exists()
}

/// The number of the edit that the image holds, all of it.
fn number_in(image: &TestImage) -> u64 {
    image.with_fs(|fs| {
        let number = |path: &str| {
            let content = fs.read(path).expect("it is there");
            let text = String::from_utf8(content).expect("plain text");
            text.lines().next().expect("a line").parse().expect("a number")
        };
        let n: u64 = number("/etc/fstab");
        assert_eq!(number("/etc/job"), n);
        let mut works = fs.read_dir("/").expect("the root");
        works.retain(|entry| entry.name.to_string_lossy().starts_with("work-"));
        assert_eq!(works.len(), 1);
        let inside = fs.read_dir(format!("/work-{n}")).expect("that of this edit");
        assert_eq!(inside.len() as u64, DIRECTORIES);
        n
    })
}

#[test]
fn a_process_that_is_killed_leaves_all_of_an_edit_or_nothing() {
    let mut random = Random(seed());
    let rounds = if is_long() { 350 } else { 7 };
    for format in [
        ("-t ext3 -b 1024 -J size=1", 4096, 0, ""),
        ("-t ext4 -b 4096", 16_384, 0, "rw"),
        ("-t ext2 -b 1024", 4096, 0, ""),
    ] {
        let fresh = image(&format);
        let (mut round, mut half_done, mut before, mut after) = (0, 0, 0, 0);
        // On a busy machine the first few may all miss the moments that matter.
        while round < rounds || half_done == 0 && round < 100 {
            round += 1;
            let image = fresh.twin();
            let done = Editor::of(&image).kill(&mut random);
            let is_half_done = is_half_done(&image);
            unlocked(|| imgfmt::recover(&image.path())).expect("what is left can be recovered");
            assert!(!undo_of(&image.path()).exists());
            let ours = number_in(&image);
            image.recover_by_e2fsck();
            let found = number_in(&image);
            assert_eq!(ours, found, "{format:?}, round {round}");
            // It may have been killed before it could say so.
            assert!([done, done + 1].contains(&found), "{done} were done, not {found}");
            half_done += u64::from(is_half_done);
            before += u64::from(is_half_done && found == done);
            after += u64::from(is_half_done && found > done);
        }
        let text = format!(
            "{}: {round} kills, {half_done} in the middle: {before} before, {after} after",
            format.0
        );
        writeln!(std::io::stdout(), "{text}").expect("somebody listens");
        assert!(half_done > 0, "{text}");
    }
}
