//! What the log holds, in three passes as the kernel makes them.
//!
//! 1. Scan: follow the transactions from the oldest one as long as numbers and commit blocks go on. Where they end, the
//!    log ends.
//! 2. Revoke: collect which of the blocks that have copies were revoked, and up to which transaction. (A log may be
//!    full of revoke records; those of other blocks are not kept.)
//! 3. Replay: for each block the last copy that no revoke record of its own or a later transaction forbids.
//!
//! ```text
//! 7: copy of 40, copy of 41 | 8: copy of 40, revoke 41 | 9: copy of 41 | 10 (no commit block): copy of 42
//! 40 → its copy in 8    41 → its copy in 9    42 is not replayed
//! ```
//! A transaction whose checksums are wrong is the torn end of the log, or damage in its middle. They are told apart by
//! the time in its commit block: one that is older than the commit before it was left by an earlier round of the log.

use std::collections::BTreeMap;

use zerocopy::FromBytes;

use super::format::{Checksum, Format, Tag, crc32};
use crate::error::{Error, Result};
use crate::ext::ondisk::journal::{Commit, blocktype};

/// The copy of a block that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    /// Its block in the log.
    pub(super) log: u32,
    /// Whether its first four bytes are the magic number, and are zeros in the log.
    pub(super) is_escaped: bool,
}

/// What a log holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Replay {
    /// The copy for each block of the volume that has one.
    pub(super) blocks: BTreeMap<u64, Copy>,
    /// The first transaction that is not whole.
    pub(super) end: u32,
}

/// Read the log, which is not empty. `read` gives a block of it, whole; a copy belongs to a block for which `is_home`
/// holds.
///
/// # Errors
/// [`Error::Corrupt`] where the log is damaged before its end, as the kernel sees it; what `read` returns.
pub(super) fn replay(
    format: &Format,
    read: &dyn Fn(u32) -> Result<Vec<u8>>,
    is_home: &dyn Fn(u64) -> bool,
) -> Result<Replay> {
    let log = Log { format, read };
    let end = log.scan()?;
    let mut revoked = log.homes(end)?;
    log.revoke(end, &mut revoked)?;
    let blocks = log.copies(end, &revoked, is_home)?;
    Ok(Replay { blocks, end })
}

/// The order of transactions, whose numbers go round: whether `a` is not before `b`.
fn is_from(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) < 1 << 31
}

fn corrupt(what: impl std::fmt::Display) -> Error {
    Error::Corrupt(format!("ext journal: {what}"))
}

struct Log<'a> {
    format: &'a Format,
    read: &'a dyn Fn(u32) -> Result<Vec<u8>>,
}

/// A place in the ring, which is left after one round.
struct Cursor<'a> {
    format: &'a Format,
    next: u32,
    left: u32,
}

impl Cursor<'_> {
    /// The next `count` blocks; `None` where the ring has not as many left.
    fn take(&mut self, count: u32) -> Option<Vec<u32>> {
        self.left = self.left.checked_sub(count)?;
        let Format { first, last, .. } = *self.format;
        let mut places = Vec::new();
        for _ in 0..count {
            places.push(self.next);
            self.next = if self.next + 1 == last { first } else { self.next + 1 };
        }
        Some(places)
    }
}

/// What stands at a place in the log.
struct Block {
    at: u32,
    kind: u32,
    bytes: Vec<u8>,
}

