//! Content that lies in the inode itself (`inline_data`).
//!
//! The first 60 bytes stand in `i_block`, where a map would; what is left is the value of the attribute `system.data`,
//! which never leaves the inode. The attribute is there even where all fits the 60 bytes, and other attributes come
//! first: content gets the room that they leave. Nothing here knows whether content is a file's or a directory's
//! (`dir::inline`).
//!
//! ```text
//! 256 bytes:  i_block 60 | … | i_extra 32 | ea020000 | system.data 20 | 0 0 0 0 | value 68        60 + 68 = 128 fit
//! ```

use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::feature::Incompat;
use crate::ext::inode::{Inode, corrupt};
use crate::ext::map;
use crate::ext::ondisk::inode::{BLOCK_LEN, flag};
use crate::ext::ondisk::xattr::{ENTRY_LEN, INODE_HEADER_LEN};
use crate::ext::xattr::{self, INDEX_SYSTEM, Xattr};

/// The name of the attribute, without `system.`.
const NAME: &[u8] = b"data";

/// Refuse inline data in a file system that does not declare it: nobody else would read what an edit leaves there.
pub(crate) fn check_editable(blocks: &impl Blocks, inode: &Inode) -> Result<()> {
    let declared = blocks.geometry().features.incompat.contains(Incompat::INLINE_DATA);
    match inode.has(flag::INLINE_DATA) && !declared {
        true => Err(corrupt(inode.nr(), "has inline data, which the superblock does not declare")),
        false => Ok(()),
    }
}

/// Bytes of content that an inode has room for, beside its other attributes. `None` where it can have none.
pub(crate) fn room(blocks: &impl Blocks, inode: &Inode) -> Result<Option<usize>> {
    if !blocks.geometry().features.incompat.contains(Incompat::INLINE_DATA) {
        return Ok(None);
    }
    let Some(len) = inode.tail().map(<[u8]>::len) else { return Ok(None) };
    let entry = |name: &[u8]| (ENTRY_LEN + name.len()).next_multiple_of(4);
    let others: usize = others(blocks, inode)?
        .iter()
        .map(|xattr| entry(&xattr.name) + xattr.value.len().next_multiple_of(4))
        .sum();
    // Four zero bytes end the entries.
    let left = len.checked_sub(INODE_HEADER_LEN + others + entry(NAME) + 4);
    Ok(left.map(|left| BLOCK_LEN + left))
}

/// Make `content` all that an inode has, and its length. False, and nothing changed, where it does not fit. What the
/// inode mapped before is the caller's to free, and so is `i_blocks`.
pub(crate) fn store(blocks: &impl Blocks, inode: &mut Inode, content: &[u8]) -> Result<bool> {
    if room(blocks, inode)?.is_none_or(|room| content.len() > room) {
        return Ok(false);
    }
    let (first, rest) = content.split_at(content.len().min(BLOCK_LEN));
    let mut all = others(blocks, inode)?;
    let (name, value) = (NAME.to_vec(), rest.to_vec());
    all.push(Xattr { index: INDEX_SYSTEM, name, value, has_inode: false });
    if !xattr::edit::put_in_inode(inode, &all) {
        return Ok(false);
    }
    inode.set_flag(flag::INLINE_DATA, true);
    inode.set_flag(flag::EXTENTS | flag::EOFBLOCKS, false);
    inode.base_mut().block.fill(0);
    inode.base_mut().block[..first.len()].copy_from_slice(first);
    inode.set_size(content.len() as u64);
    Ok(true)
}

/// Clear what lies in an inode behind the end of its file: whoever makes the file longer expects zeros there.
pub(crate) fn cut(blocks: &impl Blocks, inode: &mut Inode) -> Result<()> {
    let content = xattr::inline_data(blocks, inode)?;
    // A file that is longer than its content has nothing behind its end.
    if content.len() as u64 == inode.size(blocks.geometry()) && !store(blocks, inode, &content)? {
        return Err(corrupt(inode.nr(), "content does not fit where it was"));
    }
    Ok(())
}

/// Make an inode one that maps blocks, none yet. Content that lay in it is gone; its length stays.
pub(crate) fn clear(blocks: &impl Blocks, inode: &mut Inode) -> Result<()> {
    if inode.has(flag::INLINE_DATA) {
        let others = others(blocks, inode)?;
        if !xattr::edit::put_in_inode(inode, &others) && !others.is_empty() {
            return Err(corrupt(inode.nr(), "extended attributes lie on one another"));
        }
        inode.set_flag(flag::INLINE_DATA, false);
    }
    let has_extents = blocks.geometry().features.incompat.contains(Incompat::EXTENT);
    inode.set_flag(flag::EXTENTS, has_extents);
    inode.set_flag(flag::EOFBLOCKS, false);
    map::edit::clear(inode);
    Ok(())
}

/// The attributes in the inode that are attributes to its user.
fn others(blocks: &impl Blocks, inode: &Inode) -> Result<Vec<Xattr>> {
    let mut all = xattr::read_in_inode(blocks, inode)?;
    if all.iter().any(|xattr| xattr.has_inode) {
        return Err(Error::Unsupported(format!(
            "inline data beside an attribute as `ea_inode` keeps it cannot be edited yet: inode {}",
            inode.nr()
        )));
    }
    all.retain(|xattr| !xattr::is_content(xattr));
    Ok(all)
}
