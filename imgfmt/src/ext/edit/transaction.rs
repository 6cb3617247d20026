//! An edit that has not been written: changed blocks over a file system that stays as it is.
//!
//! Every operation is whole or has no effect: [`Transaction::atomically`] remembers what it changes and puts it back on
//! an error, so that a transaction can go on after "no space" or "not found". Blocks of file data and of metadata are
//! kept apart, since a journal wants the one kind written before the other.
//!
//! A block that was freed here is not given out again here: until the edit is on disk whole, its old content may be
//! needed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::neighbours;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::feature::{Compat, Incompat, RoCompat};
use crate::ext::fs::Fs;
use crate::ext::geometry::Geometry;
use crate::ext::inode::{self, Inode};
use crate::ext::nr::{BlockNr, GroupNr, InodeNr};
use crate::ext::ondisk::superblock::Superblock;
use crate::ext::space::bitmap;
use crate::ext::space::group::{self, GroupDesc};

/// An edit of a file system, begun by [`Fs::begin`]. Dropping it is the rollback.
pub struct Transaction<'a> {
    pub(super) fs: &'a Fs<'a>,
    pub(super) superblock: Box<Superblock>,
    now: i64,
    pub(super) meta: BTreeMap<BlockNr, Vec<u8>>,
    pub(super) data: BTreeMap<BlockNr, Vec<u8>>,
    freed: BTreeMap<GroupNr, Vec<u8>>,
    /// Groups whose free runs are known to be no longer than this: while nothing freed is given out again, they only
    /// get shorter.
    longest: BTreeMap<GroupNr, u32>,
    undo: Option<Undo>,
}

/// How to put things back as they were before an operation.
struct Undo {
    superblock: Box<Superblock>,
    meta: BTreeMap<BlockNr, Option<Vec<u8>>>,
    data: Vec<BlockNr>,
    freed: Vec<(GroupNr, u32)>,
}

impl<'a> Transaction<'a> {
    /// Nothing changed yet; `now` in Unix seconds.
    pub(crate) fn new(fs: &'a Fs<'a>, now: i64) -> Self {
        Self {
            fs,
            superblock: Box::new(settled(fs)),
            now,
            meta: BTreeMap::new(),
            data: BTreeMap::new(),
            freed: fs.recovery().map_or_else(BTreeMap::new, |recovery| recovery.freed().clone()),
            longest: BTreeMap::new(),
            undo: None,
        }
    }

    /// Bytes of metadata that are held.
    pub(crate) fn changed_len(&self) -> usize {
        self.meta.len() * self.geometry().block_size
    }

    /// The blocks of metadata that were changed, and bits of those that were freed.
    pub(crate) fn into_blocks(self) -> (BTreeMap<BlockNr, Vec<u8>>, BTreeMap<GroupNr, Vec<u8>>) {
        (self.meta, self.freed)
    }

    /// Count what is free anew: while it is mounted, the kernel keeps the descriptors right and not the superblock.
    pub(crate) fn recount(&mut self) -> Result<()> {
        let (mut blocks, mut inodes) = (0_u64, 0_u64);
        group::for_each(self, |desc| {
            blocks += u64::from(desc.free_blocks());
            inodes += u64::from(desc.free_inodes());
        })?;
        let wide = self.geometry().is_wide();
        let inodes = u32::try_from(inodes)
            .map_err(|_| Error::corrupt(format!("groups have {inodes} free inodes")))?;
        self.superblock.set_free_blocks_count(blocks, wide);
        self.superblock.free_inodes_count = inodes.into();
        Ok(())
    }

    /// Time of all changes, in Unix seconds.
    pub(crate) fn now(&self) -> i64 {
        self.now
    }

    /// The superblock, to be changed.
    pub(crate) fn superblock_mut(&mut self) -> &mut Superblock {
        &mut self.superblock
    }

    /// Do `f` whole or not at all.
    pub(crate) fn atomically<R>(&mut self, f: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        if self.undo.is_some() {
            // Part of a larger operation, which puts everything back.
            return f(self);
        }
        self.undo = Some(Undo {
            superblock: self.superblock.clone(),
            meta: BTreeMap::new(),
            data: Vec::new(),
            freed: Vec::new(),
        });
        let result = f(self);
        let undo = self.undo.take().expect("set above, and taken here alone");
        if result.is_err() {
            self.roll_back(undo);
        }
        result
    }

