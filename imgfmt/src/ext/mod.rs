//! The ext family: ext2, ext3 and ext4, read and edited without mounting.
//!
//! [`Fs::open`] reads a file system as it is. [`Fs::begin`] starts a [`Transaction`], which has the same readers, sees
//! its own edits, and ends in [`Changes`](crate::Changes): what is to be written, and nothing was until then.
//!
//! ```no_run
//! use imgfmt::{ImageMut, Volume, ext::Fs};
//!
//! # fn main() -> imgfmt::Result<()> {
//! let mut image = ImageMut::open("root.img".as_ref())?;
//! let changes = {
//!     let fs = Fs::open(Volume::whole(&image))?;
//!     let mut tx = fs.begin(1_767_225_600)?;
//!     tx.write("/etc/hostname", "guest\n")?;
//!     tx.create_dir_all("/etc/xenjobs.d")?;
//!     tx.finish()?
//! };
//! image.commit(&changes)?;
//! # Ok(())
//! # }
//! ```
//!
//! Paths are those of the image: they start at its root whether or not they begin with `/`, and symbolic links never
//! lead out of it.
//!
//! A journal that has to be replayed is replayed in memory to read, and with the edit to write. Changes do not go through
//! it: they are for an image that nobody else sees until they are written whole.

mod acl;
mod alloc;
mod bitmap;
mod blocks;
mod checksum;
mod dir;
mod feature;
mod file;
mod fs;
mod geometry;
mod group;
mod in_use;
mod inode;
mod journal;
mod map;
mod nr;
mod ondisk;
mod ops;
mod orphan;
mod path;
mod transaction;
mod xattr;
mod xattr_edit;

pub use fs::{Fs, Info, Kind};
pub use inode::FileType;
pub use nr::InodeNr;
pub use ops::{DirEntry, Metadata, READ_CAP, Xattr};
pub use transaction::Transaction;
