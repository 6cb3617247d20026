//! File trees as streams of entries.
//!
//! [`entry`] says what an entry is, and how a [`Source`] feeds a [`Sink`].
//!
//! | a tree in | read by | written by |
//! | --- | --- | --- |
//! | a tar archive, plain or packed with gzip, zstd or xz | [`TarSource`] behind [`unpack()`] | [`TarSink`] into a [`Packer`] |
//! | a container image: OCI layout, `docker save` | [`OciSource`] | |
//! | a directory of the host | [`DirSource`] | |
//! | an ext file system | [`ExtSource`] | [`ExtSink`], into one that is there |
//!
//! ```
//! use imgfmt::archive::{DirSource, Owned, Source, TarSink};
//!
//! # fn main() -> imgfmt::Result<()> {
//! # let dir = tempfile::tempdir().expect("a directory");
//! # std::fs::write(dir.path().join("hostname"), "guest").expect("a file");
//! let mut archive = TarSink::new(Vec::new());
//! let mut of_root = Owned::new(&mut archive, Some(0), Some(0));
//! DirSource::new(dir.path()).feed(&mut of_root, &mut |warning| eprintln!("{warning}"))?;
//! let archive = archive.finish()?;
//! assert!(archive.windows(10).any(|name| name == b"./hostname"));
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod acl;
mod dir;
pub mod entry;
mod from_ext;
mod into_ext;
mod names;
mod oci;
mod owner;
mod pack;
mod path;
mod tar;
mod unpack;
mod within;

pub use dir::DirSource;
pub use entry::{Content, Data, Entry, Kind, Meta, Run, Sink, Source, Time, Warn, Xattr};
pub use from_ext::ExtSource;
pub use into_ext::ExtSink;
pub use names::Names;
pub use oci::OciSource;
pub use owner::Owned;
pub use pack::Packer;
pub use path::{PATH_CAP, TreePath};
pub use tar::{TarSink, TarSource, WRITING};
pub use unpack::unpack;
