//! Extended attributes: entries that grow upwards from a header, values that grow downwards from the end.
//!
//! In an inode the header is the magic number alone and offsets count from the first entry; in a block it is 32 bytes
//! and offsets count from the start of the block. Four zero bytes end the entries.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `h_magic`, in the inode and in the block.
pub(crate) const MAGIC: u32 = 0xEA02_0000;
/// Length of the header in a block, in bytes.
pub(crate) const BLOCK_HEADER_LEN: usize = 32;
/// Length of the header in an inode, in bytes.
pub(crate) const INODE_HEADER_LEN: usize = 4;
/// Length of an entry without its name, in bytes.
pub(crate) const ENTRY_LEN: usize = 16;

/// `struct ext4_xattr_header`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct BlockHeader {
    pub(crate) magic: U32,
    pub(crate) refcount: U32,
    pub(crate) blocks: U32,
    pub(crate) hash: U32,
    pub(crate) checksum: U32,
    pub(crate) reserved: [U32; 3],
}

/// `struct ext4_xattr_entry` without the name.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Entry {
    pub(crate) name_len: u8,
    pub(crate) name_index: u8,
    pub(crate) value_offs: U16,
    pub(crate) value_inum: U32,
    pub(crate) value_size: U32,
    pub(crate) hash: U32,
}

const _: () = assert!(size_of::<BlockHeader>() == BLOCK_HEADER_LEN);
const _: () = assert!(size_of::<Entry>() == ENTRY_LEN);
