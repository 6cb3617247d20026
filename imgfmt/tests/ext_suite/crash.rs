//! What a crash may leave of an edit in place, and that it is all of the edit or nothing.
//!
//! A recorder takes down the writes and syncs of an edit. After a crash, all that was synced is there, and of what was
//! written since any part, in sectors of 512 bytes. Such a state is recovered by our own replay, by `e2fsck` and by the
//! kernel, each for itself, and has to be the tree before the edit or the tree after it: before, as long as the log does
//! not begin, and after from then on.
//!
//! Few states by default; `AUTOXEN_LONG=1` takes thousands, and `SEED` other ones.

use std::fs;
use std::io::Write;
use std::path::Path;

use imgfmt::ext::{Fs, Transaction};
use imgfmt::in_place::{Disk, Guard};
use imgfmt::{Error, Image, InPlace, Result, Storage, Volume};

use crate::in_place::{Edit, FORMATS, edit_of, image, prepare};
use crate::support::{Random, TestImage, Tree, noise, run, run_ok, tree, unlocked};

const SECTOR: usize = 512;

/// Edits that change every kind of block.
const EDITS: &[(&str, Edit)] = &[
    ("a new fstab and a job", prepare),
    ("a removed file", |tx| tx.remove_file("/old")),
    ("a directory", |tx| tx.create_dir("/new")),
    // Too long for the inode, so that it takes a block.
    ("a symbolic link", |tx| tx.symlink("/".repeat(100), "/etc/link")),
];

/// Whether there is time for many more cases.
pub(crate) fn is_long() -> bool {
    std::env::var_os("AUTOXEN_LONG").is_some()
}

/// What random cases come from.
pub(crate) fn seed() -> u64 {
    std::env::var("SEED").map_or(1, |seed| seed.parse().expect("SEED is a number"))
}

/// What happened to a disk, one after another.
enum Event {
    Write(u64, Vec<u8>),
    Sync,
    KeepUndo(Vec<u8>),
    DropUndo,
}

/// A disk that takes down what happens to it.
struct Recorder {
    bytes: Vec<u8>,
    events: Vec<Event>,
}

impl Storage for Recorder {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        self.bytes.read_at(offset, buf)
    }
}

impl Disk for Recorder {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.events.push(Event::Write(offset, bytes.to_vec()));
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.events.push(Event::Sync);
        Ok(())
    }

    fn keep_undo(&mut self, undo: &[u8]) -> Result<()> {
        self.events.push(Event::KeepUndo(undo.to_vec()));
        Ok(())
    }

    fn drop_undo(&mut self) -> Result<()> {
        self.events.push(Event::DropUndo);
        Ok(())
    }
}

/// What lies between two syncs: sectors of which each may be old or new.
pub(crate) struct Step {
    /// Index of a sector, with its old and its new bytes.
    pub(crate) sectors: Vec<(usize, Vec<u8>, Vec<u8>)>,
    pub(crate) undo: Option<Vec<u8>>,
}

/// The steps of an edit of the image `bytes`.
pub(crate) fn steps(bytes: &[u8], edit: &InPlace) -> Vec<Step> {
    let mut recorder = Recorder { bytes: bytes.to_vec(), events: Vec::new() };
    edit.apply(&mut recorder).expect("a recorder takes everything");
    let (mut synced, mut now) = (bytes.to_vec(), bytes.to_vec());
    let (mut steps, mut undo) = (Vec::new(), None);
    // What is left to the host is on the disk some time later.
    if matches!(recorder.events.last(), Some(Event::Write(..))) {
        recorder.events.push(Event::Sync);
    }
    for event in recorder.events {
        match event {
            Event::Write(offset, new) => {
                let at = usize::try_from(offset).expect("small");
                now[at..at + new.len()].copy_from_slice(&new);
                continue;
            }
            Event::Sync => {}
            Event::KeepUndo(bytes) => {
                assert!(synced == now, "the undo file comes first");
                undo = Some(bytes);
                continue;
            }
            Event::DropUndo => {
                assert!(synced == now, "the undo file goes last");
                steps.push(Step { sectors: Vec::new(), undo: undo.take() });
                continue;
            }
        }
        let pairs = synced.chunks(SECTOR).zip(now.chunks(SECTOR)).enumerate();
        let changed = pairs.filter(|(_, (old, new))| old != new);
        let sectors = changed.map(|(i, (old, new))| (i, old.to_vec(), new.to_vec())).collect();
        steps.push(Step { sectors, undo: undo.clone() });
        synced.clone_from(&now);
    }
    assert!(synced == now, "all is synced at the end");
    assert!(undo.is_none());
    steps
}

