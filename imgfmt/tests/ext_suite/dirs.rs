//! Directories of every kind and size: `e2fsck` finds nothing, and the kernel finds each name by its hash.

use std::collections::BTreeMap;
use std::path::Path;

use imgfmt::ext::{FileType, Transaction};
use imgfmt::{Error, Result};

use crate::support::{NOW, TestImage, run_ok};

/// A name of 250 bytes, of which three fit a leaf of 1 KiB: trees grow fast.
fn long_name(i: u32) -> String {
    format!("/dir/{i:06}-{}", "n".repeat(243))
}

fn long_names(tx: &mut Transaction<'_>, range: std::ops::Range<u32>) -> Result<()> {
    range.into_iter().try_for_each(|i| tx.symlink("x", long_name(i)))
}

/// The kernel must find a name, which it does by its hash; a listing would find it anywhere.
fn assert_found(root: &Path, path: &str) {
    let found = root.join(path.trim_start_matches('/')).symlink_metadata();
    found.unwrap_or_else(|e| panic!("{path}: {e}"));
}

fn debugfs(image: &TestImage, command: &str) -> String {
    let path = image.path();
    run_ok("debugfs", &["-w", "-R", command, path.to_str().expect("a plain path")])
}

fn tune2fs(image: &TestImage, args: &[&str]) {
    let path = image.path();
    run_ok("tune2fs", &[args, &[path.to_str().expect("a plain path")]].concat());
}

/// `indirect_levels` of the root: levels of arrays between it and the leaves.
fn levels(image: &TestImage, dir: &str) -> u32 {
    let text = debugfs(image, &format!("htree_dump {dir}"));
    let (_, rest) = text.split_once("Indirect levels:").expect("a hash tree");
    rest.split_whitespace().next().expect("a number").parse().expect("a number")
}

#[test]
fn a_large_dir_grows_a_third_level_and_the_kernel_goes_on() {
    let args = "-t ext4 -b 1024 -I 128 -N 40000 -O large_dir,^has_journal";
    let image = TestImage::new(args, 65_536, 0);
    image
        .edit(|tx| {
            tx.create_dir("/dir")?;
            long_names(tx, 0..20_000)
        })
        .expect("there is room");
    assert_eq!(levels(&image, "/dir"), 1);
    image.edit(|tx| long_names(tx, 20_000..30_000)).expect("there is room");
    image.fsck();
    assert_eq!(levels(&image, "/dir"), 2);
    image.with_kernel(|root| {
        (0..30_000).for_each(|i| assert_found(root, &long_name(i)));
        (30_000..31_000).for_each(|i| {
            let path = root.join(&long_name(i)[1..]);
            std::os::unix::fs::symlink("x", path).expect("the kernel adds to it");
        });
    });
    image
        .edit(|tx| {
            (0..31_000).step_by(5).try_for_each(|i| tx.remove_file(long_name(i)))?;
            long_names(tx, 31_000..34_000)
        })
        .expect("there is room");
    image.fsck();
    image.with_fs(|fs| assert_eq!(fs.read_dir("/dir").expect("a directory").len(), 27_800));
    image.with_kernel(|root| {
        (31_000..34_000).for_each(|i| assert_found(root, &long_name(i)));
    });
}

