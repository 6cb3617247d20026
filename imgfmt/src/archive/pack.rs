//! A stream that is compressed while it is written.
//!
//! The same bytes give the same stream, whatever the machine: gzip without name or time, xz in blocks of 24 MiB that
//! several threads compress, zstd in frames of 4 MiB.
//!
//! ```text
//! frame of 4 MiB | frame of 4 MiB | … | frame of what is left      zstd: any tool reads frames that follow one another
//! ```

use std::io::{self, Write};
use std::num::NonZeroU64;

use flate2::write::GzEncoder;
use lzma_rust2::{XzOptions, XzWriterMt};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::compressed::Compression;

/// What becomes one frame of zstd, in bytes.
const FRAME: usize = 4 << 20;
/// What becomes one block of xz, in bytes: three times the dictionary, as `xz -6 -T0` has it.
const XZ_BLOCK: u64 = 24 << 20;
/// The preset of `xz` and of `gzip` without options.
const LEVEL: u32 = 6;

/// Compresses what is written to it. It is whole only when [`finish`](Self::finish) has returned.
pub struct Packer<W: Write>(Form<W>);

enum Form<W: Write> {
    Plain(W),
    Gzip(GzEncoder<W>),
    Zstd { to: W, frame: Vec<u8>, is_empty: bool },
    Xz(Box<XzWriterMt<W>>),
}

impl<W: Write> Packer<W> {
    /// Write to `to` with this compression, or as it is.
    ///
    /// # Errors
    /// Those of `to`, and where no thread can be had.
    pub fn new(to: W, compression: Option<Compression>) -> io::Result<Self> {
        Ok(Self(match compression {
            None => Form::Plain(to),
            Some(Compression::Gzip) => {
                Form::Gzip(GzEncoder::new(to, flate2::Compression::new(LEVEL)))
            }
            Some(Compression::Zstd) => {
                Form::Zstd { to, frame: Vec::with_capacity(FRAME), is_empty: true }
            }
            Some(Compression::Xz) => {
                let mut options = XzOptions::with_preset(LEVEL);
                options.set_block_size(NonZeroU64::new(XZ_BLOCK));
                let threads = std::thread::available_parallelism().map_or(1, usize::from);
                let threads = u32::try_from(threads).unwrap_or(1);
                Form::Xz(Box::new(XzWriterMt::new(to, options, threads)?))
            }
        }))
    }

    /// Write what is left and the end of the stream.
    ///
    /// # Errors
    /// Those of the target.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Form::Plain(mut to) => to.flush().map(|()| to),
            Form::Gzip(encoder) => encoder.finish(),
            Form::Zstd { mut to, frame, is_empty } => {
                if is_empty || !frame.is_empty() {
                    to.write_all(&compress_to_vec(&frame[..], CompressionLevel::Fastest))?;
                }
                to.flush().map(|()| to)
            }
            Form::Xz(writer) => writer.finish(),
        }
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Form::Plain(to) => to.write(bytes),
            Form::Gzip(encoder) => encoder.write(bytes),
            Form::Zstd { to, frame, is_empty } => {
                let count = bytes.len().min(FRAME - frame.len());
                frame.extend_from_slice(&bytes[..count]);
                if frame.len() == FRAME {
                    to.write_all(&compress_to_vec(&frame[..], CompressionLevel::Fastest))?;
                    frame.clear();
                    *is_empty = false;
                }
                Ok(count)
            }
            Form::Xz(writer) => writer.write(bytes),
        }
    }

    /// Frames and blocks end where they are full, not here.
    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Form::Plain(to) => to.flush(),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::archive::unpack;

    #[test]
    fn what_was_packed_comes_out_again() {
        // Past one frame of zstd, with runs, repetitions and noise.
        let mut bytes = vec![0; 3 << 20];
        let mut seed = 1_u32;
        for index in 0..(1 << 20) + 5 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.push(if index % 3 == 0 { seed.to_le_bytes()[3] } else { b'a' });
        }
        for compression in
            [None, Some(Compression::Gzip), Some(Compression::Zstd), Some(Compression::Xz)]
        {
            for bytes in [&bytes[..], &bytes[..FRAME], &[]] {
                let mut packer = Packer::new(Vec::new(), compression).expect("begun");
                packer.write_all(bytes).expect("packed");
                let packed = packer.finish().expect("ended");
                let found = Compression::detect(&packed).expect("known");
                assert_eq!(found, compression);
                let mut out = Vec::new();
                unpack(&packed[..]).expect("known").read_to_end(&mut out).expect("sound");
                assert!(out == bytes, "{compression:?} of {} bytes", bytes.len());
            }
        }
    }
}
