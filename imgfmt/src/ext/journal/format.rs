//! How one journal writes its blocks: the sizes of tags, where checksums lie and what they cover.
//!
//! A tag names the block that a copy belongs to. Its size follows from the features:
//!
//! ```text
//! no checksums   8  blocknr:4 unused:2 flags:2              with 64bit 12: … blocknr_high:4
//! csum_v2       10  blocknr:4 checksum:2 flags:2 unused:2   with 64bit 14: … blocknr_high:4 unused:2
//! csum_v3       16  blocknr:4 flags:4 blocknr_high:4 checksum:4
//! ```
//! A UUID of 16 bytes follows a tag that lacks the flag `SAME_UUID`.

use zerocopy::FromBytes;

use crate::error::{Error, Result};
use crate::ext::checksum::crc32c;
use crate::ext::ondisk::journal::{Commit, Header, MAGIC, Revoke, Superblock, blocktype};

const COMPAT_CHECKSUM: u32 = 1;

const REVOKE: u32 = 1;
const WIDE: u32 = 2;
const ASYNC_COMMIT: u32 = 4;
const CSUM_V2: u32 = 8;
const CSUM_V3: u32 = 16;
/// `s_feature_incompat`: room for fast commits behind the log. Only a journal in use has it.
pub(super) const FAST_COMMIT: u32 = 32;

pub(super) const FLAG_ESCAPE: u16 = 1;
pub(super) const FLAG_SAME_UUID: u16 = 2;
pub(super) const FLAG_LAST_TAG: u16 = 8;

/// `s_checksum_type`: CRC-32C.
const TYPE_CRC32C: u8 = 4;
/// `h_chksum_type`: CRC-32.
pub(super) const TYPE_CRC32: u8 = 1;
/// Blocks for fast commits where `s_num_fc_blks` is 0.
const FAST_COMMIT_BLOCKS: u32 = 256;
/// Blocks that the kernel leaves to the log before it sets room for fast commits apart.
const FAST_COMMIT_REST_MIN: u32 = 1024;

/// What protects the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksum {
    /// Nothing.
    None,
    /// One CRC-32 in each commit block, over descriptors and copies.
    V1,
    /// A CRC-32C in each block and, of 16 bits, in each tag.
    V2,
    /// The same, of 32 bits in each tag.
    V3,
}

/// A journal superblock that was checked.
#[derive(Clone, Debug)]
pub(super) struct Format {
    /// Blocks of the whole log, the superblock and the room for fast commits too.
    pub(super) maxlen: u32,
    /// The first block of the ring.
    pub(super) first: u32,
    /// One past the last block of the ring.
    pub(super) last: u32,
    /// Where the oldest transaction begins; 0 where there is none.
    pub(super) start: u32,
    /// Number of the oldest transaction.
    pub(super) sequence: u32,
    /// What protects it.
    pub(super) checksum: Checksum,
    /// Whether a commit block may reach the disk before what it commits.
    pub(super) is_async: bool,
    /// Whether fast commits may lie behind the ring.
    pub(super) has_fast_commits: bool,
    /// Whether block numbers have 64 bits.
    pub(super) wide: bool,
    /// The seed of all CRC-32C checksums.
    pub(super) seed: u32,
    /// `s_uuid` of the journal.
    pub(super) uuid: [u8; 16],
}

/// A tag of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    /// The block that the copy belongs to.
    pub(super) home: u64,
    /// Whether the copy's first four bytes were the magic number, and are zeros in the log.
    pub(super) is_escaped: bool,
    checksum: u32,
}

fn corrupt(what: impl std::fmt::Display) -> Error {
    Error::Corrupt(format!("ext journal superblock: {what}"))
}

