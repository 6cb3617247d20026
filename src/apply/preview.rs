//! A stock image as it will be, without a byte of it written: what the edits change is laid over what is read. It tells of no
//! holes, since an edit may lie in one.

use std::io;

use imgfmt::Storage;
use imgfmt::qcow2::Layer;

use super::edits::Write;

/// A stock image after its edits.
pub(super) struct Preview<'a> {
    pub(super) stock: &'a Layer,
    pub(super) write: Option<&'a Write>,
}

impl Storage for Preview<'_> {
    fn len(&self) -> u64 {
        self.stock.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.stock.read_at(offset, buf)?;
        if let Some(write) = self.write {
            write.show(offset, buf);
        }
        Ok(())
    }
}
