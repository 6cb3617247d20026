//! What is in use and what is free: descriptors and bitmaps, group by group, and giving out by them.
//!
//! A group's descriptor ([`group`]) says where its bitmaps ([`bitmap`]) lie and counts their zeros; the superblock counts
//! those of all groups. [`alloc`] changes all three together, in a transaction.
//!
//! ```text
//! group 3   descriptor: block bitmap at 1027, free blocks 5 | bitmap: 0xFF 0x07 …      11 blocks in use, 5 free
//! ```
//! Whether the bitmaps tell the truth is not known here: `edit::in_use` looks.

mod alloc;
pub(crate) mod bitmap;
pub(crate) mod group;
