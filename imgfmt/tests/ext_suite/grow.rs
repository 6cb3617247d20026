//! Growth, against `e2fsck`, `dumpe2fs`, `resize2fs` of a twin and the kernel's own driver.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use imgfmt::ext::{Fs, Growth};
use imgfmt::{Image, ImageMut, Result, Volume};

use crate::crash::{is_long, seed, steps, undo_of};
use crate::support::{Mounted, NOW, Random, noise, run, run_ok, unlocked, write_sparse};

/// A file system in a sparse file that can get longer.
struct Grown {
    dir: tempfile::TempDir,
}

impl Grown {
    /// `mke2fs ARGS image KIB`.
    fn new(args: &str, kib: u64) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
        let image = Self { dir };
        File::create(image.path()).and_then(|f| f.set_len(kib * 1024)).expect("an image");
        let (path, size) = (image.path(), format!("{kib}k"));
        let mut all = vec!["-q", "-F", "-U", "6a1d2c3b-0000-4000-8000-1234567890ab"];
        all.extend(args.split_whitespace());
        all.extend([text(&path), &size]);
        run_ok("mke2fs", &all);
        image
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    fn twin(&self) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
        run_ok("cp", &["--sparse=always", text(&self.path()), text(&dir.path().join("image"))]);
        Self { dir }
    }

    fn set_len(&self, len: u64) {
        File::options()
            .write(true)
            .open(self.path())
            .and_then(|f| f.set_len(len))
            .expect("a length");
    }

    fn len(&self) -> u64 {
        self.path().metadata().expect("it is there").len()
    }

    fn of(bytes: &[u8]) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
        write_sparse(&dir.path().join("image"), bytes);
        Self { dir }
    }

    fn append(&self, bytes: &[u8]) {
        let mut file = File::options().append(true).open(self.path()).expect("the image");
        file.write_all(bytes).expect("a write");
    }

    /// What `dumpe2fs` says of one thing.
    fn dumped(&self, what: &str) -> String {
        let all = run_ok("dumpe2fs", &["-h", text(&self.path())]);
        let line = all.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("{what}: {all}")).trim().to_owned()
    }

    /// How many blocks we find.
    fn blocks(&self) -> u64 {
        let image = unlocked(|| Image::open(&self.path())).expect("the image opens");
        Fs::open(Volume::whole(&image)).expect("the file system opens").info().blocks
    }

    fn with_kernel(&self, f: impl FnOnce(&Path)) {
        let at = self.dir.path().join("mnt");
        std::fs::create_dir_all(&at).expect("a mount point");
        let _mounted = Mounted::new(text(&self.path()), text(&at), "loop");
        f(&at);
    }

    /// As it is while the kernel has it mounted, with something in the log.
    fn left_dirty(&self) {
        let kept = self.dir.path().join("kept");
        self.with_kernel(|at| {
            std::fs::write(at.join("file"), "content").expect("there is room");
            File::open(at).expect("it is there").sync_all().expect("a sync");
            std::fs::copy(self.path(), &kept).expect("a copy");
        });
        std::fs::rename(&kept, self.path()).expect("the copy takes its place");
    }

    fn recover_by_e2fsck(&self, context: &str) {
        let output = run("e2fsck", &["-fp", text(&self.path())]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{context}: {said}");
        self.fsck(context);
    }

    /// Work the growth to `kib` out; the file has that length then.
    fn plan(&self, kib: u64) -> Result<Growth> {
        let zeros_from = self.len();
        self.plan_in(kib, zeros_from)
    }

    /// The same, with zeros from a byte on.
    fn plan_in(&self, kib: u64, zeros_from: u64) -> Result<Growth> {
        self.set_len(kib * 1024);
        let image = unlocked(|| Image::open(&self.path())).expect("the image opens");
        let fs = Fs::open(Volume::whole(&image))?;
        fs.grow(kib * 1024 / u64::from(fs.info().block_size), zeros_from, NOW)
    }

    fn grow(&self, kib: u64) -> Growth {
        self.grow_in(kib, self.len())
    }

    fn grow_in(&self, kib: u64, zeros_from: u64) -> Growth {
        let growth = self.plan_in(kib, zeros_from).expect("it can grow");
        let mut image = unlocked(|| ImageMut::open(&self.path())).expect("the image opens");
        image.commit_in_place(growth.in_place()).expect("it is written");
        growth
    }

    /// `e2fsck -fn` must find nothing.
    fn fsck(&self, context: &str) {
        let output = run("e2fsck", &["-fn", text(&self.path())]);
        let said = String::from_utf8_lossy(&output.stdout);
        let complaints: Vec<&str> = said
            .lines()
            .filter(|line| !line.starts_with("Pass ") && !line.is_empty())
            .filter(|line| !(line.contains(" files (") && line.contains(" blocks")))
            .collect();
        assert!(output.status.success() && complaints.is_empty(), "{context}: {said}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// `mke2fs` arguments, KiB, and to how many KiB it grows, one after another.
const MATRIX: &[(&str, u64, &[u64])] = &[
    // A block, within a group, a second one, and about 1000 times as large; 2.0 is the smallest with room for that.
    ("-t ext2 -b 1024", 2048, &[2049, 4096, 16_384, 1 << 21]),
    ("-t ext2 -r 0 -b 1024", 2048, &[16_384, 200_000]),
    ("-t ext2 -b 4096", 2048, &[2052, 1 << 20]),
    ("-t ext3 -b 1024", 8192, &[8193, 20_000, 1 << 20]),
    ("-t ext3 -b 1024 -O ^resize_inode", 16_384, &[200_000]),
    ("-t ext4 -b 1024", 16_384, &[16_385, 1 << 20]),
    ("-t ext4 -b 2048 -O ^64bit", 16_384, &[20_000, 4 << 20]),
    ("-t ext4 -b 4096", 16_384, &[16_388, 65_536, 1 << 20, 16 << 20]),
    ("-t ext4 -b 1024 -O ^metadata_csum,uninit_bg", 16_384, &[1 << 20]),
    ("-t ext4 -b 1024 -O ^metadata_csum,^uninit_bg", 16_384, &[1 << 20]),
    ("-t ext4 -b 4096 -O ^flex_bg", 65_536, &[130_000, 4 << 20]),
    ("-t ext4 -b 4096 -G 4 -g 8192 -i 4096", 65_536, &[130_000, 4 << 20]),
    ("-t ext4 -b 2048 -G 64 -O ^metadata_csum", 65_536, &[4 << 20]),
    // Descriptors in each 16 groups, all of them old or new, and both.
    ("-t ext4 -b 1024 -O meta_bg,^resize_inode", 16_384, &[30_000, 200_000, 2_000_000]),
    // The room for descriptors, used up.
    ("-t ext4 -b 1024 -E resize=40000", 16_384, &[30_000, 2_000_000, 8_000_000]),
    ("-t ext4 -b 1024 -O ^resize_inode", 16_384, &[30_000, 2_000_000]),
    ("-t ext4 -b 4096 -O sparse_super2", 65_536, &[200_000, 4 << 20]),
    ("-t ext4 -b 4096 -O sparse_super2,^resize_inode", 300_000, &[4 << 20, 32 << 20]),
    ("-t ext2 -b 1024 -O ^sparse_super,^resize_inode", 16_384, &[30_000, 200_000]),
    ("-t ext4 -b 4096 -O ^has_journal", 2048, &[1 << 20]),
    ("-t ext4 -b 4096 -O orphan_file,metadata_csum_seed,fast_commit", 65_536, &[4 << 20]),
    // Inode tables that fill half of each group.
    ("-t ext4 -b 1024 -N 60000", 65_536, &[70_000, 1 << 20]),
    ("-t ext4 -b 4096 -N 200000", 65_536, &[130_000]),
];

/// To a terabyte and to fifteen, of which `e2fsck` takes a minute.
const LARGE: &[(&str, u64, &[u64])] = &[
    ("-t ext4 -b 4096", 65_536, &[1 << 30]),
    ("-t ext4 -b 4096 -O ^64bit", 65_536, &[15 << 30]),
    ("-t ext4 -b 1024 -O meta_bg,^resize_inode", 65_536, &[300_000_000]),
];

#[test]
fn e2fsck_finds_nothing_in_what_has_grown() {
    let large = if is_long() { LARGE } else { &[] };
    for (args, kib, sizes) in MATRIX.iter().chain(large) {
        let image = Grown::new(args, *kib);
        for &size in *sizes {
            let context = format!("{args}: to {size} KiB");
            let growth = image.grow(size);
            let (before, after) = (growth.before(), growth.after());
            assert!(after.blocks > before.blocks, "{context}");
            // What is given away is less than the tables of a group and 50 blocks.
            assert!(size * 1024 - after.len < 32 << 20, "{context}: {after:?}");
            image.fsck(&context);
            let counted = image.dumped("Block count");
            assert_eq!(counted, after.blocks.to_string(), "{context}");
            assert_eq!(image.dumped("Inode count"), after.inodes.to_string(), "{context}");
        }
    }
}

/// What differs from `resize2fs` on purpose, in the words of `dumpe2fs`.
///
/// It forgets how many blocks never hold files (the kernel counts them then), and does not go through the journal. It
/// counts its own writes. Everything else is one and the same where no flexible groups are: with them, the tables of a
/// flexible group that was begun lie behind those that it has, ours in its first new group, as the kernel's do.
const DIFFERS: [&str; 5] =
    ["Overhead clusters", "Last write time", "Lifetime writes", "Journal sequence", "Checksum"];

#[test]
fn resize2fs_makes_the_same_of_a_twin() {
    for (args, kib, size) in [
        ("-t ext2 -b 1024", 2048, 1 << 20),
        ("-t ext3 -b 1024", 16_384, 400_000),
        ("-t ext3 -b 4096", 16_384, 1 << 20),
        ("-t ext4 -b 1024 -O ^flex_bg,^metadata_csum,^uninit_bg", 16_384, 400_000),
    ] {
        let image = Grown::new(args, kib);
        let twin = image.twin();
        image.grow(size);
        run_ok("resize2fs", &["-f", text(&twin.path()), &format!("{size}k")]);
        let dump = |image: &Grown| -> Vec<String> {
            let all = run_ok("dumpe2fs", &[text(&image.path())]);
            let kept = |line: &&str| !DIFFERS.iter().any(|start| line.starts_with(start));
            all.lines().filter(kept).map(str::to_owned).collect()
        };
        let (ours, theirs) = (dump(&image), dump(&twin));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{args}");
        }
        assert_eq!(ours.len(), theirs.len(), "{args}");
    }
}

#[test]
fn the_kernel_fills_what_has_grown_and_resize2fs_goes_on() {
    for args in ["-t ext4 -b 1024", "-t ext3 -b 1024", "-t ext4 -b 1024 -O ^resize_inode"] {
        let image = Grown::new(args, 16_384);
        // A crash of somebody else's left its bytes there, so that the tables are not known to be zeros.
        let junk = noise(5, 48 << 20);
        image.append(&junk);
        image.grow_in(65_536, u64::MAX);
        image.fsck(args);
        image.with_kernel(|at| {
            for i in 0..3000 {
                std::fs::write(at.join(format!("file-{i}")), noise(i, 12_000))
                    .expect("there is room");
            }
            for i in 0..200 {
                std::fs::create_dir(at.join(format!("dir-{i}"))).expect("there is room");
            }
        });
        image.fsck(args);
        image.set_len(600_000 * 1024);
        run_ok("resize2fs", &["-f", text(&image.path())]);
        image.fsck(args);
        image.grow(1 << 20);
        image.fsck(args);
    }
}

#[test]
fn the_share_of_the_administrator_stays() {
    let image = Grown::new("-t ext4 -b 1024 -m 10", 20_000);
    assert_eq!(image.dumped("Reserved block count"), "2000");
    image.grow(100_000);
    assert_eq!(image.dumped("Reserved block count"), "10000");
}

#[test]
fn backups_know_the_new_size() {
    for args in ["-t ext4 -b 1024", "-t ext3 -b 1024", "-t ext4 -b 1024 -O meta_bg,^resize_inode"] {
        let image = Grown::new(args, 30_000);
        image.grow(1 << 20);
        // Where everything is, without a look at bitmaps: a backup says less of them.
        let places = |options: &[&str]| -> Vec<String> {
            let image = image.path();
            let all =
                run_ok("debugfs", &[&["-c", "-R", "stats"], options, &[text(&image)]].concat());
            let kept = |line: &&str| line.contains("bitmap at") || line.starts_with("Block count");
            all.lines().filter(kept).map(str::to_owned).collect()
        };
        let expected = places(&[]);
        assert_eq!(expected.len(), 1 + 128, "{args}");
        // 1 and 3 were there, 5 and 125 are new; with 1 KiB blocks a group has 8192 behind the first.
        for group in [1, 3, 5, 125] {
            let at = (group * 8192 + 1).to_string();
            assert_eq!(places(&["-s", &at, "-b", "1024"]), expected, "{args}, {group}");
        }
    }
}

#[test]
fn what_is_too_large_or_cannot_grow_is_refused_by_name() {
    let no_room = "the ext file system can be enlarged to 262145 blocks of 1024 bytes at most: \
        there is no more room for its group descriptors (no `resize_inode`)";
    for (args, kib, size, expected) in [
        ("-t ext3 -b 1024 -O ^resize_inode", 16_384, 1 << 20, no_room),
        (
            "-t ext3 -b 1024 -E resize=300000",
            16_384,
            1 << 20,
            "the ext file system can be enlarged to 524289 blocks of 1024 bytes at most: \
             no more room is kept for its group descriptors (`resize_inode`)",
        ),
        (
            "-t ext4 -b 1024 -O ^64bit",
            16_384,
            5 << 30,
            "the ext file system can be enlarged to 4294967295 blocks of 1024 bytes at most: \
             without `64bit` it numbers no more blocks",
        ),
        (
            "-t ext4 -b 1024 -i 1024",
            16_384,
            5 << 30,
            "the ext file system can be enlarged to 4294959105 blocks of 1024 bytes at most: \
             it numbers no more inodes",
        ),
        (
            "-t ext4 -b 4096 -O bigalloc",
            65_536,
            1 << 20,
            "ext file systems with the feature `bigalloc` cannot be edited yet",
        ),
        (
            "-t ext4 -b 4096 -O quota",
            65_536,
            1 << 20,
            "ext file systems with the feature `quota` cannot be edited yet",
        ),
    ] {
        let image = Grown::new(args, kib);
        let error = image.plan(size).expect_err(args);
        assert_eq!(error.to_string(), expected, "{args}");
    }
    let image = Grown::new("-t ext4 -b 4096", 65_536);
    image.left_dirty();
    let error = image.plan(1 << 20).expect_err("its journal has to be replayed");
    assert!(matches!(error, imgfmt::Error::NeedsRecovery(_)), "{error}");
}

/// A descriptor that puts the bitmap of the last group where group 1 has its backups.
#[test]
fn a_bitmap_in_a_backup_is_refused() {
    let image = Grown::new("-t ext3 -b 1024", 20_000);
    let file = File::options().write(true).open(image.path()).expect("the image");
    let bitmap = {
        let all = run_ok("debugfs", &["-R", "stats", text(&image.path())]);
        let last =
            all.lines().rfind(|line| line.contains("block bitmap at")).expect("three groups");
        let nr = last.split("block bitmap at ").nth(1).and_then(|rest| rest.split(',').next());
        nr.and_then(|nr| nr.parse::<u64>().ok()).expect("a number")
    };
    let bytes = std::fs::read(image.path()).expect("the image");
    let at = usize::try_from(bitmap * 1024).expect("small");
    let bits = &bytes[at..at + 1024];
    // Group 1 begins at block 8193 with its superblock; descriptor 2 lies 64 bytes into block 2.
    file.write_all_at(bits, 8193 * 1024).expect("a write");
    file.write_all_at(&8193_u32.to_le_bytes(), 2048 + 64).expect("a write");
    let error = image.plan(100_000).expect_err("one block for two things");
    assert_eq!(
        error.to_string(),
        "corrupt image: block 8193 belongs to a backup of the superblock or descriptors, and to something else"
    );
}

#[test]
fn growth_too_small_for_a_group_is_nothing() {
    // Three whole groups of 8192 behind block 0; a fourth needs its tables and 50 blocks.
    let image = Grown::new("-t ext4 -b 1024", 3 * 8192 + 1);
    let growth = image.grow(3 * 8192 + 40);
    assert!(growth.is_nothing() && growth.in_place().is_empty());
    image.fsck("unchanged");
}

#[test]
fn a_crash_in_a_growth_leaves_all_of_it_or_nothing() {
    let (mut random, most) = (Random(seed()), if is_long() { 200 } else { 1 });
    for (args, kib, size) in [
        // Two blocks from the reserve, and in the third case `meta_bg`: 4 groups fill a block there.
        ("-t ext4 -b 1024 -J size=1 -g 1024 -E resize=40000", 4096, 20_000),
        ("-t ext3 -b 1024 -J size=1 -g 512 -E resize=40000", 4096, 20_000),
        ("-t ext4 -b 1024 -J size=1 -g 1024 -O ^resize_inode", 4096, 20_000),
        ("-t ext2 -b 1024", 4096, 20_000),
    ] {
        let image = Grown::new(args, kib);
        image.with_kernel(|at| std::fs::write(at.join("file"), noise(1, 9000)).expect("room"));
        let growth = image.plan(size).expect("it can grow");
        let before = std::fs::read(image.path()).expect("the image");
        let steps = steps(&before, growth.in_place());
        let mut bytes = before.clone();
        for (number, step) in steps.iter().enumerate() {
            // The superblock alone new: whoever reads it looks for all the groups that it counts.
            let alone: Vec<bool> =
                step.sectors.iter().map(|(at, ..)| (2..4).contains(at)).collect();
            let mut states = step.states(most, &mut random);
            states.push(alone.clone());
            for state in states {
                step.put(&mut bytes, &state);
                let copy = Grown::of(&bytes);
                let context = format!("{args}: step {number} of {}: {state:?}", steps.len());
                if let Some(undo) = &step.undo {
                    std::fs::write(undo_of(&copy.path()), undo).expect("a write");
                    unlocked(|| imgfmt::recover(&copy.path())).expect("it is rolled back");
                    copy.fsck(&context);
                    assert_eq!(copy.dumped("Block count"), growth.before().blocks.to_string());
                    continue;
                }
                // New groups and backups; the log; its begin, one sector; homes; the superblock; the end; the flag.
                let is_after = number > 2 || number == 2 && state == [true];
                let expected = if is_after { growth.after() } else { growth.before() };
                assert_eq!(copy.blocks(), expected.blocks, "by us: {context}");
                let judged = copy.twin();
                judged.recover_by_e2fsck(&context);
                assert_eq!(judged.blocks(), expected.blocks, "{context}");
                // Nothing and everything come first.
                if state != alone && random.below(8) > 0 {
                    continue;
                }
                copy.with_kernel(|at| {
                    assert_eq!(std::fs::read(at.join("file")).ok(), Some(noise(1, 9000)))
                });
                // The kernel counts groups before it replays the log, so that it leaves counts of what is free old. Its
                // next mount, or e2fsck, counts anew.
                let output = run("e2fsck", &["-fn", text(&copy.path())]);
                let said = String::from_utf8_lossy(&output.stdout);
                let wrong = |line: &&str| line.contains("wrong") || line.contains("rror");
                assert!(
                    said.lines().filter(wrong).all(|line| line.starts_with("Free ")),
                    "{context}: {said}"
                );
                copy.with_kernel(|at| {
                    std::fs::write(at.join("more"), "more").expect("there is room")
                });
                copy.fsck(&context);
            }
            step.put(&mut bytes, &vec![true; step.sectors.len()]);
        }
        Grown::of(&bytes).fsck(args);
    }
}