#[test]
fn without_large_dir_two_levels_are_all() {
    let args = "-t ext4 -b 1024 -I 128 -N 40000 -O ^has_journal";
    let image = TestImage::new(args, 65_536, 0);
    let mut count = 0;
    image
        .edit(|tx| {
            tx.create_dir("/dir")?;
            let refusal = loop {
                match tx.symlink("x", long_name(count)) {
                    Ok(()) => count += 1,
                    Err(refusal) => break refusal,
                }
            };
            assert!(matches!(refusal, Error::NoSpace(_)), "{refusal}");
            assert!(refusal.to_string().contains("directory"), "{refusal}");
            assert!(!tx.exists(long_name(count))?);
            Ok(())
        })
        .expect("only what is caught fails");
    // The root has 123 entries, each node up to 126, each leaf up to three names, and none of them is less than half full.
    assert!(count > 123 * 63, "{count}");
    image.fsck();
    let before = image.bytes();
    let edit = |tx: &mut Transaction<'_>| tx.symlink("x", long_name(count));
    assert!(matches!(image.edit(edit), Err(Error::NoSpace(_))));
    assert!(before == image.bytes());
    image.with_kernel(|root| {
        (0..count).for_each(|i| assert_found(root, &long_name(i)));
        let refusal = std::os::unix::fs::symlink("x", root.join(&long_name(count)[1..]));
        let refusal = refusal.expect_err("the kernel has no room either");
        assert_eq!(refusal.kind(), std::io::ErrorKind::StorageFull);
    });
    // What goes makes room for what comes, if it hashes alike.
    image
        .edit(|tx| {
            (0..count).try_for_each(|i| tx.remove_file(long_name(i)))?;
            long_names(tx, 0..count)
        })
        .expect("there was room for the same before");
    image.fsck();
}

/// Pairs of names that hash alike, of `count`: as `debugfs` hashes them, with the seed of all test images.
fn alike(count: u32) -> Vec<(String, String)> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let script = dir.path().join("script");
    let lines: String = (0..count)
        .map(|i| {
            let name = &long_name(i)[5..];
            format!("dx_hash -h half_md4 -s 11111111-2222-4333-8444-555555555555 {name}\n")
        })
        .collect();
    std::fs::write(&script, lines).expect("a script");
    let text = run_ok("debugfs", &["-f", script.to_str().expect("a plain path")]);
    let mut by_hash: BTreeMap<&str, &str> = BTreeMap::new();
    let mut pairs = Vec::new();
    // Hash of NAME is 0x12345678 (minor 0x12345678)
    for line in text.lines().filter_map(|line| line.strip_prefix("Hash of ")) {
        let (name, rest) = line.split_once(" is ").expect("a hash");
        let hash = rest.split_whitespace().next().expect("a hash");
        if let Some(other) = by_hash.insert(hash, name) {
            pairs.push((format!("/dir/{other}"), format!("/dir/{name}")));
        }
    }
    pairs
}

#[test]
fn names_of_one_hash_may_lie_in_two_leaves() {
    // 120,000 names make 120,000² / 2 pairs, for 2^31 hashes: three or so that meet.
    let pairs = alike(120_000);
    assert!(!pairs.is_empty());
    let mut apart = 0;
    for (first, second) in &pairs {
        // A leaf has room for three; where the third of them hashes higher, the two are split.
        for third in 0..8 {
            let image = TestImage::new("-t ext4 -b 1024 -N 64 -O ^has_journal", 4_096, 0);
            image
                .edit(|tx| {
                    tx.create_dir("/dir")?;
                    tx.symlink("1", first)?;
                    tx.symlink("2", second)?;
                    (0..4).try_for_each(|i| tx.symlink("x", long_name(900_000 + 4 * third + i)))
                })
                .expect("there is room");
            image.fsck();
            let tree = debugfs(&image, "htree_dump /dir");
            apart += u32::from(tree.lines().any(|line| {
                let hash = line.split_once("Hash 0x").map(|(_, rest)| rest);
                let hash = hash.and_then(|rest| u32::from_str_radix(rest.get(..8)?, 16).ok());
                line.contains("block") && hash.is_some_and(|hash| hash & 1 == 1)
            }));
            image.with_kernel(|root| {
                assert_found(root, first);
                assert_found(root, second);
            });
            image
                .edit(|tx| {
                    assert_eq!(tx.read_link(first)?.to_str(), Some("1"));
                    assert_eq!(tx.read_link(second)?.to_str(), Some("2"));
                    tx.remove_file(second)?;
                    tx.symlink("again", second)
                })
                .expect("both are found");
            image.fsck();
        }
    }
    assert!(apart > 0, "no leaf was split between two names of one hash");
}

