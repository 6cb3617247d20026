//! Maps of files, made at once from all their runs: the flattest extent tree there is, or indirect blocks.
//!
//! ```text
//! two runs    root in the inode, depth 0:  0–99 → 5000   200–299 → 5100
//! 500 runs    root, depth 1:               0 → leaf of 340   … → leaf of 160        (blocks of 4 KiB)
//! ```

use zerocopy::IntoBytes;

use crate::error::{Error, Result};
use crate::ext::checksum;
use crate::ext::geometry::Geometry;
use crate::ext::mkfs::runs::Run;
use crate::ext::nr::BlockNr;
use crate::ext::ondisk::extent::{ENTRY_LEN, Extent, Header, Index, MAX_LEN};
use crate::ext::ondisk::inode::BLOCK_LEN;

/// Direct blocks of an inode without extents.
const DIRECT: u64 = 12;

/// Blocks of a file side by side on the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// The first block of the file.
    pub(super) lblk: u64,
    /// Where they are.
    pub(super) run: Run,
}

/// A map: what the inode holds of it, and blocks of their own for the rest.
pub(super) struct Map {
    /// `i_block`.
    pub(super) root: [u8; BLOCK_LEN],
    /// Where each other node goes, and its bytes.
    pub(super) nodes: Vec<(u64, Vec<u8>)>,
}

/// Runs of a file from its start on, without holes, as pieces.
pub(super) fn pieces(runs: &[Run]) -> Vec<Piece> {
    let mut lblk = 0;
    runs.iter()
        .map(|&run| {
            let piece = Piece { lblk, run };
            lblk += run.len;
            piece
        })
        .collect()
}

/// The map of `pieces`, in order, by extents. `seed` is that of the inode's checksums.
pub(super) fn by_extents(
    geometry: &Geometry,
    seed: u32,
    pieces: &[Piece],
    mut take: impl FnMut() -> Result<u64>,
) -> Result<Map> {
    let mut entries: Vec<(u32, [u8; ENTRY_LEN])> = Vec::new();
    for piece in pieces {
        let mut done = 0;
        while done < piece.run.len {
            let len = (piece.run.len - done).min(MAX_LEN.into());
            let lblk = lblk(piece.lblk + done)?;
            let short = u16::try_from(len).expect("MAX_LEN at most");
            let extent = Extent::new(lblk, BlockNr(piece.run.start + done), short);
            entries.push((lblk, bytes(&extent)));
            done += len;
        }
    }
    let per_node = (geometry.block_size - ENTRY_LEN) / ENTRY_LEN;
    let (mut nodes, mut depth) = (Vec::new(), 0);
    while entries.len() > BLOCK_LEN / ENTRY_LEN - 1 {
        let mut above = Vec::new();
        for chunk in entries.chunks(per_node) {
            let block = take()?;
            let mut node = vec![0; geometry.block_size];
            fill(&mut node, per_node, depth, chunk);
            if geometry.has_metadata_csum() {
                let end = ENTRY_LEN * (1 + per_node);
                let crc = checksum::crc32c(seed, &node[..end]);
                node[end..end + 4].copy_from_slice(&crc.to_le_bytes());
            }
            nodes.push((block, node));
            above.push((chunk[0].0, bytes(&Index::new(chunk[0].0, BlockNr(block)))));
        }
        entries = above;
        depth += 1;
    }
    let mut root = [0; BLOCK_LEN];
    fill(&mut root, BLOCK_LEN / ENTRY_LEN - 1, depth, &entries);
    Ok(Map { root, nodes })
}

fn lblk(lblk: u64) -> Result<u32> {
    u32::try_from(lblk).map_err(|_| Error::NoSpace("a file of more than 2^32 blocks".into()))
}

fn bytes(entry: &(impl IntoBytes + zerocopy::Immutable)) -> [u8; ENTRY_LEN] {
    entry.as_bytes().try_into().expect("entries are of one length")
}

