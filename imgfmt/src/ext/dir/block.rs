//! Blocks of a directory as they are read: how many there are, and each with its checksum.

use std::borrow::Cow;

use super::{dx, linear};
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::inode::Inode;
use crate::ext::map;
use crate::ext::nr::{BlockNr, InodeNr};

/// An error about a directory.
pub(crate) fn corrupt(nr: InodeNr, what: &dyn std::fmt::Display) -> Error {
    let what = what.to_string();
    let what = what.strip_prefix("corrupt image: ").unwrap_or(&what);
    Error::Corrupt(format!("ext directory {nr}: {what}"))
}

/// Blocks of a directory, which is never inline.
pub(crate) fn block_count(blocks: &impl Blocks, dir: &Inode) -> Result<u32> {
    let geometry = blocks.geometry();
    let size = dir.size(geometry);
    let count = size / geometry.block_size as u64;
    if size == 0 || !size.is_multiple_of(geometry.block_size as u64) || count > geometry.block_count
    {
        return Err(corrupt(dir.nr(), &format!("length is {size} bytes")));
    }
    u32::try_from(count).map_err(|_| corrupt(dir.nr(), &format!("length is {size} bytes")))
}

/// Block `lblk` of a directory, its checksum checked, and where it lies.
pub(crate) fn read_block<'a>(
    blocks: &'a impl Blocks,
    dir: &Inode,
    lblk: u32,
) -> Result<(BlockNr, Cow<'a, [u8]>)> {
    let Some(block) = map::lookup(blocks, dir, lblk)?.start else {
        return Err(corrupt(dir.nr(), &format!("block {lblk} is a hole")));
    };
    let bytes = blocks.read_block(block)?;
    let geometry = blocks.geometry();
    if geometry.has_metadata_csum() {
        let seed = dir.seed(geometry);
        let inner = dx::entries_offset(&bytes, dir, lblk);
        let holds = match inner {
            Some(offset) => dx::checksum_holds(&bytes, seed, offset),
            None => linear::checksum_holds(&bytes, seed),
        };
        if !holds {
            return Err(corrupt(dir.nr(), &format!("checksum of block {lblk} is wrong")));
        }
    }
    Ok((block, bytes))
}

/// Where a name stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The block of the directory.
    pub(crate) lblk: u32,
    /// The inode it names.
    pub(crate) nr: InodeNr,
}
