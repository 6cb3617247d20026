//! Images that lie: each lie is an error that says where, and none is a panic, a hang or an edit.

use imgfmt::ext::{FileType, Fs};
use imgfmt::{Error, Result, Volume};

use crate::support::{NOW, Random, TestImage, noise, run_ok};

/// Without checksums, so that a lie gets as far as it can.
const PLAIN: &str =
    "-t ext4 -b 1024 -I 128 -O ^metadata_csum,^has_journal,^resize_inode -g 2048 -N 64";

fn populated(args: &str, kib: u64) -> TestImage {
    let image = TestImage::new(args, kib, 0);
    image
        .edit(|tx| {
            tx.create_dir_all("/dir/below")?;
            tx.write("/file", noise(1, 5_000))?;
            tx.symlink("/file", "/link")?;
            tx.symlink("x".repeat(100), "/long")?;
            (0..12).try_for_each(|i| tx.write(format!("/dir/name-{i}"), noise(i, 700)))
        })
        .expect("a sound image");
    image.fsck();
    image
}

#[expect(clippy::ptr_arg, reason = "a slice is no `dyn Storage`, having no size")]
fn open(bytes: &Vec<u8>) -> Result<Fs<'_>> {
    Fs::open(Volume::whole(bytes))
}

/// Where `debugfs` finds the inode of a path, in bytes.
fn inode_offset(image: &TestImage, path: &str) -> usize {
    let file = image.path();
    let request = format!("imap {path}");
    let text = run_ok("debugfs", &["-R", &request, file.to_str().expect("plain")]);
    // "Inode 13 is part of block group 0\n\tlocated at block 5, offset 0x0600"
    let number = |after: &str| {
        let rest = &text[text.find(after).expect(after) + after.len()..];
        rest.split([',', '\n']).next().expect("a number").trim().to_owned()
    };
    let block: usize = number("located at block ").parse().expect("a number");
    let offset = usize::from_str_radix(number("offset 0x").as_str(), 16).expect("a number");
    block * 1024 + offset
}

fn first_block(image: &TestImage, path: &str) -> usize {
    let file = image.path();
    let text = run_ok("debugfs", &["-R", &format!("bmap {path} 0"), file.to_str().expect("plain")]);
    1024 * text.trim().parse::<usize>().expect("a block")
}

fn patched(bytes: &[u8], at: usize, patch: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + patch.len()].copy_from_slice(patch);
    bytes
}

#[test]
fn each_lie_of_the_superblock_is_named() {
    let image = populated(PLAIN, 4096);
    let bytes = image.bytes();
    for (at, patch, expected) in [
        (0x38, &b"\0\0"[..], "corrupt image: ext superblock: magic number is 0x0000, not 0xef53"),
        (0x18, b"\x07", "corrupt image: ext superblock: block size is 1024 << 7, more than 65536"),
        (0x04, b"\x01\x10", "corrupt image: file system has 4097 blocks, the volume holds 4096"),
        (0x14, b"\0", "corrupt image: ext superblock: first data block is 0"),
        (0x20, b"\0\0\0\0", "corrupt image: ext superblock: 0 blocks per group"),
        (0x20, b"\x08\x20\0\0", "corrupt image: ext superblock: 8200 blocks per group"),
        (0x28, b"\0\0\0\0", "corrupt image: ext superblock: 0 inodes per group"),
        (0x00, b"\x41", "corrupt image: ext superblock: 65 inodes, but 2 groups of 32"),
        (0x58, b"\x81\0", "corrupt image: ext superblock: inode size is 129"),
        (0x58, b"\0\x08", "corrupt image: ext superblock: inode size is 2048"),
        (0x54, b"\x02\0\0\0", "corrupt image: ext superblock: first inode is 2"),
        (0xFE, b"\x21\0", "corrupt image: ext superblock: descriptor size is 33"),
        (0x4C, b"\x02", "ext revision 2"),
        (0x63, b"\x80", "ext file systems with the feature `FEATURE_I31` cannot be read yet"),
        (0x60, b"\xC7", "corrupt image: ext superblock: needs_recovery is on, has_journal is not"),
    ] {
        // The last two change feature words; the descriptor size counts with 64bit alone, which PLAIN has.
        let patch: Vec<u8> = match at {
            0x63 => vec![bytes[1024 + 0x63] | 0x80],
            0x60 => vec![bytes[1024 + 0x60] | 0x04],
            _ => patch.to_vec(),
        };
        let lie = patched(&bytes, 1024 + at, &patch);
        let error = open(&lie).err().unwrap_or_else(|| panic!("{at:#x} {expected}"));
        assert_eq!(error.to_string(), expected, "{at:#x}");
    }
    let truncated = bytes[..bytes.len() - 1].to_vec();
    assert_eq!(
        open(&truncated).err().expect("a block is missing").to_string(),
        "corrupt image: file system has 4096 blocks, the volume holds 4095"
    );
    let tiny = bytes[..1500].to_vec();
    assert_eq!(
        open(&tiny).err().expect("no superblock").to_string(),
        "corrupt image: 1500 bytes are too few for ext"
    );
}

