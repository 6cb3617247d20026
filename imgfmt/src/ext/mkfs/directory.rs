//! The blocks of a directory, made at once from all its entries.
//!
//! What fits a block is one. More is a hash tree where `dir_index` is on: the entries sorted by the hash of their names,
//! packed into leaves, under as few inner blocks as there can be.
//!
//! ```text
//! block 0: dx_root   1: leaf   2: leaf …   n: leaf   then dx_nodes, where one root does not name all leaves
//! ```

use zerocopy::IntoBytes;

use crate::error::{Error, Result};
use crate::ext::checksum;
use crate::ext::dir::hash;
use crate::ext::feature::{Compat, Incompat};
use crate::ext::geometry::Geometry;
use crate::ext::inode::FileType;
use crate::ext::ondisk::dirent::{HEADER_LEN, Header, TAIL_LEN, Tail, entry_len};
use crate::ext::ondisk::dx;

/// A name in a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    /// 1 to 255 bytes.
    pub(super) name: &'a [u8],
    pub(super) inode: u32,
    pub(super) kind: FileType,
}

/// The content of a directory.
pub(super) struct Directory {
    /// Its blocks, one behind the other.
    pub(super) bytes: Vec<u8>,
    /// Whether they are a hash tree (`EXT4_INDEX_FL`).
    pub(super) is_indexed: bool,
}

/// Whose directory it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) geometry: &'a Geometry,
    /// Of the checksums of its inode.
    pub(super) seed: u32,
    /// Its own inode.
    pub(super) own: u32,
    /// The directory above.
    pub(super) parent: u32,
}

impl Place<'_> {
    /// Bytes of a block that hold entries.
    fn room(&self) -> usize {
        self.geometry.block_size - if self.geometry.has_metadata_csum() { TAIL_LEN } else { 0 }
    }

    fn dots(&self) -> [Named<'static>; 2] {
        let kind = FileType::Directory;
        [
            Named { name: b".", inode: self.own, kind },
            Named { name: b"..", inode: self.parent, kind },
        ]
    }

    /// A block of these entries, the last of which reaches its end. Without any, it is one unused entry.
    fn leaf(&self, entries: &[Named<'_>]) -> Vec<u8> {
        let mut block = vec![0; self.geometry.block_size];
        self.fill(&mut block[..self.room()], entries);
        self.seal_leaf(&mut block);
        block
    }

    /// Fill `area` with these entries, which fit it.
    pub(super) fn fill(&self, area: &mut [u8], entries: &[Named<'_>]) {
        let (mut at, room) = (0, area.len());
        if entries.is_empty() {
            area[..HEADER_LEN].copy_from_slice(Header::new(0, room, 0, 0).as_bytes());
        }
        for (index, entry) in entries.iter().enumerate() {
            let len = entry_len(entry.name.len());
            let is_last = index + 1 == entries.len();
            self.put(&mut area[at..], entry, if is_last { room - at } else { len });
            at += len;
        }
    }

    fn put(&self, at: &mut [u8], entry: &Named<'_>, rec_len: usize) {
        let name_len = u8::try_from(entry.name.len()).expect("255 at most");
        let has_type = self.geometry.features.incompat.contains(Incompat::FILETYPE);
        let file_type = if has_type { entry.kind.dirent_type() } else { 0 };
        let header = Header::new(entry.inode, rec_len, name_len, file_type);
        at[..HEADER_LEN].copy_from_slice(header.as_bytes());
        at[HEADER_LEN..HEADER_LEN + entry.name.len()].copy_from_slice(entry.name);
    }

    fn seal_leaf(&self, block: &mut [u8]) {
        if self.geometry.has_metadata_csum() {
            let mut tail = Tail::new();
            tail.checksum = checksum::dir_leaf(self.seed, block).into();
            let at = block.len() - TAIL_LEN;
            block[at..].copy_from_slice(tail.as_bytes());
        }
    }

    /// Entries of an inner block whose array begins at `offset`.
    fn limit(&self, offset: usize) -> usize {
        let tail = if self.geometry.has_metadata_csum() { size_of::<dx::Tail>() } else { 0 };
        (self.geometry.block_size - offset - tail) / dx::ENTRY_LEN
    }

    /// An inner block, behind what stands before its array.
    fn inner(&self, mut block: Vec<u8>, offset: usize, entries: &[(u32, u32)]) -> Vec<u8> {
        let slots = block[offset..].chunks_exact_mut(dx::ENTRY_LEN);
        for (slot, &(hash, child)) in slots.zip(entries) {
            let entry = dx::Entry { hash: hash.into(), block: child.into() };
            slot.copy_from_slice(entry.as_bytes());
        }
        // In the place of the first hash, which is that of the smallest name or less.
        let short = |count: usize| u16::try_from(count).expect("8,192 of a block at most").into();
        let counts =
            dx::CountLimit { limit: short(self.limit(offset)), count: short(entries.len()) };
        block[offset..offset + 4].copy_from_slice(counts.as_bytes());
        if self.geometry.has_metadata_csum() {
            let sealed = checksum::dx(self.seed, &block, offset);
            let (at, crc) = sealed.expect("the limit leaves room");
            let tail = dx::Tail { reserved: 0.into(), checksum: crc.into() };
            block[at..at + size_of::<dx::Tail>()].copy_from_slice(tail.as_bytes());
        }
        block
    }

    fn root(&self, entries: &[(u32, u32)], levels: u8) -> Vec<u8> {
        let mut block = vec![0; self.geometry.block_size];
        let [own, parent] = self.dots();
        self.put(&mut block, &own, entry_len(1));
        let rest = self.geometry.block_size - entry_len(1);
        self.put(&mut block[entry_len(1)..], &parent, rest);
        let info = dx::RootInfo {
            reserved_zero: 0.into(),
            hash_version: self.geometry.hash_version,
            info_length: 8,
            indirect_levels: levels,
            unused_flags: 0,
        };
        block[dx::INFO_OFFSET..dx::ROOT_ENTRIES_OFFSET].copy_from_slice(info.as_bytes());
        self.inner(block, dx::ROOT_ENTRIES_OFFSET, entries)
    }

    fn node(&self, entries: &[(u32, u32)]) -> Vec<u8> {
        let mut block = vec![0; self.geometry.block_size];
        let unused = Header::new(0, self.geometry.block_size, 0, 0);
        block[..HEADER_LEN].copy_from_slice(unused.as_bytes());
        self.inner(block, dx::NODE_ENTRIES_OFFSET, entries)
    }
}

/// `lost+found`: empty, and `blocks` long, so that `e2fsck` need not allocate any.
pub(super) fn lost_and_found(place: Place<'_>, blocks: u64) -> Vec<u8> {
    let mut bytes = place.leaf(&place.dots());
    for _ in 1..blocks {
        bytes.extend(place.leaf(&[]));
    }
    bytes
}

/// The directory of these entries, in their order where they fit a block.
pub(super) fn directory(place: Place<'_>, entries: &[Named<'_>]) -> Result<Directory> {
    let dots = place.dots();
    let len: usize = dots.iter().chain(entries).map(|entry| entry_len(entry.name.len())).sum();
    if len <= place.room() {
        let all: Vec<Named<'_>> = dots.iter().chain(entries).copied().collect();
        return Ok(Directory { bytes: place.leaf(&all), is_indexed: false });
    }
    if place.geometry.features.compat.contains(Compat::DIR_INDEX) {
        return Ok(Directory { bytes: tree(place, entries)?, is_indexed: true });
    }
    let all: Vec<Named<'_>> = dots.iter().chain(entries).copied().collect();
    let mut bytes = Vec::new();
    for leaf in leaves(place.room(), &all, |entry| entry.name.len()) {
        bytes.extend(place.leaf(leaf));
    }
    Ok(Directory { bytes, is_indexed: false })
}