impl Log<'_> {
    fn start(&self) -> Cursor<'_> {
        let format = self.format;
        Cursor { format, next: format.start, left: format.last - format.first }
    }

    /// The next block, if it belongs to transaction `sequence`.
    fn next(&self, cursor: &mut Cursor<'_>, sequence: u32) -> Result<Option<Block>> {
        // A ring that is full to its last block ends where it began.
        let Some(&[at]) = cursor.take(1).as_deref() else { return Ok(None) };
        let bytes = (self.read)(at)?;
        let header = Format::header(&bytes).filter(|h| h.sequence.get() == sequence);
        let kind = header.map(|header| header.blocktype.get());
        Ok(kind.map(|kind| Block { at, kind, bytes }))
    }

    /// The first transaction that is not whole.
    fn scan(&self) -> Result<u32> {
        let mut cursor = self.start();
        let mut scan = Scan {
            format: self.format,
            sequence: self.format.sequence,
            last_time: 0,
            doubt: None,
            torn: None,
            crc: !0,
        };
        while let Some(block) = self.next(&mut cursor, scan.sequence)? {
            match block.kind {
                blocktype::DESCRIPTOR => {
                    scan.check(&block);
                    for copy in self.copies_of(&block, &mut cursor)? {
                        if self.format.checksum == Checksum::V1 {
                            scan.crc = crc32(scan.crc, &(self.read)(copy)?);
                        }
                    }
                }
                blocktype::REVOKE => scan.check(&block),
                blocktype::COMMIT if scan.commit(&block)? => {}
                _ => break,
            }
        }
        Ok(scan.torn.unwrap_or(scan.sequence))
    }

    /// The places of a descriptor's copies, which are behind it.
    fn copies_of(&self, block: &Block, cursor: &mut Cursor<'_>) -> Result<Vec<u32>> {
        let count = self.format.tags(&block.bytes).len();
        cursor.take(u32::try_from(count).expect("a block has few tags")).ok_or_else(|| {
            corrupt(format!("descriptor at {} claims more blocks than the log has", block.at))
        })
    }

    /// Call `f` with each descriptor and revoke block of the transactions before `end`, and the places of its copies.
    fn each(
        &self,
        end: u32,
        mut f: impl FnMut(u32, &Block, Vec<(Tag, u32)>) -> Result<()>,
    ) -> Result<()> {
        let mut cursor = self.start();
        let mut sequence = self.format.sequence;
        while sequence != end {
            let Some(block) = self.next(&mut cursor, sequence)? else {
                return Err(corrupt(format!("transaction {sequence} changed while it was read")));
            };
            match block.kind {
                blocktype::DESCRIPTOR => {
                    let copies = self.copies_of(&block, &mut cursor)?;
                    let tags = self.format.tags(&block.bytes);
                    f(sequence, &block, tags.into_iter().zip(copies).collect())?;
                }
                blocktype::REVOKE => f(sequence, &block, Vec::new())?,
                _ => sequence = sequence.wrapping_add(1),
            }
        }
        Ok(())
    }

    /// Every block that has a copy before `end`, not revoked so far.
    fn homes(&self, end: u32) -> Result<BTreeMap<u64, Option<u32>>> {
        let mut homes = BTreeMap::new();
        self.each(end, |_, _, tags| {
            homes.extend(tags.into_iter().map(|(tag, _)| (tag.home, None)));
            Ok(())
        })?;
        Ok(homes)
    }

    /// Note for each block the last transaction before `end` that revoked it.
    fn revoke(&self, end: u32, homes: &mut BTreeMap<u64, Option<u32>>) -> Result<()> {
        self.each(end, |sequence, block, _| {
            if block.kind == blocktype::REVOKE {
                let Some(blocks) = self.format.revoked(&block.bytes) else {
                    return Err(corrupt(format!(
                        "revoke block at {} claims more records than it holds",
                        block.at
                    )));
                };
                for block in blocks {
                    if let Some(until) = homes.get_mut(&block) {
                        // Transactions come in their order.
                        *until = Some(sequence);
                    }
                }
            }
            Ok(())
        })
    }

    /// The last copy before `end` of each block that may have one, its checksum checked.
    fn copies(
        &self,
        end: u32,
        revoked: &BTreeMap<u64, Option<u32>>,
        is_home: &dyn Fn(u64) -> bool,
    ) -> Result<BTreeMap<u64, Copy>> {
        let mut copies = BTreeMap::new();
        self.each(end, |sequence, _, tags| {
            for (tag, log) in tags {
                let until = revoked.get(&tag.home).copied().flatten();
                if until.is_some_and(|until| is_from(until, sequence)) {
                    continue;
                }
                if !is_home(tag.home) {
                    return Err(corrupt(format!(
                        "transaction {sequence} has a copy of block {}, which cannot be",
                        tag.home
                    )));
                }
                if self.format.checksum != Checksum::None
                    && !self.format.copy_holds(tag, sequence, &(self.read)(log)?)
                {
                    return Err(corrupt(format!(
                        "checksum of the copy of block {} is wrong (transaction {sequence})",
                        tag.home
                    )));
                }
                copies.insert(tag.home, Copy { log, is_escaped: tag.is_escaped });
            }
            Ok(())
        })?;
        Ok(copies)
    }
}

