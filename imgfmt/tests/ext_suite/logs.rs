//! Edits in place through logs of every format, and of shapes that are seldom met: full to the last block, not beginning at
//! its second one, with copies that look like blocks of the log itself.

use std::fs;
use std::path::Path;

use imgfmt::ext::Transaction;
use imgfmt::{Error, InPlace, Result};

use crate::in_place::{edit_of, image, prepare};
use crate::support::{TestImage, run_ok};

/// Where a block of the log lies, in bytes; blocks have 1 KiB.
fn log_at(image: &TestImage, lblk: u32) -> usize {
    let path = image.path();
    let request = format!("bmap <8> {lblk}");
    let said = run_ok("debugfs", &["-R", &request, path.to_str().expect("plain")]);
    said.trim().parse::<usize>().expect("a block") * 1024
}

/// Give words of the journal's superblock other values, and the superblock its checksum.
fn set_words(image: &TestImage, words: &[(usize, u32)]) {
    let (mut bytes, at) = (image.bytes(), log_at(image, 0));
    let superblock = &mut bytes[at..at + 1024];
    for &(offset, word) in words {
        superblock[offset..offset + 4].copy_from_slice(&word.to_be_bytes());
    }
    // s_checksum_type: CRC-32C. Nothing is inverted at its end.
    superblock[0x50] = if superblock[0x2B] & 24 == 0 { 0 } else { 4 };
    superblock[0xFC..0x100].fill(0);
    let crc = match superblock[0x50] {
        0 => 0,
        _ => !crc32c::crc32c(superblock),
    };
    superblock[0xFC..0x100].copy_from_slice(&crc.to_be_bytes());
    fs::write(image.path(), bytes).expect("a write");
}

#[test]
fn a_transaction_in_a_log_of_each_format_is_replayed_by_e2fsck_and_the_kernel() {
    // s_feature_compat (1: journal_checksum) and s_feature_incompat (2: 64bit, 4: async_commit, 8: csum_v2, 16: csum_v3).
    for (compat, incompat) in [
        (0, 0),
        (0, 2),
        (1, 0),
        (1, 2),
        (1, 4),
        (1, 2 | 4),
        (0, 8),
        (0, 2 | 8),
        (0, 2 | 4 | 8),
        (0, 16),
        (0, 2 | 16),
        (0, 2 | 4 | 16),
    ] {
        let args = match incompat {
            0..8 => "-t ext4 -b 1024 -J size=1 -O ^metadata_csum",
            _ => "-t ext4 -b 1024 -J size=1",
        };
        let image = image(&(args, 4096, 0, ""));
        set_words(&image, &[(0x24, compat), (0x28, incompat)]);
        image.assert_replayed(&format!("{args}, {compat} {incompat:#x}"), &prepare);
    }
}

#[test]
fn a_log_need_not_begin_at_its_second_block() {
    for args in ["-t ext3 -b 1024 -J size=2", "-t ext4 -b 1024 -J size=2"] {
        let image = image(&(args, 8192, 0, ""));
        let first = 7;
        set_words(&image, &[(0x14, first), (0x28, if args.contains("ext4") { 16 } else { 0 })]);
        let edit = edit_of(&image.bytes(), 0, prepare).expect(args);
        let lowest = log_at(&image, first) as u64;
        let logged = edit.steps().next().expect("the log").iter().any(|(at, _)| at == lowest);
        assert!(logged, "{args}");
        image.assert_replayed(args, &prepare);
    }
}

/// `count` directories, and as many old files, of all of which each has an inode in a block of its own.
fn blocks(count: usize, files: usize) -> impl Fn(&mut Transaction<'_>) -> Result<()> {
    move |tx| {
        (0..count).try_for_each(|i| tx.create_dir(format!("/dir-{i}")))?;
        (0..files).try_for_each(|i| tx.set_mode(format!("/files/{i:03}"), 0o600))
    }
}

