//! File systems filled from entries in one pass. The judges: `e2fsck`, the kernel's view of a mount, `debugfs`.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use imgfmt::archive::{Content, Data, Entry, Kind, Meta, Run, Sink, Time, TreePath, Xattr};
use imgfmt::ext::mkfs::{Builder, Free, Kind as Type, Layout, Options, Room};
use imgfmt::{Error, Result};

use crate::support::{NOW, TestImage, run, run_ok};

const MIB: u64 = 1 << 20;

fn entry(path: &str, kind: Kind) -> Entry {
    let mtime = Time { secs: NOW - 5, nanos: 123_456_789 };
    let meta = Meta { mode: 0o640, uid: 1000, gid: 70_000, mtime, ..Meta::default() };
    let path = TreePath::new(path.as_bytes()).expect("a normal path");
    Entry { path, meta, xattrs: Vec::new(), kind }
}

pub(crate) fn file(path: &str, len: usize) -> (Entry, Vec<u8>) {
    let kind = Kind::File { len: len as u64, data: Data::Whole };
    (entry(path, kind), (0..len).map(|i| (i % 251) as u8 + 1).collect())
}

pub(crate) fn bare(path: &str, kind: Kind) -> (Entry, Vec<u8>) {
    (entry(path, kind), Vec::new())
}

pub(crate) fn options(kind: Type, size: u64, features: &str) -> Options {
    Options {
        features: features.into(),
        time: NOW,
        seed: b"test".into(),
        ..Options::new(kind, size)
    }
}

pub(crate) fn fill(
    options: &Options,
    room: Room,
    entries: impl IntoIterator<Item = (Entry, Vec<u8>)>,
) -> Result<(TestImage, Layout)> {
    let mut warnings = Vec::new();
    let outcome = fill_warned(options, room, entries, &mut warnings);
    assert_eq!(warnings, Vec::<String>::new());
    outcome
}

/// The same, with what it warns of.
pub(crate) fn fill_warned(
    options: &Options,
    room: Room,
    entries: impl IntoIterator<Item = (Entry, Vec<u8>)>,
    warnings: &mut Vec<String>,
) -> Result<(TestImage, Layout)> {
    let image = TestImage::sparse(options.size);
    let mut target = File::options().write(true).open(image.path()).expect("the image");
    let mut builder = Builder::new(options, room, &mut target)?;
    for (entry, bytes) in entries {
        let mut from = &bytes[..];
        let mut content = Content::new(&mut from, bytes.len() as u64);
        builder.entry(&entry, &mut content, &mut |line| warnings.push(line))?;
    }
    let layout = builder.finish()?;
    target.set_len(layout.len()).expect("a length");
    let image = image.with_len(layout.len());
    Ok((image, layout))
}

/// Every kind of file, and what may hang on one.
fn one_of_each() -> Vec<(Entry, Vec<u8>)> {
    let long = format!("/{}", "long/".repeat(30));
    let mut all = vec![
        bare("dir", Kind::Dir),
        file("dir/small", 10),
        file("dir/large", 3_000_001),
        file("dir/empty", 0),
        bare("dir/hard", Kind::HardLink(TreePath::new(b"dir/small").expect("a path"))),
        bare("dir/short", Kind::Symlink(b"small".into())),
        bare("dir/long", Kind::Symlink(long.into_bytes())),
        bare("null", Kind::CharDevice { major: 1, minor: 3 }),
        bare("big", Kind::BlockDevice { major: 259, minor: 300 }),
        bare("fifo", Kind::Fifo),
        bare("socket", Kind::Socket),
        file("made/by/itself", 5000),
    ];
    let runs = vec![Run { offset: 100, len: 50 }, Run { offset: 900_000, len: 70_000 }];
    let data = Data::sparse(runs, 5_000_000).expect("in order");
    all.push((entry("sparse", Kind::File { len: 5_000_000, data }), vec![9; 70_050]));
    let (mut labelled, bytes) = file("dir/labelled", 7);
    labelled.xattrs = vec![
        // cap_net_raw, permitted and effective: the kernel gives none out that is not one.
        Xattr {
            name: b"security.capability".into(),
            value: [&[1, 0, 0, 2, 0, 0x20][..], &[0; 14]].concat(),
        },
        Xattr { name: b"user.large".into(), value: vec![2; 600] },
        Xattr { name: b"trusted.empty".into(), value: vec![] },
    ];
    labelled.meta.mode = 0o4755;
    labelled.meta.mtime = Time { secs: 5_000_000_000, nanos: 1 };
    let mut twin = labelled.clone();
    twin.path = TreePath::new(b"dir/twin").expect("a path");
    all.extend([(labelled, bytes.clone()), (twin, bytes)]);
    all
}

