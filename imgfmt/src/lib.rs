//! Disk images without mounting.
//!
//! An image is a file, and a file system is bytes in it. This library reads and edits those bytes: partition tables
//! (MBR, GPT), the ext family, FAT and swap, inside raw disk images, with no privilege beyond that of reading and
//! writing the file. It knows nothing of Xen or of job descriptions.

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
