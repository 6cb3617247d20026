//! How large everything is, as `mke2fs` reckons it.
//!
//! ```text
//! 2 GiB, ext4:  524,288 blocks of 4 KiB, 16 groups of 32,768, 8,192 inodes each, 1 block of descriptors, 255 to grow
//! ```

use crate::error::{Error, Result};
use crate::ext::feature::{Compat, Features, Incompat, RoCompat};
use crate::ext::mkfs::features;
use crate::ext::mkfs::options::{Inodes, Options};

/// `s_first_ino`: inodes before it are reserved.
pub(super) const FIRST_INODE: u32 = 11;
/// `s_log_groups_per_flex`: 16 groups keep their tables together.
pub(super) const LOG_GROUPS_PER_FLEX: u8 = 4;
/// Counts of a group have 16 bits; a multiple of eight keeps bitmaps whole.
const PER_GROUP_MAX: u64 = 65_528;
/// Inodes of a group: a byte of its bitmap.
const INODES_MIN: u64 = 8;
/// Blocks of the smallest file system with a journal of the default size.
pub(super) const JOURNALED_MIN: u64 = 2048;
/// Blocks that a last group must have beyond its own tables, or it is left out.
const LAST_GROUP_MIN: u64 = 50;
/// Bytes of a page of the kernel.
const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// Sizes and counts; no place of anything yet.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) features: Features,
    pub(super) block_size: u64,
    pub(super) block_count: u64,
    pub(super) first_data_block: u64,
    pub(super) blocks_per_group: u64,
    pub(super) inodes_per_group: u64,
    pub(super) inode_size: u64,
    pub(super) group_count: u64,
    pub(super) reserved_gdt_blocks: u64,
}

impl Shape {
    /// What the options ask for.
    pub(super) fn new(options: &Options) -> Result<Self> {
        let mut features = features::of(options)?;
        let block_size = block_size(options)?;
        let inode_size = inode_size(options, block_size, features)?;
        // Whole pages, so that the kernel caches the last one like any other.
        let block_count = options.size / PAGE * PAGE / block_size;
        if block_count > u64::from(u32::MAX) {
            if !features.incompat.contains(Incompat::EXTENT) {
                return Err(Error::Unsupported(format!(
                    "an ext file system of {block_count} blocks needs the features `64bit` and `extent`"
                )));
            }
            features.incompat |= Incompat::WIDE;
            // Its map has numbers of 32 bits.
            features.compat.remove(Compat::RESIZE_INODE);
        }
        if block_count >= 1 << 48 {
            return Err(Error::Unsupported(format!(
                "an ext file system of {block_count} blocks: 2^48 are too many"
            )));
        }
        let mut shape = Self {
            features,
            block_size,
            block_count,
            first_data_block: u64::from(block_size == 1024),
            blocks_per_group: (8 * block_size).min(PER_GROUP_MAX),
            inodes_per_group: 0,
            inode_size,
            group_count: 0,
            reserved_gdt_blocks: 0,
        };
        if block_count <= shape.first_data_block {
            return Err(shape.too_small());
        }
        shape.count(inodes(options, &shape))?;
        shape.check_journal(options);
        Ok(shape)
    }

    /// Settle groups, inodes and descriptors, which depend on one another.
    fn count(&mut self, wanted: u64) -> Result<()> {
        let all_blocks = self.block_count;
        loop {
            let blocks = self.block_count - self.first_data_block;
            self.group_count = blocks.div_ceil(self.blocks_per_group);
            self.set_reserved_gdt_blocks();
            let per_group = wanted.div_ceil(self.group_count);
            if per_group > 8 * self.block_size {
                // More groups are more inodes.
                if self.blocks_per_group < 256 {
                    return Err(self.too_many(wanted));
                }
                self.blocks_per_group -= 8;
                self.block_count = all_blocks;
                continue;
            }
            self.set_inodes_per_group(per_group)?;
            if self.overhead(0) > self.blocks_per_group {
                return Err(self.too_many(wanted));
            }
            let rest = blocks % self.blocks_per_group;
            let overhead = self.overhead(self.group_count - 1);
            if rest == 0 || rest >= overhead + LAST_GROUP_MIN {
                return Ok(());
            }
            if self.group_count == 1 {
                return if rest < overhead { Err(self.too_small()) } else { Ok(()) };
            }
            self.block_count -= rest;
        }
    }

