//! Where the log lies: the blocks of the journal's inode.

use std::collections::BTreeMap;

use super::format::Format;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::inode::{self, FileType, Inode};
use crate::ext::map;
use crate::ext::nr::{BlockNr, InodeNr};
use crate::ext::ondisk::journal::{MAGIC, Superblock, blocktype};
use zerocopy::FromBytes;

/// Blocks of the largest log that is read. `mke2fs` makes none of more than 10,240,000.
const BLOCKS_MAX: u32 = 1 << 24;

/// Runs of blocks that hold the log.
#[derive(Debug)]
pub(super) struct Map {
    /// By the first block of the log that they hold: where it lies, and how many follow.
    runs: BTreeMap<u32, (BlockNr, u32)>,
    /// By the first block of the volume: how many follow.
    places: BTreeMap<BlockNr, u64>,
}

fn damaged(nr: InodeNr, what: impl std::fmt::Display) -> Error {
    Error::Corrupt(format!("ext journal (inode {nr}): {what}"))
}

/// The journal's inode, which must be a file of this file system.
fn inode(blocks: &impl Blocks) -> Result<Inode> {
    let superblock = blocks.superblock();
    let nr = InodeNr(superblock.journal_inum.get());
    if nr.0 == 0 || superblock.journal_dev.get() != 0 {
        return Err(Error::Unsupported(
            "an ext file system with an external journal cannot be edited".to_owned(),
        ));
    }
    let inode = inode::read(blocks, nr)?;
    if inode.kind() != FileType::File {
        return Err(damaged(nr, "not a regular file"));
    }
    Ok(inode)
}

/// The block of the journal's superblock.
pub(crate) fn superblock_location(blocks: &impl Blocks) -> Result<BlockNr> {
    let inode = inode(blocks)?;
    map::lookup(blocks, &inode, 0)?.start.ok_or_else(|| damaged(inode.nr(), "no first block"))
}

/// Blocks of the volume that say where the log lies: of its extent tree, or indirect ones.
pub(super) fn map_blocks(blocks: &impl Blocks) -> Result<Vec<BlockNr>> {
    Ok(map::walk(blocks, &inode(blocks)?)?.own)
}

/// The log of a file system that does not need it must hold nothing. Returns whether the kernel noted an error there.
pub(crate) fn check_empty(blocks: &impl Blocks) -> Result<bool> {
    let bytes = blocks.read_block(superblock_location(blocks)?)?;
    let (superblock, _) = Superblock::ref_from_prefix(&bytes).expect("a block has 1024 bytes");
    let version = superblock.header.blocktype.get();
    if superblock.header.magic.get() != MAGIC
        || !matches!(version, blocktype::SUPERBLOCK_V1 | blocktype::SUPERBLOCK_V2)
    {
        return Err(damaged(InodeNr(blocks.superblock().journal_inum.get()), "no superblock"));
    }
    match superblock.start.get() {
        0 => Ok(superblock.errno.get() != 0),
        // The kernel would throw the log away.
        _ => Err(Error::not_clean("its journal is not empty")),
    }
}

/// The journal must be one that the kernel would use: its superblock sound, and each block of the log somewhere.
pub(crate) fn check_sound(blocks: &impl Blocks) -> Result<()> {
    let bytes = blocks.read_block(superblock_location(blocks)?)?;
    let format = Format::new(&bytes, blocks.geometry().block_size, held(blocks)?)?;
    Map::new(blocks, format.maxlen)?;
    Ok(())
}

/// Blocks that the journal's file may have by its length.
pub(super) fn held(blocks: &impl Blocks) -> Result<u64> {
    let geometry = blocks.geometry();
    Ok(inode(blocks)?.size(geometry) / geometry.block_size as u64)
}

impl Map {
    /// Where the first `len` blocks of the log lie: all of them somewhere, and no two in one place.
    pub(super) fn new(blocks: &impl Blocks, len: u32) -> Result<Self> {
        let inode = inode(blocks)?;
        if len > BLOCKS_MAX {
            return Err(Error::Unsupported(format!(
                "an ext journal of {len} blocks (at most {BLOCKS_MAX})"
            )));
        }
        let mut map = Self { runs: BTreeMap::new(), places: BTreeMap::new() };
        let mut lblk = 0;
        while lblk < len {
            let run = map::lookup(blocks, &inode, lblk)?;
            let Some(start) = run.start else {
                return Err(damaged(inode.nr(), format!("block {lblk} is a hole")));
            };
            let left = u64::from(len - lblk).min(run.count);
            if map.overlaps(start, left) {
                return Err(damaged(inode.nr(), format!("block {lblk} lies on another one")));
            }
            let count = u32::try_from(left).expect("at most `len`");
            map.runs.insert(lblk, (start, count));
            map.places.insert(start, left);
            lblk += count;
        }
        Ok(map)
    }

    /// Where a block of the log lies.
    pub(super) fn block(&self, lblk: u32) -> Option<BlockNr> {
        let (first, (start, count)) = self.runs.range(..=lblk).next_back()?;
        let into = lblk - first;
        (into < *count).then(|| BlockNr(start.0 + u64::from(into)))
    }

    /// Where it lies: the first block of each run, and how many follow.
    pub(super) fn runs(&self) -> impl Iterator<Item = (BlockNr, u64)> {
        self.places.iter().map(|(&start, &count)| (start, count))
    }

    /// Whether a block of the volume is one of the log's.
    pub(super) fn contains(&self, block: BlockNr) -> bool {
        self.overlaps(block, 1)
    }

    /// Whether any of `count` blocks of the volume from `start` on is one of the log's.
    pub(super) fn overlaps(&self, start: BlockNr, count: u64) -> bool {
        let end = BlockNr(start.0.saturating_add(count));
        let before = self.places.range(..end).next_back();
        before.is_some_and(|(first, len)| first.0 + len > start.0)
    }
}
