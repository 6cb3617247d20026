//! A raw image file: opened for reading, or mapped for an edit.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::changes::Changes;
use crate::error::{Error, Result};
use crate::storage::Storage;

/// A raw image, opened read-only under a shared lock, read with `pread`.
#[derive(Debug)]
pub struct Image {
    file: File,
    len: u64,
}

impl Image {
    /// Open `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path.display().to_string(), e))?;
        let len = file.metadata().map_err(|e| Error::io(path.display().to_string(), e))?.len();
        Ok(Self { file, len })
    }
}

impl Storage for Image {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}

/// A raw image, opened for an edit under an exclusive lock, mapped.
#[derive(Debug)]
pub struct ImageMut {
    map: memmap2::MmapMut,
}

impl ImageMut {
    /// Open `path`.
    pub fn open(_path: &Path) -> Result<Self> {
        Err(Error::Unsupported("not there yet".into()))
    }

    /// Reserve host blocks for every range, then write, then sync.
    pub fn commit(&mut self, _changes: &Changes) -> Result<()> {
        Err(Error::Unsupported("not there yet".into()))
    }
}

impl Storage for ImageMut {
    fn len(&self) -> u64 {
        self.map.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        Storage::read_at(&self.map[..], offset, buf)
    }
}
