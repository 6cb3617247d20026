//! Names: moved, added, taken away with all below; and what flags forbid.

use std::process::Command;

use imgfmt::ext::{FileType, Fs};
use imgfmt::{Error, Result};

use crate::ops_twin::{Op, compare, mountable};
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
