//! Write a layout: an empty file system.

use std::rc::Rc;

use crate::error::Result;
use crate::ext::mkfs::buffer::Buffer;
use crate::ext::mkfs::contents::Contents;
use crate::ext::mkfs::layout::Layout;
use crate::ext::mkfs::tables;
use crate::ext::mkfs::target::Target;

/// Write an empty file system into `target`, whose bytes are zero.
///
/// The superblock is the last thing written: until then there is no file system.
///
/// # Errors
/// Those of the host. [`Error::NoSpace`](crate::Error::NoSpace) where maps of the layout's own files do not fit any more.
pub fn write(layout: &Layout, target: &mut dyn Target) -> Result<()> {
    let mut contents = Contents::new(Rc::new(layout.clone()), Buffer::new(target));
    contents.put_files()?;
    contents.put_empty_root()?;
    tables::write(contents)
}
