//! Giving out blocks and inodes, and taking them back.
//!
//! Blocks go near their goal and in runs: first the goal's group, from the goal on, then the groups behind it, around to
//! its own again. The first run that is long enough is taken, or else the longest of the first few groups that had any.
//! Only descriptors of full groups are read, never their bitmaps.

use super::bitmap;
use super::group::{self, GroupDesc};
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::edit::transaction::Transaction;
use crate::ext::nr::{BlockNr, GroupNr, InodeNr};

/// Groups with free blocks that are looked at for one run before the longest so far is taken.
const GROUPS_LOOKED_AT: u32 = 8;

impl Transaction<'_> {
    /// One block for metadata. Its content is whatever was there: put something.
    pub(crate) fn alloc_meta(&mut self, goal: BlockNr) -> Result<BlockNr> {
        Ok(self.alloc_run(goal, 1)?.0)
    }

    /// A run of at most `want` blocks, which is not 0.
    pub(crate) fn alloc_run(&mut self, goal: BlockNr, want: u32) -> Result<(BlockNr, u32)> {
        let goal = if self.geometry().check_block(goal).is_ok() {
            goal
        } else {
            BlockNr(self.geometry().first_data_block)
        };
        let (group, index, count) = self.find_run(goal, want)?;
        let desc = group::read(self, group)?;
        let first = BlockNr(self.geometry().group_start(group) + u64::from(index));
        group::check_not_metadata(self, first, count.into())?;
        self.check_untouched(first, count.into())?;
        let mut bits = self.block_bits(&desc)?;
        (index..index + count).for_each(|i| bitmap::set(&mut bits, i));
        let free = desc.free_blocks().checked_sub(count).ok_or_else(|| count_wrong(group))?;
        self.put_block_bitmap(desc, bits, free)?;
        let wide = self.geometry().is_wide();
        let free = self.superblock().free_blocks_count(wide).checked_sub(count.into());
        let free = free.ok_or_else(|| count_wrong(group))?;
        self.superblock_mut().set_free_blocks_count(free, wide);
        Ok((first, count))
    }

    fn find_run(&mut self, goal: BlockNr, want: u32) -> Result<(GroupNr, u32, u32)> {
        let (goal_group, goal_index) = self.geometry().group_of(goal)?;
        let groups = self.geometry().group_count;
        let mut best: Option<(GroupNr, u32, u32)> = None;
        let mut looked_at = 0;
        // The goal's group comes once more at the end, for what lies before the goal.
        let order = (goal_group.0..groups).chain(0..=goal_group.0);
        for (turn, group) in order.enumerate() {
            let group = GroupNr(group);
            let longest = best.map_or(0, |(_, _, len)| len);
            let most = want.min(self.longest_run(group));
            if most > longest {
                let from = if turn == 0 { goal_index } else { 0 };
                let Some((index, len)) = self.find_run_in(group, from, most)? else { continue };
                if len > longest {
                    best = Some((group, index, len));
                }
            } else if most == 0 {
                continue;
            }
            looked_at += 1;
            if best.is_some_and(|(_, _, len)| len == want) || looked_at >= GROUPS_LOOKED_AT {
                break;
            }
        }
        best.ok_or_else(|| Error::NoSpace("no free block".to_owned()))
    }

    /// The first run of `want` blocks of a group from its block `from` on, or the longest.
    fn find_run_in(&mut self, group: GroupNr, from: u32, want: u32) -> Result<Option<(u32, u32)>> {
        let desc = group::read(self, group)?;
        let end = u32::try_from(self.geometry().group_len(group)).expect("blocks of a group");
        let found = match desc.free_blocks() {
            0 => None,
            _ => {
                let bits = bitmap::blocks(self, &desc)?;
                bitmap::find_run(&self.without_freed(group, &bits), from, end, want)
            }
        };
        let len = found.map_or(0, |(_, len)| len);
        if from == 0 && len < want {
            self.note_longest_run(group, len);
        }
        Ok(found)
    }

    /// What was freed in this transaction counts as in use.
    fn without_freed<'b>(&self, group: GroupNr, bits: &'b [u8]) -> std::borrow::Cow<'b, [u8]> {
        match self.freed(group) {
            None => bits.into(),
            Some(freed) => bits.iter().zip(freed).map(|(a, b)| a | b).collect(),
        }
    }

    /// The block bitmap of a group, to be edited. It and the descriptor must agree: a count that is wrong would be carried
    /// on by the edit.
    fn block_bits(&self, desc: &GroupDesc) -> Result<Vec<u8>> {
        let bits = bitmap::blocks(self, desc)?.into_owned();
        let len = u32::try_from(self.geometry().group_len(desc.group())).expect("of a group");
        match len - bitmap::count(&bits, len) == desc.free_blocks() {
            true => Ok(bits),
            false => Err(count_wrong(desc.group())),
        }
    }

    /// The same of inodes.
    fn inode_bits(&self, desc: &GroupDesc) -> Result<Vec<u8>> {
        let bits = bitmap::inodes(self, desc)?.into_owned();
        let len = self.geometry().inodes_per_group.get();
        match len - bitmap::count(&bits, len) == desc.free_inodes() {
            true => Ok(bits),
            false => Err(count_wrong(desc.group())),
        }
    }

    fn put_block_bitmap(&mut self, mut desc: GroupDesc, bits: Vec<u8>, free: u32) -> Result<()> {
        desc.clear_block_uninit();
        desc.set_free_blocks(free);
        if self.geometry().has_metadata_csum() {
            desc.set_block_bitmap_csum(bitmap::blocks_csum(self.geometry(), &bits));
        }
        self.put_block(desc.block_bitmap(), bits);
        self.put_group(desc)
    }

    /// Take a run of blocks back, all of which are in use.
    pub(crate) fn free_run(&mut self, first: BlockNr, count: u64) -> Result<()> {
        let changed = self.mark_run(first, count, false)?;
        let freed = changed.first().filter(|(start, _)| *start == first).map_or(0, |&(_, len)| len);
        match freed == count {
            true => Ok(()),
            false => {
                let twice = first.0 + freed;
                Err(Error::corrupt(format!("block {twice} is in use, but marked free")))
            }
        }
    }

    /// Mark a run of blocks as in use or free, whatever each of them is now. Returns the runs that changed.
    pub(crate) fn mark_run(
        &mut self,
        first: BlockNr,
        count: u64,
        is_used: bool,
    ) -> Result<Vec<(BlockNr, u64)>> {
        group::check_not_metadata(self, first, count)?;
        let mut changed: Vec<(BlockNr, u64)> = Vec::new();
        let (mut block, mut left) = (first.0, count);
        while left > 0 {
            let (group, index) = self.geometry().group_of(BlockNr(block))?;
            let desc = group::read(self, group)?;
            let here = (self.geometry().group_len(group) - u64::from(index)).min(left);
            let len = u32::try_from(here).expect("blocks of a group");
            let mut bits = self.block_bits(&desc)?;
            let differ: Vec<u32> =
                (index..index + len).filter(|&i| bitmap::get(&bits, i) != is_used).collect();
            for &i in &differ {
                let at = self.geometry().group_start(group) + u64::from(i);
                match changed.last_mut() {
                    Some((start, len)) if start.0 + *len == at => *len += 1,
                    _ => changed.push((BlockNr(at), 1)),
                }
                if is_used {
                    bitmap::set(&mut bits, i);
                } else {
                    bitmap::clear(&mut bits, i);
                    self.note_freed(group, i);
                }
            }
            if !differ.is_empty() {
                let count = u32::try_from(differ.len()).expect("blocks of a group");
                let most = self.geometry().group_len(group);
                let free = match is_used {
                    true => desc.free_blocks().checked_sub(count),
                    false => desc.free_blocks().checked_add(count),
                };
                let free = free.filter(|&n| u64::from(n) <= most);
                let free = free.ok_or_else(|| count_wrong(group))?;
                self.put_block_bitmap(desc, bits, free)?;
            }
            block += here;
            left -= here;
        }
        let wide = self.geometry().is_wide();
        let count: u64 = changed.iter().map(|(_, len)| len).sum();
        let free = self.superblock().free_blocks_count(wide);
        let free = if is_used { free.checked_sub(count) } else { free.checked_add(count) };
        let free = free.ok_or_else(|| Error::corrupt("count of free blocks is wrong"))?;
        self.superblock_mut().set_free_blocks_count(free, wide);
        Ok(changed)
    }

    /// Mark an inode as in use. Returns whether it was free.
    pub(crate) fn claim_inode(&mut self, nr: InodeNr, is_dir: bool) -> Result<bool> {
        let (group, index) = self.geometry().group_of_inode(nr)?;
        let desc = group::read(self, group)?;
        let bits = bitmap::inodes(self, &desc)?;
        if bitmap::get(&bits, index) {
            return Ok(false);
        }
        let bits = bits.into_owned();
        self.take_inode(desc, bits, index, is_dir)?;
        Ok(true)
    }

    /// A free inode, near `parent`. Its bytes are whatever was there.
    pub(crate) fn alloc_inode(&mut self, parent: InodeNr, is_dir: bool) -> Result<InodeNr> {
        let (near, _) = self.geometry().group_of_inode(parent)?;
        let groups = self.geometry().group_count;
        for group in (near.0..groups).chain(0..near.0).map(GroupNr) {
            let desc = group::read(self, group)?;
            if desc.free_inodes() == 0 {
                continue;
            }
            let per_group = self.geometry().inodes_per_group.get();
            let bits = bitmap::inodes(self, &desc)?;
            let reserved = if group.0 == 0 { self.geometry().first_inode - 1 } else { 0 };
            let from = reserved.min(per_group);
            if let Some((index, _)) = bitmap::find_run(&bits, from, per_group, 1) {
                let bits = self.inode_bits(&desc)?;
                return self.take_inode(desc, bits, index, is_dir);
            }
        }
        Err(Error::NoSpace("no free inode".to_owned()))
    }

    fn take_inode(
        &mut self,
        mut desc: GroupDesc,
        mut bits: Vec<u8>,
        index: u32,
        is_dir: bool,
    ) -> Result<InodeNr> {
        let group = desc.group();
        let per_group = self.geometry().inodes_per_group.get();
        if desc.is_block_uninit() {
            // Whoever finds inodes in a group expects its block bitmap to be there too.
            let (bits, free) = (bitmap::blocks(self, &desc)?.into_owned(), desc.free_blocks());
            self.put_block_bitmap(desc, bits, free)?;
            desc = group::read(self, group)?;
        }
        // A group without an inode bitmap has used none of its table, whatever it says of the rest.
        let used = match desc.is_inode_uninit() {
            true => 0,
            false => per_group.saturating_sub(desc.itable_unused()),
        };
        bitmap::set(&mut bits, index);
        let free = desc.free_inodes().checked_sub(1).ok_or_else(|| count_wrong(group))?;
        desc.set_free_inodes(free);
        desc.clear_inode_uninit();
        if is_dir {
            let dirs = desc.used_dirs().checked_add(1).filter(|&n| n <= per_group);
            desc.set_used_dirs(dirs.ok_or_else(|| count_wrong(group))?);
        }
        if self.geometry().checksums != crate::ext::geometry::Checksums::None && index >= used {
            desc.set_itable_unused(per_group - index - 1);
        }
        self.put_inode_bitmap(desc, bits)?;
        let free = self.superblock().free_inodes_count.get().checked_sub(1);
        let free = free.ok_or_else(|| count_wrong(group))?;
        self.superblock_mut().free_inodes_count = free.into();
        Ok(InodeNr(group.0 * per_group + index + 1))
    }

    fn put_inode_bitmap(&mut self, mut desc: GroupDesc, bits: Vec<u8>) -> Result<()> {
        if self.geometry().has_metadata_csum() {
            desc.set_inode_bitmap_csum(bitmap::inodes_csum(self.geometry(), &bits));
        }
        self.put_block(desc.inode_bitmap(), bits);
        self.put_group(desc)
    }

    /// Take an inode back. What it maps must have been freed before.
    pub(crate) fn free_inode(&mut self, nr: InodeNr, is_dir: bool) -> Result<()> {
        let (group, index) = self.geometry().group_of_inode(nr)?;
        let mut desc = group::read(self, group)?;
        let mut bits = self.inode_bits(&desc)?;
        if nr.0 < self.geometry().first_inode || !bitmap::get(&bits, index) {
            return Err(Error::corrupt(format!("inode {nr} is in use, but reserved or free")));
        }
        bitmap::clear(&mut bits, index);
        let most = self.geometry().inodes_per_group.get();
        let free = desc.free_inodes().checked_add(1).filter(|&n| n <= most);
        desc.set_free_inodes(free.ok_or_else(|| count_wrong(group))?);
        if is_dir {
            let dirs = desc.used_dirs().checked_sub(1).ok_or_else(|| count_wrong(group))?;
            desc.set_used_dirs(dirs);
        }
        self.put_inode_bitmap(desc, bits)?;
        let free = self.superblock().free_inodes_count.get().checked_add(1);
        let free = free.ok_or_else(|| count_wrong(group))?;
        self.superblock_mut().free_inodes_count = free.into();
        Ok(())
    }
}

fn count_wrong(group: GroupNr) -> Error {
    Error::corrupt(format!("counts of group {group} or of the superblock are wrong"))
}