impl Step {
    /// States that a crash in this step may leave: for each sector, whether it is new. All of them, where that is not more
    /// than `most`, or else nothing, everything, and `most` picked at random.
    pub(crate) fn states(&self, most: u64, random: &mut Random) -> Vec<Vec<bool>> {
        let count = self.sectors.len();
        if count < 63 && 1 << count <= most {
            return (0..1_u64 << count)
                .map(|mask| (0..count).map(|i| mask >> i & 1 == 1).collect())
                .collect();
        }
        let mut states = vec![vec![false; count], vec![true; count]];
        for _ in 0..most {
            // Few of them new, half of them, or nearly all.
            let share = 1 + random.below(15);
            states.push((0..count).map(|_| random.below(16) < share).collect());
        }
        states
    }

    /// Give each sector of `bytes` its old or new content.
    pub(crate) fn put(&self, bytes: &mut [u8], state: &[bool]) {
        for ((index, old, new), &is_new) in self.sectors.iter().zip(state) {
            let at = index * SECTOR;
            let content = if is_new { new } else { old };
            bytes[at..at + content.len()].copy_from_slice(content);
        }
    }
}

#[expect(clippy::ptr_arg, reason = "a volume wants a sized storage")]
fn tree_of(bytes: &Vec<u8>, start: u64) -> Tree {
    let volume = Volume::new(bytes, start, bytes.len() as u64 - start).expect("it is there");
    tree(&Fs::open(volume).expect("a crash leaves what can be opened"))
}

/// One image and one edit of it, with all that may come out.
struct Case {
    name: String,
    start: u64,
    bytes: Vec<u8>,
    edit: InPlace,
    before: Tree,
    after: Tree,
    /// Whether `e2fsck` replays the log as the kernel does: with fast commits 1.47 does not always.
    has_fast_commits: bool,
}

impl Case {
    fn new(name: String, image: &TestImage, edit: Edit) -> Self {
        let bytes = image.bytes();
        let start = image.start();
        let copy = image.twin();
        copy.edit(edit).expect("it is edited");
        copy.fsck();
        let (before, after) = (image.tree(), copy.tree());
        assert!(before != after);
        let edit = edit_of(&bytes, start, edit).expect("it is edited");
        Self { name, start, bytes, edit, before, after, has_fast_commits: false }
    }

    /// Recover every state in each way. `most` states of a step are read by us, `judges` of them by others.
    fn judge(&self, (most, judges): (u64, u64), random: &mut Random) -> Count {
        let mut count = Count::default();
        let mut bytes = self.bytes.clone();
        let steps = steps(&self.bytes, &self.edit);
        let no_return = steps.len() - 4;
        for (number, step) in steps.iter().enumerate() {
            let states = step.states(most, random);
            for (index, state) in states.iter().enumerate() {
                step.put(&mut bytes, state);
                let context = format!("{}, step {number} of {}: {state:?}", self.name, steps.len());
                let found = tree_of(&bytes, self.start);
                let expected = match number {
                    _ if number < no_return => &self.before,
                    _ if number > no_return || state == &[true] => &self.after,
                    _ => &self.before,
                };
                assert!(found == *expected, "by us: {context}");
                count.states += 1;
                // Nothing and everything come first.
                let is_picked = index < 2 || random.below(states.len() as u64) < judges;
                if !is_picked {
                    continue;
                }
                let image = TestImage::from_bytes(&bytes, self.start);
                let is_old_log = self.has_fast_commits && *expected == self.before;
                if is_old_log || random.below(8) == 0 {
                    let copy = image.twin();
                    assert!(copy.kernel_recovered_tree() == *expected, "by the kernel: {context}");
                    copy.fsck();
                    count.by_kernel += 1;
                }
                if is_old_log {
                    continue;
                }
                image.recover_by_e2fsck();
                count.by_e2fsck += 1;
                assert!(image.tree() == *expected, "by e2fsck: {context}");
            }
            step.put(&mut bytes, &vec![true; step.sectors.len()]);
        }
        count
    }
}

