//! Backups of superblock and descriptors: all of the one, and of the others those that changed.
//!
//! They are brought up to date before the file system grows, since nobody reads them while the first copies are sound.
//! What is left when the growth never happens is a backup that knows more than its original; `e2fsck` and the next growth
//! write it anew.
//!
//! ```text
//! old style:  group 0, and each with a backup:  superblock | all descriptors | room for more
//! meta_bg:    of each 64 groups, the first, the second and the last:  (superblock) | descriptors of the 64
//! ```

use zerocopy::IntoBytes;

use super::enlarged::Enlarged;
use super::shape::{desc_blocks, descs_per_block};
use crate::error::Result;
use crate::ext::blocks::Blocks;
use crate::ext::checksum;
use crate::ext::nr::{BlockNr, GroupNr};
use crate::ext::ondisk::superblock::STATE_VALID;

impl Enlarged<'_> {
    /// Write all of them.
    pub(super) fn write_backups(&mut self) -> Result<()> {
        let old_groups = self.old().group_count;
        // The descriptor of the last group changes too.
        let changed = (old_groups - 1) / descs_per_block(&self.geometry);
        let in_front = desc_blocks(&self.geometry, &self.superblock);
        for group in (1..self.geometry.group_count).map(GroupNr) {
            if !self.geometry.has_superblock(group) {
                continue;
            }
            self.write_superblock(group)?;
            let start = self.geometry.group_start(group);
            let from = if group.0 < old_groups { changed.min(in_front) } else { 0 };
            for index in from..in_front {
                let original = self.geometry.superblock_block().0 + 1 + u64::from(index);
                let bytes = self.read_block(BlockNr(original))?.into_owned();
                self.write_ahead(BlockNr(start + 1 + u64::from(index)), bytes)?;
            }
        }
        let blocks = self.geometry.group_count.div_ceil(descs_per_block(&self.geometry));
        for index in changed.max(in_front)..blocks {
            self.write_meta_descriptors(index)?;
        }
        Ok(())
    }

    /// The backups of a block of descriptors that lies in its own groups.
    fn write_meta_descriptors(&mut self, index: u32) -> Result<()> {
        let per_block = descs_per_block(&self.geometry);
        let first = index * per_block;
        let (original, _) = self.geometry.desc_location(GroupNr(first));
        for group in [first + 1, first + per_block - 1].map(GroupNr) {
            if group.0 >= self.geometry.group_count {
                break;
            }
            let before = u64::from(self.geometry.has_superblock(group));
            let bytes = self.read_block(original)?.into_owned();
            self.write_ahead(BlockNr(self.geometry.group_start(group) + before), bytes)?;
        }
        Ok(())
    }

    /// A backup of the superblock, at the start of its group.
    fn write_superblock(&mut self, group: GroupNr) -> Result<()> {
        let mut superblock = self.superblock.clone();
        let nr = group.0.to_le_bytes();
        superblock.block_group_nr = u16::from_le_bytes([nr[0], nr[1]]).into();
        // As mke2fs has it: who needs the backup has reason to look.
        superblock.state = (superblock.state.get() & !STATE_VALID).into();
        if self.geometry.has_metadata_csum() {
            superblock.checksum = checksum::superblock(superblock.as_bytes()).into();
        }
        let block = BlockNr(self.geometry.group_start(group));
        let mut bytes = self.read_or_blank(block)?;
        bytes[..size_of_val(&superblock)].copy_from_slice(superblock.as_bytes());
        self.write_ahead(block, bytes)
    }
}
