//! Disk images without mounting.
//!
//! An image is a file, and a file system is bytes in it. This library reads and edits those bytes: partition tables
//! (MBR, GPT), the ext family, FAT and swap, inside raw disk images, with no privilege beyond that of reading and
//! writing the file. It knows nothing of Xen or of job descriptions.
//!
//! | to | use |
//! | --- | --- |
//! | open an image to read it, or to edit it | [`Image`], [`ImageMut`] |
//! | find its partitions | [`table::read`], then [`table::Table::volume`]; of a bare file system [`Volume::whole`] |
//! | tell what a volume holds | [`probe`] |
//! | read and edit ext2, ext3, ext4 | [`ext::Fs`], [`ext::Transaction`] |
//! | read and edit FAT, read and write the header of a swap space | [`fat`], [`swap`] |
//! | copy an image with its holes, unpack a compressed one | [`copy`], [`compressed`] |
//!
//! An edit is a value: a transaction ends in [`Changes`], and nothing is written before [`ImageMut::commit`] is given
//! them. Dropping either is the rollback.
//!
//! ```
//! use imgfmt::{Image, ImageMut, Volume, ext::Fs};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use imgfmt::compressed::{Compression, unpack};
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("root.img");
//! # let stock = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/images/ext4-today.img.zst");
//! # let file = std::fs::File::create(&path)?;
//! # let mut go_on = |_, _| std::ops::ControlFlow::Continue(());
//! # unpack(&Image::open(stock.as_ref())?, Compression::Zstd, &file, 1 << 30, &mut go_on)?;
//! let mut image = ImageMut::open(&path)?;
//! let changes = {
//!     let fs = Fs::open(Volume::whole(&image))?;
//!     // All of it happens at this time, in Unix seconds.
//!     let mut tx = fs.begin(1_767_225_600)?;
//!     tx.write("/etc/hostname", "guest\n")?;
//!     tx.create_dir_all("/etc/xenjobs.d")?;
//!     tx.write("/etc/xenjobs.d/10-job", "#!/bin/sh\ndate\n")?;
//!     tx.set_mode("/etc/xenjobs.d/10-job", 0o755)?;
//!     tx.finish()?
//! };
//! image.commit(&changes)?;
//! drop(image);
//!
//! let image = Image::open(&path)?;
//! let fs = Fs::open(Volume::whole(&image))?;
//! assert_eq!(fs.read("/etc/hostname")?, b"guest\n");
//! let job = fs.metadata("/etc/xenjobs.d/10-job")?;
//! assert_eq!((job.mode, job.uid, job.len), (0o755, 0, 15));
//! # Ok(())
//! # }
//! ```
//!
//! Nothing that comes from an image is trusted: whatever its bytes, the outcome is an [`Error`] or a value, in bounded
//! memory. What an edit cannot keep right is refused by its name before a byte is written.
//!
//! Lengths and offsets are in bytes where nothing else is said, times in Unix seconds. All but the mapping of
//! [`ImageMut`] forbids `unsafe`.

mod busy;
pub mod changes;
pub mod compressed;
pub mod copy;
pub mod error;
pub mod ext;
pub mod fat;
mod host;
pub mod image;
pub mod in_place;
pub mod probe;
mod reserve;
pub mod storage;
pub mod swap;
pub mod table;
mod undo;
mod undo_file;
pub mod volume;

pub use changes::Changes;
pub use error::{Error, Result};
pub use image::{Image, ImageMut, Recovered, recover};
pub use in_place::InPlace;
pub use storage::Storage;
pub use volume::Volume;
