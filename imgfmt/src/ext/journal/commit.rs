//! An edit as a transaction in the image's own log, in steps of which each is synced before the next. Nobody waits for the
//! last one: the edit is on the disk from step 4 on, and a mark that stays has an empty log behind it.
//!
//! ```text
//!    what is written                                            what a crash in this step leaves
//! 1  copies of the old log to their homes                       the old log is replayed: before
//! 2  the journal's superblock: the log is empty                 before, replayed or not
//! 3  what goes into free blocks; the transaction into the log;  before: the log is empty, whatever its blocks hold
//!    needs_recovery on
//! 4  the journal's superblock: the log begins                   before or after: one sector, the point of no return
//! 5  changed blocks that were in use to their homes             after: the log is replayed
//! 6  the journal's superblock: the log is empty                 after, replayed or not
//! 7  needs_recovery off                                         after
//! ```
//! A block that was free before needs no copy in the log, be it of a file or of a directory: it is written in step 3
//! ([`super::fresh`]). Neither does the superblock, where all that changes of it is how much is free, and when it was written:
//! descriptors say the first, too, and whoever replays the log counts them anew, as after a crash of the kernel, which keeps
//! these numbers right at unmount alone. So they are old, until somebody does, where a crash comes between steps 4 and 6, and
//! nowhere else. Where anything else of the superblock changes, it goes through the log; where it counts more groups than
//! before, step 5 is two, and it goes home behind all others.
//!
//! Steps 1 and 2 are there only where the log has to be replayed. Where it holds fast commits, step 2 leaves them
//! ([`super::old_log`]): what they change goes through the log with the edit.
//!
//! **Torn blocks.** A disk writes sectors of 512 bytes; of a block any of them may be new. The replay mends every block
//! that has a copy, but some are read before it, by the kernel and by `e2fsck`:
//!
//! * The journal's superblock: all its fields lie in its first sector.
//! * The superblock: its changes lie in two sectors, and its checksum holds for every mix of them
//!   ([`seal_superblock`]). No field that is read before the replay changes, but `needs_recovery`.
//! * Group descriptors (the kernel's `ext4_check_descriptors` verifies each one's checksum, and that its bitmaps and
//!   tables lie in bounds): one of 64 bytes or less lies in one sector, so that it is old or new, and its checksum covers
//!   nothing else. Larger ones than a sector are refused.
//! * The journal's inode: it shares its block, but not its bytes, with others. No edit changes it, nor the blocks of its
//!   map; an image in which an edit would is refused.
//!
//! The volume has to begin at a sector for all that, as every partition does.
//!
//! **Stale blocks.** A replay goes on as long as it finds the next transaction. Should the block behind ours be left from
//! an earlier life of the log, and bear just that number, step 3 clears it.

use std::collections::BTreeMap;

use zerocopy::IntoBytes;

use super::format::Format;
use super::fresh;
use super::log::{Map, held, map_blocks, superblock_location};
use super::old_log::OldLog;
use crate::Storage;
use crate::changes::Changes;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::checksum::{self, SECTOR, seal_superblock};
use crate::ext::feature::Incompat;
use crate::ext::fs::Fs;
use crate::ext::nr::BlockNr;
use crate::ext::ondisk::superblock::{OFFSET, Superblock};
use crate::ext::space::group;
use crate::in_place::InPlace;

/// An edit that is done, and not written.
pub(crate) struct Commit<'e, 'i> {
    /// The file system as it was.
    pub(crate) fs: &'e Fs<'i>,
    /// Its superblock, as it is to be: with `needs_recovery` off.
    pub(crate) superblock: Superblock,
    /// Changed blocks of metadata, the superblock's too; behind [`fresh::sort`] what goes through the log.
    pub(crate) meta: BTreeMap<BlockNr, Vec<u8>>,
    /// Runs of file data; behind [`fresh::sort`] what goes into blocks that were free.
    pub(crate) data: BTreeMap<BlockNr, Vec<u8>>,
    /// When, in Unix seconds.
    pub(crate) now: i64,
    /// Whether the superblock goes home last, behind a sync: where it counts more groups, those have to be there.
    pub(crate) superblock_last: bool,
}

