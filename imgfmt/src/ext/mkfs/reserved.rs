//! The resize inode (7): a file of the blocks behind the descriptors, so that nobody else takes them.
//!
//! Its double indirect block names the blocks that group 0 keeps; each of those is an indirect block that names the same
//! one of each backup. A block of descriptors stands in the map where its own number says:
//!
//! ```text
//! 1 KiB blocks, 1 of descriptors, 256 kept:   slot 1 → 3 → 8195, 24579, …   slot 2 → 4 → 8196, 24580, …   slot 0 → 258
//! ```

use crate::ext::geometry::Geometry;
use crate::ext::inode::FileType;
use crate::ext::mkfs::inodes::Record;
use crate::ext::nr::GroupNr;

/// Number of the resize inode.
pub(super) const INODE: u32 = 7;

/// A block and what is in it.
pub(super) type Block = (u64, Vec<u8>);

/// The resize inode with its double indirect block at `block`, and every block that is to be written for it.
pub(super) fn resize_inode(geometry: &Geometry, block: u64, time: i64) -> (Record, Vec<Block>) {
    let per_block = geometry.block_size as u64 / 4;
    let descriptors = geometry.base_meta_blocks(GroupNr(0)) - 1 - geometry.reserved_gdt_blocks;
    let backups: Vec<u64> = (1..geometry.group_count)
        .map(GroupNr)
        .filter(|&group| geometry.has_superblock(group))
        .map(|group| geometry.group_start(group))
        .collect();
    let primary = geometry.superblock_block().0;
    let mut double = vec![0; geometry.block_size];
    let mut blocks = Vec::new();
    for index in descriptors..descriptors + geometry.reserved_gdt_blocks {
        let kept = primary + 1 + index;
        put(&mut double, index % per_block, kept);
        let mut single = vec![0; geometry.block_size];
        for (slot, backup) in (0..).zip(&backups) {
            put(&mut single, slot, backup + 1 + index);
        }
        blocks.push((kept, single));
    }
    blocks.push((block, double));
    let mut record = Record::new(FileType::File, 0o600, time);
    record.size = (12 + per_block + per_block * per_block) * geometry.block_size as u64;
    record.blocks = 1 + geometry.reserved_gdt_blocks * (1 + backups.len() as u64);
    let word = u32::try_from(block).expect("without 2^32 blocks, or no resize inode");
    record.block[13 * 4..14 * 4].copy_from_slice(&word.to_le_bytes());
    (record, blocks)
}

fn put(block: &mut [u8], slot: u64, value: u64) {
    let at = usize::try_from(slot * 4).expect("within a block");
    let word = u32::try_from(value).expect("without 2^32 blocks, or no resize inode");
    block[at..at + 4].copy_from_slice(&word.to_le_bytes());
}
