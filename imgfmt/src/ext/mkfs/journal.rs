//! An empty journal: its superblock, and how long it is.
//!
//! The log behind the superblock is zeros, which the kernel takes for what it is: nothing. `s_start` 0 says so, too.

use zerocopy::{FromZeros, IntoBytes};

use crate::error::{Error, Result};
use crate::ext::feature::Compat;
use crate::ext::mkfs::options::Options;
use crate::ext::mkfs::shape::Shape;
use crate::ext::ondisk::journal::{MAGIC, Superblock, blocktype};

/// The shortest log that the kernel takes, in blocks.
const BLOCKS_MIN: u64 = 1024;
/// The longest that `mke2fs` makes.
const BLOCKS_MAX: u64 = 10_240_000;
/// One block for fast commits behind each so many of the log.
const FAST_COMMIT_RATIO: u64 = 64;

/// Lengths of a journal, in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Journal {
    /// All of it.
    pub(super) blocks: u64,
    /// Room for fast commits at its end.
    pub(super) fast_commit_blocks: u64,
}

impl Journal {
    /// What the options and the size of the file system say.
    pub(super) fn new(shape: &Shape, options: &Options) -> Result<Option<Self>> {
        if !shape.features.compat.contains(Compat::HAS_JOURNAL) {
            return Ok(None);
        }
        let wanted = options.journal_size.map(|size| size / shape.block_size);
        let Some(log) = wanted.or_else(|| shape.default_journal_blocks()) else {
            return Ok(None);
        };
        if !(BLOCKS_MIN..=BLOCKS_MAX).contains(&log) {
            return Err(Error::Unsupported(format!(
                "a journal of {log} blocks of {} bytes: it takes {BLOCKS_MIN} to {BLOCKS_MAX} of them",
                shape.block_size
            )));
        }
        let fast_commit_blocks = match shape.features.compat.contains(Compat::FAST_COMMIT) {
            true => log / FAST_COMMIT_RATIO,
            false => 0,
        };
        Ok(Some(Self { blocks: log + fast_commit_blocks, fast_commit_blocks }))
    }

    /// The superblock of the log.
    pub(super) fn superblock(&self, block_size: usize) -> Vec<u8> {
        let narrow = |count: u64| u32::try_from(count).expect("BLOCKS_MAX at most").into();
        let mut sb = Superblock::new_zeroed();
        sb.header.magic = MAGIC.into();
        sb.header.blocktype = blocktype::SUPERBLOCK_V2.into();
        sb.blocksize = narrow(block_size as u64);
        sb.maxlen = narrow(self.blocks);
        sb.first = 1.into();
        sb.sequence = 1.into();
        sb.nr_users = 1.into();
        sb.num_fc_blks = narrow(self.fast_commit_blocks);
        // s_uuid stays zero, as do the features: the kernel sets those that it wants at each mount.
        sb.as_bytes().to_vec()
    }
}