/// The superblock's way to its home.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Through the log, then with the others.
    Logged,
    /// Through the log, then behind all others.
    LoggedLast,
    /// With the others, and not through the log: it differs in what descriptors say as well, and whoever replays the log counts
    /// that anew. The kernel logs no such change either.
    Unlogged,
}

/// The log that takes the transaction: empty, or emptied by then.
struct Log {
    /// The block of its superblock.
    at: BlockNr,
    /// That block, of the empty log.
    empty: Vec<u8>,
    format: Format,
    map: Map,
    /// What it holds, and has to be replayed.
    old: Option<OldLog>,
}

impl Commit<'_, '_> {
    /// The steps.
    ///
    /// # Errors
    /// [`Error::NoSpace`] with both numbers where the log has no room; [`Error::Unsupported`] where a crash could leave
    /// more than a replay mends; [`Error::Corrupt`] where the edit would change the log. Then `meta` and `data` have what they
    /// had, each what belongs there by [`fresh`], and what fast commits changed.
    pub(crate) fn steps(&mut self) -> Result<InPlace> {
        self.check_sectors()?;
        let mut log = self.log()?;
        fresh::sort(self.fs, &mut self.meta, &mut self.data)?;
        let has_fast = self.take_fast_commits(&mut log);
        let superblock = self.superblock_way();
        self.check_apart(&log, has_fast, superblock)?;
        let state = self.home_state()?;
        match superblock {
            Way::Unlogged => drop(self.meta.remove(&self.fs.geometry().superblock_block())),
            Way::Logged | Way::LoggedLast => self.put_superblock(state),
        }

        let (first, sequence) = (log.format.first, log.format.sequence);
        let copies: Vec<_> = self.meta.iter().map(|(home, bytes)| (home.0, &bytes[..])).collect();
        let blocks = log.format.encode(sequence, self.now.max(0).cast_unsigned(), &copies);
        let log_blocks = u32::try_from(blocks.len()).expect("check_apart() compared it with one");

        let mut steps = Vec::new();
        let stale = self.stale(&log, first + log_blocks, sequence)?;
        self.replay(&mut log, has_fast.then_some(first + log_blocks), state, &mut steps)?;
        let mut prepare = self.superblock_step(self.old_superblock(), true, state);
        for (start, bytes) in std::mem::take(&mut self.data) {
            prepare.insert(self.offset(start), bytes);
        }
        if let Some((at, bytes)) = stale {
            prepare.insert(self.offset(at), bytes);
        }
        for (lblk, bytes) in (first..).zip(blocks) {
            prepare.insert(self.offset(log.block(lblk)?), bytes);
        }
        steps.push(prepare);
        let next = sequence.wrapping_add(1);
        steps.push(self.journal_step(&log, log.format.started(log.empty.clone(), first, sequence)));
        let superblock_home = self.take_superblock(superblock);
        let mut homes = match superblock {
            Way::Unlogged => self.superblock_step(self.superblock.clone(), true, state),
            Way::Logged | Way::LoggedLast => Changes::new(),
        };
        for (home, bytes) in std::mem::take(&mut self.meta) {
            homes.insert(self.offset(home), bytes);
        }
        steps.push(homes);
        steps.extend(superblock_home);
        steps.push(self.journal_step(&log, log.format.emptied(log.empty.clone(), next)));
        steps.push(self.superblock_step(self.superblock.clone(), false, state));
        Ok(InPlace::journal(steps, log_blocks))
    }

    /// Bytes from the start of the image.
    fn offset(&self, block: BlockNr) -> u64 {
        self.fs.volume().start() + block.0 * self.fs.geometry().block_size as u64
    }

    /// What is read before the log is replayed must not be torn.
    fn check_sectors(&self) -> Result<()> {
        let refused = |what: String| Err(Error::Unsupported(what));
        let start = self.fs.volume().start();
        if !start.is_multiple_of(SECTOR as u64) {
            return refused(format!(
                "an edit in place of a volume that begins within a sector (at byte {start})"
            ));
        }
        let desc_size = self.fs.geometry().desc_size;
        if desc_size > SECTOR {
            return refused(format!(
                "an edit in place of an ext file system with group descriptors of {desc_size} bytes"
            ));
        }
        Ok(())
    }

