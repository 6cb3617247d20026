//! What one file maps while fast commits are replayed: a list in memory, from which its tree is made anew at the end.
//!
//! ```text
//! 0 +16 at 4096 | 20 +4 at 9000, unwritten      and then: 8 +8 no longer, 20 +2 at 9000
//! 0 +8 at 4096 | 20 +2 at 9000 | 22 +2 at 9002, unwritten
//! ```

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::edit::transaction::Transaction;
use crate::ext::file::is_fast_link;
use crate::ext::inode::{FileType, Inode, corrupt};
use crate::ext::map::extents::{self, Part};
use crate::ext::map::{self, extents_edit};
use crate::ext::nr::BlockNr;
use crate::ext::ondisk::extent::{Extent, MAX_LEN};
use crate::ext::ondisk::inode::flag;

/// The most extents of all files that are held at once.
pub(super) const EXTENTS_MAX: usize = 1 << 19;

/// Blocks of a file that follow one another on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where the first one lies.
    pub(super) start: BlockNr,
    /// Blocks.
    pub(super) len: u64,
    /// Whether they read as zeros.
    pub(super) is_unwritten: bool,
}

/// The blocks of one file.
#[derive(Debug, Default)]
pub(super) struct FileMap {
    /// All that it had before, the blocks of its map too.
    pub(super) before: Vec<(BlockNr, u64)>,
    /// What it has now, by the block of the file; not known of a file that has no extents.
    pieces: BTreeMap<u64, Piece>,
    is_changed: bool,
}

impl FileMap {
    /// What an inode maps as it stands.
    pub(super) fn read(tx: &Transaction<'_>, inode: &Inode) -> Result<Self> {
        let mut map = Self::default();
        let maps = match inode.kind() {
            FileType::File | FileType::Directory => true,
            FileType::Symlink => !is_fast_link(tx, inode),
            _ => false,
        };
        if !maps || inode.has(flag::INLINE_DATA) {
            return Ok(map);
        }
        if !inode.has(flag::EXTENTS) {
            let mapping = map::walk(tx, inode)?;
            map.before = mapping.data;
            map.before.extend(mapping.own.into_iter().map(|block| (block, 1)));
            return Ok(map);
        }
        extents::each(tx, inode, &mut |part| {
            match part {
                Part::Node(block) => map.before.push((block, 1)),
                Part::Extent(entry) => {
                    let (start, len) = (entry.start(), u64::from(entry.len()));
                    let is_unwritten = entry.is_unwritten();
                    map.before.push((start, len));
                    map.pieces.insert(entry.block.get().into(), Piece { start, len, is_unwritten });
                }
            }
            if map.before.len() > EXTENTS_MAX { Err(too_many()) } else { Ok(()) }
        })?;
        Ok(map)
    }

    /// How much it holds.
    pub(super) fn count(&self) -> usize {
        self.before.len() + self.pieces.len()
    }

