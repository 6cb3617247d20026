//! What a log that has to be replayed holds, as an edit in place takes it home: copies, and what fast commits change.
//!
//! Copies go home as they are, torn or not: until the log is emptied, a replay writes them again. What fast commits change
//! may not. Their replay reads what is at home, and a block that is half old and half new (a directory, a bitmap, whose
//! checksums are wrong then) would end it. So these blocks wait, and become part of the edit's own transaction:
//!
//! ```text
//! before:     the log: 7, 8      fast commits for 9     homes: any
//! then:       the log: nothing   fast commits for 9     homes: as 8 left them
//! then:       the log: 10, with what the fast commits change and the edit
//! ```
//! In between, `s_start` points at a block behind the place of the edit's transaction, where none begins: an empty log,
//! for the kernel, has no fast commits either.

use std::collections::BTreeMap;

use super::format::Format;
use super::log::Map;
use super::recovery::Recovery;
use super::replay::replay;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::fs::Fs;
use crate::ext::nr::BlockNr;
use crate::ext::ondisk::journal::MAGIC;

/// A log that is not empty.
pub(super) struct OldLog {
    /// Its format, with its start.
    pub(super) format: Format,
    /// The block of its superblock, as it is on the disk.
    pub(super) superblock: Vec<u8>,
    /// Blocks as its transactions leave them.
    pub(super) homes: BTreeMap<BlockNr, Vec<u8>>,
    /// Blocks as fast commits leave them, where that is something else.
    pub(super) fast: BTreeMap<BlockNr, Vec<u8>>,
}

impl OldLog {
    /// The log of a file system, whose journal's superblock is block `at`; `None` where it is empty.
    pub(super) fn new(fs: &Fs<'_>, at: BlockNr, map: &Map, held: u64) -> Result<Option<Self>> {
        let Some(recovery) = fs.recovery().filter(|recovery| !recovery.is_empty()) else {
            return Ok(None);
        };
        // No copy is of a block of the log, so this is what is on the disk.
        let superblock = fs.read_block(at)?.into_owned();
        let format = Format::new(&superblock, fs.geometry().block_size, held)?;
        let mut homes = all(fs, recovery)?;
        let mut fast = BTreeMap::new();
        if format.has_fast_commits {
            let with_fast = std::mem::replace(&mut homes, copies(fs, &format, map)?);
            fast = with_fast;
            fast.retain(|home, bytes| homes.get(home) != Some(bytes));
        }
        Ok(Some(Self { format, superblock, homes, fast }))
    }
}

/// All that the replay changes.
fn all(fs: &Fs<'_>, recovery: &Recovery) -> Result<BTreeMap<BlockNr, Vec<u8>>> {
    let homes = recovery.copies(BlockNr(0), u64::MAX);
    homes.map(|(home, _)| Ok((home, fs.read_block(home)?.into_owned()))).collect()
}

/// What transactions change, without fast commits.
fn copies(fs: &Fs<'_>, format: &Format, map: &Map) -> Result<BTreeMap<BlockNr, Vec<u8>>> {
    let read = |lblk: u32| {
        let block = map.block(lblk).ok_or_else(|| {
            Error::Corrupt(format!("ext journal: block {lblk} lies past its end"))
        })?;
        Ok(fs.read_block(block)?.into_owned())
    };
    let found = replay(format, &read, &|_| true)?;
    let copies = found.blocks.into_iter().map(|(home, copy)| {
        let mut bytes = read(copy.log)?;
        if copy.is_escaped {
            bytes[..4].copy_from_slice(&MAGIC.to_be_bytes());
        }
        Ok((BlockNr(home), bytes))
    });
    copies.collect()
}
