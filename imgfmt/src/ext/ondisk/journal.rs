//! The journal: `jbd2`'s log in a file of the file system. Big-endian, unlike all the rest of ext.
//!
//! Tags of a descriptor block come in five sizes, so they are read by [`super::super::journal`].

use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `h_magic` of every block of the log that is not a copy.
pub(crate) const MAGIC: u32 = 0xC03B_3998;

/// `h_blocktype`.
pub(crate) mod blocktype {
    /// Tags: which blocks the copies behind it belong to.
    pub(crate) const DESCRIPTOR: u32 = 1;
    /// The transaction is whole.
    pub(crate) const COMMIT: u32 = 2;
    /// The superblock, without features.
    pub(crate) const SUPERBLOCK_V1: u32 = 3;
    /// The superblock.
    pub(crate) const SUPERBLOCK_V2: u32 = 4;
    /// Blocks whose older copies must not be replayed.
    pub(crate) const REVOKE: u32 = 5;
}

/// `journal_header_t`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: U32,
    pub(crate) blocktype: U32,
    pub(crate) sequence: U32,
}

const _: () = assert!(size_of::<Header>() == 12);

/// `journal_superblock_t`, the first 1,024 bytes of the log.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Superblock {
    pub(crate) header: Header,
    pub(crate) blocksize: U32,
    pub(crate) maxlen: U32,
    pub(crate) first: U32,
    pub(crate) sequence: U32,
    pub(crate) start: U32,
    pub(crate) errno: U32,
    pub(crate) feature_compat: U32,
    pub(crate) feature_incompat: U32,
    pub(crate) feature_ro_compat: U32,
    pub(crate) uuid: [u8; 16],
    pub(crate) nr_users: U32,
    dynsuper: U32,
    max_transaction: U32,
    max_trans_data: U32,
    pub(crate) checksum_type: u8,
    padding2: [u8; 3],
    pub(crate) num_fc_blks: U32,
    head: U32,
    padding: [U32; 40],
    pub(crate) checksum: U32,
    users: [u8; 768],
}

const _: () = assert!(size_of::<Superblock>() == 1024);
const _: () = assert!(std::mem::offset_of!(Superblock, checksum) == 0xFC);

/// `struct commit_header`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Commit {
    pub(crate) header: Header,
    pub(crate) chksum_type: u8,
    pub(crate) chksum_size: u8,
    padding: [u8; 2],
    pub(crate) chksum: [U32; 8],
    pub(crate) commit_sec: U64,
    commit_nsec: U32,
}

const _: () = assert!(size_of::<Commit>() == 60);

/// `jbd2_journal_revoke_header_t`; block numbers of 4 or 8 bytes follow.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Revoke {
    pub(crate) header: Header,
    pub(crate) count: U32,
}

const _: () = assert!(size_of::<Revoke>() == 16);