#[test]
fn features_that_an_edit_would_leave_wrong_are_refused_by_name() {
    for (feature, args) in [
        ("quota", "-t ext4 -O quota"),
        ("bigalloc", "-t ext4 -O bigalloc"),
        ("ea_inode", "-t ext4 -O ea_inode"),
        ("mmp", "-t ext4 -O mmp"),
    ] {
        let bytes = TestImage::new(args, 16384, 0).bytes();
        let fs = open(&bytes).expect("it can be read");
        assert_eq!(fs.read_dir("/").expect("a root").len(), 1, "{feature}");
        let error = fs.begin(NOW).err().expect("and not edited");
        assert_eq!(
            error.to_string(),
            format!("ext file systems with the feature `{feature}` cannot be edited yet")
        );
    }
}

#[test]
fn each_lie_of_an_inode_or_its_map_is_named() {
    let image = populated(PLAIN, 4096);
    let bytes = image.bytes();
    let (file, dir) = (inode_offset(&image, "/file"), inode_offset(&image, "/dir"));
    let nr = open(&bytes).expect("sound").metadata("/file").expect("there").nr;
    let map = file + 40;
    for (at, patch, expected) in [
        (file + 0x1A, &b"\0\0"[..], "ext inode NR: is not in use, but named"),
        (file, b"\0\0", "ext inode NR: is not in use, but named"),
        (map, b"\0\0", "ext inode NR extent tree: magic number is 0x0000, not 0xf30a"),
        (map + 2, b"\x05", "ext inode NR extent tree: 5 entries of 4"),
        (map + 4, b"\x05", "ext inode NR extent tree: 1 entries of 5"),
        (map + 6, b"\x06", "ext inode NR extent tree: depth is 6"),
        (map + 16, b"\0", "ext inode NR extent tree: extent at 0 has 0 blocks"),
        (
            map + 12,
            b"\xFE\xFF\xFF\xFF",
            "ext inode NR extent tree: extent at 4294967294 has 5 blocks",
        ),
        (map + 18, b"\x01", "ext inode NR extent tree: block 4294967"),
        (
            map + 20,
            b"\x01\0\0\0",
            "ext inode NR extent tree: block 1 belongs to superblock or descriptors",
        ),
        (
            map + 20,
            b"\xFF\x0F\0\0",
            "ext inode NR extent tree: block 4099 lies past the end of the volume (4096 blocks)",
        ),
    ] {
        let lie = patched(&bytes, at, patch);
        let fs = open(&lie).expect("the superblock is sound");
        let expected = format!("corrupt image: {}", expected.replace("NR", &nr.get().to_string()));
        let mut tx = fs.begin(NOW).expect("clean");
        let error = tx.write("/file", "new").expect_err(&expected);
        assert!(error.to_string().starts_with(&expected), "{error}\n{expected}");
        assert!(tx.finish().expect("readable").is_empty(), "a refused edit changes nothing");
    }
    let lie = patched(&bytes, dir + 4, b"\x01\x04");
    let error = open(&lie).expect("sound").read_dir("/dir").expect_err("an odd length");
    assert!(error.to_string().ends_with("length is 1025 bytes"), "{error}");
}

