//! Bitmaps of blocks and inodes: bit 0 is the lowest bit of the first byte, 1 means in use.
//!
//! Bits behind the last block or inode of a group are 1. A bitmap that was never written (`BLOCK_UNINIT`,
//! `INODE_UNINIT`) is made up here.

use std::borrow::Cow;

use super::group::GroupDesc;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::checksum;
use crate::ext::geometry::Geometry;
use crate::ext::nr::BlockNr;

/// Whether a bit is 1.
pub(crate) fn get(bits: &[u8], index: u32) -> bool {
    bits[index as usize / 8] & 1 << (index % 8) != 0
}

/// Make a bit 1.
pub(crate) fn set(bits: &mut [u8], index: u32) {
    bits[index as usize / 8] |= 1 << (index % 8);
}

/// Make a bit 0.
pub(crate) fn clear(bits: &mut [u8], index: u32) {
    bits[index as usize / 8] &= !(1 << (index % 8));
}

/// How many of the first `len` bits are 1.
pub(crate) fn count(bits: &[u8], len: u32) -> u32 {
    let whole = bits[..len as usize / 8].iter().map(|byte| byte.count_ones()).sum::<u32>();
    whole + (len / 8 * 8..len).map(|index| u32::from(get(bits, index))).sum::<u32>()
}

/// The first run of zeros in `from..end` that is `want` long, or else the longest: its first bit and its length.
pub(crate) fn find_run(bits: &[u8], from: u32, end: u32, want: u32) -> Option<(u32, u32)> {
    let mut best: Option<(u32, u32)> = None;
    let mut at = from;
    while at < end {
        if get(bits, at) {
            // A byte of ones is skipped whole.
            at += if at.is_multiple_of(8) && bits[at as usize / 8] == 0xFF { 8 } else { 1 };
            continue;
        }
        let start = at;
        while at < end && at - start < want && !get(bits, at) {
            at += 1;
        }
        let len = at - start;
        if best.is_none_or(|(_, longest)| len > longest) {
            best = Some((start, len));
        }
        if len == want {
            break;
        }
    }
    best
}

/// The block bitmap of a group.
pub(crate) fn blocks<'a>(source: &'a impl Blocks, desc: &GroupDesc) -> Result<Cow<'a, [u8]>> {
    let geometry = source.geometry();
    if desc.is_block_uninit() {
        return Ok(Cow::Owned(unwritten_blocks(geometry, desc)));
    }
    let bits = source.read_block(desc.block_bitmap())?;
    if geometry.has_metadata_csum() && !desc.block_bitmap_csum_is(blocks_csum(geometry, &bits)) {
        return Err(Error::corrupt(format!(
            "group {}: checksum of the block bitmap is wrong",
            desc.group()
        )));
    }
    Ok(bits)
}

/// The inode bitmap of a group.
pub(crate) fn inodes<'a>(source: &'a impl Blocks, desc: &GroupDesc) -> Result<Cow<'a, [u8]>> {
    let geometry = source.geometry();
    if desc.is_inode_uninit() {
        let mut bits = vec![0; geometry.block_size];
        bits[geometry.inodes_per_group.get() as usize / 8..].fill(0xFF);
        return Ok(Cow::Owned(bits));
    }
    let bits = source.read_block(desc.inode_bitmap())?;
    if geometry.has_metadata_csum() && !desc.inode_bitmap_csum_is(inodes_csum(geometry, &bits)) {
        return Err(Error::corrupt(format!(
            "group {}: checksum of the inode bitmap is wrong",
            desc.group()
        )));
    }
    Ok(bits)
}

/// Only the group's own metadata is in use.
fn unwritten_blocks(geometry: &Geometry, desc: &GroupDesc) -> Vec<u8> {
    let group = desc.group();
    let len = u32::try_from(geometry.group_len(group)).expect("blocks of a group");
    let mut bits = vec![0; geometry.block_size];
    let base = u32::try_from(geometry.base_meta_blocks(group)).unwrap_or(len).min(len);
    (0..base).for_each(|index| set(&mut bits, index));
    for (first, count) in desc.own_blocks(geometry) {
        for block in first.0..first.0 + count {
            match geometry.group_of(BlockNr(block)) {
                Ok((holder, index)) if holder == group => set(&mut bits, index),
                _ => {}
            }
        }
    }
    let all = u32::try_from(bits.len() * 8).expect("64 KiB times 8");
    (len..all).for_each(|index| set(&mut bits, index));
    bits
}

/// The checksum of a block bitmap.
pub(crate) fn blocks_csum(geometry: &Geometry, bits: &[u8]) -> u32 {
    checksum::crc32c(geometry.seed, &bits[..geometry.blocks_per_group.get() as usize / 8])
}

/// The checksum of an inode bitmap.
pub(crate) fn inodes_csum(geometry: &Geometry, bits: &[u8]) -> u32 {
    checksum::crc32c(geometry.seed, &bits[..geometry.inodes_per_group.get() as usize / 8])
}

#[cfg(test)]
mod tests {
    use super::{clear, count, find_run, get, set};

    #[test]
    fn bits_count_from_the_lowest() {
        let mut bits = [0; 2];
        set(&mut bits, 9);
        assert_eq!(bits, [0, 0b10]);
        assert!(get(&bits, 9));
        clear(&mut bits, 9);
        assert_eq!(bits, [0, 0]);
    }

    #[test]
    fn bits_are_counted_up_to_any_of_them() {
        let bits = [0b1001_0001, 0xFF, 0b100];
        let counts: Vec<u32> = [0, 1, 5, 8, 16, 18, 19].map(|len| count(&bits, len)).to_vec();
        assert_eq!(counts, [0, 1, 2, 3, 11, 11, 12]);
    }

    #[test]
    fn a_run_is_the_first_that_is_long_enough_or_else_the_longest() {
        // Free: 1-2, 4-7, 16-23.
        let bits = [0b0000_1001, 0xFF, 0x00];
        assert_eq!(find_run(&bits, 0, 24, 2), Some((1, 2)));
        assert_eq!(find_run(&bits, 0, 24, 4), Some((4, 4)));
        assert_eq!(find_run(&bits, 0, 24, 99), Some((16, 8)));
        assert_eq!(find_run(&bits, 5, 16, 99), Some((5, 3)));
        assert_eq!(find_run(&bits, 8, 16, 1), None);
    }
}
