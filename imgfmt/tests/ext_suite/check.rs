//! The consistency walk against `e2fsck -fn`: silent on every sound image, and loud wherever e2fsck complains.

use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use imgfmt::ext::Fs;
use imgfmt::ext::check::Report;
use imgfmt::{Error, Image, Volume};

use crate::support::{Random, TestImage, noise, run_at, run_ok};

/// Features and geometries of images that the kernel fills.
const MATRIX: &[(&str, u64)] = &[
    ("-t ext2 -b 1024 -I 128", 16_384),
    ("-t ext2 -r 0 -O none -b 1024", 16_384),
    ("-t ext3 -b 1024", 16_384),
    ("-t ext3 -b 4096 -O ^filetype", 32_768),
    ("-t ext4 -b 1024", 16_384),
    ("-t ext4 -b 4096", 65_536),
    ("-t ext4 -b 1024 -O ^metadata_csum,uninit_bg -g 1024", 16_384),
    ("-t ext4 -b 1024 -O ^has_journal,^flex_bg -g 1024", 16_384),
    ("-t ext4 -b 1024 -O meta_bg,^resize_inode,metadata_csum_seed -g 1024", 32_768),
    ("-t ext4 -b 1024 -O sparse_super2,^resize_inode", 32_768),
    ("-t ext4 -b 1024 -O bigalloc -C 8192", 65_536),
    ("-t ext4 -b 4096 -O bigalloc", 65_536),
    ("-t ext4 -b 1024 -O inline_data,large_dir", 32_768),
    ("-t ext4 -b 4096 -O ea_inode,orphan_file -I 512", 65_536),
    ("-t ext4 -b 1024 -O ^64bit,mmp", 32_768),
    ("-t ext4 -b 2048 -E resize=400000", 32_768),
];

/// What the walk finds.
fn check(image: &TestImage) -> Result<Report, Error> {
    let image = Image::open(&image.path()).expect("the image opens");
    Fs::open(Volume::whole(&image))?.check(&mut |_, _| ControlFlow::Continue(()))
}

/// What was found, a line each.
fn found(report: Report) -> String {
    report.findings.iter().map(|finding| format!("{finding}\n")).collect()
}

/// The walk must find nothing.
fn assert_silent(image: &TestImage, what: &str) {
    let report = check(image).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(report.is_clean(), "{what}:\n{report}");
}

/// Whether `e2fsck -fn` complains, and of what.
fn complaint(image: &TestImage) -> Option<String> {
    let path = image.path();
    // At the end of time, since the walk has no clock by which a time could lie in the future.
    let output = run_at("4294967295", "e2fsck", &["-fn", path.to_str().expect("a plain path")]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_said = |line: &str| {
        !(line.is_empty()
            || line.starts_with("Pass ")
            || line.contains(" files (") && line.contains(" blocks")
            // Of a tree that is deeper than it need be.
            || line.contains("extent tree (at level ")
            || line.contains("could be"))
    };
    // It says some things and ends with 0.
    (output.status.code() != Some(0) || text.lines().any(is_said)).then_some(text)
}

/// Files of every kind, by the kernel: trees of extents, large directories, attributes shared and large, links.
fn filled(args: &str, kib: u64) -> TestImage {
    let image = TestImage::new(args, kib, 0);
    image.with_kernel(|root| {
        use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, mknodat};
        let dir = root.join("dir");
        std::fs::create_dir(&dir).expect("a directory");
        for i in 0..300 {
            let name = dir.join(format!("name-{i}-{}", "x".repeat(i % 90)));
            std::fs::write(name, if i % 50 == 0 { noise(i as u64, 700) } else { Vec::new() })
                .expect("room");
        }
        for i in (0..300).step_by(3) {
            let name = dir.join(format!("name-{i}-{}", "x".repeat(i % 90)));
            std::fs::remove_file(name).expect("it is there");
        }
        std::fs::create_dir_all(root.join("a/b/c")).expect("directories");
        std::fs::write(root.join("large"), noise(1, 700_000)).expect("room");
        let file = File::create(root.join("holes")).expect("a file");
        for i in 0..40 {
            file.write_all_at(&noise(i, 1500), i * 9000).expect("room");
        }
        std::os::unix::fs::symlink("dir", root.join("short")).expect("a link");
        std::os::unix::fs::symlink("t".repeat(200), root.join("long")).expect("a link");
        std::fs::hard_link(root.join("large"), root.join("a/again")).expect("a name");
        let fifo = root.join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o644), 0).expect("root may");
        let tty = root.join("tty");
        let device = rustix::fs::makedev(4, 65);
        mknodat(CWD, &tty, FileType::CharacterDevice, Mode::from_raw_mode(0o600), device)
            .expect("root may");
        for name in ["a/b", "large", "holes", "short", "fifo"] {
            let path = root.join(name);
            let flags = XattrFlags::empty();
            // Revision 0 has no attributes.
            let small = lsetxattr(&path, "trusted.small", b"value", flags);
            let shared = lsetxattr(&path, "trusted.shared", &noise(7, 400), flags);
            assert!(small.is_ok() || args.contains("none"), "{args} {name}: {small:?}, {shared:?}");
        }
        if args.contains("ea_inode") {
            for name in ["a/b", "large"] {
                let path = root.join(name);
                lsetxattr(&path, "trusted.value", &noise(8, 9000), XattrFlags::empty())
                    .expect("a value in an inode of its own");
            }
        }
    });
    image
}