    /// The log, which must not lie where the file system keeps its own: it is written before anything is looked at again.
    fn log(&self) -> Result<Log> {
        let fs = self.fs;
        let at = superblock_location(fs)?;
        let empty = match fs.recovery().and_then(|recovery| recovery.superblock()) {
            Some((_, bytes)) => bytes.to_vec(),
            None => fs.read_block(at)?.into_owned(),
        };
        let format = Format::new(&empty, fs.geometry().block_size, held(fs)?)?;
        let map = Map::new(fs, format.maxlen)?;
        for (start, count) in map.runs() {
            group::check_not_metadata(fs, start, count)?;
        }
        let old = OldLog::new(fs, at, &map, held(fs)?)?;
        Ok(Log { at, empty, format, map, old })
    }

    /// What fast commits change becomes part of the edit. Returns whether they change anything.
    fn take_fast_commits(&mut self, log: &mut Log) -> bool {
        let block_size = self.fs.geometry().block_size as u64;
        let fast = log.old.as_mut().map(|old| std::mem::take(&mut old.fast)).unwrap_or_default();
        let has_fast = !fast.is_empty();
        for (home, bytes) in fast {
            // What was free and got new content has no need of its old one.
            let before = self.data.range(..=home).next_back();
            let has_data =
                before.is_some_and(|(first, run)| home.0 - first.0 < run.len() as u64 / block_size);
            if !has_data {
                self.meta.entry(home).or_insert(bytes);
            }
        }
        has_fast
    }

    /// Nothing that is changed may be of the journal, and the log must have room: an edit for which it has none may go another way. With fast commits one block more is
    /// needed, in which no transaction begins.
    fn check_apart(&self, log: &Log, has_fast: bool, superblock: Way) -> Result<()> {
        let block_size = self.fs.geometry().block_size;
        let wide = self.meta.keys().next_back().is_some_and(|last| last.0 > u32::MAX.into());
        if wide && !log.format.wide {
            return Err(Error::Unsupported(
                "an ext journal without `64bit`, in a file system that needs it".to_owned(),
            ));
        }
        let map = map_blocks(self.fs)?;
        let data = self.data.iter().map(|(&start, run)| (start, (run.len() / block_size) as u64));
        for (start, count) in data.chain(self.meta.keys().map(|&block| (block, 1))) {
            let blocks = start..BlockNr(start.0 + count);
            if log.map.overlaps(start, count) || map.iter().any(|block| blocks.contains(block)) {
                return Err(Error::corrupt(format!(
                    "block {start} belongs to the journal, and to something else"
                )));
            }
        }
        let copies = self.meta.len() - usize::from(superblock == Way::Unlogged);
        let needed = log.format.blocks_for(copies, block_size) + usize::from(has_fast);
        let room = log.format.room();
        if u32::try_from(needed).is_ok_and(|needed| needed > room) || needed > u32::MAX as usize {
            return Err(Error::NoSpace(format!(
                "blocks of the journal needed: {needed}, there are {room}"
            )));
        }
        Ok(())
    }

    /// The state of the checksum behind the first sector of the superblock, as it is on the disk now.
    fn home_state(&self) -> Result<Option<u32>> {
        if !self.fs.geometry().has_metadata_csum() {
            return Ok(None);
        }
        let mut bytes = [0; size_of::<Superblock>()];
        let read = self.fs.volume().read_at(OFFSET, &mut bytes);
        read.map_err(|e| Error::io("ext superblock", e))?;
        Ok(Some(checksum::superblock_state(&bytes)))
    }

    /// The superblock before the edit, the old log replayed.
    fn old_superblock(&self) -> Superblock {
        self.fs.superblock().clone()
    }

    /// Which way the superblock takes.
    fn superblock_way(&self) -> Way {
        if self.superblock_last {
            return Way::LoggedLast;
        }
        // A transaction has a copy of something.
        let is_alone = self.meta.len() == 1;
        match self.superblock.differs_in_counts_alone(&self.old_superblock()) && !is_alone {
            true => Way::Unlogged,
            false => Way::Logged,
        }
    }

    /// In the log and at home the superblock has `needs_recovery` on, as the kernel's copies have.
    fn put_superblock(&mut self, state: Option<u32>) {
        let geometry = self.fs.geometry();
        let bytes = sealed(self.superblock.clone(), true, state);
        let offset = OFFSET % geometry.block_size as u64;
        let offset = usize::try_from(offset).expect("1024 at most");
        let block = self.meta.get_mut(&geometry.superblock_block());
        let block = block.expect("every edit changes the superblock");
        block[offset..offset + bytes.len()].copy_from_slice(&bytes);
    }

