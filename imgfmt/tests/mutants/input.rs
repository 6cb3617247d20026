//! Bytes that decide. Behind their end there are zeros, so that any string is a whole program.

/// A string of bytes, read from the front.
pub(crate) struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    /// All of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether all was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// The next two bytes.
    pub(crate) fn short(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// The next four bytes.
    pub(crate) fn word(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// One of `count`, which is not 0.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        usize::from(self.short()) % count
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (now, rest) = self.bytes.split_at(N.min(self.bytes.len()));
        self.bytes = rest;
        let mut array = [0; N];
        array[..now.len()].copy_from_slice(now);
        array
    }
}
