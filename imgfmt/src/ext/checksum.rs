//! Checksums: CRC-32C for `metadata_csum`, CRC-16 for the descriptors of `uninit_bg`.
//!
//! The seed of all is the checksum of the volume's UUID, or `s_checksum_seed`; what belongs to an inode goes on from
//! there with its number and generation, so that a block of one file never passes for a block of another. Unlike the
//! usual CRC-32C nothing is inverted at the end.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::ext::nr::{BlockNr, GroupNr, InodeNr};
use crate::ext::ondisk::{dirent, dx, group_desc};

/// So many bytes of a process are summed by tables before the processor is asked for its instruction.
///
/// Asking is CPUID, again and again, which a hypervisor has to answer each time: 27 us in a guest. Tables sum this much
/// in less, and more than it takes to read one file.
const BY_TABLES: usize = 64 << 10;

/// How many bytes were summed by tables.
static SUMMED: AtomicUsize = AtomicUsize::new(0);

/// CRC-32C of `bytes`, going on from `seed`, without the final inversion.
pub(crate) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    let summed = SUMMED.load(Ordering::Relaxed);
    if summed + bytes.len() > BY_TABLES {
        return !crc32c::crc32c_append(!seed, bytes);
    }
    // Two threads at once may lose a count, and sum a little more by tables.
    SUMMED.store(summed + bytes.len(), Ordering::Relaxed);
    crc32c_by_tables(seed, bytes)
}

fn crc32c_by_tables(seed: u32, bytes: &[u8]) -> u32 {
    static TABLES: crc::Crc<u32, crc::Table<16>> =
        crc::Crc::<u32, crc::Table<16>>::new(&crc::CRC_32_ISCSI);
    // The crate takes the initial value as the polynomial is written, highest power first, and inverts the end.
    let mut digest = TABLES.digest_with_initial(seed.reverse_bits());
    digest.update(bytes);
    !digest.finalize()
}

/// What the superblock's checksum is, over all of it but its last four bytes.
pub(crate) fn superblock(bytes: &[u8]) -> u32 {
    crc32c(!0, &bytes[..bytes.len() - 4])
}

/// Bytes that a disk writes whole or not at all.
pub(crate) const SECTOR: usize = 512;

/// The state of a superblock's checksum behind its first sector: see [`seal_superblock`].
pub(crate) fn superblock_state(bytes: &[u8]) -> u32 {
    crc32c(!0, &bytes[..SECTOR])
}

/// Fill a superblock's checksum such that each of its two sectors may reach the disk without the other.
///
/// What an edit changes lies in the first sector, the checksum in the second, and a crash may leave the one new and the
/// other old. A journal does not help: the superblock is read, and its checksum verified, before the log is. So the
/// first sector is made to leave the checksum in `state`, the one that it had before; then each second sector ends in a
/// checksum that is right behind each first one.
///
/// ```text
/// first sector       state      second sector     checksum
/// old                   S       old               crc(S, old second)
/// new, balanced         S       new               crc(S, new second)
/// ```
/// Four bytes that nobody reads make up for all the others. A CRC-32 is a shift register of 32 bits and can be run
/// backwards: with A the state before these bytes, and B the state that the bytes behind them have to start from to end in
/// `state`, feeding four bytes `x` is adding them to A and shifting 32 times. So B is shifted back, and `x` is what it
/// differs by from A.
///
/// The bytes are the last four of `s_last_mounted`, behind the end of its text. Where the text is that long they are
/// `s_algorithm_usage_bitmap`, which only `compression` gives a meaning: such a file system is not edited.
pub(crate) fn seal_superblock(bytes: &mut [u8], state: u32) {
    const LAST_MOUNTED: usize = 0x88;
    const LAST_MOUNTED_LEN: usize = 64;
    const ALGORITHM_USAGE_BITMAP: usize = 0xC8;
    let tail = LAST_MOUNTED + LAST_MOUNTED_LEN - 4;
    let has_end = bytes[LAST_MOUNTED..tail].contains(&0);
    let at = if has_end { tail } else { ALGORITHM_USAGE_BITMAP };
    let before = crc32c(!0, &bytes[..at]);
    let behind = crc32c_back(state, &bytes[at + 4..SECTOR]);
    let balance = before ^ crc32c_back(behind, &[0; 4]);
    bytes[at..at + 4].copy_from_slice(&balance.to_le_bytes());
    debug_assert_eq!(superblock_state(bytes), state);
    let crc = superblock(bytes);
    let end = bytes.len() - 4;
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
}

