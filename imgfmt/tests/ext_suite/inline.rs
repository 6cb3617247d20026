//! Files and directories in their inodes (`inline_data`): the kernel and `e2fsck` take them for their own.

use imgfmt::Volume;
use imgfmt::ext::Fs;

use crate::random::{Model, check, step};
use crate::support::{NOW, Random, TestImage, noise, run_ok};

/// `mke2fs` arguments; inodes of 256 bytes have room for 128 of content, those of 1 KiB for 896.
const KINDS: &[&str] = &[
    "-t ext4 -b 1024 -O inline_data",
    "-t ext4 -b 4096 -O inline_data",
    "-t ext4 -b 1024 -O inline_data,^metadata_csum",
    "-t ext4 -b 1024 -I 1024 -O inline_data",
    "-t ext4 -b 1024 -O inline_data,^extents,^64bit,^has_journal",
    "-t ext4 -b 65536 -I 512 -O inline_data",
];

fn kib(args: &str) -> u64 {
    if args.contains("65536") { 131_072 } else { 16_384 }
}

/// The kernel here has pages of 4 KiB, and mounts nothing with blocks above that without more than it is asked for.
fn is_mountable(args: &str) -> bool {
    !args.contains("65536")
}

fn agree(image: &TestImage, args: &str) {
    image.fsck();
    if is_mountable(args) {
        assert_eq!(image.kernel_tree(), image.tree(), "{args}");
    }
}

/// What `debugfs` says of an inode's shape: flags, length, blocks, attributes, room.
fn shape(image: &TestImage, path: &str) -> Vec<String> {
    let image = image.path();
    let text = run_ok("debugfs", &["-R", &format!("stat {path}"), image.to_str().expect("plain")]);
    let field = |name: &str| {
        let (_, rest) = text.split_once(name)?;
        Some(format!("{name} {}", rest.split_whitespace().next().unwrap_or_default()))
    };
    let data = text.lines().map(str::trim).filter(|line| line.starts_with("system.data"));
    let fields = ["Flags:", "Size:", "Blockcount:", "Links:", "Size of inline data:"];
    fields.into_iter().filter_map(field).chain(data.map(str::to_owned)).collect()
}

#[test]
fn a_new_file_lies_where_the_kernel_would_put_it() {
    for args in KINDS.iter().filter(|args| is_mountable(args)) {
        let image = TestImage::new(args, kib(args), 0);
        let lens = [0, 1, 59, 60, 61, 64, 127, 128, 129, 895, 896, 897, 5000];
        image.with_kernel(|root| {
            std::fs::create_dir(root.join("theirs")).expect("a directory");
            for len in lens {
                // In one write, as the kernel converts what grows.
                std::fs::write(root.join(format!("theirs/{len}")), noise(1, len)).expect("a file");
            }
        });
        image
            .edit(|tx| {
                tx.create_dir("/ours")?;
                lens.into_iter().try_for_each(|len| tx.write(format!("/ours/{len}"), noise(1, len)))
            })
            .expect(args);
        agree(&image, args);
        for len in lens {
            // The kernel takes up to 128 bytes by a first write of that length where it has room for more than 60.
            let (ours, theirs) =
                (shape(&image, &format!("/ours/{len}")), shape(&image, &format!("/theirs/{len}")));
            assert_eq!(ours, theirs, "{args}: {len} bytes");
        }
        assert_eq!(shape(&image, "/ours"), shape(&image, "/theirs"), "{args}");
    }
}

#[test]
fn content_moves_out_of_the_inode_and_back() {
    for args in KINDS {
        let image = TestImage::new(args, kib(args), 0);
        image.edit(|tx| tx.write("/file", noise(1, 100))).expect(args);
        let mut last = 100;
        for len in [5, 300_000, 60, 0, 128, 1_000_000, 1, 61, 2000, 0] {
            image.edit(|tx| tx.write("/file", noise(len, len as usize))).expect(args);
            agree(&image, args);
            image.with_fs(|fs| {
                let content = fs.read("/file").expect(args);
                assert_eq!(content, noise(len, len as usize), "{args}: {last} to {len}");
            });
            last = len;
        }
        image.edit(|tx| tx.write("/file", "x").and_then(|()| tx.remove_file("/file"))).expect(args);
        agree(&image, args);
    }
}

