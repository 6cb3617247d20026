//! Putting names into directories and taking them out.
//!
//! A name goes where there is room: into the leaf of its hash, or into any block of a directory without a hash tree. One
//! that outgrows its first block gets a tree, as the kernel does it; one that has several blocks already grows by one.

use super::block::{block_count, corrupt, read_block};
use super::block_edit::{NewName, grow, insert_into, put_leaf};
use super::htree::is_indexed;
use super::lookup::locate;
use super::{htree_edit, inline, linear};
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::edit::transaction::Transaction;
use crate::ext::feature::{Compat, Incompat};
use crate::ext::inode::{self, FileType, Inode};
use crate::ext::nr::InodeNr;
use crate::ext::ondisk::dirent::entry_len;
use crate::ext::ondisk::inode::flag;

/// Put a name, which must not be there, into a directory.
pub(crate) fn insert(
    tx: &mut Transaction<'_>,
    dir: InodeNr,
    name: &[u8],
    nr: InodeNr,
    kind: FileType,
) -> Result<()> {
    let mut dir = inode::read(tx, dir)?;
    check_editable(tx, &dir)?;
    let keeps_type = tx.geometry().features.incompat.contains(Incompat::FILETYPE);
    let file_type = if keeps_type { kind.dirent_type() } else { 0 };
    let new = NewName { name, nr, file_type };
    if dir.has(flag::INLINE_DATA) {
        if inline::insert(tx, &mut dir, new)? {
            return touch(tx, dir);
        }
        let own = dir.nr();
        inline::expand(tx, &mut dir, |tx, parent| first_block(tx, own, parent))?;
    }
    if is_indexed(tx, &dir) && htree_edit::insert(tx, &mut dir, new)? {
        return touch(tx, dir);
    }
    drop_tree(tx, &mut dir)?;
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
    let mut dir = inode::read(tx, dir)?;
    check_editable(tx, &dir)?;
    if dir.has(flag::INLINE_DATA) {
        return match inline::remove(tx, &mut dir, name)? {
            true => touch(tx, dir),
            false => Err(corrupt(dir.nr(), &"a name has gone")),
        };
    }
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

/// Give a directory that has no content yet what an empty one has. The caller stores the inode.
pub(crate) fn make_empty(tx: &mut Transaction<'_>, dir: &mut Inode, parent: InodeNr) -> Result<()> {
    if inline::make_empty(tx, dir, parent)? {
        return Ok(());
    }
    make_first_block(tx, dir, parent)
}

/// The same, in a block whatever the file system has.
pub(crate) fn make_first_block(
    tx: &mut Transaction<'_>,
    dir: &mut Inode,
    parent: InodeNr,
) -> Result<()> {
    let bytes = first_block(tx, dir.nr(), parent);
    grow(tx, dir, bytes)?;
    Ok(())
}

/// The block that a new directory is born with: `.` and `..`.
fn first_block(tx: &Transaction<'_>, dir: InodeNr, parent: InodeNr) -> Vec<u8> {
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

/// Whoever adds names without the tree must not leave it there: its blocks look empty to a reader of entries.
///
/// # Errors
/// [`Error::Unsupported`] with `metadata_csum`: a root has no place for the checksum of a block of entries.
fn drop_tree(tx: &Transaction<'_>, dir: &mut Inode) -> Result<()> {
    if dir.has(flag::INDEX) && tx.geometry().has_metadata_csum() {
        let what = match tx.geometry().features.compat.contains(Compat::DIR_INDEX) {
            true => "of an unknown hash version",
            false => "without the feature `dir_index`",
        };
        return Err(Error::Unsupported(format!(
            "a directory with a hash tree {what} cannot be edited yet: inode {}",
            dir.nr()
        )));
    }
    dir.set_flag(flag::INDEX, false);
    Ok(())
}

/// Directories whose names or content follow other rules are left alone.
fn check_editable(tx: &Transaction<'_>, dir: &Inode) -> Result<()> {
    for (bit, feature) in [(flag::CASEFOLD, "casefold"), (flag::ENCRYPT, "encrypt")] {
        if dir.has(bit) {
            return Err(Error::Unsupported(format!(
                "a directory with the feature `{feature}` cannot be edited yet: inode {}",
                dir.nr()
            )));
        }
    }
    crate::ext::inline::check_editable(tx, dir)
}

/// Names changed: so do the times of the directory.
fn touch(tx: &mut Transaction<'_>, mut dir: Inode) -> Result<()> {
    dir.set_mtime(tx.now());
    dir.set_ctime(tx.now());
    tx.put_inode(dir)
}
