//! Growing an extent tree at its end.
//!
//! New content gets a new tree, and directories grow by a block at the end, so nothing is ever put in between: the last
//! extent grows longer, or a new one follows it in the rightmost leaf. Where that is full, the lowest node above it that
//! has room gets a new branch down to a new leaf; where none has, the root moves into a block and the tree is one deeper.

use zerocopy::{FromBytes, IntoBytes};

use super::extents::{Node, corrupt, read_node};
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::checksum;
use crate::ext::edit::transaction::Transaction;
use crate::ext::inode::Inode;
use crate::ext::nr::BlockNr;
use crate::ext::ondisk::extent::{ENTRY_LEN, Extent, Header, Index, MAX_DEPTH, MAX_LEN};

/// Make the root an empty leaf.
pub(crate) fn clear(inode: &mut Inode) {
    let max = u16::try_from((inode.base().block.len() - ENTRY_LEN) / ENTRY_LEN).expect("four");
    inode.base_mut().block[..ENTRY_LEN].copy_from_slice(Header::new(max, 0).as_bytes());
}

/// Map `count` blocks at the end. Returns how many blocks the tree grew by.
pub(crate) fn append(
    tx: &mut Transaction<'_>,
    inode: &mut Inode,
    lblk: u32,
    start: BlockNr,
    count: u32,
) -> Result<u64> {
    let (mut lblk, mut start, mut left, mut grown) = (lblk, start, count, 0);
    while left > 0 {
        let len = u16::try_from(left).unwrap_or(MAX_LEN).min(MAX_LEN);
        grown += append_extent(tx, inode, Extent::new(lblk, start, len))?;
        left -= u32::from(len);
        start = BlockNr(start.0 + u64::from(len));
        lblk = lblk.checked_add(len.into()).or((left == 0).then_some(0)).ok_or_else(too_large)?;
    }
    Ok(grown)
}

fn too_large() -> Error {
    Error::NoSpace("a file cannot have more blocks".to_owned())
}

/// A node on the way from the root to the rightmost leaf: where it lies, `None` in the inode.
type Path = Vec<Option<BlockNr>>;

/// Map one extent, written or not, at the end. Returns how many blocks the tree grew by.
pub(crate) fn append_extent(
    tx: &mut Transaction<'_>,
    inode: &mut Inode,
    extent: Extent,
) -> Result<u64> {
    let path = rightmost(tx, inode, extent.block.get())?;
    let leaf = *path.last().expect("the root is always there");
    if edit_node(tx, inode, leaf, |node| join_last(node, &extent))? {
        return Ok(0);
    }
    let Some(level) = lowest_with_room(tx, inode, &path)? else {
        return Ok(deepen(tx, inode)? + append_extent(tx, inode, extent)?);
    };
    // From the leaf up: each new node has one entry, which leads to the one made before.
    let lblk = extent.block.get();
    let mut entry: [u8; ENTRY_LEN] = extent.as_bytes().try_into().expect("twelve bytes");
    let mut grown = 0;
    for depth in 0..path.len() - 1 - level {
        let block = tx.alloc_meta(near(tx, inode, leaf)?)?;
        let mut bytes = empty_node(tx, u16::try_from(depth).expect("five at most"));
        push(&mut bytes, &entry);
        tx.put_block(block, bytes);
        edit_node(tx, inode, Some(block), |_| ())?;
        entry = Index::new(lblk, block).as_bytes().try_into().expect("twelve bytes");
        grown += 1;
    }
    edit_node(tx, inode, path[level], |node| push(node, &entry))?;
    Ok(grown)
}

/// Blocks of the tree go near the tree, or near the inode.
fn near(tx: &Transaction<'_>, inode: &Inode, leaf: Option<BlockNr>) -> Result<BlockNr> {
    match leaf {
        Some(block) => Ok(block),
        None => tx.inode_goal(inode.nr()),
    }
}

/// The way to the rightmost leaf, each node of it sound, and all that they map before block `lblk`.
fn rightmost(tx: &Transaction<'_>, inode: &Inode, lblk: u32) -> Result<Path> {
    let mut path = vec![None];
    let mut bytes = inode.base().block.to_vec();
    loop {
        let node = Node::new(&bytes, None).map_err(|what| corrupt(inode, &what))?;
        let Some(depth) = node.depth().checked_sub(1) else {
            let end = node
                .extents()
                .last()
                .map_or(0, |last| u64::from(last.block.get()) + u64::from(last.len()));
            return if end <= lblk.into() { Ok(path) } else { Err(not_behind(inode, lblk)) };
        };
        let last = node.indexes().last().filter(|last| last.block.get() <= lblk);
        let last = last.ok_or_else(|| not_behind(inode, lblk))?.leaf();
        path.push(Some(last));
        bytes = read_node(tx, inode, last, depth)?;
    }
}