#[test]
fn a_directory_outgrows_its_inode_and_keeps_its_names() {
    for args in KINDS {
        let image = TestImage::new(args, kib(args), 0);
        let name = |i: usize| format!("/dir/{i}-{}", "n".repeat(i * 7 % 40));
        image.edit(|tx| tx.create_dir("/dir")).expect(args);
        let mut was_inline = true;
        for i in 0..30 {
            image
                .edit(|tx| match i % 3 {
                    0 => tx.create_dir(name(i)),
                    1 => tx.write(name(i), noise(1, i * 4)),
                    _ => tx.symlink("target", name(i)),
                })
                .expect(args);
            let is_inline =
                shape(&image, "/dir").iter().any(|line| line.starts_with("system.data"));
            // Judged when it is young, and when it moves.
            if i < 6 || was_inline != is_inline {
                agree(&image, args);
            }
            was_inline = is_inline;
        }
        assert!(!was_inline, "{args}");
        agree(&image, args);
        image
            .edit(|tx| {
                (0..30).try_for_each(|i| match i % 3 {
                    0 => tx.remove_dir(name(i)),
                    _ => tx.remove_file(name(i)),
                })?;
                tx.remove_dir("/dir")
            })
            .expect(args);
        agree(&image, args);
    }
}

#[test]
fn names_come_and_go_in_both_halves_of_an_inline_directory() {
    for args in KINDS {
        let image = TestImage::new(args, kib(args), 0);
        // 24 + 24 bytes in i_block, the third name in `system.data`.
        let names = ["/dir/aaaaaaaaaaaaaa", "/dir/bbbbbbbbbbbbbb", "/dir/cccccccccccccc"];
        image
            .edit(|tx| {
                tx.create_dir("/dir")?;
                names.iter().try_for_each(|name| tx.write(name, "x"))
            })
            .expect(args);
        for gone in 0..3 {
            let twin = image.twin();
            twin.edit(|tx| tx.remove_file(names[gone])).expect(args);
            agree(&twin, args);
            twin.edit(|tx| tx.write("/dir/dddddddddddddd", "y")).expect(args);
            agree(&twin, args);
            twin.edit(|tx| {
                tx.remove_file(names[(gone + 1) % 3])?;
                tx.remove_file(names[(gone + 2) % 3])?;
                tx.remove_file("/dir/dddddddddddddd")?;
                tx.remove_dir("/dir")
            })
            .expect(args);
            agree(&twin, args);
        }
    }
}

#[test]
fn what_the_kernel_put_into_inodes_is_edited_and_the_other_way_round() {
    for args in KINDS.iter().filter(|args| is_mountable(args)) {
        let image = TestImage::new(args, kib(args), 0);
        image.with_kernel(|root| {
            for dir in ["small", "large", "gone"] {
                std::fs::create_dir(root.join(dir)).expect("a directory");
            }
            std::fs::write(root.join("small/file"), noise(1, 90)).expect("a file");
            std::fs::write(root.join("gone/file"), noise(2, 90)).expect("a file");
            for i in 0..60 {
                std::fs::write(root.join(format!("large/{i}")), noise(i, 20)).expect("a file");
            }
        });
        image
            .edit(|tx| {
                tx.write("/small/file", noise(3, 30))?;
                (0..40).try_for_each(|i| tx.write(format!("/small/name-{i}"), noise(i, 70)))?;
                tx.write("/large/3", noise(4, 100_000))?;
                tx.remove_file("/large/4")?;
                tx.remove_file("/gone/file")?;
                tx.remove_dir("/gone")?;
                tx.create_dir("/ours")?;
                tx.write("/ours/grows", noise(5, 50))
            })
            .expect(args);
        agree(&image, args);
        image.with_kernel(|root| {
            use std::io::Write;
            let mut file = std::fs::File::options().append(true).open(root.join("ours/grows"));
            file.as_mut().expect("ours").write_all(&noise(6, 3_000)).expect("the kernel appends");
            for i in 0..40 {
                std::fs::write(root.join(format!("ours/{i}")), "kernel").expect("a file");
                std::fs::remove_file(root.join(format!("small/name-{i}"))).expect("ours");
            }
        });
        agree(&image, args);
    }
}

