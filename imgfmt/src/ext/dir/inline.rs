//! A directory in its inode (`inline_data`).
//!
//! Its content begins with the number of its parent, in place of `.` and `..`. Entries follow in two sections, each
//! full to its end like a block: up to byte 60, which is `i_block`, and what the attribute `system.data` holds. The
//! length of the directory is that of both. Neither has a checksum of its own: the inode's covers them.
//!
//! ```text
//! 02 00 00 00 | 12 job 56 |                              60 bytes: `job` below the root
//! 02 00 00 00 | 12 job 56 | 13 fstab 68 |               128 bytes
//! ```
//! One that outgrows its inode moves to a block; none ever comes back.

use super::block::corrupt;
use super::block_edit::{NewName, grow, set_size};
use super::linear;
use crate::error::Result;
use crate::ext::blocks::Blocks;
use crate::ext::edit::transaction::Transaction;
use crate::ext::inline;
use crate::ext::inode::Inode;
use crate::ext::nr::InodeNr;
use crate::ext::ondisk::dirent::entry_len;
use crate::ext::ondisk::inode::{BLOCK_LEN, flag};
use crate::ext::xattr;

/// Bytes of the parent's number.
const PARENT_LEN: usize = 4;

/// The content, which must be long enough to be a directory.
fn content(blocks: &impl Blocks, dir: &Inode) -> Result<Vec<u8>> {
    let bytes = xattr::inline_data(blocks, dir)?;
    match bytes.len() < BLOCK_LEN || bytes.len() as u64 != dir.size(blocks.geometry()) {
        true => Err(corrupt(dir.nr(), &format!("{} bytes of inline data", bytes.len()))),
        false => Ok(bytes),
    }
}

/// Both sections of entries.
fn sections(content: &mut [u8]) -> [&mut [u8]; 2] {
    let (first, second) = content.split_at_mut(BLOCK_LEN);
    [&mut first[PARENT_LEN..], second]
}

fn store(tx: &mut Transaction<'_>, dir: &mut Inode, content: &[u8]) -> Result<bool> {
    let high = dir.base().size_high;
    let fits = inline::store(tx, dir, content)?;
    if fits {
        dir.base_mut().size_high = high;
    }
    Ok(fits)
}

/// Make a directory that has no content yet an empty one. False where its inode has no room.
pub(crate) fn make_empty(
    tx: &mut Transaction<'_>,
    dir: &mut Inode,
    parent: InodeNr,
) -> Result<bool> {
    let mut bytes = vec![0; BLOCK_LEN];
    bytes[..PARENT_LEN].copy_from_slice(&parent.0.to_le_bytes());
    linear::write(&mut bytes[PARENT_LEN..], 0, BLOCK_LEN - PARENT_LEN, 0, &[], 0);
    store(tx, dir, &bytes)
}

/// Where `..` leads.
fn parent(blocks: &impl Blocks, dir: &Inode, content: &[u8]) -> Result<InodeNr> {
    let nr = u32::from_le_bytes([content[0], content[1], content[2], content[3]]);
    match nr == 0 || nr > blocks.geometry().inode_count {
        true => Err(corrupt(dir.nr(), &format!("parent is inode {nr}, which does not exist"))),
        false => Ok(InodeNr(nr)),
    }
}

/// Put a name into the inode. False where there is no room for it, not even with all that other attributes leave.
pub(crate) fn insert(tx: &mut Transaction<'_>, dir: &mut Inode, new: NewName<'_>) -> Result<bool> {
    let mut bytes = content(tx, dir)?;
    if put(tx, dir, &mut bytes, new)? {
        return store(tx, dir, &bytes);
    }
    // All the room at once, as the kernel takes it: whole words, of which an entry needs three.
    let room = inline::room(tx, dir)?.unwrap_or_default() & !3;
    let len = bytes.len();
    if room < len + entry_len(1) {
        return Ok(false);
    }
    bytes.resize(room, 0);
    stretch(tx, dir, &mut bytes[BLOCK_LEN..], len - BLOCK_LEN)?;
    match put(tx, dir, &mut bytes, new)? {
        true => store(tx, dir, &bytes),
        false => Ok(false),
    }
}

/// Let the last of the entries in the first `len` bytes, or a new unused one, take all of a section.
fn stretch(tx: &Transaction<'_>, dir: &Inode, section: &mut [u8], len: usize) -> Result<()> {
    let all = section.len();
    if len == 0 {
        linear::write(section, 0, all, 0, &[], 0);
        return Ok(());
    }
    let last = linear::entries(&section[..len], tx.geometry().inode_count).last();
    let last = last.expect("not empty").map_err(|what| corrupt(dir.nr(), &what))?;
    let offset = last.offset;
    linear::set_rec_len(section, offset, all - offset);
    Ok(())
}

fn put(tx: &Transaction<'_>, dir: &Inode, content: &mut [u8], new: NewName<'_>) -> Result<bool> {
    for section in sections(content) {
        let room = linear::find_room(section, tx.geometry().inode_count, new.name.len())
            .map_err(|what| corrupt(dir.nr(), &what))?;
        if let Some(room) = room {
            linear::insert(section, room, new.nr, new.name, new.file_type);
            return Ok(true);
        }
    }
    Ok(false)
}

/// Take a name out. False where it is not there.
pub(crate) fn remove(tx: &mut Transaction<'_>, dir: &mut Inode, name: &[u8]) -> Result<bool> {
    let mut bytes = content(tx, dir)?;
    let inode_count = tx.geometry().inode_count;
    let mut removed = false;
    for section in sections(&mut bytes) {
        removed = removed
            || linear::remove(section, inode_count, name)
                .map_err(|what| corrupt(dir.nr(), &what))?;
    }
    Ok(removed && store(tx, dir, &bytes)?)
}

/// Move a directory into its first block. `first` is what one without names is, for the parent it gets.
pub(crate) fn expand(
    tx: &mut Transaction<'_>,
    dir: &mut Inode,
    first: impl FnOnce(&Transaction<'_>, InodeNr) -> Vec<u8>,
) -> Result<()> {
    let mut bytes = content(tx, dir)?;
    let inode_count = tx.geometry().inode_count;
    let mut block = first(tx, parent(tx, dir, &bytes)?);
    for section in sections(&mut bytes) {
        for entry in linear::entries(section, inode_count) {
            let entry = entry.map_err(|what| corrupt(dir.nr(), &what))?;
            let Some(nr) = entry.inode else { continue };
            let room = linear::find_room(&block, inode_count, entry.name.len());
            let room = room.map_err(|what| corrupt(dir.nr(), &what))?;
            let room = room.ok_or_else(|| corrupt(dir.nr(), &"more names than a block holds"))?;
            linear::insert(&mut block, room, nr, entry.name, entry.file_type);
        }
    }
    inline::clear(tx, dir)?;
    // The block has no tree, whatever was said before.
    dir.set_flag(flag::INDEX, false);
    set_size(tx, dir, 0);
    grow(tx, dir, block)?;
    Ok(())
}
