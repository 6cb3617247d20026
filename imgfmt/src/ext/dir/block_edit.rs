//! Blocks of a directory, changed one at a time: a name put in, a checksum filled, one more at the end.
//!
//! Which block a name belongs into is not known here: that is for [`super::edit`] and [`super::htree_edit`].

use super::block::{corrupt, read_block};
use super::linear;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::edit::transaction::Transaction;
use crate::ext::feature::Incompat;
use crate::ext::inode::Inode;
use crate::ext::map;
use crate::ext::nr::{BlockNr, InodeNr};

/// A name to be put into a directory.
#[derive(Clone, Copy)]
pub(crate) struct NewName<'a> {
    /// The name.
    pub(crate) name: &'a [u8],
    /// Its inode.
    pub(crate) nr: InodeNr,
    /// The type as the entry keeps it.
    pub(crate) file_type: u8,
}

/// Put a name into a block, if it has room.
pub(crate) fn insert_into(
    tx: &mut Transaction<'_>,
    dir: &Inode,
    lblk: u32,
    new: NewName<'_>,
) -> Result<bool> {
    let (block, bytes) = read_block(tx, dir, lblk)?;
    let room = linear::find_room(&bytes, tx.geometry().inode_count, new.name.len())
        .map_err(|what| corrupt(dir.nr(), &format!("block {lblk}: {what}")))?;
    let Some(room) = room else { return Ok(false) };
    let mut bytes = bytes.into_owned();
    linear::insert(&mut bytes, room, new.nr, new.name, new.file_type);
    put_leaf(tx, dir, block, bytes);
    Ok(true)
}

/// Store a block of entries, its checksum filled.
pub(crate) fn put_leaf(tx: &mut Transaction<'_>, dir: &Inode, block: BlockNr, mut bytes: Vec<u8>) {
    if tx.geometry().has_metadata_csum() {
        linear::seal(&mut bytes, dir.seed(tx.geometry()));
    }
    tx.put_block(block, bytes);
}

/// Add a block of entries at the end; its number in the directory is returned.
pub(crate) fn grow(tx: &mut Transaction<'_>, dir: &mut Inode, bytes: Vec<u8>) -> Result<u32> {
    let (lblk, block) = grow_raw(tx, dir)?;
    put_leaf(tx, dir, block, bytes);
    Ok(lblk)
}

/// Add a block at the end, whose content is still to be put: its number in the directory, and on the volume.
pub(crate) fn grow_raw(tx: &mut Transaction<'_>, dir: &mut Inode) -> Result<(u32, BlockNr)> {
    let geometry = tx.geometry();
    let block_size = geometry.block_size as u64;
    let count = dir.size(geometry) / block_size;
    let lblk = u32::try_from(count).map_err(|_| Error::NoSpace("a full directory".to_owned()))?;
    let size = dir.size(geometry) + block_size;
    let wide = geometry.features.incompat.contains(Incompat::LARGE_DIR);
    if !wide && size > u64::from(u32::MAX) {
        return Err(Error::NoSpace("a directory of 4 GiB".to_owned()));
    }
    let goal = match lblk.checked_sub(1).map(|last| map::lookup(tx, dir, last)).transpose()? {
        Some(map::Run { start: Some(last), .. }) => BlockNr(last.0 + 1),
        _ => tx.inode_goal(dir.nr())?,
    };
    let block = tx.alloc_meta(goal)?;
    let grown = 1 + map::edit::append(tx, dir, lblk, block, 1)?;
    let sectors = dir.sectors(tx.geometry()) + grown * (block_size / 512);
    if !dir.set_sectors(tx.geometry(), sectors) {
        return Err(Error::NoSpace("a file of 2 TiB".to_owned()));
    }
    set_size(tx, dir, size);
    Ok((lblk, block))
}

/// Store the length of a directory, in bytes.
pub(crate) fn set_size(tx: &Transaction<'_>, dir: &mut Inode, size: u64) {
    // Without `large_dir` the high half belongs to others.
    let high = dir.base().size_high;
    dir.set_size(size);
    if !tx.geometry().features.incompat.contains(Incompat::LARGE_DIR) {
        dir.base_mut().size_high = high;
    }
}
