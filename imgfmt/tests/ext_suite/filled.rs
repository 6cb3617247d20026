//! File systems filled to their limits, and content in inodes. The judges: `e2fsck`, the kernel's view of a mount.

use std::os::unix::fs::MetadataExt;

use imgfmt::archive::{Kind, TreePath, Xattr};
use imgfmt::ext::mkfs::{Free, Inodes, Kind as Type, Options, Room};

use crate::populate::{bare, file, fill, fill_warned, options};
use crate::support::{run, run_ok};

const MIB: u64 = 1 << 20;

fn link(to: &str) -> Kind {
    Kind::HardLink(TreePath::new(to.as_bytes()).expect("a path"))
}

#[test]
fn small_files_and_directories_lie_in_their_inodes() {
    for (inode_size, features) in
        [(256, ""), (512, "metadata_csum_seed"), (256, "^metadata_csum,uninit_bg")]
    {
        let mut entries =
            vec![bare("empty", Kind::Dir), bare("few", Kind::Dir), bare("many", Kind::Dir)];
        // 60 bytes fill the place of the map; 156 and 412 are about what the rest of the two sizes holds.
        let lens = [
            0, 1, 59, 60, 61, 100, 127, 128, 129, 155, 156, 157, 158, 300, 383, 384, 385, 412, 413,
            414, 4096,
        ];
        entries.extend(lens.map(|len| file(&format!("f{len}"), len)));
        entries.extend((0..4).map(|i| file(&format!("few/{i}"), i)));
        entries.extend((0..40).map(|i| file(&format!("many/{i}"), i)));
        // Fits the second part, and the first of another.
        entries.push(file("pair/a long name that has forty-eight letters in it..", 3));
        entries.push(file("pair/b", 3));
        let (mut labelled, bytes) = file("labelled", 70);
        labelled.xattrs = vec![Xattr { name: b"user.a".into(), value: vec![5; 20] }];
        entries.push((labelled.clone(), bytes.clone()));
        labelled.path = TreePath::new(b"pushed").expect("a path");
        labelled.xattrs[0].value = vec![6; 600];
        entries.push((labelled, bytes));
        let (mut dir, _) = bare("few", Kind::Dir);
        dir.xattrs = vec![Xattr { name: b"user.a".into(), value: vec![5; 20] }];
        entries.push((dir, Vec::new()));
        for room in [Room::Fixed, Room::Auto(Free { bytes: 4 * MIB, percent: 0 })] {
            let options = Options {
                inode_size: Some(inode_size),
                ..options(Type::Ext4, 16 * MIB, &format!("inline_data,{features}"))
            };
            let (image, _) = fill(&options, room, entries.clone()).expect("it fits");
            image.fsck();
            let stat = |path: &str| {
                let request = format!("stat {path}");
                run_ok("debugfs", &["-R", &request, image.path().to_str().expect("a plain path")])
            };
            for path in ["f1", "f60", "f61", "f100", "labelled", "pushed", "empty", "few", "pair"] {
                assert!(
                    stat(path).contains("Flags: 0x10000000"),
                    "{path} {inode_size}\n{}",
                    stat(path)
                );
            }
            for path in ["f4096", "many", "/", "lost+found"] {
                assert!(!stat(path).contains("Flags: 0x1000"), "{path}\n{}", stat(path));
            }
            image.with_kernel(|at| {
                for len in lens {
                    let content = std::fs::read(at.join(format!("f{len}"))).expect("a file");
                    assert!(content == file("", len).1, "{len}");
                }
                for (dir, count) in [("empty", 0), ("few", 4), ("many", 40), ("pair", 2)] {
                    let names = std::fs::read_dir(at.join(dir)).expect("a directory");
                    assert_eq!(names.count(), count, "{dir}");
                }
                let at = at.to_str().expect("a plain path");
                let xattrs = run_ok("sh", &["-c", &format!("cd {at} && getfattr -d few labelled")]);
                assert_eq!(xattrs.matches("user.a=").count(), 2, "{xattrs}");
                // The kernel goes on with what it finds.
                run_ok("sh", &["-c", &format!(
                    "cd {at} && for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo $i > empty/$i; echo $i > pair/$i; done && \
                     cat f4096 >> f60 && mv few/1 pair/moved && rm f1"
                )]);
            });
            image.fsck();
        }
    }
}

