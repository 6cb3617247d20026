//! Compressed images, unpacked into sparse files.
//!
//! What a file is compressed with is told by its first bytes, never by its name:
//!
//! ```text
//! 28 b5 2f fd             zstd frame            50..5f 2a 4d 18   skippable zstd frame
//! 1f 8b                   gzip member           fd 37 7a 58 5a 00 xz stream
//! ```
//!
//! All three allow several of these one after another, and all are unpacked. Checksums are verified: zstd's content
//! checksum where there is one, gzip's CRC-32 and length, xz's check of each block. Blocks of zeros become holes.
//!
//! Memory is bounded by what the format asks for: the window of zstd (8 MiB and below up to level 19), the dictionary of
//! xz (8 MiB for `xz -6`, 64 MiB for `xz -9`), 32 KiB for gzip. More than [`MAX_WINDOW`] is refused.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::copy::{Progress, report_progress, write_skipping_zeros};
use crate::error::{Error, Result};
use crate::host;
use crate::storage::{Reader, Storage};

/// The largest zstd window or xz dictionary that is unpacked, in bytes: what `zstd --long` asks for.
pub const MAX_WINDOW: u64 = 128 << 20;

/// A cap on the length of an unpacked image for callers that know no better one, in bytes.
pub const DEFAULT_LIMIT: u64 = 256 << 30;

/// How much is unpacked between two looks at the progress, in bytes. A multiple of the block that can become a hole.
const PIECE: usize = 256 << 10;

/// How an image is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Zstandard, RFC 8878.
    Zstd,
    /// gzip, RFC 1952.
    Gzip,
    /// xz 1.
    Xz,
}

impl Compression {
    /// What `first`, the first bytes of a file, say; six are enough. `None` for all that is not compressed.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a compression that is known but not unpacked here.
    pub fn detect(first: &[u8]) -> Result<Option<Self>> {
        let refused = |name: &str| {
            Err(Error::Unsupported(format!(
                "{name} is not unpacked here, only zstd, gzip and xz are"
            )))
        };
        match first {
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                Ok(Some(Self::Zstd))
            }
            [0x1f, 0x8b, ..] => Ok(Some(Self::Gzip)),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Ok(Some(Self::Xz)),
            [0x1e | 0x22..=0x27, 0xb5, 0x2f, 0xfd, ..] => refused("zstd from before version 0.8"),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => refused("bzip2"),
            [0x04, 0x22, 0x4d, 0x18, ..] | [0x02, 0x21, 0x4c, 0x18, ..] => refused("lz4"),
            [b'P', b'K', 3, 4, ..] => refused("a zip archive"),
            [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => refused("a 7z archive"),
            [b'L', b'Z', b'I', b'P', ..] => refused("lzip"),
            [0x89, b'L', b'Z', b'O', 0, ..] => refused("lzop"),
            [0x1f, 0x9d, ..] => refused("compress (.Z)"),
            _ => Ok(None),
        }
    }

    /// Its name as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
        }
    }
}

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Length of the image, in bytes.
    pub len: u64,
    /// How much of it was written, in bytes; the rest is holes.
    pub bytes_written: u64,
}

/// Unpack `from` into `to`, whose contents are lost. `progress` hears of the bytes of `from`.
///
/// # Errors
/// [`Error::Corrupt`] for damage and for a stream that ends too early, with the place in `from`; [`Error::Unsupported`]
/// for more than `limit` bytes or too large a window; [`Error::HostFull`]; [`Error::Stopped`]. `to` holds a part then.
pub fn unpack(
    from: &dyn Storage,
    compression: Compression,
    to: &File,
    limit: u64,
    progress: &mut Progress<'_>,
) -> Result<Unpacked> {
    to.set_len(0).map_err(|e| host::write_error(to, "unpack", e))?;
    let mut source = Source::new(from);
    let piece = Vec::with_capacity(PIECE);
    let mut sink = Sink { to, limit, len: 0, written: 0, piece, total: from.len(), progress };
    let outcome = match compression {
        Compression::Zstd => zstd(&mut source, &mut sink),
        Compression::Gzip => gzip(&mut source, &mut sink),
        Compression::Xz => xz(&mut source, &mut sink),
    };
    match outcome {
        Ok(()) => sink.finish(),
        Err(Failure::Ours(error)) => Err(error),
        Err(Failure::Decoder(what)) => Err(source.describe(compression, &what)),
    }
}

