//! The hash tree of a large directory.
//!
//! Block 0 is the `dx_root`: the entries `.` and `..`, a header, then an array of (hash, block) sorted by hash. Each
//! leads to a leaf with the names from that hash up to the next, or to one more level of arrays. Where the names of one
//! hash did not fit one leaf, the next array entry has the lowest bit set: they go on there.
//!
//! ```text
//! limit 124, count 3:   0x00000000→1   0x4b1d0e2c→2   0x9f03a1c4→3
//! ```

use std::collections::BTreeSet;

use zerocopy::FromBytes;

use super::block::{Place, block_count, corrupt, read_block};
use super::dx::entries_offset;
use super::{hash, linear};
use crate::error::Result;
use crate::ext::blocks::Blocks;
use crate::ext::feature::{Compat, Incompat};
use crate::ext::inode::Inode;
use crate::ext::nr::BlockNr;
use crate::ext::ondisk::dx::{
    CountLimit, ENTRY_LEN, Entry, INFO_OFFSET, NODE_ENTRIES_OFFSET, ROOT_ENTRIES_OFFSET, RootInfo,
    Tail,
};
use crate::ext::ondisk::inode::flag;

/// An array on the way from the root to a leaf.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Where it lies on the volume.
    pub(crate) block: BlockNr,
    /// Where it begins in its block.
    pub(crate) offset: usize,
    /// Entries there is room for.
    pub(crate) limit: usize,
    /// The entries; the hash of the first counts as 0.
    pub(crate) entries: Vec<(u32, u32)>,
    /// The entry that was taken.
    pub(crate) at: usize,
}

/// The way to the leaf of a hash.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    /// The hash looked for.
    pub(crate) hash: u32,
    /// The version of the hash.
    pub(crate) version: u8,
    /// From the root down; never empty.
    pub(crate) frames: Vec<Frame>,
}

impl Probe {
    /// The block of the directory that holds the leaf.
    pub(crate) fn leaf(&self) -> u32 {
        let frame = self.frames.last().expect("never empty");
        frame.entries[frame.at].1
    }
}

/// Whether the hash tree of a directory is to be used.
pub(crate) fn is_indexed(blocks: &impl Blocks, dir: &Inode) -> bool {
    dir.has(flag::INDEX)
        && !dir.has(flag::INLINE_DATA)
        && blocks.geometry().features.compat.contains(Compat::DIR_INDEX)
}

/// Levels of arrays that a directory may have.
pub(crate) fn max_levels(blocks: &impl Blocks) -> usize {
    if blocks.geometry().features.incompat.contains(Incompat::LARGE_DIR) { 3 } else { 2 }
}

/// The block and the inode of a name: `None` where there is no tree, or none that we can hash for.
pub(crate) fn locate(
    blocks: &impl Blocks,
    dir: &Inode,
    name: &[u8],
) -> Result<Option<Option<Place>>> {
    let Some(mut probe) = probe(blocks, dir, name)? else { return Ok(None) };
    // At most every leaf is looked at once.
    let mut seen = BTreeSet::new();
    for _ in 0..block_count(blocks, dir)? {
        let lblk = probe.leaf();
        let (block, bytes) = read_block(blocks, dir, lblk)?;
        if !seen.insert(block) {
            return Err(corrupt(dir.nr(), &format!("block {block} is used twice")));
        }
        for entry in linear::entries(&bytes, blocks.geometry().inode_count) {
            let entry =
                entry.map_err(|what| corrupt(dir.nr(), &format!("block {lblk}: {what}")))?;
            match entry.inode {
                Some(nr) if entry.name == name => return Ok(Some(Some(Place { lblk, nr }))),
                _ => {}
            }
        }
        if !go_on(blocks, dir, &mut probe)? {
            break;
        }
    }
    Ok(Some(None))
}

