//! Enlarging a file system: its last group is filled up, new groups follow, descriptors get room.
//!
//! [`Fs::grow`] works out all of it and writes nothing; [`Growth::in_place`] is what is to be written. The volume has to be
//! larger than the file system already: the partition or the file comes first, since a file system smaller than its volume
//! is sound, and a larger one is not.
//!
//! ```text
//! before:  group 0 … group 6 (short) |
//! after:   group 0 … group 6 whole   | group 7 … group 99 (short)
//! ```
//! In place it goes in this order:
//!
//! ```text
//! 1  new groups, and backups of superblock and descriptors       nobody reads them: before
//! 2  one transaction in the journal, as any edit has              before or after, at one sector
//!    (the last group's bitmap, descriptors, inode 7 and its blocks, the superblock)
//! ```
//! One transaction is enough however large the growth is: what is new goes round the log, and what is old is at most the
//! room kept for descriptors, of 256 blocks of 1 KiB or 1024 of 4 KiB. Where a log is too short even for that, and where
//! there is none, an undo file guards step 2.
//!
//! The superblock goes home last, behind a sync of its own: it is read before the log is, and its count of groups makes the
//! kernel look at their descriptors.
//!
//! A crash between the begin of the log and the superblock's way home is recovered by `e2fsck` and here to all of the growth.
//! The kernel replays it as well, but has counted the groups before: that mount uses the old ones, and leaves counts of what
//! is free in the superblock that are too low, as after a crash in its own online resize. Its next mount counts anew.
//!
//! Not enlarged: what an edit refuses (`bigalloc` among it), and a file system that a mount would have to bring to order
//! first ([`Fs::recover`]).

mod backups;
mod enlarged;
mod groups;
mod resize_inode;
mod shape;

use zerocopy::IntoBytes;

use self::enlarged::Enlarged;
use crate::changes::Changes;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::checksum;
use crate::ext::feature::Compat;
use crate::ext::fs::Fs;
use crate::ext::geometry::Geometry;
use crate::ext::journal::Commit;
use crate::ext::nr::GroupNr;
use crate::ext::ondisk::superblock::OFFSET;
use crate::in_place::InPlace;

/// How large an ext file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Blocks (`s_blocks_count_lo`, `s_blocks_count_hi`).
    pub blocks: u64,
    /// Bytes of them.
    pub len: u64,
    /// Inodes (`s_inodes_count`).
    pub inodes: u32,
    /// Block groups.
    pub groups: u32,
}

/// A growth that was worked out, and not written.
#[derive(Clone, Debug)]
pub struct Growth {
    before: Size,
    after: Size,
    switches_to_meta_bg: bool,
    in_place: InPlace,
}

impl Growth {
    /// How large the file system is.
    pub fn before(&self) -> Size {
        self.before
    }

    /// How large it will be. It may have less blocks than were wanted, where its last group would be too short to be of use.
    pub fn after(&self) -> Size {
        self.after
    }

    /// Whether nothing changes: what was wanted is too little for a group.
    pub fn is_nothing(&self) -> bool {
        self.before == self.after
    }

    /// Whether `meta_bg` is turned on for it, which kernels before 2.6 do not know.
    pub fn switches_to_meta_bg(&self) -> bool {
        self.switches_to_meta_bg
    }

    /// What is to be written where the image stands, such that a crash leaves the file system as it is or as it will be.
    pub fn in_place(&self) -> &InPlace {
        &self.in_place
    }
}

