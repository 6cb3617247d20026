//! Which blocks of an edit were free before it. What goes into those needs no copy in the log: until the commit nobody
//! reads them, whatever a crash leaves there. What goes into any other does, file data too.
//!
//! ```text
//! bit before   bit after   block of metadata                      file data
//! 0            1           new: written before the commit         written before the commit
//! 0            0           in use, and marked free by mistake:    (freed again: not written)
//!                          through the log
//! 1            1           through the log                        through the log
//! ```
//! A block that is in use, marked free by mistake, and given out in this edit counts as free, as it does to whoever gives it
//! out. For all that the bitmap is read of each group in which a block changes, and a damaged one refuses the edit.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::ext::blocks::Blocks;
use crate::ext::fs::Fs;
use crate::ext::nr::{BlockNr, GroupNr};
use crate::ext::space::bitmap;
use crate::ext::space::group;

/// Blocks by their numbers.
type Kept = BTreeMap<BlockNr, Vec<u8>>;

/// Move between `meta`, what goes through the log, and `data`, runs of blocks that do not, what belongs on the other side.
pub(super) fn sort(fs: &Fs<'_>, meta: &mut Kept, data: &mut Kept) -> Result<()> {
    let block_size = fs.geometry().block_size;
    let mut bits = Bits { fs, held: None };
    let mut over = Vec::new();
    for (&start, run) in data.iter() {
        let count = (run.len() / block_size) as u64;
        for block in (start.0..start.0 + count).map(BlockNr) {
            if bits.is_in_use(block)? {
                over.push(start);
                break;
            }
        }
    }
    let mut new = Vec::new();
    for &block in meta.keys() {
        if bits.becomes_used(block, meta)? {
            new.push(block);
        }
    }
    for start in over {
        let run = data.remove(&start).expect("it was found there");
        for (block, bytes) in (start.0..).zip(run.chunks_exact(block_size)) {
            meta.insert(BlockNr(block), bytes.to_vec());
        }
    }
    for block in new {
        let bytes = meta.remove(&block).expect("it was found there");
        data.insert(block, bytes);
    }
    Ok(())
}

/// Bitmaps of blocks as they were before the edit: the one that was asked for last is kept, since runs lie in one group, or
/// in few.
struct Bits<'f, 'i> {
    fs: &'f Fs<'i>,
    held: Option<(GroupNr, BlockNr, Vec<u8>)>,
}

impl Bits<'_, '_> {
    /// The block of the group's bitmap, and its bits.
    fn of(&mut self, group: GroupNr) -> Result<(BlockNr, &[u8])> {
        let held = match self.held.take() {
            Some(held) if held.0 == group => held,
            _ => {
                let desc = group::read(self.fs, group)?;
                (group, desc.block_bitmap(), bitmap::blocks(self.fs, &desc)?.into_owned())
            }
        };
        let (_, at, bits) = self.held.insert(held);
        Ok((*at, bits))
    }

    fn is_in_use(&mut self, block: BlockNr) -> Result<bool> {
        let (group, index) = self.fs.geometry().group_of(block)?;
        let (_, bits) = self.of(group)?;
        Ok(bitmap::get(bits, index))
    }

    /// Whether the edit has taken a block that was free, by the bitmap in `meta`.
    fn becomes_used(&mut self, block: BlockNr, meta: &Kept) -> Result<bool> {
        // Where the file system grows, there was no such block.
        let Ok((group, index)) = self.fs.geometry().group_of(block) else { return Ok(false) };
        let (at, before) = self.of(group)?;
        if bitmap::get(before, index) {
            return Ok(false);
        }
        Ok(meta.get(&at).is_some_and(|after| bitmap::get(after, index)))
    }
}