/// What this kernel may not be able to mount, filled by `mke2fs`.
const UNMOUNTED: &[(&str, u64)] = &[
    ("-t ext4 -b 1024 -O quota,project -I 256", 16_384),
    ("-t ext4 -b 4096 -O casefold,encrypt,verity", 65_536),
    ("-t ext4 -b 65536", 131_072),
    ("-t ext4 -b 1024 -O inline_data -I 1024", 16_384),
    ("-t ext2 -o hurd -b 1024 -I 128 -O ^filetype", 16_384),
];

#[test]
fn nothing_is_found_in_a_sound_image() {
    for &(args, kib) in MATRIX {
        let image = TestImage::new(args, kib, 0);
        image.fsck();
        assert_silent(&image, args);
        let image = filled(args, kib);
        image.fsck();
        assert_silent(&image, args);
        let report = check(&image).expect("it was read before");
        // The root, dir, a, b, c; and lost+found.
        assert_eq!(report.directories, 6, "{args}");
        assert!(report.inodes > 220 && report.blocks > 800, "{args}: {report:?}");
    }
    let tree = tempfile::tempdir().expect("a directory");
    for i in 0..60 {
        let dir = tree.path().join(format!("dir-{}", i % 3));
        std::fs::create_dir_all(&dir).expect("a directory");
        std::fs::write(dir.join(format!("file-{i}")), noise(i, 50 * i as usize)).expect("room");
    }
    std::os::unix::fs::symlink("dir-1", tree.path().join("link")).expect("a link");
    for &(args, kib) in UNMOUNTED {
        let image = match args.contains("quota") {
            // `mke2fs -d` does not count what it fills.
            true => TestImage::new(args, kib, 0),
            false => TestImage::populated(args, kib, 0, tree.path()),
        };
        image.fsck();
        assert_silent(&image, args);
    }
}

/// Run `debugfs -w` with a request a line.
fn debugfs(image: &TestImage, requests: &str) {
    let path = image.path();
    let path = path.to_str().expect("a plain path");
    let script = path.to_owned() + ".requests";
    std::fs::write(&script, requests).expect("a file");
    run_ok("debugfs", &["-w", "-f", &script, path]);
}