#[test]
fn a_file_in_the_inode_table_is_not_freed() {
    let image = populated(PLAIN, 4096);
    let bytes = image.bytes();
    let file = inode_offset(&image, "/file");
    let table = u32::try_from(file / 1024).expect("small");
    let lie = patched(&bytes, file + 40 + 20, &table.to_le_bytes());
    let fs = open(&lie).expect("sound");
    let mut tx = fs.begin(NOW).expect("clean");
    let error = tx.remove_file("/file").expect_err("it overlaps").to_string();
    let last = table + 4;
    assert!(
        error.starts_with(&format!(
            "corrupt image: blocks {table} to {last} overlap tables of group"
        )),
        "{error}"
    );
}

#[test]
fn a_free_block_is_not_freed_again() {
    let image = populated(PLAIN, 4096);
    let mut bytes = image.bytes();
    let file = inode_offset(&image, "/file");
    // The last blocks of the volume are free.
    bytes[file + 60..file + 64].copy_from_slice(&4000_u32.to_le_bytes());
    let fs = open(&bytes).expect("sound");
    let mut tx = fs.begin(NOW).expect("clean");
    let error = tx.remove_file("/file").expect_err("it is free").to_string();
    assert_eq!(error, "corrupt image: block 4000 is in use, but marked free");
}

#[test]
fn a_directory_block_that_is_marked_free_is_not_given_out() {
    let image = populated(PLAIN, 4096);
    let mut bytes = image.bytes();
    let block = first_block(&image, "/dir") / 1024;
    // The block bitmap of group 0 is the first thing in its descriptor; group 0 begins at block 1.
    let bitmap = 1024
        * usize::try_from(u32::from_le_bytes([bytes[2048], bytes[2049], bytes[2050], bytes[2051]]))
            .expect("small");
    bytes[bitmap + (block - 1) / 8] &= !(1 << ((block - 1) % 8));
    let fs = open(&bytes).expect("sound");
    let mut tx = fs.begin(NOW).expect("clean");
    tx.write("/dir/one", "").expect("no block is given out yet");
    let error = tx.write("/small", "x").expect_err("it is the first that looks free");
    assert_eq!(
        error.to_string(),
        format!("corrupt image: block {block} is in use, but marked free")
    );
    tx.finish().expect("what went before is sound");
}

#[test]
fn each_lie_of_a_directory_is_named() {
    let image = populated(PLAIN, 4096);
    let bytes = image.bytes();
    let block = first_block(&image, "/dir");
    for (at, patch, expected) in [
        (24 + 4, &b"\0\0"[..], "block 0: entry at 24: length is 0"),
        (24 + 4, b"\xFC\xFF", "block 0: entry at 24: length is 65532"),
        (24, b"\xFF\xFF\0\0", "block 0: entry at 24: inode 65535 does not exist (there are 64)"),
        (24 + 8, b"/", "block 0: entry at 24: a name with `/` or NUL"),
    ] {
        let lie = patched(&bytes, block + at, patch);
        let error = open(&lie).expect("sound").read_dir("/dir").expect_err(expected);
        assert!(error.to_string().ends_with(expected), "{error}");
    }
}

