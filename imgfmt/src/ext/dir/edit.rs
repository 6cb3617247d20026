//! Putting names into directories and taking them out.
//!
//! A name goes where there is room: into the leaf of its hash, or into any block of a directory without a hash tree. One
//! that outgrows its first block gets a tree, as the kernel does it; one that has several blocks already grows by one.

use super::{block_count, corrupt, htree_edit, is_indexed, linear, locate, read_block};
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::feature::{Compat, Incompat};
use crate::ext::inode::{self, FileType, Inode};
use crate::ext::map;
use crate::ext::nr::{BlockNr, InodeNr};
use crate::ext::ondisk::dirent::entry_len;
use crate::ext::ondisk::inode::flag;
use crate::ext::transaction::Transaction;

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

/// Put a name, which must not be there, into a directory.
pub(crate) fn insert(
    tx: &mut Transaction<'_>,
    dir: InodeNr,
    name: &[u8],
    nr: InodeNr,
    kind: FileType,
) -> Result<()> {
    let mut dir = inode::read(tx, dir)?;
    check_editable(&dir)?;
    let keeps_type = tx.geometry().features.incompat.contains(Incompat::FILETYPE);
    let file_type = if keeps_type { kind.dirent_type() } else { 0 };
    let new = NewName { name, nr, file_type };
    if is_indexed(tx, &dir) && htree_edit::insert(tx, &mut dir, new)? {
        return touch(tx, dir);
    }
    // Whoever adds names without the tree must not leave it there.
    dir.set_flag(flag::INDEX, false);
    let count = block_count(tx, &dir)?;
    for lblk in 0..count {
        if insert_into(tx, &dir, lblk, new)? {
            return touch(tx, dir);
        }
    }
    let may_index = tx.geometry().features.compat.contains(Compat::DIR_INDEX);
    if count == 1 && may_index && htree_edit::index(tx, &mut dir)? {
        if htree_edit::insert(tx, &mut dir, new)? {
            return touch(tx, dir);
        }
        return Err(corrupt(dir.nr(), &"the new hash tree does not take a name"));
    }
    let empty = linear::empty(tx.geometry().block_size, tx.geometry().has_metadata_csum());
    let lblk = grow(tx, &mut dir, empty)?;
    if !insert_into(tx, &dir, lblk, new)? {
        return Err(corrupt(dir.nr(), &"an empty block does not take a name"));
    }
    touch(tx, dir)
}

/// Take a name, which must be there, out of a directory.
pub(crate) fn remove(tx: &mut Transaction<'_>, dir: InodeNr, name: &[u8]) -> Result<()> {
    let dir = inode::read(tx, dir)?;
    check_editable(&dir)?;
    let gone = || corrupt(dir.nr(), &"a name has gone");
    let lblk = locate(tx, &dir, name)?.ok_or_else(gone)?.lblk;
    let (block, bytes) = read_block(tx, &dir, lblk)?;
    let mut bytes = bytes.into_owned();
    let removed = linear::remove(&mut bytes, tx.geometry().inode_count, name)
        .map_err(|what| corrupt(dir.nr(), &format!("block {lblk}: {what}")))?;
    if !removed {
        return Err(gone());
    }
    put_leaf(tx, &dir, block, bytes);
    touch(tx, dir)
}

/// The block that a new directory is born with: `.` and `..`.
pub(crate) fn first_block(tx: &Transaction<'_>, dir: InodeNr, parent: InodeNr) -> Vec<u8> {
    let geometry = tx.geometry();
    let keeps_type = geometry.features.incompat.contains(Incompat::FILETYPE);
    let file_type = if keeps_type { FileType::Directory.dirent_type() } else { 0 };
    let mut bytes = linear::empty(geometry.block_size, geometry.has_metadata_csum());
    let end = linear::end(&bytes, geometry.has_metadata_csum());
    let dot = entry_len(1);
    linear::write(&mut bytes, 0, dot, dir.0, b".", file_type);
    linear::write(&mut bytes, dot, end - dot, parent.0, b"..", file_type);
    bytes
}

/// Directories whose names or content follow other rules are left alone.
fn check_editable(dir: &Inode) -> Result<()> {
    for (bit, feature) in [
        (flag::CASEFOLD, "casefold"),
        (flag::ENCRYPT, "encrypt"),
        (flag::INLINE_DATA, "inline_data"),
    ] {
        if dir.has(bit) {
            return Err(Error::Unsupported(format!(
                "a directory with the feature `{feature}` cannot be edited yet: inode {}",
                dir.nr()
            )));
        }
    }
    Ok(())
}

/// Names changed: so do the times of the directory.
fn touch(tx: &mut Transaction<'_>, mut dir: Inode) -> Result<()> {
    dir.set_mtime(tx.now());
    dir.set_ctime(tx.now());
    tx.put_inode(dir)
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
    let grown = 1 + map::append(tx, dir, lblk, block, 1)?;
    let sectors = dir.sectors(tx.geometry()) + grown * (block_size / 512);
    if !dir.set_sectors(tx.geometry(), sectors) {
        return Err(Error::NoSpace("a file of 2 TiB".to_owned()));
    }
    // Without `large_dir` the high half belongs to others.
    let high = dir.base().size_high;
    dir.set_size(size);
    if !wide {
        dir.base_mut().size_high = high;
    }
    Ok((lblk, block))
}
