//! L1 and L2 tables: where a byte of the disk is.
//!
//! ```text
//! L1  bits 9-55  offset of an L2 table, 0 for none
//! L2  bit 62     0: bits 9-55 are the offset of a cluster, 0 for none; bit 0: it reads as zeros (version 3)
//!                1: compressed. With x = 62 - (cluster_bits - 8): bits 0 to x-1 are the offset, in bytes; bits x to 61
//!                   say how many sectors of 512 bytes beyond that of the offset it reaches into
//! extended L2    8 bytes more: bit n, subcluster n of 32 is in the cluster; bit 32+n, it reads as zeros
//! ```
//!
//! With clusters of 64 KiB x is 54: the entry `0x40c0_0000_0005_0123` is a compressed cluster at byte 0x50123 that
//! reaches into 3 sectors more, so that it has at most 4 * 512 - 0x123 bytes.

use std::io;

use super::corrupt;
use super::header::Header;
use crate::storage::Storage;

/// Bits 9 to 55: all that an offset of a table or a cluster may have.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

const COMPRESSED: u64 = 1 << 62;
const ZERO: u64 = 1;

/// Subclusters of a cluster, where it has any.
const SUBCLUSTERS: u64 = 32;

/// Tables are read and kept in pieces of this many bytes.
const PAGE: u64 = 4096;

/// How many pieces are kept.
const PAGES: usize = 64;

/// Where bytes of the disk are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Not in this file: in its backing file, or zeros.
    Below,
    /// Nowhere: they are zeros.
    Zero,
    /// At this byte of the file.
    At(u64),
    /// In a compressed cluster.
    Packed {
        /// Byte of the file.
        offset: u64,
        /// Bytes that it has at most.
        len: u64,
    },
}

/// What an L2 entry says of the byte `within` its cluster, and how many bytes from there on it says the same of.
pub(super) fn place(header: &Header, entry: u64, bitmap: u64, within: u64) -> (Place, u64) {
    let rest = header.cluster_len() - within;
    if entry & COMPRESSED != 0 {
        let shift = 62 - (header.cluster_bits - 8);
        let offset = entry & ((1 << shift) - 1);
        let more = (entry & (COMPRESSED - 1)) >> shift;
        return (Place::Packed { offset, len: (more + 1) * 512 - offset % 512 }, rest);
    }
    let offset = entry & OFFSET;
    let inside = Place::At(offset + within);
    if header.has_extended_l2 {
        let sub_len = header.cluster_len() / SUBCLUSTERS;
        let nr = within / sub_len;
        let kind = |nr: u64| (bitmap >> nr & 1, bitmap >> (nr + SUBCLUSTERS) & 1);
        let same = (nr + 1..SUBCLUSTERS).take_while(|next| kind(*next) == kind(nr)).count() as u64;
        let place = match kind(nr) {
            (_, 1) => Place::Zero,
            (1, _) => inside,
            _ => Place::Below,
        };
        return (place, (nr + 1 + same) * sub_len - within);
    }
    let place = match (offset, entry & ZERO != 0 && header.version >= 3) {
        (_, true) => Place::Zero,
        (0, false) => Place::Below,
        (_, false) => inside,
    };
    (place, rest)
}

/// The tables of a file, read piece by piece as they are asked for.
#[derive(Debug)]
pub(super) struct Tables {
    pages: Vec<Option<(u64, Box<[u8]>)>>,
}

impl Tables {
    pub(super) fn new() -> Self {
        Self { pages: vec![None; PAGES] }
    }