#[test]
fn a_circle_of_links_ends() {
    let image = TestImage::new(PLAIN, 4096, 0);
    image
        .edit(|tx| {
            tx.symlink("b", "/a")?;
            tx.symlink("/a", "/b")?;
            let error = tx.write("/a", "x").expect_err("a circle");
            assert!(matches!(error, Error::SymlinkLoop(_)), "{error}");
            // 40 links on one way are followed, 41 are not.
            tx.write("/link-0", "the end")?;
            (1..=41)
                .try_for_each(|i| tx.symlink(format!("link-{}", i - 1), format!("/link-{i}")))?;
            assert_eq!(tx.read("/link-40")?, b"the end");
            let error = tx.read("/link-41").expect_err("one too many");
            assert!(matches!(error, Error::SymlinkLoop(_)), "{error}");
            tx.symlink("../../../../made", "/out")?;
            tx.write("/out", "it stays inside")
        })
        .expect("sound");
    image.fsck();
    image.with_fs(|fs| assert_eq!(fs.read("/made").expect("it was made"), b"it stays inside"));
}

#[test]
fn a_wrong_checksum_is_found() {
    let image = TestImage::new("-t ext4 -b 1024 -O ^has_journal", 8192, 0);
    image
        .edit(|tx| {
            tx.create_dir("/dir")?;
            tx.write("/dir/file", "x")
        })
        .expect("sound");
    let bytes = image.bytes();
    let inode = inode_offset(&image, "/dir/file");
    let dir = first_block(&image, "/dir");
    let flipped = |at: usize| patched(&bytes, at, &[bytes[at] ^ 1]);

    let lie = flipped(1024 + 0x78);
    let error = open(&lie).err().expect("the label is part of it").to_string();
    assert_eq!(error, "corrupt image: ext superblock: checksum is wrong");
    for (at, expected) in [
        (inode + 0x64, ": checksum is wrong"),
        (dir + 1000, ": checksum of block 0 is wrong"),
        (2048 + 12, "group 0: checksum of the descriptor is wrong"),
    ] {
        let lie = flipped(at);
        let fs = open(&lie).expect("the superblock is sound");
        let error = fs.read("/dir/file").expect_err(expected).to_string();
        assert!(error.starts_with("corrupt image: ") && error.ends_with(expected), "{error}");
    }
}

#[test]
fn a_descriptor_whose_bitmaps_vouch_for_it_serves_and_is_mended() {
    let image = TestImage::new("-t ext4 -b 1024 -O ^has_journal", 8192, 0);
    image.edit(|tx| tx.write("/file", "as it was")).expect("sound");
    let mut bytes = image.bytes();
    // bg_checksum of group 0, whose descriptor is the first thing in block 2.
    bytes[2048 + 0x1E] ^= 1;
    std::fs::write(image.path(), &bytes).expect("a write");
    image.with_fs(|fs| assert_eq!(fs.read("/file").expect("readable"), b"as it was"));
    image.edit(|tx| tx.write("/file", "and as it is")).expect("it can be edited");
    image.fsck();
}

/// Everything there is to read, and an edit.
fn use_all(bytes: &Vec<u8>) -> Result<()> {
    let fs = open(bytes)?;
    let mut dirs = vec![(std::path::PathBuf::from("/"), 0)];
    while let Some((dir, depth)) = dirs.pop() {
        let Ok(entries) = fs.read_dir(&dir) else { continue };
        for entry in entries {
            let path = dir.join(&entry.name);
            let _ = fs.symlink_metadata(&path).map(|meta| format!("{meta:?}"));
            let _ = fs.xattrs(&path);
            let _ = fs.read_capped(&path, 1 << 20);
            let _ = fs.read_link(&path);
            if entry.kind == FileType::Directory && depth < 4 {
                dirs.push((path, depth + 1));
            }
        }
    }
    let mut tx = fs.begin(NOW)?;
    let _ = tx.write("/file", noise(3, 9_000));
    let _ = tx.write("/dir/new", noise(4, 2_000));
    let _ = tx.create_dir("/dir/another");
    let _ = tx.symlink("y".repeat(80), "/dir/below/z");
    let _ = tx.remove_file("/long");
    let _ = tx.remove_file("/dir/name-3");
    let _ = tx.remove_dir("/dir/below");
    tx.finish().map(drop)
}