    fn roll_back(&mut self, undo: Undo) {
        self.superblock = undo.superblock;
        // What goes back to being free may be long.
        self.longest.clear();
        for (block, bytes) in undo.meta {
            match bytes {
                Some(bytes) => self.meta.insert(block, bytes),
                None => self.meta.remove(&block),
            };
        }
        for start in undo.data {
            self.data.remove(&start);
        }
        for (group, index) in undo.freed {
            if let Some(bits) = self.freed.get_mut(&group) {
                bitmap::clear(bits, index);
            }
        }
    }

    fn remember(&mut self, block: BlockNr) {
        if let Some(undo) = &mut self.undo {
            undo.meta.entry(block).or_insert_with(|| self.meta.get(&block).cloned());
        }
    }

    /// Give a block of metadata new content.
    pub(crate) fn put_block(&mut self, block: BlockNr, bytes: Vec<u8>) {
        debug_assert_eq!(bytes.len(), self.geometry().block_size);
        self.remember(block);
        self.meta.insert(block, bytes);
    }

    /// Change a block of metadata.
    pub(crate) fn edit_block<R>(
        &mut self,
        block: BlockNr,
        f: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<R> {
        self.remember(block);
        if !self.meta.contains_key(&block) {
            let bytes = self.read_block(block)?.into_owned();
            self.meta.insert(block, bytes);
        }
        Ok(f(self.meta.get_mut(&block).expect("inserted above")))
    }

    /// Give blocks of file data, allocated in this transaction, their content; the last one is filled with zeros.
    pub(crate) fn put_data(&mut self, start: BlockNr, bytes: &[u8]) {
        let whole = bytes.len().next_multiple_of(self.geometry().block_size);
        let mut run = Vec::with_capacity(whole);
        run.extend_from_slice(bytes);
        self.put_owned_data(start, run);
    }

    /// The same without a copy.
    pub(crate) fn put_owned_data(&mut self, start: BlockNr, mut run: Vec<u8>) {
        run.resize(run.len().next_multiple_of(self.geometry().block_size), 0);
        if let Some(undo) = &mut self.undo {
            undo.data.push(start);
        }
        self.data.insert(start, run);
    }

    /// Change an inode; its checksum is filled when `f` returns.
    pub(crate) fn edit_inode<R>(
        &mut self,
        nr: InodeNr,
        f: impl FnOnce(&mut Inode) -> R,
    ) -> Result<R> {
        let mut inode = inode::read(self, nr)?;
        let result = f(&mut inode);
        self.put_inode(inode)?;
        Ok(result)
    }

    /// Store an inode, its checksum filled.
    pub(crate) fn put_inode(&mut self, mut inode: Inode) -> Result<()> {
        inode.seal(self.geometry());
        let (block, offset) = inode::location(self, inode.nr())?;
        if !self.meta.contains_key(&block) {
            // As they were: this transaction has perhaps taken the inode already, in a table that was never written.
            neighbours::check(self.fs, inode.nr())?;
        }
        let bytes = inode.bytes();
        self.edit_block(block, |table| table[offset..offset + bytes.len()].copy_from_slice(bytes))
    }

    /// Store a group descriptor, its checksum filled.
    pub(crate) fn put_group(&mut self, mut desc: GroupDesc) -> Result<()> {
        desc.seal(self.geometry());
        let (block, offset) = self.geometry().desc_location(desc.group());
        let bytes = desc.bytes();
        self.edit_block(block, |descs| descs[offset..offset + bytes.len()].copy_from_slice(bytes))
    }

    /// Where new blocks of an inode should go: its group.
    pub(crate) fn inode_goal(&self, nr: InodeNr) -> Result<BlockNr> {
        let (group, _) = self.geometry().group_of_inode(nr)?;
        Ok(BlockNr(self.geometry().group_start(group)))
    }

    /// Bits of the blocks of a group that were freed in this transaction.
    pub(crate) fn freed(&self, group: GroupNr) -> Option<&[u8]> {
        self.freed.get(&group).map(Vec::as_slice)
    }

    /// A block was freed.
    pub(crate) fn note_freed(&mut self, group: GroupNr, index: u32) {
        let block_size = self.fs.geometry().block_size;
        let bits = self.freed.entry(group).or_insert_with(|| vec![0; block_size]);
        bitmap::set(bits, index);
        if let Some(undo) = &mut self.undo {
            undo.freed.push((group, index));
        }
    }

    /// The most free blocks in a run of a group, as far as is known.
    pub(crate) fn longest_run(&self, group: GroupNr) -> u32 {
        self.longest.get(&group).copied().unwrap_or(u32::MAX)
    }

    /// A group has no longer run of free blocks.
    pub(crate) fn note_longest_run(&mut self, group: GroupNr, len: u32) {
        self.longest.insert(group, len);
    }

    /// Blocks given out must not be in use: what this transaction changed is, whatever a bitmap says.
    pub(crate) fn check_untouched(&self, first: BlockNr, count: u64) -> Result<()> {
        let end = BlockNr(first.0.saturating_add(count));
        match self.meta.range(first..end).find(|&(&block, _)| !self.is_freed(block)) {
            None => Ok(()),
            Some((block, _)) => {
                Err(Error::corrupt(format!("block {block} is in use, but marked free")))
            }
        }
    }

    /// Whether a block was freed in this transaction.
    pub(super) fn is_freed(&self, block: BlockNr) -> bool {
        self.geometry().group_of(block).is_ok_and(|(group, index)| {
            self.freed.get(&group).is_some_and(|bits| bitmap::get(bits, index))
        })
    }

    /// Extended attributes are in use from now on.
    pub(crate) fn note_xattrs(&mut self) {
        let words = self.superblock.feature_compat.get() | Compat::EXT_ATTR.bits();
        self.superblock.feature_compat = words.into();
    }

    /// A file has grown past 2 GiB.
    pub(crate) fn note_large_file(&mut self) -> Result<()> {
        if self.geometry().has(RoCompat::LARGE_FILE) {
            return Ok(());
        }
        if self.superblock.rev_level.get() == 0 {
            return Err(Error::Unsupported(
                "a file of 2 GiB or more in an ext file system of revision 0".to_owned(),
            ));
        }
        let words = self.superblock.feature_ro_compat.get() | RoCompat::LARGE_FILE.bits();
        self.superblock.feature_ro_compat = words.into();
        Ok(())
    }
}

/// The superblock as an edit leaves it: nothing is left to be done at the next mount.
fn settled(fs: &Fs<'_>) -> Superblock {
    let mut superblock = fs.superblock().clone();
    let words = superblock.feature_incompat.get() & !Incompat::NEEDS_RECOVERY.bits();
    superblock.feature_incompat = words.into();
    // Fs::begin saw that the orphan file is empty.
    let words = superblock.feature_ro_compat.get() & !RoCompat::ORPHAN_PRESENT.bits();
    superblock.feature_ro_compat = words.into();
    superblock
}

impl Blocks for Transaction<'_> {
    fn geometry(&self) -> &Geometry {
        self.fs.geometry()
    }

    fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    fn read_block(&self, block: BlockNr) -> Result<Cow<'_, [u8]>> {
        if let Some(bytes) = self.meta.get(&block) {
            return Ok(Cow::Borrowed(bytes));
        }
        if let Some((first, run)) = self.data.range(..=block).next_back() {
            let block_size = self.geometry().block_size;
            let held = usize::try_from(block.0 - first.0)
                .ok()
                .and_then(|index| run.get(index.checked_mul(block_size)?..)?.get(..block_size));
            if let Some(bytes) = held {
                return Ok(Cow::Borrowed(bytes));
            }
        }
        // What the edit has not changed is asked for again with each name.
        Ok(self.fs.read_kept(block)?.to_vec().into())
    }

    fn read_run(&self, first: BlockNr, buf: &mut [u8]) -> Result<()> {
        let block_size = self.geometry().block_size;
        for (block, chunk) in (first.0..).zip(buf.chunks_exact_mut(block_size)) {
            chunk.copy_from_slice(&self.read_block(BlockNr(block))?);
        }
        Ok(())
    }
}
