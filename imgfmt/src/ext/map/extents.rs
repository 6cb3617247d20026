//! Reading an extent tree.
//!
//! ```text
//! inode  f30a entries 2 max 4 depth 1 | 0 → block 1200 | 5000 → block 1201
//! 1200   f30a entries 340 max 340 depth 0 | 0 +16 at 4096 | 16 +16 at 8192 | …
//! ```
//! A tree may claim anything, so each entry must begin behind the one before it and before the next entry of the node
//! above: no block can then be reached twice, and a walk ends.

use zerocopy::FromBytes;

use super::{Mapping, Run};
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::checksum;
use crate::ext::geometry::Geometry;
use crate::ext::inode::Inode;
use crate::ext::nr::BlockNr;
use crate::ext::ondisk::extent::{ENTRY_LEN, Extent, Header, Index, MAGIC, MAX_DEPTH};

/// One more than the last block that a file can have.
pub(super) const END: u64 = 1 << 32;

/// A node whose header is sound.
pub(crate) struct Node<'a> {
    header: &'a Header,
    entries: &'a [u8],
}

impl<'a> Node<'a> {
    /// Check the header; `depth` is what the node above wants, `None` for the root.
    pub(crate) fn new(bytes: &'a [u8], depth: Option<u16>) -> Result<Self, String> {
        let (header, rest) = Header::ref_from_prefix(bytes).map_err(|_| "too short".to_owned())?;
        let (entries, max) = (header.entries.get(), header.max.get());
        if header.magic.get() != MAGIC {
            return Err(format!("magic number is {:#06x}, not 0xf30a", header.magic.get()));
        }
        if header.depth.get() > MAX_DEPTH || depth.is_some_and(|d| d != header.depth.get()) {
            return Err(format!("depth is {}", header.depth.get()));
        }
        if max == 0 || entries > max || usize::from(max) > rest.len() / ENTRY_LEN {
            return Err(format!("{entries} entries of {max}"));
        }
        if entries == 0 && (depth.is_some() || header.depth.get() > 0) {
            return Err("no entries".to_owned());
        }
        Ok(Self { header, entries: &rest[..usize::from(entries) * ENTRY_LEN] })
    }

    /// 0 for a leaf.
    pub(crate) fn depth(&self) -> u16 {
        self.header.depth.get()
    }

    /// Entries there are.
    pub(crate) fn count(&self) -> u16 {
        self.header.entries.get()
    }

    /// Entries there is room for.
    pub(crate) fn max(&self) -> u16 {
        self.header.max.get()
    }

    /// Entries, whole, of whichever kind.
    pub(crate) fn entries(&self) -> &'a [u8] {
        self.entries
    }

    /// Entries of a leaf.
    pub(crate) fn extents(&self) -> &'a [Extent] {
        <[Extent]>::ref_from_bytes(self.entries).expect("whole entries")
    }

    /// Entries of an inner node.
    pub(crate) fn indexes(&self) -> &'a [Index] {
        <[Index]>::ref_from_bytes(self.entries).expect("whole entries")
    }
}

/// Read the node in `block`, its checksum checked, and hand it on.
fn with_block<B: Blocks, R>(
    blocks: &B,
    inode: &Inode,
    block: BlockNr,
    depth: u16,
    f: impl FnOnce(Node<'_>) -> Result<R>,
) -> Result<R> {
    let geometry = blocks.geometry();
    geometry.check_data(block, 1).map_err(|e| corrupt(inode, &e))?;
    f(checked(geometry, inode, block, &blocks.read_block(block)?, depth)?)
}

/// The bytes of the node in `block`, which are sound.
pub(super) fn read_node(
    blocks: &impl Blocks,
    inode: &Inode,
    block: BlockNr,
    depth: u16,
) -> Result<Vec<u8>> {
    let geometry = blocks.geometry();
    geometry.check_data(block, 1).map_err(|e| corrupt(inode, &e))?;
    let bytes = blocks.read_block(block)?.into_owned();
    checked(geometry, inode, block, &bytes, depth)?;
    Ok(bytes)
}

fn checked<'a>(
    geometry: &Geometry,
    inode: &Inode,
    block: BlockNr,
    bytes: &'a [u8],
    depth: u16,
) -> Result<Node<'a>> {
    let in_block = |what: String| corrupt(inode, &format!("block {block}: {what}"));
    let node = Node::new(bytes, Some(depth)).map_err(in_block)?;
    if geometry.has_metadata_csum() && !checksum_holds(bytes, node.max(), inode.seed(geometry)) {
        return Err(in_block("checksum is wrong".to_owned()));
    }
    Ok(node)
}

/// Whether the checksum behind the last entry there is room for is right.
pub(crate) fn checksum_holds(bytes: &[u8], max: u16, seed: u32) -> bool {
    let tail = ENTRY_LEN * (1 + usize::from(max));
    bytes.get(tail..tail + 4).is_some_and(|stored| {
        stored == checksum::crc32c(seed, &bytes[..tail]).to_le_bytes().as_slice()
    })
}