#[test]
fn blocks_of_64_kib_hold_directories() {
    for args in [
        "-t ext4 -b 65536",
        "-t ext4 -b 65536 -O ^metadata_csum",
        "-t ext4 -b 65536 -O ^metadata_csum,^dir_index",
        "-t ext4 -b 65536 -O ^dir_index",
        "-t ext2 -b 65536 -O ^filetype",
    ] {
        let image = TestImage::new(&format!("{args} -N 4096"), 131_072, 0);
        image
            .edit(|tx| {
                tx.create_dir("/dir")?;
                tx.create_dir("/dir/sub")?;
                // Two hundred and sixty bytes each: half a megabyte, eight blocks.
                long_names(tx, 0..2_000)
            })
            .expect(args);
        image.fsck();
        image
            .edit(|tx| {
                (0..2_000)
                    .filter(|i| i % 100 != 0)
                    .try_for_each(|i| tx.remove_file(long_name(i)))?;
                long_names(tx, 5_000..5_100)?;
                tx.remove_dir("/dir/sub")
            })
            .expect(args);
        image.fsck();
        let listing = debugfs(&image, "ls -p /dir");
        for i in (0..2_000).step_by(100).chain(5_000..5_100) {
            assert!(listing.contains(&long_name(i)[5..]), "{args}: {i}");
        }
        image
            .edit(|tx| {
                (0..2_000)
                    .step_by(100)
                    .chain(5_000..5_100)
                    .try_for_each(|i| tx.remove_file(long_name(i)))?;
                tx.remove_dir("/dir")
            })
            .expect(args);
        image.fsck();
    }
}

#[test]
fn entries_without_filetype_make_the_same_trees() {
    for args in ["-t ext4 -b 1024 -O ^filetype", "-t ext3 -b 1024 -I 128 -O ^filetype"] {
        let image = TestImage::new(&format!("{args} -N 2048"), 16_384, 0);
        image
            .edit(|tx| {
                tx.create_dir_all("/dir/sub/sub")?;
                tx.write("/dir/file", "x")?;
                long_names(tx, 0..800)
            })
            .expect(args);
        image.fsck();
        image.with_fs(|fs| {
            let names = fs.read_dir("/dir").expect(args);
            let count = |kind| names.iter().filter(|entry| entry.kind == kind).count();
            let counts = [FileType::Directory, FileType::File, FileType::Symlink].map(count);
            assert_eq!(counts, [1, 1, 800], "{args}");
        });
        image.with_kernel(|root| {
            (0..800).for_each(|i| assert_found(root, &long_name(i)));
            std::fs::remove_dir_all(root.join("dir")).expect("the kernel removes it");
        });
        image.fsck();
    }
}

#[test]
fn what_the_kernel_hashed_is_found_by_its_hash() {
    for hash in ["legacy", "half_md4", "tea"] {
        // s_flags: 1 for signed bytes, 2 for unsigned ones.
        for sign in ["1", "2"] {
            let image = TestImage::new("-t ext4 -b 1024 -N 1024 -O ^has_journal", 8_192, 0);
            tune2fs(&image, &["-E", &format!("hash_alg={hash}")]);
            debugfs(&image, &format!("ssv flags {sign}"));
            let name = |i: u32| format!("/dir/\u{e9}-{i}-{}", "\u{fc}".repeat(20));
            image.with_kernel(|root| {
                std::fs::create_dir(root.join("dir")).expect("a directory");
                for i in 0..400 {
                    let path = root.join(&name(i)[1..]);
                    std::os::unix::fs::symlink(i.to_string(), path).expect("a link");
                }
            });
            image
                .edit(|tx| {
                    for i in 0..400 {
                        assert_eq!(tx.read_link(name(i))?.to_str(), Some(&*i.to_string()));
                    }
                    (0..400).step_by(2).try_for_each(|i| tx.remove_file(name(i)))?;
                    (400..600).try_for_each(|i| tx.symlink("x", name(i)))
                })
                .expect(hash);
            image.fsck();
            image.with_kernel(|root| {
                (1..400).step_by(2).chain(400..600).for_each(|i| assert_found(root, &name(i)));
            });
        }
    }
}