/// The way to the leaf where `name` belongs: `None` where there is no tree, or none that we can hash for.
pub(crate) fn probe(blocks: &impl Blocks, dir: &Inode, name: &[u8]) -> Result<Option<Probe>> {
    // With case folding it is the folded name that is hashed; such directories are searched from end to end.
    if !is_indexed(blocks, dir) || dir.has(flag::CASEFOLD) || dir.has(flag::ENCRYPT) {
        return Ok(None);
    }
    let (block, bytes) = read_block(blocks, dir, 0)?;
    let (info, _) = RootInfo::ref_from_prefix(&bytes[INFO_OFFSET..]).expect("a block is longer");
    let levels = usize::from(info.indirect_levels) + 1;
    if info.reserved_zero.get() != 0
        || info.info_length != 8
        || info.unused_flags & 1 != 0
        || levels > max_levels(blocks)
    {
        return Err(corrupt(dir.nr(), &"header of the hash tree is wrong"));
    }
    let version = info.hash_version;
    let Some(hash) = hash::hash(blocks.geometry(), version, name) else { return Ok(None) };
    let mut frames = vec![frame(blocks, dir, block, &bytes, ROOT_ENTRIES_OFFSET, hash)?];
    while frames.len() < levels {
        let above = frames.last().expect("the root");
        let next = descend(blocks, dir, above.entries[above.at].1, hash)?;
        frames.push(next);
    }
    Ok(Some(Probe { hash, version, frames }))
}

fn descend(blocks: &impl Blocks, dir: &Inode, lblk: u32, hash: u32) -> Result<Frame> {
    let (block, bytes) = read_block(blocks, dir, lblk)?;
    if lblk == 0 || entries_offset(&bytes, dir, lblk) != Some(NODE_ENTRIES_OFFSET) {
        return Err(corrupt(dir.nr(), &format!("block {lblk} is not a node of the hash tree")));
    }
    frame(blocks, dir, block, &bytes, NODE_ENTRIES_OFFSET, hash)
}

fn frame(
    blocks: &impl Blocks,
    dir: &Inode,
    block: BlockNr,
    bytes: &[u8],
    offset: usize,
    hash: u32,
) -> Result<Frame> {
    let wrong = || corrupt(dir.nr(), &format!("hash tree in block {block}: counts are wrong"));
    let (counts, _) = CountLimit::ref_from_prefix(&bytes[offset..]).expect("a block is longer");
    let (limit, count) = (usize::from(counts.limit.get()), usize::from(counts.count.get()));
    if limit != room(bytes.len(), offset, blocks.geometry().has_metadata_csum())
        || count == 0
        || count > limit
    {
        return Err(wrong());
    }
    let array = &bytes[offset..offset + count * ENTRY_LEN];
    let array = <[Entry]>::ref_from_bytes(array).expect("whole entries");
    let mut entries: Vec<(u32, u32)> =
        array.iter().map(|entry| (entry.hash.get(), entry.block.get() & 0x0FFF_FFFF)).collect();
    entries[0].0 = 0;
    if !entries.is_sorted_by_key(|&(hash, _)| hash) {
        return Err(corrupt(dir.nr(), &format!("hash tree in block {block}: not sorted")));
    }
    let at = entries.partition_point(|&(from, _)| from <= hash) - 1;
    Ok(Frame { block, offset, limit, entries, at })
}

/// Entries that an array has room for.
pub(crate) fn room(block_size: usize, offset: usize, has_csum: bool) -> usize {
    (block_size - offset - if has_csum { size_of::<Tail>() } else { 0 }) / ENTRY_LEN
}

/// Go on to the next leaf, if names of the same hash continue there.
fn go_on(blocks: &impl Blocks, dir: &Inode, probe: &mut Probe) -> Result<bool> {
    let Some(level) = probe.frames.iter().rposition(|frame| frame.at + 1 < frame.entries.len())
    else {
        return Ok(false);
    };
    let levels = probe.frames.len();
    let frame = &mut probe.frames[level];
    frame.at += 1;
    if frame.entries[frame.at].0 & !1 != probe.hash {
        return Ok(false);
    }
    probe.frames.truncate(level + 1);
    while probe.frames.len() < levels {
        let above = probe.frames.last().expect("truncated to one at least");
        // Hash 0 leads to the first entry.
        let next = descend(blocks, dir, above.entries[above.at].1, 0)?;
        probe.frames.push(next);
    }
    Ok(true)
}
