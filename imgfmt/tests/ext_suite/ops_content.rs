//! Content that grows, shrinks and comes from a reader.

use std::io::{self, Read};

use imgfmt::Error;

use crate::ops_twin::{Op, compare, mountable};
use crate::support::{NOW, TestImage, noise};

fn s(text: &str) -> String {
    text.to_owned()
}

#[test]
fn a_file_grows_and_shrinks_as_the_kernel_has_it() {
    let mut ops = vec![Op::Append(s("/none"), 1, 1), Op::Truncate(s("/none"), 1)];
    ops.push(Op::Dir(s("/d")));
    ops.push(Op::Append(s("/d"), 1, 1));
    ops.push(Op::Truncate(s("/d"), 1));
    // Around the ends of blocks of 1, 2 and 4 KiB, and of what twelve and 268 numbers reach.
    for (i, len) in
        [0, 1, 1023, 1024, 1025, 4096, 4097, 12_288, 50_000, 300_000].into_iter().enumerate()
    {
        let path = format!("/f{i}");
        ops.push(Op::Write(path.clone(), i as u64, len));
        ops.push(Op::Append(path.clone(), 50, 1));
        ops.push(Op::Append(path.clone(), 51, 0));
        ops.push(Op::Append(path.clone(), 52, 1023));
        ops.push(Op::Append(path.clone(), 53, 20_000));
        ops.push(Op::Truncate(path.clone(), len as u64 + 100_000));
        ops.push(Op::Append(path.clone(), 54, 700));
        ops.push(Op::Truncate(path.clone(), len as u64 + 100_100));
        ops.push(Op::Truncate(path.clone(), len as u64 + 1));
        ops.push(Op::Truncate(path.clone(), len as u64 + 5_000));
        ops.push(Op::Truncate(path, (len as u64 * 2).div_ceil(3)));
    }
    ops.push(Op::Symlink(s("f3"), s("/link")));
    ops.push(Op::Append(s("/link"), 60, 10));
    ops.push(Op::Truncate(s("/link"), 1030));
    ops.push(Op::Truncate(s("/f9"), 0));
    ops.push(Op::WriteFrom(s("/f8"), 61, 3_500_000));
    ops.push(Op::WriteFrom(s("/f7"), 61, 1 << 20));
    ops.push(Op::WriteFrom(s("/new"), 62, 700));
    for (name, args, kib, start) in mountable() {
        compare(name, &TestImage::new(args, kib, start), &ops);
    }
}

/// Files as only the kernel makes them: holes, unwritten blocks, blocks behind the end.
fn sparse(root: &std::path::Path) {
    use std::os::unix::fs::FileExt;
    let write = |name: &str, at: u64, len: usize, size: u64| {
        let file = std::fs::File::create(root.join(name)).expect("a file");
        file.write_all_at(&noise(at, len), at).expect("room");
        file.set_len(size).expect("a length");
        file
    };
    write("hole-at-the-end", 0, 5_000, 50_123);
    write("hole-before", 30_000, 9_000, 39_000);
    write("all-hole", 0, 0, 1_000_001);
    use rustix::fs::{FallocateFlags, fallocate};
    for (name, flags) in
        [("unwritten", FallocateFlags::empty()), ("behind", FallocateFlags::KEEP_SIZE)]
    {
        let file = write(name, 0, 3_000, 3_000);
        // Files that are mapped by numbers have no unwritten blocks.
        let _unsupported = fallocate(&file, flags, 0, 60_500);
    }
}

#[test]
fn holes_and_unwritten_blocks_grow_and_shrink_too() {
    let names = ["hole-at-the-end", "hole-before", "all-hole", "unwritten", "behind"];
    let edits: [fn(&str) -> Vec<Op>; 7] = [
        |f| vec![Op::Append(s(f), 1, 10)],
        |f| vec![Op::Append(s(f), 1, 70_000)],
        |f| vec![Op::Truncate(s(f), 2_000), Op::Append(s(f), 2, 9_000)],
        |f| vec![Op::Truncate(s(f), 45_001), Op::Append(s(f), 2, 9_000)],
        |f| vec![Op::Truncate(s(f), 33_333), Op::Truncate(s(f), 90_000)],
        |f| vec![Op::Truncate(s(f), 2_000_000), Op::Append(s(f), 3, 1)],
        |f| vec![Op::Truncate(s(f), 0), Op::Append(s(f), 3, 5_000)],
    ];
    for args in ["-t ext4", "-t ext4 -b 1024", "-t ext3 -b 1024 -I 128", "-t ext2"] {
        for edit in edits {
            let image = TestImage::new(args, 32_768, 0);
            image.with_kernel(sparse);
            image.fsck();
            let ops: Vec<Op> = names.iter().flat_map(|name| edit(&format!("/{name}"))).collect();
            compare(args, &image, &ops);
        }
    }
}

