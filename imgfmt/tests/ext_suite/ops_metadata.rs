//! Owner, times and extended attributes, as the kernel sees them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use imgfmt::Error;

use crate::ops_twin::{Op, compare, mountable};
use crate::support::{NOW, TestImage, noise};

fn at(seconds: i64, nanoseconds: u32) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
    base + Duration::from_nanos(nanoseconds.into())
}

#[test]
fn times_are_kept_as_the_inode_has_room() {
    use std::os::unix::fs::MetadataExt;
    // The ends of what 34 and 32 bits hold, and the turns of the two bits between.
    let times = [
        (-0x8000_0000, 0),
        (-1, 999_999_999),
        (0, 1),
        (0x7FFF_FFFF, 5),
        (0x8000_0000, 6),
        (0x1_7FFF_FFFF, 7),
        (0x2_7FFF_FFFF, 999_999_999),
    ];
    for (args, is_wide) in [("-t ext4", true), ("-t ext3 -I 128", false), ("-t ext2 -I 256", true)]
    {
        let image = TestImage::new(args, 16_384, 0);
        for (seconds, nanoseconds) in times {
            let time = at(seconds, nanoseconds);
            let fits = is_wide || i32::try_from(seconds).is_ok();
            image
                .edit(|tx| {
                    tx.write("/file", "x")?;
                    if !tx.exists("/dir")? {
                        tx.create_dir("/dir")?;
                        tx.symlink("file", "/link")?;
                    }
                    for path in ["/file", "/dir", "/link"] {
                        let result = tx.set_symlink_times(path, time, time + Duration::ZERO);
                        match result {
                            Ok(()) => assert!(fits, "{args}: {seconds}"),
                            Err(Error::Unsupported(what)) => {
                                assert!(!fits && what.contains("1901 to 2038"), "{args}: {what}");
                            }
                            Err(e) => panic!("{args}: {e}"),
                        }
                    }
                    Ok(())
                })
                .expect(args);
            image.fsck();
            image.with_kernel_options("ro", |root| {
                for name in ["file", "dir", "link"] {
                    let meta = std::fs::symlink_metadata(root.join(name)).expect("it is there");
                    let nanoseconds = if is_wide { nanoseconds.into() } else { 0 };
                    if fits {
                        assert_eq!(
                            (meta.atime(), meta.atime_nsec()),
                            (seconds, nanoseconds),
                            "{args}"
                        );
                        assert_eq!(
                            (meta.mtime(), meta.mtime_nsec()),
                            (seconds, nanoseconds),
                            "{args}"
                        );
                    }
                    assert_eq!(meta.ctime(), NOW, "{args}");
                }
            });
        }
        for beyond in [-0x8000_0001, 0x2_8000_0000] {
            image.with_fs(|fs| {
                let mut tx = fs.begin(NOW).expect("clean");
                let error = tx.set_times("/file", at(0, 0), at(beyond, 0)).expect_err("no room");
                assert!(matches!(error, Error::Unsupported(_)), "{error}");
                assert!(tx.finish().expect("readable").is_empty());
            });
        }
    }
}

#[test]
fn times_and_owner_follow_a_link_unless_it_is_meant_itself() {
    let image = TestImage::new("-t ext4", 16_384, 0);
    image
        .edit(|tx| {
            tx.write("/file", "x")?;
            tx.symlink("file", "/link")?;
            tx.set_times("/link", at(1, 0), at(2, 0))?;
            tx.set_symlink_times("/link", at(3, 0), at(4, 0))?;
            tx.set_owner("/link", 5, 6)?;
            tx.set_symlink_owner("/link", 7, 8)
        })
        .expect("nothing is in the way");
    image.fsck();
    image.with_fs(|fs| {
        let (file, link) = (fs.metadata("/file").unwrap(), fs.symlink_metadata("/link").unwrap());
        assert_eq!((file.atime, file.mtime, file.uid, file.gid), (at(1, 0), at(2, 0), 5, 6));
        assert_eq!((link.atime, link.mtime, link.uid, link.gid), (at(3, 0), at(4, 0), 7, 8));
    });
}

