//! Where what is copied out of an image goes, with its own errors.

use std::io::{self, Write};

/// Keeps the error of what is written to apart from those of what is read.
pub(super) struct Watched<'a> {
    out: &'a mut dyn Write,
    error: Option<io::Error>,
}

impl<'a> Watched<'a> {
    /// Write to `out`.
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, error: None }
    }

    /// What went wrong with writing.
    pub(super) fn error(self) -> Option<io::Error> {
        self.error
    }
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.error = Some(error);
            }
            kind.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
