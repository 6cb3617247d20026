//! Growing the hash tree of a directory.
//!
//! A full leaf splits in two by hash, and the array above gets one more entry. A full array splits too; where the one
//! above is full as well, up to the root, the root's entries move into a block of their own and the tree is one level
//! deeper. Every such step leaves a sound tree, after which the way is looked up anew.

use zerocopy::{FromBytes, IntoBytes};

use super::block::{block_count, corrupt, read_block};
use super::block_edit::{NewName, grow, grow_raw, insert_into, put_leaf};
use super::htree::{self, Frame, Probe, max_levels};
use super::{dx, hash, linear};
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::edit::transaction::Transaction;
use crate::ext::feature::Incompat;
use crate::ext::inode::{FileType, Inode};
use crate::ext::nr::{BlockNr, InodeNr};
use crate::ext::ondisk::dirent::{Header, entry_len};
use crate::ext::ondisk::dx::{
    CountLimit, ENTRY_LEN, Entry, INFO_OFFSET, NODE_ENTRIES_OFFSET, ROOT_ENTRIES_OFFSET, RootInfo,
};
use crate::ext::ondisk::inode::flag;

/// Put a name into the leaf of its hash. False where there is no tree that we can hash for.
pub(crate) fn insert(tx: &mut Transaction<'_>, dir: &mut Inode, new: NewName<'_>) -> Result<bool> {
    // Each turn splits something; a level each, the leaf, and the insertion.
    for _ in 0..=2 * max_levels(tx) + 2 {
        let Some(probe) = htree::probe(tx, dir, new.name)? else { return Ok(false) };
        if insert_into(tx, dir, probe.leaf(), new)? {
            return Ok(true);
        }
        make_room(tx, dir, probe)?;
    }
    Err(full(dir))
}

fn full(dir: &Inode) -> Error {
    Error::NoSpace(format!("the hash tree of directory {} is full", dir.nr()))
}

/// A name in a leaf that is being split.
struct Placed {
    hash: u32,
    nr: InodeNr,
    name: Vec<u8>,
    file_type: u8,
}

/// Split the leaf, or the lowest array that has no room for one more.
fn make_room(tx: &mut Transaction<'_>, dir: &mut Inode, probe: Probe) -> Result<()> {
    let has_room = |frame: &Frame| frame.entries.len() < frame.limit;
    let lowest = probe.frames.len() - 1;
    if has_room(&probe.frames[lowest]) {
        return split_leaf(tx, dir, probe);
    }
    // The lowest array above a full one that has room takes the second half of the one below.
    match (0..lowest).rev().find(|&level| has_room(&probe.frames[level])) {
        Some(level) => split_node(tx, dir, probe, level),
        None if probe.frames.len() < max_levels(tx) => deepen(tx, dir, probe),
        None => Err(full(dir)),
    }
}

fn split_leaf(tx: &mut Transaction<'_>, dir: &mut Inode, mut probe: Probe) -> Result<()> {
    let lblk = probe.leaf();
    let (block, bytes) = read_block(tx, dir, lblk)?;
    let mut names = placed(tx, dir, &bytes, probe.version, 0)?;
    drop(bytes);
    names.sort_by_key(|name| name.hash);
    let split = halfway(&names);
    let Some(first) = names.get(split).filter(|_| split > 0) else {
        return Err(corrupt(dir.nr(), &format!("block {lblk} is full of one name")));
    };
    // The lowest bit says that names of this hash begin in the leaf before.
    let from = first.hash | u32::from(names[split - 1].hash == first.hash);
    let upper = filled(tx, &names[split..])?;
    let lower = filled(tx, &names[..split])?;
    put_leaf(tx, dir, block, lower);
    let new = grow(tx, dir, upper)?;
    let frame = probe.frames.last_mut().expect("never empty");
    frame.entries.insert(frame.at + 1, (from, new));
    put_frame(tx, dir, frame)
}

/// Index of the first name of the second half, by the room that names take.
fn halfway(names: &[Placed]) -> usize {
    let total: usize = names.iter().map(|name| entry_len(name.name.len())).sum();
    let mut taken = 0;
    let split = names.iter().position(|name| {
        taken += entry_len(name.name.len());
        taken > total / 2
    });
    split.unwrap_or(0).max(1)
}

/// The names in a block from byte `from` on, with their hashes.
fn placed(
    tx: &Transaction<'_>,
    dir: &Inode,
    bytes: &[u8],
    version: u8,
    from: usize,
) -> Result<Vec<Placed>> {
    let mut names = Vec::new();
    for entry in linear::entries(bytes, tx.geometry().inode_count) {
        let entry = entry.map_err(|what| corrupt(dir.nr(), &what))?;
        let Some(nr) = entry.inode.filter(|_| entry.offset >= from) else { continue };
        let hash = hash::hash(tx.geometry(), version, entry.name)
            .ok_or_else(|| corrupt(dir.nr(), &format!("hash version {version}")))?;
        let (name, file_type) = (entry.name.to_vec(), entry.file_type);
        names.push(Placed { hash, nr, name, file_type });
    }
    Ok(names)
}

/// A block with these names, which must fit.
fn filled(tx: &Transaction<'_>, names: &[Placed]) -> Result<Vec<u8>> {
    let geometry = tx.geometry();
    let mut bytes = linear::empty(geometry.block_size, geometry.has_metadata_csum());
    let end = linear::end(&bytes, geometry.has_metadata_csum());
    let mut offset = 0;
    for (i, name) in names.iter().enumerate() {
        let len = entry_len(name.name.len());
        let room = if i + 1 == names.len() { end.saturating_sub(offset) } else { len };
        if offset + len > end || room < len {
            return Err(Error::corrupt("names of a directory block do not fit a block"));
        }
        linear::write(&mut bytes, offset, room, name.nr.0, &name.name, name.file_type);
        offset += len;
    }
    Ok(bytes)
}