#[test]
fn attributes_that_ext_has_not_are_told_of_and_too_large_ones_refused() {
    let (mut entry, bytes) = file("dir/x", 1);
    entry.xattrs = vec![
        Xattr { name: b"system.nfs4_acl".into(), value: vec![1] },
        Xattr { name: b"user.kept".into(), value: vec![2] },
        Xattr { name: b"btrfs.compression".into(), value: vec![3] },
    ];
    let mut warnings = Vec::new();
    let options = options(Type::Ext4, 12 * MIB, "");
    let (image, _) =
        fill_warned(&options, Room::Fixed, vec![(entry.clone(), bytes.clone())], &mut warnings)
            .expect("it fits");
    assert_eq!(
        warnings,
        [
            "`/dir/x`: the extended attribute `system.nfs4_acl` is left out: ext has no such",
            "`/dir/x`: the extended attribute `btrfs.compression` is left out: ext has no such",
        ]
    );
    image.fsck();
    image.with_fs(|fs| assert_eq!(fs.xattrs("/dir/x").expect("attributes").len(), 1));
    entry.xattrs[1].value = vec![2; 5000];
    let refusal = fill_warned(&options, Room::Fixed, vec![(entry, bytes)], &mut warnings);
    let refusal = refusal.err().expect("no block holds that").to_string();
    assert!(
        refusal.starts_with("`dir/x`: has extended attributes of more than a block, `user.kept` of 5000 bytes the largest"),
        "{refusal}"
    );
}

#[test]
fn a_part_of_the_whole_is_left_free() {
    for percent in [10, 50, 90] {
        let options = options(Type::Ext4, 0, "");
        let room = Room::Auto(Free { bytes: 0, percent });
        let (image, layout) = fill(&options, room, vec![file("a", 10_000_000)]).expect("it grows");
        image.fsck();
        let free = image.with_fs(|fs| fs.info().free_blocks);
        let of_all = free * 100 / layout.block_count();
        assert!(
            (u64::from(percent)..u64::from(percent) + 10).contains(&of_all),
            "{percent}: {of_all}"
        );
    }
}

#[test]
fn large_blocks_are_filled_too() {
    for block_size in [16_384, 65_536] {
        let options = Options {
            block_size: Some(block_size),
            ..options(Type::Ext4, 256 * MIB, "^has_journal")
        };
        let names = (0..3000).map(|i| file(&format!("d/name {i}"), 10 * (i % 5)));
        let entries = names.chain([file("large", 3_000_000)]);
        let (image, layout) = fill(&options, Room::Fixed, entries).expect("it fits");
        assert_eq!(layout.block_size(), u64::from(block_size));
        image.fsck();
        image.with_fs(|fs| {
            assert_eq!(fs.read_dir("/d").expect("a directory").len(), 3000);
            assert!(fs.read("/large").expect("a file") == file("", 3_000_000).1);
        });
    }
}

#[test]
fn a_file_has_65000_names_and_no_more() {
    let names = |count: u32| {
        let mut entries = vec![file("first", 10)];
        entries.extend((1..count).map(|i| bare(&format!("d/{i}"), link("first"))));
        entries
    };
    let options = options(Type::Ext4, 0, "");
    let room = Room::Auto(Free::default());
    let (image, _) = fill(&options, room, names(65_000)).expect("it fits");
    image.fsck();
    image.with_kernel(|at| {
        assert_eq!(std::fs::metadata(at.join("first")).expect("a file").nlink(), 65_000);
    });
    let refusal = fill(&options, room, names(65_001)).err().expect("one too many").to_string();
    assert_eq!(refusal, "`d/65000`: is name number 65001 of a file: 65000 are the most");
}

