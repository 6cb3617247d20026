//! The ext family: ext2, ext3 and ext4, read and edited without mounting.
//!
//! [`Fs::open`] reads a file system as it is. [`Fs::begin`] starts a [`Transaction`], which has the same readers, sees
//! its own edits, and ends in [`Changes`](crate::Changes): what is to be written, and nothing was until then.
//!
//! ```
//! use imgfmt::{Image, Volume, ext::{FileType, Fs}};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use imgfmt::compressed::{Compression, unpack};
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("root.img");
//! # let stock = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/images/ext4-acl.img.zst");
//! # let file = std::fs::File::create(&path)?;
//! # let mut go_on = |_, _| std::ops::ControlFlow::Continue(());
//! # unpack(&Image::open(stock.as_ref())?, Compression::Zstd, &file, 1 << 30, &mut go_on)?;
//! let image = Image::open(&path)?;
//! let fs = Fs::open(Volume::whole(&image))?;
//! assert_eq!((fs.info().block_size, fs.info().inode_size), (4096, 256));
//! for entry in fs.read_dir("/etc")? {
//!     if entry.kind == FileType::File {
//!         let meta = fs.metadata(format!("/etc/{}", entry.name.display()))?;
//!         println!("{:4o} {:5} {}", meta.mode, meta.len, entry.name.display());
//!     }
//! }
//! let fstab = fs.xattrs("/etc/fstab")?;
//! assert!(fstab.iter().any(|xattr| xattr.name == "system.posix_acl_access"));
//! # Ok(())
//! # }
//! ```
//! How an edit goes is shown at the [root of this crate](crate).
//!
//! Paths are those of the image: they start at its root whether or not they begin with `/`, and symbolic links never
//! lead out of it.
//!
//! A journal that has to be replayed is replayed in memory to read, and with the edit to write. Changes do not go through
//! it: they are for an image that nobody else sees until they are written whole. For any other image there is
//! [`Transaction::finish_in_place`], which does: [`ImageMut::commit_in_place`](crate::ImageMut::commit_in_place) writes
//! such an edit, and a crash leaves all of it or nothing.

#![forbid(unsafe_code)]

mod acl;
mod alloc;
mod bitmap;
mod blocks;
pub mod check;
mod checksum;
mod dir;
mod feature;
mod file;
mod finish;
mod fs;
mod geometry;
mod group;
mod in_use;
mod inline;
mod inode;
mod journal;
mod map;
mod nr;
mod ondisk;
mod ops;
mod orphan;
mod path;
mod recover;
mod transaction;
mod xattr;
mod xattr_edit;

pub use fs::{Fs, Info, Kind};
pub use inode::FileType;
pub use nr::InodeNr;
pub use ops::{DirEntry, Metadata, READ_CAP, Xattr};
pub use recover::Pending;
pub use transaction::Transaction;
