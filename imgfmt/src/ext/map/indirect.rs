//! Reading a map of block numbers, as ext2 and ext3 have it.
//!
//! `i_block` holds fifteen numbers: twelve of data, then one each of a block of numbers, of a block of such blocks, and of
//! one more level. 0 is a hole, at any level. With 1 KiB blocks a block holds 256 numbers.
//!
//! A block may claim to hold itself, so a walk refuses to enter one twice.

use std::collections::BTreeSet;

use super::{Mapping, Run};
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::inode::Inode;
use crate::ext::nr::BlockNr;

/// Numbers in the inode that lead to data.
pub(crate) const DIRECT: u64 = 12;

/// How to reach a block: the number in the inode to begin with, then one index a level.
pub(crate) struct Path {
    /// Index into `i_block`.
    pub(crate) slot: usize,
    /// Indexes from the top down; empty for direct blocks.
    pub(crate) indexes: Vec<usize>,
}

/// The way to block `lblk`, `None` where no file has such a block.
pub(crate) fn path(block_size: usize, lblk: u64) -> Option<Path> {
    let numbers = (block_size / 4) as u64;
    if lblk < DIRECT {
        return Some(Path { slot: usize::try_from(lblk).ok()?, indexes: Vec::new() });
    }
    let mut rest = lblk - DIRECT;
    for level in 1..=3_u32 {
        let span = numbers.pow(level);
        if rest < span {
            let indexes = (0..level).rev().map(|below| rest / numbers.pow(below) % numbers);
            let indexes = indexes.map(|index| usize::try_from(index).ok()).collect::<Option<_>>();
            return Some(Path { slot: 11 + level as usize, indexes: indexes? });
        }
        rest -= span;
    }
    None
}

/// Blocks that a file can have where `counted` are all that can be counted, those of numbers among them.
pub(crate) fn max_blocks(block_size: usize, counted: u64) -> u64 {
    let numbers = (block_size / 4) as u64;
    let (square, cube) = (numbers.pow(2), numbers.pow(3));
    let of_numbers = 1 + (1 + numbers) + (1 + numbers + square);
    (DIRECT + numbers + square + cube).min(counted.saturating_sub(of_numbers))
}

/// Number `index` of a block of numbers, or of `i_block`.
pub(crate) fn number(bytes: &[u8], index: usize) -> u32 {
    let at = index * 4;
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(super) fn corrupt(inode: &Inode, what: &dyn std::fmt::Display) -> Error {
    let what = what.to_string();
    let what = what.strip_prefix("corrupt image: ").unwrap_or(&what);
    Error::Corrupt(format!("ext inode {} block map: {what}", inode.nr()))
}

pub(super) fn check(
    blocks: &impl Blocks,
    inode: &Inode,
    number: u32,
    count: u64,
) -> Result<BlockNr> {
    let block = BlockNr(number.into());
    blocks.geometry().check_data(block, count).map_err(|e| corrupt(inode, &e))?;
    Ok(block)
}

/// Where block `lblk` lies.
pub(crate) fn lookup(blocks: &impl Blocks, inode: &Inode, lblk: u32) -> Result<Run> {
    let block_size = blocks.geometry().block_size;
    let path = path(block_size, lblk.into())
        .ok_or_else(|| corrupt(inode, &format!("no file has a block {lblk}")))?;
    let numbers = (block_size / 4) as u64;
    let (mut array, mut at, mut len) = (inode.base().block.to_vec(), path.slot, DIRECT as usize);
    for (level, &index) in path.indexes.iter().enumerate() {
        let next = number(&array, at);
        // Blocks below one entry of `array`, and how far into them `lblk` is.
        let below = path.indexes.len() - level;
        if next == 0 {
            let span = numbers.pow(u32::try_from(below).expect("three at most"));
            let into =
                path.indexes[level..].iter().fold(0, |sum, &index| sum * numbers + index as u64);
            return Ok(Run { start: None, count: span - into });
        }
        let block = check(blocks, inode, next, 1)?;
        array = blocks.read_block(block)?.into_owned();
        (at, len) = (index, block_size / 4);
    }
    let first = number(&array, at);
    let follows = |i: usize| match first {
        0 => number(&array, at + i) == 0,
        _ => u64::from(number(&array, at + i)) == u64::from(first) + i as u64,
    };
    let count = (1..len - at).take_while(|&i| follows(i)).count() as u64 + 1;
    if first == 0 {
        return Ok(Run { start: None, count });
    }
    Ok(Run { start: Some(check(blocks, inode, first, count)?), count })
}

/// Everything that is mapped.
pub(crate) fn walk(blocks: &impl Blocks, inode: &Inode) -> Result<Mapping> {
    let mut walk = Walk { blocks, inode, mapping: Mapping::default(), seen: BTreeSet::new() };
    let array = inode.base().block;
    for slot in 0..15_usize {
        let level = slot.saturating_sub(11).min(3);
        walk.enter(number(&array, slot), level)?;
    }
    Ok(walk.mapping)
}

struct Walk<'a, B> {
    blocks: &'a B,
    inode: &'a Inode,
    mapping: Mapping,
    seen: BTreeSet<BlockNr>,
}

impl<B: Blocks> Walk<'_, B> {
    fn enter(&mut self, number: u32, level: usize) -> Result<()> {
        if number == 0 {
            return Ok(());
        }
        let block = check(self.blocks, self.inode, number, 1)?;
        if level == 0 {
            match self.mapping.data.last_mut() {
                Some((start, count)) if start.0 + *count == block.0 => *count += 1,
                _ => self.mapping.data.push((block, 1)),
            }
            return Ok(());
        }
        if !self.seen.insert(block) {
            return Err(corrupt(self.inode, &format!("block {block} is used twice")));
        }
        self.mapping.own.push(block);
        let array = self.blocks.read_block(block)?.into_owned();
        for index in 0..array.len() / 4 {
            self.enter(self::number(&array, index), level - 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::path;

    // 1 KiB blocks hold 256 numbers: 12 + 256 = 268 are reached without the second level, 12 + 256 + 65536 = 65804
    // without the third, 16843020 at all.
    #[test]
    fn each_level_begins_where_the_one_before_ends() {
        for (lblk, slot, indexes) in [
            (0, 0, vec![]),
            (11, 11, vec![]),
            (12, 12, vec![0]),
            (267, 12, vec![255]),
            (268, 13, vec![0, 0]),
            (65803, 13, vec![255, 255]),
            (65804, 14, vec![0, 0, 0]),
            (16_843_019, 14, vec![255, 255, 255]),
        ] {
            let path = path(1024, lblk).expect("a file has it");
            assert_eq!((path.slot, path.indexes), (slot, indexes), "{lblk}");
        }
        assert!(path(1024, 16_843_020).is_none());
    }
}
