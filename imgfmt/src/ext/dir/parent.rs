//! The directory above: the entry `..`.
//!
//! It is the second entry of block 0, be that a leaf or the root of a hash tree, and behind it lies the checksum of the one
//! or the other. An inline directory has the number alone, in the first four bytes of its content.

use zerocopy::FromBytes;

use super::block::{corrupt, read_block};
use super::{dx, linear};
use crate::error::Result;
use crate::ext::blocks::Blocks;
use crate::ext::edit::transaction::Transaction;
use crate::ext::inode::{self, Inode};
use crate::ext::nr::InodeNr;
use crate::ext::ondisk::dirent::Header;
use crate::ext::ondisk::inode::flag;

/// The directory that `dir` says it is in.
pub(crate) fn read(blocks: &impl Blocks, dir: &Inode) -> Result<InodeNr> {
    if dir.has(flag::INLINE_DATA) {
        let number = dir.base().block.first_chunk().expect("sixty bytes");
        return Ok(InodeNr(u32::from_le_bytes(*number)));
    }
    let (_, bytes) = read_block(blocks, dir, 0)?;
    Ok(locate(dir, &bytes, blocks.geometry().inode_count)?.1)
}

/// Where `..` begins in block 0, and what it leads to.
fn locate(dir: &Inode, bytes: &[u8], inode_count: u32) -> Result<(usize, InodeNr)> {
    let found = match linear::entries(bytes, inode_count).nth(1) {
        Some(Ok(entry)) if entry.name == b".." => entry.inode.map(|nr| (entry.offset, nr)),
        _ => None,
    };
    found.ok_or_else(|| corrupt(dir.nr(), &"the second entry is not `..`"))
}

/// Say that `dir` is in `parent`.
pub(crate) fn set(tx: &mut Transaction<'_>, dir: InodeNr, parent: InodeNr) -> Result<()> {
    let mut dir = inode::read(tx, dir)?;
    if dir.has(flag::INLINE_DATA) {
        dir.base_mut().block[..4].copy_from_slice(&parent.0.to_le_bytes());
        return tx.put_inode(dir);
    }
    let (block, bytes) = read_block(tx, &dir, 0)?;
    let (offset, _) = locate(&dir, &bytes, tx.geometry().inode_count)?;
    let mut bytes = bytes.into_owned();
    let header = Header::mut_from_prefix(&mut bytes[offset..]).expect("entries() read it").0;
    header.inode = parent.0.into();
    if tx.geometry().has_metadata_csum() {
        let seed = dir.seed(tx.geometry());
        match dx::entries_offset(&bytes, &dir, 0) {
            None => linear::seal(&mut bytes, seed),
            // read_block() found a checksum there.
            Some(entries) => dx::seal(&mut bytes, seed, entries),
        }
    }
    tx.put_block(block, bytes);
    Ok(())
}
