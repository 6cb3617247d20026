//! Numbers that name something: a block, an inode, a group.
//!
//! A block of a file (`lblk`) stays a plain `u32`: it never names anything on its own.

use std::fmt;

/// A block of the volume. Block 0 holds the boot sector and is never file data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BlockNr(pub(crate) u64);

/// An inode. Counts from 1; 2 is the root directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeNr(pub(crate) u32);

/// A block group. Counts from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupNr(pub(crate) u32);

impl InodeNr {
    /// The root directory.
    pub const ROOT: Self = Self(2);
    /// The inode of the disk's bad blocks (`EXT4_BAD_INO`), which no name leads to.
    pub(crate) const BAD_BLOCKS: Self = Self(1);

    /// The number as it stands in a directory entry.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for BlockNr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for InodeNr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for GroupNr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