#[test]
fn subdirectories_are_counted_as_far_as_links_go() {
    let is_long = std::env::var_os("AUTOXEN_LONG").is_some();
    let dirs = |count: u32| (0..count).map(|i| bare(&format!("d/{i}"), Kind::Dir));
    let room = Room::Auto(Free::default());
    // Its own two names come on top.
    let all = [(64_999, 1), (64_998, 65_000), (70_000, 1)];
    for &(count, expected) in if is_long { &all[..] } else { &all[..1] } {
        let (image, _) = fill(&options(Type::Ext4, 0, ""), room, dirs(count)).expect("it fits");
        image.fsck();
        image.with_kernel(|at| {
            assert_eq!(std::fs::metadata(at.join("d")).expect("a directory").nlink(), expected);
        });
    }
    if is_long {
        let (image, _) = fill(&options(Type::Ext2, 0, ""), room, dirs(64_998)).expect("it fits");
        image.fsck();
    }
    let refusal =
        fill(&options(Type::Ext2, 0, ""), room, dirs(64_999)).err().expect("one too many");
    assert!(refusal.to_string().contains("a directory of 64999 directories"), "{refusal}");
}

#[test]
fn default_acls_are_the_kernels() {
    // As the kernel has it: user::rwx, user:1000:rw-, group::r-x, mask::rwx, other::---.
    let acl = [
        &[2, 0, 0, 0][..],
        &[1, 0, 7, 0, 255, 255, 255, 255],
        &[2, 0, 6, 0, 0xe8, 3, 0, 0],
        &[4, 0, 5, 0, 255, 255, 255, 255],
        &[16, 0, 7, 0, 255, 255, 255, 255],
        &[32, 0, 0, 0, 255, 255, 255, 255],
    ]
    .concat();
    for inode_size in [128, 256] {
        let (mut dir, _) = bare("dir", Kind::Dir);
        dir.meta.mode = 0o770;
        dir.xattrs = ["system.posix_acl_access", "system.posix_acl_default"]
            .map(|name| Xattr { name: name.into(), value: acl.clone() })
            .into();
        let options = Options { inode_size: Some(inode_size), ..options(Type::Ext4, 12 * MIB, "") };
        let (image, _) = fill(&options, Room::Fixed, vec![(dir, Vec::new())]).expect("it fits");
        image.fsck();
        image.with_kernel(|at| {
            std::fs::write(at.join("dir/new"), "").expect("a file");
            let at = at.join("dir");
            let at = at.to_str().expect("a plain path");
            let said = run("getfacl", &["-n", "-c", at, &format!("{at}/new")]);
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            // The new file has what the default says.
            for line in ["user:1000:rw-", "default:user:1000:rw-", "default:mask::rwx"] {
                assert!(said.contains(line), "{line}\n{said}");
            }
            assert_eq!(said.matches("\nuser:1000:rw-").count(), 2, "{said}");
        });
        image.fsck();
    }
}

/// An inode for less than a block is one for each block, as `mke2fs -i` has it, and no group has more than its bitmap.
#[test]
fn a_ratio_of_inodes_holds_where_the_size_is_yet_to_be_known() {
    for (features, ratio) in [
        ("", 1024),
        ("", 4096),
        ("", 65536),
        ("", u64::MAX),
        ("^flex_bg", 1024),
        ("^flex_bg", 4096),
        ("^flex_bg", 65536),
        ("^flex_bg", u64::MAX),
    ] {
        let options = Options { inodes: Inodes::Ratio(ratio), ..options(Type::Ext4, 0, features) };
        let entries = (0..40).map(|i| file(&format!("d/{i}"), 10_000));
        let (image, layout) = fill(&options, Room::Auto(Free::default()), entries)
            .unwrap_or_else(|e| panic!("{features} {ratio}: {e}"));
        image.fsck();
        assert!(u64::from(layout.inode_count()) >= layout.len() / ratio.max(4096), "{layout:?}");
        assert!(layout.len() < 2 << 30, "{features} {ratio}: {layout:?}");
    }
}

