//! What the log of one file system holds, as places on the volume.

use std::collections::BTreeMap;

use zerocopy::FromBytes;

use super::format::Format;
use super::log::{Map, check_errno, held, superblock_location};
use super::replay::{Replay, replay};
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::nr::BlockNr;
use crate::ext::ondisk::journal::Superblock;

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    /// The block of the volume that holds the copy.
    pub(crate) block: BlockNr,
    /// Whether its first four bytes are the magic number, and are zeros there.
    is_escaped: bool,
}

/// What replaying the log changes.
#[derive(Debug)]
pub(crate) struct Recovery {
    /// The copy for each block that has one.
    copies: BTreeMap<BlockNr, Copy>,
    /// The block that holds the journal's superblock, and what it is to become; `None` where the log is empty.
    superblock: Option<(BlockNr, Vec<u8>)>,
    /// Whether the kernel left an error in the journal.
    has_errno: bool,
}

impl Recovery {
    /// Read the log of a file system as it stands; `volume_blocks` is how many blocks there are.
    pub(crate) fn new(blocks: &impl Blocks, volume_blocks: u64) -> Result<Self> {
        let geometry = blocks.geometry();
        let at = superblock_location(blocks)?;
        let bytes = blocks.read_block(at)?.into_owned();
        let format = Format::new(&bytes, geometry.block_size, held(blocks)?)?;
        let (superblock, _) = Superblock::ref_from_prefix(&bytes).expect("a block has 1024 bytes");
        let has_errno = check_errno(superblock).is_err();
        if format.start == 0 {
            return Ok(Self { copies: BTreeMap::new(), superblock: None, has_errno });
        }
        let map = Map::new(blocks, format.maxlen)?;
        let read = |lblk: u32| {
            let block = map.block(lblk).ok_or_else(|| {
                Error::Corrupt(format!("ext journal: block {lblk} lies past its end"))
            })?;
            Ok(blocks.read_block(block)?.into_owned())
        };
        let is_home = |home: u64| {
            (geometry.first_data_block..volume_blocks).contains(&home)
                && !map.contains(BlockNr(home))
        };
        let Replay { blocks: copies, end } = replay(&format, &read, &is_home)?;
        // The kernel begins one behind the room that is set apart.
        if format.has_fast_commits
            && format.last + 1 < format.maxlen
            && fast_commits_for(&read(format.last + 1)?, end)
        {
            return Err(Error::NeedsRecovery("fast commits in it are not replayed yet"));
        }
        let copies = copies.into_iter().map(|(home, copy)| {
            let block = map.block(copy.log).expect("replay() read it");
            (BlockNr(home), Copy { block, is_escaped: copy.is_escaped })
        });
        Ok(Self {
            copies: copies.collect(),
            superblock: Some((at, format.emptied(bytes, end.wrapping_add(1)))),
            has_errno,
        })
    }

    /// Whether the log holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.superblock.is_none()
    }

    /// Refuse a journal in which the kernel left an error.
    pub(crate) fn check_errno(&self) -> Result<()> {
        match self.has_errno {
            false => Ok(()),
            true => Err(Error::NotClean(
                "its journal says that there was an error (run `e2fsck` on it)".to_owned(),
            )),
        }
    }

    /// The journal's superblock as it is to become, and its block.
    pub(crate) fn superblock(&self) -> Option<(BlockNr, &[u8])> {
        self.superblock.as_ref().map(|(block, bytes)| (*block, bytes.as_slice()))
    }

    /// The copies of `count` blocks from `first` on, by the block that they belong to.
    pub(crate) fn copies(
        &self,
        first: BlockNr,
        count: u64,
    ) -> impl Iterator<Item = (BlockNr, Copy)> + '_ {
        let end = BlockNr(first.0.saturating_add(count));
        self.copies.range(first..end).map(|(&home, &copy)| (home, copy))
    }
}

impl Copy {
    /// Give a copy that was read the bytes that it has at home.
    pub(crate) fn restore(self, bytes: &mut [u8]) {
        if self.is_escaped {
            bytes[..4].copy_from_slice(&crate::ext::ondisk::journal::MAGIC.to_be_bytes());
        }
    }
}

/// Whether fast commits for transaction `sequence` begin in `block`: by a head, which names the transaction.
///
/// Unlike the log they are little-endian: a tag and its length, of 16 bits each, then features and the transaction.
fn fast_commits_for(block: &[u8], sequence: u32) -> bool {
    const HEAD: [u8; 2] = 9_u16.to_le_bytes();
    block.starts_with(&HEAD) && block[8..12] == sequence.to_le_bytes()
}
