//! A directory entry: eight bytes, then the name, padded so that the next entry begins at a multiple of four.
//!
//! ```text
//! 0c 00 00 00  10 00  03  01  'j' 'o' 'b' 00  00 00 00 00      inode 12, 16 bytes long, 3 of name, a file
//! ```
//! Without the feature `filetype` the last two bytes before the name are one number, the length of the name.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of what stands before the name, in bytes.
pub(crate) const HEADER_LEN: usize = 8;
/// The longest name, in bytes.
pub(crate) const NAME_MAX: usize = 255;
/// Length of the checksum entry at the end of a block, in bytes.
pub(crate) const TAIL_LEN: usize = 12;
/// `det_reserved_ft`: the type that marks the checksum entry.
pub(crate) const TAIL_TYPE: u8 = 0xDE;

/// `struct ext4_dir_entry_2` without the name.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) inode: U32,
    rec_len: U16,
    pub(crate) name_len: u8,
    pub(crate) file_type: u8,
}

const _: () = assert!(size_of::<Header>() == HEADER_LEN);

impl Header {
    /// An entry header.
    pub(crate) fn new(inode: u32, rec_len: usize, name_len: u8, file_type: u8) -> Self {
        Self { inode: inode.into(), rec_len: encode(rec_len), name_len, file_type }
    }

    /// Length of the entry in bytes. Blocks of 64 KiB need 17 bits: two of them stand in the low end, which is
    /// otherwise zero, and the whole block is written 0xFFFF or 0.
    pub(crate) fn rec_len(&self, block_size: usize) -> usize {
        let len = usize::from(self.rec_len.get());
        match block_size {
            0x1_0000 if len == 0xFFFF || len == 0 => block_size,
            0x1_0000 => (len & 0xFFFC) | (len & 3) << 16,
            _ => len,
        }
    }

    /// Store the length of the entry in bytes, a multiple of four of at most 64 KiB.
    pub(crate) fn set_rec_len(&mut self, len: usize) {
        self.rec_len = encode(len);
    }
}

fn encode(len: usize) -> U16 {
    // Only a whole block of 64 KiB does not fit.
    U16::new(u16::try_from(len).unwrap_or(0xFFFF))
}

/// `struct ext4_dir_entry_tail`: looks like an unused entry to whoever does not know it.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Tail {
    reserved_zero1: U32,
    rec_len: U16,
    reserved_zero2: u8,
    reserved_ft: u8,
    pub(crate) checksum: U32,
}

const _: () = assert!(size_of::<Tail>() == TAIL_LEN);

impl Tail {
    /// A tail whose checksum is still to be filled.
    pub(crate) fn new() -> Self {
        Self {
            reserved_zero1: 0.into(),
            rec_len: encode(TAIL_LEN),
            reserved_zero2: 0,
            reserved_ft: TAIL_TYPE,
            checksum: 0.into(),
        }
    }

    /// Whether these bytes are a tail.
    pub(crate) fn is_valid(&self) -> bool {
        self.reserved_zero1.get() == 0
            && usize::from(self.rec_len.get()) == TAIL_LEN
            && self.reserved_zero2 == 0
            && self.reserved_ft == TAIL_TYPE
    }
}

/// Bytes that an entry with a name of `name_len` bytes takes.
pub(crate) fn entry_len(name_len: usize) -> usize {
    (HEADER_LEN + name_len).next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::{Header, entry_len};

    #[test]
    fn a_block_of_64_kib_is_one_entry_of_0xffff() {
        let mut header = Header::new(0, 0x1_0000, 0, 0);
        assert_eq!(header.rec_len.get(), 0xFFFF);
        assert_eq!(header.rec_len(0x1_0000), 0x1_0000);
        header.set_rec_len(0xFFF4);
        assert_eq!(header.rec_len(0x1_0000), 0xFFF4);
    }

    #[test]
    fn entries_are_padded_to_four() {
        // 8 + 1 and 8 + 4 both take 12.
        assert_eq!((entry_len(1), entry_len(4), entry_len(5)), (12, 12, 16));
    }
}
