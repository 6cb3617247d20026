//! Inode 7 keeps the blocks behind the descriptors, and those behind each backup of them.
//!
//! ```text
//! i_block[13] → D;  D[descriptor blocks + k] → block k of the room;  that block[n] → the same in backup n
//! ```
//! Descriptors that grow take the first blocks of the room: their entries in D go. New groups with a backup keep the same
//! room: their blocks are entered behind those of the others. Once `meta_bg` is on nothing is kept any more: the inode is
//! emptied, and D is free.

use super::enlarged::Enlarged;
use super::shape::desc_blocks;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::feature::Compat;
use crate::ext::geometry::Geometry;
use crate::ext::inode::{self, Inode};
use crate::ext::map::indirect::number;
use crate::ext::nr::{BlockNr, GroupNr, InodeNr};

/// `EXT4_RESIZE_INO`.
const NR: InodeNr = InodeNr(7);
/// The number in `i_block` of a block of blocks of numbers.
const DOUBLE: usize = 13;

fn wrong(what: &str) -> Error {
    Error::not_clean(&format!("its resize inode does not keep what it should: {what}"))
}

/// How many blocks the groups `from..to` that have a backup are behind group 0.
fn backups(geometry: &Geometry, from: u32, to: u32) -> Vec<u64> {
    (from.max(1)..to)
        .filter(|&group| geometry.has_superblock(GroupNr(group)))
        .map(|group| u64::from(group) * u64::from(geometry.blocks_per_group.get()))
        .collect()
}

fn put_number(bytes: &mut [u8], index: usize, number: u32) {
    bytes[index * 4..index * 4 + 4].copy_from_slice(&number.to_le_bytes());
}

impl Enlarged<'_> {
    /// Give descriptors their blocks, and new backups their room.
    ///
    /// # Errors
    /// [`Error::NotClean`] where the inode is not as it should be.
    pub(super) fn grow_reserve(&mut self) -> Result<()> {
        if !self.old().features.compat.contains(Compat::RESIZE_INODE) {
            return Ok(());
        }
        let mut inode = inode::read_any(self.fs, NR)?;
        let array = inode.base().block;
        let double = BlockNr(number(&array, DOUBLE).into());
        let is_alone = (0..15).all(|slot| slot == DOUBLE || number(&array, slot) == 0);
        if !is_alone || self.old().check_data(double, 1).is_err() {
            return Err(wrong("more than one number"));
        }
        let mut doubles = self.fs.read_block(double)?.into_owned();
        let before = desc_blocks(self.old(), self.fs.superblock());
        let taken = desc_blocks(&self.geometry, &self.superblock) - before;
        let reserve = u32::try_from(self.old().reserved_gdt_blocks).expect("16 bits");
        let numbers = self.geometry.block_size / 4;
        let old_backups = backups(self.old(), 0, self.old().group_count);
        let new_backups =
            backups(&self.geometry, self.old().group_count, self.geometry.group_count);
        if old_backups.len() + new_backups.len() > numbers {
            return Err(Error::Unsupported(format!(
                "growth of an ext file system to more backups than `resize_inode` numbers ({numbers})"
            )));
        }
        for k in 0..reserve {
            let slot = (before as usize + k as usize) % numbers;
            let block = self.geometry.superblock_block().0 + 1 + u64::from(before + k);
            if u64::from(number(&doubles, slot)) != block {
                return Err(wrong(&format!("block {block}")));
            }
            let mut array = self.fs.read_block(BlockNr(block))?.into_owned();
            let mut entries = old_backups.iter().enumerate();
            if !entries.all(|(n, backup)| u64::from(number(&array, n)) == block + backup) {
                return Err(wrong(&format!("backups of block {block}")));
            }
            if k < taken {
                put_number(&mut doubles, slot, 0);
                self.guard(BlockNr(block), vec![0; self.geometry.block_size]);
            } else if !new_backups.is_empty() {
                for (n, backup) in (old_backups.len()..).zip(&new_backups) {
                    let number = u32::try_from(block + backup)
                        .map_err(|_| wrong("a backup behind 32 bits of block numbers"))?;
                    put_number(&mut array, n, number);
                }
                self.guard(BlockNr(block), array);
            }
        }
        if !self.geometry.features.compat.contains(Compat::RESIZE_INODE) {
            return self.clear(inode, double);
        }
        self.guard(double, doubles);
        let backups = (old_backups.len() + new_backups.len()) as u64;
        let blocks = 1 + u64::from(reserve - taken) * (1 + backups);
        let sectors = blocks * (self.geometry.block_size as u64 / 512);
        if !inode.set_sectors(&self.geometry, sectors) {
            return Err(wrong("more blocks than an inode counts"));
        }
        self.put_inode(inode)
    }

    /// Nothing is kept any more.
    fn clear(&mut self, mut inode: Inode, double: BlockNr) -> Result<()> {
        inode.bytes_mut().fill(0);
        self.put_inode(inode)?;
        self.free_block(double)
    }

    fn put_inode(&mut self, mut inode: Inode) -> Result<()> {
        inode.seal(&self.geometry);
        let (block, offset) = inode::location(self.fs, NR)?;
        let mut table = self.read_block(block)?.into_owned();
        table[offset..offset + inode.bytes().len()].copy_from_slice(inode.bytes());
        self.guard(block, table);
        Ok(())
    }
}
