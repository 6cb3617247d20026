//! Copies of images in which holes stay holes.
//!
//! [`write_sparse`] reads whatever is a [`Storage`]. [`copy_sparse`] is for raw files and has better ways, best first;
//! each is tried only where the host refuses the one before:
//!
//! ```text
//! FICLONE                              the copy shares all blocks with its source (btrfs, xfs)
//! SEEK_DATA, copy_file_range           the kernel copies what is not a hole
//! SEEK_DATA, read and write            across file systems that the kernel does not copy between
//! read and write, zero blocks skipped  where the host cannot tell holes from data
//! ```
//!
//! What the target held before is lost. Neither the copy nor what it leaves behind after an error is synced.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::host;
use crate::image::Image;
use crate::storage::Storage;

/// How much goes in one call: large enough to be fast, small enough that a copy can be stopped. In bytes.
const PIECE: u64 = 8 << 20;

/// The buffer where the kernel does not copy for us, in bytes.
const BUFFER: usize = 1 << 20;

/// What is a hole in the copy when all its bytes are zero.
const BLOCK: usize = 4096;

/// Called with how many bytes of how many are behind us, holes included; [`ControlFlow::Break`] stops the work.
pub type Progress<'a> = dyn FnMut(u64, u64) -> ControlFlow<()> + 'a;

/// How a copy was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyReport {
    /// Bytes that went into the copy; the rest is holes.
    pub bytes_copied: u64,
    /// Whether the copy shares its blocks with its source; nothing was copied then.
    pub cloned: bool,
}

/// Make `to` a copy of `from`.
///
/// # Errors
/// [`Error::HostFull`]; [`Error::Stopped`] by `progress`; [`Error::Io`] also where the source became shorter meanwhile.
/// `to` holds a part of the image then.
pub fn copy_sparse(from: &Image, to: &File, progress: &mut Progress<'_>) -> Result<CopyReport> {
    let len = from.len();
    to.set_len(0).map_err(|e| host::write_error(to, "copy", e))?;
    if clone(from, to)? {
        report_progress(progress, len, len)?;
        return Ok(CopyReport { bytes_copied: 0, cloned: true });
    }
    to.set_len(len).map_err(|e| host::write_error(to, "copy", e))?;
    let mut copy = Copy { from, to, in_kernel: true, bytes_copied: 0, progress };
    if cannot_tell_holes(from)? {
        copy.in_kernel = false;
        copy.range(0, len)?;
    } else {
        copy.data()?;
    }
    let bytes_copied = copy.bytes_copied;
    check_len(from)?;
    report_progress(progress, len, len)?;
    Ok(CopyReport { bytes_copied, cloned: false })
}

fn clone(from: &Image, to: &File) -> Result<bool> {
    match rustix::fs::ioctl_ficlone(to, from.file()) {
        Ok(()) => {
            check_len(from)?;
            Ok(true)
        }
        Err(error) if host::is_full(&error.into()) => {
            Err(host::write_error(to, "copy", error.into()))
        }
        // Another file system, or one that shares no blocks: each has an error code of its own for it.
        Err(_) => Ok(false),
    }
}

/// Whether the host says that all is data of a file that has fewer blocks than bytes.
fn cannot_tell_holes(from: &Image) -> Result<bool> {
    let meta = from.file().metadata().map_err(|e| read_error(from, e))?;
    let sparse = meta.blocks().saturating_mul(512) < meta.len();
    match rustix::fs::seek(from.file(), SeekFrom::Hole(0)) {
        Ok(hole) => Ok(sparse && hole >= meta.len()),
        Err(Errno::NXIO) => Ok(false),
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(true),
        Err(error) => Err(read_error(from, error.into())),
    }
}

/// Write the disk `from` into `to`, whatever it is read through: what holds zeros becomes holes.
///
/// # Errors
/// Those of [`copy_sparse`]; [`Error::Corrupt`] where `from` is in a format that contradicts itself.
pub fn write_sparse(
    from: &dyn Storage,
    to: &File,
    progress: &mut Progress<'_>,
) -> Result<CopyReport> {
    let len = from.len();
    let failed = |e| host::write_error(to, &format!("disk of {len} bytes"), e);
    to.set_len(0).and_then(|()| to.set_len(len)).map_err(failed)?;
    let mut buffer = vec![0; BUFFER];
    let (mut at, mut bytes_copied) = (0, 0);
    while let Some(data) = from.data_from(at).map_err(host::read_error)? {
        at = at.max(data.start);
        while at < data.end {
            let left = usize::try_from(data.end - at).unwrap_or(usize::MAX);
            let piece = &mut buffer[..left.min(BUFFER)];
            from.read_at(at, piece).map_err(host::read_error)?;
            bytes_copied += write_skipping_zeros(to, at, piece).map_err(failed)?;
            at += piece.len() as u64;
            report_progress(progress, at, len)?;
        }
    }
    report_progress(progress, len, len)?;
    Ok(CopyReport { bytes_copied, cloned: false })
}

struct Copy<'a, 'p> {
    from: &'a Image,
    to: &'a File,
    in_kernel: bool,
    bytes_copied: u64,
    progress: &'a mut Progress<'p>,
}

