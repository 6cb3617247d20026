//! Large, fragmented and labelled files; full file systems; an independent reader; what an edit costs.

use std::cell::Cell;
use std::io;

use imgfmt::ext::Fs;
use imgfmt::{Error, Image, Storage, Volume};

use crate::support::{NOW, TestImage, noise};

#[test]
fn a_file_reaches_the_third_level_of_block_numbers() {
    // 12 + 256 + 65536 blocks of 1 KiB are reached with two levels: 65804.
    let image = TestImage::new("-t ext2 -b 1024", 160_000, 0);
    let bytes: Vec<u8> = (0..66_000_u32).flat_map(|i| [i.to_le_bytes(); 256].concat()).collect();
    image.edit(|tx| tx.write("/large", &bytes)).expect("there is room");
    image.fsck();
    image.with_fs(|fs| assert!(fs.read_capped("/large", 1 << 27).expect("it is there") == bytes));
    let free = image.with_fs(|fs| fs.info().free_blocks);
    image.edit(|tx| tx.write("/large", "small")).expect("there is room");
    image.fsck();
    // 66000 of data; of numbers: 1, 1 + 256, and 1 + 1 + 1 for the last 196.
    assert_eq!(image.with_fs(|fs| fs.info().free_blocks), free + 66_000 + 1 + 257 + 3 - 1);
}

#[test]
fn an_extent_tree_grows_over_fragments() {
    let image = TestImage::new("-t ext4 -b 1024 -O ^has_journal", 12_288, 0);
    // The kernel leaves every other block free, and a file whose tree is deep.
    let blocks = image.with_fs(|fs| fs.info().free_blocks) - 300;
    image.with_kernel(|root| {
        let file = std::fs::File::create(root.join("holes")).expect("a file");
        io::Write::write_all(&mut &file, &noise(5, usize::try_from(blocks * 1024).expect("small")))
            .expect("room");
        file.sync_all().expect("written");
        for lblk in (0..blocks).step_by(2) {
            let flags =
                rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&file, flags, lblk * 1024, 1024).expect("a hole");
        }
    });
    let mut holes = noise(5, usize::try_from(blocks * 1024).expect("small"));
    holes.chunks_mut(1024).step_by(2).for_each(|block| block.fill(0));
    image.with_fs(|fs| assert!(fs.read("/holes").expect("the kernel made it") == holes));
    // 1500 fragments: 4 entries in the inode and 84 in a block make 336 with one level, so there are two.
    let bytes = noise(6, 1_500 * 1024);
    image.edit(|tx| tx.write("/new", &bytes)).expect("there is room");
    image.fsck();
    image.edit(|tx| tx.remove_file("/holes")).expect("it is there");
    image.fsck();
    image.with_fs(|fs| assert!(fs.read("/new").expect("it is there") == bytes));
    assert_eq!(image.kernel_tree(), image.tree());
    image.edit(|tx| tx.write("/new", "short")).expect("there is room");
    image.fsck();
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let image = TestImage::new("-t ext4 -b 1024 -N 16 -O ^has_journal", 2048, 0);
    image
        .edit(|tx| {
            tx.write("/kept", noise(1, 400_000))?;
            let error = tx.write("/kept", noise(2, 1_800_000)).expect_err("2 MiB are too few");
            assert!(matches!(error, Error::NoSpace(_)), "{error}");
            assert_eq!(tx.read("/kept")?, noise(1, 400_000));
            // Inodes 11 to 16: lost+found, /kept, and four more.
            let made: Vec<bool> = (0..6).map(|i| tx.write(format!("/{i}"), "").is_ok()).collect();
            assert_eq!(made, [true, true, true, true, false, false]);
            let error = tx.create_dir("/none").expect_err("no inode is left");
            assert_eq!(
                error.to_string(),
                "no space left in the file system of the image: no free inode"
            );
            Ok(())
        })
        .expect("what fitted is there");
    image.fsck();
    assert_eq!(image.kernel_tree(), image.tree());
}

#[test]
fn a_block_freed_in_an_edit_is_not_used_again_in_it() {
    let image = TestImage::new("-t ext4 -b 1024 -O ^has_journal", 2048, 0);
    image.edit(|tx| tx.write("/old", noise(1, 900_000))).expect("there is room");
    let before = image.bytes();
    image
        .edit(|tx| {
            tx.remove_file("/old")?;
            let error = tx.write("/new", noise(2, 1_200_000)).expect_err("only after the edit");
            assert!(matches!(error, Error::NoSpace(_)), "{error}");
            tx.write("/new", noise(2, 500_000))
        })
        .expect("there is room beside the old one");
    image.fsck();
    let after = image.bytes();
    let old = noise(1, 900_000);
    for block in old.chunks_exact(1024) {
        let at = before.chunks_exact(1024).position(|b| b == block).expect("it was there");
        assert!(&after[at * 1024..(at + 1) * 1024] == block, "block {at} was overwritten");
    }
}

