//! What lies in one block of an inode table beside the inode that is edited.
//!
//! Writing an inode writes its neighbours too. One of them that maps the tables of its own group shows that the image
//! is damaged where the edit goes: the new inode, or the bitmap that says so, would change a file's content. Reading all
//! maps would find every such file and cost as much as all inode tables; the block is at hand anyway, and so is the
//! descriptor of its group.
//!
//! ```text
//! table at block 36, inode 12 beside inode 14: i_block … 41 40 34      41 lies in the table: refused
//! ```
//! Only what an inode itself names is looked at: its direct blocks, the first blocks of its lists or of its tree.

use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::file::is_fast_link;
use crate::ext::inode::{FileType, Inode};
use crate::ext::map;
use crate::ext::map::extents::Node;
use crate::ext::nr::{BlockNr, InodeNr};
use crate::ext::ondisk::inode::{BLOCK_LEN, flag};
use crate::ext::space::group;

/// Look at all inodes in the block of the table that has inode `nr`, before it is changed.
///
/// # Errors
/// [`Error::NotClean`] where one of them maps what is the file system's own.
pub(crate) fn check(blocks: &impl Blocks, nr: InodeNr) -> Result<()> {
    let geometry = blocks.geometry();
    let (group, index) = geometry.group_of_inode(nr)?;
    let per_block = u32::try_from(geometry.block_size / geometry.inode_size).expect("few");
    let first = index - index % per_block;
    let desc = group::read(blocks, group)?;
    let table = blocks.read_block(BlockNr(desc.inode_table().0 + u64::from(first / per_block)))?;
    let own = desc.own_blocks(geometry);
    // The rest of the table was perhaps never written.
    let per_group = geometry.inodes_per_group.get();
    let unused = match desc.is_inode_uninit() {
        true => per_group,
        false if desc.has_checksum() => desc.itable_unused(),
        false => 0,
    };
    let in_group = first..per_group.saturating_sub(unused);
    for (index, bytes) in in_group.zip(table.chunks_exact(geometry.inode_size)) {
        let nr = InodeNr(group.0 * geometry.inodes_per_group.get() + index + 1);
        let inode = Inode::from_bytes(nr, bytes.to_vec());
        if nr == InodeNr::BAD_BLOCKS && inode.base().block != [0; BLOCK_LEN] {
            return Err(Error::not_clean("it has bad blocks, which no disk image has"));
        }
        let is_kept = nr != InodeNr::ROOT && nr.0 < geometry.first_inode;
        if is_kept || inode.links_count() == 0 {
            continue;
        }
        let taken = |at: u64, len: u64| own.iter().any(|&(s, n)| at < s.0 + n && s.0 < at + len);
        if let Some((at, _)) = named(blocks, &inode).into_iter().find(|&(at, n)| taken(at, n)) {
            return Err(Error::not_clean(&format!(
                "inode {nr} maps tables of the file system at {at}"
            )));
        }
    }
    Ok(())
}

/// Blocks that an inode names itself, data or map: first and count. Damage elsewhere in it is for its readers to find.
fn named(blocks: &impl Blocks, inode: &Inode) -> Vec<(u64, u64)> {
    let is_mapped = match FileType::from_mode(inode.mode()) {
        Some(FileType::File | FileType::Directory) => true,
        Some(FileType::Symlink) => !is_fast_link(blocks, inode),
        _ => false,
    };
    if !is_mapped || inode.has(flag::INLINE_DATA) {
        return Vec::new();
    }
    if !inode.has(flag::EXTENTS) {
        let words = inode.base().block.chunks_exact(4).enumerate();
        let numbers = words.map(|(at, _)| map::indirect::number(&inode.base().block, at));
        return numbers.filter(|&n| n != 0).map(|n| (n.into(), 1)).collect();
    }
    match Node::new(&inode.base().block, None) {
        Ok(root) if root.depth() == 0 => {
            root.extents().iter().map(|e| (e.start().0, e.len().into())).collect()
        }
        Ok(root) => root.indexes().iter().map(|index| (index.leaf().0, 1)).collect(),
        Err(_) => Vec::new(),
    }
}
