//! New groups: where their bitmaps and inode tables lie, and what is in them.
//!
//! With `flex_bg` the tables of all new groups up to the next border of the flexible group lie together, from its first
//! new group on, as the kernel lays them; otherwise each group has its own.
//!
//! ```text
//! group 16: | block bitmaps of 16…31 | inode bitmaps of 16…31 | inode tables of 16…31 …
//! ```
//! Where descriptors have checksums, a group without tables has no bitmap either (`BLOCK_UNINIT`), and no inode bitmap
//! (`INODE_UNINIT`): nothing is written into it. The last group always has its bitmap: `e2fsck` wants that.

use std::collections::BTreeMap;

use super::enlarged::Enlarged;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::feature::Incompat;
use crate::ext::geometry::Geometry;
use crate::ext::nr::{BlockNr, GroupNr};
use crate::ext::ondisk::group_desc::{BLOCK_UNINIT, INODE_UNINIT, ITABLE_ZEROED};
use crate::ext::space::bitmap;
use crate::ext::space::group::{self, GroupDesc, table_len};

/// How many blocks of a table are looked at together.
const PIECE: u64 = 64;

/// Bitmap of blocks, bitmap of inodes, inode table.
type Places = [BlockNr; 3];

impl Enlarged<'_> {
    /// The blocks that the last group has from now on are free.
    pub(super) fn complete_last_group(&mut self) -> Result<()> {
        let (old, last) = (self.old(), GroupNr(self.old().group_count - 1));
        let (from, to) = (old.group_len(last), self.geometry.group_len(last));
        let mut desc = group::read(self, last)?;
        let mut bits = bitmap::blocks(self, &desc)?.into_owned();
        let (from, to) = (len32(from), len32(to));
        if from - bitmap::count(&bits, from) != desc.free_blocks() {
            let what = format!("group {last} counts what is free otherwise");
            return Err(Error::not_clean(&what));
        }
        (from..to).for_each(|index| bitmap::clear(&mut bits, index));
        desc.set_free_blocks(desc.free_blocks() + (to - from));
        desc.clear_block_uninit();
        if self.geometry.has_metadata_csum() {
            desc.set_block_bitmap_csum(bitmap::blocks_csum(&self.geometry, &bits));
        }
        self.guard(desc.block_bitmap(), bits);
        self.put_group(desc)
    }

    /// Lay out all new groups. Returns how many of their blocks are free.
    pub(super) fn add_groups(&mut self) -> Result<u64> {
        let (mut next, end) = (self.old().group_count, self.geometry.group_count);
        let mut free = 0;
        while next < end {
            let flex = self.geometry.groups_per_flex;
            let until = (next / flex).saturating_add(1).saturating_mul(flex).min(end);
            free += self.add_chunk(next, until)?;
            next = until;
        }
        Ok(free)
    }

    /// Groups whose tables lie together.
    fn add_chunk(&mut self, first: u32, end: u32) -> Result<u64> {
        let places = place(&self.geometry, first, end)?;
        let mut own: BTreeMap<GroupNr, Vec<(u32, u32)>> = BTreeMap::new();
        for &[blocks, inodes, table] in &places {
            for (start, count) in [(blocks, 1), (inodes, 1), (table, table_len(&self.geometry))] {
                let (group, index) = self.geometry.group_of(start)?;
                own.entry(group).or_default().push((index, len32(count)));
            }
        }
        let mut free = 0;
        for (group, places) in (first..end).map(GroupNr).zip(places) {
            let runs = own.get(&group).map(Vec::as_slice).unwrap_or_default();
            free += u64::from(self.add_group(group, places, runs)?);
        }
        Ok(free)
    }

    /// A group, with the runs of its blocks in which tables lie. Returns how many blocks are free.
    fn add_group(&mut self, group: GroupNr, places: Places, own: &[(u32, u32)]) -> Result<u32> {
        let mut desc = GroupDesc::blank(&self.geometry, group);
        desc.set_places(places);
        let bits = self.block_bits(group, own);
        let len = len32(self.geometry.group_len(group));
        let free = len - bitmap::count(&bits, len);
        desc.set_free_blocks(free);
        desc.set_free_inodes(self.geometry.inodes_per_group.get());
        let mut flags = 0;
        let is_last = group.0 + 1 == self.geometry.group_count;
        let is_fresh = self.is_fresh(places[2]);
        let inodes = self.inode_bits();
        if self.geometry.has_metadata_csum() {
            desc.set_block_bitmap_csum(bitmap::blocks_csum(&self.geometry, &bits));
            desc.set_inode_bitmap_csum(bitmap::inodes_csum(&self.geometry, &inodes));
        }
        if desc.has_checksum() {
            flags |= INODE_UNINIT;
            desc.set_itable_unused(self.geometry.inodes_per_group.get());
            if is_fresh {
                flags |= ITABLE_ZEROED;
            }
        } else {
            self.write_ahead(places[1], inodes)?;
            self.clear_table(places[2])?;
        }
        if desc.has_checksum() && own.is_empty() && !is_last {
            flags |= BLOCK_UNINIT;
        } else {
            self.write_ahead(places[0], bits)?;
        }
        desc.set_flags(flags);
        self.put_group(desc)?;
        Ok(free)
    }

    fn block_bits(&self, group: GroupNr, own: &[(u32, u32)]) -> Vec<u8> {
        let geometry = &self.geometry;
        let mut bits = vec![0; geometry.block_size];
        let len = len32(geometry.group_len(group));
        let base = len32(geometry.base_meta_blocks(group)).min(len);
        let used = own.iter().flat_map(|&(first, count)| first..first + count);
        (0..base).chain(used).for_each(|index| bitmap::set(&mut bits, index));
        fill_from(&mut bits, len);
        bits
    }

    fn inode_bits(&self) -> Vec<u8> {
        let mut bits = vec![0; self.geometry.block_size];
        fill_from(&mut bits, self.geometry.inodes_per_group.get());
        bits
    }

    /// Without checksums nothing says how much of an inode table was written, so all of it has to be zeros.
    fn clear_table(&mut self, table: BlockNr) -> Result<()> {
        if self.is_fresh(table) {
            return Ok(());
        }
        let block_size = self.geometry.block_size;
        let end = table.0 + table_len(&self.geometry);
        let mut first = table.0;
        while first < end {
            let count = PIECE.min(end - first);
            let mut piece = vec![0; block_size * usize::try_from(count).expect("at most 64")];
            self.fs.read_run(BlockNr(first), &mut piece)?;
            for (block, bytes) in (first..).zip(piece.chunks_exact(block_size)) {
                if bytes.iter().any(|&byte| byte != 0) {
                    self.write_ahead(BlockNr(block), vec![0; block_size])?;
                }
            }
            first += count;
        }
        Ok(())
    }

    /// A block of the old groups is free from now on.
    pub(super) fn free_block(&mut self, block: BlockNr) -> Result<()> {
        group::check_not_metadata(self.fs, block, 1)?;
        let (group, index) = self.geometry.group_of(block)?;
        let mut desc = group::read(self, group)?;
        let mut bits = bitmap::blocks(self, &desc)?.into_owned();
        if !bitmap::get(&bits, index) {
            return Err(Error::corrupt(format!("block {block} is in use, but marked free")));
        }
        let len = u32::try_from(self.old().group_len(group)).expect("blocks of a group");
        if len - bitmap::count(&bits, len) != desc.free_blocks() {
            return Err(Error::not_clean(&format!("group {group} counts what is free otherwise")));
        }
        bitmap::clear(&mut bits, index);
        desc.set_free_blocks(desc.free_blocks() + 1);
        desc.clear_block_uninit();
        if self.geometry.has_metadata_csum() {
            desc.set_block_bitmap_csum(bitmap::blocks_csum(&self.geometry, &bits));
        }
        self.guard(desc.block_bitmap(), bits);
        self.put_group(desc)?;
        let wide = self.geometry.is_wide();
        let free = self.superblock.free_blocks_count(wide).checked_add(1);
        let free = free.ok_or_else(|| Error::corrupt("count of free blocks is wrong"))?;
        self.superblock.set_free_blocks_count(free, wide);
        Ok(())
    }

    /// Blocks of the new groups that never hold files.
    pub(super) fn added_overhead(&self) -> u64 {
        (self.old().group_count..self.geometry.group_count)
            .map(|group| {
                self.geometry.base_meta_blocks(GroupNr(group)) + 2 + table_len(&self.geometry)
            })
            .sum()
    }
}