impl Format {
    /// Check the superblock at the start of `bytes`, a block of `block_size` bytes of a file of `held` blocks.
    pub(super) fn new(bytes: &[u8], block_size: usize, held: u64) -> Result<Self> {
        let (sb, _) = Superblock::ref_from_prefix(bytes).map_err(|_| corrupt("too short"))?;
        let version = sb.header.blocktype.get();
        if sb.header.magic.get() != MAGIC
            || !matches!(version, blocktype::SUPERBLOCK_V1 | blocktype::SUPERBLOCK_V2)
        {
            return Err(corrupt("no magic number"));
        }
        // Version 1 ends behind s_errno.
        let has_features = version == blocktype::SUPERBLOCK_V2;
        let word = |word: u32| if has_features { word } else { 0 };
        let incompat = word(sb.feature_incompat.get());
        let unknown = incompat & !(REVOKE | WIDE | ASYNC_COMMIT | CSUM_V2 | CSUM_V3 | FAST_COMMIT);
        let ro_compat = word(sb.feature_ro_compat.get());
        if unknown != 0 || ro_compat != 0 {
            return Err(Error::Unsupported(format!(
                "an ext journal with unknown features ({unknown:#x}, {ro_compat:#x})"
            )));
        }
        let checksum = checksum(word(sb.feature_compat.get()), incompat)?;
        let has_crc32c = matches!(checksum, Checksum::V2 | Checksum::V3);
        if has_crc32c {
            if sb.checksum_type != TYPE_CRC32C {
                return Err(corrupt(format!("checksums are of type {}", sb.checksum_type)));
            }
            if sb.checksum.get() != superblock_checksum(bytes) {
                return Err(corrupt("checksum is wrong"));
            }
        }
        if sb.blocksize.get() as usize != block_size {
            return Err(corrupt(format!("block size is {}, not {block_size}", sb.blocksize)));
        }
        let maxlen = sb.maxlen.get();
        if u64::from(maxlen) > held {
            return Err(corrupt(format!("the log has {maxlen} blocks, its file {held}")));
        }
        let has_fast_commits = incompat & FAST_COMMIT != 0;
        let behind = match (has_fast_commits, sb.num_fc_blks.get()) {
            (false, _) => 0,
            (true, 0) => FAST_COMMIT_BLOCKS,
            (true, count) => count,
        };
        let (first, start) = (sb.first.get(), sb.start.get());
        let last = maxlen.checked_sub(behind).filter(|&last| first != 0 && first < last);
        // The kernel makes no such log: where it wraps cannot be known.
        let last = last.filter(|&last| behind == 0 || last >= FAST_COMMIT_REST_MIN);
        let Some(last) = last else {
            return Err(corrupt(format!(
                "the log begins at {first} of {maxlen}, {behind} of them for fast commits"
            )));
        };
        if start != 0 && !(first..last).contains(&start) {
            return Err(corrupt(format!("the log starts at {start}, not in {first} to {last}")));
        }
        Ok(Self {
            maxlen,
            first,
            last,
            start,
            sequence: sb.sequence.get(),
            checksum,
            is_async: incompat & ASYNC_COMMIT != 0,
            has_fast_commits,
            wide: incompat & WIDE != 0,
            seed: crc32c(!0, &sb.uuid),
            uuid: sb.uuid,
        })
    }

    /// Whether each block carries a CRC-32C.
    pub(super) fn has_crc32c(&self) -> bool {
        matches!(self.checksum, Checksum::V2 | Checksum::V3)
    }

    /// The header of a block, if it is one of the log's own.
    pub(super) fn header(bytes: &[u8]) -> Option<&Header> {
        let (header, _) = Header::ref_from_prefix(bytes).ok()?;
        (header.magic.get() == MAGIC).then_some(header)
    }

    /// Bytes of a tag.
    pub(super) fn tag_len(&self) -> usize {
        match (self.checksum, self.wide) {
            (Checksum::V3, _) => 16,
            (Checksum::V2, true) => 14,
            (Checksum::V2, false) => 10,
            (Checksum::None | Checksum::V1, true) => 12,
            (Checksum::None | Checksum::V1, false) => 8,
        }
    }

    /// Bytes at the end of descriptors and revoke blocks that hold their checksum.
    pub(super) fn tail_len(&self) -> usize {
        if self.has_crc32c() { 4 } else { 0 }
    }

    /// The tags of a descriptor. As many as fit where none says that it is the last.
    pub(super) fn tags(&self, block: &[u8]) -> Vec<Tag> {
        let end = block.len() - self.tail_len();
        let (mut tags, mut at) = (Vec::new(), size_of::<Header>());
        while let Some(bytes) = block[..end].get(at..at + self.tag_len()) {
            let flags = u16::from_be_bytes([bytes[6], bytes[7]]);
            let high = if self.wide { word(bytes, 8) } else { 0 };
            tags.push(Tag {
                home: u64::from(word(bytes, 0)) | u64::from(high) << 32,
                is_escaped: flags & FLAG_ESCAPE != 0,
                checksum: match self.checksum {
                    Checksum::None | Checksum::V1 => 0,
                    Checksum::V2 => u16::from_be_bytes([bytes[4], bytes[5]]).into(),
                    Checksum::V3 => word(bytes, 12),
                },
            });
            at += self.tag_len();
            if flags & FLAG_SAME_UUID == 0 {
                at += 16;
            }
            if flags & FLAG_LAST_TAG != 0 {
                break;
            }
        }
        tags
    }

