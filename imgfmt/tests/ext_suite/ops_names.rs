//! Names: moved, added, taken away with all below; and what flags forbid.

use std::process::Command;

use imgfmt::ext::{FileType, Fs};
use imgfmt::{Error, Result};

use crate::ops_twin::{Op, compare, mountable, says};
use crate::support::{NOW, TestImage, noise, run_ok};

fn s(text: &str) -> String {
    text.to_owned()
}

/// An error has no effect: what was changed before it is all there is.
fn check_no_effect(
    fs: &Fs<'_>,
    f: impl FnOnce(&mut imgfmt::ext::Transaction<'_>) -> Result<()>,
) -> Error {
    let mut tx = fs.begin(NOW).expect("clean");
    let error = f(&mut tx).expect_err("it is refused");
    assert!(tx.finish().expect("readable").is_empty(), "{error}");
    error
}

#[test]
fn every_case_of_a_rename_is_as_the_kernel_has_it() {
    let rename = |from: &str, to: &str| Op::Rename(s(from), s(to));
    let ops = [
        Op::Dir(s("/d")),
        Op::Dir(s("/d/sub")),
        Op::Dir(s("/e")),
        Op::Dir(s("/full")),
        Op::Write(s("/full/x"), 1, 10),
        Op::Write(s("/f"), 2, 5000),
        Op::Write(s("/g"), 3, 7000),
        Op::Link(s("/f"), s("/f2")),
        Op::Symlink(s("nowhere"), s("/l")),
        // The same inode: both stay.
        rename("/f", "/f2"),
        rename("/f", "/f"),
        // Kinds that do not replace one another.
        rename("/f", "/d"),
        rename("/d", "/f"),
        rename("/d", "/full"),
        rename("/d", "/d/sub/x"),
        rename("/d", "/d/sub"),
        rename("/missing", "/x"),
        rename("/f", "/missing/x"),
        rename("/f", "/g/x"),
        // A link moves, and is replaced, itself.
        rename("/l", "/d/l"),
        rename("/g", "/d/l"),
        // A file over one with two names; a directory over an empty one, here and in another.
        rename("/d/l", "/f"),
        rename("/d/sub", "/e"),
        rename("/e", "/full/e"),
        Op::Dir(s("/full/e/below")),
        rename("/full/e", "/d/e"),
        Op::Dir(s("/empty")),
        rename("/d", "/empty"),
        rename("/empty/e/below", "/below"),
        Op::RemoveAll(s("/full")),
    ];
    for (name, args, kib, start) in mountable() {
        compare(name, &TestImage::new(args, kib, start), &ops);
    }
}

#[test]
fn a_directory_with_a_hash_tree_moves_with_its_parent() {
    for args in ["-t ext4 -b 1024", "-t ext3 -b 1024 -I 128", "-t ext4 -O ^metadata_csum"] {
        let image = TestImage::new(args, 16_384, 0);
        image
            .edit(|tx| {
                tx.create_dir("/old")?;
                tx.create_dir("/new")?;
                tx.create_dir("/old/tree")?;
                (0..400)
                    .try_for_each(|i| tx.symlink("x", format!("/old/tree/rather-long-name-{i}")))?;
                tx.rename("/old/tree", "/new/tree")
            })
            .expect(args);
        image.fsck();
        image.with_kernel(|root| {
            use std::os::unix::fs::MetadataExt;
            let above = std::fs::metadata(root.join("new/tree/..")).expect("it is there");
            assert_eq!(above.ino(), std::fs::metadata(root.join("new")).expect("there").ino());
            assert_eq!(
                (above.nlink(), std::fs::read_dir(root.join("new/tree")).expect("there").count()),
                (3, 400)
            );
        });
    }
}

#[test]
fn a_file_has_65000_names_and_no_more() {
    let image = TestImage::new("-t ext4 -O ^has_journal", 16_384, 0);
    let path = image.path();
    image.edit(|tx| tx.write("/file", "x")).expect("there is room");
    // 64,999 of them are claimed, one is there.
    run_ok("debugfs", &["-w", "-R", "sif /file links_count 64999", path.to_str().expect("plain")]);
    image.edit(|tx| tx.hard_link("/file", "/last")).expect("one more fits");
    image.with_fs(|fs| {
        let error = check_no_effect(fs, |tx| tx.hard_link("/file", "/more"));
        assert!(matches!(error, Error::NoSpace(_)), "{error}");
        assert_eq!(
            error.to_string(),
            "no space left in the file system of the image: `/file` has 65000 names"
        );
    });
}

#[test]
fn a_directory_of_many_others_is_no_longer_counted() {
    let image = TestImage::new("-t ext4 -b 1024 -O ^has_journal -N 2048", 16_384, 0);
    let path = image.path();
    let path = path.to_str().expect("plain");
    image
        .edit(|tx| {
            tx.create_dir_all("/many/one")?;
            tx.create_dir("/two")
        })
        .expect("there is room");
    run_ok("debugfs", &["-w", "-R", "sif /many links_count 65000", path]);
    image.edit(|tx| tx.rename("/two", "/many/two")).expect("dir_nlink lifts the limit");
    image.with_fs(|fs| assert_eq!(fs.metadata("/many").expect("there").nlink, 1));
    image.edit(|tx| tx.rename("/many/two", "/two")).expect("it stays uncounted");
    image.with_fs(|fs| assert_eq!(fs.metadata("/many").expect("there").nlink, 1));
    let image = TestImage::new("-t ext4 -O ^has_journal,^dir_nlink", 16_384, 0);
    let path = image.path();
    image.edit(|tx| tx.create_dir_all("/many/one")).expect("there is room");
    image.edit(|tx| tx.create_dir("/two")).expect("there is room");
    run_ok("debugfs", &["-w", "-R", "sif /many links_count 65000", path.to_str().expect("plain")]);
    image.with_fs(|fs| {
        let error = check_no_effect(fs, |tx| tx.rename("/two", "/many/two"));
        assert!(matches!(error, Error::NoSpace(_)), "{error}");
    });
}

#[test]
fn a_deep_tree_goes_with_all_below_and_names_elsewhere_stay() {
    for args in ["-t ext2 -b 1024 -I 128", "-t ext4 -b 1024"] {
        let image = TestImage::new(&format!("{args} -N 4096"), 32_768, 0);
        let free = image.with_fs(|fs| (fs.info().free_blocks, fs.info().free_inodes));
        image
            .edit(|tx| {
                let mut path = s("/top");
                tx.create_dir(&path)?;
                for depth in 0..1500 {
                    path.push_str("/d");
                    tx.create_dir(&path)?;
                    if depth % 100 == 0 {
                        tx.write(format!("{path}/file"), noise(depth, 3000))?;
                        tx.hard_link(format!("{path}/file"), format!("{path}/again"))?;
                    }
                }
                tx.hard_link("/top/d/file", "/kept")
            })
            .expect(args);
        image.fsck();
        image.edit(|tx| tx.remove_dir_all("/top")).expect(args);
        image.fsck();
        image.with_fs(|fs| {
            assert_eq!(fs.metadata("/kept").expect("it stays").nlink, 1);
            assert_eq!(fs.read("/kept").expect("it stays"), noise(0, 3000));
        });
        image.edit(|tx| tx.remove_file("/kept")).expect(args);
        assert_eq!(image.with_fs(|fs| (fs.info().free_blocks, fs.info().free_inodes)), free);
        assert_eq!(image.kernel_tree(), image.tree());
    }
}

fn chattr(flags: &str, path: &std::path::Path) {
    let status = Command::new("chattr").arg(flags).arg(path).status();
    assert!(status.expect("chattr; install the package `e2fsprogs`").success());
}

#[test]
fn what_flags_forbid_is_refused_by_path_and_flag() {
    let image = TestImage::new("-t ext4", 16_384, 0);
    image.with_kernel(|root| {
        for dir in ["fixed", "grows", "tree", "tree/sub"] {
            std::fs::create_dir(root.join(dir)).expect("a directory");
        }
        for file in ["fixed/f", "grows/f", "tree/sub/f", "file", "log", "free"] {
            std::fs::write(root.join(file), "x").expect("a file");
        }
        for (flags, path) in
            [("+i", "fixed"), ("+a", "grows"), ("+i", "tree/sub/f"), ("+i", "file"), ("+a", "log")]
        {
            chattr(flags, &root.join(path));
        }
    });
    let twin = image.twin();
    type Edit = fn(&mut imgfmt::ext::Transaction<'_>) -> Result<()>;
    type Kernel = fn(&std::path::Path) -> std::io::Result<()>;
    let cases: [(&str, Edit, Kernel); 14] = [
        (
            "`/file`: is immutable",
            |tx| tx.write("/file", "y"),
            |r| std::fs::write(r.join("file"), "y"),
        ),
        (
            "`/file`: is immutable",
            |tx| tx.set_mode("/file", 0o600),
            |r| {
                std::fs::set_permissions(
                    r.join("file"),
                    std::os::unix::fs::PermissionsExt::from_mode(0o600),
                )
            },
        ),
        (
            "`/file`: is immutable",
            |tx| tx.set_owner("/file", 1, 1),
            |r| std::os::unix::fs::chown(r.join("file"), Some(1), Some(1)),
        ),
        (
            "`/file`: is immutable",
            |tx| tx.remove_file("/file"),
            |r| std::fs::remove_file(r.join("file")),
        ),
        (
            "`/file`: is immutable",
            |tx| tx.rename("/file", "/x"),
            |r| std::fs::rename(r.join("file"), r.join("x")),
        ),
        (
            "`/file`: is immutable",
            |tx| tx.rename("/free", "/file"),
            |r| std::fs::rename(r.join("free"), r.join("file")),
        ),
        (
            "`/file`: is immutable",
            |tx| tx.hard_link("/file", "/x"),
            |r| std::fs::hard_link(r.join("file"), r.join("x")),
        ),
        (
            "`/file`: is immutable",
            |tx| tx.set_xattr("/file", "user.a", "1"),
            |r| {
                let flags = rustix::fs::XattrFlags::empty();
                Ok(rustix::fs::lsetxattr(r.join("file"), "user.a", b"1", flags)?)
            },
        ),
        (
            "`/log`: is append-only",
            |tx| tx.write("/log", "y"),
            |r| std::fs::write(r.join("log"), "y"),
        ),
        (
            "`/fixed/f`: lies in an immutable directory",
            |tx| tx.remove_file("/fixed/f"),
            |r| std::fs::remove_file(r.join("fixed/f")),
        ),
        (
            "`/fixed/x`: lies in an immutable directory",
            |tx| tx.write("/fixed/x", ""),
            |r| std::fs::write(r.join("fixed/x"), ""),
        ),
        (
            "`/fixed/x`: lies in an immutable directory",
            |tx| tx.rename("/free", "/fixed/x"),
            |r| std::fs::rename(r.join("free"), r.join("fixed/x")),
        ),
        (
            "`/grows/f`: lies in an append-only directory",
            |tx| tx.remove_file("/grows/f"),
            |r| std::fs::remove_file(r.join("grows/f")),
        ),
        (
            "`/tree/sub/f`: is immutable",
            |tx| tx.remove_dir_all("/tree"),
            |r| std::fs::remove_file(r.join("tree/sub/f")),
        ),
    ];
    twin.with_kernel(|root| {
        for (expected, _, kernel) in cases {
            let error = kernel(root).expect_err("the kernel refuses it too");
            assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{expected}");
        }
        std::fs::write(root.join("grows/x"), "x").expect("names may be added");
        std::fs::rename(root.join("free"), root.join("grows/free")).expect("moved ones too");
        for (flags, path) in [("-i", "fixed"), ("-a", "grows"), ("-i", "file"), ("-a", "log")] {
            chattr(flags, &root.join(path));
        }
    });
    image.with_fs(|fs| {
        for (expected, ours, _) in cases {
            let error = check_no_effect(fs, ours);
            assert!(matches!(error, Error::Protected { .. }), "{error}");
            assert!(error.to_string().starts_with(expected), "{expected}: {error}");
        }
    });
    image
        .edit(|tx| {
            tx.write("/grows/x", "x")?;
            tx.rename("/free", "/grows/free")
        })
        .expect("names may be added");
    image.fsck();
}

#[test]
fn special_files_are_as_mknod_makes_them() {
    use FileType::{BlockDevice, CharDevice, Fifo, Socket};
    let mut ops = vec![Op::Dir(s("/dev"))];
    for (name, kind, major, minor) in [
        ("null", CharDevice, 1, 3),
        ("none", CharDevice, 0, 0),
        ("sda1", BlockDevice, 8, 1),
        ("old", BlockDevice, 255, 255),
        ("minor", BlockDevice, 8, 256),
        ("major", CharDevice, 256, 0),
        ("last", CharDevice, 4095, 0xF_FFFF),
        ("pipe", Fifo, 0, 0),
        ("socket", Socket, 0, 0),
        ("null", Fifo, 0, 0),
    ] {
        ops.push(Op::Special(format!("/dev/{name}"), kind, major, minor));
    }
    ops.push(Op::Owner(s("/dev/sda1"), 0, 6));
    ops.push(Op::Mode(s("/dev/null"), 0o666));
    ops.push(Op::Write(s("/dev/socket"), 1, 1));
    ops.push(Op::RemoveFile(s("/dev/major")));
    for (name, args, kib, start) in mountable() {
        let image = TestImage::new(args, kib, start);
        compare(name, &image, &ops);
        image.with_fs(|fs| {
            for (kind, major, minor) in [
                (FileType::File, 0, 0),
                (Fifo, 0, 1),
                (CharDevice, 4096, 0),
                (BlockDevice, 0, 1 << 20),
            ] {
                let error = check_no_effect(fs, |tx| tx.create_special("/x", kind, major, minor));
                assert!(matches!(error, Error::WrongKind { .. }), "{error}");
            }
        });
    }
}

/// Names of each kind, with and without something that says they are directories.
const ENDS: [&str; 6] = ["", "/", "//", "/.", "/./", "/.."];

fn of_each_kind(args: &str) -> TestImage {
    let image = TestImage::new(args, 16_384, 0);
    image
        .edit(|tx| {
            tx.write("/f", "content")?;
            tx.create_dir("/d")?;
            tx.symlink("d", "/ld")?;
            tx.symlink("d/", "/lslash")?;
            tx.symlink("f", "/lf")?;
            tx.symlink("f/", "/lfslash")?;
            tx.symlink("none", "/dangling")
        })
        .expect(args);
    image
}

#[test]
fn a_path_that_ends_in_a_slash_leads_to_a_directory_or_nowhere() {
    let image = of_each_kind("-t ext4");
    let names = ["f", "d", "ld", "lslash", "lf", "lfslash", "dangling", "none"];
    let paths = names.iter().flat_map(|name| ENDS.map(|end| format!("{name}{end}")));
    let paths: Vec<String> = paths.chain(["/", ".", "./d", "d/./"].map(s)).collect();
    let mut theirs = Vec::new();
    image.with_kernel(|root| {
        use std::os::unix::fs::MetadataExt;
        for path in &paths {
            let at = format!("{}/{path}", root.display());
            theirs.push([
                std::fs::metadata(&at).map(|meta| meta.ino()),
                std::fs::symlink_metadata(&at).map(|meta| meta.ino()),
                std::fs::read_dir(&at).map(|names| names.count() as u64),
                rustix::fs::llistxattr(&at, &mut [0; 64][..])
                    .map(|len| len as u64)
                    .map_err(Into::into),
            ]);
        }
    });
    image.with_fs(|fs| {
        for (path, theirs) in paths.iter().zip(theirs) {
            let ours = [
                fs.metadata(path).map(|meta| meta.nr.get().into()),
                fs.symlink_metadata(path).map(|meta| meta.nr.get().into()),
                fs.read_dir(path).map(|names| names.len() as u64),
                fs.xattrs(path).map(|all| all.len() as u64),
            ];
            for (ours, theirs) in ours.into_iter().zip(theirs) {
                let same = match (&ours, &theirs) {
                    (Ok(ours), Ok(theirs)) => ours == theirs,
                    (Err(ours), Err(theirs)) => {
                        let errno = rustix::io::Errno::from_io_error(theirs);
                        says(ours, errno.expect("the kernel's answer"))
                    }
                    _ => false,
                };
                assert!(same, "{path}: {ours:?}, but the kernel: {theirs:?}");
            }
        }
    });
}

#[test]
fn a_slash_at_the_end_of_a_name_is_for_directories() {
    let mut ops = Vec::new();
    for name in ["f", "d", "ld", "lslash", "lf", "lfslash", "dangling", "none"] {
        let path = format!("/{name}/");
        let other = || s("/other");
        ops.extend([
            Op::Write(path.clone(), 1, 10),
            Op::Append(path.clone(), 1, 10),
            Op::Truncate(path.clone(), 3),
            Op::Mode(path.clone(), 0o700),
            Op::Owner(path.clone(), 3, 4),
            Op::SetXattr(path.clone(), s("trusted.a"), 4),
            Op::RemoveXattr(path.clone(), s("trusted.a")),
            Op::Symlink(s("x"), path.clone()),
            Op::Special(path.clone(), FileType::Fifo, 0, 0),
            Op::Link(s("/f"), path.clone()),
            Op::Link(path.clone(), other()),
            Op::RemoveFile(path.clone()),
            Op::Rename(s("/f"), path.clone()),
            Op::Rename(s("/ld"), path.clone()),
            Op::Dir(format!("/{name}/.")),
        ]);
        if name != "d" && name != "none" {
            ops.extend([
                Op::Dir(path.clone()),
                Op::RemoveDir(path.clone()),
                Op::Rename(path.clone(), other()),
                Op::Rename(s("/d"), path.clone()),
                Op::Rename(path.clone(), path.clone()),
            ]);
        }
    }
    ops.extend([
        Op::Dir(s("/new/")),
        Op::Dir(s("/new//")),
        Op::Rename(s("/new/"), s("/moved//")),
        Op::Rename(s("/none/"), s("/other")),
        Op::Rename(s("/moved"), s("/moved/")),
        Op::Rename(s("/moved"), s("/d/")),
        Op::Dir(s("/gone/")),
        Op::RemoveDir(s("/gone/")),
        Op::RemoveDir(s("/none/")),
        Op::Write(s("/none/x/"), 1, 1),
        Op::Write(s("/f/x/"), 1, 1),
    ]);
    for args in ["-t ext4", "-t ext2 -b 1024 -I 128"] {
        compare(args, &of_each_kind(args), &ops);
    }
}

#[test]
fn a_directory_is_neither_removed_nor_renamed_by_its_dot() {
    let image = of_each_kind("-t ext4");
    image.with_fs(|fs| {
        let error = check_no_effect(fs, |tx| tx.remove_dir("/d/."));
        assert!(matches!(error, Error::WrongKind { .. }), "{error}");
        let error = check_no_effect(fs, |tx| tx.rename("/d/.", "/e"));
        assert!(matches!(error, Error::WrongKind { .. }), "{error}");
        // The kernel says EBUSY, also where both lead to the same directory.
        for to in ["/d/.", "/ld/.", "/ld/./", "/d/../d/."] {
            let error = check_no_effect(fs, |tx| tx.rename("/d", to));
            assert!(matches!(error, Error::WrongKind { .. }), "{to}: {error}");
        }
        let error = check_no_effect(fs, |tx| tx.remove_dir_all("/ld/"));
        assert!(matches!(error, Error::NotADirectory(_)), "{error}");
        let mut tx = fs.begin(NOW).expect("clean");
        tx.create_dir_all("/p/q/./").expect("the dot is there when the rest is");
        assert!(tx.metadata("/p/q").is_ok());
    });
}