    /// Whole blocks of the table, and a multiple of eight for the bitmap.
    pub(super) fn set_inodes_per_group(&mut self, wanted: u64) -> Result<()> {
        // `s_inodes_count` has 32 bits.
        let all = u64::from(u32::MAX) / self.group_count;
        if all < INODES_MIN {
            return Err(Error::NoSpace(format!(
                "{} groups of {} blocks: 32 bits do not count their inodes, of which each has {INODES_MIN} at least",
                self.group_count, self.blocks_per_group
            )));
        }
        let per_block = self.block_size / self.inode_size;
        let most = (1 << 16) - per_block;
        let wanted = wanted.clamp(INODES_MIN, most).next_multiple_of(per_block);
        let mut per_group = (wanted & !7).max(INODES_MIN);
        while per_group > all {
            per_group = per_group.saturating_sub(per_block.max(8)).max(INODES_MIN);
        }
        self.inodes_per_group = per_group;
        Ok(())
    }

    /// Blocks of an inode table.
    pub(super) fn table_blocks(&self) -> u64 {
        (self.inodes_per_group * self.inode_size).div_ceil(self.block_size)
    }

    /// Bytes of a group descriptor.
    pub(super) fn desc_size(&self) -> u64 {
        if self.features.incompat.contains(Incompat::WIDE) { 64 } else { 32 }
    }

    /// Blocks of descriptors for all groups.
    pub(super) fn desc_blocks(&self) -> u64 {
        self.group_count.div_ceil(self.block_size / self.desc_size())
    }

    /// `s_backup_bgs`.
    pub(super) fn backup_groups(&self) -> [u32; 2] {
        if !self.features.compat.contains(Compat::SPARSE_SUPER2) {
            return [0; 2];
        }
        let last = u32::try_from(self.group_count - 1).unwrap_or(u32::MAX);
        [u32::from(last >= 1), if last >= 2 { last } else { 0 }]
    }

    /// Room for 1,024 times the blocks, as far as 32 bits count them.
    fn set_reserved_gdt_blocks(&mut self) {
        self.reserved_gdt_blocks = 0;
        if self.features.compat.contains(Compat::RESIZE_INODE) {
            let most = (self.block_count * 1024).min(u32::MAX.into());
            let groups = (most - self.first_data_block).div_ceil(self.blocks_per_group);
            let blocks = groups.div_ceil(self.block_size / self.desc_size());
            // One block of the resize inode's map lists them all.
            self.reserved_gdt_blocks =
                blocks.saturating_sub(self.desc_blocks()).min(self.block_size / 4);
        }
        let is_meta_bg = self.features.incompat.contains(Incompat::META_BG);
        let descriptors = self.desc_blocks() + self.reserved_gdt_blocks;
        if !is_meta_bg && descriptors > self.blocks_per_group * 3 / 4 {
            self.features.incompat |= Incompat::META_BG;
            self.features.compat.remove(Compat::RESIZE_INODE);
            self.reserved_gdt_blocks = 0;
        }
    }

    /// Blocks of a group that no file can have.
    fn overhead(&self, group: u64) -> u64 {
        let tables = 2 + self.table_blocks();
        if !self.has_superblock(group) {
            return tables;
        }
        let is_meta_bg = self.features.incompat.contains(Incompat::META_BG);
        let descriptors = if is_meta_bg { 1 } else { self.desc_blocks() };
        tables + 1 + descriptors + self.reserved_gdt_blocks
    }

