//! Fast commits: small records of what an `fsync` needs, in the room behind the log, written since its last transaction.
//!
//! Unlike the log they are little-endian. Each record is a tag and the length of its value, of 16 bits each, then the
//! value; none crosses a block. A tail ends a fast commit with a CRC-32C of all since the tail before it:
//!
//! ```text
//! HEAD features 0, transaction 8 | INODE 12 … | ADD_RANGE 12: 0 +1 at 4096 | CREAT 12 `job` in 2 | TAIL 8, crc
//! UNLINK 13 `old` in 2 | PAD | (next block) INODE 12 … | TAIL 8, crc
//! ```
//! They hold for the transaction that would come next. What follows the last tail that is right was not finished, and
//! never happened.

use crate::error::{Error, Result};
use crate::ext::checksum::crc32c;
use crate::ext::nr::{BlockNr, InodeNr};
use crate::ext::ondisk::extent::{ENTRY_LEN, Extent};
use zerocopy::FromBytes;

/// `fc_tag`.
mod tag {
    pub(super) const ADD_RANGE: u16 = 1;
    pub(super) const DEL_RANGE: u16 = 2;
    pub(super) const CREAT: u16 = 3;
    pub(super) const LINK: u16 = 4;
    pub(super) const UNLINK: u16 = 5;
    pub(super) const INODE: u16 = 6;
    pub(super) const PAD: u16 = 7;
    pub(super) const TAIL: u16 = 8;
    pub(super) const HEAD: u16 = 9;
}

/// Bytes of tag and length.
const HEADER_LEN: usize = 4;
/// The most bytes of records that are kept; the kernel sets 256 blocks apart.
const LEN_MAX: usize = 16 << 20;

/// What happened, in the order of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// Blocks of a file from `lblk` on lie at `start`.
    Add {
        /// The file.
        nr: InodeNr,
        /// Its first block that is mapped.
        lblk: u32,
        /// Where that lies.
        start: BlockNr,
        /// Blocks.
        len: u16,
        /// Whether they read as zeros.
        is_unwritten: bool,
    },
    /// Blocks of a file from `lblk` on are mapped no longer.
    Cut {
        /// The file.
        nr: InodeNr,
        /// Its first block that is a hole.
        lblk: u32,
        /// Blocks.
        len: u32,
    },
    /// A new file has a name.
    Create(Name),
    /// A file has one more name.
    Link(Name),
    /// A file has lost a name.
    Unlink(Name),
    /// An inode, but for what it maps.
    Inode {
        /// Which.
        nr: InodeNr,
        /// Its first bytes, 128 at least.
        bytes: Vec<u8>,
    },
}

/// A name, where it stands and what it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// The directory.
    pub(super) parent: InodeNr,
    /// The file.
    pub(super) nr: InodeNr,
    /// The name itself.
    pub(super) name: Vec<u8>,
}

fn corrupt(what: impl std::fmt::Display) -> Error {
    Error::Corrupt(format!("ext fast commits: {what}"))
}

/// The records of all fast commits for `transaction` that are whole; `blocks` gives the blocks behind the log.
///
/// # Errors
/// [`Error::Corrupt`] where not even the first one is whole, which is how the kernel takes it; [`Error::Unsupported`]
/// where they have features that are not known.
pub(super) fn scan(
    blocks: impl Iterator<Item = Result<Vec<u8>>>,
    transaction: u32,
    inode_size: usize,
) -> Result<Vec<Record>> {
    let mut scan = Scan { transaction, inode_size, crc: 0, whole: Vec::new(), open: Vec::new() };
    let (mut len, mut is_first, mut tails) = (0, true, 0);
    for block in blocks {
        let block = block?;
        if is_first && !block.starts_with(&tag::HEAD.to_le_bytes()) {
            break;
        }
        is_first = false;
        len += block.len();
        if len > LEN_MAX {
            return Err(Error::Unsupported(format!(
                "ext fast commits of more than {LEN_MAX} bytes cannot be replayed"
            )));
        }
        match scan.block(&block, &mut tails)? {
            End::Block => {}
            End::Other => break,
            End::Damage(_) if tails > 0 => break,
            End::Damage(what) => return Err(corrupt(what)),
        }
    }
    Ok(scan.whole)
}

/// Why a block is left.
enum End {
    /// It has no more records.
    Block,
    /// Fast commits of another transaction follow.
    Other,
    /// A record or a checksum is wrong.
    Damage(&'static str),
}

struct Scan {
    transaction: u32,
    inode_size: usize,
    crc: u32,
    /// Records of fast commits that have their tail.
    whole: Vec<Record>,
    /// Records since.
    open: Vec<Record>,
}

impl Scan {
    fn block(&mut self, block: &[u8], tails: &mut u32) -> Result<End> {
        let mut at = 0;
        while let Some(header) = block.get(at..at + HEADER_LEN) {
            let (tag, len) = (half(header, 0), usize::from(half(header, 2)));
            let Some(value) = block.get(at + HEADER_LEN..at + HEADER_LEN + len) else {
                return Ok(End::Damage("a record is longer than its block"));
            };
            if !self.is_len(tag, len) {
                return Ok(End::Damage("a record has a length that it cannot have"));
            }
            let end = at + HEADER_LEN + len;
            if tag == tag::TAIL {
                let crc = crc32c(self.crc, &block[at..at + HEADER_LEN + 4]);
                self.crc = 0;
                if word(value, 0) != self.transaction || word(value, 4) != crc {
                    return Ok(End::Damage("checksum is wrong"));
                }
                *tails += 1;
                self.whole.append(&mut self.open);
                at = end;
                continue;
            }
            if tag == tag::HEAD {
                if word(value, 0) != 0 {
                    return Err(Error::Unsupported(format!(
                        "ext fast commits with unknown features ({:#x})",
                        word(value, 0)
                    )));
                }
                if word(value, 4) != self.transaction {
                    return Ok(End::Other);
                }
            }
            self.crc = crc32c(self.crc, &block[at..end]);
            self.open.extend(record(tag, value));
            at = end;
        }
        Ok(End::Block)
    }

    fn is_len(&self, tag: u16, len: usize) -> bool {
        match tag {
            tag::ADD_RANGE => len == 4 + ENTRY_LEN,
            tag::DEL_RANGE => len == 12,
            tag::CREAT | tag::LINK | tag::UNLINK => (9..=8 + 255).contains(&len),
            tag::INODE => (4 + 128..=4 + self.inode_size).contains(&len),
            tag::PAD => true,
            tag::TAIL => len >= 8,
            tag::HEAD => len == 8,
            _ => false,
        }
    }
}

/// A record whose length is right; `None` for one that says nothing.
fn record(tag: u16, value: &[u8]) -> Option<Record> {
    let nr = InodeNr(word(value.get(..4)?, 0));
    let name = || Name { parent: nr, nr: InodeNr(word(value, 4)), name: value[8..].to_vec() };
    Some(match tag {
        tag::ADD_RANGE => {
            let extent = Extent::ref_from_bytes(&value[4..]).expect("twelve bytes");
            Record::Add {
                nr,
                lblk: extent.block.get(),
                start: extent.start(),
                len: extent.len(),
                is_unwritten: extent.is_unwritten(),
            }
        }
        tag::DEL_RANGE => Record::Cut { nr, lblk: word(value, 4), len: word(value, 8) },
        tag::CREAT => Record::Create(name()),
        tag::LINK => Record::Link(name()),
        tag::UNLINK => Record::Unlink(name()),
        tag::INODE => Record::Inode { nr, bytes: value[4..].to_vec() },
        _ => return None,
    })
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