#[test]
fn each_field_that_e2fsck_complains_of_is_found() {
    const EXT4: (&str, u64) = ("-t ext4 -b 1024 -g 1024 -J size=1", 8192);
    const EXT3: (&str, u64) = ("-t ext3 -b 1024 -I 128 -J size=1", 8192);
    const INSIDE: (&str, u64) =
        ("-t ext4 -b 1024 -O ea_inode,inline_data,^has_journal -I 512", 8192);
    for ((args, kib), requests) in
        [(EXT4, ALL), (EXT3, ALL), (EXT4, EXTENTS), (EXT3, NUMBERS), (INSIDE, VALUES)]
    {
        let sound = filled(args, kib);
        assert_silent(&sound, args);
        let mut wrong = Vec::new();
        for request in requests {
            let image = sound.twin();
            debugfs(&image, request);
            let complaint = complaint(&image);
            let found = check(&image).map_or_else(|e| e.to_string(), found);
            match complaint {
                Some(text) if found.is_empty() => wrong.push(format!("{request}: missed\n{text}")),
                None if !found.is_empty() && !OURS_ALONE.contains(request) => {
                    wrong.push(format!("{request}: but e2fsck\n{found}"))
                }
                _ => {}
            }
        }
        assert!(wrong.is_empty(), "{args}\n{}", wrong.join("\n"));
    }
}

/// What e2fsck does not look at, or mends without a word.
const OURS_ALONE: &[&str] = &[
    // It frees such orphans when it may write.
    "ssv last_orphan 14",
    "sif /large flags 0x280000",
    "sif /large flags 0x180000",
    // The kernel refuses such a journal.
    "sif <8> links_count 0",
];

/// One change a line; `debugfs` seals the checksums.
const ALL: &[&str] = &[
    // Superblock and counts.
    "ssv free_blocks_count 77",
    "ssv free_inodes_count 77",
    "ssv r_blocks_count 99999999",
    "ssv reserved_gdt_blocks 3",
    "ssv last_orphan 14",
    "ssv first_ino 12",
    "ssv journal_inum 13",
    "ssv mnt_count 3",
    "feature meta_bg",
    "feature ^resize_inode",
    "feature ^has_journal",
    "feature ^dir_index",
    "feature ^ext_attr",
    "ssv volume_name other",
    "ssv state 2",
    // Descriptors and bitmaps.
    "set_bg 1 free_blocks_count 3",
    "set_bg 1 free_inodes_count 3",
    "set_bg 1 used_dirs_count 30",
    "set_bg 0 block_bitmap 9999999",
    "set_bg 0 inode_table 700",
    "set_bg 0 inode_bitmap 0",
    "setb 8000",
    "setb 8000 40",
    "freeb 300",
    "freeb 90 20",
    "seti <1000>",
    "freei /large",
    "freei /dir",
    // Inodes.
    "sif /large links_count 7",
    "sif /large links_count 0",
    "sif /large dtime 1767225600",
    "sif /large mode 0",
    "sif /large mode 0040755",
    "sif /large mode 0020644",
    "sif /large size 3",
    "sif /large size 700",
    "sif /large size 99999999999999",
    "sif /large blocks 12",
    "sif /large blocks_hi 1",
    "sif /large faddr 5",
    "sif /large file_acl 9",
    "sif /large file_acl 99999999",
    "sif /large flags 0",
    "sif /large flags 0x10",
    "sif /large flags 0x1000",
    "sif /large flags 0x82000",
    "sif /large flags 0x80800",
    "sif /large flags 0x40080000",
    "sif /large flags 0x280000",
    "sif /large flags 0x180000",
    "sif /large uid 77",
    "sif /large generation 9",
    "sif /dir size 1024",
    "sif /dir size 9999999",
    "sif /dir size_high 1",
    "sif /dir mode 0100644",
    "sif /dir mode 0120777",
    "sif /dir links_count 1",
    "sif /dir links_count 3",
    "sif /dir links_count 0",
    "sif /dir flags 0",
    "sif /a/b links_count 9",
    "sif /fifo flags 0x80000",
    "sif /fifo flags 0x10",
    "sif /fifo size 1",
    "sif /tty block[5] 7",
    "sif /tty block[1] 7",
    "sif /short size 0",
    "sif /short size 9",
    "sif /short flags 0x10",
    "sif /long size 99",
    "sif /long size 60",
    "sif /long mode 0100644",
    "sif <2> mode 0100644",
    "sif <2> links_count 5",
    "sif <7> block[13] 99",
    "sif <7> block[0] 99",
    "sif <7> blocks 4",
    "sif <8> mode 0040755",
    "sif <8> links_count 0",
    "sif <8> size 1024",
    "sif <10> mode 0040755",
    "clri /large",
    "clri /dir",
    "clri /a",
    "clri <2>",
    "clri <7>",
    "clri <8>",
    // Names.
    "unlink /large",
    "unlink /dir",
    "unlink /a/b/c",
    "ln /large /new",
    "ln /dir /second",
    "ln <8> /journal",
    "ln <999> /nothing",
    "ln <2> /a/root",
    "ln /a /a/b/c/loop",
    "unlink /a\nln <13> /a/b/x",
    "unlink /lost+found",
    "kill_file /large",
    "kill_file /dir",
    "rmdir /a/b/c",
    "rm /long",
    "mkdir /made",
    "ea_rm /large trusted.small",
    "ea_set /large user.other value",
    "punch /large 3 9",
    "fallocate /large 900 910",
];

