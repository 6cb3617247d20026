//! Tar archives, read and written.
//!
//! ```text
//! header 512 | content, padded to 512 | header | content | … | 512 zeros | 512 zeros
//! ```
//! What does not fit a header comes in a file of its own before it: a PAX header of records (`x` for one entry, `g` for
//! all that follow), or GNU's long name (`L`) and long link (`K`).
//!
//! ```text
//! 30 mtime=1767225600.123456789\n     27 SCHILY.xattr.user.x=value\n     length of the record with itself, key=value
//! ```
//! The layout of headers is that of the crate `tar`. Its walk over archives is not used: it takes records apart at
//! newlines, which values of attributes may have in them, reads only one of the four forms of sparse files, and trusts
//! lengths of long names.

mod field;
mod pax;
mod read;
mod sparse;
mod stream;
mod write;

pub use read::TarSource;
pub use write::{TarSink, WRITING};

pub(super) use pax::number;

/// Bytes of a header, and what everything is padded to.
const BLOCK: usize = 512;