pub(super) fn corrupt(inode: &Inode, what: &dyn std::fmt::Display) -> Error {
    let what = what.to_string();
    let what = what.strip_prefix("corrupt image: ").unwrap_or(&what);
    Error::Corrupt(format!("ext inode {} extent tree: {what}", inode.nr()))
}

fn root(inode: &Inode) -> Result<Node<'_>> {
    Node::new(&inode.base().block, None).map_err(|what| corrupt(inode, &what))
}

/// Where block `lblk` lies.
pub(crate) fn lookup(blocks: &impl Blocks, inode: &Inode, lblk: u32) -> Result<Run> {
    descend(blocks, inode, root(inode)?, lblk, END)
}

fn descend<B: Blocks>(
    blocks: &B,
    inode: &Inode,
    node: Node<'_>,
    lblk: u32,
    end: u64,
) -> Result<Run> {
    let at = u64::from(lblk);
    if node.depth() > 0 {
        let entries = node.indexes();
        let after = entries.partition_point(|entry| entry.block.get() <= lblk);
        let end = entries.get(after).map_or(end, |next| u64::from(next.block.get()).min(end));
        let Some(entry) = after.checked_sub(1).map(|i| &entries[i]) else {
            return hole(inode, at, end);
        };
        return with_block(blocks, inode, entry.leaf(), node.depth() - 1, |child| {
            descend(blocks, inode, child, lblk, end)
        });
    }
    let entries = node.extents();
    let after = entries.partition_point(|entry| entry.block.get() <= lblk);
    let end = entries.get(after).map_or(end, |next| u64::from(next.block.get()).min(end));
    let Some(entry) = after.checked_sub(1).map(|i| &entries[i]) else {
        return hole(inode, at, end);
    };
    check_extent(blocks, inode, entry)?;
    let into = at - u64::from(entry.block.get());
    match u64::from(entry.len()).checked_sub(into) {
        None | Some(0) => hole(inode, at, end),
        Some(count) => Ok(Run {
            start: (!entry.is_unwritten()).then(|| BlockNr(entry.start().0 + into)),
            count,
        }),
    }
}

fn hole(inode: &Inode, at: u64, end: u64) -> Result<Run> {
    match end.checked_sub(at) {
        None | Some(0) => Err(corrupt(inode, &"entries out of order")),
        Some(count) => Ok(Run { start: None, count }),
    }
}

pub(super) fn check_extent(blocks: &impl Blocks, inode: &Inode, entry: &Extent) -> Result<()> {
    let len = u64::from(entry.len());
    if len == 0 || u64::from(entry.block.get()) + len > END {
        return Err(corrupt(inode, &format!("extent at {} has {len} blocks", entry.block)));
    }
    blocks.geometry().check_data(entry.start(), len).map_err(|e| corrupt(inode, &e))
}

/// A part of a tree.
pub(crate) enum Part<'a> {
    /// Blocks of the file.
    Extent(&'a Extent),
    /// The block of a node.
    Node(BlockNr),
}

/// Everything that the tree maps.
pub(crate) fn walk(blocks: &impl Blocks, inode: &Inode) -> Result<Mapping> {
    let mut mapping = Mapping::default();
    each(blocks, inode, &mut |part| {
        match part {
            Part::Extent(entry) => mapping.data.push((entry.start(), entry.len().into())),
            Part::Node(block) => mapping.own.push(block),
        }
        Ok(())
    })?;
    Ok(mapping)
}

/// Hand all parts of the tree to `f`, in the order of the file.
pub(crate) fn each(
    blocks: &impl Blocks,
    inode: &Inode,
    f: &mut dyn FnMut(Part<'_>) -> Result<()>,
) -> Result<()> {
    walk_node(blocks, inode, root(inode)?, 0..END, f)
}

fn walk_node<B: Blocks>(
    blocks: &B,
    inode: &Inode,
    node: Node<'_>,
    range: std::ops::Range<u64>,
    f: &mut dyn FnMut(Part<'_>) -> Result<()>,
) -> Result<()> {
    let mut from = range.start;
    let out_of_order = || corrupt(inode, &"entries out of order");
    if node.depth() == 0 {
        for entry in node.extents() {
            let at = u64::from(entry.block.get());
            check_extent(blocks, inode, entry)?;
            if at < from || at + u64::from(entry.len()) > range.end {
                return Err(out_of_order());
            }
            from = at + u64::from(entry.len());
            f(Part::Extent(entry))?;
        }
        return Ok(());
    }
    let entries = node.indexes();
    for (i, entry) in entries.iter().enumerate() {
        let at = u64::from(entry.block.get());
        let end = entries.get(i + 1).map_or(range.end, |next| next.block.get().into());
        if at < from || at >= end || end > range.end {
            return Err(out_of_order());
        }
        from = end;
        f(Part::Node(entry.leaf()))?;
        with_block(blocks, inode, entry.leaf(), node.depth() - 1, |child| {
            walk_node(blocks, inode, child, at..end, f)
        })?;
    }
    Ok(())
}