/// The state from which `bytes` led to `state`.
fn crc32c_back(state: u32, bytes: &[u8]) -> u32 {
    // The polynomial with its bits reversed. Its highest bit is set, so that the highest bit of a state tells whether it
    // was added in the last shift.
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    bytes.iter().rev().fold(state, |state, &byte| {
        let unshifted = (0..8).fold(state, |state, _| match state >> 31 {
            0 => state << 1,
            _ => (state ^ POLYNOMIAL) << 1 | 1,
        });
        unshifted ^ u32::from(byte)
    })
}

/// The seed for everything that belongs to one inode.
pub(crate) fn inode_seed(seed: u32, nr: InodeNr, generation: u32) -> u32 {
    crc32c(crc32c(seed, &nr.0.to_le_bytes()), &generation.to_le_bytes())
}

/// Of a group descriptor with `metadata_csum`: the low half of a CRC-32C in which the checksum counts as zero.
pub(crate) fn group_desc(seed: u32, group: GroupNr, desc: &[u8]) -> u16 {
    let (before, after) = around_checksum(desc);
    let crc = crc32c(crc32c(seed, &group.0.to_le_bytes()), before);
    low(crc32c(crc32c(crc, &[0; 2]), after))
}

/// Of a group descriptor with `uninit_bg`: a CRC-16 that leaves the checksum out.
pub(crate) fn group_desc_crc16(uuid: &[u8; 16], group: GroupNr, desc: &[u8]) -> u16 {
    const CRC16: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_MODBUS);
    let (before, after) = around_checksum(desc);
    let mut digest = CRC16.digest();
    digest.update(uuid);
    digest.update(&group.0.to_le_bytes());
    digest.update(before);
    digest.update(after);
    digest.finalize()
}

fn around_checksum(desc: &[u8]) -> (&[u8], &[u8]) {
    (&desc[..group_desc::CHECKSUM_OFFSET], &desc[group_desc::CHECKSUM_OFFSET + 2..])
}

/// Of an inode, whose two checksum fields count as zero; `hi` says whether the second field holds.
pub(crate) fn inode(seed: u32, bytes: &[u8], hi: bool) -> u32 {
    const LO: usize = 0x7C;
    const HI: usize = 0x82;
    let crc = crc32c(crc32c(seed, &bytes[..LO]), &[0; 2]);
    if !hi {
        return crc32c(crc, &bytes[LO + 2..]);
    }
    let crc = crc32c(crc32c(crc, &bytes[LO + 2..HI]), &[0; 2]);
    crc32c(crc, &bytes[HI + 2..])
}

/// Of a block of directory entries: over all but the tail.
pub(crate) fn dir_leaf(seed: u32, bytes: &[u8]) -> u32 {
    crc32c(seed, &bytes[..bytes.len() - dirent::TAIL_LEN])
}

/// Of an inner block of a hashed directory: over what is used of it, and the tail. `None` where it has no room for one.
pub(crate) fn dx(seed: u32, bytes: &[u8], entries_offset: usize) -> Option<(usize, u32)> {
    let counts = bytes.get(entries_offset..entries_offset + 4)?;
    let limit = usize::from(u16::from_le_bytes([counts[0], counts[1]]));
    let count = usize::from(u16::from_le_bytes([counts[2], counts[3]]));
    let tail = entries_offset + limit * dx::ENTRY_LEN;
    if count > limit || bytes.len() < tail + size_of::<dx::Tail>() {
        return None;
    }
    let crc = crc32c(seed, &bytes[..entries_offset + count * dx::ENTRY_LEN]);
    Some((tail, crc32c(crc32c(crc, &bytes[tail..tail + 4]), &[0; 4])))
}