#[test]
fn a_log_is_filled_to_its_last_block_and_not_one_further() {
    let from = tempfile::tempdir().expect("a directory");
    fs::create_dir(from.path().join("files")).expect("a directory");
    for i in 0..100 {
        fs::write(from.path().join(format!("files/{i:03}")), "").expect("a file");
    }
    let image = TestImage::populated("-t ext3 -b 1024 -I 1024 -J size=1", 16_384, 0, from.path());
    let bytes = image.bytes();
    let log_blocks = |count, files| match edit_of(&bytes, 0, blocks(count, files)) {
        Ok(edit) => Some(edit.log_blocks()),
        Err(Error::NoSpace(_)) => None,
        Err(error) => panic!("{error}"),
    };
    // As many directories as fit; the files are for what they leave.
    let (mut count, mut too_many) = (500, 1023);
    while too_many - count > 1 {
        let middle = usize::midpoint(count, too_many);
        match log_blocks(middle, 0) {
            Some(_) => count = middle,
            None => too_many = middle,
        }
    }
    let files = (0..12).find(|&files| log_blocks(count, files) == Some(1023)).expect("it fits");
    let error = edit_of(&bytes, 0, blocks(count, files + 1)).expect_err("one block too many");
    assert_eq!(
        error.to_string(),
        "no space left in the file system of the image: blocks of the journal needed: 1024, there are 1023"
    );

    image.assert_replayed("full", &blocks(count, files));
}

/// Fill a mounted file system, and free the blocks that make its bitmap of group 2 begin with the log's magic number.
fn fill_and_punch(image: &TestImage, at: &Path) {
    let spare = at.join("spare");
    fs::write(&spare, vec![1; 200 << 10]).expect("room");
    // Files of 256 KiB, until there is no room.
    for i in 0.. {
        if fs::write(at.join(format!("file-{i:03}")), vec![1; 256 << 10]).is_err() {
            break;
        }
    }
    sync(at);
    // Room for extents.
    fs::remove_file(spare).expect("it is there");
    sync(at);
    let free: Vec<u64> = (0..32)
        .filter(|bit| MAGIC[bit / 8] >> (bit % 8) & 1 == 0)
        .map(|bit| GROUP_2 + bit as u64)
        .collect();
    for entry in fs::read_dir(at).expect("the root") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            continue;
        }
        let file = fs::File::options().write(true).open(&path).expect("a file");
        for (index, block) in (0_u64..).zip(blocks_of(image, &path)) {
            if free.contains(&block) {
                let mode =
                    rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
                rustix::fs::fallocate(&file, mode, index * 1024, 1024).expect("a hole");
            }
        }
    }
    sync(at);
}

const MAGIC: [u8; 4] = [0xC0, 0x3B, 0x39, 0x98];
/// The first block of group 2, where each has 8192 and block 0 is of none.
const GROUP_2: u64 = 1 + 2 * 8192;

fn sync(at: &Path) {
    let root = fs::File::open(at).expect("the root");
    rustix::fs::syncfs(root).expect("a sync");
}

/// The blocks of a file of the root, in their order.
fn blocks_of(image: &TestImage, path: &Path) -> Vec<u64> {
    let name = path.file_name().expect("a name").to_str().expect("plain");
    let image = image.path();
    let said =
        run_ok("debugfs", &["-R", &format!("blocks /{name}"), image.to_str().expect("plain")]);
    said.split_whitespace().map(|block| block.parse().expect("a block")).collect()
}

#[test]
fn a_bitmap_that_begins_like_a_block_of_the_log_is_escaped() {
    let args = "-t ext4 -b 1024 -J size=1 -O ^resize_inode";
    let image = image(&(args, 24_000, 0, ""));
    image.with_kernel(|at| fill_and_punch(&image, at));
    image.fsck();
    // A file of group 2 that is removed changes the bitmap, but not its beginning.
    let range = GROUP_2 + 32..GROUP_2 + 7000;
    let victim = (0..100)
        .map(|i| format!("/file-{i:03}"))
        .find(|name| {
            let blocks = blocks_of(&image, Path::new(name));
            !blocks.is_empty() && blocks.iter().all(|block| range.contains(block))
        })
        .expect("group 2 is full of files");
    let edit = edit_of(&image.bytes(), 0, |tx| tx.remove_file(&victim)).expect("it is edited");
    let copies = |step: usize| {
        let step = edit.steps().nth(step).expect("a clean log: five steps");
        step.iter().filter(|(_, bytes)| bytes.starts_with(&MAGIC)).count()
    };
    // In the log a descriptor and a commit, at home the bitmap.
    assert_eq!((copies(0), copies(2)), (2, 1), "the bitmap does not begin so");
    image.assert_replayed("escaped", &|tx| tx.remove_file(&victim));
}

