//! Directories: names, each with the number of an inode.
//!
//! A directory is a file of blocks, each full of entries ([`linear`]). A large one is also a hash tree ([`htree`]), whose
//! inner blocks look empty to a reader of entries, so that every directory can be read the old way. One in the inode
//! itself (`inline_data`) has its parent's number in the first four bytes, and no `.` and `..`.

mod block;
mod block_edit;
pub(crate) mod dx;
pub(crate) mod edit;
pub(crate) mod hash;
pub(crate) mod htree;
mod htree_edit;
mod inline;
pub(crate) mod linear;
mod lookup;
pub(crate) mod parent;

pub(crate) use block::Place;
pub(crate) use htree::is_indexed;
pub(crate) use lookup::{for_each, locate};
