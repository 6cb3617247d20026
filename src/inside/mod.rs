//! Work inside images, in the words of the coreutils: how a place is written, what a tree is, how one is copied.
//!
//! Text becomes values here ([`address`], [`mode`], [`owner`], [`glob`]); the verbs of `autoxen image` are in
//! [`commands::image`](crate::commands::image).

pub mod address;
pub mod compare;
pub mod copy;
pub mod entries;
pub mod ext;
pub mod fat;
pub mod glob;
pub mod guest;
pub mod host;
pub mod host_target;
pub mod loader;
pub mod lost;
pub mod mode;
pub mod owner;
pub mod script;
pub mod tree;
pub mod walk;
