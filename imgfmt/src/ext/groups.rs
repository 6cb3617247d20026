//! How full each block group is, by its descriptor alone: no bitmap is read.
//!
//! ```text
//! group 0   | superblock, descriptors | bitmaps and inode tables of groups 0 to 15 (flex_bg) | data … |
//! group 16  | bitmaps and inode tables of groups 16 to 31 | data … |
//! ```

use std::ops::Range;

use crate::error::Result;
use crate::ext::blocks::Blocks;
use crate::ext::fs::Fs;
use crate::ext::space::group::{self, GroupDesc};

/// A block group, as its descriptor (`struct ext4_group_desc`) tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its blocks.
    pub blocks: Range<u64>,
    /// Blocks of it that are free (`bg_free_blocks_count_lo`, `bg_free_blocks_count_hi`); never more than it has.
    pub free_blocks: u64,
    /// Inodes of it that are free (`bg_free_inodes_count_lo`, `bg_free_inodes_count_hi`).
    pub free_inodes: u32,
    /// Blocks at its start that hold superblock and descriptors.
    pub backups: Range<u64>,
    /// Its bitmaps and its inode table, which lie anywhere (`flex_bg`). Each lies within the volume; they may overlap where
    /// the file system is damaged.
    pub tables: [Range<u64>; 3],
}

impl Fs<'_> {
    /// Tell of each block group, in order. The descriptors are read, and nothing else, unless the checksum of one is wrong.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) where a descriptor is damaged; those before it are told.
    pub fn for_each_group(&self, f: &mut dyn FnMut(&Group)) -> Result<()> {
        group::for_each(self, |desc| f(&self.group(&desc)))
    }

    /// Blocks and inodes that are free, by the descriptors, which say it better than the superblock where the file system
    /// was not unmounted.
    ///
    /// # Errors
    /// As of [`for_each_group`](Self::for_each_group).
    pub fn count_free(&self) -> Result<(u64, u64)> {
        let mut free = (0, 0);
        self.for_each_group(&mut |group| {
            free.0 += group.free_blocks;
            free.1 += u64::from(group.free_inodes);
        })?;
        Ok(free)
    }

    fn group(&self, desc: &GroupDesc) -> Group {
        let geometry = self.geometry();
        let start = geometry.group_start(desc.group());
        let len = geometry.group_len(desc.group());
        // With bigalloc, clusters are counted.
        let ratio = geometry.cluster_size / geometry.block_size as u64;
        let free = u64::from(desc.free_blocks()).saturating_mul(ratio);
        let backups = geometry.base_meta_blocks(desc.group()).min(len);
        Group {
            blocks: start..start + len,
            free_blocks: free.min(len),
            free_inodes: desc.free_inodes().min(geometry.inodes_per_group.get()),
            backups: start..start + backups,
            tables: desc.own_blocks(geometry).map(|(start, len)| start.0..start.0 + len),
        }
    }
}