/// For values in inodes of their own, and content in the inode.
const VALUES: &[&str] = &[
    "ea_rm /large trusted.value",
    "ea_rm /a/b trusted.small",
    "sif /large blocks 12",
    "sif /large file_acl 0",
    "sif /large flags 0x10000000",
    "sif /large flags 0x10080000",
    "sif /a flags 0",
    "sif /a flags 0x80000",
    "sif /a size 40",
    "sif /a size 61",
    "sif /a block[0] 12",
    "sif /a block[1] 9999",
    "sif /a block[2] 7",
    "sif /a/b extra_isize 31",
    "sif /a/b extra_isize 1000",
    "clri /a/b",
    "clri /large",
    "unlink /a/b",
];

/// For files that are mapped by extents.
const EXTENTS: &[&str] = &[
    "sif /large block[0] 0",
    "sif /large block[0] 0x0001f30b",
    "sif /large block[0] 0x0009f30a",
    "sif /large block[1] 0x00000009",
    "sif /large block[1] 0x00010004",
    "sif /large block[3] 5",
    "sif /large block[4] 0",
    "sif /large block[4] 0xffff0001",
    "sif /large block[5] 7",
    "sif /large block[5] 99999999",
    "sif /dir block[4] 0x8005",
    "sif /long block[5] 9",
    "sif /holes block[5] 90",
    "sif /holes block[3] 1",
    "sif /a block[5] 300",
];

/// For files that are mapped by lists of numbers.
const NUMBERS: &[&str] = &[
    "sif /large block[0] 0",
    "sif /large block[0] 5",
    "sif /large block[IND] 5",
    "sif /large block[IND] 0",
    "sif /large block[DIND] 99999999",
    "sif /large block[TIND] 300",
    "sif /large block[3] 99999999",
    "sif /dir block[1] 0",
    "sif /dir block[1] 300",
    "sif /dir block[0] 0",
    "sif /a block[0] 0",
];

#[test]
fn flipped_bytes_that_e2fsck_complains_of_are_found() {
    let rounds = if std::env::var_os("AUTOXEN_LONG").is_some() { 1000 } else { 40 };
    let mut missed = Vec::new();
    // Of fixtures, whose bytes are the same on each machine: what is met here once is met again.
    for (seed, name) in [
        (1, "htree-etc"),
        (2, "ext4-inline"),
        (3, "ext2-2006"),
        (4, "ext3-selinux"),
        (5, "ext4-ea-inode"),
        (6, "ext4-deep"),
    ] {
        let sound = TestImage::fixture(name);
        assert_silent(&sound, name);
        let metadata = metadata(&sound);
        let mut random = Random(seed);
        let mut complaints = 0;
        for _ in 0..rounds {
            let image = sound.twin();
            let file = File::options().write(true).open(image.path()).expect("the image");
            let at = metadata[usize::try_from(random.below(metadata.len() as u64)).expect("small")];
            let byte = random.next().to_le_bytes()[3];
            file.write_all_at(&[byte], at).expect("a byte");
            let Some(text) = complaint(&image) else { continue };
            complaints += 1;
            if check(&image).is_ok_and(|report| report.is_clean()) {
                missed.push(format!("{name}, byte {at} = {byte:#x}: {text}"));
            }
        }
        assert!(complaints > rounds / 12, "{name}: {complaints} of {rounds}");
    }
    assert!(missed.is_empty(), "{} missed\n{}", missed.len(), missed.join("\n"));
}

