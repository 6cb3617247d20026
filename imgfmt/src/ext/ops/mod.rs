//! Operations that read like `std::fs`: [`read`] on a file system and on a transaction, the others on a transaction alone.

mod append;
mod create;
mod fill;
mod link;
mod metadata;
mod name;
mod node;
mod orphans;
mod protected;
mod read;
mod remove;
mod rename;
mod special;
mod truncate;
mod write;
mod xattrs;

pub use node::{Node, NodeContent};
pub use read::{DirEntry, Metadata, READ_CAP, Xattr};
pub(crate) use special::device_words;