    /// Write the superblock and nothing else.
    fn superblock_step(&self, superblock: Superblock, flag: bool, state: Option<u32>) -> Changes {
        let mut step = Changes::new();
        step.insert(self.fs.volume().start() + OFFSET, sealed(superblock, flag, state));
        step
    }

    /// The superblock's way home, where that is a step of its own.
    fn take_superblock(&mut self, way: Way) -> Option<Changes> {
        let block = self.fs.geometry().superblock_block();
        let bytes = (way == Way::LoggedLast).then(|| self.meta.remove(&block)).flatten()?;
        let mut step = Changes::new();
        step.insert(self.offset(block), bytes);
        Some(step)
    }

    /// Write the first sector of the journal's superblock, where all its fields lie.
    fn journal_step(&self, log: &Log, mut block: Vec<u8>) -> Changes {
        debug_assert_eq!(block[SECTOR..], log.empty[SECTOR..]);
        block.truncate(SECTOR);
        let mut step = Changes::new();
        step.insert(self.offset(log.at), block);
        step
    }

    /// Bring home what only the log has, then empty it. Fast commits stay: then the log begins at `free`, where nothing is.
    fn replay(
        &self,
        log: &mut Log,
        free: Option<u32>,
        state: Option<u32>,
        steps: &mut Vec<Changes>,
    ) -> Result<()> {
        let Some(old) = log.old.take() else { return Ok(()) };
        let superblock = self.fs.geometry().superblock_block();
        let mut homes = Changes::new();
        for (home, mut bytes) in old.homes {
            if home == superblock {
                let offset = OFFSET % bytes.len() as u64;
                let offset = usize::try_from(offset).expect("1024 at most");
                let sealed = sealed(self.old_superblock(), true, state);
                bytes[offset..offset + sealed.len()].copy_from_slice(&sealed);
            }
            homes.insert(self.offset(home), bytes);
        }
        let Some(free) = free else {
            steps.push(homes);
            steps.push(self.journal_step(log, log.empty.clone()));
            return Ok(());
        };
        // The empty log goes on one number behind the end of the old one.
        let end = log.format.sequence.wrapping_sub(1);
        // A transaction that was begun there and not committed: clearing it takes nothing from the old log.
        let before = end.wrapping_sub(1);
        if let Some((at, bytes)) = self.stale(log, free, before)? {
            homes.insert(self.offset(at), bytes);
        }
        steps.push(homes);
        steps.push(self.journal_step(log, old.format.moved(old.superblock, free, end)));
        Ok(())
    }

    /// What clears the block of the log behind ours, if a replay would go on there.
    fn stale(&self, log: &Log, behind: u32, sequence: u32) -> Result<Option<(BlockNr, Vec<u8>)>> {
        // Without fast commits, which go with step 4, the ring is as long as the log.
        if behind >= log.format.maxlen {
            return Ok(None);
        }
        let at = log.block(behind)?;
        let found = self.fs.read_block(at)?;
        let header = Format::header(&found);
        let goes_on = header.is_some_and(|h| h.sequence.get() == sequence.wrapping_add(1));
        Ok(goes_on.then(|| (at, vec![0; found.len()])))
    }
}

impl Log {
    fn block(&self, lblk: u32) -> Result<BlockNr> {
        self.map
            .block(lblk)
            .ok_or_else(|| Error::Corrupt(format!("ext journal: block {lblk} lies past its end")))
    }
}

/// A superblock with the flag on or off, its checksum filled.
fn sealed(mut superblock: Superblock, needs_recovery: bool, state: Option<u32>) -> Vec<u8> {
    let words = superblock.feature_incompat.get();
    superblock.feature_incompat = match needs_recovery {
        true => words | Incompat::NEEDS_RECOVERY.bits(),
        false => words & !Incompat::NEEDS_RECOVERY.bits(),
    }
    .into();
    let mut bytes = superblock.as_bytes().to_vec();
    if let Some(state) = state {
        seal_superblock(&mut bytes, state);
    }
    bytes
}