#[test]
fn flipped_bytes_are_errors_and_never_panics() {
    for (seed, args) in [
        (1, PLAIN),
        (2, "-t ext2 -b 1024 -I 128 -N 64"),
        (3, "-t ext4 -b 1024 -N 64 -O ^has_journal"),
        (4, "-t ext4 -b 1024 -I 256 -N 64 -O ^has_journal,^metadata_csum,inline_data"),
    ] {
        let image = TestImage::new(args, 2048, 0);
        if seed < 4 {
            image
                .edit(|tx| {
                    tx.create_dir_all("/dir/below")?;
                    tx.write("/file", noise(1, 50_000))?;
                    tx.symlink("x".repeat(100), "/long")?;
                    (0..30).try_for_each(|i| {
                        tx.symlink(noise_name(i), format!("/dir/name-{i}-{}", noise_name(i)))
                    })
                })
                .expect("sound");
        }
        let sound = image.bytes();
        // Only bytes that are used for something are worth a flip.
        let used: Vec<usize> = (1024..sound.len()).filter(|&at| sound[at] != 0).collect();
        let mut random = Random(seed);
        for _ in 0..400 {
            let mut lie = sound.clone();
            for _ in 0..1 + random.below(3) {
                let index = usize::try_from(random.below(used.len() as u64)).expect("small");
                // The byte or one of its neighbours, which may be zero.
                let at = (used[index] + usize::try_from(random.below(4)).expect("small"))
                    .min(lie.len() - 1);
                lie[at] = match random.below(4) {
                    0 => 0xFF,
                    1 => 0,
                    2 => lie[at] ^ 1 << random.below(8),
                    _ => random.next().to_le_bytes()[0],
                };
            }
            let _ = use_all(&lie);
        }
    }
}

fn noise_name(seed: u64) -> String {
    let bytes = noise(seed + 1, 60);
    bytes.iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}

/// The value of an attribute in an inode whose content is inline would be an attribute in turn, here of itself.
#[test]
fn a_value_that_lies_in_itself_is_an_error() {
    let args = "-t ext4 -b 1024 -I 512 -O ea_inode,inline_data,^metadata_csum,^has_journal";
    let image = TestImage::new(args, 8192, 0);
    image.with_kernel(|root| {
        std::fs::write(root.join("f"), "x").expect("a file");
        let (value, flags) = (noise(3, 9000), rustix::fs::XattrFlags::empty());
        rustix::fs::lsetxattr(root.join("f"), "trusted.value", &value, flags).expect("root may");
    });
    let bytes = image.bytes();
    let (file, value) = (inode_offset(&image, "/f"), inode_offset(&image, "<13>"));
    // The entries of the file, behind 128 bytes and i_extra_isize; `trusted.value` is renamed to `system.data`, and the
    // inode of its value made to have it, too.
    let mut tail = bytes[file + 128..file + 512].to_vec();
    let entry = tail.windows(8).position(|bytes| bytes == [5, 4, 0, 0, 13, 0, 0, 0]);
    let entry = entry.expect("e_name_len, e_name_index, e_value_offs, e_value_inum");
    tail[entry..entry + 2].copy_from_slice(&[4, 7]);
    tail[entry + 16..entry + 21].copy_from_slice(b"data\0");
    let bytes = patched(&bytes, value + 128, &tail);
    let flags = u32::from_le_bytes(*bytes[value + 32..].first_chunk().expect("i_flags"));
    let bytes = patched(&bytes, value + 32, &(flags | 0x1000_0000).to_le_bytes());
    let fs = open(&bytes).expect("the superblock is sound");
    let error = fs.xattrs("/f").expect_err("it has no end");
    let expected = "corrupt image: ext inode 12: inode 13 does not hold an attribute";
    assert_eq!(error.to_string(), expected);
}
