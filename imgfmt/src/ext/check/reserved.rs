//! What the file system keeps in inodes and blocks of its own: the journal, orphans, room for descriptors, the block
//! that guards against two mounts.

use zerocopy::FromBytes;

use super::inodes::reserved;
use super::{FindingKind, Place, Step, Walk};
use crate::ext::blocks::Blocks;
use crate::ext::checksum;
use crate::ext::feature::{Compat, Incompat, RoCompat};
use crate::ext::inode::FileType;
use crate::ext::journal;
use crate::ext::map::indirect::number;
use crate::ext::nr::{BlockNr, GroupNr, InodeNr};
use crate::ext::ondisk::journal::{Superblock as JournalSuperblock, blocktype};
use crate::ext::orphan;

/// `mmp_magic`.
const MMP_MAGIC: u32 = 0x004D_4D50;
/// Bytes of `struct mmp_struct`, the last four of them its checksum.
const MMP_LEN: usize = 1024;
/// The number in `i_block` of a block of blocks of numbers.
const DOUBLE: usize = 13;

impl Walk<'_, '_> {
    /// Find the inodes that are still to be freed or cut: they are in use though nothing names them.
    pub(super) fn orphans(&mut self) -> Step {
        let superblock = self.fs.superblock();
        let geometry = self.geometry();
        let mut nr = superblock.last_orphan.get();
        while nr != 0 {
            let place = Place::Inode(InodeNr(nr));
            if nr < geometry.first_inode || nr > geometry.inode_count || !self.orphans.insert(nr) {
                self.add(FindingKind::Orphan, place, "the list of orphans leads here")?;
                break;
            }
            let Some(inode) = self.raw_inode(nr)? else { break };
            nr = inode.base().dtime.get();
        }
        if geometry.features.compat.contains(Compat::ORPHAN_FILE) {
            self.orphan_file(superblock.orphan_file_inum.get())?;
        }
        // A crash leaves some, and the next mount frees them once it has replayed the log.
        if !self.orphans.is_empty() && self.fs.recovery().is_none() {
            let what = format!("{} orphans are still to be freed", self.orphans.len());
            self.add(FindingKind::Orphan, Place::Superblock, what)?;
        }
        Ok(())
    }

    fn orphan_file(&mut self, nr: u32) -> Step {
        let place = Place::Inode(InodeNr(nr));
        let read = orphan::entries(self.fs, usize::MAX);
        let entries = self.found(FindingKind::Orphan, place, read)?;
        let is_announced = self.geometry().has(RoCompat::ORPHAN_PRESENT);
        match (entries.as_ref().map(Vec::is_empty), is_announced) {
            (Some(true), true) if self.fs.recovery().is_none() => {
                let what = "orphan_present is on, but the orphan file is empty";
                self.add(FindingKind::Orphan, Place::Superblock, what)?;
            }
            (Some(false), false) => {
                self.add(FindingKind::Orphan, place, "orphan_present is off, but it names some")?;
            }
            _ => {}
        }
        let geometry = self.geometry();
        let there = geometry.first_inode..=geometry.inode_count;
        let named = entries.unwrap_or_default().into_iter().map(|nr| nr.0);
        self.orphans.extend(named.filter(|nr| there.contains(nr)));
        Ok(())
    }

    /// The log must be one that the kernel would use, and empty where nothing says that it has to be replayed.
    pub(super) fn journal(&mut self) -> Step {
        let superblock = self.fs.superblock();
        if !self.geometry().features.compat.contains(Compat::HAS_JOURNAL) {
            return Ok(());
        }
        let nr = superblock.journal_inum.get();
        let place = Place::Inode(InodeNr(nr));
        if nr == 0 {
            match superblock.journal_dev.get() {
                0 => {
                    let what = "has_journal is on, but nothing leads to a journal";
                    self.add(FindingKind::Journal, Place::Superblock, what)?;
                }
                _ => self.report.skip("the journal, which is on another device"),
            }
            return Ok(());
        }
        // What has to be replayed was read whole for that.
        let is_dirty = self.fs.recovery().is_some();
        if !is_dirty {
            let sound = journal::check_sound(self.fs);
            if self.found(FindingKind::Journal, place, sound)?.is_none() {
                return Ok(());
            }
        }
        let at = journal::superblock_location(self.fs)?;
        let bytes = self.fs.read_block(at)?;
        let (log, _) = JournalSuperblock::ref_from_prefix(&bytes).expect("a block is longer");
        if log.start.get() != 0 && !is_dirty {
            let what = "it is not empty, but nothing says that it has to be replayed";
            self.add(FindingKind::Journal, place, what)?;
        }
        let words = [log.feature_compat, log.feature_incompat, log.feature_ro_compat, log.nr_users];
        if log.header.blocktype.get() == blocktype::SUPERBLOCK_V1
            && words.iter().any(|word| word.get() != 0)
        {
            let what = "features in a journal of version 1, which has none";
            self.add(FindingKind::Journal, place, what)?;
        } else if log.nr_users.get() > 1 {
            let what = format!("a journal for {} file systems, which lies in one", log.nr_users);
            self.add(FindingKind::Journal, place, what)?;
        }
        Ok(())
    }