/// Of a block of extended attributes, whose checksum field counts as zero.
pub(crate) fn xattr_block(seed: u32, block: BlockNr, bytes: &[u8]) -> u32 {
    const FIELD: usize = 16;
    let crc = crc32c(crc32c(seed, &block.0.to_le_bytes()), &bytes[..FIELD]);
    crc32c(crc32c(crc, &[0; 4]), &bytes[FIELD + 4..])
}

/// The low half, which is all that some structures have room for.
pub(crate) fn low(crc: u32) -> u16 {
    let bytes = crc.to_le_bytes();
    u16::from_le_bytes([bytes[0], bytes[1]])
}

/// The high half.
pub(crate) fn high(crc: u32) -> u16 {
    low(crc >> 16)
}

#[cfg(test)]
mod tests {
    use super::{
        BY_TABLES, crc32c, crc32c_back, crc32c_by_tables, high, low, seal_superblock, superblock,
        superblock_state,
    };

    // The check value of CRC-32C is 0xE3069283; without the final inversion it is the complement.
    #[test]
    fn nothing_is_inverted_at_the_end() {
        assert_eq!(crc32c(!0, b"123456789"), !0xE306_9283);
        assert_eq!((low(0xE306_9283), high(0xE306_9283)), (0x9283, 0xE306));
    }

    #[test]
    fn tables_and_the_instruction_sum_alike() {
        let bytes: Vec<u8> = (0..BY_TABLES + 100).map(|i| (i * 7 % 251) as u8).collect();
        for seed in [0, 1, !0, 0x1234_5678] {
            for len in (0..100).chain([BY_TABLES, bytes.len()]) {
                let instruction = !crc32c::crc32c_append(!seed, &bytes[..len]);
                assert_eq!(crc32c_by_tables(seed, &bytes[..len]), instruction, "{len}");
                assert_eq!(crc32c(seed, &bytes[..len]), instruction, "{len}");
            }
        }
    }

    #[test]
    fn a_crc_runs_backwards() {
        let forwards = crc32c(0x1234_5678, b"123456789");
        assert_eq!(crc32c_back(forwards, b"123456789"), 0x1234_5678);
    }

    /// Bytes of a superblock that was mounted at `path`.
    fn sample(path: &[u8]) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..1024_u32).map(|i| (i * 7 % 251) as u8).collect();
        bytes[0x88..0xC8].fill(0);
        bytes[0x88..0x88 + path.len()].copy_from_slice(path);
        let crc = superblock(&bytes);
        bytes[1020..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn each_sector_of_a_sealed_superblock_goes_with_each_of_the_old_one() {
        // 59 bytes and their zero leave the last four; with one more they are part of the text.
        for (path, changed) in [(&b"/"[..], 0xC4), (&[b'x'; 59], 0xC4), (&[b'x'; 60], 0xC8)] {
            let old = sample(path);
            let mut new = old.clone();
            // A count of the first sector, and a time of the second.
            new[0x0C] ^= 0x5A;
            new[0x274] ^= 1;
            seal_superblock(&mut new, superblock_state(&old));
            for sectors in [[&old, &old], [&old, &new], [&new, &old], [&new, &new]] {
                let torn = [&sectors[0][..512], &sectors[1][512..]].concat();
                let stored = u32::from_le_bytes(torn[1020..].try_into().expect("four bytes"));
                assert_eq!(stored, superblock(&torn));
            }
            let differ: Vec<usize> = (0..1020).filter(|&at| old[at] != new[at]).collect();
            assert!(
                differ.iter().all(|at| [0x0C, 0x274].contains(at) || at & !3 == changed),
                "{differ:x?}"
            );
        }
    }
}