/// Why unpacking stopped: what the decoder said still wants the place where it said it.
enum Failure {
    Decoder(String),
    Ours(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl Failure {
    /// The innermost cause: the outer ones of ruzstd wrap it in Rust's notation for programmers.
    fn decoder(error: impl std::error::Error + 'static) -> Self {
        let mut cause: &(dyn std::error::Error + 'static) = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Self::Decoder(cause.to_string())
    }
}

fn zstd(source: &mut Source<'_>, sink: &mut Sink<'_, '_>) -> Result<(), Failure> {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(MAX_WINDOW);
    while !source.at_end().map_err(Failure::decoder)? {
        match decoder.reset(&mut *source) {
            Ok(()) => zstd_frame(&mut decoder, source, sink)?,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => source.skip(length.into()).map_err(Failure::decoder)?,
            Err(FrameDecoderError::WindowSizeTooBig { requested, max }) => {
                return Err(Failure::Ours(Error::Unsupported(format!(
                    "zstd window of {requested} bytes, more than {max}"
                ))));
            }
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::BadMagicNumber(
                _,
            ))) => return Err(Failure::Decoder("what follows is no zstd frame".into())),
            Err(error) => return Err(Failure::decoder(error)),
        }
    }
    Ok(())
}

fn zstd_frame(
    decoder: &mut FrameDecoder,
    source: &mut Source<'_>,
    sink: &mut Sink<'_, '_>,
) -> Result<(), Failure> {
    let declared = decoder.content_size();
    sink.check_limit(declared)?;
    let before = sink.len();
    let mut buffer = vec![0; PIECE];
    while !decoder.is_finished() {
        let strategy = BlockDecodingStrategy::UptoBytes(PIECE);
        decoder.decode_blocks(&mut *source, strategy).map_err(Failure::decoder)?;
        while decoder.can_collect() > 0 {
            let count = decoder.read(&mut buffer).map_err(Failure::decoder)?;
            sink.push(&buffer[..count], source.consumed)?;
        }
    }
    // The decoder computes both, but it compares neither. A length of 0 stands for one that is not declared, too.
    let len = sink.len() - before;
    if declared != 0 && declared != len {
        return Err(Failure::Decoder(format!("frame of {len} bytes declares {declared}")));
    }
    match (decoder.get_checksum_from_data(), decoder.get_calculated_checksum()) {
        (Some(stored), Some(computed)) if stored != computed => {
            Err(Failure::Decoder("content checksum does not match".into()))
        }
        _ => Ok(()),
    }
}

fn gzip(source: &mut Source<'_>, sink: &mut Sink<'_, '_>) -> Result<(), Failure> {
    loop {
        let mut member = GzDecoder::new(&mut *source);
        drain(&mut member, |member| member.get_ref().consumed, sink)?;
        // Archives on tapes are padded with zeros, which gzip(1) leaves out too.
        source.skip_zeros().map_err(Failure::decoder)?;
        if source.at_end().map_err(Failure::decoder)? {
            return Ok(());
        }
    }
}

fn xz(source: &mut Source<'_>, sink: &mut Sink<'_, '_>) -> Result<(), Failure> {
    // The decoder needs some room beside the dictionary, about 100 KiB.
    let limit = u32::try_from((MAX_WINDOW >> 10) + 1024).expect("129 MiB in KiB");
    let mut stream = XzReader::new_mem_limit(&mut *source, true, limit);
    drain(&mut stream, |stream| stream.inner().consumed, sink)
}

fn drain<D: Read>(
    decoder: &mut D,
    consumed: impl Fn(&D) -> u64,
    sink: &mut Sink<'_, '_>,
) -> Result<(), Failure> {
    let mut buffer = vec![0; PIECE];
    loop {
        let count = decoder.read(&mut buffer).map_err(|error| match error.kind() {
            // Only xz has a limit of memory.
            io::ErrorKind::OutOfMemory => Failure::Ours(Error::Unsupported(format!(
                "xz dictionary of more than {MAX_WINDOW} bytes"
            ))),
            _ => Failure::decoder(error),
        })?;
        if count == 0 {
            return Ok(());
        }
        sink.push(&buffer[..count], consumed(decoder))?;
    }
}

/// The compressed bytes, and how many of them were taken.
struct Source<'a> {
    reader: BufReader<Reader<'a>>,
    consumed: u64,
    /// What the host said, where it is the host that failed and not the format.
    failure: Option<io::Error>,
    /// More was asked for than there is.
    ended: bool,
}