/// Bytes of metadata that are not zero, and so mean something: offsets.
fn metadata(image: &TestImage) -> Vec<u64> {
    let path = image.path();
    let path = path.to_str().expect("a plain path");
    let stat = run_ok("debugfs", &["-R", "stats", path]);
    let number = |what: &str| {
        let line = stat.lines().find_map(|line| line.split(what).nth(1));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
    };
    let table = number("inode table at ").expect("debugfs tells where the first inode table lies");
    let block_size = number("Block size:").expect("debugfs tells the block size");
    let bytes = image.bytes();
    // Superblock, descriptors, bitmaps, inodes; of small inodes the first directories and attributes, too.
    let end = (table + 100) * block_size;
    (1024..end).filter(|&at| bytes[usize::try_from(at).expect("small")] != 0).collect()
}

#[test]
fn the_caller_may_stop_the_walk() {
    let image = TestImage::new("-t ext4", 8192, 0);
    image.with_fs(|fs| {
        let error = fs.check(&mut |_, _| ControlFlow::Break(())).expect_err("told to stop");
        assert!(matches!(error, Error::Stopped), "{error}");
    });
}

#[test]
fn a_finding_says_where_and_what() {
    let image = filled("-t ext4 -b 1024", 16_384);
    debugfs(&image, "sif /large links_count 7\nsetb 15000 2\nunlink /a/b/c\n");
    let report = check(&image).expect("it can be read");
    let large = image.with_fs(|fs| fs.metadata("/large").expect("it is there").nr.get());
    let text = report.to_string();
    assert!(text.contains(&format!("inode {large}: link count is 7, should be 2\n")), "{text}");
    let expected = "group 1: free, but in use in the bitmap: blocks 15000 to 15001\n";
    assert!(text.contains(expected), "{text}");
    assert!(text.contains(": no directory names it\n"), "{text}");
    assert_eq!(report.total, report.findings.len() as u64);
}

/// A file system with one file `/f`, which has an attribute of `len` bytes.
fn with_attribute(args: &str, len: usize) -> TestImage {
    let image = TestImage::new(args, 8192, 0);
    image.with_kernel(|root| {
        std::fs::write(root.join("f"), "x").expect("a file");
        let (value, flags) = (noise(3, len), rustix::fs::XattrFlags::empty());
        rustix::fs::lsetxattr(root.join("f"), "trusted.value", &value, flags).expect("root may");
    });
    image.fsck();
    assert_silent(&image, args);
    image
}

/// Put other bytes `at` bytes behind the start of `content`, which lies in the image once.
fn flip_to(image: &TestImage, content: &[u8], at: u64, bytes: &[u8]) {
    let start = image.bytes().windows(content.len()).position(|window| window == content);
    let start = start.expect("it lies in the image") as u64;
    let file = File::options().write(true).open(image.path()).expect("the image");
    file.write_all_at(bytes, start + at).expect("a write");
}

#[test]
fn a_hash_by_which_attributes_are_shared_is_found_wrong() {
    let image = with_attribute("-t ext2 -b 1024 -I 128", 300);
    // Magic number, one reference, one block; h_hash is behind.
    flip_to(&image, &[0, 0, 2, 0xEA, 1, 0, 0, 0, 1, 0, 0, 0], 12, &[77]);
    let report = check(&image).expect("it opens");
    assert!(found(report).ends_with(": attributes: the hash of the block is wrong\n"));
}

