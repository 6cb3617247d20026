//! An edit of an image where it stands, such that no crash leaves it half done.
//!
//! An [`InPlace`] is what is to be written, in steps: a value, made without touching the image. Between two steps all is
//! synced, so that a crash finds every earlier step whole, and of one step any part. The last step of a journalled edit is
//! left to the host: the edit is on the disk by then, and a mark that is still there has an empty log. Whoever comes next
//! (the kernel, `e2fsck`, this library) brings that back to *before* or *after*, never to something between, by one of two
//! [`Guard`]s: the journal of the file system that is edited, or an undo file beside the image.
//!
//! ```text
//! journal:  log, and what goes into free blocks │ log begins │ blocks to their homes │ log is empty │ flag off
//! undo:     undo file │ file data into free blocks │ blocks to their homes │ no undo file
//! ```
//! [`ImageMut::commit_in_place`](crate::ImageMut::commit_in_place) carries it out. The order lies in [`InPlace::apply`],
//! against a [`Disk`]: a test that records writes and syncs sees the order that an image sees.
//!
//! Nothing here knows a file system: steps are bytes at offsets.

#![forbid(unsafe_code)]

use crate::Storage;
use crate::changes::Changes;
use crate::error::Result;
use crate::undo;

/// What keeps an edit whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    /// The file system's own journal (jbd2): the kernel and `e2fsck` recover it too.
    Journal,
    /// A file beside the image with what its bytes were: only this library recovers it.
    Undo,
}

/// An edit in steps, each of which has to be on the disk before the next one begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InPlace {
    steps: Vec<Changes>,
    /// How many of the first steps change bytes that nobody reads: an undo file is of the others.
    free_steps: usize,
    guard: Guard,
    log_blocks: u32,
}

/// Where an edit is carried out: an image, or a test's record of one.
pub trait Disk: Storage {
    /// Change bytes at `offset`. Until the next sync any part of them may reach the disk, before or after any other.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Wait until all that was written is on the disk.
    fn sync(&mut self) -> Result<()>;

    /// Keep an undo file with this content beside the image. It is on the disk, whole, when this returns.
    fn keep_undo(&mut self, undo: &[u8]) -> Result<()>;

    /// Take the undo file away again.
    fn drop_undo(&mut self) -> Result<()>;
}

impl InPlace {
    /// Guard any changes with an undo file: those of a file system without a journal, of a partition table, of several
    /// volumes at once.
    pub fn undo(changes: Changes) -> Self {
        Self::undo_in_order(vec![changes])
    }

    /// The same in several steps, no two of which change the same bytes: should the undo file be lost, or somebody look who
    /// knows nothing of it, each step has found those before it whole.
    ///
    /// # Panics
    /// Where two steps do change the same bytes: a defect of the caller, never of an image.
    pub(crate) fn undo_in_order(steps: Vec<Changes>) -> Self {
        let mut ranges: Vec<(u64, u64)> = steps.iter().flat_map(Changes::ranges).collect();
        ranges.sort_unstable();
        let apart = ranges.windows(2).all(|two| two[0].0 + two[0].1 <= two[1].0);
        assert!(apart, "two steps change the same bytes");
        Self { steps, free_steps: 0, guard: Guard::Undo, log_blocks: 0 }
    }

    /// The same, with changes to free blocks, which nobody reads: they need no guard, but have to be there first.
    pub(crate) fn undo_after(free: Changes, changes: Changes) -> Self {
        Self::undo(changes).behind(free)
    }

    /// The same edit, behind a step that changes bytes that nobody reads before it is done.
    pub(crate) fn behind(mut self, free: Changes) -> Self {
        self.steps.insert(0, free);
        self.free_steps += 1;
        self
    }

    /// Steps of which each leaves what the journal recovers; `log_blocks` of its log are used.
    pub(crate) fn journal(steps: Vec<Changes>, log_blocks: u32) -> Self {
        Self { steps, free_steps: 0, guard: Guard::Journal, log_blocks }
    }

    /// What keeps it whole.
    pub fn guard(&self) -> Guard {
        self.guard
    }

    /// What is written, step by step.
    pub fn steps(&self) -> impl Iterator<Item = &Changes> {
        self.steps.iter()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.steps.iter().all(Changes::is_empty)
    }

    /// How many bytes will be written into the image. What a journal guards is written twice, and counts twice.
    pub fn len(&self) -> u64 {
        self.steps.iter().map(Changes::len).sum()
    }

    /// Blocks of the journal's log that the edit takes for a while; 0 with an undo file.
    pub fn log_blocks(&self) -> u32 {
        self.log_blocks
    }

    /// Carry it out.
    ///
    /// # Errors
    /// Those of `disk`, and [`Error::Unsupported`](crate::Error::Unsupported) where an undo file would be too large:
    /// nothing was written then. Past an error in the middle the edit is as after a crash.
    pub fn apply(&self, disk: &mut impl Disk) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        if self.guard == Guard::Undo {
            let undo = undo::encode(disk, &self.steps[self.free_steps..])?;
            disk.keep_undo(&undo)?;
        }
        let steps: Vec<&Changes> = self.steps.iter().filter(|step| !step.is_empty()).collect();
        for (number, step) in steps.iter().enumerate() {
            if number > 0 {
                disk.sync()?;
            }
            for (offset, bytes) in step.iter() {
                disk.write_at(offset, bytes)?;
            }
        }
        match self.guard {
            Guard::Journal => Ok(()),
            Guard::Undo => {
                disk.sync()?;
                disk.drop_undo()
            }
        }
    }
}
