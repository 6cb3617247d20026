//! Operations that read like `std::fs`: [`read`] on a file system and on a transaction, [`mod@write`] and [`remove`] on a
//! transaction alone.

mod create;
mod orphans;
mod read;
mod remove;
mod write;

pub use read::{DirEntry, Metadata, READ_CAP, Xattr};