    /// Map nothing any longer.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.is_changed = true;
    }

    /// Map `piece` at `lblk`, whatever was there.
    pub(super) fn add(&mut self, lblk: u64, piece: Piece) {
        self.cut(lblk, piece.len);
        self.pieces.insert(lblk, piece);
        self.is_changed = true;
    }

    /// Map nothing in `len` blocks from `lblk` on.
    pub(super) fn cut(&mut self, lblk: u64, len: u64) {
        let end = lblk.saturating_add(len);
        let mut over: Vec<u64> = self.pieces.range(lblk..end).map(|(&at, _)| at).collect();
        let before = self.pieces.range(..lblk).next_back();
        over.extend(before.filter(|(at, piece)| *at + piece.len > lblk).map(|(&at, _)| at));
        for at in over {
            let piece = self.pieces.remove(&at).expect("it was found");
            let piece_end = at + piece.len;
            if at < lblk {
                self.pieces.insert(at, Piece { len: lblk - at, ..piece });
            }
            if piece_end > end {
                let start = BlockNr(piece.start.0 + (end - at));
                self.pieces.insert(end, Piece { start, len: piece_end - end, ..piece });
            }
            self.is_changed = true;
        }
    }

    /// Make the tree of an inode anew, and count what it takes. Returns all runs that it uses.
    pub(super) fn store(
        &self,
        tx: &mut Transaction<'_>,
        inode: &mut Inode,
    ) -> Result<Vec<(BlockNr, u64)>> {
        let (runs, held) = match self.is_changed {
            false => (self.before.clone(), None),
            true => {
                extents_edit::clear(inode);
                let mut grown = 0;
                for (lblk, piece) in self.joined() {
                    grown += append(tx, inode, lblk, piece)?;
                }
                let mapping = map::walk(tx, inode)?;
                let mut runs = mapping.data;
                runs.extend(mapping.own.into_iter().map(|block| (block, 1)));
                (runs, Some(grown))
            }
        };
        debug_assert!(held.is_none_or(|grown| grown <= runs.len() as u64));
        let geometry = tx.geometry();
        let xattrs = u64::from(inode.file_acl(geometry).0 != 0);
        let blocks: u64 = runs.iter().map(|(_, len)| len).sum::<u64>() + xattrs;
        let fits = inode.set_sectors(geometry, blocks * (geometry.block_size as u64 / 512));
        if fits { Ok(runs) } else { Err(corrupt(inode.nr(), "space taken does not fit the inode")) }
    }

    /// The pieces, those that go on from one another joined.
    fn joined(&self) -> Vec<(u64, Piece)> {
        let mut joined: Vec<(u64, Piece)> = Vec::new();
        for (&lblk, &piece) in &self.pieces {
            match joined.last_mut() {
                Some((at, last))
                    if *at + last.len == lblk
                        && last.start.0 + last.len == piece.start.0
                        && last.is_unwritten == piece.is_unwritten =>
                {
                    last.len += piece.len;
                }
                _ => joined.push((lblk, piece)),
            }
        }
        joined
    }
}

/// Too much to be held in memory.
pub(super) fn too_many() -> Error {
    Error::Unsupported(format!(
        "ext fast commits on files of more than {EXTENTS_MAX} extents cannot be replayed"
    ))
}

fn append(tx: &mut Transaction<'_>, inode: &mut Inode, lblk: u64, piece: Piece) -> Result<u64> {
    let most = u64::from(if piece.is_unwritten { MAX_LEN - 1 } else { MAX_LEN });
    let (mut done, mut grown) = (0, 0);
    while done < piece.len {
        let len = u16::try_from((piece.len - done).min(most)).expect("32,768 at most");
        let at = u32::try_from(lblk + done).expect("Replay::add looked");
        let start = BlockNr(piece.start.0 + done);
        let extent = match piece.is_unwritten {
            true => Extent::unwritten(at, start, len),
            false => Extent::new(at, start, len),
        };
        grown += extents_edit::append_extent(tx, inode, extent)?;
        done += u64::from(len);
    }
    Ok(grown)
}

#[cfg(test)]
mod tests {
    use super::{FileMap, Piece};
    use crate::ext::nr::BlockNr;

    fn dump(map: &FileMap) -> String {
        let line = |(at, piece): (u64, Piece)| {
            let zeros = if piece.is_unwritten { " zeros" } else { "" };
            format!("{at} +{} at {}{zeros}", piece.len, piece.start)
        };
        map.joined().into_iter().map(line).collect::<Vec<_>>().join(", ")
    }

    fn add(map: &mut FileMap, lblk: u64, len: u64, start: u64, is_unwritten: bool) {
        map.add(lblk, Piece { start: BlockNr(start), len, is_unwritten });
    }

    #[test]
    fn pieces_are_split_where_others_come_in() {
        let mut map = FileMap::default();
        add(&mut map, 0, 16, 4096, false);
        add(&mut map, 20, 4, 9000, true);
        map.cut(8, 8);
        assert_eq!(dump(&map), "0 +8 at 4096, 20 +4 at 9000 zeros");
        add(&mut map, 20, 2, 9000, false);
        assert_eq!(dump(&map), "0 +8 at 4096, 20 +2 at 9000, 22 +2 at 9002 zeros");
        add(&mut map, 8, 1, 4104, false);
        map.cut(2, 2);
        assert_eq!(dump(&map), "0 +2 at 4096, 4 +5 at 4100, 20 +2 at 9000, 22 +2 at 9002 zeros");
        map.cut(1, u64::MAX);
        assert_eq!(dump(&map), "0 +1 at 4096");
    }
}
