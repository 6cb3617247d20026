//! Exact bytes of the format: one structure a file, no I/O, no policy.
//!
//! Every structure is a view over bytes (`zerocopy`), edited in place, so that bytes nobody here knows survive. Fields
//! have the kernel's names without the prefix (`i_mode` is `mode`). All numbers but those of the journal are little-endian.

pub(crate) mod dirent;
pub(crate) mod dx;
pub(crate) mod extent;
pub(crate) mod group_desc;
pub(crate) mod inode;
pub(crate) mod journal;
pub(crate) mod superblock;
pub(crate) mod xattr;