fn fill(node: &mut [u8], max: usize, depth: u16, entries: &[(u32, [u8; ENTRY_LEN])]) {
    let mut header = Header::new(u16::try_from(max).expect("of 64 KiB"), depth);
    header.entries = u16::try_from(entries.len()).expect("max at most").into();
    let slots = std::iter::once(bytes(&header)).chain(entries.iter().map(|(_, entry)| *entry));
    for (slot, entry) in node.chunks_exact_mut(ENTRY_LEN).zip(slots) {
        slot.copy_from_slice(&entry);
    }
}

/// The map of `pieces`, in order, by indirect blocks.
pub(super) fn by_blocks(
    geometry: &Geometry,
    pieces: &[Piece],
    mut take: impl FnMut() -> Result<u64>,
) -> Result<Map> {
    let per_block = geometry.block_size as u64 / 4;
    let most = DIRECT + per_block + per_block.pow(2) + per_block.pow(3);
    if pieces.last().is_some_and(|last| last.lblk + last.run.len > most) {
        return Err(Error::NoSpace(format!(
            "a file of more than {most} blocks, which is what a map without the feature `extent` holds"
        )));
    }
    let mut tree = Indirect { pieces, per_block, nodes: Vec::new(), take: &mut take };
    let mut root = [0; BLOCK_LEN];
    let mut words = vec![0_u32; 15];
    tree.fill(&mut words[..12], 0)?;
    let mut start = DIRECT;
    for (word, level) in words[12..].iter_mut().zip(1..=3) {
        *word = tree.node(level, start)?;
        start += per_block.pow(level);
    }
    for (slot, word) in root.chunks_exact_mut(4).zip(words) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    Ok(Map { root, nodes: tree.nodes })
}

struct Indirect<'a> {
    pieces: &'a [Piece],
    per_block: u64,
    nodes: Vec<(u64, Vec<u8>)>,
    take: &'a mut dyn FnMut() -> Result<u64>,
}

impl Indirect<'_> {
    /// The pieces that have a block of `start..end`.
    fn within(&self, start: u64, end: u64) -> &[Piece] {
        let from = self.pieces.partition_point(|piece| piece.lblk + piece.run.len <= start);
        let to = self.pieces.partition_point(|piece| piece.lblk < end);
        self.pieces.get(from..to).unwrap_or_default()
    }

    /// The numbers of the blocks from `start` on, 0 for a hole.
    fn fill(&self, words: &mut [u32], start: u64) -> Result<()> {
        let end = start + words.len() as u64;
        for piece in self.within(start, end) {
            let from = piece.lblk.max(start);
            let to = (piece.lblk + piece.run.len).min(end);
            for lblk in from..to {
                words[usize::try_from(lblk - start).expect("a block of numbers")] =
                    narrow(piece.run.start + (lblk - piece.lblk))?;
            }
        }
        Ok(())
    }

    /// The node over blocks from `start` on, `level` steps above them; 0 where all of them are holes.
    fn node(&mut self, level: u32, start: u64) -> Result<u32> {
        if self.within(start, start + self.per_block.pow(level)).is_empty() {
            return Ok(0);
        }
        let block = (self.take)()?;
        let mut words = vec![0; usize::try_from(self.per_block).expect("16,384 at most")];
        if level == 1 {
            self.fill(&mut words, start)?;
        } else {
            let below = self.per_block.pow(level - 1);
            for (word, index) in words.iter_mut().zip(0..) {
                *word = self.node(level - 1, start + index * below)?;
            }
        }
        self.nodes.push((block, words.iter().flat_map(|word| word.to_le_bytes()).collect()));
        narrow(block)
    }
}

fn narrow(block: u64) -> Result<u32> {
    u32::try_from(block).map_err(|_| {
        Error::NoSpace(format!("block {block} of a file without extents: its map has 32 bits"))
    })
}