    fn has_superblock(&self, group: u64) -> bool {
        if group == 0 {
            return true;
        }
        if self.features.compat.contains(Compat::SPARSE_SUPER2) {
            return self.backup_groups().into_iter().any(|backup| u64::from(backup) == group);
        }
        let is_power = |base: u64| {
            let mut power = base;
            while power < group {
                power *= base;
            }
            power == group
        };
        !self.features.ro_compat.contains(RoCompat::SPARSE_SUPER)
            || group == 1
            || [3, 5, 7].into_iter().any(is_power)
    }

    /// Blocks of the log by default; `None` where the file system is too small for one.
    pub(super) fn default_journal_blocks(&self) -> Option<u64> {
        // Up to so many blocks, so many for the journal.
        const SIZES: [(u64, u64); 9] = [
            (JOURNALED_MIN, 0),
            (32 << 10, 1024),
            (256 << 10, 4096),
            (512 << 10, 8192),
            (4 << 20, 16384),
            (8 << 20, 32768),
            (16 << 20, 65536),
            (32 << 20, 131_072),
            (u64::MAX, 262_144),
        ];
        let (_, blocks) = SIZES.into_iter().find(|&(below, _)| self.block_count < below)?;
        (blocks != 0).then_some(blocks)
    }

    /// A file system that is too small for a journal has none, unless one was asked for by its size.
    fn check_journal(&mut self, options: &Options) {
        if options.journal_size.is_none() && self.default_journal_blocks().is_none() {
            self.features
                .compat
                .remove(Compat::HAS_JOURNAL.union(Compat::FAST_COMMIT).union(Compat::ORPHAN_FILE));
        }
    }

    fn too_small(&self) -> Error {
        Error::NoSpace(format!(
            "{} blocks of {} bytes are too few for an ext file system",
            self.block_count, self.block_size
        ))
    }

    fn too_many(&self, inodes: u64) -> Error {
        Error::NoSpace(format!(
            "{inodes} inodes are too many for {} blocks of {} bytes",
            self.block_count, self.block_size
        ))
    }
}

fn block_size(options: &Options) -> Result<u64> {
    match options.block_size {
        Some(size) if size.is_power_of_two() && (1024..=65536).contains(&size) => Ok(size.into()),
        Some(size) => Err(Error::Unsupported(format!(
            "ext blocks of {size} bytes: it takes a power of two from 1024 to 65536"
        ))),
        None if options.size < 512 * MIB => Ok(1024),
        None => Ok(4096),
    }
}

fn inode_size(options: &Options, block_size: u64, features: Features) -> Result<u64> {
    let of_profile = options.profile.map_or(256, |profile| profile.inode_size());
    let size = options.inode_size.unwrap_or(of_profile);
    if !size.is_power_of_two() || size < 128 || u64::from(size) > block_size {
        return Err(Error::Unsupported(format!(
            "ext inodes of {size} bytes: it takes a power of two from 128 to the size of a block"
        )));
    }
    if size == 128 && features.incompat.contains(Incompat::INLINE_DATA) {
        return Err(Error::Unsupported(
            "cannot make an ext file system with the feature `inline_data` and inodes of 128 bytes: they have no room"
                .into(),
        ));
    }
    Ok(size.into())
}

/// How many bytes have an inode in a file system of `size` bytes: a block at least; by default as `mke2fs.conf` has it.
pub(super) fn bytes_per_inode(options: &Options, block_size: u64, size: u64) -> u64 {
    let ratio = match options.inodes {
        Inodes::Ratio(ratio) => ratio,
        _ => match size {
            size if size < 3 * MIB => 8192,
            size if size < 512 * MIB => 4096,
            size if size < 4 * TIB => 16384,
            size if size < 16 * TIB => 32768,
            _ => 65536,
        },
    };
    ratio.max(block_size)
}

fn inodes(options: &Options, shape: &Shape) -> u64 {
    if let Inodes::Count(count) = options.inodes {
        return u64::from(count.max(FIRST_INODE + 1));
    }
    let ratio = bytes_per_inode(options, shape.block_size, options.size);
    let count = shape.block_count * shape.block_size / ratio;
    count.clamp((FIRST_INODE + 1).into(), u32::MAX.into())
}