#[test]
fn a_new_file_takes_the_label_of_its_directory() {
    for args in ["-t ext4", "-t ext3 -b 1024 -I 128"] {
        let image = TestImage::new(args, 16_384, 0);
        let label = "system_u:object_r:etc_t:s0\0";
        image.with_kernel(|root| {
            let etc = root.join("etc");
            std::fs::create_dir(&etc).expect("a directory");
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::lsetxattr(&etc, "security.selinux", label.as_bytes(), flags)
                .expect("root may");
        });
        image
            .edit(|tx| {
                tx.write("/etc/fstab", "x")?;
                tx.create_dir("/etc/dir")?;
                tx.symlink("fstab", "/etc/link")?;
                tx.write("/etc/dir/gone", "x")?;
                tx.remove_file("/etc/dir/gone")
            })
            .expect(args);
        image.fsck();
        let tree = image.kernel_tree();
        assert_eq!(tree, image.tree(), "{args}");
        for path in ["/etc", "/etc/fstab", "/etc/dir", "/etc/link"] {
            assert!(
                tree[path].ends_with(&format!(" security.selinux={label}")),
                "{args}: {}",
                tree[path]
            );
        }
        // The kernel shares blocks of attributes; one file of two goes.
        image.with_kernel(|root| {
            for name in ["a", "b"] {
                let path = root.join(name);
                std::fs::write(&path, name).expect("a file");
                let flags = rustix::fs::XattrFlags::empty();
                rustix::fs::lsetxattr(&path, "user.long", &noise(9, 300), flags).expect("root may");
            }
        });
        image.edit(|tx| tx.remove_file("/a")).expect(args);
        image.fsck();
        image.with_fs(|fs| assert_eq!(fs.xattrs("/b").expect(args)[0].value, noise(9, 300)));
        image.edit(|tx| tx.remove_file("/b")).expect(args);
        image.fsck();
    }
}

#[test]
fn an_independent_reader_sees_the_same() {
    for args in ["-t ext2 -b 1024 -I 128", "-t ext3", "-t ext4", "-t ext4 -b 1024 -N 2048"] {
        let image = TestImage::new(args, 32_768, 0);
        image
            .edit(|tx| {
                tx.create_dir_all("/etc/xenjobs.d")?;
                tx.write("/etc/xenjobs.d/10-job", noise(1, 123_456))?;
                tx.symlink("xenjobs.d/10-job", "/etc/job")?;
                (0..400).try_for_each(|i| {
                    tx.write(format!("/etc/a-rather-long-name-{i}"), noise(i, 20))
                })
            })
            .expect(args);
        let view = ext4_view::Ext4::load(Box::new(image.bytes())).expect(args);
        assert_eq!(view.read("/etc/job").expect(args), noise(1, 123_456));
        for i in 0..400 {
            let path = format!("/etc/a-rather-long-name-{i}");
            assert_eq!(view.read(path.as_str()).expect(args), noise(i, 20));
        }
        assert_eq!(view.read_dir("/etc").expect(args).count(), 404, "two more are `.` and `..`");
    }
}

struct Counted<'a> {
    image: &'a Image,
    bytes: Cell<u64>,
}

impl Storage for Counted<'_> {
    fn len(&self) -> u64 {
        self.image.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.bytes.set(self.bytes.get() + buf.len() as u64);
        self.image.read_at(offset, buf)
    }
}

#[test]
fn an_edit_reads_no_more_of_a_large_volume_than_of_a_small_one() {
    let mut costs = Vec::new();
    // 64 MiB and 1 TiB, nearly all of it holes.
    for kib in [1 << 16, 1 << 30] {
        let test = TestImage::new("-t ext4 -b 4096 -O ^has_journal -E lazy_itable_init=1", kib, 0);
        let image = Image::open(&test.path()).expect("an image");
        let counted = Counted { image: &image, bytes: Cell::new(0) };
        let fs = Fs::open(Volume::whole(&counted)).expect("a file system");
        assert_eq!(counted.bytes.get(), 1024, "the superblock alone");
        let mut tx = fs.begin(NOW).expect("clean");
        tx.create_dir("/etc").expect("there is room");
        tx.write("/etc/fstab", "x").expect("there is room");
        let changes = tx.finish().expect("readable");
        costs.push((counted.bytes.get(), changes.len()));
    }
    assert_eq!(costs[0], costs[1]);
}