fn not_behind(inode: &Inode, lblk: u32) -> Error {
    corrupt(inode, &format!("maps block {lblk} or one behind it already"))
}

fn lowest_with_room(tx: &Transaction<'_>, inode: &Inode, path: &Path) -> Result<Option<usize>> {
    for (level, block) in path.iter().enumerate().rev() {
        let has_room = |bytes: &[u8]| Node::new(bytes, None).is_ok_and(|n| n.count() < n.max());
        let room = match block {
            None => has_room(&inode.base().block),
            Some(block) => has_room(&tx.read_block(*block)?),
        };
        if room {
            return Ok(Some(level));
        }
    }
    Ok(None)
}

/// Move the root into a block; the inode keeps one entry, which leads there.
fn deepen(tx: &mut Transaction<'_>, inode: &mut Inode) -> Result<u64> {
    let old = inode.base().block;
    let root = Node::new(&old, None).map_err(|what| corrupt(inode, &what))?;
    if root.depth() >= MAX_DEPTH {
        return Err(too_large());
    }
    let block = tx.alloc_meta(tx.inode_goal(inode.nr())?)?;
    let mut bytes = empty_node(tx, root.depth());
    for entry in old[ENTRY_LEN..].chunks_exact(ENTRY_LEN).take(root.count().into()) {
        push(&mut bytes, entry);
    }
    tx.put_block(block, bytes);
    edit_node(tx, inode, Some(block), |_| ())?;
    let first = u32::from_le_bytes([old[12], old[13], old[14], old[15]]);
    clear(inode);
    let block_bytes = &mut inode.base_mut().block;
    header_mut(block_bytes).depth = (root.depth() + 1).into();
    push(block_bytes, Index::new(first, block).as_bytes());
    Ok(1)
}

fn empty_node(tx: &Transaction<'_>, depth: u16) -> Vec<u8> {
    let block_size = tx.geometry().block_size;
    // The checksum behind the entries always has room: a block is never a multiple of twelve.
    let max = u16::try_from((block_size - ENTRY_LEN) / ENTRY_LEN).expect("64 KiB over 12");
    let mut bytes = vec![0; block_size];
    bytes[..ENTRY_LEN].copy_from_slice(Header::new(max, depth).as_bytes());
    bytes
}

pub(super) fn header_mut(node: &mut [u8]) -> &mut Header {
    Header::mut_from_prefix(node).expect("a node has a header").0
}

/// Add an entry at the end; there must be room.
fn push(node: &mut [u8], entry: &[u8]) {
    let header = header_mut(node);
    let count = header.entries.get();
    header.entries = (count + 1).into();
    let at = ENTRY_LEN * (1 + usize::from(count));
    node[at..at + ENTRY_LEN].copy_from_slice(entry);
}

/// Make the last extent longer by one that follows it on the volume.
fn join_last(leaf: &mut [u8], extent: &Extent) -> bool {
    let count = usize::from(header_mut(leaf).entries.get());
    if count == 0 {
        return false;
    }
    let (last, _) =
        Extent::mut_from_prefix(&mut leaf[count * ENTRY_LEN..]).expect("entries lie within");
    let len = u32::from(last.len());
    let joined = len + u32::from(extent.len());
    let follows = !last.is_unwritten()
        && !extent.is_unwritten()
        && last.block.get().checked_add(len) == Some(extent.block.get())
        && last.start().0 + u64::from(len) == extent.start().0;
    match u16::try_from(joined) {
        Ok(joined) if follows && joined <= MAX_LEN => {
            last.set_len(joined);
            true
        }
        _ => false,
    }
}

/// Change a node and fill its checksum.
pub(super) fn edit_node<R>(
    tx: &mut Transaction<'_>,
    inode: &mut Inode,
    block: Option<BlockNr>,
    f: impl FnOnce(&mut [u8]) -> R,
) -> Result<R> {
    let Some(block) = block else { return Ok(f(&mut inode.base_mut().block)) };
    let seed = tx.geometry().has_metadata_csum().then(|| inode.seed(tx.geometry()));
    tx.edit_block(block, |bytes| {
        let result = f(bytes);
        let tail = ENTRY_LEN * (1 + usize::from(header_mut(bytes).max.get()));
        if let (Some(seed), true) = (seed, tail + 4 <= bytes.len()) {
            let crc = checksum::crc32c(seed, &bytes[..tail]);
            bytes[tail..tail + 4].copy_from_slice(&crc.to_le_bytes());
        }
        result
    })
}
