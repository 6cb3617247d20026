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
//! A journal that has to be replayed is replayed in memory to read, and with the edit to write. [`Transaction::finish`]
//! does not go through it: its changes are for an image that nobody else sees until they are written whole. For any other
//! image there is [`Transaction::finish_in_place`], which does: [`ImageMut::commit_in_place`](crate::ImageMut::commit_in_place)
//! writes such an edit, and a crash leaves all of it or nothing. [`Fs::recover`] replays a journal on the disk without an
//! edit, [`Fs::check`] looks whether all is right, [`Fs::grow`] enlarges a file system
//! whose volume got longer.
//!
//! # Features
//!
//! By the names of e2fsprogs, which are those of the errors, too. What is not read is not opened. *With its files*: an
//! operation on such a file or directory is refused, all others are not.
//!
//! | feature | read | written |
//! | --- | --- | --- |
//! | revision 0 and 1; blocks of 1 to 64 KiB; inodes from 128 bytes | yes | yes |
//! | `has_journal` (jbd2 with checksums of versions 1, 2, 3 or none, 64-bit tags, revokes, asynchronous commits) | yes, replayed | yes |
//! | `fast_commit` | yes, replayed | yes, as ordinary transactions |
//! | a journal on another device (`s_journal_dev`) | where it need not be replayed | no |
//! | `extent`, and maps of blocks to the third level; holes; unwritten extents | yes | yes |
//! | `dir_index` (legacy, half MD4, TEA; signed and unsigned), `large_dir` | yes | yes, with splits of leaves and nodes |
//! | `inline_data` | yes | yes |
//! | `ext_attr`, ACLs, shared attribute blocks | yes | yes |
//! | `ea_inode` | yes | no |
//! | `filetype` and without, `dir_nlink`, `large_file`, `huge_file`, `extra_isize` | yes | yes |
//! | `64bit`, `meta_bg`, `flex_bg`, `sparse_super`, `sparse_super2`, `resize_inode` | yes | yes |
//! | `uninit_bg`, `metadata_csum`, `metadata_csum_seed` | yes | yes, all checksums |
//! | `orphan_file`, the list of orphans | yes | yes, orphans are freed first |
//! | `project`, `stable_inodes` | yes | yes |
//! | `bigalloc`, `shared_blocks`, `quota`, `mmp` | yes | no |
//! | `verity` | yes | not with its files |
//! | `casefold` | yes, names by their bytes | not with its directories |
//! | `encrypt` | not with its directories; content as it is stored | not with its files |
//! | `compression`, `dirdata`, `journal_dev`, unknown `incompat` bits | no | no |
//! | `lazy_bg`, `snapshot`, `snapshot_bitmap`, `replica`, `read_only`, other unknown bits | yes | no |
//!
//! The flags that `chattr` sets against changes (immutable, append-only) hold for everybody ([`Error::Protected`](crate::Error::Protected)).

#![forbid(unsafe_code)]

mod blocks;
pub mod check;
mod checksum;
mod dir;
mod edit;
mod feature;
mod file;
mod fs;
mod geometry;
mod groups;
mod grow;
mod inline;
mod inode;
mod journal;
mod map;
pub mod mkfs;
mod nr;
mod ondisk;
mod ops;
mod orphan;
mod path;
mod recall;
mod space;
mod xattr;

pub use edit::recover::Pending;
pub use edit::transaction::Transaction;
pub use fs::{Fs, Info, Kind};
pub use groups::Group;
pub use grow::{Growth, Size};
pub use inode::FileType;
pub use nr::InodeNr;
pub use ops::{DirEntry, Metadata, Node, NodeContent, READ_CAP, Xattr};
pub use xattr::acl::acl_to_kernel;
