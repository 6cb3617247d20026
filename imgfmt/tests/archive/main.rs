//! Streams of entries from outside. The judges are GNU tar, bsdtar, Python's tarfile, and the kernel by a loop mount (so
//! these tests want root).

mod ext;
mod hostile;
mod import;
#[path = "../judge/mod.rs"]
mod judge;
mod oci;
mod support;
mod tar_read;
mod tar_write;
