//! What a mount would do first, and nothing else: a replay of the journal, an end to orphans.
//!
//! ```text
//! needs_recovery   s_start (journal)   s_last_orphan, orphan file   pending
//! off              0                   nothing                      nothing: the file system was unmounted
//! on               5                   inode 14                     the log is replayed, inode 14 is freed or cut
//! on               0                   nothing                      the mark alone goes
//! ```
//! An edit does all of this by itself ([`Fs::begin`]); this is for whoever wants no edit. It repairs nothing: what is
//! damaged is refused.

use super::transaction::Transaction;
use crate::error::Result;
use crate::ext::fs::Fs;
use crate::in_place::InPlace;

/// What a mount would do first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pending {
    /// The log holds what has to be replayed, transactions or fast commits: `s_start` of `journal_superblock_s` is not 0.
    pub has_log: bool,
    /// The mark of a log that has to be replayed is on (`INCOMPAT_RECOVER`, by e2fsprogs `needs_recovery`). The log may
    /// be empty all the same: the kernel turns the mark on when it mounts.
    pub is_marked: bool,
    /// Inodes that were deleted, or were being cut, while somebody had them open: of the list that begins at
    /// `s_last_orphan` of `struct ext4_super_block`, and of the orphan file (`s_orphan_file_inum`).
    pub orphans: usize,
}

impl Pending {
    /// Whether a mount would do nothing of the kind.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

impl Fs<'_> {
    /// What a mount would do first. The log is read when a file system is opened; this reads the orphans.
    ///
    /// # Errors
    /// [`Error::NotClean`](crate::Error::NotClean) or [`Error::Corrupt`](crate::Error::Corrupt) where the orphans are
    /// damaged.
    pub fn pending(&self) -> Result<Pending> {
        Ok(Pending {
            has_log: self.needs_recovery(),
            is_marked: self.recovery().is_some(),
            orphans: Transaction::new(self, 0).orphans()?.len(),
        })
    }

    /// Do on the disk what a mount would do first, at `now` in Unix seconds, in steps of which no crash leaves anything
    /// that the next mount, `e2fsck` or this cannot bring to the same end. It is an edit that changes nothing of its own;
    /// empty where nothing is pending.
    ///
    /// # Errors
    /// Those of [`Fs::begin`] and [`Transaction::finish_in_place`].
    pub fn recover(&self, now: i64) -> Result<InPlace> {
        self.begin(now)?.finish_in_place()
    }
}
