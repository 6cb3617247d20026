//! What a user may say about a new file system. What is left open is as `mke2fs` 1.47.0 has it.

use crate::ext::mkfs::profile::Profile;

/// What to call it: which features are on by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No journal.
    Ext2,
    /// A journal.
    Ext3,
    /// A journal, extents, checksums and more.
    Ext4,
}

/// How many inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inodes {
    /// By size, as `mke2fs` has it: one for each 4 KiB of a small file system, for each 16 KiB of others.
    Default,
    /// One for so many bytes.
    Ratio(u64),
    /// So many at least.
    Count(u32),
}

/// All that decides how a file system is made. The same options make the same bytes.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to call it.
    pub kind: Kind,
    /// Bytes that there are. What is not a whole block, or a last group too small for its own tables, stays unused.
    pub size: u64,
    /// Bytes of a block: a power of two from 1,024 to 65,536. The kernel mounts no larger ones than its pages, mostly 4,096.
    pub block_size: Option<u32>,
    /// Bytes of an inode: a power of two, 128 at least, a block at most.
    pub inode_size: Option<u16>,
    /// How many inodes.
    pub inodes: Inodes,
    /// The label, of 16 bytes at most.
    pub label: String,
    /// The UUID; by default from the seed.
    pub uuid: Option<[u8; 16]>,
    /// The seed of the hashes of names, as a UUID; by default from the seed.
    pub hash_seed: Option<[u8; 16]>,
    /// What UUID and hash seed are derived from where they are not given.
    pub seed: Vec<u8>,
    /// When it was made, in Unix seconds.
    pub time: i64,
    /// Features in `mke2fs`'s words: `^64bit,metadata_csum_seed`, or `none,extent`.
    pub features: String,
    /// Part of the blocks that only root may take, in percent: 50 at most.
    pub reserved_percent: u8,
    /// Bytes of the journal; by default by size. Where a file system is too small for any, it has none.
    pub journal_size: Option<u64>,
    /// Owner and group of the root directory.
    pub root_owner: (u32, u32),
    /// Of a RAID: blocks that are read from one disk before the next one (`-E stride`).
    pub stride: u16,
    /// Of a RAID: blocks of a stripe over all disks with data (`-E stripe_width`).
    pub stripe_width: u32,
    /// Which guest is to mount it; changes what is open.
    pub profile: Option<Profile>,
}

impl Options {
    /// A file system of `size` bytes, all else open.
    pub fn new(kind: Kind, size: u64) -> Self {
        Self {
            kind,
            size,
            block_size: None,
            inode_size: None,
            inodes: Inodes::Default,
            label: String::new(),
            uuid: None,
            hash_seed: None,
            seed: Vec::new(),
            time: 0,
            features: String::new(),
            reserved_percent: 5,
            journal_size: None,
            root_owner: (0, 0),
            stride: 0,
            stripe_width: 0,
            profile: None,
        }
    }
}
