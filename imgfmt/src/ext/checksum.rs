//! Checksums: CRC-32C for `metadata_csum`, CRC-16 for the descriptors of `uninit_bg`.
//!
//! The seed of all is the checksum of the volume's UUID, or `s_checksum_seed`; what belongs to an inode goes on from
//! there with its number and generation, so that a block of one file never passes for a block of another. Unlike the
//! usual CRC-32C nothing is inverted at the end.

use crate::ext::nr::{BlockNr, GroupNr, InodeNr};
use crate::ext::ondisk::{dirent, dx, group_desc};

/// CRC-32C of `bytes`, going on from `seed`, without the final inversion.
pub(crate) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// What the superblock's checksum is, over all of it but its last four bytes.
pub(crate) fn superblock(bytes: &[u8]) -> u32 {
    crc32c(!0, &bytes[..bytes.len() - 4])
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
    use super::{crc32c, high, low};

    // The check value of CRC-32C is 0xE3069283; without the final inversion it is the complement.
    #[test]
    fn nothing_is_inverted_at_the_end() {
        assert_eq!(crc32c(!0, b"123456789"), !0xE306_9283);
        assert_eq!((low(0xE306_9283), high(0xE306_9283)), (0x9283, 0xE306));
    }
}