/// Move the second half of the array below `level` into a block of its own.
fn split_node(
    tx: &mut Transaction<'_>,
    dir: &mut Inode,
    mut probe: Probe,
    level: usize,
) -> Result<()> {
    let mut below = probe.frames.remove(level + 1);
    let upper = below.entries.split_off(below.entries.len() / 2);
    let from = upper[0].0;
    let (lblk, block) = new_node(tx, dir)?;
    let node = Frame { block, offset: NODE_ENTRIES_OFFSET, entries: upper, ..below.clone() };
    put_frame(tx, dir, &node)?;
    put_frame(tx, dir, &below)?;
    let frame = &mut probe.frames[level];
    frame.entries.insert(frame.at + 1, (from, lblk));
    put_frame(tx, dir, frame)
}

/// Move the root's entries into a block of their own.
fn deepen(tx: &mut Transaction<'_>, dir: &mut Inode, mut probe: Probe) -> Result<()> {
    let (lblk, block) = new_node(tx, dir)?;
    let root = &mut probe.frames[0];
    let entries = std::mem::replace(&mut root.entries, vec![(0, lblk)]);
    let limit = node_room(tx);
    let node = Frame { block, offset: NODE_ENTRIES_OFFSET, limit, entries, at: 0 };
    put_frame(tx, dir, &node)?;
    let levels = u8::try_from(probe.frames.len()).expect("three at most");
    let root = &probe.frames[0];
    tx.edit_block(root.block, |bytes| info_mut(bytes).indirect_levels = levels)?;
    put_frame(tx, dir, root)
}

fn info_mut(bytes: &mut [u8]) -> &mut RootInfo {
    RootInfo::mut_from_prefix(&mut bytes[INFO_OFFSET..]).expect("a block is longer").0
}

fn node_room(tx: &Transaction<'_>) -> usize {
    let geometry = tx.geometry();
    htree::room(geometry.block_size, NODE_ENTRIES_OFFSET, geometry.has_metadata_csum())
}

/// A block for an array: one unused entry from end to end.
fn new_node(tx: &mut Transaction<'_>, dir: &mut Inode) -> Result<(u32, BlockNr)> {
    let (lblk, block) = grow_raw(tx, dir)?;
    let block_size = tx.geometry().block_size;
    let mut bytes = vec![0; block_size];
    bytes[..8].copy_from_slice(Header::new(0, block_size, 0, 0).as_bytes());
    tx.put_block(block, bytes);
    Ok((lblk, block))
}

/// Write an array, its counts, and its checksum.
fn put_frame(tx: &mut Transaction<'_>, dir: &Inode, frame: &Frame) -> Result<()> {
    let counts = CountLimit {
        limit: u16::try_from(frame.limit).expect("64 KiB over 8").into(),
        count: u16::try_from(frame.entries.len()).expect("at most the limit").into(),
    };
    let seed = tx.geometry().has_metadata_csum().then(|| dir.seed(tx.geometry()));
    tx.edit_block(frame.block, |bytes| {
        for (i, &(hash, block)) in frame.entries.iter().enumerate() {
            let at = frame.offset + i * ENTRY_LEN;
            let entry = Entry { hash: hash.into(), block: block.into() };
            bytes[at..at + ENTRY_LEN].copy_from_slice(entry.as_bytes());
        }
        bytes[frame.offset..frame.offset + 4].copy_from_slice(counts.as_bytes());
        if let Some(seed) = seed {
            dx::seal(bytes, seed, frame.offset);
        }
    })
}

/// Give a directory of one block a hash tree. False where its hash version is unknown, or the block is odd.
pub(crate) fn index(tx: &mut Transaction<'_>, dir: &mut Inode) -> Result<bool> {
    debug_assert_eq!(block_count(tx, dir).ok(), Some(1));
    let geometry = tx.geometry();
    let version = geometry.hash_version;
    if version > 2 {
        return Ok(false);
    }
    let (block_size, keeps_type) =
        (geometry.block_size, geometry.features.incompat.contains(Incompat::FILETYPE));
    let (block, bytes) = read_block(tx, dir, 0)?;
    let first: Vec<_> = linear::entries(&bytes, geometry.inode_count).take(2).collect();
    let [Ok(dot), Ok(dotdot)] = first.as_slice() else { return Ok(false) };
    let (Some(own), Some(parent)) = (dot.inode, dotdot.inode) else { return Ok(false) };
    if (dot.name, dotdot.name, dot.rec_len) != (b".", b"..", 12) {
        return Ok(false);
    }
    let names = placed(tx, dir, &bytes, version, dotdot.offset + dotdot.rec_len)?;
    drop(bytes);
    let leaf = filled(tx, &names)?;
    dir.set_flag(flag::INDEX, true);
    let file_type = if keeps_type { FileType::Directory.dirent_type() } else { 0 };
    let mut root = vec![0; block_size];
    linear::write(&mut root, 0, 12, own.0, b".", file_type);
    linear::write(&mut root, 12, block_size - 12, parent.0, b"..", file_type);
    let info = info_mut(&mut root);
    (info.hash_version, info.info_length) = (version, 8);
    // The map is read while it grows, so block 0 has to be the root before that.
    tx.put_block(block, root);
    let limit = htree::room(block_size, ROOT_ENTRIES_OFFSET, tx.geometry().has_metadata_csum());
    let frame = Frame { block, offset: ROOT_ENTRIES_OFFSET, limit, entries: vec![(0, 1)], at: 0 };
    put_frame(tx, dir, &frame)?;
    let lblk = grow(tx, dir, leaf)?;
    debug_assert_eq!(lblk, 1);
    Ok(true)
}
