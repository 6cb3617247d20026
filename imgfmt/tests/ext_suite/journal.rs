//! Journals that have to be replayed. The kernel leaves them, by being copied in mid-work, and says what they hold.

use std::fs::{self, File};
use std::path::Path;

use imgfmt::ext::Fs;
use imgfmt::{Error, Volume};

use crate::support::{NOW, Random, TestImage, noise, run, run_ok};

/// (`mke2fs` arguments, KiB, bytes before the volume, options of the mount)
const JOURNALS: &[(&str, u64, u64, &str)] = &[
    ("-t ext3 -b 1024", 16_384, 0, "rw"),
    ("-t ext3 -b 4096", 16_384, 512, "rw"),
    ("-t ext3 -b 1024", 16_384, 0, "data=journal"),
    ("-t ext4 -b 1024", 16_384, 512, "rw"),
    ("-t ext4 -b 4096", 16_384, 0, "rw"),
    ("-t ext4 -b 4096 -O ^64bit", 16_384, 0, "rw"),
    ("-t ext4 -b 1024 -O 64bit,^metadata_csum", 16_384, 0, "rw"),
    ("-t ext4 -b 1024 -O ^64bit,^metadata_csum", 16_384, 0, "journal_checksum"),
    ("-t ext4 -b 4096 -O ^64bit,^metadata_csum", 16_384, 0, "data=writeback,journal_async_commit"),
    ("-t ext4 -b 4096", 16_384, 0, "data=writeback,journal_async_commit"),
    ("-t ext4 -b 1024", 16_384, 0, "data=journal"),
    ("-t ext4 -b 4096 -O orphan_file", 16_384, 0, "rw"),
];

fn sync(path: &Path) {
    File::open(path).expect("it is there").sync_all().expect("a sync");
}

/// Several transactions: names come and go, blocks of directories are revoked and used again, some content begins with
/// the magic number of the log.
fn work(at: &Path) {
    let etc = at.join("etc");
    fs::create_dir_all(&etc).expect("a directory");
    for round in 0..4_u64 {
        for i in 0..12 {
            let dir = at.join(format!("dir-{i}"));
            fs::create_dir_all(&dir).expect("a directory");
            for name in 0..4 {
                let content = noise(round * 100 + i, 3000);
                fs::write(dir.join(format!("{round}-{name}")), content).expect("a file");
            }
        }
        sync(&etc);
        for i in 0..6 {
            fs::remove_dir_all(at.join(format!("dir-{}", i * 2))).expect("it is there");
        }
        sync(&etc);
        let magic = [&b"\xC0\x3B\x39\x98"[..], &noise(round, 9000)].concat();
        for i in 0..8 {
            fs::write(at.join(format!("magic-{round}-{i}")), &magic).expect("a file");
            sync(&at.join(format!("magic-{round}-{i}")));
        }
        fs::write(etc.join("fstab.new"), format!("# round {round}\n")).expect("a file");
        fs::rename(etc.join("fstab.new"), etc.join("fstab")).expect("a rename");
        sync(&etc.join("fstab"));
    }
}

#[test]
fn a_replay_gives_what_the_kernel_gives() {
    for &(args, kib, start, options) in JOURNALS {
        let name = format!("{args} {options}");
        let image = TestImage::new(args, kib, start);
        image.left_dirty(options, work);
        let bytes = image.bytes();
        assert!(image.with_fs(|fs| fs.needs_recovery()), "{name}");
        let ours = image.tree();
        assert_eq!(ours["/etc/fstab"].split(' ').nth(3), Some("10"), "{name}");

        // The kernel replays at a mount; e2fsck does it for itself.
        let kernel = image.twin();
        kernel.with_kernel(|_| {});
        let truth = kernel.kernel_tree();
        assert_eq!(ours, truth, "{name}");
        if start == 0 {
            let checked = image.twin();
            let path = checked.path();
            let output = run("e2fsck", &["-fp", path.to_str().expect("plain")]);
            assert!(output.status.code() < Some(2), "{name}: {}", output.status);
            assert_eq!(checked.tree(), truth, "{name}");
        }
        assert_eq!(image.bytes(), bytes, "{name}: to read changes nothing");

        let edit = noise(9, 50_000);
        image.edit(|tx| tx.write("/etc/edited", &edit)).expect(&name);
        image.fsck();
        assert!(!image.with_fs(|fs| fs.needs_recovery()), "{name}");
        assert_eq!(image.with_fs(|fs| fs.read("/etc/edited")).expect(&name), edit, "{name}");
        let mut edited = image.kernel_tree();
        assert_eq!(image.tree(), edited, "{name}");
        edited.remove("/etc/edited").expect("the kernel sees it");
        assert_eq!(edited, truth, "{name}");

        // The kernel goes on with the log where the replay ended.
        image.left_dirty(options, work);
        assert!(image.tree().contains_key("/etc/edited"), "{name}");
        image.edit(|tx| tx.remove_file("/etc/edited")).expect(&name);
        image.fsck();
        assert_eq!(image.tree(), image.kernel_tree(), "{name}");
    }
}