impl<'a> Source<'a> {
    fn new(storage: &'a dyn Storage) -> Self {
        let reader = BufReader::with_capacity(PIECE, Reader::new(storage));
        Self { reader, consumed: 0, failure: None, ended: false }
    }

    fn at_end(&mut self) -> io::Result<bool> {
        Ok(self.fill_buf()?.is_empty())
    }

    fn skip(&mut self, count: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.take(count), &mut io::sink())?;
        if skipped == count { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn skip_zeros(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.fill_buf()?;
            let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
            if zeros == 0 {
                return Ok(());
            }
            self.consume(zeros);
        }
    }

    fn describe(self, compression: Compression, what: &str) -> Error {
        let name = compression.name();
        match self.failure {
            Some(error) => Error::io(format!("{name} stream at byte {}", self.consumed), error),
            None if self.ended => {
                Error::corrupt(format!("{name} stream ends too early at byte {}", self.consumed))
            }
            None => Error::corrupt(format!("{name} stream at byte {}: {what}", self.consumed)),
        }
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.reader.fill_buf() {
            // Asked again, since the borrow checker does not let go of the first answer; it does not read again.
            Ok(bytes) => {
                self.ended = bytes.is_empty();
                self.reader.fill_buf()
            }
            Err(error) => {
                let kind = error.kind();
                self.failure = Some(error);
                Err(kind.into())
            }
        }
    }

    fn consume(&mut self, count: usize) {
        self.consumed += count as u64;
        self.reader.consume(count);
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buf)?;
        self.consume(count);
        Ok(count)
    }
}

/// The image that comes out, written a piece at a time.
struct Sink<'a, 'p> {
    to: &'a File,
    limit: u64,
    /// How many bytes went to the file or into a hole; a multiple of [`PIECE`] until the end.
    len: u64,
    written: u64,
    piece: Vec<u8>,
    /// Length of the compressed file, in bytes.
    total: u64,
    progress: &'a mut Progress<'p>,
}

impl Sink<'_, '_> {
    fn len(&self) -> u64 {
        self.len + self.piece.len() as u64
    }

    fn check_limit(&self, more: u64) -> Result<()> {
        match self.len().checked_add(more) {
            Some(len) if len <= self.limit => Ok(()),
            _ => Err(Error::Unsupported(format!("image of more than {} bytes", self.limit))),
        }
    }

    fn push(&mut self, mut bytes: &[u8], consumed: u64) -> Result<()> {
        self.check_limit(bytes.len() as u64)?;
        while !bytes.is_empty() {
            let count = bytes.len().min(PIECE - self.piece.len());
            let (now, later) = bytes.split_at(count);
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() == PIECE {
                self.flush()?;
                report_progress(self.progress, consumed, self.total)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let outcome = write_skipping_zeros(self.to, self.len, &self.piece);
        self.written += outcome.map_err(|e| self.write_error(e))?;
        self.len += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Unpacked> {
        self.flush()?;
        // A hole at the end is no write: the length has to be set.
        self.to.set_len(self.len).map_err(|e| self.write_error(e))?;
        report_progress(self.progress, self.total, self.total)?;
        Ok(Unpacked { len: self.len, bytes_written: self.written })
    }

    fn write_error(&self, error: io::Error) -> Error {
        host::write_error(self.to, &format!("unpacked {} bytes so far", self.len), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compression_is_known_by_its_magic_and_refused_by_its_name() {
        let found = |first: &[u8]| match Compression::detect(first) {
            Ok(found) => found.map_or("none", Compression::name).to_string(),
            Err(error) => error.to_string(),
        };
        for (first, expected) in [
            (&b"\x28\xb5\x2f\xfd\x04"[..], "zstd"),
            (b"\x5f\x2a\x4d\x18", "zstd"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"\xfd7zXZ\0", "xz"),
            (b"BZh9", "bzip2 is not unpacked here, only zstd, gzip and xz are"),
            (b"\x04\x22\x4d\x18", "lz4 is not unpacked here, only zstd, gzip and xz are"),
            (b"PK\x03\x04", "a zip archive is not unpacked here, only zstd, gzip and xz are"),
            (b"\xeb\x63\x90", "none"),
            (b"\x1f", "none"),
            (b"", "none"),
        ] {
            assert_eq!(found(first), expected, "{first:x?}");
        }
    }
}
