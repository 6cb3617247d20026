//! Where bytes come from: a file read at offsets, a mapped file, a slice.
//!
//! Readers are written against [`Storage`], so that one reader serves a stock image (read with `pread`, where another
//! process that truncates the file causes an error and not a signal) and a private copy (mapped).

#![forbid(unsafe_code)]

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Bytes that can be read at any offset.
pub trait Storage {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Fill `buf` with the bytes that start at `offset`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] where the range does not lie within the storage; `buf` is unspecified then.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// The first run of bytes, from `offset` on, that may be other than zero: all before it are zeros. `None` where only
    /// zeros follow. A storage that knows nothing of holes is one run.
    ///
    /// # Errors
    /// Those of the host, and [`io::ErrorKind::InvalidData`] of a format that contradicts itself.
    fn data_from(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        Ok((offset < self.len()).then(|| offset..self.len()))
    }

    /// Whether there is no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Any storage as a stream: reads from a position that moves, and seeks.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    storage: &'a dyn Storage,
    position: u64,
}

impl<'a> Reader<'a> {
    /// A stream that starts at the first byte.
    pub fn new(storage: &'a dyn Storage) -> Self {
        Self { storage, position: 0 }
    }
}

impl io::Read for Reader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.storage.len().saturating_sub(self.position);
        let len = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        self.storage.read_at(self.position, &mut buf[..len])?;
        self.position += len as u64;
        Ok(len)
    }
}

impl io::Seek for Reader<'_> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let position = match to {
            io::SeekFrom::Start(position) => Some(position),
            io::SeekFrom::End(by) => self.storage.len().checked_add_signed(by),
            io::SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("position", &self.position).finish_non_exhaustive()
    }
}

/// A file that is open already, of a length that is known. To ask for holes moves the file's own position.
#[derive(Clone, Copy, Debug)]
pub struct OpenFile<'a> {
    file: &'a File,
    len: u64,
}

impl<'a> OpenFile<'a> {
    /// The first `len` bytes of `file`.
    pub fn new(file: &'a File, len: u64) -> Self {
        Self { file, len }
    }
}

impl Storage for OpenFile<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn data_from(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        if offset >= self.len {
            return Ok(None);
        }
        let start = match rustix::fs::seek(self.file, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            // A host that knows nothing of holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => offset,
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(self.file, SeekFrom::Hole(start)).unwrap_or(self.len);
        Ok((start < self.len).then(|| start..end.min(self.len)))
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