/// Where the tables of groups `first..end` lie.
fn place(geometry: &Geometry, first: u32, end: u32) -> Result<Vec<Places>> {
    let is_flex = geometry.features.incompat.contains(Incompat::FLEX_BG);
    let together = if is_flex { place_together(geometry, first, end) } else { None };
    if let Some(places) = together {
        return Ok(places);
    }
    (first..end)
        .map(|group| {
            let mut cursor = Cursor { geometry, group, end: group + 1, index: 0 };
            let (blocks, inodes) = (cursor.take(1), cursor.take(1));
            let table = cursor.take(table_len(geometry));
            match (blocks, inodes, table) {
                (Some(blocks), Some(inodes), Some(table)) => Ok([blocks, inodes, table]),
                _ => Err(Error::corrupt(format!(
                    "ext superblock: a group has no room for its own tables (group {group})"
                ))),
            }
        })
        .collect()
}

/// `None` where they do not fit in a row.
fn place_together(geometry: &Geometry, first: u32, end: u32) -> Option<Vec<Places>> {
    let mut cursor = Cursor { geometry, group: first, end, index: 0 };
    let blocks: Vec<BlockNr> = (first..end).map(|_| cursor.take(1)).collect::<Option<_>>()?;
    let inodes: Vec<BlockNr> = (first..end).map(|_| cursor.take(1)).collect::<Option<_>>()?;
    let table = table_len(geometry);
    let tables: Vec<BlockNr> = (first..end).map(|_| cursor.take(table)).collect::<Option<_>>()?;
    Some(blocks.into_iter().zip(inodes).zip(tables).map(|((b, i), t)| [b, i, t]).collect())
}

/// A place in the groups `group..end`, behind which nothing was given out.
struct Cursor<'a> {
    geometry: &'a Geometry,
    group: u32,
    end: u32,
    index: u64,
}

impl Cursor<'_> {
    /// The next run of blocks in one group.
    fn take(&mut self, count: u64) -> Option<BlockNr> {
        while self.group < self.end {
            let group = GroupNr(self.group);
            let start = self.index.max(self.geometry.base_meta_blocks(group));
            if start + count <= self.geometry.group_len(group) {
                self.index = start + count;
                return Some(BlockNr(self.geometry.group_start(group) + start));
            }
            (self.group, self.index) = (self.group + 1, 0);
        }
        None
    }
}

/// Blocks of a group.
fn len32(len: u64) -> u32 {
    u32::try_from(len).expect("blocks of a group")
}

/// Set all bits from `from` on.
fn fill_from(bits: &mut [u8], from: u32) {
    let all = len32(bits.len() as u64 * 8);
    let byte = from.next_multiple_of(8).min(all);
    (from..byte).for_each(|index| bitmap::set(bits, index));
    bits[byte as usize / 8..].fill(0xFF);
}