#[test]
fn an_edit_of_nothing_replays_the_journal() {
    let image = TestImage::new("-t ext4 -b 1024", 16_384, 0);
    image.left_dirty("rw", work);
    let tree = image.tree();
    image.edit(|_| Ok(())).expect("a replay");
    assert!(!image.with_fs(|fs| fs.needs_recovery()));
    image.fsck();
    assert_eq!(image.kernel_tree(), tree);
}

fn small_dirty(args: &str) -> TestImage {
    let image = TestImage::new(args, 8192, 0);
    image.left_dirty("rw", |at| {
        fs::write(at.join("file"), "in the log\n").expect("a file");
        sync(&at.join("file"));
    });
    image
}

#[expect(clippy::ptr_arg, reason = "a slice is no `dyn Storage`, having no size")]
fn refusal(bytes: &Vec<u8>) -> Error {
    let opened = Fs::open(Volume::whole(bytes));
    opened.and_then(|fs| fs.begin(NOW).map(drop)).expect_err("it is refused")
}

/// Where a block of the log lies, in bytes.
fn log_at(image: &TestImage, block_size: usize, lblk: usize) -> usize {
    let path = image.path();
    let request = format!("bmap <8> {lblk}");
    let text = run_ok("debugfs", &["-R", &request, path.to_str().expect("plain")]);
    text.trim().parse::<usize>().expect("a block") * block_size
}

#[test]
fn a_flag_over_an_empty_log_is_simply_clean() {
    let image = TestImage::new("-t ext4 -b 1024", 8192, 0);
    let path = image.path();
    run_ok("debugfs", &["-w", "-R", "feature needs_recovery", path.to_str().expect("plain")]);
    assert!(!image.with_fs(|fs| fs.needs_recovery()));
    image.edit(|tx| tx.write("/file", "new\n")).expect("it is clean");
    let features = image.with_fs(|fs| fs.info().features);
    assert!(!features.contains(&"needs_recovery".to_owned()), "{features:?}");
    image.fsck();
}

#[test]
fn a_log_without_the_flag_is_not_edited() {
    let image = small_dirty("-t ext3 -b 1024");
    let mut bytes = image.bytes();
    // The kernel would throw the log away, e2fsck would replay it.
    bytes[1024 + 0x60] &= !4;
    assert_eq!(
        refusal(&bytes).to_string(),
        "the file system is not clean: its journal is not empty (run `e2fsck` on it)"
    );
}

#[test]
fn an_error_that_the_kernel_noted_outlives_an_edit() {
    for (args, block_size) in [("-t ext3 -b 1024", 1024), ("-t ext3 -b 4096", 4096)] {
        let clean = TestImage::new(args, 8192, 0);
        for image in [small_dirty(args), clean] {
            let at = log_at(&image, block_size, 0);
            let mut bytes = image.bytes();
            // s_errno of the journal; s_state, which a replay must not undo: the kernel writes it without the journal.
            bytes[at + 0x20 + 3] = 5;
            bytes[1024 + 0x3A] |= 2;
            fs::write(image.path(), bytes).expect("a mark");
            image.edit(|tx| tx.write("/file", "new\n")).expect(args);
            let bytes = image.bytes();
            assert_eq!((bytes[at + 0x20 + 3], bytes[1024 + 0x3A]), (5, 3), "{args}");
            // e2fsck wants to move the mark from the journal to the superblock, even where it may write nothing.
            let mut bytes = bytes;
            bytes[at + 0x20 + 3] = 0;
            fs::write(image.path(), bytes).expect("no mark");
            image.fsck();
        }
    }
}

#[test]
fn an_external_journal_is_refused_by_name() {
    let image = small_dirty("-t ext3 -b 1024");
    let mut bytes = image.bytes();
    bytes[1024 + 0xE0..1024 + 0xE8].copy_from_slice(&[0, 0, 0, 0, 1, 8, 0, 0]);
    assert_eq!(
        refusal(&bytes).to_string(),
        "the journal has to be replayed first (needs_recovery): it is on another device (external journal)"
    );
}

#[test]
fn each_lie_of_the_log_is_an_error_that_says_where() {
    // Neither metadata nor the log has checksums.
    let image = small_dirty("-t ext3 -b 1024");
    let at = log_at(&image, 1024, 0);
    let bytes = image.bytes();
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    // The first sync of a new file system is its first transaction, at the start of the log.
    assert_eq!((word(at + 0x14), word(at + 0x1C)), (1, 1));
    let inode = u32::try_from(at / 1024 + 3).expect("small").to_be_bytes();
    for (offset, patch, expected) in [
        (0, [0; 4], "ext journal superblock: no magic number"),
        (0x10, [0xFF; 4], "ext journal superblock: the log has 4294967295 blocks, its file 1024"),
        (0x1C, [0, 0, 4, 0], "ext journal superblock: the log starts at 1024, not in 1 to 1024"),
        (
            // The first tag of the descriptor in block 1: past the end, block 0, and the log itself.
            1024 + 12,
            [0, 0, 32, 0],
            "has a copy of block 8192, which cannot be",
        ),
        (1024 + 12, [0; 4], "has a copy of block 0, which cannot be"),
        (1024 + 12, inode, "which cannot be"),
    ] {
        let mut lie = bytes.clone();
        lie[at + offset..at + offset + 4].copy_from_slice(&patch);
        let error = refusal(&lie).to_string();
        assert!(error.starts_with("corrupt image: ext journal"), "{error}");
        assert!(error.ends_with(expected), "{error}, not {expected}");
    }
}

