//! The end of an edit: what is to be written, as a whole into a copy, or in steps where the image stands.

use std::collections::BTreeMap;

use zerocopy::IntoBytes;

use super::transaction::Transaction;
use crate::changes::Changes;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::checksum;
use crate::ext::feature::Compat;
use crate::ext::journal::Commit;
use crate::ext::nr::BlockNr;
use crate::ext::ondisk::superblock::OFFSET;
use crate::in_place::InPlace;

/// Blocks by their numbers: one each, or runs by the first.
type Kept = BTreeMap<BlockNr, Vec<u8>>;

impl Transaction<'_> {
    /// End the edit: all that is to be written, the replay of a journal that needs it included. Without either that is
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the image used a block for two things, which shows only now;
    /// [`Error::Io`] where the superblock's neighbours cannot be read.
    pub fn finish(mut self) -> Result<Changes> {
        if self.is_nothing() {
            return Ok(Changes::new());
        }
        self.seal_superblock()?;
        self.replay()?;
        let (meta, data) = self.take_kept()?;
        let mut changes = self.changes(meta);
        changes.extend(self.changes(data));
        Ok(changes)
    }

    /// End the edit: what is to be written where the image stands, such that no crash leaves it half done. It goes through
    /// the journal (`jbd2`), which is replayed before if it has to be; a file system without one gets an undo file.
    ///
    /// # Errors
    /// Those of [`Transaction::finish`]; [`Error::NoSpace`] with both numbers where the journal has
    /// no room for the edit; [`Error::Unsupported`] where a crash could leave more than a replay
    /// of the journal mends.
    pub fn finish_in_place(self) -> Result<InPlace> {
        self.guarded(false)
    }

    /// The same, but where the log has no room for the edit, an undo file keeps it whole. Not where the log has to be
    /// replayed: [`Fs::recover`](crate::ext::Fs::recover) comes before.
    ///
    /// # Errors
    /// Those of [`Transaction::finish_in_place`].
    pub fn finish_in_place_or_undo(self) -> Result<InPlace> {
        self.guarded(true)
    }

    fn guarded(mut self, or_undo: bool) -> Result<InPlace> {
        if self.is_nothing() {
            return Ok(InPlace::undo(Changes::new()));
        }
        self.seal_superblock()?;
        let (meta, data) = self.take_kept()?;
        if !self.geometry().features.compat.contains(Compat::HAS_JOURNAL) {
            return Ok(InPlace::undo_after(self.changes(data), self.changes(meta)));
        }
        let superblock = (*self.superblock).clone();
        let (fs, now) = (self.fs, self.now());
        let mut commit = Commit { fs, superblock, meta, data, now, superblock_last: false };
        match commit.steps() {
            Err(Error::NoSpace(_)) if or_undo && fs.recovery().is_none() => {
                let (meta, data) = (self.changes(commit.meta), self.changes(commit.data));
                Ok(InPlace::undo_after(data, meta))
            }
            outcome => outcome,
        }
    }

    fn is_nothing(&self) -> bool {
        self.meta.is_empty() && self.fs.recovery().is_none()
    }

    fn changes(&self, blocks: Kept) -> Changes {
        let block_size = self.geometry().block_size as u64;
        let start = self.fs.volume().start();
        let mut changes = Changes::new();
        for (block, bytes) in blocks {
            changes.insert(start + block.0 * block_size, bytes);
        }
        changes
    }

    /// Blocks of metadata and runs of file data, without what was freed again.
    fn take_kept(&mut self) -> Result<(Kept, Kept)> {
        let block_size = self.geometry().block_size as u64;
        for (&first, bytes) in &self.data {
            // A block of metadata that was touched after it was given out as free.
            self.check_untouched(first, bytes.len() as u64 / block_size)?;
        }
        let mut meta = std::mem::take(&mut self.meta);
        meta.retain(|&block, _| !self.is_freed(block));
        let mut data = Kept::new();
        // Moved, not copied: file data may be large.
        for (first, bytes) in std::mem::take(&mut self.data) {
            let count = bytes.len() as u64 / block_size;
            let runs = self.kept(first, count);
            if runs.as_slice() == [(first, count)] {
                data.insert(first, bytes);
                continue;
            }
            for (run, len) in runs {
                let from = usize::try_from((run.0 - first.0) * block_size).expect("in memory");
                let to = from + usize::try_from(len * block_size).expect("in memory");
                data.insert(run, bytes[from..to].to_vec());
            }
        }
        Ok((meta, data))
    }

    /// Bring home what only the log has, and empty it.
    fn replay(&mut self) -> Result<()> {
        let fs = self.fs;
        let Some(recovery) = fs.recovery() else { return Ok(()) };
        for (home, _) in recovery.copies(BlockNr(0), u64::MAX) {
            // What was free and got new content has no need of its old one.
            if !self.meta.contains_key(&home) && !self.has_data(home) {
                let bytes = fs.read_block(home)?.into_owned();
                self.meta.insert(home, bytes);
            }
        }
        if let Some((block, bytes)) = recovery.superblock() {
            self.check_untouched(block, 1)?;
            self.meta.insert(block, bytes.to_vec());
        }
        Ok(())
    }

    fn has_data(&self, block: BlockNr) -> bool {
        let block_size = self.geometry().block_size as u64;
        let before = self.data.range(..=block).next_back();
        before.is_some_and(|(first, run)| block.0 - first.0 < run.len() as u64 / block_size)
    }

    /// Runs of data that were not freed again.
    fn kept(&self, first: BlockNr, count: u64) -> Vec<(BlockNr, u64)> {
        let mut runs: Vec<(BlockNr, u64)> = Vec::new();
        for block in (first.0..first.0 + count).map(BlockNr).filter(|&b| !self.is_freed(b)) {
            match runs.last_mut() {
                Some((start, len)) if start.0 + *len == block.0 => *len += 1,
                _ => runs.push((block, 1)),
            }
        }
        runs
    }

    fn seal_superblock(&mut self) -> Result<()> {
        self.superblock.set_wtime(self.now());
        if self.geometry().has_metadata_csum() {
            self.superblock.checksum = checksum::superblock(self.superblock.as_bytes()).into();
        }
        let block_size = self.geometry().block_size as u64;
        let offset = usize::try_from(OFFSET % block_size).expect("1024 at most");
        let superblock = self.superblock.clone();
        let bytes = superblock.as_bytes();
        self.edit_block(self.geometry().superblock_block(), |block| {
            block[offset..offset + bytes.len()].copy_from_slice(bytes);
        })
    }
}
