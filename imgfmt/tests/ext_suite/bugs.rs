//! Bugs that were found and mended, each with the image or the edit that showed it.

use imgfmt::ext::Transaction;
use imgfmt::{Error, Result};

use crate::support::{NOW, TestImage, noise, run_ok};

fn edit_at(image: &TestImage, now: i64, f: impl FnOnce(&mut Transaction<'_>) -> Result<()>) {
    let changes = image.with_fs(|fs| {
        let mut tx = fs.begin(now).expect("a clean image");
        f(&mut tx).expect("it fits");
        tx.finish().expect("readable")
    });
    image.apply(&changes);
}

// Groups of 256 blocks: 8 MiB lie across more than thirty of them, most of which begin with no superblock.
#[test]
fn an_extent_from_group_to_group_is_no_damage() {
    let image = TestImage::new("-t ext4 -b 1024 -g 256 -E packed_meta_blocks=1", 16384, 0);
    image.edit(|tx| tx.write("/across", noise(1, 8 << 20))).expect("it fits");
    image.fsck();
    image.edit(|tx| tx.write("/across", "short")).expect("all of it can be freed");
    image.fsck();
    image.edit(|tx| tx.remove_file("/across")).expect("it goes");
    image.fsck();
}

// A time of deletion below the number of inodes is taken for the next inode of the orphan list.
#[test]
fn a_file_deleted_in_1970_is_no_orphan() {
    for now in [-1, 0, 1, 100] {
        let image = TestImage::new("-t ext4", 16384, 0);
        edit_at(&image, 1_700_000_000, |tx| tx.write("/file", "x"));
        edit_at(&image, now, |tx| tx.remove_file("/file"));
        image.fsck();
        // e2fsck believes a superblock of 1970 that its clock was wrong; one of later it does not.
        edit_at(&image, 1_700_000_000, |tx| tx.write("/other", "x"));
        image.fsck();
    }
}

/// Have `debugfs` do what no sound file system holds.
fn debugfs(image: &TestImage, request: &str) {
    let path = image.path();
    run_ok("debugfs", &["-w", "-R", request, path.to_str().expect("a plain path")]);
}

// Unchecked, the counts wrap in a release build and are written back.
#[test]
fn counts_of_a_group_that_are_too_large_do_not_wrap() {
    for field in ["free_blocks_count", "free_inodes_count", "used_dirs_count"] {
        // 64bit without checksums: 32 bits of each count, and nothing that gives the lie away before.
        let image = TestImage::new("-t ext4 -b 1024 -O 64bit,^metadata_csum", 8192, 0);
        image.edit(|tx| tx.write("/file", noise(1, 3000))).expect("it fits");
        debugfs(&image, &format!("set_block_group 0 {field} 0xffffffff"));
        image.with_fs(|fs| {
            let mut tx = fs.begin(NOW).expect("clean, as it says");
            let result = match field {
                "used_dirs_count" => tx.create_dir("/dir"),
                _ => tx.remove_file("/file"),
            };
            assert!(matches!(result, Err(Error::Corrupt(_))), "{field}: {result:?}");
            assert!(tx.finish().expect("nothing").is_empty(), "{field}");
        });
    }
}

// e2fsck finds such an image sound; the inode of the attribute counts in `i_blocks` of the file, though.
#[test]
fn an_attribute_in_an_inode_is_seen_without_its_feature() {
    // Tens of bytes fit the inode, hundreds its block; thousands want an inode.
    let image = TestImage::new("-t ext4 -b 1024 -O ea_inode,^has_journal", 8192, 0);
    image.with_kernel(|root| {
        std::fs::write(root.join("file"), "x").expect("a file");
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::lsetxattr(root.join("file"), "user.big", &[7; 5000], flags).expect("it fits");
    });
    debugfs(&image, "feature ^ea_inode");
    image.fsck();
    let before = image.bytes();
    for edit in [
        |tx: &mut Transaction<'_>| tx.write("/file", "y"),
        |tx: &mut Transaction<'_>| tx.remove_file("/file"),
    ] {
        let refusal = image.edit(edit).expect_err("it would be left wrong");
        assert!(refusal.to_string().contains("`ea_inode`"), "{refusal}");
    }
    assert_eq!(before, image.bytes());
}

// A sparse image of a few KiB could have a directory of four million blocks, all of them the same: the names of that
// took all memory there was.
#[test]
fn a_directory_that_is_one_block_over_and_over_ends() {
    let image = TestImage::new("-t ext2 -b 1024 -I 128", 8192, 0);
    image.edit(|tx| tx.write("/lost+found/x", "")).expect("it fits");
    let path = image.path();
    let text = run_ok("debugfs", &["-R", "bmap lost+found 0", path.to_str().expect("plain")]);
    debugfs(&image, &format!("sif lost+found block[1] {}", text.trim()));
    image.with_fs(|fs| {
        let found = fs.read_dir("/lost+found");
        assert!(matches!(found, Err(Error::Corrupt(_))), "{found:?}");
        let found = fs.exists("/lost+found/missing");
        assert!(matches!(found, Err(Error::Corrupt(_))), "{found:?}");
    });
}

// Written, the journal would become a file of text, and no kernel would mount the image again.
#[test]
fn a_name_for_the_journal_does_not_make_it_a_file() {
    let image = TestImage::new("-t ext3 -b 1024", 16384, 0);
    debugfs(&image, "link <8> fstab");
    let before = image.bytes();
    let refusal = image.edit(|tx| tx.write("/fstab", "x")).expect_err("inode 8 is reserved");
    assert_eq!(refusal.to_string(), "corrupt image: ext inode 8: is reserved, but named");
    assert_eq!(before, image.bytes());
}

// 128-byte inodes have 32 bits of time, and the kernel stops the clock at their end.
#[test]
fn after_2038_an_old_inode_is_not_of_1901() {
    for (args, seconds) in [("-t ext3 -I 128", 0x7FFF_FFFF), ("-t ext4 -I 256", 0x8000_0010)] {
        let image = TestImage::new(args, 16384, 0);
        edit_at(&image, 0x8000_0010, |tx| tx.write("/file", "x"));
        let file = image.with_fs(|fs| fs.metadata("/file").expect(args));
        let expected = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        assert_eq!([file.atime, file.mtime, file.ctime], [expected; 3], "{args}");
    }
}

// They have the bits that kernels before 3.14 gave to times before 1970, and e2fsck wants those mended.
#[test]
fn times_that_e2fsck_takes_for_old_mistakes_are_refused() {
    let at = |seconds| std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let image = TestImage::new("-t ext4", 16384, 0);
    // The last second of before 2310-04-04 that it believes.
    let last = 0x2_7FFF_FFFF;
    image
        .edit(|tx| tx.write("/file", "x").and_then(|()| tx.set_times("/file", at(last), at(last))))
        .expect("it is kept");
    image.fsck();
    let refusal =
        image.edit(|tx| tx.set_times("/file", at(0), at(last + 1))).expect_err("too late");
    assert!(refusal.to_string().contains("times are kept from 1901 to 2310"), "{refusal}");
    // What happens later happens then.
    edit_at(&image, 0x3_0000_0000, |tx| tx.write("/late", "x"));
    assert_eq!(image.with_fs(|fs| fs.metadata("/late").expect("a file")).mtime, at(last));
    image.fsck();
}

// What a finding says of it was counted past the end of all numbers.
#[test]
fn a_table_at_the_end_of_all_numbers_is_a_finding() {
    let image = TestImage::new("-t ext4 -b 1024 -O 64bit,^metadata_csum,^uninit_bg", 8192, 0);
    debugfs(&image, "set_block_group 0 inode_table 0xffffffffffffffff");
    image.with_fs(|fs| {
        let report = fs.check(&mut |_, _| std::ops::ControlFlow::Continue(())).expect("readable");
        let found =
            report.findings.iter().any(|finding| finding.what.contains("18446744073709551615"));
        assert!(found, "{report}");
    });
}
