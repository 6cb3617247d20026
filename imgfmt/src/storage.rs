//! Where bytes come from: a file read at offsets, a mapped file, a slice.
//!
//! Readers are written against [`Storage`], so that one reader serves a stock image (read with `pread`, where another
//! process that truncates the file causes an error and not a signal) and a private copy (mapped).

use std::io;

/// Bytes that can be read at any offset.
pub trait Storage {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Fill `buf` with the bytes that start at `offset`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] where the range does not lie within the storage; `buf` is unspecified then.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Whether there is no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Storage for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..)?.get(..buf.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }
}

impl Storage for Vec<u8> {
    fn len(&self) -> u64 {
        Storage::len(self.as_slice())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        Storage::read_at(self.as_slice(), offset, buf)
    }
}
