//! Giving a file its content, whole.

use std::io::Read;
use std::path::Path;

use super::create::make_file;
use super::fill::{Fill, check_len};
use super::protected;
use super::read::check_file;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::edit::transaction::Transaction;
use crate::ext::file;
use crate::ext::inline;
use crate::ext::inode::{self, Inode};
use crate::ext::map::Mapping;
use crate::ext::ondisk::inode::flag;
use crate::ext::path::{Target, resolve, without_slash};
use crate::ext::xattr;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

impl Transaction<'_> {
    /// Give the file at `path`, behind any symbolic links, the content `bytes`.
    ///
    /// A file that is there keeps its inode: owner, mode, extended attributes, other names, time of creation. A new one
    /// is 0644, owned by root; a symbolic link that leads to a missing name makes that.
    ///
    /// What the mode and `security.capability` let the old content do, the new may do: a kernel takes the latter away
    /// with each write, and here whoever replaces a program decides with [`remove_xattr`](Self::remove_xattr). The same
    /// holds of [`append`](Self::append), [`truncate`](Self::truncate) and [`set_owner`](Self::set_owner).
    ///
    /// # Errors
    /// [`Error::NotFound`] where the directory is missing, [`Error::NoSpace`] where the new content does not fit beside
    /// the old, which is freed only when the edit is done.
    pub fn write(&mut self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<()> {
        let (path, bytes) = (path.as_ref(), bytes.as_ref());
        self.atomically(|tx| {
            let inode = file_to_write(tx, path)?;
            replace(tx, inode, bytes)
        })
    }

    /// Give the file at `path` the content that `content` yields until its end. As [`write`](Self::write), but what was
    /// read is never held twice: beside the edit itself this takes a megabyte. Returns the length in bytes.
    ///
    /// # Errors
    /// As of [`write`](Self::write), and [`Error::Io`] where `content` fails; nothing has changed then.
    pub fn write_from(&mut self, path: impl AsRef<Path>, content: &mut dyn Read) -> Result<u64> {
        let path = path.as_ref();
        self.atomically(|tx| {
            let inode = file_to_write(tx, path)?;
            replace_from(tx, inode, content)
        })
    }
}

/// The file at `path`, which may be made anew, whose content may be replaced.
fn file_to_write(tx: &mut Transaction<'_>, path: &Path) -> Result<Inode> {
    let (bare, has_slash) = without_slash(path);
    let nr = match resolve(tx, bare, !has_slash)? {
        // As of Linux, which does not look what is there.
        _ if has_slash => return Err(Error::IsADirectory(path.to_owned())),
        Target::Found { nr, .. } => nr,
        Target::Missing { parent, name } => {
            protected::check_insert(&inode::read(tx, parent)?, path)?;
            make_file(tx, parent, &name)?
        }
    };
    let inode = inode::read(tx, nr)?;
    check_file(&inode, path)?;
    protected::check_change(&inode, path)?;
    check_editable(tx, &inode)?;
    Ok(inode)
}

/// Files whose content follows other rules are left alone.
pub(super) fn check_editable(tx: &Transaction<'_>, inode: &Inode) -> Result<()> {
    if inode.nr().0 < tx.geometry().first_inode {
        return Err(inode::corrupt(inode.nr(), "is reserved, but named"));
    }
    check_attributes(tx, inode)?;
    for (bit, feature) in
        [(flag::ENCRYPT, "encrypt"), (flag::VERITY, "verity"), (flag::EA_INODE, "ea_inode")]
    {
        if inode.has(bit) {
            return Err(Error::Unsupported(format!(
                "a file with the feature `{feature}` cannot be edited yet: inode {}",
                inode.nr()
            )));
        }
    }
    inline::check_editable(tx, inode)
}

/// Inodes that hold attributes count in `i_blocks`, and go with the file: even where the feature was forgotten.
pub(super) fn check_attributes(tx: &Transaction<'_>, inode: &Inode) -> Result<()> {
    if xattr::read(tx, inode)?.iter().any(|xattr| xattr.has_inode) {
        return Err(Error::Unsupported(format!(
            "a file with an attribute as `ea_inode` keeps it cannot be edited yet: inode {}",
            inode.nr()
        )));
    }
    Ok(())
}

/// Free all that an inode mapped.
pub(super) fn free_mapping(tx: &mut Transaction<'_>, mapping: Mapping) -> Result<()> {
    for (start, count) in mapping.data {
        tx.free_run(start, count)?;
    }
    for block in mapping.own {
        tx.free_run(block, 1)?;
    }
    Ok(())
}

/// Refuse content that there are not enough free blocks for.
fn check_free(tx: &Transaction<'_>, len: u64) -> Result<()> {
    let count = len.div_ceil(tx.geometry().block_size as u64);
    let free = tx.superblock().free_blocks_count(tx.geometry().is_wide());
    match count > free {
        true => Err(Error::NoSpace(format!("blocks needed: {count}, free: {free}"))),
        false => Ok(()),
    }
}

/// Give a file other content: its old blocks are freed, its inode stays.
pub(super) fn replace(tx: &mut Transaction<'_>, mut inode: Inode, bytes: &[u8]) -> Result<()> {
    let len = bytes.len() as u64;
    let old = start_over(tx, &mut inode)?;
    let mut fill = Fill::new(tx, &inode, 0)?;
    // An empty file is born without inline data.
    if len == 0 || !inline::store(tx, &mut inode, bytes)? {
        check_free(tx, len)?;
        fill.push(tx, &mut inode, bytes)?;
    }
    fill.finish(tx, inode, len)?;
    free_mapping(tx, old)
}

/// The same with content that is read piece by piece. Returns its length.
fn replace_from(tx: &mut Transaction<'_>, mut inode: Inode, content: &mut dyn Read) -> Result<u64> {
    let first = read_chunk(content)?;
    if first.len() < CHUNK {
        replace(tx, inode, &first)?;
        return Ok(first.len() as u64);
    }
    let old = start_over(tx, &mut inode)?;
    let mut fill = Fill::new(tx, &inode, 0)?;
    let (mut chunk, mut len) = (first, 0);
    while !chunk.is_empty() {
        len += chunk.len() as u64;
        check_len(tx, &inode, len)?;
        fill.push_owned(tx, &mut inode, chunk)?;
        chunk = read_chunk(content)?;
    }
    fill.finish(tx, inode, len)?;
    free_mapping(tx, old)?;
    Ok(len)
}

/// [`CHUNK`] bytes, fewer at the end alone.
fn read_chunk(content: &mut dyn Read) -> Result<Vec<u8>> {
    let mut chunk = Vec::with_capacity(CHUNK);
    let read = content.take(CHUNK as u64).read_to_end(&mut chunk);
    read.map_err(|e| Error::io("content of a file", e))?;
    Ok(chunk)
}

/// Have a file map nothing, and by extents if the file system does so. What it mapped is still to be freed.
fn start_over(tx: &Transaction<'_>, inode: &mut Inode) -> Result<Mapping> {
    let geometry = tx.geometry();
    let old = file::mapping(tx, inode)?;
    inline::clear(tx, inode)?;
    let has_xattr_block = inode.file_acl(geometry).0 != 0;
    let sectors = u64::from(has_xattr_block) * (geometry.block_size as u64 / 512);
    let fits = inode.set_sectors(geometry, sectors);
    debug_assert!(fits, "one block always fits");
    Ok(old)
}