#[test]
fn a_damaged_log_with_checksums_is_refused() {
    let image = small_dirty("-t ext4 -b 1024");
    let at = log_at(&image, 1024, 0);
    let bytes = image.bytes();
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    assert_eq!(word(at + 0x1C), 1, "where the log starts");
    // One byte of each of the blocks that the first transaction has: of descriptor, copies and commit.
    for block in 1.. {
        let at = log_at(&image, 1024, block);
        let mut lie = bytes.clone();
        lie[at + 700] ^= 1;
        let error = refusal(&lie).to_string();
        assert!(error.starts_with("corrupt image: ext journal: checksum of "), "{block} {error}");
        if bytes[at..at + 4] == *b"\xC0\x3B\x39\x98" && word(at + 4) == 2 {
            assert!(block > 2, "no copy");
            break;
        }
    }
}

#[test]
fn random_damage_to_a_log_never_panics() {
    for (seed, args) in [(1, "-t ext3 -b 1024"), (2, "-t ext4 -b 1024 -O ^metadata_csum")] {
        let image = small_dirty(args);
        let at = log_at(&image, 1024, 0);
        let bytes = image.bytes();
        let mut random = Random(seed);
        let mut pick =
            |end: usize| usize::try_from(random.below(end as u64)).expect("it came from a usize");
        for _ in 0..400 {
            let mut lie = bytes.clone();
            for _ in 0..1 + pick(3) {
                // The superblock's fields, and the first blocks of the log.
                let offset = if pick(3) == 0 { pick(0x60) } else { 1024 + pick(12 * 1024) };
                lie[at + offset] ^= u8::try_from(1 + pick(255)).expect("less than 256");
            }
            let opened = Fs::open(Volume::whole(&lie));
            let _ = opened.and_then(|fs| {
                fs.read("/file")?;
                let mut tx = fs.begin(NOW)?;
                tx.write("/new", "new\n")?;
                tx.finish()
            });
        }
    }
}

/// Journals that `debugfs` writes, with checksums as it is told, and `e2fsck` replays.
#[test]
fn a_log_with_checksums_of_any_version_gives_what_e2fsck_gives() {
    for (version, args) in [
        (1, "-t ext4 -b 1024 -O ^metadata_csum,^64bit"),
        (2, "-t ext4 -b 1024 -O ^64bit"),
        (2, "-t ext4 -b 4096 -O 64bit"),
        (1, "-t ext4 -b 4096 -O ^metadata_csum,64bit"),
        (3, "-t ext4 -b 1024 -O ^64bit"),
        (3, "-t ext4 -b 4096 -O 64bit"),
    ] {
        let block_size = if args.contains("4096") { 4096 } else { 1024 };
        let image = TestImage::new(args, 16_384, 0);
        let dir = tempfile::tempdir().expect("a directory");
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        // Free blocks in the middle of the volume; one begins like a block of the log.
        let content =
            [&noise(1, 2 * block_size)[..], b"\xC0\x3B\x39\x98", &noise(2, block_size - 4)];
        fs::write(&first, content.concat()).expect("three blocks");
        fs::write(&second, noise(3, 2 * block_size)).expect("two blocks");
        // The checksum of version 1 that debugfs gives a transaction of revoke records alone is wrong to all others.
        let revoke = if version == 1 { "" } else { "jw -r 3001\n" };
        let script = format!(
            "jo -c -v {version}\njw -b 3000,3001,3002 {}\n{revoke}jw -b 3003,3000 {}\njc\n",
            first.display(),
            second.display()
        );
        fs::write(dir.path().join("script"), script).expect("a script");
        let (path, script) = (image.path(), dir.path().join("script").display().to_string());
        run_ok("debugfs", &["-w", "-f", &script, path.to_str().expect("plain")]);
        let features = run_ok("dumpe2fs", &["-h", path.to_str().expect("plain")]);
        let name = ["journal_checksum", "journal_checksum_v2", "journal_checksum_v3"][version - 1];
        assert!(features.split_whitespace().any(|word| word == name), "{args}: {features}");

        let judge = image.twin();
        let path = judge.path();
        run("e2fsck", &["-fp", path.to_str().expect("plain")]);
        image.edit(|_| Ok(())).expect(args);
        image.fsck();
        let (ours, theirs) = (image.bytes(), judge.bytes());
        let written =
            |block: usize| ours[block * block_size..][..block_size].iter().any(|&b| b != 0);
        assert_eq!(
            [3000, 3001, 3002, 3003].map(written),
            [true, version == 1, true, true],
            "{args}"
        );
        let range = 3000 * block_size..3004 * block_size;
        assert!(ours[range.clone()] == theirs[range], "version {version} {args}");
    }
}
