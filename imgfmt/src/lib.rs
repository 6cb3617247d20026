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
//! | stream a file tree from one place to another | [`archive`] |
//! | copy an image with its holes, unpack a compressed one | [`copy`], [`compressed`] |
//! | read qcow2 as if it were raw, write it, lay an edit over an image as one | [`qcow2`] |
//!
//! An edit is a value: a transaction ends in [`Changes`] or in [`InPlace`], and nothing is written before
//! [`ImageMut::commit`] or [`ImageMut::commit_in_place`] is given it. Dropping it is the rollback.
//!
//! # Example
//!
//! A stock image is read, a copy of it edited; then the copy is edited where it stands, and checked.
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use imgfmt::{Image, ImageMut, Volume, copy::copy_sparse, ext::Fs};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use imgfmt::compressed::{Compression, unpack};
//! # let dir = tempfile::tempdir()?;
//! # let stock = dir.path().join("root.img");
//! # let copy = dir.path().join("copy.img");
//! # let packed = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/images/ext4-today.img.zst");
//! # let file = std::fs::File::create(&stock)?;
//! # let mut go_on = |_, _| ControlFlow::Continue(());
//! # unpack(&Image::open(packed.as_ref())?, Compression::Zstd, &file, 1 << 30, &mut go_on)?;
//! let stock = Image::open(&stock)?;
//! let fs = Fs::open(Volume::whole(&stock))?;
//! let fstab = fs.read("/etc/fstab")?;
//! // All of it happens at this time, in Unix seconds.
//! let mut tx = fs.begin(1_767_225_600)?;
//! tx.write("/etc/fstab", [&fstab[..], b"tmpfs /tmp tmpfs defaults 0 0\n"].concat())?;
//! tx.create_dir_all("/etc/xenjobs.d")?;
//! tx.write("/etc/xenjobs.d/10-job", "#!/bin/sh\ndate\n")?;
//! tx.set_mode("/etc/xenjobs.d/10-job", 0o755)?;
//! let changes = tx.finish()?;
//!
//! // What was made on the original fits the copy, which has the same bytes.
//! copy_sparse(&stock, &std::fs::File::create(&copy)?, &mut |_, _| ControlFlow::Continue(()))?;
//! let mut image = ImageMut::open(&copy)?;
//! image.commit(&changes)?;
//! image.sync()?;
//!
//! // Where no crash may leave the image half edited:
//! let edit = {
//!     let fs = Fs::open(Volume::whole(&image))?;
//!     let mut tx = fs.begin(1_767_225_601)?;
//!     tx.rename("/etc/xenjobs.d/10-job", "/etc/xenjobs.d/20-job")?;
//!     tx.write("/etc/hostname", "guest\n")?;
//!     tx.finish_in_place()?
//! };
//! image.commit_in_place(&edit)?;
//! drop(image);
//!
//! let image = Image::open(&copy)?;
//! let fs = Fs::open(Volume::whole(&image))?;
//! let job = fs.metadata("/etc/xenjobs.d/20-job")?;
//! assert_eq!((job.mode, job.uid, job.len), (0o755, 0, 15));
//! let report = fs.check(&mut |_, _| ControlFlow::Continue(()))?;
//! assert!(report.is_clean(), "{report}");
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! * **What comes from an image is not trusted.** Whatever its bytes, the outcome is an [`Error`] or a value, in bounded
//!   memory.
//! * **What cannot be kept right is refused**, by its name, before a byte is written: a feature ([`ext`] has the table), a
//!   full file system, a full log, a full host.
//! * **An operation is whole or has no effect**, and the transaction goes on after its error.
//! * **An edit in place is whole or has no effect, whenever the host or the process stops.** Let all that was synced be on
//!   the disk, and of what was written since any part, in sectors of 512 bytes. Through a journal, such an image is
//!   recovered to the tree before the edit or the one after it, by the next mount, by `e2fsck`, by whoever opens it with
//!   this library to read, and by [`ext::Fs::recover`] on the disk. Without a journal it is an undo file beside the image
//!   that brings it back, and only this library knows it: [`ImageMut::open`] and [`recover`] use it, and [`Image::open`]
//!   refuses such an image with [`Error::Interrupted`].
//! * [`ImageMut::commit`] promises none of that: it is for a copy that nobody sees until it is written whole.
//! * **Nobody else is at it**: images are locked (`flock`), and those that a loop device or QEMU has open are refused
//!   ([`Error::Busy`]).
//!
//! Lengths and offsets are in bytes where nothing else is said, times in Unix seconds. All but the mapping of
//! [`ImageMut`] forbids `unsafe`.

pub mod archive;
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
mod locked;
pub mod probe;
pub mod qcow2;
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
