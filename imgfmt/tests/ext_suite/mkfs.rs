//! New file systems. The judges: `dumpe2fs` beside what `mke2fs` makes of the same options, `e2fsck`, the kernel that
//! fills them to the last block, `resize2fs` that grows them.

use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use imgfmt::ext::mkfs::{Inodes, Kind, Layout, Options, Profile, Window, write};

use crate::support::{NOW, TestImage, run_ok};

const UUID: [u8; 16] = [0x6A; 16];
const UUID_TEXT: &str = "6a6a6a6a-6a6a-6a6a-6a6a-6a6a6a6a6a6a";

/// Kind, bytes, bytes of a block, features, bytes of an inode; 0 and empty are the default.
type Case = (Kind, u64, u32, &'static str, u16);

fn options((kind, size, block_size, features, inode_size): Case) -> Options {
    Options {
        block_size: (block_size != 0).then_some(block_size),
        inode_size: (inode_size != 0).then_some(inode_size),
        features: features.into(),
        uuid: Some(UUID),
        hash_seed: Some(UUID),
        time: NOW,
        ..Options::new(kind, size)
    }
}

/// A sparse file of its own with a new file system.
fn make(options: &Options) -> TestImage {
    let layout = Layout::new(options).unwrap_or_else(|e| panic!("{options:?}: {e}"));
    let image = TestImage::sparse(options.size);
    let mut file = File::options().write(true).open(image.path()).expect("the image");
    write(&layout, &mut file).expect("a write");
    image
}

/// What `dumpe2fs` says, less what may differ from `mke2fs`: each line of this list has its reason in `ext::mkfs`.
fn dump(path: &Path) -> Vec<String> {
    let differs = |line: &str| {
        line.starts_with("Lifetime writes:")
            // The journal's place, and with it where free blocks are, and the checksums of what says so.
            || line.starts_with("Checksum:")
            || line.starts_with("  Free blocks:")
            || line.contains(" free blocks, ")
    };
    let text = run_ok("dumpe2fs", &[path.to_str().expect("a plain path")]);
    text.lines()
        .filter(|line| !differs(line))
        .map(|line| line.split(" csum ").next().expect("a first part"))
        .map(|line| line.replace("INODE_UNINIT, BLOCK_UNINIT", "INODE_UNINIT"))
        .map(|line| line.trim_end_matches(", ").to_owned())
        .collect()
}

fn by_mke2fs((kind, size, block_size, features, inode_size): Case) -> TestImage {
    let image = TestImage::sparse(size);
    let path = image.path();
    let hash_seed = format!("hash_seed={UUID_TEXT}");
    let (block_size, inode_size) = (block_size.to_string(), inode_size.to_string());
    let kind = format!("{kind:?}").to_lowercase();
    let mut args = vec!["-q", "-F", "-t", &kind, "-U", UUID_TEXT, "-E", &hash_seed];
    for (flag, value) in [("-b", &block_size[..]), ("-I", &inode_size), ("-O", features)] {
        if !matches!(value, "" | "0") {
            args.extend([flag, value]);
        }
    }
    args.push(path.to_str().expect("a plain path"));
    let fake_time = [("E2FSPROGS_FAKE_TIME", "1767225600")];
    crate::support::run_with("mke2fs", &args, &fake_time);
    image
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Each has a reason to be there: a size class of `mke2fs`, a feature, a group that is short.
const CASES: [Case; 42] = [
    // Too small for a journal: floppy, and the last size without.
    (Kind::Ext4, 2 * MIB + 100 * KIB, 1024, "^flex_bg", 0),
    (Kind::Ext3, MIB, 0, "", 0),
    (Kind::Ext2, 200 * KIB, 0, "", 0),
    (Kind::Ext2, 2 * MIB, 0, "", 0),
    // Small, with 1 KiB blocks; the last group is short, or left out.
    (Kind::Ext4, 16 * MIB, 0, "", 0),
    (Kind::Ext4, 64 * MIB, 0, "", 0),
    (Kind::Ext4, 300 * MIB, 0, "", 0),
    (Kind::Ext3, 64 * MIB, 0, "", 0),
    (Kind::Ext2, 33_000_000, 0, "", 0),
    (Kind::Ext4, 33_555_456, 0, "", 0),
    // 4 KiB blocks.
    (Kind::Ext4, 600 * MIB, 0, "", 0),
    (Kind::Ext4, 2 * GIB, 0, "", 0),
    (Kind::Ext4, 20 * GIB, 0, "", 0),
    (Kind::Ext3, 2 * GIB, 0, "", 0),
    (Kind::Ext2, 1_000_000_001, 0, "", 0),
    (Kind::Ext4, 600 * MIB, 2048, "", 0),
    // Blocks of 8 KiB and more: groups of 65,528 blocks.
    (Kind::Ext4, 600 * MIB, 8192, "", 0),
    (Kind::Ext2, 8 * MIB, 65536, "", 0),
    (Kind::Ext4, 9 * GIB, 65536, "", 0),
    (Kind::Ext2, 64 * MIB, 0, "", 128),
    (Kind::Ext4, 64 * MIB, 0, "", 128),
    (Kind::Ext4, 700_000_000, 0, "", 1024),
    (Kind::Ext4, 100 * MIB, 0, "uninit_bg,^metadata_csum", 0),
    (Kind::Ext4, 100 * MIB, 0, "metadata_csum_seed", 0),
    (Kind::Ext4, 100 * MIB, 0, "^64bit", 0),
    (Kind::Ext4, 100 * MIB, 0, "^flex_bg", 0),
    (Kind::Ext4, 100 * MIB, 0, "meta_bg,^resize_inode", 0),
    (Kind::Ext4, 700 * MIB, 1024, "meta_bg,^resize_inode,^flex_bg", 0),
    (Kind::Ext3, 100 * MIB, 0, "meta_bg,^resize_inode", 0),
    (Kind::Ext4, 100 * MIB, 0, "^resize_inode,^sparse_super", 0),
    (Kind::Ext4, 100 * MIB, 0, "sparse_super2", 0),
    (Kind::Ext4, 700 * MIB, 0, "sparse_super2,^resize_inode", 0),
    (Kind::Ext4, 100 * MIB, 0, "orphan_file", 0),
    (Kind::Ext4, 700 * MIB, 0, "orphan_file", 0),
    (Kind::Ext4, 100 * MIB, 0, "large_dir,project,stable_inodes,verity", 0),
    (Kind::Ext4, 100 * MIB, 0, "fast_commit", 0),
    (Kind::Ext4, 100 * MIB, 0, "none", 0),
    (Kind::Ext4, 100 * MIB, 0, "^extent,^64bit", 0),
    (Kind::Ext4, 700 * MIB, 0, "^has_journal,^huge_file,^dir_index", 0),
    (Kind::Ext2, 100 * MIB, 0, "uninit_bg", 0),
    (Kind::Ext3, 100 * MIB, 0, "flex_bg,extent", 0),
    (Kind::Ext3, 700 * MIB, 0, "sparse_super2", 256),
];

#[test]
fn what_is_made_is_what_mke2fs_makes_and_e2fsck_finds_nothing() {
    for case in CASES {
        let (ours, theirs) = (make(&options(case)), by_mke2fs(case));
        ours.fsck();
        let (ours, theirs) = (dump(&ours.path()), dump(&theirs.path()));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{case:?}");
        }
        assert_eq!(ours.len(), theirs.len(), "{case:?}");
    }
}

#[test]
fn odd_sizes_are_sound_or_refused() {
    for kind in [Kind::Ext2, Kind::Ext4] {
        for block_size in [1024, 4096, 65536] {
            let group = u64::from(block_size) * u64::from(block_size).min(8191) * 8;
            let around = [group, 2 * group].map(|size| [size, size + 60 * u64::from(block_size)]);
            let small = (1..24).map(|count| count * 17 * KIB);
            for size in small.chain(around.into_iter().flatten().filter(|&size| size < 4 * GIB)) {
                let options = options((kind, size, block_size, "", 0));
                match Layout::new(&options) {
                    Ok(_) => make(&options).fsck(),
                    Err(e) => assert!(e.to_string().starts_with("no space left"), "{e}"),
                }
            }
        }
    }
}

/// 16 TiB less a page: the largest file that the file systems of most hosts hold.
#[test]
fn sixteen_tebibytes_are_some_megabytes() {
    let options = options((Kind::Ext4, (16 << 40) - 4096, 0, "", 0));
    let image = make(&options);
    let used = std::fs::metadata(image.path()).expect("an image").blocks() * 512;
    // Descriptors are 8 MiB, and so is each of their 16 backups; the bitmaps are mostly not written.
    assert!(used < 300 * MIB, "{used}");
    let head = run_ok("dumpe2fs", &["-h", image.path().to_str().expect("a plain path")]);
    // 131,072 groups.
    assert!(head.contains("Inode count:              536870912"), "{head}");
    if std::env::var_os("AUTOXEN_LONG").is_some() {
        image.fsck();
    }
}

/// A file system that the kernel fills until nothing fits any more, and that is sound then.
fn fills(options: &Options) {
    let image = make(options);
    image.with_kernel(|at| {
        std::fs::write(at.join("small"), "x").expect("room for one");
        let mut file = File::create(at.join("large")).expect("an inode");
        let full = std::io::copy(&mut std::io::repeat(1), &mut file).expect_err("it has an end");
        assert_eq!(full.raw_os_error(), Some(28), "{full}");
        let path = at.to_str().expect("a plain path");
        let counts = run_ok("stat", &["-f", "-c", "%f %b", path]);
        let counts: Vec<u64> =
            counts.split_whitespace().map(|n| n.parse().expect("a count")).collect();
        // The kernel keeps one block of fifty to itself, for maps that grow when it writes back.
        assert!(counts[0] <= counts[1] / 40, "{counts:?} {options:?}");
    });
    image.fsck();
}

#[test]
fn the_kernel_fills_it_to_the_last_block() {
    for case in [
        (Kind::Ext4, 12 * MIB, 0, "", 0),
        (Kind::Ext4, 40 * MIB, 4096, "orphan_file,fast_commit,metadata_csum_seed", 0),
        (Kind::Ext4, 24 * MIB, 0, "meta_bg,^resize_inode", 0),
        (Kind::Ext4, 24 * MIB, 0, "uninit_bg,^metadata_csum,sparse_super2,inline_data", 0),
        (Kind::Ext3, 24 * MIB, 2048, "", 128),
        (Kind::Ext2, 24 * MIB, 0, "^resize_inode,^sparse_super", 0),
    ] {
        fills(&options(case));
    }
}

#[test]
fn each_profile_makes_what_its_guest_knows() {
    for profile in Profile::all() {
        let options =
            Options { profile: Some(profile), time: NOW, ..Options::new(profile.kind(), 24 * MIB) };
        let layout = Layout::new(&options).expect("it fits");
        let incompat: Vec<String> = layout
            .features()
            .into_iter()
            .filter(|name| ["64bit", "metadata_csum", "extent"].contains(&name.as_str()))
            .collect();
        let expected: &[&str] = match profile.name() {
            "rhel3" | "rhel4" | "rhel5" | "debian-sarge" | "debian-etch" | "debian-lenny" => &[],
            "rhel6" | "debian-squeeze" => &["extent"],
            "rhel7" | "debian-wheezy" | "debian-jessie" => &["extent", "64bit"],
            _ => &["extent", "64bit", "metadata_csum"],
        };
        assert_eq!(incompat, expected, "{}", profile.name());
        fills(&options);
    }
}

#[test]
fn resize2fs_grows_it() {
    for (case, to) in [
        ((Kind::Ext4, 12 * MIB, 0, "", 0), 100 * MIB),
        ((Kind::Ext3, 12 * MIB, 0, "", 0), 100 * MIB),
        ((Kind::Ext4, 600 * MIB, 0, "", 0), 2 * GIB),
        ((Kind::Ext4, 12 * MIB, 0, "meta_bg,^resize_inode", 0), 100 * MIB),
    ] {
        let image = make(&options(case)).with_len(to);
        let path = image.path();
        let file = File::options().write(true).open(&path).expect("the image");
        file.set_len(to).expect("a length");
        // It wants a file system that was just checked; there is nothing to mend.
        run_ok("e2fsck", &["-fy", path.to_str().expect("a plain path")]);
        run_ok("resize2fs", &[path.to_str().expect("a plain path")]);
        image.fsck();
        let info = image.with_fs(|fs| fs.info());
        // A last group too short for its tables and 50 blocks is left out.
        let len = info.blocks * u64::from(info.block_size);
        assert!(len <= to && to - len < 32 * MIB, "{case:?}: {len} of {to}");
    }
}

#[test]
fn we_check_and_edit_what_we_made() {
    for case in [
        (Kind::Ext4, 12 * MIB, 0, "", 0),
        (Kind::Ext4, 12 * MIB, 0, "orphan_file,inline_data", 0),
        (Kind::Ext3, 12 * MIB, 4096, "", 128),
        (Kind::Ext2, 3 * MIB, 0, "", 0),
    ] {
        let image = make(&options(case));
        image.with_fs(|fs| {
            let report = fs.check(&mut |_, _| ControlFlow::Continue(())).expect("it reads");
            assert!(report.is_clean(), "{report}");
        });
        image
            .edit(|tx| {
                tx.create_dir_all("/a/b")?;
                tx.write("/a/b/c", vec![7; 100_000])
            })
            .expect("an edit");
        image.fsck();
        image.with_fs(|fs| assert_eq!(fs.read("/a/b/c").expect("a file"), [7; 100_000]));
    }
}

#[test]
fn the_same_options_make_the_same_bytes_and_a_partition_those_of_a_file() {
    let seeded = |seed: &[u8]| Options { seed: seed.into(), ..Options::new(Kind::Ext4, 4 * MIB) };
    let bytes = |options: &Options| {
        let mut bytes = vec![0; 4 << 20];
        write(&Layout::new(options).expect("a layout"), &mut bytes).expect("a write");
        bytes
    };
    let one = bytes(&seeded(b"one"));
    assert!(one == bytes(&seeded(b"one")));
    assert!(one != bytes(&seeded(b"two")));
    let mut disk = vec![0; 6 << 20];
    let mut window = Window::new(&mut disk, MIB, 4 * MIB);
    write(&Layout::new(&seeded(b"one")).expect("a layout"), &mut window).expect("a write");
    assert!(disk[1 << 20..5 << 20] == one);
    assert!(disk[..1 << 20].iter().chain(&disk[5 << 20..]).all(|&byte| byte == 0));
}

#[test]
fn what_does_not_fit_or_go_together_is_refused() {
    let base = |size| Options::new(Kind::Ext4, size);
    for (options, expected) in [
        (
            base(0),
            "no space left in the file system of the image: 0 blocks of 1024 bytes are too few for an ext file system",
        ),
        (
            Options { block_size: Some(3000), ..base(MIB) },
            "ext blocks of 3000 bytes: it takes a power of two from 1024 to 65536",
        ),
        (
            Options { inode_size: Some(2048), ..base(MIB) },
            "ext inodes of 2048 bytes: it takes a power of two from 128 to the size of a block",
        ),
        (
            Options { inodes: Inodes::Count(u32::MAX), ..base(MIB) },
            "no space left in the file system of the image: 4294967295 inodes are too many for 1024 blocks of 1024 bytes",
        ),
        (
            Options { block_size: Some(1024), ..base(1 << 57) },
            "no space left in the file system of the image: 17179869184 groups of 8192 blocks: 32 bits do not count their \
             inodes, of which each has 8 at least",
        ),
        (
            Options { journal_size: Some(8 * MIB), ..base(4 * MIB) },
            "no space left in the file system of the image: a journal of 8192 blocks does not fit 3804 free ones",
        ),
        (
            Options { journal_size: Some(MIB / 2), ..base(4 * MIB) },
            "a journal of 512 blocks of 1024 bytes: it takes 1024 to 10240000 of them",
        ),
        (
            Options { label: "seventeen letters".into(), ..base(4 * MIB) },
            "`seventeen letters` as the label of an ext file system: 16 bytes are the most",
        ),
        (
            Options { reserved_percent: 51, ..base(4 * MIB) },
            "51 % of the blocks for root: 50 are the most",
        ),
        (
            Options { inode_size: Some(128), features: "inline_data".into(), ..base(4 * MIB) },
            "cannot make an ext file system with the feature `inline_data` and inodes of 128 bytes: they have no room",
        ),
    ] {
        let refusal = Layout::new(&options).expect_err("it cannot be made");
        assert_eq!(refusal.to_string(), expected);
    }
}

#[test]
fn a_last_group_is_left_out_where_mke2fs_leaves_it_out() {
    let blocks_of = |blocks: u64| {
        Layout::new(&options((Kind::Ext4, blocks * 4096, 4096, "", 0)))
            .expect("it fits")
            .block_count()
    };
    // Five groups, and so many blocks of a sixth one: 512 MiB and more, with inodes for each 16 KiB.
    let five = 5 * 32_768;
    let rest = (1..4096).find(|rest| blocks_of(five + rest) > five).expect("enough for tables");
    let image = TestImage::sparse(0);
    let path = image.path();
    for blocks in [five + rest - 1, five + rest] {
        let wanted = blocks.to_string();
        let path = path.to_str().expect("a plain path");
        let told = run_ok("mke2fs", &["-n", "-F", "-t", "ext4", "-b", "4096", path, &wanted]);
        let expected = format!("Creating filesystem with {} 4k blocks", blocks_of(blocks));
        assert!(told.contains(&expected), "{expected}\n{told}");
    }
}

#[test]
fn each_copy_of_the_superblock_says_which_group_it_is_in() {
    let case = (Kind::Ext4, 100 * MIB, 1024, "", 0);
    let (ours, theirs) = (make(&options(case)), by_mke2fs(case));
    for group in [0_u16, 1, 3, 5, 7, 9] {
        // `s_block_group_nr`, 90 bytes into the superblock, which is the first block of its group.
        let number = |image: &TestImage| {
            let mut bytes = [0; 2];
            let file = File::open(image.path()).expect("the image");
            let at = (1 + 8192 * u64::from(group)) * 1024 + 90;
            file.read_exact_at(&mut bytes, at).expect("a superblock");
            u16::from_le_bytes(bytes)
        };
        assert_eq!((number(&ours), number(&theirs)), (group, group));
    }
}