#[test]
fn what_lies_behind_the_end_of_a_file_is_never_seen() {
    // As an interrupted write of an older kernel leaves it: bytes in the last block, a block behind it.
    for args in ["-t ext4 -b 1024 -O ^has_journal", "-t ext2 -b 1024"] {
        let image = TestImage::new(args, 8_192, 0);
        let path = image.path();
        image.edit(|tx| tx.write("/f", noise(1, 2_500))).expect("there is room");
        let shorter = ["-w", "-R", "sif /f size 700", path.to_str().expect("plain")];
        crate::support::run_ok("debugfs", &shorter);
        image.edit(|tx| tx.truncate("/f", 5_000)).expect("a hole needs no room");
        let mut expected = noise(1, 700);
        expected.resize(5_000, 0);
        image.with_fs(|fs| assert!(fs.read("/f").expect("it is there") == expected, "{args}"));
        image.fsck();
        assert_eq!(image.kernel_tree(), image.tree());
    }
}

#[test]
fn no_block_of_the_old_content_is_written() {
    let image = TestImage::new("-t ext4 -b 1024 -O ^has_journal", 8_192, 0);
    image.edit(|tx| tx.write("/f", noise(1, 2_500))).expect("there is room");
    let before = image.bytes();
    image.edit(|tx| tx.append("/f", noise(2, 2_500))).expect("there is room");
    image.edit(|tx| tx.truncate("/f", 4_500)).expect("there is room");
    let after = image.bytes();
    for block in noise(1, 2_500).chunks(1024) {
        let at = before.chunks_exact(1024).position(|b| b.starts_with(block)).expect("there");
        assert!(before[at * 1024..][..1024] == after[at * 1024..][..1024], "block {at}");
    }
    image.fsck();
    image.with_fs(|fs| {
        let expected = [noise(1, 2_500), noise(2, 2_000)].concat();
        assert!(fs.read("/f").expect("it is there") == expected);
    });
}

struct Failing(usize);

impl Read for Failing {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = buf.len().min(self.0);
        self.0 -= len;
        if len == 0 { Err(io::Error::other("the tape tore")) } else { Ok(len) }
    }
}

#[test]
fn content_that_cannot_be_had_or_held_changes_nothing() {
    let image = TestImage::new("-t ext4 -b 1024 -O ^has_journal", 8_192, 0);
    image.edit(|tx| tx.write("/f", "old")).expect("there is room");
    image.with_fs(|fs| {
        for len in [10, 3_000_000] {
            let mut tx = fs.begin(NOW).expect("clean");
            let error = tx.write_from("/f", &mut Failing(len)).expect_err("it fails");
            assert_eq!(error.to_string(), "content of a file: the tape tore");
            assert!(tx.finish().expect("readable").is_empty());
        }
        let mut tx = fs.begin(NOW).expect("clean");
        let error = tx.write_from("/f", &mut io::repeat(1)).expect_err("it has no end");
        assert!(matches!(error, Error::NoSpace(_)), "{error}");
        let error = tx.append("/f", noise(1, 9 << 20)).expect_err("too much");
        assert!(matches!(error, Error::NoSpace(_)), "{error}");
        // 2^32 - 1 blocks of 1 KiB.
        let error = tx.truncate("/f", 1 << 42).expect_err("no file is that long");
        assert!(matches!(error, Error::NoSpace(_)), "{error}");
        assert!(tx.finish().expect("readable").is_empty());
    });
}

#[test]
fn the_longest_file_is_as_long_as_the_kernel_has_it() {
    // The kernel counts the blocks of numbers of the last length to the block, and we for a whole third level.
    let stays_below = ((1_u64 << 29) - 1 - 1_050_627) << 12;
    for (args, most) in [
        ("-t ext4 -b 1024", ((1_u64 << 32) - 1) << 10),
        ("-t ext4 -b 4096", ((1_u64 << 32) - 1) << 12),
        ("-t ext4 -b 4096 -O ^huge_file", ((1_u64 << 29) - 1) << 12),
        ("-t ext3 -b 1024", 16_843_020 << 10),
        ("-t ext3 -b 4096", stays_below),
    ] {
        let image = TestImage::new(args, 32_768, 0);
        image.edit(|tx| tx.write("/f", "x")).expect(args);
        let twin = image.twin();
        twin.with_kernel(|root| {
            let file = std::fs::File::options().write(true).open(root.join("f")).expect("there");
            assert!(file.set_len(most + 1).is_err() || most == stays_below, "{args}");
            file.set_len(most).expect(args);
        });
        image.edit(|tx| tx.truncate("/f", most)).expect(args);
        image.fsck();
        image.with_fs(|fs| {
            let mut tx = fs.begin(NOW).expect("clean");
            tx.truncate("/f", most + 1).expect_err(args);
        });
        image.with_kernel_options("ro", |root| {
            assert_eq!(std::fs::metadata(root.join("f")).expect("there").len(), most, "{args}");
        });
    }
}