/// Version 1; owner rwx, user 1000 rwx, group r-x, mask rwx, other r-x: as the kernel takes it, version 2.
fn kernel_acl() -> Vec<u8> {
    let entry = |tag: u16, perm: u16, id: u32| {
        [&tag.to_le_bytes()[..], &perm.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let entries = [
        entry(0x01, 7, u32::MAX),
        entry(0x02, 7, 1000),
        entry(0x04, 5, u32::MAX),
        entry(0x10, 7, u32::MAX),
        entry(0x20, 5, u32::MAX),
    ];
    [2_u32.to_le_bytes().to_vec(), entries.concat()].concat()
}

#[test]
fn a_default_acl_is_inherited_as_the_kernel_does_it() {
    for args in ["-t ext4", "-t ext3 -b 1024 -I 128"] {
        let image = TestImage::new(args, 16_384, 0);
        image.with_kernel(|root| {
            for dir in ["ours", "theirs"] {
                let dir = root.join(dir);
                std::fs::create_dir(&dir).expect("a directory");
                let flags = rustix::fs::XattrFlags::empty();
                rustix::fs::lsetxattr(&dir, "system.posix_acl_default", &kernel_acl(), flags)
                    .expect("ACLs are on by default");
            }
            use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
            let dir = root.join("theirs");
            std::fs::OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o644)
                .open(dir.join("file"))
                .expect("a file");
            std::fs::DirBuilder::new().mode(0o755).create(dir.join("dir")).expect("a directory");
            std::fs::write(dir.join("shared"), "").expect("a file");
            std::fs::set_permissions(dir.join("shared"), PermissionsExt::from_mode(0o644))
                .expect("a mode");
            std::fs::write(dir.join("mode"), "").expect("a file");
            std::fs::set_permissions(dir.join("mode"), PermissionsExt::from_mode(0o741))
                .expect("a mode");
        });
        image
            .edit(|tx| {
                tx.write("/ours/file", "")?;
                tx.create_dir("/ours/dir")?;
                tx.write("/ours/shared", "")?;
                tx.write("/ours/mode", "")?;
                tx.set_mode("/ours/mode", 0o741)
            })
            .expect(args);
        image.fsck();
        image.with_fs(|fs| {
            for name in ["file", "dir", "shared", "mode"] {
                let (ours, theirs) = (format!("/ours/{name}"), format!("/theirs/{name}"));
                let mode = |path: &str| fs.metadata(path).expect(args).mode;
                assert_eq!(mode(&ours), mode(&theirs), "{args}: {name}");
                let acls = |path: &str| {
                    let mut all = fs.xattrs(path).expect(args);
                    all.sort_by(|a, b| a.name.cmp(&b.name));
                    all
                };
                assert_eq!(acls(&ours), acls(&theirs), "{args}: {name}");
            }
            assert_eq!(fs.xattrs("/ours/file").expect(args).len(), 1, "{args}");
        });
        // Now on what the kernel made, whose blocks of attributes are shared.
        image.edit(|tx| tx.set_mode("/theirs/file", 0o600)).expect(args);
        image.fsck();
        image.with_fs(|fs| {
            assert_eq!(
                fs.xattrs("/theirs/shared").expect(args),
                fs.xattrs("/ours/shared").expect(args)
            );
            // The mask, behind owner, user and group: 4 + 4 + 8 + 4 bytes, and two of tag.
            assert_eq!(fs.xattrs("/theirs/file").expect(args)[0].value[22], 0, "{args}");
        });
    }
}

#[test]
fn each_misuse_has_its_error_and_no_effect() {
    let image = TestImage::new("-t ext4 -b 1024", 8_192, 0);
    image
        .edit(|tx| {
            tx.create_dir("/dir")?;
            tx.write("/file", "x")?;
            let error = tx.remove_dir("/file").expect_err("not a directory");
            assert!(matches!(error, Error::NotADirectory(_)), "{error}");
            let error = tx.remove_file("/dir").expect_err("a directory");
            assert!(matches!(error, Error::IsADirectory(_)), "{error}");
            let error = tx.write("/dir", "x").expect_err("a directory");
            assert!(matches!(error, Error::IsADirectory(_)), "{error}");
            let error = tx.write("/file/below", "x").expect_err("not a directory");
            assert!(matches!(error, Error::NotADirectory(_)), "{error}");
            let error = tx.write("/missing/below", "x").expect_err("not there");
            assert!(matches!(error, Error::NotFound(_)), "{error}");
            let error = tx.remove_dir("/").expect_err("the root");
            assert!(matches!(error, Error::WrongKind { .. }), "{error}");
            let error = tx.write(format!("/{}", "n".repeat(256)), "x").expect_err("too long");
            assert!(matches!(error, Error::InvalidPath { .. }), "{error}");
            Ok(())
        })
        .expect("nothing else fails");
    image.fsck();
}