/// The first pass, between two blocks.
struct Scan<'a> {
    format: &'a Format,
    /// The transaction that is being read.
    sequence: u32,
    /// When the one before it was committed, in Unix seconds.
    last_time: u64,
    /// A block of this transaction whose own checksum is wrong.
    doubt: Option<u32>,
    /// A transaction whose commit block is wrong, and need not be.
    torn: Option<u32>,
    /// Checksum of descriptors and copies of this transaction, for version 1.
    crc: u32,
}

impl Scan<'_> {
    /// Look at the checksum of a descriptor or revoke block.
    fn check(&mut self, block: &Block) {
        if !self.format.block_holds(&block.bytes) {
            self.doubt = self.doubt.or(Some(block.at));
        }
        if self.format.checksum == Checksum::V1 && block.kind == blocktype::DESCRIPTOR {
            self.crc = crc32(self.crc, &block.bytes);
        }
    }

    /// End a transaction with its commit block. Returns whether the log goes on behind it.
    fn commit(&mut self, block: &Block) -> Result<bool> {
        let (commit, _) =
            Commit::ref_from_prefix(&block.bytes).map_err(|_| corrupt("block is too short"))?;
        let time = commit.commit_sec.get();
        let sequence = self.sequence;
        if let Some(torn) = self.torn {
            return Err(corrupt(format!(
                "checksum of transaction {torn} is wrong, and {sequence} follows it"
            )));
        }
        let holds = self.format.commit_holds(&block.bytes, commit, self.crc);
        if self.doubt.is_some() || !holds {
            if time < self.last_time {
                // Left by an earlier round of the log.
                return Ok(false);
            }
            if let Some(at) = self.doubt {
                return Err(corrupt(format!(
                    "checksum of block {at} is wrong (transaction {sequence})"
                )));
            }
            if !self.format.is_async {
                return Err(corrupt(format!("checksum of transaction {sequence} is wrong")));
            }
            // Its commit block was not the last to be written, so this may be where power failed.
            self.torn = Some(sequence);
        }
        self.last_time = time;
        self.crc = !0;
        self.sequence = sequence.wrapping_add(1);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Copy, replay};
    use crate::error::{Error, Result};
    use crate::ext::journal::format::{crc32, tests::format};

    /// A log of 16 blocks that starts at 5 with transaction 7; all else is zeros.
    type Log = BTreeMap<u32, Vec<u8>>;

    /// (block, its copy's place, whether that is escaped), and the first transaction that is not whole.
    type Found = (Vec<(u64, u32, bool)>, u32);

    fn own(kind: u8, sequence: u32, rest: &[u8]) -> Vec<u8> {
        let mut block = b"\xC0\x3B\x39\x98\0\0\0".to_vec();
        block.push(kind);
        block.extend(sequence.to_be_bytes());
        block.extend(rest);
        block.resize(1024, 0);
        block
    }

    /// Tags of eight bytes, the last one marked; `0x1_0000` in a number escapes it.
    fn descriptor(sequence: u32, homes: &[u32]) -> Vec<u8> {
        let last = homes.len() - 1;
        let tags = homes.iter().enumerate().flat_map(|(i, &home)| {
            let flags = 2 | u32::from(i == last) << 3 | home >> 16;
            [(home & 0xFFFF).to_be_bytes(), flags.to_be_bytes()].concat()
        });
        own(1, sequence, &tags.collect::<Vec<_>>())
    }

    fn commit(sequence: u32, seconds: u64) -> Vec<u8> {
        // chksum_type, chksum_size and chksum are zeros.
        own(2, sequence, &[&[0; 36], &seconds.to_be_bytes()[..]].concat())
    }

    fn revoke(sequence: u32, homes: &[u32]) -> Vec<u8> {
        let mut rest = u32::to_be_bytes(16 + 4 * u32::try_from(homes.len()).expect("few")).to_vec();
        rest.extend(homes.iter().flat_map(|home| home.to_be_bytes()));
        own(5, sequence, &rest)
    }

    fn copy(content: u8) -> Vec<u8> {
        vec![content; 1024]
    }

    fn log(from: u32, blocks: impl IntoIterator<Item = Vec<u8>>) -> Log {
        // 16 is followed by 1: the superblock is not part of the ring.
        (from..).map(|at| if at < 16 { at } else { at - 15 }).zip(blocks).collect()
    }

    fn result(words: [u32; 2], log: &Log) -> Result<Found> {
        let read = |at: u32| {
            assert!((1..16).contains(&at), "block {at} is not in the ring");
            Ok(log.get(&at).cloned().unwrap_or_else(|| copy(0)))
        };
        let found = replay(&format(words), &read, &|home| home < 1000)?;
        let blocks = found.blocks.into_iter();
        let blocks = blocks.map(|(home, Copy { log, is_escaped })| (home, log, is_escaped));
        Ok((blocks.collect(), found.end))
    }

    fn refusal(words: [u32; 2], log: &Log) -> String {
        match result(words, log) {
            Err(Error::Corrupt(what)) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_last_copy_counts_and_an_escaped_one_says_so() {
        let log = log(
            5,
            [
                descriptor(7, &[40, 41]),
                copy(1),
                copy(2),
                commit(7, 1),
                descriptor(8, &[0x1_0000 | 40]),
                copy(3),
                commit(8, 1),
            ],
        );
        assert_eq!(result([0, 0], &log).expect("sound"), (vec![(40, 10, true), (41, 7, false)], 9));
    }

    #[test]
    fn a_transaction_without_its_commit_never_happened() {
        let torn = [
            descriptor(7, &[40]),
            copy(1),
            commit(7, 1),
            revoke(8, &[40]),
            descriptor(8, &[41]),
            copy(2),
        ];
        assert_eq!(result([0, 0], &log(5, torn)).expect("sound"), (vec![(40, 6, false)], 8));
    }

    #[test]
    fn a_stale_block_of_an_earlier_round_ends_the_log() {
        let stale = [
            descriptor(7, &[40]),
            copy(1),
            commit(7, 1),
            descriptor(3, &[41]),
            copy(2),
            commit(3, 1),
        ];
        assert_eq!(result([0, 0], &log(5, stale)).expect("sound"), (vec![(40, 6, false)], 8));
    }

    #[test]
    fn a_revoked_block_stays_revoked_until_a_later_copy() {
        let log = log(
            5,
            [
                descriptor(7, &[40, 41, 42]),
                copy(1),
                copy(2),
                copy(3),
                commit(7, 1),
                // In one transaction the order of the log says nothing: a revoke record forbids its copies too.
                revoke(8, &[40, 41]),
                descriptor(8, &[41]),
                copy(4),
                commit(8, 1),
            ],
        );
        assert_eq!(result([0, 0], &log).expect("sound"), (vec![(42, 8, false)], 9));
        let later = [revoke(7, &[40]), commit(7, 1), descriptor(8, &[40]), copy(1), commit(8, 1)];
        let later = (5..).zip(later).collect();
        assert_eq!(result([0, 0], &later).expect("sound"), (vec![(40, 8, false)], 9));
    }

    #[test]
    fn the_log_goes_on_at_its_first_block() {
        let before = (0..3).flat_map(|i| [descriptor(7 + i, &[40 + i]), copy(1), commit(7 + i, 1)]);
        let wrapped = [descriptor(10, &[50, 51, 52]), copy(1), copy(2), copy(3), commit(10, 1)];
        let log = log(5, before.chain(wrapped));
        // The descriptor lies at 14, its copies at 15, 1 and 2.
        let expected = vec![
            (40, 6, false),
            (41, 9, false),
            (42, 12, false),
            (50, 15, false),
            (51, 1, false),
            (52, 2, false),
        ];
        assert_eq!(result([0, 0], &log).expect("sound"), (expected, 11));
    }

    #[test]
    fn a_ring_without_an_end_is_read_once() {
        // Revoke blocks of one transaction all the way round, and no commit.
        let log = log(5, (0..15).map(|_| revoke(7, &[40])));
        assert_eq!(result([0, 0], &log).expect("nothing is committed"), (vec![], 7));
        let empty = (5..16).chain(1..5).map(|at| (at, commit(7 + (at + 10) % 15, 1))).collect();
        assert_eq!(result([0, 0], &empty).expect("sound"), (vec![], 22));
    }

    #[test]
    fn a_descriptor_of_more_copies_than_the_log_has_is_corrupt() {
        let many: Vec<u32> = (40..60).collect();
        assert_eq!(
            refusal([0, 0], &log(5, [descriptor(7, &many)])),
            "ext journal: descriptor at 5 claims more blocks than the log has"
        );
    }

    #[test]
    fn a_copy_of_a_block_that_cannot_be_is_corrupt() {
        let far = log(5, [descriptor(7, &[1000]), copy(1), commit(7, 1)]);
        assert_eq!(
            refusal([0, 0], &far),
            "ext journal: transaction 7 has a copy of block 1000, which cannot be"
        );
    }

    #[test]
    fn a_revoke_block_that_claims_too_much_is_corrupt() {
        let mut lie = revoke(7, &[40]);
        lie[12..16].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(
            refusal([0, 0], &log(5, [lie, commit(7, 1)])),
            "ext journal: revoke block at 5 claims more records than it holds"
        );
    }

    #[test]
    fn transaction_numbers_go_round() {
        // 64bit is off; the format's superblock is patched to start with the last number.
        let mut format = format([0, 0]);
        format.sequence = u32::MAX;
        let log = log(
            5,
            [
                descriptor(u32::MAX, &[40]),
                copy(1),
                commit(u32::MAX, 1),
                revoke(0, &[40]),
                commit(0, 1),
            ],
        );
        let read = |at: u32| Ok(log.get(&at).cloned().unwrap_or_else(|| copy(0)));
        let found = replay(&format, &read, &|_| true).expect("sound");
        assert_eq!((found.blocks.len(), found.end), (0, 1));
    }

    fn with_crc(mut commit: Vec<u8>, crc: u32) -> Vec<u8> {
        commit[12..14].copy_from_slice(&[1, 4]);
        commit[16..20].copy_from_slice(&crc.to_be_bytes());
        commit
    }

    #[test]
    fn a_version_one_checksum_covers_descriptor_and_copies() {
        let (first, content) = (descriptor(7, &[40]), copy(1));
        let crc = crc32(crc32(!0, &first), &content);
        let sound = [first.clone(), content, with_crc(commit(7, 5), crc)];
        let log_of = |blocks: &[Vec<u8>]| (5..).zip(blocks.iter().cloned()).collect::<Log>();
        assert_eq!(result([1, 0], &log_of(&sound)).expect("sound"), (vec![(40, 6, false)], 8));
        // A commit block may also have none.
        let none = [first.clone(), copy(2), commit(7, 5)];
        assert_eq!(result([1, 0], &log_of(&none)).expect("sound"), (vec![(40, 6, false)], 8));
        let wrong = [first, copy(2), with_crc(commit(7, 5), crc)];
        let refused = "ext journal: checksum of transaction 7 is wrong";
        assert_eq!(refusal([1, 0], &log_of(&wrong)), refused);
        // With async commits it may be where power failed, unless another transaction follows.
        assert_eq!(result([1, 4], &log_of(&wrong)).expect("torn"), (vec![], 7));
        let mut followed = wrong.to_vec();
        followed.push(commit(8, 6));
        assert_eq!(
            refusal([1, 4], &log_of(&followed)),
            "ext journal: checksum of transaction 7 is wrong, and 8 follows it"
        );
    }

    #[test]
    fn a_wrong_checksum_that_is_older_than_the_commit_before_it_is_stale() {
        let crc = crc32(crc32(!0, &descriptor(7, &[40])), &copy(1));
        let log = log(
            5,
            [
                descriptor(7, &[40]),
                copy(1),
                with_crc(commit(7, 5), crc),
                descriptor(8, &[41]),
                copy(2),
                with_crc(commit(8, 4), 0),
            ],
        );
        assert_eq!(result([1, 0], &log).expect("stale"), (vec![(40, 6, false)], 8));
    }
}
