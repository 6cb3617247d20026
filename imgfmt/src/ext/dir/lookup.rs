//! Finding names, in directories of whatever kind.

use std::collections::BTreeSet;

use super::block::{Place, block_count, corrupt, read_block};
use super::{htree, linear};
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::inode::Inode;
use crate::ext::nr::InodeNr;
use crate::ext::ondisk::inode::flag;
use crate::ext::xattr;

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

/// Where a name stands, and what it leads to: by the hash tree where there is one.
pub(crate) fn locate(blocks: &impl Blocks, dir: &Inode, name: &[u8]) -> Result<Option<Place>> {
    if let Some(seen) = blocks.recall().and_then(|recall| recall.name(dir.nr(), name)) {
        return Ok(seen);
    }
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
