//! Files that were open when the machine stopped: deleted ones are freed, ones that were being cut are cut. The kernel
//! does it at a mount, and says what is left.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use imgfmt::ext::Fs;
use imgfmt::{Error, Volume};

use crate::support::{NOW, Random, TestImage, noise, run_ok};

const KINDS: &[&str] = &[
    "-t ext3 -b 1024",
    "-t ext3 -b 4096 -I 128",
    "-t ext4 -b 1024",
    "-t ext4 -b 4096",
    "-t ext4 -b 1024 -O orphan_file",
    "-t ext4 -b 4096 -O orphan_file,^metadata_csum",
    "-t ext4 -b 2048 -O ^extent,^flex_bg,^64bit,uninit_bg,^metadata_csum",
];

fn debugfs(image: &TestImage, requests: &str) -> String {
    let script = tempfile::NamedTempFile::new().expect("a script");
    fs::write(script.path(), requests).expect("a script");
    let (script, path) = (script.path().display().to_string(), image.path());
    run_ok("debugfs", &["-w", "-f", &script, path.to_str().expect("a plain path")])
}

/// Free blocks and inodes, as the superblock counts them.
fn free(image: &TestImage) -> (u64, u32) {
    image.with_fs(|fs| (fs.info().free_blocks, fs.info().free_inodes))
}

fn nr(image: &TestImage, path: &str) -> u32 {
    image.with_fs(|fs| fs.symlink_metadata(path).expect(path).nr.get())
}

/// Every second block, so that each is an extent of its own.
fn sparse(path: &Path, blocks: impl IntoIterator<Item = u64>) {
    let file = File::create(path).expect("a file");
    for block in blocks {
        file.write_all_at(&noise(block, 4096), block * 4096).expect("a write");
    }
}

#[test]
fn what_was_deleted_while_it_was_open_is_freed_with_an_edit() {
    for args in KINDS {
        let image = TestImage::new(args, 16_384, 0);
        let mut open = Vec::new();
        let (mut dirty, mut kernel) = (None, None);
        // Held open while the image is copied, and no longer: it could not be unmounted.
        image.with_kernel(|at| {
            fs::write(at.join("kept"), "kept\n").expect("a file");
            fs::write(at.join("small"), "gone\n").expect("a file");
            fs::write(at.join("large"), noise(1, 700_000)).expect("a file");
            sparse(&at.join("sparse"), (0..200).map(|i| i * 2));
            fs::create_dir(at.join("dir")).expect("a directory");
            std::os::unix::fs::symlink("x".repeat(200), at.join("link")).expect("a link");
            rustix::fs::setxattr(
                at.join("small"),
                "user.block",
                &noise(2, 400),
                rustix::fs::XattrFlags::empty(),
            )
            .expect("an attribute");
            for name in ["small", "large", "sparse", "dir"] {
                open.push(File::open(at.join(name)).expect("it is there"));
            }
            for name in ["small", "large", "sparse"] {
                fs::remove_file(at.join(name)).expect("it is there");
            }
            fs::remove_dir(at.join("dir")).expect("it is there");
            File::open(at).expect("the root").sync_all().expect("a sync");
            dirty = Some(image.twin());
            kernel = Some(image.twin());
            open.clear();
        });
        let (dirty, kernel) = (dirty.expect("copied"), kernel.expect("copied"));
        let tree = dirty.tree();
        assert_eq!(tree.len(), 4, "{args}: {tree:?}");
        kernel.with_kernel(|_| {});
        assert_eq!(tree, kernel.kernel_tree(), "{args}");
        dirty.edit(|_| Ok(())).expect(args);
        dirty.fsck();
        assert_eq!(dirty.kernel_tree(), tree, "{args}");
        assert_eq!(free(&dirty), free(&kernel), "{args}");

        // Unmounted, with the orphans named anew, the log plays no part.
        dirty.edit(|tx| tx.write("/new", "new\n")).expect(args);
        dirty.fsck();
    }
}

/// Name inodes of an image as its orphans, of the list or of the orphan file.
fn make_orphans(image: &TestImage, orphans: &[u32]) {
    let mut requests = String::new();
    let mut next = 0;
    for nr in orphans {
        requests += &format!("sif <{nr}> dtime {next}\n");
        next = *nr;
    }
    debugfs(image, &format!("{requests}ssv last_orphan {next}\n"));
}

