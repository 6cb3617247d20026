//! A transaction as the log holds it, in the format of the journal at hand.
//!
//! ```text
//! 1 descriptor 7: tags 40, 41 | 2 copy of 40 | 3 copy of 41 | … | 8 descriptor 7: … | … | 12 commit 7
//! ```
//! A copy that begins with the magic number has zeros there, and its tag says so: else a scan for the end of the log
//! could take it for one of the log's own blocks. Checksums cover a copy as it stands in the log.
//!
//! There are no revoke records: they forbid the replay of older copies, and the log holds no other transaction.

use zerocopy::{FromBytes, IntoBytes};

use super::format::{
    Checksum, FAST_COMMIT, FLAG_ESCAPE, FLAG_LAST_TAG, FLAG_SAME_UUID, Format, TYPE_CRC32, crc32,
    superblock_checksum,
};
use crate::ext::checksum::crc32c;
use crate::ext::ondisk::journal::{Commit, Header, MAGIC, Superblock, blocktype};

/// Behind the first tag of a descriptor stands the journal's UUID.
const UUID_LEN: usize = 16;

impl Format {
    /// Blocks that the ring has.
    pub(super) fn room(&self) -> u32 {
        self.last - self.first
    }

    /// Blocks of the log that a transaction of `copies` copies takes: descriptors, copies and commit.
    pub(super) fn blocks_for(&self, copies: usize, block_size: usize) -> usize {
        copies.div_ceil(self.tags_per_descriptor(block_size)) + copies + 1
    }

    fn tags_per_descriptor(&self, block_size: usize) -> usize {
        (block_size - size_of::<Header>() - UUID_LEN - self.tail_len()) / self.tag_len()
    }

    /// Transaction `sequence`, committed at `seconds`: the blocks of the log one after another. `copies` are blocks of the
    /// volume with what they are to hold, and not none.
    pub(super) fn encode(
        &self,
        sequence: u32,
        seconds: u64,
        copies: &[(u64, &[u8])],
    ) -> Vec<Vec<u8>> {
        let block_size = copies[0].1.len();
        let mut log = Vec::with_capacity(self.blocks_for(copies.len(), block_size));
        // Only version 1 has one over all blocks; it is made byte by byte.
        let of_all = |crc: u32, bytes: &[u8]| match self.checksum {
            Checksum::V1 => crc32(crc, bytes),
            Checksum::None | Checksum::V2 | Checksum::V3 => crc,
        };
        let mut crc = !0;
        for chunk in copies.chunks(self.tags_per_descriptor(block_size)) {
            let escaped: Vec<_> = chunk.iter().map(|&(home, bytes)| escape(home, bytes)).collect();
            let descriptor = self.descriptor(sequence, block_size, &escaped);
            crc = of_all(crc, &descriptor);
            log.push(descriptor);
            for copy in escaped {
                crc = of_all(crc, &copy.bytes);
                log.push(copy.bytes);
            }
        }
        log.push(self.commit(sequence, seconds, crc, block_size));
        log
    }

    fn descriptor(&self, sequence: u32, block_size: usize, copies: &[Escaped]) -> Vec<u8> {
        let mut block = own(blocktype::DESCRIPTOR, sequence);
        for (index, copy) in copies.iter().enumerate() {
            let mut flags = if copy.is_escaped { FLAG_ESCAPE } else { 0 };
            if index > 0 {
                flags |= FLAG_SAME_UUID;
            }
            if index + 1 == copies.len() {
                flags |= FLAG_LAST_TAG;
            }
            block.extend(self.tag(copy, sequence, flags));
            if index == 0 {
                block.extend(self.uuid);
            }
        }
        block.resize(block_size, 0);
        if self.has_crc32c() {
            let crc = crc32c(self.seed, &block);
            block[block_size - 4..].copy_from_slice(&crc.to_be_bytes());
        }
        block
    }

    fn tag(&self, copy: &Escaped, sequence: u32, flags: u16) -> Vec<u8> {
        let home = copy.home.to_be_bytes();
        let (high, low) = home.split_at(4);
        let crc = crc32c(crc32c(self.seed, &sequence.to_be_bytes()), &copy.bytes).to_be_bytes();
        let mut tag = low.to_vec();
        match self.checksum {
            Checksum::None | Checksum::V1 => tag.extend([0; 2]),
            Checksum::V2 => tag.extend(&crc[2..]),
            // t_flags has 32 bits here.
            Checksum::V3 => tag.extend([0; 2]),
        }
        tag.extend(flags.to_be_bytes());
        match self.checksum {
            Checksum::V3 => tag.extend([high, &crc].concat()),
            _ if self.wide => tag.extend(high),
            _ => {}
        }
        tag.resize(self.tag_len(), 0);
        tag
    }

    fn commit(&self, sequence: u32, seconds: u64, crc: u32, block_size: usize) -> Vec<u8> {
        let mut block = own(blocktype::COMMIT, sequence);
        block.resize(block_size, 0);
        let (commit, _) = Commit::mut_from_prefix(&mut block).expect("a block has 1024 bytes");
        commit.commit_sec = seconds.into();
        if self.checksum == Checksum::V1 {
            (commit.chksum_type, commit.chksum_size) = (TYPE_CRC32, 4);
            commit.chksum[0] = crc.into();
        }
        if self.has_crc32c() {
            let crc = crc32c(self.seed, &block);
            let (commit, _) = Commit::mut_from_prefix(&mut block).expect("a block has 1024 bytes");
            commit.chksum[0] = crc.into();
        }
        block
    }

