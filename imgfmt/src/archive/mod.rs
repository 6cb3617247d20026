//! File trees as streams of entries.
//!
//! [`entry`] says what an entry is, and how a [`Source`] feeds a [`Sink`].

#![forbid(unsafe_code)]

pub mod entry;
mod path;

pub use entry::{Content, Data, Entry, Kind, Meta, Run, Sink, Source, Time, Warn, Xattr};
pub use path::{PATH_CAP, TreePath};
