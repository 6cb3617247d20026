//! What goes to the target, gathered: writes that follow one another become one.
//!
//! ```text
//! 4096 bytes at 8192, 600 at 12288, zeros to 16384 …  ─▶  one buffer of 256 KiB  ─▶  target
//! ```
//! Writes reach the target in their order. What is still here when it is dropped is lost: [`Buffer::flush`] writes it.

use crate::archive::Content;
use crate::error::{Error, Result};
use crate::ext::mkfs::target::Target;

/// Bytes that are written at once. Small enough to be in the processor's cache still when the host copies them.
const LEN: usize = 256 << 10;

/// A target, and what waits to be written to it.
pub(super) struct Buffer<'a> {
    target: &'a mut dyn Target,
    /// Where the first byte that waits belongs, in bytes.
    start: u64,
    /// Always as long as it gets; what was there before is overwritten.
    bytes: Vec<u8>,
    /// How many wait.
    len: usize,
}

impl<'a> Buffer<'a> {
    /// Nothing waits yet.
    pub(super) fn new(target: &'a mut dyn Target) -> Self {
        Self { target, start: 0, bytes: Vec::new(), len: 0 }
    }

    /// Write what waits.
    pub(super) fn flush(&mut self) -> Result<()> {
        if self.len > 0 {
            let written = self.target.write_at(self.start, &self.bytes[..self.len]);
            written.map_err(|e| Error::io(format!("writing at byte {}", self.start), e))?;
        }
        self.start += self.len as u64;
        self.len = 0;
        Ok(())
    }

    /// What comes next belongs to `offset`.
    pub(super) fn seek(&mut self, offset: u64) -> Result<()> {
        if self.start + self.len as u64 != offset {
            self.flush()?;
            self.start = offset;
        }
        Ok(())
    }

    /// Write `bytes` at `offset`.
    pub(super) fn write(&mut self, offset: u64, mut bytes: &[u8]) -> Result<()> {
        self.seek(offset)?;
        while !bytes.is_empty() {
            let room = self.room()?;
            let count = bytes.len().min(room.len());
            room[..count].copy_from_slice(&bytes[..count]);
            self.len += count;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// `len` bytes of content, or of zeros, behind what came last.
    pub(super) fn append(
        &mut self,
        mut len: u64,
        mut content: Option<&mut Content<'_>>,
    ) -> Result<()> {
        while len > 0 {
            let room = self.room()?;
            let count = usize::try_from(len).map_or(room.len(), |len| len.min(room.len()));
            match content.as_deref_mut() {
                None => room[..count].fill(0),
                Some(content) => {
                    if content.read(&mut room[..count])? < count {
                        return Err(Error::Archive(
                            "content is shorter than its entry says".into(),
                        ));
                    }
                }
            }
            self.len += count;
            len -= count as u64;
        }
        Ok(())
    }

    /// Where the next bytes go: never nothing.
    fn room(&mut self) -> Result<&mut [u8]> {
        if self.len == LEN {
            self.flush()?;
        }
        self.bytes.resize(LEN, 0);
        Ok(&mut self.bytes[self.len..])
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffer, LEN};
    use crate::ext::mkfs::target::Target;

    /// Remembers where each write began, and how long it was.
    #[derive(Default)]
    struct Written(Vec<(u64, usize)>);

    impl Target for Written {
        fn write_at(&mut self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
            self.0.push((offset, bytes.len()));
            Ok(())
        }
    }

    #[test]
    fn what_follows_goes_out_together_and_all_in_its_order() {
        let mut written = Written::default();
        let mut buffer = Buffer::new(&mut written);
        for (offset, len) in [(8, 4), (12, 4), (4, 4), (8, LEN), (0, 1)] {
            buffer.write(offset, &vec![1; len]).expect("memory");
        }
        buffer.flush().expect("memory");
        buffer.flush().expect("nothing");
        // The third begins before the second; with the fourth it is 4 bytes more than a buffer.
        assert_eq!(written.0, [(8, 8), (4, LEN), (4 + LEN as u64, 4), (0, 1)]);
    }

    #[test]
    fn bytes_arrive_where_they_belong() {
        let mut bytes = vec![9; 10];
        let mut buffer = Buffer::new(&mut bytes);
        buffer.write(2, b"ab").expect("memory");
        buffer.append(2, None).expect("zeros");
        buffer.write(6, b"c").expect("memory");
        buffer.flush().expect("memory");
        assert_eq!(bytes, *b"\x09\x09ab\0\0c\x09\x09\x09");
    }
}
