//! The beginning of an edit: whether the file system may be edited, and what a mount would do first.
//!
//! What is asked, in this order:
//!
//! ```text
//! features that an edit would leave wrong      refused
//! a log to be replayed, an error noted in it   replayed with the edit; looked at
//! s_state not clean                            looked at: all inodes
//! orphans                                      freed
//! ```

use super::in_use;
use super::transaction::Transaction;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::feature::{Compat, RoCompat};
use crate::ext::fs::Fs;
use crate::ext::journal;
use crate::ext::ondisk::superblock::{OS_HURD, STATE_ERROR, STATE_VALID};

impl Fs<'_> {
    /// Begin an edit, all of whose changes happen at `now`, in Unix seconds. What a mount would do first is part of it:
    /// a journal that needs it is replayed, and files are freed that were deleted while they were open.
    ///
    /// # Errors
    /// What cannot be edited safely is refused here, before anything else: [`Error::Unsupported`] with the name of every
    /// feature that an edit would leave wrong, [`Error::NotClean`] where `e2fsck` has to look first. Where the kernel noted
    /// an error, or a file system without journal was not unmounted, all inodes are looked at, and what is in use must be
    /// marked so; the mark of the error stays.
    pub fn begin(&self, now: i64) -> Result<Transaction<'_>> {
        self.geometry().features.check_writable()?;
        let linux_only = self.geometry().is_wide()
            || self.geometry().has(RoCompat::HUGE_FILE | RoCompat::METADATA_CSUM);
        if self.superblock().creator_os.get() == OS_HURD && linux_only {
            return Err(Error::Unsupported(
                "an ext file system made by GNU Hurd, with features that its inodes have no room for"
                    .to_owned(),
            ));
        }
        let has_errno = match self.recovery() {
            Some(recovery) => recovery.has_errno(),
            None if self.geometry().features.compat.contains(Compat::HAS_JOURNAL) => {
                journal::check_empty(self)?
            }
            None => false,
        };
        let is_clean = self.superblock().state.get() & (STATE_VALID | STATE_ERROR) == STATE_VALID;
        if has_errno || !is_clean {
            self.check_in_use()?;
        }
        let mut tx = Transaction::new(self, now);
        if self.recovery().is_some() || !is_clean {
            tx.recount()?;
        }
        tx.free_orphans()?;
        Ok(tx)
    }

    /// Look at all inodes, whether each of them, and each of their blocks, is marked as in use and belongs to one file
    /// (`inode bitmap`, `block bitmap`). An edit relies on that. [`begin`](Self::begin) looks only where there is reason
    /// for doubt, since this reads all inode tables.
    ///
    /// # Errors
    /// [`Error::NotClean`] where one is not; [`Error::Corrupt`] where an inode or its map is damaged.
    pub fn check_in_use(&self) -> Result<()> {
        in_use::check(self)
    }
}