    /// A superblock like `block`, of a log that begins at `start` with transaction `sequence`, and has no fast commits.
    /// All that differs lies in its first sector.
    pub(super) fn started(&self, mut block: Vec<u8>, start: u32, sequence: u32) -> Vec<u8> {
        if self.has_fast_commits {
            let (sb, _) = Superblock::mut_from_prefix(&mut block).expect("Format::new read it");
            let words = sb.feature_incompat.get() & !FAST_COMMIT;
            sb.feature_incompat = words.into();
        }
        self.moved(block, start, sequence)
    }

    /// The same, with the fast commits that it has.
    pub(super) fn moved(&self, mut block: Vec<u8>, start: u32, sequence: u32) -> Vec<u8> {
        let (sb, _) = Superblock::mut_from_prefix(&mut block).expect("Format::new read it");
        sb.start = start.into();
        sb.sequence = sequence.into();
        if self.has_crc32c() {
            let crc = superblock_checksum(&block);
            let (sb, _) = Superblock::mut_from_prefix(&mut block).expect("Format::new read it");
            sb.checksum = crc.into();
        }
        block
    }
}

/// A block as the log holds it.
struct Escaped {
    home: u64,
    bytes: Vec<u8>,
    is_escaped: bool,
}

fn escape(home: u64, bytes: &[u8]) -> Escaped {
    let mut bytes = bytes.to_vec();
    let is_escaped = bytes.starts_with(&MAGIC.to_be_bytes());
    if is_escaped {
        bytes[..4].fill(0);
    }
    Escaped { home, bytes, is_escaped }
}

fn own(kind: u32, sequence: u32) -> Vec<u8> {
    let header = Header { magic: MAGIC.into(), blocktype: kind.into(), sequence: sequence.into() };
    header.as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use crate::ext::journal::format::tests::format;
    use crate::ext::journal::replay::replay;

    // Compatible and incompatible features: none, 64bit, v1, csum_v2, csum_v3, each with async commits too.
    const FORMATS: [[u32; 2]; 9] =
        [[0, 0], [0, 2], [1, 0], [1, 6], [0, 8], [0, 8 | 2], [0, 16], [0, 16 | 2], [0, 16 | 6]];

    #[test]
    fn what_is_encoded_is_replayed_and_every_byte_of_it_counts() {
        let magic = [&b"\xC0\x3B\x39\x98"[..], &[7; 1020]].concat();
        let plain = vec![5; 1024];
        for words in FORMATS {
            // The log starts at 5 with transaction 7.
            let format = format(words);
            let log = format.encode(7, 1, &[(40, &plain), (41, &magic)]);
            assert_eq!((log.len(), format.blocks_for(2, 1024)), (4, 4));
            assert_eq!(log[2][..4], [0; 4], "escaped");
            let read = |log: &[Vec<u8>], at: u32| {
                let index = at.checked_sub(5).map(|index| index as usize);
                Ok(index.and_then(|index| log.get(index).cloned()).unwrap_or(vec![0; 1024]))
            };
            let found = replay(&format, &|at| read(&log, at), &|_| true).expect("sound");
            let places: Vec<_> = found
                .blocks
                .iter()
                .map(|(home, copy)| (*home, copy.log, copy.is_escaped))
                .collect();
            assert_eq!((places, found.end), (vec![(40, 6, false), (41, 7, true)], 8), "{words:?}");
            if words == [0, 0] || words == [0, 2] {
                continue;
            }
            for (block, at) in [(0, 20), (0, 900), (1, 500), (2, 0), (3, 17)] {
                let mut torn = log.clone();
                torn[block][at] ^= 1;
                // With async commits the end is torn, without it is damaged.
                let found = replay(&format, &|at| read(&torn, at), &|_| true);
                let none = found.is_ok_and(|found| found.blocks.is_empty());
                // A csum_v2 tag keeps half of a checksum, which finds one wrong bit all the same.
                let refused = replay(&format, &|at| read(&torn, at), &|_| true).is_err();
                assert!(none || refused, "{words:?} {block} {at}");
            }
        }
    }

    #[test]
    fn more_copies_than_a_descriptor_holds_take_another_one() {
        let plain = vec![5; 1024];
        for words in FORMATS {
            let format = format(words);
            // 8 bytes a tag: (1024 - 12 - 16) / 8 = 124; 16 bytes and a checksum: (1024 - 32) / 16 = 62.
            let most = format.tags_per_descriptor(1024);
            let copies: Vec<(u64, &[u8])> = (0..most as u64 + 1).map(|i| (i, &plain[..])).collect();
            let log = format.encode(7, 1, &copies);
            assert_eq!(log.len(), format.blocks_for(copies.len(), 1024), "{words:?}");
            assert_eq!(format.tags(&log[0]).len(), most);
            assert_eq!(format.tags(&log[most + 1]).len(), 1);
            assert!(format.block_holds(&log[0]) && format.block_holds(&log[most + 1]));
        }
        assert_eq!(format([0, 0]).tags_per_descriptor(1024), 124);
        assert_eq!(format([0, 16]).tags_per_descriptor(1024), 62);
    }
}