/// How many states were recovered: all of them by us, some by others.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    states: u64,
    by_e2fsck: u64,
    by_kernel: u64,
}

impl Count {
    fn add(&mut self, more: Self) {
        self.states += more.states;
        self.by_e2fsck += more.by_e2fsck;
        self.by_kernel += more.by_kernel;
    }

    /// Shown with `--nocapture`.
    fn tell(self, edits: &str) {
        let Self { states, by_e2fsck, by_kernel } = self;
        let text = format!(
            "{edits}: {states} states recovered, {by_e2fsck} by e2fsck too, {by_kernel} by the kernel"
        );
        writeln!(std::io::stdout(), "{text}").expect("somebody listens");
    }
}

/// States of each step: how many for us, how many for others.
fn counts() -> (u64, u64) {
    if is_long() { (512, 12) } else { (16, 1) }
}

#[test]
fn a_crash_in_the_edit_of_a_clean_image_leaves_all_of_it_or_nothing() {
    let (mut random, mut count) = (Random(seed()), Count::default());
    for format in FORMATS {
        let image = image(format);
        let edits = if is_long() { EDITS } else { &EDITS[..1] };
        for (name, edit) in edits {
            let case = Case::new(format!("{format:?}, {name}"), &image, *edit);
            count.add(case.judge(counts(), &mut random));
        }
    }
    count.tell("clean images");
}

#[test]
fn a_crash_in_any_kind_of_edit_leaves_all_of_it_or_nothing() {
    let (mut random, mut count) = (Random(seed()), Count::default());
    for format in [&FORMATS[0], &FORMATS[3]] {
        let image = image(format);
        for (name, edit) in &EDITS[1..] {
            let case = Case::new(format!("{format:?}, {name}"), &image, *edit);
            count.add(case.judge(counts(), &mut random));
        }
    }
    count.tell("clean images, other edits");
}

#[test]
fn a_crash_in_the_edit_of_a_dirty_image_leaves_all_of_it_or_nothing() {
    let (mut random, mut count) = (Random(seed()), Count::default());
    let formats = FORMATS.iter().filter(|(args, ..)| !args.contains("-O fast_commit"));
    for (number, format) in formats.enumerate() {
        let image = image(format);
        image.left_dirty(if format.3.is_empty() { "rw" } else { format.3 }, |at| {
            for round in 0..3 {
                fs::create_dir(at.join(format!("made-{round}"))).expect("a directory");
                fs::write(at.join("old"), noise(round, 5000)).expect("a file");
                fs::File::open(at).expect("it is there").sync_all().expect("a sync");
            }
        });
        assert!(image.with_fs(|fs| fs.needs_recovery()));
        let one = &EDITS[number % EDITS.len()];
        for (name, edit) in if is_long() { EDITS } else { std::slice::from_ref(one) } {
            let case = Case::new(format!("dirty {format:?}, {name}"), &image, *edit);
            count.add(case.judge(counts(), &mut random));
        }
    }
    count.tell("dirty images");
}

