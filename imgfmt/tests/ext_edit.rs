//! Edits of file systems of every kind: `e2fsck` finds nothing, and the kernel sees the edit and nothing else.

mod ext_support;

use ext_support::{NOW, TestImage, noise};
use imgfmt::ext::{Kind, Transaction};
use imgfmt::{Error, Result};

/// (name, `mke2fs` arguments, KiB, bytes before the file system)
const KINDS: &[(&str, &str, u64, u64)] = &[
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
        eprintln!("{name}");
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
