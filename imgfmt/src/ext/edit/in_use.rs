//! Whether the bitmaps tell the truth: what is in use must be marked, and belong to one file.
//!
//! An edit gives out what the bitmaps call free. They may be wrong where nobody finished writing them (no journal, and
//! not unmounted) or where the kernel noted an error, so all inodes are looked at there before anything is edited.
//!
//! ```text
//! group 0, bitmap 0b1111, inode 12: 4 at 90, map 89 | inode 13: 1 at 93      93 is not marked, or has two owners: refused
//! ```
//! Counts of what is free must agree with the bitmaps, too. Nothing else is checked: neither names nor counts of links,
//! nor whether what is marked is in use. Bad blocks, which belong to nobody, are refused: no disk image has any.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::file;
use crate::ext::inode::{self, Inode};
use crate::ext::nr::{BlockNr, GroupNr, InodeNr};
use crate::ext::space::bitmap;
use crate::ext::space::group::{self, GroupDesc};

/// Where the map of an inode lies in it.
const MAP: std::ops::Range<usize> = 0x28..0x64;
/// The most bytes that are held: one bit for each block of a group in which something is in use.
const LEN_MAX: usize = 32 << 20;

/// Look at all inodes.
///
/// # Errors
/// [`Error::NotClean`] where one in use, or one of its blocks, is marked as free or has two owners; what reading the
/// inodes returns.
pub(crate) fn check(blocks: &impl Blocks) -> Result<()> {
    let mut claims = Claims { blocks, marked: BTreeMap::new(), held: 0 };
    for group in (0..blocks.geometry().group_count).map(GroupNr) {
        let desc = group::read(blocks, group)?;
        if !desc.is_inode_uninit() {
            claims.group(&desc)?;
        }
    }
    for group in (0..blocks.geometry().group_count).map(GroupNr) {
        check_counts(blocks, &group::read(blocks, group)?)?;
    }
    Ok(())
}

/// A descriptor must count what its bitmaps say; those end in bits that are set.
fn check_counts(blocks: &impl Blocks, desc: &GroupDesc) -> Result<()> {
    let (geometry, group) = (blocks.geometry(), desc.group());
    let len = u32::try_from(geometry.group_len(group)).expect("blocks of a group");
    let bits = bitmap::blocks(blocks, desc)?;
    let free = |bits: &[u8], len| len - bitmap::count(bits, len);
    let all = u32::try_from(bits.len() * 8).expect("64 KiB times 8");
    let blocks_free = free(&bits, len);
    let inodes = bitmap::inodes(blocks, desc)?;
    let inodes_free = free(&inodes, geometry.inodes_per_group.get());
    if blocks_free != desc.free_blocks()
        || inodes_free != desc.free_inodes()
        || free(&bits, all) != blocks_free
    {
        return Err(Error::not_clean(&format!("group {group} counts what is free otherwise")));
    }
    Ok(())
}

struct Claims<'a, B> {
    blocks: &'a B,
    /// For each group the bitmap, less what was found in use.
    marked: BTreeMap<GroupNr, Vec<u8>>,
    held: usize,
}

impl<B: Blocks> Claims<'_, B> {
    /// All inodes of a group.
    fn group(&mut self, desc: &GroupDesc) -> Result<()> {
        let geometry = self.blocks.geometry();
        let bits = bitmap::inodes(self.blocks, desc)?.into_owned();
        let per_group = geometry.inodes_per_group.get();
        // The rest of the table was perhaps never written.
        let unused = if desc.has_checksum() { desc.itable_unused() } else { 0 };
        let per_block = u32::try_from(geometry.block_size / geometry.inode_size).expect("few");
        let end = per_group.saturating_sub(unused);
        for index in (0..end).step_by(per_block as usize) {
            let block = BlockNr(desc.inode_table().0 + u64::from(index / per_block));
            let table = self.blocks.read_block(block)?;
            for (nr, bytes) in (index..end).zip(table.chunks_exact(geometry.inode_size)) {
                // i_mode, i_links_count.
                let is_used = bytes[..2] != [0; 2] && bytes[0x1A..0x1C] != [0; 2];
                let is_marked = bitmap::get(&bits, nr);
                let nr = InodeNr(desc.group().0 * per_group + nr + 1);
                // Without names, and so without links: what they hold is the file system's own.
                if nr == InodeNr::BAD_BLOCKS && bytes[MAP].iter().any(|&byte| byte != 0) {
                    return Err(Error::not_clean("it has bad blocks"));
                }
                if nr != InodeNr::ROOT && nr.0 < geometry.first_inode || !is_used {
                    continue;
                }
                if !is_marked {
                    return Err(Error::not_clean(&format!(
                        "inode {nr} is in use, but marked free"
                    )));
                }
                self.inode(&inode::read(self.blocks, nr)?)?;
            }
        }
        Ok(())
    }

    fn inode(&mut self, inode: &Inode) -> Result<()> {
        let mapping = file::mapping(self.blocks, inode)?;
        let own = mapping.own.into_iter().map(|block| (block, 1));
        for (start, count) in mapping.data.into_iter().chain(own) {
            group::check_not_metadata(self.blocks, start, count)?;
            for block in start.0..start.0 + count {
                if !self.claim(BlockNr(block), true)? {
                    return Err(Error::not_clean(&format!(
                        "block {block} of inode {} is marked free, or another's",
                        inode.nr()
                    )));
                }
            }
        }
        // Inodes share blocks of attributes.
        let xattrs = inode.file_acl(self.blocks.geometry());
        if xattrs.0 != 0 && !self.claim(xattrs, false)? {
            return Err(Error::not_clean(&format!("block {xattrs} of attributes is marked free")));
        }
        Ok(())
    }

    /// Whether a block is marked and was not claimed before.
    fn claim(&mut self, block: BlockNr, is_whole: bool) -> Result<bool> {
        let (group, index) = self.blocks.geometry().group_of(block)?;
        if !self.marked.contains_key(&group) {
            let bits = bitmap::blocks(self.blocks, &group::read(self.blocks, group)?)?;
            self.held += bits.len();
            if self.held > LEN_MAX {
                return Err(Error::not_clean("it is too large to be looked at"));
            }
            self.marked.insert(group, bits.into_owned());
        }
        let bits = self.marked.get_mut(&group).expect("inserted above");
        let is_marked = bitmap::get(bits, index);
        if is_whole {
            bitmap::clear(bits, index);
        }
        Ok(is_marked)
    }
}