#[test]
fn more_free_room_than_there_can_be_is_refused_by_its_number() {
    let room = Room::Auto(Free { bytes: u64::MAX, percent: 0 });
    let refusal = fill(&options(Type::Ext4, 0, ""), room, [file("a", 1)]).err();
    assert_eq!(
        refusal.expect("too much").to_string(),
        "18446744073709551615 bytes left free: 549755813888 are the most that a size of `auto` can have"
    );
}

/// `e2fsck` counts the inodes of each block, and a block has 1,024 at most.
#[test]
fn files_of_the_same_attributes_share_blocks_of_them() {
    let labelled = |i: u32| {
        let (mut entry, bytes) = bare(&format!("d/{i}"), Kind::Fifo);
        entry.xattrs = vec![Xattr { name: b"user.a".into(), value: vec![5; 600] }];
        (entry, bytes)
    };
    let blocks_of = |entries: Vec<_>| {
        let (image, _) = fill(&options(Type::Ext4, 0, ""), Room::Auto(Free::default()), entries)
            .expect("it fits");
        image.fsck();
        let numbers: String = (11..3000).map(|nr| format!("stat <{nr}>\n")).collect();
        let requests = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(requests.path(), numbers).expect("requests");
        let plain = |path: &std::path::Path| path.to_str().expect("a plain path").to_owned();
        let told = run_ok("debugfs", &["-f", &plain(requests.path()), &plain(&image.path())]);
        let named = told.lines().filter_map(|line| line.strip_prefix("File ACL: "));
        let mut all: Vec<String> = named.map(str::to_owned).filter(|nr| nr != "0").collect();
        all.sort_unstable();
        let mut counts: Vec<usize> = all.chunk_by(|a, b| a == b).map(<[String]>::len).collect();
        counts.sort_unstable();
        counts
    };
    let all: Vec<_> = (0..2500).map(labelled).collect();
    assert_eq!(blocks_of(all.clone()), [452, 1024, 1024]);
    // Most of the second block and all of the third go, and more come.
    let gone = (1100..2500).map(|i| bare(&format!("d/{i}"), Kind::Whiteout));
    let more = (5000..5010).map(labelled);
    assert_eq!(blocks_of(all.into_iter().chain(gone).chain(more).collect()), [10, 76, 1024]);
}

/// As `df` has it: what root alone may take is not free.
#[test]
fn as_many_bytes_are_left_free_as_were_asked_for() {
    for bytes in [1, 100_000, 3 * MIB, 50 * MIB] {
        for features in ["", "^flex_bg", "orphan_file"] {
            let room = Room::Auto(Free { bytes, percent: 0 });
            let (image, _) = fill(&options(Type::Ext4, 0, features), room, [file("a", 700_000)])
                .expect("it grows");
            let path = image.path();
            let told = run_ok("dumpe2fs", &["-h", path.to_str().expect("a plain path")]);
            let count = |name: &str| -> u64 {
                let line = told.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
                line.trim().parse().expect("a number")
            };
            let free =
                (count("Free blocks:") - count("Reserved block count:")) * count("Block size:");
            assert!(free >= bytes, "{features} {bytes}: {free}\n{told}");
        }
    }
}

#[test]
fn nothing_is_left_in_free_blocks_of_what_a_layer_took_away() {
    let secret = b"nobody is to read this".repeat(1000);
    let taken_away = || {
        let (mut entry, _) = file("secret", 0);
        entry.kind = Kind::File { len: secret.len() as u64, data: imgfmt::archive::Data::Whole };
        [(entry, secret.clone()), bare("secret", Kind::Whiteout), file("a", 10)]
    };
    for room in [Room::Fixed, Room::Auto(Free { bytes: 0, percent: 0 })] {
        let (image, _) =
            fill(&options(Type::Ext4, 8 * MIB, ""), room, taken_away()).expect("it fits");
        image.fsck();
        let bytes = std::fs::read(image.path()).expect("the image");
        let found = bytes.windows(22).any(|window| window == &secret[..22]);
        assert!(!found, "{room:?}");
    }
}