    /// The blocks that a revoke block names; `None` where it claims to hold more than it can.
    pub(super) fn revoked(&self, block: &[u8]) -> Option<Vec<u64>> {
        let (header, _) = Revoke::ref_from_prefix(block).ok()?;
        let used = usize::try_from(header.count.get()).ok()?;
        let records = block[..block.len() - self.tail_len()].get(..used)?;
        let records = records.get(size_of::<Revoke>()..).unwrap_or_default();
        Some(match self.wide {
            true => records
                .chunks_exact(8)
                .map(|r| u64::from(word(r, 0)) << 32 | u64::from(word(r, 4)))
                .collect(),
            false => records.chunks_exact(4).map(|r| word(r, 0).into()).collect(),
        })
    }

    /// Whether the checksum of a descriptor or revoke block holds.
    pub(super) fn block_holds(&self, block: &[u8]) -> bool {
        if !self.has_crc32c() {
            return true;
        }
        let (body, tail) = block.split_at(block.len() - 4);
        crc32c(crc32c(self.seed, body), &[0; 4]) == word(tail, 0)
    }

    /// Whether the checksum that a tag has for its copy holds.
    pub(super) fn copy_holds(&self, tag: Tag, sequence: u32, copy: &[u8]) -> bool {
        let crc = || crc32c(crc32c(self.seed, &sequence.to_be_bytes()), copy);
        match self.checksum {
            Checksum::None | Checksum::V1 => true,
            Checksum::V2 => crc() & 0xFFFF == tag.checksum,
            Checksum::V3 => crc() == tag.checksum,
        }
    }

    /// Whether the checksum of a commit block holds; `crc` is that of descriptors and copies, for version 1.
    pub(super) fn commit_holds(&self, block: &[u8], commit: &Commit, crc: u32) -> bool {
        const AT: usize = std::mem::offset_of!(Commit, chksum);
        let stored = commit.chksum[0].get();
        match self.checksum {
            Checksum::None => true,
            // A commit block of a time before checksums were turned on has none.
            Checksum::V1 => {
                let there = (commit.chksum_type, commit.chksum_size);
                there == (TYPE_CRC32, 4) && stored == crc || there == (0, 0) && stored == 0
            }
            Checksum::V2 | Checksum::V3 => {
                let crc = crc32c(crc32c(self.seed, &block[..AT]), &[0; 4]);
                crc32c(crc, &block[AT + 4..]) == stored
            }
        }
    }

    /// The superblock of an empty log whose next transaction is `sequence`, as the kernel leaves it.
    pub(super) fn emptied(&self, block: Vec<u8>, sequence: u32) -> Vec<u8> {
        self.started(block, 0, sequence)
    }
}

/// CRC-32, most significant bit first, nothing inverted at the end, over one more block.
pub(super) fn crc32(crc: u32, block: &[u8]) -> u32 {
    const CRC32: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_MPEG_2);
    let mut digest = CRC32.digest_with_initial(crc);
    digest.update(block);
    digest.finalize()
}

fn checksum(compat: u32, incompat: u32) -> Result<Checksum> {
    let found = (compat & COMPAT_CHECKSUM != 0, incompat & CSUM_V2 != 0, incompat & CSUM_V3 != 0);
    match found {
        (false, false, false) => Ok(Checksum::None),
        (true, false, false) => Ok(Checksum::V1),
        (false, true, false) => Ok(Checksum::V2),
        (false, false, true) => Ok(Checksum::V3),
        _ => Err(corrupt("checksums of more than one kind")),
    }
}