/// A line for each file of a mounted tree.
fn lines(root: &Path) -> Vec<String> {
    let script = "find . -mindepth 1 -path ./lost+found -prune -o -printf '%P %y %m %U:%G %n %T@ %l\\n' | sort; \
                  find . -type f -exec sha256sum {} + | sort; stat -c '%n %t:%T' null big; \
                  getfattr -d -m - -h -e hex dir/labelled dir/twin";
    let at = root.to_str().expect("a plain path");
    run_ok("sh", &["-c", &format!("set -e; cd {at}; {script}")])
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_kind_of_file_comes_out_as_it_went_in() {
    let mut seen: Option<Vec<String>> = None;
    for (kind, features, inode_size) in [
        (Type::Ext4, "", 256),
        (Type::Ext4, "^flex_bg", 256),
        (Type::Ext4, "meta_bg,^resize_inode,metadata_csum_seed", 256),
        (Type::Ext4, "^metadata_csum,uninit_bg,orphan_file", 512),
        (Type::Ext3, "", 256),
        (Type::Ext2, "^dir_index", 256),
    ] {
        for room in [
            Room::Fixed,
            Room::Auto(Free::default()),
            Room::Auto(Free { bytes: 9 * MIB, percent: 0 }),
        ] {
            for block_size in [1024, 4096] {
                let options = Options {
                    block_size: Some(block_size),
                    inode_size: Some(inode_size),
                    ..options(kind, 40 * MIB, features)
                };
                let (image, _) = fill(&options, room, one_of_each()).expect("it fits");
                image.fsck();
                image.with_kernel(|at| {
                    let lines = lines(at);
                    let expected = seen.get_or_insert_with(|| lines.clone());
                    assert_eq!(&lines, expected, "{kind:?} {features} {room:?} {block_size}");
                    let sparse = std::fs::metadata(at.join("sparse")).expect("it is there");
                    assert!(sparse.blocks() * 512 < 100_000, "{}", sparse.blocks());
                });
                image.fsck();
            }
        }
    }
    let text = seen.expect("some").join("\n");
    for line in [
        "dir d 640 1000:70000 2 ",
        "dir/hard f 640 1000:70000 2 1767225595.1234567890 ",
        "dir/labelled f 4755 1000:70000 1 5000000000.0000000010 ",
        "dir/short l 777 1000:70000 1 1767225595.1234567890 small",
        "made d 755 0:0 3 ",
        "made/by/itself f 640 ",
        "null 1:3",
        "big 103:12c",
        "security.capability=0x0100000200200000",
        "user.large=0x0202",
        "socket s 640 ",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn later_entries_replace_earlier_ones_and_layers_take_away() {
    let entries = vec![
        file("a/old", 100_000),
        file("a/new", 5),
        file("b/below/deep", 60_000),
        bare("link", Kind::Symlink(b"/b/../a/./".into())),
        bare("up", Kind::Symlink(b"../../../a".into())),
        // Replaced; through links; a file where a directory was, which is empty; a directory where a file was.
        file("a/old", 10),
        file("link/through", 4),
        file("up/climbed", 4),
        bare("was-dir", Kind::Dir),
        file("was-dir", 3),
        file("was-file", 3),
        bare("was-file", Kind::Dir),
        file("was-file/in", 3),
        bare("a/new", Kind::Whiteout),
        bare("b", Kind::Opaque),
        bare("not/there", Kind::Whiteout),
        file("b/after", 200_000),
        bare("lost+found", Kind::Whiteout),
    ];
    for room in [Room::Fixed, Room::Auto(Free::default())] {
        let options = options(Type::Ext4, 12 * MIB, "");
        let (image, _) = fill(&options, room, entries.clone()).expect("it fits");
        image.fsck();
        let files: Vec<String> = image
            .kernel_tree()
            .into_iter()
            .map(|(path, line)| format!("{path} {}", line.split(' ').nth(3).expect("a length")))
            .filter(|line| !line.starts_with("/lost+found"))
            .collect();
        let names = files.join("\n");
        for name in [
            "a/old 10",
            "a/through 4",
            "a/climbed 4",
            "was-dir 3",
            "was-file/in 3",
            "b/after 200000",
        ] {
            assert!(names.contains(name), "{name}\n{names}");
        }
        for name in ["a/new", "below", "not"] {
            assert!(!names.contains(name), "{name}\n{names}");
        }
        let content = image.with_fs(|fs| fs.read("/b/after").expect("a file"));
        assert!(content == file("x", 200_000).1);
    }
}

#[test]
fn large_directories_are_hash_trees() {
    let many = if std::env::var_os("AUTOXEN_LONG").is_some() { 200_000 } else { 20_000 };
    for (count, kind, block_size, features) in [
        (3000, Type::Ext4, 4096, ""),
        (3000, Type::Ext3, 1024, ""),
        (3000, Type::Ext2, 1024, "^dir_index"),
        (many, Type::Ext4, 1024, "large_dir"),
        (many, Type::Ext4, 4096, "^metadata_csum,uninit_bg"),
    ] {
        let names = (0..count).map(|i| file(&format!("d/a name of some length, {i}"), 0));
        let options = Options { block_size: Some(block_size), ..options(kind, 0, features) };
        let (image, _) = fill(&options, Room::Auto(Free { bytes: 4 * MIB, percent: 5 }), names)
            .expect("it grows");
        image.fsck();
        image.with_kernel(|at| {
            assert_eq!(std::fs::read_dir(at.join("d")).expect("a directory").count(), count);
            for i in (0..count).step_by(97) {
                let name = format!("d/a name of some length, {i}");
                std::fs::rename(at.join(&name), at.join(format!("{name}.moved"))).expect("found");
            }
            std::fs::write(at.join("d/new"), "x").expect("its leaf splits");
        });
        image.fsck();
        let path = image.path();
        let dump = run("debugfs", &["-R", "htree_dump /d", path.to_str().expect("a plain path")]);
        let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
        assert_eq!(dump.contains("Root node dump"), !features.contains("^dir_index"), "{dump}");
    }
}

#[test]
fn a_tree_of_the_host_is_the_same_tree_in_the_image() {
    let from = Path::new("/usr/lib/python3");
    let from = if from.exists() { from } else { Path::new("/usr/share/perl") };
    let mut entries = Vec::new();
    collect(from, from, &mut entries);
    assert!(entries.len() > 20, "{}", entries.len());
    for kind in [Type::Ext2, Type::Ext4] {
        let (image, layout) =
            fill(&options(kind, 0, ""), Room::Auto(Free::default()), entries.clone())
                .expect("it grows");
        image.fsck();
        assert!(layout.len() < 400 * MIB, "{}", layout.len());
        image.with_kernel(|at| {
            let listing = |at: &Path| {
                let at = at.to_str().expect("a plain path");
                let tar = "tar --numeric-owner --sort=name --exclude=./lost+found -cf - .";
                run_ok("sh", &["-c", &format!("cd {at} && {tar} | sha256sum")])
            };
            assert_eq!(listing(at), listing(from), "{kind:?}");
        });
    }
}

fn collect(root: &Path, at: &Path, into: &mut Vec<(Entry, Vec<u8>)>) {
    let meta = std::fs::symlink_metadata(at).expect("it is there");
    let path = at.strip_prefix(root).expect("below").as_os_str().as_bytes();
    let (kind, bytes) = match meta.file_type() {
        kind if kind.is_dir() => (Kind::Dir, Vec::new()),
        kind if kind.is_symlink() => {
            let text = std::fs::read_link(at).expect("a link");
            (Kind::Symlink(text.as_os_str().as_bytes().into()), Vec::new())
        }
        kind if kind.is_fifo() => (Kind::Fifo, Vec::new()),
        _ => {
            (Kind::File { len: meta.len(), data: Data::Whole }, std::fs::read(at).expect("a file"))
        }
    };
    let is_dir = kind == Kind::Dir;
    let mtime = Time {
        secs: meta.mtime(),
        nanos: u32::try_from(meta.mtime_nsec()).expect("below a second"),
    };
    let mode = u16::try_from(meta.mode() & 0o7777).expect("twelve bits");
    let meta = Meta { mode, uid: meta.uid(), gid: meta.gid(), mtime, ..Meta::default() };
    let path = TreePath::new(path).expect("a normal path");
    into.push((Entry { path, meta, xattrs: Vec::new(), kind }, bytes));
    if is_dir {
        let children = std::fs::read_dir(at).expect("a directory");
        for child in children {
            collect(root, &child.expect("an entry").path(), into);
        }
    }
}

#[test]
fn what_cannot_be_there_is_refused() {
    let too_many_xattrs = || {
        let (mut entry, bytes) = file("x", 1);
        entry.xattrs = vec![Xattr { name: b"user.a".into(), value: vec![1; 5000] }];
        (entry, bytes)
    };
    let link = |to: &[u8]| Kind::HardLink(TreePath::new(to).expect("a path"));
    let symlink = |to: &[u8]| Kind::Symlink(to.into());
    let circle = vec![bare("a", symlink(b"b")), bare("b", symlink(b"a")), file("a/x", 1)];
    for (entries, expected) in [
        (
            vec![file("a", 30_000_000)],
            "no space left in the file system of the image: 29297 blocks are wanted, 10",
        ),
        (
            (0..4000).map(|i| file(&i.to_string(), 0)).collect(),
            "no space left in the file system of the image: all 3072 inodes are taken",
        ),
        (
            vec![file("a/b", 1), file("a", 1)],
            "`a`: stands in the place of a directory that is not empty",
        ),
        (vec![file("a", 1), file("a/b", 1)], "`a/b`: not a directory"),
        (circle, "`a/x`: too many levels of symbolic links"),
        (vec![bare("a", link(b"b"))], "`a`: is a hard link to `/b`, which is no file before it"),
        (
            vec![bare("a", Kind::CharDevice { major: 4096, minor: 0 })],
            "`a`: cannot have the device number 4096:0",
        ),
        (vec![too_many_xattrs()], "`x`: has extended attributes of more than a block"),
        (vec![file(&"x".repeat(256), 1)], "a name of more than 255 bytes"),
        (
            vec![file("lost+found", 1)],
            "`lost+found`: stands in the place of a directory that is not empty",
        ),
    ] {
        let outcome = fill(&options(Type::Ext4, 12 * MIB, ""), Room::Fixed, entries);
        let refusal: Error = outcome.err().expect("it cannot be there");
        assert!(refusal.to_string().contains(expected), "{refusal}\n{expected}");
    }
}
