//! A checked window of an image: the bytes of one partition, or of a bare file system.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::ops::Range;

use crate::Storage;
use crate::error::{Error, Result};

/// A range of bytes of a [`Storage`], known to lie within it.
#[derive(Clone, Copy)]
pub struct Volume<'a> {
    storage: &'a dyn Storage,
    start: u64,
    len: u64,
}

impl<'a> Volume<'a> {
    /// The whole storage: a bare file system.
    pub fn whole(storage: &'a dyn Storage) -> Self {
        Self { storage, start: 0, len: storage.len() }
    }

    /// The window of `len` bytes from `start` bytes on.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the window reaches past the end of the storage, as a partition of a truncated image does.
    pub fn new(storage: &'a dyn Storage, start: u64, len: u64) -> Result<Self> {
        match start.checked_add(len) {
            Some(end) if end <= storage.len() => Ok(Self { storage, start, len }),
            _ => Err(Error::corrupt(format!(
                "partition at byte {start} with {len} bytes reaches past the end of the image ({} bytes)",
                storage.len()
            ))),
        }
    }

    /// Where the window begins, in bytes from the start of the image.
    pub fn start(&self) -> u64 {
        self.start
    }
}

impl Storage for Volume<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        match offset.checked_add(buf.len() as u64) {
            Some(end) if end <= self.len => self.storage.read_at(self.start + offset, buf),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn data_from(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        if offset >= self.len {
            return Ok(None);
        }
        let data = self.storage.data_from(self.start + offset)?;
        let data = data.filter(|data| data.start < self.start + self.len);
        Ok(data.map(|data| data.start - self.start..(data.end - self.start).min(self.len)))
    }
}

impl fmt::Debug for Volume<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volume")
            .field("start", &self.start)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