/// Version 1 of ext: owner rwx, user 1000 rwx, group r-x, mask rwx, other r-x, as the kernel takes it (version 2).
fn default_acl() -> Vec<u8> {
    let entry = |tag: u16, perm: u16, id: u32| {
        [&tag.to_le_bytes()[..], &perm.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let ids =
        [(1, 7, u32::MAX), (2, 7, 1000), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 5, u32::MAX)];
    let entries: Vec<u8> =
        ids.into_iter().flat_map(|(tag, perm, id)| entry(tag, perm, id)).collect();
    [2_u32.to_le_bytes().to_vec(), entries].concat()
}

#[test]
fn inherited_attributes_and_content_share_an_inode() {
    for args in KINDS.iter().filter(|args| is_mountable(args)) {
        let image = TestImage::new(args, kib(args), 0);
        image.with_kernel(|root| {
            let dir = root.join("dir");
            std::fs::create_dir(&dir).expect("a directory");
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::lsetxattr(&dir, "system.posix_acl_default", &default_acl(), flags)
                .expect("ACLs are on by default");
            rustix::fs::lsetxattr(&dir, "security.selinux", b"system_u:object_r:etc_t:s0\0", flags)
                .expect("labels are kept");
        });
        image
            .edit(|tx| {
                for len in [0, 30, 60, 61, 90, 128, 700] {
                    tx.write(format!("/dir/{len}"), noise(1, len))?;
                    tx.set_mode(format!("/dir/{len}"), 0o751)?;
                }
                tx.create_dir_all("/dir/sub/sub")?;
                (0..20).try_for_each(|i| tx.write(format!("/dir/sub/{i}"), "x"))
            })
            .expect(args);
        agree(&image, args);
        let names = |fs: &Fs<'_>, path: &str| -> Vec<String> {
            let all = fs.xattrs(path).expect(args).into_iter();
            all.map(|xattr| xattr.name.to_string_lossy().into_owned()).collect()
        };
        image.with_fs(|fs| {
            let file = ["system.posix_acl_access", "security.selinux"];
            assert_eq!(names(fs, "/dir/60"), file, "{args}");
            assert_eq!(names(fs, "/dir/700"), file, "{args}");
            let dir = ["system.posix_acl_access", "system.posix_acl_default", "security.selinux"];
            assert_eq!(names(fs, "/dir/sub/sub"), dir, "{args}");
        });
        image
            .edit(|tx| tx.write("/dir/700", "short").and_then(|()| tx.remove_file("/dir/30")))
            .expect(args);
        agree(&image, args);
    }
}

#[test]
fn a_directory_takes_the_room_that_an_attribute_leaves() {
    for args in &KINDS[..3] {
        let image = TestImage::new(args, kib(args), 0);
        let flags = rustix::fs::XattrFlags::empty();
        image.with_kernel(|root| {
            std::fs::create_dir(root.join("dir")).expect("a directory");
            rustix::fs::lsetxattr(root.join("dir"), "user.note", b"twenty bytes of text", flags)
                .expect("there is room");
            // 24 bytes each: two in i_block, and the third in `system.data`, which then takes all that is left.
            for i in 0..3 {
                std::fs::write(root.join(format!("dir/name-number-{i}")), "").expect("a file");
            }
            rustix::fs::removexattr(root.join("dir"), "user.note").expect("it is there");
        });
        // 128 less an entry of 20 and a value of 20.
        assert!(shape(&image, "/dir").contains(&"Size: 88".to_owned()), "{args}");
        image.edit(|tx| tx.write("/dir/name-number-3", "")).expect(args);
        assert!(shape(&image, "/dir").contains(&"Size: 128".to_owned()), "{args}");
        agree(&image, args);
    }
}

#[test]
fn damaged_inline_inodes_are_errors_and_never_panics() {
    let args = "-t ext4 -b 1024 -I 256 -N 64 -O inline_data,^has_journal,^metadata_csum";
    let image = TestImage::new(args, 1_024, 0);
    image
        .edit(|tx| {
            tx.create_dir_all("/dir/below")?;
            tx.write("/dir/file", noise(1, 120))?;
            tx.write("/dir/name-of-some-length", "")?;
            tx.write("/dir/another-name-of-some-length", "")
        })
        .expect("sound");
    image.fsck();
    let sound = image.bytes();
    // Inodes 12 and on, in the order of creation: the directories and the files.
    let first = inode_offset(&image, "/dir");
    assert_eq!(inode_offset(&image, "/dir/file"), first + 512);
    let mut random = Random(9);
    for _ in 0..6_000 {
        let mut lie = sound.clone();
        for _ in 0..1 + random.below(3) {
            let at = first + usize::try_from(random.below(4 * 256)).expect("small");
            lie[at] = match random.below(4) {
                0 => 0xFF,
                1 => 0,
                2 => lie[at] ^ 1 << random.below(8),
                _ => random.next().to_le_bytes()[0],
            };
        }
        let Ok(fs) = Fs::open(Volume::whole(&lie)) else { continue };
        let mut tx = fs.begin(NOW).expect("the superblock is sound");
        let _ = tx.remove_file("/dir/name-of-some-length");
        let _ = tx.write("/dir/file", noise(2, 90));
        let _ = tx.write("/dir/file", noise(2, 900));
        let _ = tx.set_mode("/dir/file", 0o600);
        for i in 0..5 {
            let _ = tx.write(format!("/dir/name-number-{i}"), noise(3, i * 40));
        }
        let _ = tx.remove_dir("/dir/below");
        let _ = tx.read_dir("/dir");
        let _ = tx.finish();
    }
}

