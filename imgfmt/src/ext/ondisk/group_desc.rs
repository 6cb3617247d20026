//! A group descriptor: 32 bytes, 64 where the feature `64bit` is on (or more, which nobody has defined).

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `bg_flags`: the inode bitmap was never written, every inode is free.
pub(crate) const INODE_UNINIT: u16 = 1;
/// `bg_flags`: the block bitmap was never written, only the group's own metadata is in use.
pub(crate) const BLOCK_UNINIT: u16 = 2;
/// `bg_flags`: the inode table was written with zeros where nothing else is.
pub(crate) const ITABLE_ZEROED: u16 = 4;

/// Where `bg_checksum` begins within a descriptor.
pub(crate) const CHECKSUM_OFFSET: usize = 30;

/// The first half of `struct ext4_group_desc`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct GroupDescLo {
    pub(crate) block_bitmap: U32,
    pub(crate) inode_bitmap: U32,
    pub(crate) inode_table: U32,
    pub(crate) free_blocks_count: U16,
    pub(crate) free_inodes_count: U16,
    pub(crate) used_dirs_count: U16,
    pub(crate) flags: U16,
    exclude_bitmap: U32,
    pub(crate) block_bitmap_csum: U16,
    pub(crate) inode_bitmap_csum: U16,
    pub(crate) itable_unused: U16,
    pub(crate) checksum: U16,
}

const _: () = assert!(size_of::<GroupDescLo>() == 32);
const _: () = assert!(std::mem::offset_of!(GroupDescLo, checksum) == CHECKSUM_OFFSET);

/// The second half, the high parts of the first.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct GroupDescHi {
    pub(crate) block_bitmap: U32,
    pub(crate) inode_bitmap: U32,
    pub(crate) inode_table: U32,
    pub(crate) free_blocks_count: U16,
    pub(crate) free_inodes_count: U16,
    pub(crate) used_dirs_count: U16,
    pub(crate) itable_unused: U16,
    exclude_bitmap: U32,
    pub(crate) block_bitmap_csum: U16,
    pub(crate) inode_bitmap_csum: U16,
    reserved: U32,
}

const _: () = assert!(size_of::<GroupDescHi>() == 32);
