//! A new file system: [`Layout`] decides everything and writes nothing, [`write()`] writes it empty, [`Builder`]
//! fills it from a stream of entries.
//!
//! ```
//! use imgfmt::{Volume, ext::{Fs, mkfs}};
//!
//! # fn main() -> imgfmt::Result<()> {
//! let options = mkfs::Options { label: "results".into(), ..mkfs::Options::new(mkfs::Kind::Ext4, 8 << 20) };
//! let layout = mkfs::Layout::new(&options)?;
//! assert_eq!((layout.block_size(), layout.block_count(), layout.inode_count()), (1024, 8192, 2048));
//! let mut image = vec![0; 8 << 20];
//! mkfs::write(&layout, &mut image)?;
//! let fs = Fs::open(Volume::whole(&image))?;
//! assert_eq!(fs.read_dir("/")?[0].name, "lost+found");
//! # Ok(())
//! # }
//! ```
//!
//! # Where things lie
//!
//! As `mke2fs` places them: bitmaps and inode tables of a flex group side by side behind the superblock and descriptors
//! of its first group, without `flex_bg` each in its own group; the journal in one run from the middle on.
//!
//! ```text
//! flex_bg    super │ descriptors │ room for more │ 16 block bitmaps │ 16 inode bitmaps │ 16 inode tables │ / │ data …
//! without    super │ descriptors │ room for more │ bitmap │ bitmap │ table │ / │ data … │ group 1: super │ …
//! ```
//! The target is taken to be zeros, and what would be zeros is not written: of a file system of 16 TiB some megabytes
//! are. So inode tables are zero, and say so (`ITABLE_ZEROED`): the kernel need not zero them at the first mount.
//!
//! # What differs from `mke2fs` 1.47.0 of the same options
//!
//! | | here | why |
//! | --- | --- | --- |
//! | time, UUID, hash seed | from [`Options`]: the seed, where none is given | the same options are the same bytes |
//! | `s_kbytes_written` | 0 | it would be a guess: holes are not written |
//! | journal | in the first free run of its length from the middle on, whole | its map is one extent wherever there is room |
//! | inode 1 (bad blocks) | zeros | `mke2fs` gives it times, which nobody reads |
//! | directory entries' unused space | zeros | `mke2fs` leaves what its memory held |
//! | a flex group of one group | its tables follow one another | `mke2fs` leaves room for 15 more groups there |
//! | blocks kept for root, where inodes are so many that groups shrink | 5 % of all | `mke2fs` takes the count of an earlier try |
//! | `inline_data`: root and `lost+found` | blocks, as without | `mke2fs` begins them in the inode |
//!
//! What cannot be made is refused by its name: `bigalloc`, `casefold`, `ea_inode`, `encrypt`, `mmp`, `quota`, a journal on
//! another device, and what nobody makes any more.

mod attributes;
mod buffer;
mod builder;
mod contents;
mod data;
mod derive;
mod directory;
mod features;
mod inline;
mod inodes;
mod journal;
mod layout;
mod map;
mod options;
mod place;
mod profile;
mod reserved;
mod runs;
mod settle;
mod shape;
mod space;
mod superblock;
mod tables;
mod target;
mod tree;
mod write;

pub use builder::{Builder, Room};
pub use layout::Layout;
pub use options::{Inodes, Kind, Options};
pub use profile::Profile;
pub use settle::Free;
pub use target::{Target, Window};
pub use write::write;