impl Copy<'_, '_> {
    /// Copy each run of data.
    fn data(&mut self) -> Result<()> {
        let mut at = 0;
        while at < self.from.len() {
            let start = match rustix::fs::seek(self.from.file(), SeekFrom::Data(at)) {
                Ok(start) => start,
                // Nothing but a hole up to the end, wherever that is by now.
                Err(Errno::NXIO) => break,
                Err(error) => return Err(read_error(self.from, error.into())),
            };
            let end = match rustix::fs::seek(self.from.file(), SeekFrom::Hole(start)) {
                Ok(end) => end.min(self.from.len()),
                Err(Errno::NXIO) => return Err(shorter(self.from)),
                Err(error) => return Err(read_error(self.from, error.into())),
            };
            if start >= end {
                break;
            }
            self.range(start, end)?;
            at = end;
        }
        Ok(())
    }

    fn range(&mut self, start: u64, end: u64) -> Result<()> {
        let mut at = start;
        let mut buffer = Vec::new();
        while at < end {
            report_progress(self.progress, at, self.from.len())?;
            let len = PIECE.min(end - at);
            if self.in_kernel {
                match self.piece_in_kernel(at, len)? {
                    Some(copied) => at += copied,
                    None => self.in_kernel = false,
                }
            } else {
                buffer.resize(BUFFER, 0);
                at += self.piece_by_hand(at, end, &mut buffer)?;
            }
        }
        Ok(())
    }

    /// How many bytes the kernel copied; `None` where it will not copy between these two files.
    fn piece_in_kernel(&mut self, at: u64, len: u64) -> Result<Option<u64>> {
        let (mut from_at, mut to_at) = (at, at);
        let len = usize::try_from(len).expect("at most 8 MiB");
        let outcome = rustix::fs::copy_file_range(
            self.from.file(),
            Some(&mut from_at),
            self.to,
            Some(&mut to_at),
            len,
        );
        match outcome {
            // Some kernels answer 0 for file systems that they cannot copy between, others at the end of the file;
            // reading by hand tells the two apart.
            Ok(0) => Ok(None),
            Ok(copied) => {
                self.bytes_copied += copied as u64;
                Ok(Some(copied as u64))
            }
            Err(Errno::INTR) => Ok(Some(0)),
            Err(error) if host::is_full(&error.into()) => Err(self.write_error(error.into())),
            Err(
                Errno::XDEV
                | Errno::INVAL
                | Errno::NOSYS
                | Errno::OPNOTSUPP
                | Errno::PERM
                | Errno::BADF
                | Errno::TXTBSY,
            ) => Ok(None),
            Err(error) => Err(self.write_error(error.into())),
        }
    }

    fn piece_by_hand(&mut self, at: u64, end: u64, buffer: &mut [u8]) -> Result<u64> {
        let len = usize::try_from(end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
        let piece = &mut buffer[..len];
        self.from.read_at(at, piece).map_err(|e| read_error(self.from, e))?;
        self.bytes_copied +=
            write_skipping_zeros(self.to, at, piece).map_err(|e| self.write_error(e))?;
        Ok(len as u64)
    }

    fn write_error(&self, error: io::Error) -> Error {
        host::write_error(self.to, &format!("copy of {} bytes", self.from.len()), error)
    }
}

/// Write `bytes` at `offset` of a file that holds zeros there, leaving out blocks of zeros. How many were written.
pub(crate) fn write_skipping_zeros(to: &File, offset: u64, bytes: &[u8]) -> io::Result<u64> {
    let mut written = 0;
    let mut run = 0..0;
    for block in bytes.chunks(BLOCK) {
        let end = run.end + block.len();
        if is_zero(block) {
            to.write_all_at(&bytes[run.clone()], offset + run.start as u64)?;
            written += run.len() as u64;
            run = end..end;
        } else {
            run.end = end;
        }
    }
    to.write_all_at(&bytes[run.clone()], offset + run.start as u64)?;
    Ok(written + run.len() as u64)
}

pub(crate) fn is_zero(block: &[u8]) -> bool {
    let (words, rest) = block.as_chunks::<16>();
    words.iter().all(|word| *word == [0; 16]) && rest.iter().all(|byte| *byte == 0)
}

fn check_len(from: &Image) -> Result<()> {
    let now = from.file().metadata().map_err(|e| read_error(from, e))?.len();
    if now < from.len() { Err(shorter(from)) } else { Ok(()) }
}

fn shorter(from: &Image) -> Error {
    read_error(from, io::ErrorKind::UnexpectedEof.into())
}

fn read_error(from: &Image, error: io::Error) -> Error {
    let what = if error.kind() == io::ErrorKind::UnexpectedEof {
        format!(
            "`{}` became shorter than {} bytes while it was read",
            from.path().display(),
            from.len()
        )
    } else {
        format!("`{}`", from.path().display())
    };
    Error::io(what, error)
}

/// # Errors
/// [`Error::Stopped`].
pub(crate) fn report_progress(progress: &mut Progress<'_>, done: u64, total: u64) -> Result<()> {
    match progress(done, total) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Stopped),
    }
}
