//! Compressed streams, unpacked while they are read: from a file or from a pipe.
//!
//! Formats are told by their first bytes ([`Compression::detect`]). Members of gzip, frames of zstd and streams of xz that
//! follow one another are one stream. [`compressed`](crate::compressed) does the same for whole images, which become sparse
//! files; a stream has no such target, so it is pulled through here.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::entry::from_io;
use crate::compressed::{Compression, MAX_WINDOW};
use crate::error::{Error, Result};

/// Bytes that are read at once, and unpacked at once.
const PIECE: usize = 256 << 10;
/// Bytes that are read to tell the format. Whoever asks for as many again gets them without a copy.
const FIRST: usize = 64 << 10;

type Packed<'a> = BufReader<Box<dyn Read + 'a>>;

/// What `from` yields, unpacked where it is compressed.
///
/// # Errors
/// [`Error::Unsupported`] for a compression that is not unpacked here, by its name; [`Error::Io`]. Damage is found while
/// reading: [`from_io`] makes [`Error::Archive`] of it again.
pub fn unpack<'a>(from: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    let mut from: Packed<'a> = BufReader::with_capacity(FIRST, Box::new(from));
    let mut first = Vec::new();
    // A pipe may hand out its first bytes one by one.
    (&mut from).take(6).read_to_end(&mut first).map_err(from_io)?;
    let compression = Compression::detect(&first)?;
    let whole = io::Cursor::new(first).chain(from);
    let Some(compression) = compression else {
        // Whoever reads it has a buffer of their own.
        return Ok(Box::new(whole));
    };
    let packed: Packed<'a> = BufReader::with_capacity(PIECE, Box::new(whole));
    Ok(match compression {
        Compression::Gzip => Box::new(Gzip(Member::Between(packed))),
        Compression::Zstd => Box::new(Zstd::new(packed)),
        Compression::Xz => Box::new(Xz::new(packed)),
    })
}

/// An error of a decoder: `what` and the format, or that the stream is too short.
fn damaged(name: &str, error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            io::Error::other(Error::Archive(format!("{name} stream is cut short")))
        }
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            io::Error::other(Error::Archive(format!("{name} stream: {error}")))
        }
        _ => error,
    }
}

struct Gzip<'a>(Member<'a>);

enum Member<'a> {
    Between(Packed<'a>),
    Within(GzDecoder<Packed<'a>>),
    End,
}

impl Read for Gzip<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(&mut self.0, Member::End) {
                Member::End => return Ok(0),
                // Archives on tapes are padded with zeros, which gzip(1) leaves out too.
                Member::Between(mut packed) => {
                    if skip_zeros(&mut packed)? {
                        self.0 = Member::Within(GzDecoder::new(packed));
                    }
                }
                Member::Within(mut member) => {
                    let count = member.read(buf).map_err(|error| damaged("gzip", error))?;
                    if count > 0 || buf.is_empty() {
                        self.0 = Member::Within(member);
                        return Ok(count);
                    }
                    self.0 = Member::Between(member.into_inner());
                }
            }
        }
    }
}

/// Whether anything but zeros is left.
fn skip_zeros(packed: &mut Packed<'_>) -> io::Result<bool> {
    loop {
        let bytes = packed.fill_buf()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        if zeros < bytes.len() {
            packed.consume(zeros);
            return Ok(true);
        }
        if bytes.is_empty() {
            return Ok(false);
        }
        packed.consume(zeros);
    }
}

struct Xz<'a>(XzReader<Packed<'a>>);

impl<'a> Xz<'a> {
    fn new(packed: Packed<'a>) -> Self {
        // The decoder needs some room beside the dictionary, about 100 KiB.
        let limit = u32::try_from((MAX_WINDOW >> 10) + 1024).expect("129 MiB in KiB");
        Self(XzReader::new_mem_limit(packed, true, limit))
    }
}

impl Read for Xz<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf).map_err(|error| match error.kind() {
            // Only xz has a limit of memory.
            io::ErrorKind::OutOfMemory => io::Error::other(Error::Unsupported(format!(
                "xz dictionary of more than {MAX_WINDOW} bytes"
            ))),
            _ => damaged("xz", error),
        })
    }
}

struct Zstd<'a> {
    packed: Packed<'a>,
    decoder: FrameDecoder,
    within: bool,
    /// Bytes that came out of this frame.
    len: u64,
}

impl<'a> Zstd<'a> {
    fn new(packed: Packed<'a>) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW);
        Self { packed, decoder, within: false, len: 0 }
    }

    /// Go to the next frame that has content. False where there is none.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.packed.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.packed) {
                Ok(()) => {
                    (self.within, self.len) = (true, 0);
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let skipped = io::copy(&mut (&mut self.packed).take(length), &mut io::sink())?;
                    if skipped < length {
                        return Err(zstd_error("is cut short"));
                    }
                }
                Err(FrameDecoderError::WindowSizeTooBig { requested, max }) => {
                    return Err(io::Error::other(Error::Unsupported(format!(
                        "zstd window of {requested} bytes, more than {max}"
                    ))));
                }
                Err(error) => return Err(zstd_cause(&error)),
            }
        }
        Ok(false)
    }

    /// The decoder computes both, but it compares neither. A length of 0 stands for one that is not declared, too.
    fn check_frame(&self) -> io::Result<()> {
        let declared = self.decoder.content_size();
        if declared != 0 && declared != self.len {
            return Err(zstd_error("has a frame of another length than it declares"));
        }
        match (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum()) {
            (Some(stored), Some(computed)) if stored != computed => {
                Err(zstd_error("has a frame whose checksum does not match"))
            }
            _ => Ok(()),
        }
    }
}

impl Read for Zstd<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.within && !self.next_frame()? {
                return Ok(0);
            }
            if self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let strategy = BlockDecodingStrategy::UptoBytes(PIECE);
                let decoded = self.decoder.decode_blocks(&mut self.packed, strategy);
                decoded.map_err(|error| zstd_cause(&error))?;
            }
            let count = self.decoder.read(buf)?;
            self.len += count as u64;
            if self.decoder.is_finished() && self.decoder.can_collect() == 0 {
                self.check_frame()?;
                self.within = false;
            }
            if count > 0 {
                return Ok(count);
            }
        }
    }
}

fn zstd_error(what: &str) -> io::Error {
    io::Error::other(Error::Archive(format!("zstd stream {what}")))
}

/// The innermost cause: the outer ones of ruzstd wrap it in Rust's notation for programmers.
fn zstd_cause(error: &(dyn std::error::Error + 'static)) -> io::Error {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match cause.downcast_ref::<io::Error>() {
        Some(io) if io.kind() == io::ErrorKind::UnexpectedEof => zstd_error("is cut short"),
        Some(io) => io::Error::new(io.kind(), io.to_string()),
        None => io::Error::other(Error::Archive(format!("zstd stream: {cause}"))),
    }
}