/// Where `debugfs` finds the inode of a path, in bytes.
fn inode_offset(image: &TestImage, path: &str) -> usize {
    let image = image.path();
    let text = run_ok("debugfs", &["-R", &format!("imap {path}"), image.to_str().expect("plain")]);
    // "Inode 13 is part of block group 0\n\tlocated at block 5, offset 0x0600"
    let (_, place) = text.split_once("located at block ").expect("a place");
    let (block, offset) = place.trim().split_once(", offset 0x").expect("a place");
    let block: usize = block.parse().expect("a number");
    block * 1024 + usize::from_str_radix(offset, 16).expect("a number")
}

#[test]
fn long_links_in_inodes_are_read_and_removed() {
    let from = tempfile::tempdir().expect("a directory");
    for len in [59, 60, 61, 100, 128, 500] {
        let target = "t".repeat(len);
        std::os::unix::fs::symlink(target, from.path().join(format!("{len}"))).expect("a link");
    }
    for args in KINDS {
        let image = TestImage::populated(args, kib(args), 0, from.path());
        let is_inline = shape(&image, "/100").iter().any(|line| line.starts_with("system.data"));
        assert!(is_inline, "{args}");
        agree(&image, args);
        image
            .edit(|tx| {
                [59, 60, 100, 500].into_iter().try_for_each(|i| tx.remove_file(format!("/{i}")))?;
                tx.symlink("t".repeat(100), "/again")
            })
            .expect(args);
        agree(&image, args);
    }
}

#[test]
fn a_file_of_holes_that_mke2fs_put_into_its_inode_is_zeros() {
    let from = tempfile::tempdir().expect("a directory");
    let file = std::fs::File::create(from.path().join("hole")).expect("a file");
    file.set_len(300_000).expect("a hole");
    for args in KINDS {
        let image = TestImage::populated(args, kib(args), 0, from.path());
        let shape = shape(&image, "/hole");
        assert!(shape.contains(&"Flags: 0x10000000".to_owned()), "{args}: {shape:?}");
        agree(&image, args);
        image.with_fs(|fs| assert!(fs.read("/hole").expect(args) == vec![0; 300_000], "{args}"));
        image.edit(|tx| tx.write("/hole", noise(1, 100))).expect(args);
        agree(&image, args);
    }
}

#[test]
fn an_inline_directory_on_a_full_disk_stays_as_it_was() {
    let args = "-t ext4 -b 1024 -O inline_data,^has_journal -N 64";
    let image = TestImage::new(args, 512, 0);
    let mut before = None;
    image
        .edit(|tx| {
            tx.create_dir("/dir")?;
            for len in [200_000, 20_000, 5_000, 1_024] {
                let mut i = 0;
                while tx.write(format!("/fill-{len}-{i}"), noise(1, len)).is_ok() {
                    i += 1;
                }
            }
            let names: Vec<String> = (0..9).map(|i| format!("/dir/name-number-{i}")).collect();
            let refused = names.iter().position(|name| tx.write(name, "").is_err());
            // Three entries of 24 bytes fit 56 + 68 at 2 + 2.
            assert_eq!(refused, Some(4));
            before = Some(tx.read_dir("/dir")?);
            Ok(())
        })
        .expect("only what is caught fails");
    agree(&image, args);
    image.with_fs(|fs| assert_eq!(fs.read_dir("/dir").ok(), before));
}