/// As many entries as a block holds, again and again.
fn leaves<T>(room: usize, mut rest: &[T], name_len: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut all = Vec::new();
    while !rest.is_empty() {
        let mut used = 0;
        let count = rest
            .iter()
            .take_while(|entry| {
                used += entry_len(name_len(entry));
                used <= room
            })
            .count();
        let (leaf, behind) = rest.split_at(count);
        all.push(leaf);
        rest = behind;
    }
    all
}

fn tree(place: Place<'_>, entries: &[Named<'_>]) -> Result<Vec<u8>> {
    let geometry = place.geometry;
    let mut sorted: Vec<(u32, Named<'_>)> = entries
        .iter()
        .map(|entry| {
            let hash = hash::hash(geometry, geometry.hash_version, entry.name);
            (hash.expect("half MD4 is known"), *entry)
        })
        .collect();
    sorted.sort_by(|a, b| (a.0, a.1.name).cmp(&(b.0, b.1.name)));
    // Block 0 is the root, known at the end.
    let mut bytes = vec![0; geometry.block_size];
    let (mut level, mut last) = (Vec::new(), None);
    for leaf in leaves(place.room(), &sorted, |(_, entry)| entry.name.len()) {
        let first = leaf[0].0;
        // The lowest bit says that names of this hash begin in the leaf before.
        let hash = first | u32::from(last == Some(first));
        last = leaf.last().map(|(hash, _)| *hash);
        level.push((hash, block_index(place, &bytes)?));
        let named: Vec<Named<'_>> = leaf.iter().map(|(_, entry)| *entry).collect();
        bytes.extend(place.leaf(&named));
    }
    let levels_max = if geometry.features.incompat.contains(Incompat::LARGE_DIR) { 2 } else { 1 };
    let mut levels = 0;
    while level.len() > place.limit(dx::ROOT_ENTRIES_OFFSET) {
        if levels == levels_max {
            return Err(Error::NoSpace(format!(
                "a directory of {} entries is larger than its hash tree can be (the feature `large_dir` allows more)",
                entries.len()
            )));
        }
        let mut above = Vec::new();
        for node in level.chunks(place.limit(dx::NODE_ENTRIES_OFFSET)) {
            above.push((node[0].0, block_index(place, &bytes)?));
            bytes.extend(place.node(node));
        }
        level = above;
        levels += 1;
    }
    let root = place.root(&level, levels);
    bytes[..geometry.block_size].copy_from_slice(&root);
    Ok(bytes)
}

/// Which block comes next.
fn block_index(place: Place<'_>, bytes: &[u8]) -> Result<u32> {
    u32::try_from(bytes.len() / place.geometry.block_size)
        .map_err(|_| Error::NoSpace("a directory of more than 2^32 blocks".into()))
}
