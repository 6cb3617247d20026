//! Another length for a file: its end goes, or a hole comes.

use std::path::Path;

use super::fill::{Fill, check_len, lblk, take_tail, within};
use super::protected;
use super::read::find_file;
use super::write::{check_editable, replace};
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::edit::transaction::Transaction;
use crate::ext::inode::Inode;
use crate::ext::map;
use crate::ext::ondisk::inode::flag;
use crate::ext::xattr;

impl Transaction<'_> {
    /// Make the file at `path`, behind any symbolic links, `len` bytes long. What is new reads as zeros and takes no
    /// blocks; blocks that were allocated behind the end are freed.
    ///
    /// # Errors
    /// [`Error::NotFound`] where nothing is there, [`Error::NoSpace`] where no file can be that long,
    /// [`Error::Protected`] where the file is immutable or append-only.
    pub fn truncate(&mut self, path: impl AsRef<Path>, len: u64) -> Result<()> {
        let path = path.as_ref();
        self.atomically(|tx| {
            let inode = find_file(tx, path)?;
            protected::check_change(&inode, path)?;
            check_editable(tx, &inode)?;
            truncate(tx, inode, len)
        })
    }
}

fn truncate(tx: &mut Transaction<'_>, mut inode: Inode, len: u64) -> Result<()> {
    check_len(tx, &inode, len)?;
    let block_size = tx.geometry().block_size as u64;
    let kept = len.min(inode.size(tx.geometry()));
    if inode.has(flag::INLINE_DATA) {
        return truncate_inline(tx, inode, len);
    }
    let mut fill = Fill::new(tx, &inode, 0)?;
    if is_tail_clean(tx, &inode, kept)? {
        let first = lblk(&inode, kept.div_ceil(block_size))?;
        map::edit::truncate(tx, &mut inode, first)?;
    } else {
        let (lblk, tail) = take_tail(tx, &mut inode, kept)?;
        fill = Fill::new(tx, &inode, lblk)?;
        fill.push_owned(tx, &mut inode, tail)?;
    }
    fill.finish(tx, inode, len)
}

/// Whether the block in which `len` ends reads as zeros from there on.
fn is_tail_clean(tx: &Transaction<'_>, inode: &Inode, len: u64) -> Result<bool> {
    let block_size = tx.geometry().block_size;
    let used = within(len, block_size);
    if used == 0 {
        return Ok(true);
    }
    let lblk = lblk(inode, len / block_size as u64)?;
    match map::lookup(tx, inode, lblk)?.start {
        Some(block) => Ok(tx.read_block(block)?[used..].iter().all(|&byte| byte == 0)),
        None => Ok(true),
    }
}

/// Content in the inode is short, or is going to be a file of blocks.
pub(super) fn truncate_inline(tx: &mut Transaction<'_>, inode: Inode, len: u64) -> Result<()> {
    let mut content = xattr::inline_data(tx, &inode)?;
    // What does not fit the inode fits a block, and the rest is a hole.
    let short = len.min(tx.geometry().block_size as u64);
    let short_len = usize::try_from(short).map_err(|_| Error::corrupt("a block of 4 GiB"))?;
    content.resize(short_len, 0);
    let nr = inode.nr();
    replace(tx, inode, &content)?;
    if len > short {
        let inode = crate::ext::inode::read(tx, nr)?;
        return truncate(tx, inode, len);
    }
    Ok(())
}
