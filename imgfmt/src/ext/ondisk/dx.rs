//! Inner blocks of a hashed directory.
//!
//! Both kinds begin with entries that cover the whole block, so that a reader who knows no hash trees sees an empty
//! block. In the array that follows, the place of the first hash holds `limit` and `count` instead.
//!
//! ```text
//! dx_root   "." 12 | ".." to the end | 0 0 0 0  version 8 levels flags | limit count →1 | hash →2 | hash →3 …
//! dx_node   unused entry to the end                                    | limit count →9 | hash →4 | …
//! ```

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Where `dx_root_info` begins in block 0, behind `.` and `..`.
pub(crate) const INFO_OFFSET: usize = 24;
/// Where the array begins in block 0.
pub(crate) const ROOT_ENTRIES_OFFSET: usize = 32;
/// Where the array begins in every other inner block.
pub(crate) const NODE_ENTRIES_OFFSET: usize = 8;
/// Length of an entry of the array, in bytes.
pub(crate) const ENTRY_LEN: usize = 8;

/// `struct dx_root_info`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RootInfo {
    pub(crate) reserved_zero: U32,
    pub(crate) hash_version: u8,
    pub(crate) info_length: u8,
    pub(crate) indirect_levels: u8,
    pub(crate) unused_flags: u8,
}

/// `struct dx_entry`.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Entry {
    pub(crate) hash: U32,
    pub(crate) block: U32,
}

/// `struct dx_countlimit`, in the place of the first hash.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct CountLimit {
    pub(crate) limit: U16,
    pub(crate) count: U16,
}

/// `struct dx_tail`, behind the last entry there is room for.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Tail {
    pub(crate) reserved: U32,
    pub(crate) checksum: U32,
}

const _: () = assert!(size_of::<RootInfo>() == ROOT_ENTRIES_OFFSET - INFO_OFFSET);
const _: () = assert!(size_of::<Entry>() == ENTRY_LEN);
const _: () = assert!(size_of::<CountLimit>() == 4);
const _: () = assert!(size_of::<Tail>() == 8);