#[test]
fn a_directory_that_grew_without_dir_index_stays_linear() {
    let image = TestImage::new("-t ext4 -b 1024 -N 1024 -O ^dir_index", 16_384, 0);
    image.edit(|tx| tx.create_dir("/dir").and_then(|()| long_names(tx, 0..20))).expect("room");
    tune2fs(&image, &["-O", "dir_index"]);
    image.edit(|tx| long_names(tx, 20..40)).expect("room");
    image.fsck();
    assert!(!debugfs(&image, "stat /dir").contains("Flags: 0x81000"));
    image.with_kernel(|root| (0..40).for_each(|i| assert_found(root, &long_name(i))));
}

#[test]
fn a_tree_without_dir_index_is_left_behind_where_that_is_sound() {
    for (args, is_sound) in [("-O ^metadata_csum", true), ("-O metadata_csum", false)] {
        let args = format!("-t ext4 -b 1024 -N 1024 {args}");
        let image = TestImage::new(&args, 16_384, 0);
        image.edit(|tx| tx.create_dir("/dir").and_then(|()| long_names(tx, 0..200))).expect("room");
        debugfs(&image, "feature -dir_index");
        let before = image.bytes();
        let result = image.edit(|tx| long_names(tx, 200..220));
        match is_sound {
            true => {
                result.expect("room");
                image.fsck();
                image.with_kernel(|root| (0..220).for_each(|i| assert_found(root, &long_name(i))));
            }
            false => {
                // The root has no place for the checksum of a block of entries.
                let refusal = result.expect_err("not sound").to_string();
                assert!(refusal.contains("`dir_index`"), "{refusal}");
                assert!(before == image.bytes());
                image.with_fs(|fs| assert_eq!(fs.read_dir("/dir").expect("read").len(), 200));
            }
        }
    }
}

/// A field of what `debugfs` says of an inode.
fn stat(image: &TestImage, path: &str, field: &str) -> String {
    let text = debugfs(image, &format!("stat {path}"));
    let (_, rest) = text.split_once(field).expect(field);
    rest.split_whitespace().next().expect("a value").to_owned()
}

#[test]
fn new_inodes_take_the_flags_that_the_kernel_gives_them() {
    // Every flag that chattr sets and that does not keep names from being added, beside EXT4_EXTENTS_FL.
    let flags = "0x200bc4cf";
    let image = TestImage::new("-t ext4", 16_384, 0);
    image.edit(|tx| tx.create_dir("/dir")).expect("room");
    debugfs(&image, &format!("sif /dir flags {flags}"));
    image.with_kernel(|root| {
        std::fs::write(root.join("dir/file"), "x").expect("a file");
        std::fs::create_dir(root.join("dir/dir")).expect("a directory");
        std::os::unix::fs::symlink("x", root.join("dir/link")).expect("a link");
        std::os::unix::fs::symlink("x".repeat(80), root.join("dir/long")).expect("a link");
    });
    image
        .edit(|tx| {
            tx.write("/dir/ours-file", "x")?;
            tx.create_dir("/dir/ours-dir")?;
            tx.symlink("x", "/dir/ours-link")?;
            tx.symlink("x".repeat(80), "/dir/ours-long")
        })
        .expect("room");
    image.fsck();
    for kind in ["file", "dir", "link", "long"] {
        let [theirs, ours] = [format!("/dir/{kind}"), format!("/dir/ours-{kind}")]
            .map(|path| stat(&image, &path, "Flags:"));
        assert_eq!(ours, theirs, "{kind}");
    }
}