#[test]
fn attributes_go_where_they_fit_and_come_out_again() {
    let set = |name: &str, len| Op::SetXattr("/f".to_owned(), name.to_owned(), len);
    let remove = |name: &str| Op::RemoveXattr("/f".to_owned(), name.to_owned());
    let long = format!("user.{}", "n".repeat(250));
    let ops = [
        Op::Write("/f".to_owned(), 1, 3000),
        remove("user.a"),
        set("user.a", 10),
        set("user.empty", 0),
        // Into the block, and there another value.
        set("user.big", 500),
        set("user.big", 480),
        set("trusted.b", 3),
        set("security.c", 33),
        set("user.a", 200),
        set(&long, 1),
        remove("user.big"),
        // One byte more than a name may have; a value that no block takes.
        set(&format!("{long}n"), 1),
        set("user.huge", 5000),
        set("user.a", 1),
        remove(&long),
        remove("security.c"),
        remove("security.c"),
        Op::Symlink("f".to_owned(), "/l".to_owned()),
        Op::SetXattr("/l".to_owned(), "user.a".to_owned(), 1),
        Op::SetXattr("/l".to_owned(), "trusted.a".to_owned(), 40),
        Op::Special("/p".to_owned(), imgfmt::ext::FileType::Fifo, 0, 0),
        Op::SetXattr("/p".to_owned(), "user.a".to_owned(), 1),
        Op::SetXattr("/".to_owned(), "user.root".to_owned(), 20),
        Op::SetXattr("/p".to_owned(), "trusted.a".to_owned(), 300),
        Op::RemoveFile("/p".to_owned()),
    ];
    for (name, args, kib, start) in mountable() {
        compare(name, &TestImage::new(args, kib, start), &ops);
    }
}

#[test]
fn a_shared_block_of_attributes_is_left_to_the_others() {
    for args in ["-t ext4 -I 128", "-t ext3 -b 1024 -I 128", "-t ext2 -I 128"] {
        let image = TestImage::new(args, 16_384, 0);
        image.with_kernel(|root| {
            for name in ["a", "b", "c", "d"] {
                let path = root.join(name);
                std::fs::write(&path, name).expect("a file");
                let flags = rustix::fs::XattrFlags::empty();
                rustix::fs::lsetxattr(&path, "user.long", &noise(9, 300), flags).expect("root may");
            }
        });
        let free = image.with_fs(|fs| fs.info().free_blocks);
        image.edit(|tx| tx.set_xattr("/a", "user.own", "mine")).expect(args);
        image.fsck();
        assert_eq!(image.with_fs(|fs| fs.info().free_blocks), free - 1, "{args}: a copy");
        image.edit(|tx| tx.remove_xattr("/b", "user.long")).expect(args);
        image.fsck();
        image.edit(|tx| tx.set_mode("/c", 0o600)).expect(args);
        image.edit(|tx| tx.remove_file("/d")).expect(args);
        image.fsck();
        assert_eq!(image.with_fs(|fs| fs.info().free_blocks), free - 1 + 1, "{args}: d's content");
        image.edit(|tx| tx.remove_xattr("/c", "user.long")).expect(args);
        image.fsck();
        assert_eq!(image.with_fs(|fs| fs.info().free_blocks), free - 1 + 2, "{args}: the block");
        let tree = image.kernel_tree();
        assert_eq!(tree, image.tree(), "{args}");
        assert!(tree["/a"].contains("user.long=") && tree["/a"].contains("user.own=mine"));
        assert!(tree["/b"].ends_with(' ') && tree["/c"].ends_with(' '));
    }
}

#[test]
fn bytes_above_127_in_a_name_are_hashed_as_the_kernel_does() {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::OsStr::from_bytes(b"user.\xff\x80\xe9");
    let image = TestImage::new("-t ext4 -I 128", 16_384, 0);
    image
        .edit(|tx| {
            tx.write("/f", "x")?;
            tx.set_xattr("/f", name, "value")
        })
        .expect("it fits a block");
    image.fsck();
    image.with_kernel(|root| {
        let mut value = [0; 8];
        let len = rustix::fs::lgetxattr(root.join("f"), name, &mut value[..]).expect("it is there");
        assert_eq!(&value[..len], b"value");
    });
}

/// `setxattr`'s form: version 2, entries of tag, permissions and number.
fn kernel_acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        acl.extend(tag.to_le_bytes());
        acl.extend(permissions.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    acl
}