#[test]
fn random_operations_on_small_files_end_as_a_model_does() {
    for (seed, args) in (1..).zip(KINDS) {
        let image = TestImage::new(args, kib(args), 0);
        let (mut random, mut model) = (Random(seed), Model::new());
        for _ in 0..6 {
            let operations = 30 + random.below(80);
            image
                .edit(|tx| {
                    (0..operations).for_each(|_| step(&mut random, tx, &mut model, 400));
                    Ok(())
                })
                .expect(args);
            agree(&image, args);
            image.with_fs(|fs| check(fs, &model));
        }
        assert!(model.len() > 20, "{args}: {}", model.len());
    }
}

#[test]
fn attributes_come_and_go_beside_inline_content() {
    for args in KINDS.iter().filter(|args| is_mountable(args)) {
        let image = TestImage::new(args, kib(args), 0);
        image
            .edit(|tx| {
                tx.create_dir_all("/dir/sub")?;
                (0..3).try_for_each(|i| tx.write(format!("/dir/name-number-{i}"), noise(i, 100)))
            })
            .expect(args);
        for path in ["/dir", "/dir/sub", "/dir/name-number-1"] {
            // The second fits neither beside content of 128 bytes nor, in small inodes, without it.
            for len in [4, 300, 20, 0] {
                let value = noise(7, len).iter().map(|byte| b'a' + byte % 26).collect::<Vec<_>>();
                image
                    .edit(|tx| {
                        tx.set_xattr(path, "user.first", &value)?;
                        tx.set_xattr(path, "user.second", "x")
                    })
                    .expect(args);
                agree(&image, args);
                image.edit(|tx| tx.remove_xattr(path, "user.second")).expect(args);
                agree(&image, args);
            }
        }
        image
            .edit(|tx| {
                tx.remove_xattr("/dir", "user.first")?;
                (3..9).try_for_each(|i| tx.write(format!("/dir/name-number-{i}"), noise(i, 60)))?;
                tx.write("/dir/name-number-1", noise(9, 125))
            })
            .expect(args);
        agree(&image, args);
    }
}

#[test]
fn inline_files_grow_and_shrink_and_inline_directories_move() {
    for args in KINDS {
        let image = TestImage::new(args, kib(args), 0);
        let mut content = Vec::new();
        image.edit(|tx| tx.write("/file", "")).expect(args);
        for len in [10, 49, 1, 1, 67, 300, 5_000] {
            let more = noise(len, len as usize);
            image.edit(|tx| tx.append("/file", &more)).expect(args);
            content.extend(more);
            agree(&image, args);
            image.with_fs(|fs| assert!(fs.read("/file").expect(args) == content, "{args}: {len}"));
        }
        image.edit(|tx| tx.write("/file", noise(1, 100))).expect(args);
        let mut content = noise(1, 100);
        for len in [61, 60, 20, 120, 1_000, 0, 9_000, 5] {
            image.edit(|tx| tx.truncate("/file", len as u64)).expect(args);
            content.resize(len, 0);
            agree(&image, args);
            image.with_fs(|fs| assert!(fs.read("/file").expect(args) == content, "{args}: {len}"));
        }
        image
            .edit(|tx| {
                tx.create_dir_all("/a/inner")?;
                tx.create_dir("/b")?;
                tx.write("/a/inner/file", "x")?;
                tx.rename("/a/inner", "/b/moved")?;
                tx.rename("/b/moved/file", "/a/file")
            })
            .expect(args);
        agree(&image, args);
        image
            .edit(|tx| tx.remove_dir_all("/b").and_then(|()| tx.remove_dir_all("/a")))
            .expect(args);
        agree(&image, args);
    }
}

#[test]
fn a_file_of_holes_in_its_inode_takes_more() {
    let from = tempfile::tempdir().expect("a directory");
    let file = std::fs::File::create(from.path().join("hole")).expect("a file");
    file.set_len(300_000).expect("a hole");
    for args in KINDS {
        let image = TestImage::populated(args, kib(args), 0, from.path());
        let twin = image.twin();
        image.edit(|tx| tx.append("/hole", "end")).expect(args);
        agree(&image, args);
        let zeros = vec![0; 300_000];
        let content = [&zeros[..], b"end"].concat();
        image.with_fs(|fs| assert!(fs.read("/hole").expect(args) == content, "{args}"));
        twin.edit(|tx| tx.truncate("/hole", 200_000)).expect(args);
        agree(&twin, args);
        twin.with_fs(|fs| assert!(fs.read("/hole").expect(args) == zeros[..200_000], "{args}"));
    }
}
