//! Edits of file systems of every kind: `e2fsck` finds nothing, and the kernel sees the edit and nothing else.

use imgfmt::Result;
use imgfmt::ext::Transaction;

use crate::support::{TestImage, noise};

/// (name, `mke2fs` arguments, KiB, bytes before the file system)
pub(crate) const KINDS: &[(&str, &str, u64, u64)] = &[
    ("ext2", "-t ext2", 16384, 0),
    ("ext3", "-t ext3", 16384, 0),
    ("ext4", "-t ext4", 16384, 0),
    ("ext4 in a partition", "-t ext4", 16384, 1 << 20),
    ("ext4, 1 KiB blocks", "-t ext4 -b 1024", 16384, 0),
    ("ext4, 2 KiB blocks", "-t ext4 -b 2048", 16384, 0),
    ("ext4, 4 KiB blocks", "-t ext4 -b 4096", 65536, 0),
    (
        "ext4 of 2006",
        "-t ext3 -I 128 -O ^extents,^64bit,^metadata_csum,^flex_bg,^huge_file,^extra_isize,^dir_nlink",
        16384,
        1 << 20,
    ),
    ("ext2, revision 0", "-t ext2 -r 0 -O none -b 1024", 8192, 0),
    ("ext2, no filetype", "-t ext2 -I 128 -O none -b 1024", 8192, 0),
    ("ext3, 1 KiB blocks, 128-byte inodes", "-t ext3 -b 1024 -I 128 -O ^dir_index", 16384, 0),
    ("ext4, 128-byte inodes", "-t ext4 -I 128", 16384, 0),
    ("ext4, 1 KiB inodes", "-t ext4 -I 1024", 16384, 0),
    ("ext4, no 64bit", "-t ext4 -O ^64bit", 16384, 0),
    ("ext4, no checksums", "-t ext4 -O ^metadata_csum", 16384, 0),
    ("ext4, uninit_bg", "-t ext4 -O ^metadata_csum,uninit_bg -b 1024", 65536, 0),
    ("ext4, csum seed and orphan file", "-t ext4 -O metadata_csum_seed,orphan_file", 16384, 0),
    ("ext4, meta_bg", "-t ext4 -b 1024 -O meta_bg,^resize_inode", 65536, 0),
    ("ext4, sparse_super2", "-t ext4 -b 1024 -O sparse_super2,^resize_inode", 65536, 0),
    ("ext4, no flex_bg", "-t ext4 -b 1024 -O ^flex_bg", 65536, 0),
    ("ext4, no journal", "-t ext4 -b 1024 -O ^has_journal", 65536, 0),
    ("ext4, indirect blocks", "-t ext4 -O ^extent,^64bit,^bigalloc", 16384, 0),
    ("ext4, small groups", "-t ext4 -b 1024 -g 1024 -N 2048", 16384, 0),
    ("ext4, fast_commit", "-t ext4 -O fast_commit", 65536, 0),
    ("ext4, large_dir", "-t ext4 -O large_dir -b 1024", 16384, 0),
    ("ext4, 16 KiB blocks", "-t ext4 -b 16384", 65536, 0),
    ("ext4, 64 KiB blocks", "-t ext4 -b 65536", 131_072, 0),
    ("ext3, 64 KiB blocks", "-t ext3 -b 65536", 131_072, 0),
];

/// What a preparation does.
fn job(tx: &mut Transaction<'_>) -> Result<()> {
    tx.create_dir_all("/etc/xenjobs.d")?;
    tx.write("/etc/fstab", "/dev/xvda1 / ext4 defaults 0 1\n")?;
    tx.write("/etc/xenjobs.d/10-job", noise(1, 300_000))?;
    tx.set_mode("/etc/xenjobs.d/10-job", 0o755)?;
    tx.write("/etc/empty", "")?;
    tx.symlink("../etc/fstab", "/etc/link")?;
    tx.symlink(format!("/{}", "long/".repeat(40)), "/etc/long")?;
    tx.write("/etc/link", "through the link\n")?;
    tx.set_owner("/etc/fstab", 70_000, 1)
}

#[test]
fn a_job_fits_every_kind_and_nothing_complains() {
    for &(name, args, kib, start) in KINDS {
        let image = TestImage::new(args, kib, start);
        image.edit(job).unwrap_or_else(|e| panic!("{name}: {e}"));
        image.fsck();
        image.with_fs(|fs| {
            assert_eq!(fs.read("/etc/fstab").expect(name), b"through the link\n");
            assert_eq!(fs.read("/etc/xenjobs.d/10-job").expect(name), noise(1, 300_000));
            let fstab = fs.metadata("/etc/link").expect(name);
            assert_eq!((fstab.mode, fstab.uid, fstab.gid), (0o644, 70_000, 1), "{name}");
        });
        image
            .edit(|tx| {
                tx.write("/etc/xenjobs.d/10-job", "short")?;
                tx.remove_file("/etc/long")?;
                tx.remove_file("/etc/empty")?;
                tx.write("/again", noise(2, 100_000))?;
                tx.remove_file("/again")
            })
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        image.fsck();
        if !args.contains("65536") && !args.contains("16384") {
            assert_eq!(image.kernel_tree(), image.tree(), "{name}");
        }
    }
}

#[test]
fn the_kernel_sees_the_edit_and_nothing_else() {
    let from = tempfile::tempdir().expect("a directory");
    let at = |name: &str| from.path().join(name);
    for dir in ["etc", "usr", "usr/bin", "srv"] {
        std::fs::create_dir(at(dir)).expect("a directory");
    }
    for (name, len) in [("etc/fstab", 500), ("usr/bin/big", 3_000_000), ("srv/empty", 0)] {
        std::fs::write(at(name), noise(len, usize::try_from(len).expect("small"))).expect("a file");
    }
    std::os::unix::fs::symlink("/srv", at("etc/absolute")).expect("a link");
    for args in ["-t ext2 -b 1024 -I 128", "-t ext3", "-t ext4", "-t ext4 -b 1024"] {
        let image = TestImage::populated(args, 32768, 1 << 20, from.path());
        image.with_kernel(|root| {
            rustix::fs::lsetxattr(
                root.join("etc/fstab"),
                "user.note",
                b"kept",
                rustix::fs::XattrFlags::empty(),
            )
            .expect("an attribute");
            std::fs::hard_link(root.join("etc/fstab"), root.join("etc/fstab.hard"))
                .expect("a link");
        });
        let before = image.kernel_tree();
        assert_eq!(before, image.tree(), "{args}");
        image
            .edit(|tx| {
                tx.write("/etc/fstab", "new\n")?;
                tx.write("/etc/absolute/job", noise(7, 70_000))?;
                tx.remove_file("/usr/bin/big")
            })
            .unwrap_or_else(|e| panic!("{args}: {e}"));
        image.fsck();
        let after = image.kernel_tree();
        assert_eq!(after, image.tree(), "{args}");
        let differ: Vec<&str> = before
            .keys()
            .chain(after.keys())
            .filter(|&path| before.get(path) != after.get(path))
            .map(String::as_str)
            .collect();
        assert_eq!(
            differ,
            [
                "/etc/fstab",
                "/etc/fstab.hard",
                "/usr/bin/big",
                "/etc/fstab",
                "/etc/fstab.hard",
                "/srv/job"
            ],
            "{args}"
        );
        assert!(
            after["/etc/fstab"].ends_with(" user.note=kept"),
            "{args}: {}",
            after["/etc/fstab"]
        );
        assert!(after["/etc/fstab"].starts_with("f 644 0:0 4 "), "{args}: {}", after["/etc/fstab"]);
    }
}