#[test]
fn a_value_in_an_inode_of_its_own_is_found_wrong_where_the_kernel_refuses_it() {
    let image = with_attribute("-t ext4 -b 1024 -O ea_inode,^has_journal", 9000);
    flip_to(&image, &noise(3, 9000)[..64], 64, b"other");
    let report = check(&image).expect("it opens");
    assert_eq!(found(report), "inode 13: the value of an attribute, whose hash is wrong\n");
    image.with_kernel_options("ro", |root| {
        let refusal = rustix::fs::lgetxattr(root.join("f"), "trusted.value", &mut [0; 9000][..]);
        // EUCLEAN, which rustix has no name for.
        assert_eq!(refusal.expect_err("it is damaged").raw_os_error(), 117);
    });
}

#[test]
fn a_value_as_lustre_kept_it_is_sound() {
    let image = with_attribute("-t ext4 -b 1024 -O ea_inode", 9000);
    let path = image.path();
    let stat = run_ok("debugfs", &["-R", "stat /f", path.to_str().expect("a plain path")]);
    let generation = stat.split("Generation: ").nth(1).and_then(|rest| rest.split(' ').next());
    let generation = generation.expect("a number");
    // It says to whom it belongs, and has times where others have a hash and a count; nobody counts its blocks.
    debugfs(
        &image,
        &format!(
            "sif <13> mtime @12\nsif <13> generation {generation}\nsif <13> version 0\n\
             sif <13> ctime @1700000000\nsif <13> atime @1700000000\nsif /f blocks 2"
        ),
    );
    image.fsck();
    assert_silent(&image, "Lustre");
    // Of another inode it is not.
    debugfs(&image, "sif <13> mtime @11");
    assert!(complaint(&image).is_some());
    let report = check(&image).expect("it opens");
    assert!(found(report).contains("inode 12: attributes: the hash of `value` is wrong\n"));
}

#[test]
fn an_empty_value_may_have_an_inode() {
    let args = "-t ext4 -b 1024 -I 128 -O ea_inode,^metadata_csum,^has_journal";
    let image = with_attribute(args, 9000);
    // e_name_len, e_name_index, e_value_offs, e_value_inum 13; e_value_size is behind, 0x2328.
    let entry = [5, 4, 0, 0, 13, 0, 0, 0];
    flip_to(&image, &entry, 8, &[0; 4]);
    debugfs(
        &image,
        "punch <13> 0 8\nsif <13> size 0\nsif /f blocks 4\nsif <13> mtime @12\n\
         sif <13> ctime @1700000000\nsif <13> atime @1700000000",
    );
    let path = image.path();
    let stat = run_ok("debugfs", &["-R", "stat /f", path.to_str().expect("a plain path")]);
    let generation = stat.split("Generation: ").nth(1).and_then(|rest| rest.split(' ').next());
    debugfs(&image, &format!("sif <13> generation {}", generation.expect("a number")));
    image.fsck();
    assert_silent(&image, args);
}

#[test]
fn what_is_not_looked_at_is_said() {
    let image = TestImage::new("-t ext4 -b 1024 -O casefold,encrypt,verity", 16_384, 0);
    image.edit(|tx| tx.write("/f", "x").and_then(|()| tx.create_dir("/d"))).expect("there is room");
    assert_eq!(
        check(&image).expect("it opens").not_checked,
        ["the content of the backups of superblock and descriptors"]
    );
    // `encrypt` and `verity` on the file, `casefold` on the directory.
    debugfs(&image, "sif /f flags 0x180800\nsif /d flags 0x40080000");
    assert_eq!(
        check(&image).expect("it opens").not_checked,
        [
            "the content of the backups of superblock and descriptors",
            "whether encrypted files have the policy of their directory",
            "whether the content of files under fs-verity has its hash",
            "whether names in a directory without case differ in case alone",
        ]
    );
    let small = TestImage::new("-t ext4 -b 1024", 4096, 0);
    assert!(check(&small).expect("it opens").not_checked.is_empty());
}
