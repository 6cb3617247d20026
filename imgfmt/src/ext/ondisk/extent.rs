//! A node of an extent tree: a header, then entries of twelve bytes, all of one kind.
//!
//! The root lies in the inode (60 bytes: header and four entries), every other node fills a block. Depth 0 is a leaf.
//! With `metadata_csum` a block ends in a checksum just behind the last entry there is room for.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ext::nr::BlockNr;

/// `eh_magic`.
pub(crate) const MAGIC: u16 = 0xF30A;
/// The deepest tree that the format allows.
pub(crate) const MAX_DEPTH: u16 = 5;
/// The most blocks of a written extent; a larger number means unwritten, less this.
pub(crate) const MAX_LEN: u16 = 32768;
/// Length of the header and of each entry, in bytes.
pub(crate) const ENTRY_LEN: usize = 12;

/// `struct ext4_extent_header`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: U16,
    pub(crate) entries: U16,
    pub(crate) max: U16,
    pub(crate) depth: U16,
    generation: U32,
}

/// `struct ext4_extent`: an entry of a leaf.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Extent {
    pub(crate) block: U32,
    len: U16,
    start_hi: U16,
    start_lo: U32,
}

/// `struct ext4_extent_idx`: an entry of an inner node.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Index {
    pub(crate) block: U32,
    leaf_lo: U32,
    leaf_hi: U16,
    unused: U16,
}

const _: () = assert!(size_of::<Header>() == ENTRY_LEN);
const _: () = assert!(size_of::<Extent>() == ENTRY_LEN);
const _: () = assert!(size_of::<Index>() == ENTRY_LEN);

impl Header {
    /// The header of a node without entries.
    pub(crate) fn new(max: u16, depth: u16) -> Self {
        Self {
            magic: MAGIC.into(),
            entries: 0.into(),
            max: max.into(),
            depth: depth.into(),
            generation: 0.into(),
        }
    }
}

impl Extent {
    /// A written extent.
    pub(crate) fn new(lblk: u32, start: BlockNr, len: u16) -> Self {
        let (lo, hi) = halves(start);
        Self { block: lblk.into(), len: len.into(), start_hi: hi, start_lo: lo }
    }

    /// Blocks, written or not.
    pub(crate) fn len(&self) -> u16 {
        let len = self.len.get();
        if len > MAX_LEN { len - MAX_LEN } else { len }
    }

    /// Whether the blocks are allocated but read as zeros.
    pub(crate) fn is_unwritten(&self) -> bool {
        self.len.get() > MAX_LEN
    }

    /// The first block.
    pub(crate) fn start(&self) -> BlockNr {
        BlockNr(u64::from(self.start_lo.get()) | u64::from(self.start_hi.get()) << 32)
    }

    /// Make an extent shorter, written or not. `len` is not 0.
    pub(crate) fn shorten(&mut self, len: u16) {
        let unwritten = if self.is_unwritten() { MAX_LEN } else { 0 };
        self.len = (unwritten + len).into();
    }

    /// Make a written extent longer.
    pub(crate) fn set_len(&mut self, len: u16) {
        self.len = len.into();
    }
}

impl Index {
    /// An entry for the node in `leaf`, whose first block of the file is `lblk`.
    pub(crate) fn new(lblk: u32, leaf: BlockNr) -> Self {
        let (lo, hi) = halves(leaf);
        Self { block: lblk.into(), leaf_lo: lo, leaf_hi: hi, unused: 0.into() }
    }

    /// The block of the node below.
    pub(crate) fn leaf(&self) -> BlockNr {
        BlockNr(u64::from(self.leaf_lo.get()) | u64::from(self.leaf_hi.get()) << 32)
    }
}

fn halves(block: BlockNr) -> (U32, U16) {
    let bytes = block.0.to_le_bytes();
    (
        U32::from_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
        U16::from_bytes([bytes[4], bytes[5]]),
    )
}
