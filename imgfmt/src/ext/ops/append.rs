//! More content at the end of a file.

use std::path::Path;

use super::fill::{Fill, check_len, take_tail};
use super::protected;
use super::read::find_file;
use super::truncate::truncate_inline;
use super::write::{check_editable, replace};
use crate::error::Result;
use crate::ext::blocks::Blocks;
use crate::ext::edit::transaction::Transaction;
use crate::ext::file;
use crate::ext::inode::{self, Inode};
use crate::ext::ondisk::inode::flag;

impl Transaction<'_> {
    /// Add `bytes` at the end of the file at `path`, behind any symbolic links, which must be there.
    ///
    /// A last block that has room left is copied, and the old one is free again only when the edit is done: many small
    /// additions to one file want to be one.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) where nothing is there, [`Error::NoSpace`](crate::Error::NoSpace)
    /// where the blocks are not, [`Error::Protected`](crate::Error::Protected) where the file is immutable.
    pub fn append(&mut self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<()> {
        let (path, bytes) = (path.as_ref(), bytes.as_ref());
        self.atomically(|tx| {
            let inode = find_file(tx, path)?;
            protected::check_append(&inode, path)?;
            check_editable(tx, &inode)?;
            match bytes.is_empty() {
                true => Ok(()),
                false => append(tx, inode, bytes),
            }
        })
    }
}

fn append(tx: &mut Transaction<'_>, mut inode: Inode, bytes: &[u8]) -> Result<()> {
    let len = inode.size(tx.geometry());
    let end = len.saturating_add(bytes.len() as u64);
    check_len(tx, &inode, end)?;
    if inode.has(flag::INLINE_DATA) && len > tx.geometry().block_size as u64 {
        // Holes behind the content, which become holes of a map.
        let nr = inode.nr();
        truncate_inline(tx, inode, len)?;
        inode = inode::read(tx, nr)?;
    }
    if inode.has(flag::INLINE_DATA) {
        let mut content = file::read(tx, &inode, len)?;
        content.extend(bytes);
        return replace(tx, inode, &content);
    }
    let (lblk, mut tail) = take_tail(tx, &mut inode, len)?;
    let mut fill = Fill::new(tx, &inode, lblk)?;
    let mut rest = bytes;
    if !tail.is_empty() {
        let room = tx.geometry().block_size - tail.len();
        let (first, after) = bytes.split_at(room.min(bytes.len()));
        tail.extend(first);
        fill.push_owned(tx, &mut inode, tail)?;
        rest = after;
    }
    fill.push(tx, &mut inode, rest)?;
    fill.finish(tx, inode, end)
}
