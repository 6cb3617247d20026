//! Changing a map, of whichever kind: growing at its end, cutting its end off, mapping nothing.

pub(crate) use super::truncate::truncate;
use super::{extents_edit, indirect_edit};
use crate::error::Result;
use crate::ext::edit::transaction::Transaction;
use crate::ext::inode::Inode;
use crate::ext::nr::BlockNr;
use crate::ext::ondisk::inode::flag;

/// Map `count` blocks from `start` on at block `lblk` of the file, behind all that is mapped. Returns how many blocks the
/// map itself grew by.
pub(crate) fn append(
    tx: &mut Transaction<'_>,
    inode: &mut Inode,
    lblk: u32,
    start: BlockNr,
    count: u32,
) -> Result<u64> {
    match inode.has(flag::EXTENTS) {
        true => extents_edit::append(tx, inode, lblk, start, count),
        false => indirect_edit::append(tx, inode, lblk, start, count),
    }
}

/// Map nothing.
pub(crate) fn clear(inode: &mut Inode) {
    inode.base_mut().block.fill(0);
    if inode.has(flag::EXTENTS) {
        extents_edit::clear(inode);
    }
}
