//! Bitmaps that cannot be trusted: what is in use is looked for, and an edit is refused where they are wrong.

use std::fs;

use imgfmt::Error;

use crate::support::{TestImage, noise, run_ok};

const WRONG: &str = "group 0 counts what is free otherwise";

fn debugfs(image: &TestImage, request: &str) -> String {
    let path = image.path();
    run_ok("debugfs", &["-w", "-R", request, path.to_str().expect("a plain path")])
}

fn populated(args: &str) -> TestImage {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["one", "two"] {
        fs::write(dir.path().join(name), noise(1, 20_000)).expect("a file");
    }
    TestImage::populated(args, 8192, 0, dir.path())
}

#[test]
fn without_a_journal_what_was_not_unmounted_is_edited_if_it_is_sound() {
    for args in ["-t ext2 -b 1024", "-t ext4 -O ^has_journal -b 4096", "-t ext4 -O ^has_journal"] {
        let image = TestImage::new(args, 16_384, 0);
        image.left_dirty("rw", |at| {
            for i in 0..20 {
                fs::write(at.join(format!("file-{i}")), noise(i, 30_000)).expect("a file");
            }
            fs::create_dir(at.join("dir")).expect("a directory");
            rustix::fs::syncfs(fs::File::open(at).expect("the root")).expect("a sync");
        });
        assert_eq!(image.bytes()[1024 + 0x3A] & 1, 0, "{args}: it is still mounted");
        let tree = image.tree();
        image.edit(|tx| tx.write("/new", noise(3, 90_000))).expect(args);
        // The mark stays, and so e2fsck looks at the next boot.
        assert_eq!(image.bytes()[1024 + 0x3A] & 1, 0, "{args}");
        image.fsck();
        let mut edited = image.kernel_tree();
        edited.remove("/new").expect("the kernel sees it");
        assert_eq!(edited, tree, "{args}");
    }
}

#[test]
fn what_is_in_use_and_marked_free_is_not_edited_over() {
    for args in ["-t ext2 -b 1024", "-t ext4 -b 1024", "-t ext4 -b 4096 -O ^metadata_csum"] {
        for state in [0, 3] {
            let image = populated(args);
            let number = |request: &str| debugfs(&image, request).trim().to_owned();
            let block = number("bmap /one 3");
            let inode = image.with_fs(|fs| fs.metadata("/two").expect("a file").nr.get());
            for (request, expected) in [
                (format!("freeb {block}"), format!("block {block} of inode")),
                (format!("freei <{inode}>"), format!("inode {inode} is in use, but marked free")),
                (
                    "set_bg 0 free_blocks_count 5\nset_bg 0 checksum calc".to_owned(),
                    WRONG.to_owned(),
                ),
                ("sif <1> block[0] 3000".to_owned(), "it has bad blocks".to_owned()),
            ] {
                let lie = image.twin();
                for request in request.lines() {
                    debugfs(&lie, request);
                }
                debugfs(&lie, &format!("ssv state {state}"));
                match lie.edit(|tx| tx.write("/new", "new\n")) {
                    Err(Error::NotClean(what)) => assert!(what.contains(&expected), "{what}"),
                    other => panic!("{args} {request}: {other:?}"),
                }
                match lie.with_fs(|fs| fs.check_in_use()) {
                    Err(Error::NotClean(what)) => assert!(what.contains(&expected), "{what}"),
                    other => panic!("{args} {request}: {other:?}"),
                }
                assert!(lie.with_fs(|fs| fs.read("/one")).is_ok(), "{args}: it is read");
            }
        }
    }
}

#[test]
fn a_block_of_two_files_is_found() {
    let image = populated("-t ext2 -b 1024");
    let block = debugfs(&image, "bmap /one 3").trim().to_owned();
    debugfs(&image, &format!("sif /two block[4] {block}"));
    match image.with_fs(|fs| fs.check_in_use()) {
        Err(Error::NotClean(what)) => assert!(what.contains("or another's"), "{what}"),
        other => panic!("{other:?}"),
    }
}

/// Nothing says that these are not clean: an edit meets the damage only where it goes.
#[test]
fn damage_where_an_edit_goes_is_not_carried_on() {
    for args in ["-t ext2 -b 1024", "-t ext4 -b 1024 -O ^extent,^64bit", "-t ext4 -b 4096"] {
        let image = populated(args);
        let stats = run_ok("dumpe2fs", &[image.path().to_str().expect("a plain path")]);
        let table = stats.lines().find_map(|line| line.trim().strip_prefix("Inode table at "));
        let table = table.and_then(|rest| rest.split('-').next()).expect("a table").to_owned();
        let mut lies = vec![
            (
                "set_bg 0 free_blocks_count 5\nset_bg 0 checksum calc".to_owned(),
                "counts of group 0",
            ),
            (
                "set_bg 0 free_inodes_count 5\nset_bg 0 checksum calc".to_owned(),
                "counts of group 0",
            ),
            ("sif <1> block[0] 3000".to_owned(), "bad blocks"),
        ];
        // debugfs writes pointers, not extents.
        if !args.contains("4096") {
            lies.push((format!("sif /two block[IND] {table}"), "maps tables of the file system"));
            lies.push((format!("sif /two block[2] {table}"), "maps tables of the file system"));
        }
        for (request, expected) in lies {
            let lie = image.twin();
            for request in request.lines() {
                debugfs(&lie, request);
            }
            let error = lie.edit(|tx| tx.write("/new", noise(2, 3000))).expect_err(&request);
            assert!(error.to_string().contains(expected), "{args} {request}: {error}");
        }
    }
}