    /// Inode 7 keeps the blocks behind the descriptors, and those behind each backup of them.
    ///
    /// ```text
    /// i_block[13] → D;  D[descriptor blocks + k] → block k of the room;  that block[n] → the same in backup n
    /// ```
    pub(super) fn resize_inode(&mut self) -> Step {
        let geometry = self.geometry();
        let place = Place::Inode(InodeNr(reserved::RESIZE));
        let Some(inode) = self.raw_inode(reserved::RESIZE)? else { return Ok(()) };
        let array = inode.base().block;
        if !geometry.features.compat.contains(Compat::RESIZE_INODE) {
            if array != [0; 60] || inode.links_count() != 0 {
                let what = "resize_inode is off, but it is not empty";
                self.add(FindingKind::Resize, place, what)?;
            }
            return Ok(());
        }
        let double = BlockNr(number(&array, DOUBLE).into());
        let is_alone = (0..15).all(|slot| slot == DOUBLE || number(&array, slot) == 0);
        if FileType::from_mode(inode.mode()) != Some(FileType::File)
            || inode.links_count() == 0
            || !is_alone
            || !self.is_within(double, 1)
        {
            return self.add(FindingKind::Resize, place, "it does not keep what it should");
        }
        self.claim(place, self.unit(double.0), 1)?;
        let backups: Vec<u64> = (1..geometry.group_count)
            .filter(|&group| geometry.has_superblock(GroupNr(group)))
            .take(geometry.block_size / 4)
            .map(|group| u64::from(group) * u64::from(geometry.blocks_per_group.get()))
            .collect();
        let doubles = self.fs.read_block(double)?;
        let numbers = geometry.block_size / 4;
        let base = geometry.base_meta_blocks(GroupNr(0));
        let Some(base) = base.checked_sub(geometry.reserved_gdt_blocks).filter(|&base| base > 0)
        else {
            let what = "there is no room for it where group 0 has no descriptors (meta_bg)";
            return self.add(FindingKind::Resize, place, what);
        };
        let descs = usize::try_from(base - 1).unwrap_or(numbers);
        let start = geometry.superblock_block().0 + base;
        for k in 0..geometry.reserved_gdt_blocks {
            let block = start + k;
            let slot = (descs + usize::try_from(k).unwrap_or(0)) % numbers;
            let mut is_right = u64::from(number(&doubles, slot)) == block;
            if is_right && self.is_within(BlockNr(block), 1) {
                let array = self.fs.read_block(BlockNr(block))?;
                is_right = backups
                    .iter()
                    .enumerate()
                    .all(|(n, backup)| u64::from(number(&array, n)) == block + backup);
            }
            if !is_right {
                let what = format!("it does not keep block {block} and its backups");
                return self.add(FindingKind::Resize, place, what);
            }
        }
        let blocks = 1 + geometry.reserved_gdt_blocks * (1 + backups.len() as u64);
        let expected = blocks * (geometry.cluster_size / 512);
        let sectors = inode.sectors(geometry);
        if sectors != expected {
            let what = format!("i_blocks is {sectors} sectors, should be {expected}");
            self.add(FindingKind::Inode, place, what)?;
        }
        Ok(())
    }

    /// The block that guards against two mounts.
    pub(super) fn mmp(&mut self) -> Step {
        let geometry = self.geometry();
        if !geometry.features.incompat.contains(Incompat::MMP) {
            return Ok(());
        }
        let block = BlockNr(self.fs.superblock().mmp_block.get());
        if !self.is_within(block, 1) {
            let what = format!("its block {block} does not exist");
            return self.add(FindingKind::Mmp, Place::Superblock, what);
        }
        self.claim(Place::Block(block.0), self.unit(block.0), 1)?;
        let bytes = self.fs.read_block(block)?;
        let place = Place::Block(block.0);
        if bytes[..4] != MMP_MAGIC.to_le_bytes() {
            return self.add(FindingKind::Mmp, place, "guard against two mounts: no magic number");
        }
        let stored = &bytes[MMP_LEN - 4..MMP_LEN];
        let crc = checksum::crc32c(geometry.seed, &bytes[..MMP_LEN - 4]);
        if geometry.has_metadata_csum() && stored != crc.to_le_bytes() {
            self.add(FindingKind::Mmp, place, "guard against two mounts: checksum is wrong")?;
        }
        Ok(())
    }
}