#[test]
fn what_is_made_below_a_project_belongs_to_it() {
    let image = TestImage::new("-t ext4 -O project -I 256", 16_384, 0);
    image.edit(|tx| tx.create_dir("/dir").and_then(|()| tx.create_dir("/other"))).expect("room");
    // EXT4_PROJINHERIT_FL and EXT4_EXTENTS_FL; `/other` has a project, which it keeps to itself.
    debugfs(&image, "sif /dir flags 0x20080000");
    debugfs(&image, "sif /dir projid 7");
    debugfs(&image, "sif /other projid 8");
    image
        .edit(|tx| {
            tx.write("/dir/file", "x")?;
            tx.create_dir_all("/dir/sub/sub")?;
            tx.symlink("x", "/dir/link")?;
            tx.write("/other/file", "x")
        })
        .expect("room");
    image.fsck();
    for (path, project) in
        [("/dir/file", "7"), ("/dir/sub/sub", "7"), ("/dir/link", "7"), ("/other/file", "0")]
    {
        assert_eq!(stat(&image, path, "Project:"), project, "{path}");
    }
    assert_eq!(stat(&image, "/dir/sub", "Flags:"), "0x20080000");
    assert_eq!(stat(&image, "/dir/file", "Flags:"), "0x80000");
}

#[test]
fn names_that_others_compare_are_left_to_them() {
    // EXT4_CASEFOLD_FL and EXT4_ENCRYPT_FL beside EXT4_EXTENTS_FL.
    for (feature, args, flags) in [
        ("casefold", "-t ext4 -O casefold -E encoding=utf8", "0x40080000"),
        ("encrypt", "-t ext4 -O encrypt", "0x80800"),
    ] {
        let image = TestImage::new(args, 16_384, 0);
        image
            .edit(|tx| {
                tx.create_dir_all("/dir/sub")?;
                tx.write("/dir/File", "x")?;
                tx.write("/plain", "x")
            })
            .expect(feature);
        debugfs(&image, &format!("sif /dir flags {flags}"));
        let before = image.bytes();
        type Edit = fn(&mut Transaction<'_>) -> Result<()>;
        let edits: [Edit; 5] = [
            |tx| tx.write("/dir/new", "x"),
            |tx| tx.create_dir("/dir/new"),
            |tx| tx.symlink("x", "/dir/new"),
            |tx| tx.remove_file("/dir/File"),
            |tx| tx.remove_dir("/dir/sub"),
        ];
        for (i, edit) in edits.into_iter().enumerate() {
            let refusal = image.edit(edit).expect_err(feature);
            assert!(matches!(refusal, Error::Unsupported(_)), "{feature} {i}: {refusal}");
            assert!(refusal.to_string().contains(&format!("`{feature}`")), "{i}: {refusal}");
        }
        assert!(before == image.bytes(), "{feature}");
        image.with_fs(|fs| match feature {
            "casefold" => {
                assert_eq!(fs.read_dir("/dir").expect(feature).len(), 2);
                assert_eq!(fs.read("/dir/File").expect(feature), b"x");
            }
            _ => {
                let refusal = fs.read_dir("/dir").expect_err("names without their key").to_string();
                assert!(refusal.contains("`encrypt`"), "{refusal}");
            }
        });
        // What lies elsewhere is edited as ever.
        image.edit(|tx| tx.write("/plain", "y")).expect(feature);
    }
}

#[test]
fn features_whose_records_an_edit_would_leave_stale_are_refused_first() {
    for (feature, args) in [
        ("quota", "-t ext4 -O quota"),
        ("mmp", "-t ext4 -O mmp"),
        ("ea_inode", "-t ext4 -O ea_inode"),
        ("bigalloc", "-t ext4 -O bigalloc"),
    ] {
        let image = TestImage::new(args, 16_384, 0);
        // Nothing but the superblock is needed to say so.
        let superblock = image.bytes()[..4096].to_vec();
        let file = std::fs::File::create(image.path()).expect("the image");
        file.set_len(16_384 * 1024).expect("its length");
        std::os::unix::fs::FileExt::write_all_at(&file, &superblock, 0).expect("the superblock");
        image.with_fs(|fs| {
            let refusal = fs.begin(NOW).err().expect("not edited").to_string();
            assert!(refusal.contains(&format!("`{feature}`")), "{refusal}");
        });
    }
}