pub(super) fn superblock_checksum(bytes: &[u8]) -> u32 {
    const AT: usize = std::mem::offset_of!(Superblock, checksum);
    let crc = crc32c(crc32c(!0, &bytes[..AT]), &[0; 4]);
    crc32c(crc, &bytes[AT + 4..size_of::<Superblock>()])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Checksum, Format, Tag, crc32, superblock_checksum};
    use crate::error::Result;

    /// A superblock of a log of 16 blocks of 1 KiB, starting at 5 with transaction 7; `words` are the features.
    pub(in super::super) fn superblock(words: [u32; 2]) -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        let fields = [0xC03B_3998, 4, 0, 1024, 16, 1, 7, 5, 0, words[0], words[1]];
        for (at, field) in fields.into_iter().enumerate() {
            bytes[at * 4..at * 4 + 4].copy_from_slice(&u32::to_be_bytes(field));
        }
        bytes[0x50] = 4;
        seal(&mut bytes);
        bytes
    }

    fn seal(bytes: &mut [u8]) {
        let crc = superblock_checksum(bytes);
        bytes[0xFC..0x100].copy_from_slice(&crc.to_be_bytes());
    }

    pub(in super::super) fn format(words: [u32; 2]) -> Format {
        Format::new(&superblock(words), 1024, 16).expect("a sound superblock")
    }

    // Compatible features, incompatible ones (2: 64bit, 8: csum_v2, 16: csum_v3), bytes of a tag.
    #[test]
    fn a_csum_v2_tag_without_64bit_is_ten_bytes() {
        for (words, len) in [
            ([0, 0], 8),
            ([0, 2], 12),
            ([1, 0], 8),
            ([1, 2], 12),
            ([0, 8], 10),
            ([0, 8 | 2], 14),
            ([0, 16], 16),
            ([0, 16 | 2], 16),
        ] {
            assert_eq!(format(words).tag_len(), len, "{words:?}");
        }
    }

    fn tag(home: u64, is_escaped: bool, checksum: u32) -> Tag {
        Tag { home, is_escaped, checksum }
    }

    #[test]
    fn tags_of_each_kind_are_read_with_their_uuids() {
        let uuid = [0xAA; 16];
        let header = [0; 12];
        // The first tag has a UUID behind it; the second says SAME_UUID (2), LAST_TAG (8) and ESCAPE (1).
        for (words, first, second, expected) in [
            (
                [0, 0],
                &b"\0\0\0\x28\0\0\0\0"[..],
                &b"\0\0\0\x29\0\0\0\x0B"[..],
                [tag(40, false, 0), tag(41, true, 0)],
            ),
            (
                [0, 8],
                b"\0\0\0\x28\x12\x34\0\0\0\0",
                b"\0\0\0\x29\x56\x78\0\x0B\0\0",
                [tag(40, false, 0x1234), tag(41, true, 0x5678)],
            ),
            (
                [0, 8 | 2],
                b"\0\0\0\x28\x12\x34\0\0\0\0\0\x01\0\0",
                b"\0\0\0\x29\x56\x78\0\x0B\0\0\0\0\0\0",
                [tag(0x1_0000_0028, false, 0x1234), tag(41, true, 0x5678)],
            ),
            (
                [0, 2],
                b"\0\0\0\x28\0\0\0\0\0\0\0\x01",
                b"\0\0\0\x29\0\0\0\x0B\0\0\0\0",
                [tag(0x1_0000_0028, false, 0), tag(41, true, 0)],
            ),
            (
                // Without 64bit the high half does not count.
                [0, 16],
                b"\0\0\0\x28\0\0\0\0\0\0\0\x01\x12\x34\x56\x78",
                b"\0\0\0\x29\0\0\0\x0B\0\0\0\0\x9A\xBC\xDE\xF0",
                [tag(40, false, 0x1234_5678), tag(41, true, 0x9ABC_DEF0)],
            ),
        ] {
            let mut block = [&header[..], first, &uuid, second].concat();
            // Behind the last tag anything may stand.
            block.resize(1024, 0xFF);
            assert_eq!(format(words).tags(&block), expected, "{words:?}");
        }
    }

    #[test]
    fn a_descriptor_without_a_last_tag_has_as_many_as_fit() {
        let mut block = vec![0; 1024];
        for flags in block[12..].chunks_exact_mut(8) {
            flags[7] = 2;
        }
        // (1024 - 12) / 8; four bytes fewer with a checksum at the end, and tags of 16 bytes.
        assert_eq!(format([0, 0]).tags(&block).len(), 126);
        assert_eq!(
            format([0, 16])
                .tags(&[&block[..12], &[0, 0, 0, 1, 0, 0, 0, 2].repeat(127)[..1012]].concat())
                .len(),
            63
        );
    }

    #[test]
    fn revoke_records_are_counted_in_bytes() {
        let mut block = vec![0; 1024];
        // 16 bytes of header, two records of four bytes.
        block[15] = 24;
        block[16..24].copy_from_slice(b"\0\0\0\x28\0\0\0\x29");
        assert_eq!(format([0, 0]).revoked(&block), Some(vec![40, 41]));
        assert_eq!(format([0, 2]).revoked(&block), Some(vec![0x28_0000_0029]));
        block[14..16].copy_from_slice(&1025_u16.to_be_bytes());
        assert_eq!(format([0, 0]).revoked(&block), None);
        // The checksum's four bytes hold no record.
        block[14..16].copy_from_slice(&1024_u16.to_be_bytes());
        assert_eq!(format([0, 0]).revoked(&block).map(|all| all.len()), Some(252));
        assert_eq!(format([0, 16]).revoked(&block), None);
    }

    // The check value of CRC-32/MPEG-2, and that it goes on from block to block.
    #[test]
    fn the_crc_of_version_one_is_not_reflected() {
        assert_eq!(crc32(!0, b"123456789"), 0x0376_E6E7);
        assert_eq!(crc32(crc32(!0, b"1234"), b"56789"), 0x0376_E6E7);
    }

    #[test]
    fn version_one_of_the_superblock_has_no_features() {
        let mut bytes = superblock([0, 16]);
        bytes[7] = 3;
        let format = Format::new(&bytes, 1024, 16).expect("sound");
        assert_eq!(format.checksum, Checksum::None);
    }

    #[test]
    fn fast_commits_take_their_room_from_the_end_of_the_log() {
        let mut bytes = superblock([0, 32]);
        // 1,088 blocks.
        bytes[0x10..0x14].copy_from_slice(&1088_u32.to_be_bytes());
        bytes[0x57] = 64;
        let format = Format::new(&bytes, 1024, 1088).expect("sound");
        assert_eq!((format.first, format.last, format.maxlen), (1, 1024, 1088));
        // The log keeps 1,024 blocks. Where nothing is said 256 are set apart.
        for (count, behind) in [(65, 65), (0, 256)] {
            bytes[0x57] = count;
            assert_eq!(
                refusal(Format::new(&bytes, 1024, 1088)),
                format!(
                    "corrupt image: ext journal superblock: the log begins at 1 of 1088, {behind} of them for fast commits"
                )
            );
        }
    }

    #[test]
    fn an_emptied_superblock_has_no_start_and_a_right_checksum() {
        let bytes = superblock([0, 16 | 2 | 1]);
        let format = Format::new(&bytes, 1024, 16).expect("sound");
        let emptied = format.emptied(bytes, 12);
        let again = Format::new(&emptied, 1024, 16).expect("the checksum is right");
        assert_eq!((again.start, again.sequence), (0, 12));
    }

    #[test]
    fn each_lie_of_the_superblock_is_named() {
        for (at, word, expected) in [
            (0x00, 0, "no magic number"),
            (0x04, 2, "no magic number"),
            (0x0C, 4096, "block size is 4096, not 1024"),
            (0x10, 17, "the log has 17 blocks, its file 16"),
            (0x10, 1, "the log begins at 1 of 1, 0 of them for fast commits"),
            (0x14, 0, "the log begins at 0 of 16, 0 of them for fast commits"),
            (0x14, 6, "the log starts at 5, not in 6 to 16"),
            (0x1C, 16, "the log starts at 16, not in 1 to 16"),
            (0x24, 1, "checksums of more than one kind"),
            (0x28, 24, "checksums of more than one kind"),
            (0x50, 1 << 24, "checksums are of type 1"),
        ] {
            let mut bytes = superblock([0, 16]);
            bytes[at..at + 4].copy_from_slice(&u32::to_be_bytes(word));
            seal(&mut bytes);
            let error = refusal(Format::new(&bytes, 1024, 16));
            assert_eq!(
                error,
                format!("corrupt image: ext journal superblock: {expected}"),
                "{at:#x}"
            );
        }
        let mut bytes = superblock([0, 16]);
        bytes[0x100] = 1;
        assert_eq!(
            refusal(Format::new(&bytes, 1024, 16)),
            "corrupt image: ext journal superblock: checksum is wrong"
        );
        assert_eq!(
            refusal(Format::new(&superblock([0, 64]), 1024, 16)),
            "an ext journal with unknown features (0x40, 0x0)"
        );
    }

    fn refusal(result: Result<Format>) -> String {
        result.expect_err("a lie").to_string()
    }
}