#[test]
fn a_log_that_lies_on_metadata_is_not_written() {
    let image = TestImage::new("-t ext3 -b 1024 -J size=1", 16_384, 0);
    let path = image.path();
    let path = path.to_str().expect("plain");
    let said = run_ok("dumpe2fs", &[path]);
    let group_1 = said.split("Group 1:").nth(1).expect("two groups");
    let number = |what: &str| {
        let digits = group_1.split(what).nth(1).expect(what).trim_start();
        let end = digits.find(|c: char| !c.is_ascii_digit()).expect("a line end");
        digits[..end].parse::<u32>().expect("a block")
    };
    let table = number("Inode table at");
    // Of group 1, of which the edit changes nothing: the bitmaps, and the table's first block and a later one. What no map
    // can have, as the copies of the superblock, is refused before.
    let [blocks, inodes] = ["Block bitmap at", "Inode bitmap at"].map(number);
    for block in [blocks, inodes, table, table + 9] {
        let image = image.twin();
        let path = image.path();
        let request = format!("set_inode_field <8> block[11] {block}");
        run_ok("debugfs", &["-w", "-R", &request, path.to_str().expect("plain")]);
        let before = image.bytes();
        let error = image.edit_in_place(|tx| tx.write("/new", "new\n")).map(drop);
        let error = error.expect_err("corrupt").to_string();
        assert!(error.starts_with("corrupt image: "), "{error}");
        assert!(error.ends_with("tables of group 1"), "{error}");
        assert!(image.bytes() == before);
    }
}

/// The numbers of the blocks of 1 KiB that each step of an edit writes to.
fn written(edit: &InPlace) -> Vec<Vec<u64>> {
    edit.steps().map(|step| step.ranges().map(|(offset, _)| offset / 1024).collect()).collect()
}

#[test]
fn blocks_that_were_free_have_no_copy_in_the_log() {
    let image = image(&("-t ext4 -b 1024 -J size=1", 8192, 0, ""));
    let copy = image.twin();
    let edit = copy.edit_in_place(|tx| tx.create_dir("/new")).expect("it is edited");
    let [new] = blocks_of(&copy, Path::new("/new"))[..] else { panic!("a directory of one block") };
    let steps = written(&edit);
    let [prepare, _, homes, _, flag] = &steps[..] else { panic!("five steps: {steps:?}") };
    assert!(prepare.contains(&new) && !homes.contains(&new), "{steps:?}");
    // The superblock: its flag on, then what is free, then its flag off.
    assert!(prepare.contains(&1) && homes.contains(&1) && flag == &[1], "{steps:?}");
    // Bitmaps, descriptors, an inode or two, the root directory: copies, a descriptor and a commit.
    assert_eq!(edit.log_blocks() as usize, homes.len() - 1 + 2);
    copy.fsck();
}

#[test]
fn a_block_that_is_marked_free_by_mistake_goes_through_the_log() {
    let image = image(&("-t ext4 -b 1024 -J size=1 -O ^metadata_csum", 8192, 0, ""));
    let [etc] = blocks_of(&image, Path::new("/etc"))[..] else {
        panic!("a directory of one block")
    };
    let path = image.path();
    let path = path.to_str().expect("plain");
    run_ok("debugfs", &["-w", "-R", &format!("freeb {etc}"), path]);
    // An empty file needs no block: nobody takes this one.
    let edit = edit_of(&image.bytes(), 0, |tx| tx.write("/etc/empty", "")).expect("it is edited");
    let steps = written(&edit);
    let [prepare, _, homes, _, _] = &steps[..] else { panic!("five steps: {steps:?}") };
    assert!(homes.contains(&etc) && !prepare.contains(&etc), "{etc}: {steps:?}");
}