    /// Where the byte `at` of the disk is, which it has, and how many bytes from there on have the same answer.
    pub(super) fn place(
        &mut self,
        file: &dyn Storage,
        header: &Header,
        at: u64,
    ) -> io::Result<(Place, u64)> {
        let span = header.l2_span();
        let l1_at = header.l1_offset + at / span * 8;
        let l2 = self.number(file, l1_at)? & OFFSET;
        if l2 == 0 {
            return Ok((Place::Below, span - at % span));
        }
        let nr = (at % span) >> header.cluster_bits;
        let entry_at = aligned(header, l2, "an L2 table")? + nr * header.l2_entry_len();
        let entry = self.number(file, entry_at)?;
        let bitmap = if header.has_extended_l2 { self.number(file, entry_at + 8)? } else { 0 };
        let within = header.offset_in_cluster(at) as u64;
        let (place, same) = place(header, entry, bitmap, within);
        match place {
            Place::At(offset) if offset == within => {
                Err(corrupt(format!("byte {at} of the disk would be in the header")))
            }
            Place::At(offset) => {
                aligned(header, offset - within, "a cluster")?;
                Ok((place, same))
            }
            Place::Below | Place::Zero | Place::Packed { .. } => Ok((place, same)),
        }
    }

    /// The big-endian number at byte `at` of the file, a multiple of 8.
    fn number(&mut self, file: &dyn Storage, at: u64) -> io::Result<u64> {
        let start = at / PAGE * PAGE;
        let slot = usize::try_from(start / PAGE % PAGES as u64).expect("it is below 64");
        if self.pages[slot].as_ref().is_none_or(|(kept, _)| *kept != start) {
            let len = file.len().saturating_sub(start).min(PAGE);
            let mut page = vec![0; usize::try_from(len).expect("at most 4096")];
            file.read_at(start, &mut page)?;
            self.pages[slot] = Some((start, page.into_boxed_slice()));
        }
        let (_, page) = self.pages[slot].as_ref().expect("it was just filled");
        let within = usize::try_from(at - start).expect("below 4096");
        let number = page.get(within..).and_then(|rest| rest.first_chunk());
        let number = number.ok_or_else(|| {
            corrupt(format!("a table reaches to byte {at}, past the end of the file"))
        })?;
        Ok(u64::from_be_bytes(*number))
    }
}

fn aligned(header: &Header, offset: u64, what: &str) -> io::Result<u64> {
    match offset.is_multiple_of(header.cluster_len()) {
        true => Ok(offset),
        false => Err(corrupt(format!("{what} at byte {offset}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qcow2::Compression;

    fn header(cluster_bits: u32, has_extended_l2: bool) -> Header {
        Header {
            version: 3,
            len: 1 << 30,
            backing: None,
            compression: Compression::Zlib,
            snapshots: 0,
            cluster_bits,
            has_extended_l2,
            l1_offset: 0,
            l1_entries: 2,
        }
    }

    #[test]
    fn the_entries_of_the_module_s_example_are_read_so() {
        let v3 = header(16, false);
        let packed = Place::Packed { offset: 0x5_0123, len: 4 * 512 - 0x123 };
        assert_eq!(place(&v3, 0x40c0_0000_0005_0123, 0, 0x100), (packed, 0xff00));
        assert_eq!(place(&v3, 0x8000_0000_0009_0000, 0, 5), (Place::At(0x9_0005), 0xfffb));
        assert_eq!(place(&v3, 1, 0, 0), (Place::Zero, 0x1_0000));
        assert_eq!(place(&v3, 0, 0, 0), (Place::Below, 0x1_0000));
        // Before version 3 bit 0 is reserved, and says nothing.
        let v2 = Header { version: 2, ..v3 };
        assert_eq!(place(&v2, 0x9_0001, 0, 0), (Place::At(0x9_0000), 0x1_0000));
    }

    #[test]
    fn subclusters_have_each_a_place_of_their_own() {
        let header = header(16, true);
        // Subclusters of 2 KiB: the first two are there, the third is zeros, the rest is below.
        let bitmap = 0b011 | 1 << (32 + 2);
        let at = |within| place(&header, 0x9_0000, bitmap, within);
        assert_eq!(at(100), (Place::At(0x9_0064), 4096 - 100));
        assert_eq!(at(4096), (Place::Zero, 2048));
        assert_eq!(at(6144 + 8), (Place::Below, 0x1_0000 - 6144 - 8));
    }
}