#[test]
fn a_crash_in_the_edit_of_an_image_with_fast_commits_leaves_all_of_it_or_nothing() {
    let (mut random, mut count) = (Random(seed()), Count::default());
    let image = image(&("-t ext4 -b 1024 -J size=4 -O fast_commit", 16_384, 0, "rw"));
    image.left_dirty("rw", |at| {
        for i in 0..4 {
            // The first sync is a whole commit, the others are fast.
            let path = at.join(format!("made-{i}"));
            fs::write(&path, noise(i, 3000)).expect("a file");
            fs::File::open(&path).expect("it is there").sync_all().expect("a sync");
        }
    });
    let before = image.tree();
    assert!(before == image.twin().kernel_recovered_tree());
    for (name, edit) in if is_long() { EDITS } else { &EDITS[..1] } {
        let mut case = Case::new(format!("fast commits, {name}"), &image, *edit);
        case.has_fast_commits = true;
        let steps: Vec<_> = case.edit.steps().collect();
        assert_eq!(steps.len(), 7);
        // With fast commits to be kept, the old log's superblock still has a start.
        let (_, superblock) = steps[1].iter().next().expect("one sector");
        assert!(superblock[0x1C..0x20] != [0; 4], "no fast commits");
        count.add(case.judge(counts(), &mut random));
    }
    count.tell("images with fast commits");
}

/// Where the undo file of `image` stands.
pub(crate) fn undo_of(image: &Path) -> std::path::PathBuf {
    let mut name = image.as_os_str().to_owned();
    name.push(".autoxen-undo");
    name.into()
}

#[test]
fn a_crash_in_an_edit_without_a_journal_is_undone() {
    let (mut random, mut count) = (Random(seed()), Count::default());
    let most = if is_long() { 300 } else { 20 };
    for args in ["-t ext2 -b 1024", "-t ext4 -b 4096 -O ^has_journal", "-t ext4 -O ^has_journal"] {
        let image = image(&(args, 4096, 0, ""));
        for (name, edit) in EDITS {
            let case = Case::new(format!("{args}, {name}"), &image, *edit);
            assert_eq!(case.edit.guard(), Guard::Undo);
            count.states += undone(&case, most, &mut random);
        }
    }
    count.tell("images without a journal");
}

/// Roll back every state in which an undo file is there. How many there were.
fn undone(case: &Case, most: u64, random: &mut Random) -> u64 {
    let (mut bytes, mut count) = (case.bytes.clone(), 0);
    for step in steps(&case.bytes, &case.edit) {
        for state in step.states(most, random) {
            step.put(&mut bytes, &state);
            let image = TestImage::from_bytes(&bytes, 0);
            let undo = undo_of(&image.path());
            fs::write(&undo, step.undo.as_ref().expect("it is there all the time"))
                .expect("a write");
            let refused = unlocked(|| Image::open(&image.path()));
            assert!(matches!(refused, Err(Error::Interrupted(_))), "{refused:?}");
            unlocked(|| imgfmt::recover(&image.path())).expect("it is rolled back");
            assert!(!undo.exists());
            assert!(image.tree() == case.before, "{}: {state:?}", case.name);
            image.fsck();
            count += 1;
        }
        step.put(&mut bytes, &vec![true; step.sectors.len()]);
    }
    let done = TestImage::from_bytes(&bytes, 0);
    assert!(done.tree() == case.after, "{}", case.name);
    done.fsck();
    count
}

/// More blocks that are in use than a log of 1 MiB has room for, where each inode has a block, and some file data.
fn many(tx: &mut Transaction<'_>) -> Result<()> {
    tx.write("/file", noise(3, 50_000))?;
    (0..1100).try_for_each(|nr| tx.create_dir(format!("/etc/{nr}")))
}