#[test]
fn an_acl_brings_its_mode_as_the_kernel_has_it() {
    const NONE: u32 = u32::MAX;
    let named =
        kernel_acl(&[(1, 7, NONE), (2, 6, 1000), (4, 5, NONE), (0x10, 6, NONE), (0x20, 1, NONE)]);
    let plain = kernel_acl(&[(1, 6, NONE), (4, 4, NONE), (0x20, 0, NONE)]);
    let masked = kernel_acl(&[(1, 6, NONE), (4, 4, NONE), (0x10, 7, NONE), (0x20, 0, NONE)]);
    let (access, default) = ("system.posix_acl_access", "system.posix_acl_default");
    let steps: &[(&str, &str, Option<&[u8]>)] = &[
        ("named", access, Some(&named)),
        ("plain", access, Some(&named)),
        ("plain", access, Some(&plain)),
        ("masked", access, Some(&masked)),
        ("gone", access, Some(&named)),
        ("gone", access, None),
        ("dir", default, Some(&named)),
        ("dir", access, Some(&masked)),
        ("dir2", default, Some(&plain)),
        ("dir3", default, Some(&named)),
        ("dir3", default, None),
    ];
    for args in ["-t ext4", "-t ext3 -b 1024 -I 128"] {
        let image = TestImage::new(args, 16_384, 0);
        image.with_kernel(|root| {
            for name in ["named", "plain", "masked", "gone"] {
                std::fs::write(root.join(name), "x").expect("a file");
            }
            for name in ["dir", "dir2", "dir3"] {
                std::fs::create_dir(root.join(name)).expect("a directory");
            }
        });
        let twin = image.twin();
        twin.with_kernel(|root| {
            for &(name, attribute, value) in steps {
                let flags = rustix::fs::XattrFlags::empty();
                match value {
                    Some(acl) => rustix::fs::lsetxattr(root.join(name), attribute, acl, flags),
                    None => rustix::fs::lremovexattr(root.join(name), attribute),
                }
                .expect("root may");
            }
        });
        image
            .edit(|tx| {
                steps.iter().try_for_each(|&(name, attribute, value)| match value {
                    Some(acl) => tx.set_xattr(name, attribute, acl),
                    None => tx.remove_xattr(name, attribute),
                })
            })
            .expect(args);
        image.fsck();
        let acls = |image: &TestImage| {
            let mut all = Vec::new();
            image.with_kernel_options("ro", |root| {
                for name in ["named", "plain", "masked", "gone", "dir", "dir2", "dir3"] {
                    for attribute in [access, default] {
                        let mut value = [0; 256];
                        let got = rustix::fs::lgetxattr(root.join(name), attribute, &mut value[..]);
                        all.push((name, attribute, got.ok().map(|len| value[..len].to_vec())));
                    }
                }
            });
            all
        };
        assert_eq!(acls(&image), acls(&twin), "{args}");
        assert_eq!(image.kernel_tree(), twin.kernel_tree(), "{args}");
    }
}

#[test]
fn an_attribute_that_cannot_be_is_refused_and_changes_nothing() {
    let image = TestImage::new("-t ext4", 16_384, 0);
    image
        .edit(|tx| {
            tx.write("/f", "x")?;
            tx.symlink("f", "/l")
        })
        .expect("there is room");
    image.with_fs(|fs| {
        for (path, name, value, expected) in [
            ("/f", "user.", "x", "`user.`: neither a `user.`"),
            ("/f", "system.data", "x", "`system.data`: neither a `user.`"),
            ("/f", "system.posix_acl_access", "x", "`/f`: an ACL that is not one"),
            ("/f", "system.posix_acl_default", "x", "`/f`: only directories have a default ACL"),
            ("/l", "system.posix_acl_access", "x", "`/l`: a symbolic link has no ACL"),
            ("/l", "user.x", "x", "`/l`: only files and directories have `user.`"),
        ] {
            let mut tx = fs.begin(NOW).expect("clean");
            let error = tx.set_xattr(path, name, value).expect_err("it cannot be");
            assert!(error.to_string().starts_with(expected), "{error}");
            assert!(tx.finish().expect("readable").is_empty(), "{error}");
        }
        let mut tx = fs.begin(NOW).expect("clean");
        let error =
            tx.set_xattr("/f", "user.huge", vec![0; 70_000]).expect_err("no block takes it");
        assert!(matches!(&error, Error::NoSpace(what) if what.contains("ea_inode")), "{error}");
        assert!(tx.finish().expect("readable").is_empty());
    });
}

// setfacl -b takes away what may not be there.
#[test]
fn an_acl_that_is_not_there_can_be_taken_away() {
    let acls = ["system.posix_acl_access", "system.posix_acl_default"];
    let paths = ["/f", "/d", "/l", "/none"];
    let mut ops = vec![
        Op::Write("/f".to_owned(), 1, 10),
        Op::Dir("/d".to_owned()),
        Op::Symlink("f".to_owned(), "/l".to_owned()),
        Op::RemoveXattr("/f".to_owned(), "user.none".to_owned()),
    ];
    for path in paths {
        ops.extend(acls.map(|acl| Op::RemoveXattr(path.to_owned(), acl.to_owned())));
    }
    for args in ["-t ext4", "-t ext2 -b 1024 -I 128"] {
        compare(args, &TestImage::new(args, 16_384, 0), &ops);
    }
    // Version 2, no entries: neither an ACL to the kernel.
    let (image, empty) = (TestImage::new("-t ext4", 16_384, 0), [2, 0, 0, 0]);
    image.with_kernel(|root| {
        std::fs::write(root.join("f"), "").expect("room");
        for acl in acls {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::lsetxattr(root.join("f"), acl, &empty, flags).expect("it changes nothing");
        }
    });
    image.with_fs(|fs| {
        let mut tx = fs.begin(NOW).expect("clean");
        for acl in acls {
            tx.set_xattr("/f", acl, empty).expect("it changes nothing");
            tx.remove_xattr("/f", acl).expect("it changes nothing");
        }
        assert!(tx.finish().expect("readable").is_empty(), "not even the time of change");
    });
}
