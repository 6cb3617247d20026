//! Inner blocks of a hash tree: how they are told from leaves, and their checksum.
//!
//! ```text
//! block 0        . and .. | header | limit, count | hash → block …      where the directory has a tree
//! other blocks   inode 0, rec_len to the end | limit, count | …         to a reader of entries: empty
//! ```

use zerocopy::FromBytes;

use crate::ext::checksum;
use crate::ext::inode::Inode;
use crate::ext::ondisk::dirent;
use crate::ext::ondisk::dx::{NODE_ENTRIES_OFFSET, ROOT_ENTRIES_OFFSET, Tail};
use crate::ext::ondisk::inode::flag;

/// Where the array begins in an inner block; `None` for a leaf.
pub(crate) fn entries_offset(bytes: &[u8], dir: &Inode, lblk: u32) -> Option<usize> {
    let (first, _) = dirent::Header::ref_from_prefix(bytes).ok()?;
    if lblk == 0 {
        return dir.has(flag::INDEX).then_some(ROOT_ENTRIES_OFFSET);
    }
    let covers = first.inode.get() == 0 && first.rec_len(bytes.len()) == bytes.len();
    covers.then_some(NODE_ENTRIES_OFFSET)
}

/// Whether the checksum of an inner block is right.
pub(crate) fn checksum_holds(bytes: &[u8], seed: u32, offset: usize) -> bool {
    checksum::dx(seed, bytes, offset).is_some_and(|(tail, crc)| {
        Tail::ref_from_prefix(&bytes[tail..]).is_ok_and(|(tail, _)| tail.checksum == crc)
    })
}

/// Fill the checksum of an inner block whose counts are sound.
pub(crate) fn seal(bytes: &mut [u8], seed: u32, offset: usize) {
    let (tail, crc) = checksum::dx(seed, bytes, offset).expect("the counts leave a place for it");
    let (tail, _) = Tail::mut_from_prefix(&mut bytes[tail..]).expect("within the block");
    tail.checksum = crc.into();
}
