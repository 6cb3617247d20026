//! Where a block of a file lies on the volume.
//!
//! A file is mapped by an extent tree ([`extents`]) or, as before ext4, by lists of block numbers ([`indirect`]). Which
//! of them is said by a flag of the inode, so both occur in one file system. Inline data is mapped by neither. [`content`]
//! reads what is mapped, [`edit`] changes the map.

pub(crate) mod content;
pub(crate) mod edit;
pub(crate) mod extents;
pub(crate) mod extents_edit;
pub(crate) mod indirect;
mod indirect_edit;
mod truncate;

use crate::error::Result;
use crate::ext::blocks::Blocks;
use crate::ext::inode::Inode;
use crate::ext::nr::BlockNr;
use crate::ext::ondisk::inode::flag;

/// What is known about some blocks of a file that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Where the first one lies; `None` where it reads as zeros.
    pub(crate) start: Option<BlockNr>,
    /// How many blocks it holds for; never 0.
    pub(crate) count: u64,
}

/// All that a file takes on the volume, but for extended attributes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// Runs of data, unwritten ones too, in the order of the file: first block and count.
    pub(crate) data: Vec<(BlockNr, u64)>,
    /// Blocks of the map itself.
    pub(crate) own: Vec<BlockNr>,
}

/// Where block `lblk` of a file lies, and for how many blocks that goes on.
pub(crate) fn lookup(blocks: &impl Blocks, inode: &Inode, lblk: u32) -> Result<Run> {
    match inode.has(flag::EXTENTS) {
        true => extents::lookup(blocks, inode, lblk),
        false => indirect::lookup(blocks, inode, lblk),
    }
}

/// Everything that is mapped.
pub(crate) fn walk(blocks: &impl Blocks, inode: &Inode) -> Result<Mapping> {
    match inode.has(flag::EXTENTS) {
        true => extents::walk(blocks, inode),
        false => indirect::walk(blocks, inode),
    }
}