impl Fs<'_> {
    /// Enlarge the file system to `blocks` at `now`, in Unix seconds. From byte `zeros_from` of the volume on all bytes are
    /// known to be zeros, as those of a file are that was just enlarged; the length of the volume says nothing of the kind.
    ///
    /// # Errors
    /// Those of [`Fs::begin`]; [`Error::NeedsRecovery`] where a mount would have something to do first;
    /// [`Error::Unsupported`] with the limit where it cannot get that large, or would get smaller; [`Error::NoSpace`] where
    /// the volume does not hold as many blocks.
    pub fn grow(&self, blocks: u64, zeros_from: u64, now: i64) -> Result<Growth> {
        let tx = self.begin(now)?;
        if self.recovery().is_some() || tx.changed_len() > 0 {
            return Err(Error::NeedsRecovery("before the file system can be enlarged"));
        }
        let before = size(self.geometry());
        let Some(shape) = shape::enlarge(self, tx.superblock(), blocks)? else {
            let (switches_to_meta_bg, in_place) = (false, InPlace::undo(Changes::new()));
            return Ok(Growth { before, after: before, switches_to_meta_bg, in_place });
        };
        let after = size(&shape.geometry);
        let switches_to_meta_bg = shape.switches_to_meta_bg;
        let enlarged = Enlarged::new(self, shape.superblock, shape.geometry, zeros_from);
        let in_place = enlarged.work_out(now)?;
        Ok(Growth { before, after, switches_to_meta_bg, in_place })
    }
}

fn size(geometry: &Geometry) -> Size {
    Size {
        blocks: geometry.block_count,
        len: geometry.block_count * geometry.block_size as u64,
        inodes: geometry.inode_count,
        groups: geometry.group_count,
    }
}

impl Enlarged<'_> {
    /// All changes.
    fn work_out(mut self, now: i64) -> Result<InPlace> {
        self.grow_reserve()?;
        self.complete_last_group()?;
        let added = self.add_groups()?;
        self.count(added)?;
        self.superblock.set_wtime(now);
        if self.geometry.has_metadata_csum() {
            self.superblock.checksum = checksum::superblock(self.superblock.as_bytes()).into();
        }
        self.write_backups()?;
        self.guard_superblock()?;
        self.check_apart()?;
        let ahead = self.take_ahead();
        self.in_place(ahead, now)
    }

    /// Count what was added: `added` free blocks of the new groups, those of the last one, the inodes.
    fn count(&mut self, added: u64) -> Result<()> {
        let wide = self.geometry.is_wide();
        let last = GroupNr(self.old().group_count - 1);
        let filled = self.geometry.group_len(last) - self.old().group_len(last);
        let wrong = || Error::corrupt("ext superblock: counts of what is free are wrong");
        let free = self.superblock.free_blocks_count(wide).checked_add(added + filled);
        let free = free.filter(|&free| free < self.geometry.block_count).ok_or_else(wrong)?;
        self.superblock.set_free_blocks_count(free, wide);
        let inodes = self.geometry.inode_count - self.old().inode_count;
        let free = self.superblock.free_inodes_count.get().checked_add(inodes).ok_or_else(wrong)?;
        self.superblock.free_inodes_count = free.into();
        if self.superblock.overhead_blocks.get() != 0 {
            let overhead = u64::from(self.superblock.overhead_blocks.get()) + self.added_overhead();
            // 0: not known, as before 2010.
            self.superblock.overhead_blocks = u32::try_from(overhead).unwrap_or(0).into();
        }
        Ok(())
    }

    fn guard_superblock(&mut self) -> Result<()> {
        let block = self.geometry.superblock_block();
        let offset = OFFSET % self.geometry.block_size as u64;
        let offset = usize::try_from(offset).expect("1024 at most");
        let mut bytes = self.read_block(block)?.into_owned();
        let superblock = self.superblock.as_bytes();
        bytes[offset..offset + superblock.len()].copy_from_slice(superblock);
        self.guard(block, bytes);
        Ok(())
    }

    fn in_place(self, ahead: Changes, now: i64) -> Result<InPlace> {
        let guarded = self.changes(self.guarded.clone());
        if !self.geometry.features.compat.contains(Compat::HAS_JOURNAL) {
            return Ok(InPlace::undo_after(ahead, guarded));
        }
        let (fs, superblock) = (self.fs, self.superblock);
        let mut commit = Commit {
            fs,
            superblock,
            meta: self.guarded,
            data: Default::default(),
            now,
            superblock_last: true,
        };
        match commit.steps() {
            Ok(edit) => Ok(edit.behind(ahead)),
            // The log is too short.
            Err(Error::NoSpace(_)) => Ok(InPlace::undo_after(ahead, guarded)),
            Err(error) => Err(error),
        }
    }
}
