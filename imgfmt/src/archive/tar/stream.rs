//! The bytes of an archive, in blocks: what is left out of a stream is read, what is left out of a file is not.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;

use super::BLOCK;
use crate::archive::entry::from_io;
use crate::error::Result;

/// Bytes that are read at once. A sink that asks for as many gets them without a copy.
const CHUNK: usize = 64 << 10;

/// Bytes, and how many were taken, which says where an error is.
pub(super) struct Stream<'a> {
    from: BufReader<From<'a>>,
    taken: u64,
    /// A block that was looked at and is still to be taken.
    ahead: Option<[u8; BLOCK]>,
}

/// What an archive is read from.
pub(super) enum From<'a> {
    Stream(Box<dyn Read + 'a>),
    /// A file of `len` bytes, of which those at `at` are the next ones.
    File {
        file: &'a File,
        at: u64,
        len: u64,
    },
}

impl Read for From<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stream(from) => from.read(buf),
            Self::File { file, at, .. } => {
                let count = file.read_at(buf, *at)?;
                *at += count as u64;
                Ok(count)
            }
        }
    }
}

impl From<'_> {
    /// Leave out as much of `len` bytes as need not be read. Returns how much that was.
    fn skip(&mut self, most: u64) -> u64 {
        let Self::File { at, len, .. } = self else { return 0 };
        let count = most.min(len.saturating_sub(*at));
        *at += count;
        count
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        debug_assert!(self.ahead.is_none(), "what was looked at is a header or padding");
        let count = self.from.read(buf)?;
        self.taken += count as u64;
        Ok(count)
    }
}

impl BufRead for Stream<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.from.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.from.consume(count);
        self.taken += count as u64;
    }
}

impl<'a> Stream<'a> {
    pub(super) fn new(from: From<'a>) -> Self {
        Self { from: BufReader::with_capacity(CHUNK, from), taken: 0, ahead: None }
    }

    /// How many bytes were taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// The next block. `None` where the bytes end before it.
    pub(super) fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        if let Some(block) = self.ahead.take() {
            self.taken += BLOCK as u64;
            return Ok(Some(block));
        }
        let mut block = [0; BLOCK];
        if self.fill_buf().map_err(from_io)?.is_empty() {
            return Ok(None);
        }
        self.read_exact(&mut block).map_err(from_io)?;
        Ok(Some(block))
    }

    /// The next block, which is taken by [`block`](Self::block) or [`skip`](Self::skip) next.
    ///
    /// # Errors
    /// Fewer bytes than a block are left: nothing that may follow is shorter.
    pub(super) fn peek(&mut self) -> Result<[u8; BLOCK]> {
        let mut block = [0; BLOCK];
        self.from.read_exact(&mut block).map_err(from_io)?;
        self.ahead = Some(block);
        Ok(block)
    }

    /// Leave out `len` bytes: whole blocks, where one was looked at.
    pub(super) fn skip(&mut self, mut len: u64) -> Result<()> {
        if len > 0 && self.ahead.take().is_some() {
            self.taken += BLOCK as u64;
            len -= BLOCK as u64;
        }
        while len > 0 {
            if self.from.buffer().is_empty() {
                let count = self.from.get_mut().skip(len);
                self.taken += count;
                len -= count;
                if len == 0 {
                    break;
                }
            }
            let available = self.fill_buf().map_err(from_io)?.len();
            if available == 0 {
                return Err(from_io(io::ErrorKind::UnexpectedEof.into()));
            }
            let count = usize::try_from(len).map_or(available, |len| len.min(available));
            self.consume(count);
            len -= count as u64;
        }
        Ok(())
    }
}