#[test]
fn a_file_that_was_being_cut_is_cut_with_an_edit() {
    for (args, depth) in [
        ("-t ext3 -b 1024", None),
        // 4 extents in the inode, 84 in a block of 1,024 bytes: 600 need a third level.
        ("-t ext4 -b 1024", Some(2)),
        ("-t ext4 -b 4096", Some(1)),
    ] {
        let image = TestImage::new(args, 32_768, 0);
        image.with_kernel(|at| {
            sparse(&at.join("file"), (0..600).map(|i| i * 2));
            // With 1 KiB blocks the third level of indirect blocks begins at block 65,804.
            let last = if args == "-t ext3 -b 1024" { 16_460 } else { 200 };
            sparse(&at.join("far"), [0, 3, 70, 150, last]);
            fs::write(at.join("run"), noise(3, 900_000)).expect("a file");
            let reserved = File::create(at.join("reserved")).expect("a file");
            reserved.write_all_at(b"written", 50_000).expect("a write");
            if depth.is_some() {
                let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
                rustix::fs::fallocate(&reserved, flags, 0, 400_000).expect("room");
            }
        });
        if let Some(depth) = depth {
            let text = debugfs(&image, "ex /file\n");
            assert!(text.contains(&format!("0/ {depth}")), "{text}");
        }
        image.fsck();
        let mut random = Random(7);
        let mut cases: Vec<[(&str, u64); 4]> = vec![
            [("file", 0), ("far", 0), ("run", 0), ("reserved", 0)],
            [("file", 1), ("far", 12 * 1024), ("run", 1024), ("reserved", 50_007)],
            [("file", 8 << 10), ("far", 268 << 10), ("run", 4096), ("reserved", 1)],
            [("file", 24_577), ("far", (268 << 10) + 1), ("run", 4097), ("reserved", 400_000)],
            [("file", 84 * 8192), ("far", 280_001), ("run", 899_999), ("reserved", 65_536)],
        ];
        if args == "-t ext3 -b 1024" {
            cases.push([("file", 4_000_000), ("far", 67_385_345), ("run", 0), ("reserved", 1)]);
        }
        let cases_more = if std::env::var_os("AUTOXEN_LONG").is_some() { 40 } else { 1 };
        cases.extend((0..cases_more).map(|_| {
            [("file", 4_900_000), ("far", 800_000), ("run", 900_000), ("reserved", 400_000)]
                .map(|(name, end)| (name, random.below(end)))
        }));
        for case in cases {
            let ours = image.twin();
            let mut requests = String::new();
            for (name, len) in case {
                requests += &format!("sif /{name} size {len}\n");
            }
            debugfs(&ours, &requests);
            let orphans = case.map(|(name, _)| nr(&ours, &format!("/{name}")));
            make_orphans(&ours, &orphans);
            let kernel = ours.twin();
            kernel.with_kernel(|_| {});
            let tree = ours.tree();
            assert_eq!(tree, kernel.kernel_tree(), "{args} {case:?}");
            ours.edit(|_| Ok(())).expect(args);
            ours.fsck();
            assert_eq!(ours.kernel_tree(), tree, "{args} {case:?}");
            // The kernel leaves extent trees as deep as they were.
            let (more, less) = (free(&ours), free(&kernel));
            assert!(more.0 >= less.0 && more.0 <= less.0 + 20, "{args} {case:?} {more:?} {less:?}");
            assert!(depth.is_some() || more == less, "{args} {case:?} {more:?} {less:?}");
            // Whoever makes the file longer expects zeros behind its end.
            let block_size = if args.ends_with("1024") { 1024 } else { 4096 };
            let len = case[2].1;
            if len % block_size != 0 {
                let text = debugfs(&ours, &format!("bmap /run {}\n", len / block_size));
                let block: u64 = text.lines().last().expect("a line").trim().parse().expect(&text);
                let end = block * block_size + len % block_size..(block + 1) * block_size;
                let end = end.map(|at| usize::try_from(at).expect("small"));
                let bytes = ours.bytes();
                assert!(end.into_iter().all(|at| bytes[at] == 0), "{args} {case:?}");
            }
        }
    }
}

#[test]
fn orphans_that_cannot_be_are_refused_by_name() {
    let image = TestImage::new("-t ext4 -b 1024", 8192, 0);
    image.with_kernel(|at| {
        for name in ["a", "b"] {
            fs::write(at.join(name), noise(1, 3000)).expect("a file");
        }
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at.join("fifo"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o644),
            0,
        )
        .expect("a pipe");
    });
    let (a, b, fifo) = (nr(&image, "/a"), nr(&image, "/b"), nr(&image, "/fifo"));
    let refusal = |requests: String| {
        let lie = image.twin();
        debugfs(&lie, &requests);
        let bytes = lie.bytes();
        let opened = Fs::open(Volume::whole(&bytes)).expect("it is read");
        assert!(opened.exists("/b").expect("the root is read"));
        match opened.begin(NOW).map(drop) {
            Err(Error::NotClean(what)) => what,
            other => panic!("{requests}: {other:?}"),
        }
    };
    for (requests, expected) in [
        (format!("ssv last_orphan {a}\nsif /a dtime {a}\n"), format!("{a} is named twice")),
        (
            format!("ssv last_orphan {a}\nsif /a dtime {b}\nsif /b dtime {a}\n"),
            format!("{a} is named twice"),
        ),
        ("ssv last_orphan 8\n".to_owned(), "8 cannot be one".to_owned()),
        ("ssv last_orphan 99999\n".to_owned(), "99999 cannot be one".to_owned()),
        ("ssv last_orphan 1000\n".to_owned(), "1000 is free".to_owned()),
        (format!("ssv last_orphan {fifo}\n"), format!("{fifo} cannot be shorter")),
        (format!("ssv last_orphan {a}\nsif /a mode 0\n"), format!("{a} is no file")),
    ] {
        let expected = format!("orphan inode {expected} (run `e2fsck` on it)");
        assert_eq!(refusal(requests.clone()), expected, "{requests}");
    }
}

#[test]
fn inline_content_behind_the_end_of_a_file_does_not_come_back() {
    let image = TestImage::new("-t ext4 -b 1024 -I 512 -O inline_data,^has_journal", 8192, 0);
    let files = [("/file", 70), ("/short", 20), ("/whole", 150)];
    image
        .edit(|tx| files.iter().try_for_each(|(path, _)| tx.write(path, noise(1, 150))))
        .expect("there is room");
    // The kernel notes the new length first, and cuts in a step of its own.
    for (path, len) in files {
        debugfs(&image, &format!("sif {path} size {len}\n"));
    }
    make_orphans(&image, &files.map(|(path, _)| nr(&image, path)));
    let kernel = image.twin();
    image.edit(|_| Ok(())).expect("they are cut");
    image.fsck();
    for image in [&image, &kernel] {
        image.with_kernel(|root| {
            for (path, _) in files {
                let file = File::options().write(true).open(root.join(&path[1..]));
                file.and_then(|file| file.set_len(200)).expect("it takes more");
            }
        });
    }
    assert_eq!(image.kernel_tree(), kernel.kernel_tree());
}
