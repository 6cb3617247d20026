//! Directories: names, each with the number of an inode.
//!
//! A directory is a file of blocks, each full of entries ([`linear`]). A large one is also a hash tree ([`htree`]), whose
//! inner blocks look empty to a reader of entries, so that every directory can be read the old way. One in the inode
//! itself (`inline_data`) has its parent's number in the first four bytes, and no `.` and `..`.

mod block;
pub(crate) mod edit;
pub(crate) mod hash;
pub(crate) mod htree;
mod htree_edit;
mod inline;
pub(crate) mod linear;
pub(crate) mod parent;

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::feature::Compat;
use crate::ext::inode::Inode;
use crate::ext::map;
use crate::ext::nr::{BlockNr, InodeNr};
use crate::ext::ondisk::inode::flag;
use crate::ext::xattr;

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
        let inner = htree::entries_offset(&bytes, dir, lblk);
        let holds = match inner {
            Some(offset) => htree::checksum_holds(&bytes, seed, offset),
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

/// Hand every name but `.` and `..` to `f`, with its block, until it returns false.
pub(crate) fn for_each(
    blocks: &impl Blocks,
    dir: &Inode,
    mut f: impl FnMut(u32, &linear::Entry<'_>, InodeNr) -> bool,
) -> Result<()> {
    if dir.has(flag::ENCRYPT) {
        return Err(Error::Unsupported(format!(
            "a directory with the feature `encrypt` cannot be read: inode {}",
            dir.nr()
        )));
    }
    let inode_count = blocks.geometry().inode_count;
    let mut visit = |bytes: &[u8], lblk: u32| -> Result<bool> {
        for entry in linear::entries(bytes, inode_count) {
            let entry =
                entry.map_err(|what| corrupt(dir.nr(), &format!("block {lblk}: {what}")))?;
            let Some(nr) = entry.inode else { continue };
            if entry.name != b"." && entry.name != b".." && !f(lblk, &entry, nr) {
                return Ok(false);
            }
        }
        Ok(true)
    };
    if dir.has(flag::INLINE_DATA) {
        let content = xattr::inline_data(blocks, dir)?;
        let (first, second) = content.split_at(content.len().min(60));
        if visit(first.get(4..).unwrap_or_default(), 0)? {
            visit(second, 0)?;
        }
        return Ok(());
    }
    // A map may lead to one block a million times over, which a small image has no other way to say.
    let mut seen = BTreeSet::new();
    for lblk in 0..block_count(blocks, dir)? {
        let (block, bytes) = read_block(blocks, dir, lblk)?;
        if !seen.insert(block) {
            return Err(corrupt(dir.nr(), &format!("block {block} is used twice")));
        }
        if !visit(&bytes, lblk)? {
            break;
        }
    }
    Ok(())
}

/// Where a name stands, and what it leads to.
pub(crate) fn locate(blocks: &impl Blocks, dir: &Inode, name: &[u8]) -> Result<Option<Place>> {
    if let Some(found) = htree::locate(blocks, dir, name)? {
        return Ok(found);
    }
    let mut found = None;
    for_each(blocks, dir, |lblk, entry, nr| {
        if entry.name == name {
            found = Some(Place { lblk, nr });
        }
        found.is_none()
    })?;
    Ok(found)
}

/// Whether the hash tree of a directory is to be used.
pub(crate) fn is_indexed(blocks: &impl Blocks, dir: &Inode) -> bool {
    dir.has(flag::INDEX)
        && !dir.has(flag::INLINE_DATA)
        && blocks.geometry().features.compat.contains(Compat::DIR_INDEX)
}
