//! Where a new file system is written to: a file, memory, a window of either.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Zeros that can be overwritten at any offset. A sparse file stays sparse: what would be zeros is not written.
pub trait Target {
    /// Write all of `bytes` at `offset`.
    ///
    /// # Errors
    /// Those of the host; [`io::ErrorKind::UnexpectedEof`] where there is no such range.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
}

impl Target for File {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }
}

impl Target for Vec<u8> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let room = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get_mut(start..)?.get_mut(..bytes.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        room.copy_from_slice(bytes);
        Ok(())
    }
}

/// A range of a target: a partition.
pub struct Window<'a> {
    target: &'a mut dyn Target,
    start: u64,
    len: u64,
}

impl<'a> Window<'a> {
    /// The `len` bytes from `start` bytes on. That the target has them is for the caller to know.
    pub fn new(target: &'a mut dyn Target, start: u64, len: u64) -> Self {
        Self { target, start, len }
    }
}

impl Target for Window<'_> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match offset.checked_add(bytes.len() as u64) {
            Some(end) if end <= self.len => self.target.write_at(self.start + offset, bytes),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl std::fmt::Debug for Window<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Window")
            .field("start", &self.start)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Target, Window};

    #[test]
    fn nothing_is_written_outside_a_window() {
        let mut bytes = vec![0; 8];
        let mut window = Window::new(&mut bytes, 2, 4);
        window.write_at(3, &[1]).expect("the last byte of it");
        assert!(window.write_at(3, &[2, 2]).is_err());
        assert!(window.write_at(u64::MAX, &[2]).is_err());
        window.write_at(0, &[3]).expect("the first byte of it");
        assert_eq!(bytes, [0, 0, 3, 0, 0, 1, 0, 0]);
    }
}
