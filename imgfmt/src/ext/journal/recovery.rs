//! What the log of one file system holds, as places on the volume, and what fast commits make of that.

use std::collections::BTreeMap;

use zerocopy::FromBytes;

use super::fast_commit::{self, Record};
use super::fast_commit_replay::{self, Outcome};
use super::format::Format;
use super::log::{Map, held, superblock_location};
use super::replay::{Replay, replay};
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::edit::transaction::Transaction;
use crate::ext::fs::Fs;
use crate::ext::nr::{BlockNr, GroupNr};
use crate::ext::ondisk::journal::Superblock;

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// The block of the volume that holds the copy.
    block: BlockNr,
    /// Whether its first four bytes are the magic number, and are zeros there.
    is_escaped: bool,
}

/// What a block is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copy<'a> {
    /// A block of the log, which is read from the volume and then [restored](Copy::restore).
    Log {
        /// The block of the volume that holds the copy.
        block: BlockNr,
        /// Whether its first four bytes are the magic number, and are zeros there.
        is_escaped: bool,
    },
    /// What fast commits make of it.
    Bytes(&'a [u8]),
}

/// What replaying the log changes.
#[derive(Debug)]
pub(crate) struct Recovery {
    /// The copy for each block that has one.
    copies: BTreeMap<BlockNr, Place>,
    /// What fast commits change, over the copies.
    fast: Outcome,
    /// Fast commits that are still to be replayed, and the blocks of the log.
    records: Option<(Vec<Record>, Map)>,
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
        let has_errno = superblock.errno.get() != 0;
        if format.start == 0 {
            return Ok(Self {
                copies: BTreeMap::new(),
                fast: Outcome::default(),
                records: None,
                superblock: None,
                has_errno,
            });
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
        let records = match format.has_fast_commits {
            // The kernel begins one behind the room that is set apart.
            true => {
                let blocks = (format.last + 1..format.maxlen).map(&read);
                fast_commit::scan(blocks, end, geometry.inode_size)?
            }
            false => Vec::new(),
        };
        let copies = copies.into_iter().map(|(home, copy)| {
            let block = map.block(copy.log).expect("replay() read it");
            (BlockNr(home), Place { block, is_escaped: copy.is_escaped })
        });
        let copies = copies.collect();
        Ok(Self {
            copies,
            fast: Outcome::default(),
            records: (!records.is_empty()).then_some((records, map)),
            superblock: Some((at, format.emptied(bytes, end.wrapping_add(1)))),
            has_errno,
        })
    }

    /// Whether the log holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.superblock.is_none()
    }

    /// Whether the kernel left an error in the journal, which stays there.
    pub(crate) fn has_errno(&self) -> bool {
        self.has_errno
    }

    /// The journal's superblock as it is to become, and its block.
    pub(crate) fn superblock(&self) -> Option<(BlockNr, &[u8])> {
        self.superblock.as_ref().map(|(block, bytes)| (*block, bytes.as_slice()))
    }

    /// What fast commits change in a file system that is read through this recovery; `None` where there are none.
    pub(crate) fn replay_fast_commits(&self, fs: &Fs<'_>) -> Result<Option<Outcome>> {
        let Some((records, map)) = &self.records else { return Ok(None) };
        let now = fast_commit_replay::time(records).unwrap_or_else(|| fs.superblock().wtime());
        let is_log = |first, count| map.overlaps(first, count);
        fast_commit_replay::replay(Transaction::new(fs, now), records, &is_log).map(Some)
    }

    /// See what fast commits change, too.
    pub(crate) fn set_fast_commits(&mut self, outcome: Outcome) {
        self.fast = outcome;
        self.records = None;
    }

    /// Bits of the blocks that fast commits freed: until the replay is on disk whole, somebody may need their content.
    pub(crate) fn freed(&self) -> &BTreeMap<GroupNr, Vec<u8>> {
        &self.fast.freed
    }

    /// What `count` blocks from `first` on are to become, as far as they change.
    pub(crate) fn copies(
        &self,
        first: BlockNr,
        count: u64,
    ) -> impl Iterator<Item = (BlockNr, Copy<'_>)> + '_ {
        let end = BlockNr(first.0.saturating_add(count));
        let fast = self.fast.blocks.range(first..end);
        let fast = fast.map(|(&home, bytes)| (home, Copy::Bytes(bytes)));
        let copies = self.copies.range(first..end);
        let copies = copies.filter(|(home, _)| !self.fast.blocks.contains_key(home));
        fast.chain(
            copies.map(|(&home, &Place { block, is_escaped })| {
                (home, Copy::Log { block, is_escaped })
            }),
        )
    }
}

impl Copy<'_> {
    /// Give a copy that was read from the log the bytes that it has at home.
    pub(crate) fn restore(is_escaped: bool, bytes: &mut [u8]) {
        if is_escaped {
            bytes[..4].copy_from_slice(&crate::ext::ondisk::journal::MAGIC.to_be_bytes());
        }
    }
}