#[test]
fn a_crash_in_an_edit_that_the_log_has_no_room_for_is_undone() {
    let (mut random, mut count) = (Random(seed()), Count::default());
    let most = if is_long() { 300 } else { 10 };
    let image = image(&("-t ext4 -b 1024 -I 1024 -J size=1 -N 2000", 8192, 0, ""));
    let bytes = image.bytes();
    let refused = edit_of(&bytes, 0, many);
    assert!(matches!(refused, Err(Error::NoSpace(_))), "{refused:?}");
    let fs = Fs::open(Volume::whole(&bytes)).expect("it opens");
    let guarded = |edit: Edit| {
        let mut tx = fs.begin(crate::support::NOW).expect("begun");
        edit(&mut tx).expect("it is edited");
        tx.finish_in_place_or_undo().expect("it is guarded")
    };
    // What fits goes through the log.
    assert_eq!(guarded(prepare).guard(), Guard::Journal);
    let edit = guarded(many);
    assert_eq!(edit.guard(), Guard::Undo);
    let copy = image.twin();
    copy.edit(many).expect("it is edited");
    let (before, after) = (image.tree(), copy.tree());
    let name = "a full log".to_owned();
    let bytes = bytes.clone();
    let case = Case { name, start: 0, bytes, edit, before, after, has_fast_commits: false };
    count.states += undone(&case, most, &mut random);
    count.tell("edits that the log has no room for");
}

/// What a sector is before and after each step, each content once.
fn contents(steps: &[Step], sector: usize) -> Vec<&[u8]> {
    let changes = steps.iter().flat_map(|step| &step.sectors).filter(|s| s.0 == sector);
    let mut contents: Vec<&[u8]> = changes.flat_map(|(_, old, new)| [&old[..], new]).collect();
    contents.sort_unstable();
    contents.dedup();
    contents
}

/// Have `s_wtime_hi` other than an edit leaves it: of what an edit changes, all else lies in the first sector.
fn set_wtime_hi(image: &TestImage) {
    let mut bytes = image.bytes();
    bytes[1024 + 0x274] = 1;
    let crc = !crc32c::crc32c(&bytes[1024..2044]);
    bytes[2044..2048].copy_from_slice(&crc.to_le_bytes());
    fs::write(image.path(), bytes).expect("a write");
}

#[test]
fn e2fsprogs_and_the_kernel_take_every_mix_of_superblock_sectors() {
    // What is free alone, or a feature that was not in use as well, which goes through the log.
    let new: Edit = |tx| tx.create_dir("/new");
    let feature: Edit = |tx| tx.set_xattr("/old", "user.new", [1; 200]);
    // `s_last_mounted` has 64 bytes. From 60 on the last four are in use, and 64 have no zero behind them.
    for (args, path_len, edit) in [
        ("-t ext4 -b 1024", 0, new),
        ("-t ext4 -b 1024", 59, new),
        ("-t ext4 -b 4096", 60, new),
        ("-t ext4", 64, new),
        ("-t ext4 -b 1024 -O ^ext_attr", 0, feature),
        ("-t ext4 -b 4096 -O ^ext_attr", 60, feature),
    ] {
        let image = image(&(args, 8192, 0, ""));
        if path_len > 0 {
            let (path, image) = ("/".repeat(path_len), image.path());
            run_ok("tune2fs", &["-M", &path, image.to_str().expect("plain")]);
        }
        set_wtime_hi(&image);
        let case = Case::new(args.to_owned(), &image, edit);
        let steps = steps(&case.bytes, &case.edit);
        let (first, second) = (contents(&steps, 2), contents(&steps, 3));
        // As it was, with the flag, with all that is new, and without the flag; the time as it was, and as it is.
        assert_eq!((first.len(), second.len()), (4, 2), "{args}");
        for first in &first {
            for second in &second {
                let mut bytes = case.bytes.clone();
                bytes[1024..1536].copy_from_slice(first);
                bytes[1536..2048].copy_from_slice(second);
                let image = TestImage::from_bytes(&bytes, 0);
                let path = image.path();
                let path = path.to_str().expect("plain");
                run_ok("dumpe2fs", &["-h", path]);
                // Without a readable superblock, or with a wrong checksum, either of them says so and fails.
                let output = run("debugfs", &["-R", "stats -h", path]);
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(!said.contains("checksum"), "{said}");
                image.recover_by_e2fsck();
                let _ = image.kernel_tree();
            }
        }
    }
}
