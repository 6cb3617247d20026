//! Filling a FAT whose image nobody else has yet: edits go out as they come, so that a file of any length takes one walk
//! along its chain, and memory for a few blocks.
//!
//! Elsewhere an edit is a value, which is written once it is whole. An image under a temporary name needs no such care.

use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use super::disk::Spill;
use super::{Fs, components, describe, directory, is_a_directory, with_fatfs};
use crate::changes::Changes;
use crate::error::{Error, Result};

use super::clock;

impl Fs<'_> {
    /// All edits so far, at offsets of the image. They have to be written before anything else is asked of `self`, which
    /// then goes on with what is there.
    pub fn take_changes(&mut self) -> Result<Changes> {
        self.overlay.take_changes().map_err(|e| Error::io("FAT", e))
    }

    /// Add what `next` gives, piece by piece until there is none, to the end of the file at `path`, at `now` in seconds
    /// since 1970. What changes is given to `write`, with its offset in the image, before this ends: at most a few MiB
    /// are held. Edits that were made before have to be [taken](Self::take_changes) and written.
    ///
    /// # Errors
    /// [`Error::NoSpace`], those of `next` and `write`; part of the content may be in the file.
    pub fn append_through(
        &mut self,
        path: &Path,
        now: u64,
        next: &mut dyn FnMut() -> Result<Option<Vec<u8>>>,
        write: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> Result<()> {
        if !self.overlay.is_empty() {
            // They would hide what is written below them.
            return Err(Error::Unsupported("edits of a FAT that are not written yet".into()));
        }
        self.check_clean()?;
        let names = components(path)?;
        let Some((name, parents)) = names.split_last() else {
            return Err(describe(path, is_a_directory()));
        };
        let (mut failed, mut unwritten) = (None, None);
        let mut write = |offset, bytes: &[u8]| {
            write(offset, bytes).map_err(|error| {
                let kind = error.kind();
                unwritten = Some(Error::io(format!("writing at byte {offset}"), error));
                kind.into()
            })
        };
        let mut device = self.overlay.device_through(Spill::new(&mut write));
        let outcome = clock::at(now, || {
            with_fatfs(&mut device, |fs| {
                let mut file = directory(fs, parents)?.open_file(name)?;
                file.seek(SeekFrom::End(0))?;
                loop {
                    match next() {
                        Ok(Some(bytes)) => file.write_all(&bytes)?,
                        Ok(None) => break file.flush(),
                        Err(error) => {
                            failed = Some(error);
                            break Err(io::ErrorKind::Other.into());
                        }
                    }
                }
            })
        });
        let outcome = outcome.and_then(|()| device.spill());
        drop(device);
        match failed.or(unwritten) {
            Some(error) => Err(error),
            None => outcome.map_err(|e| describe(path, e)),
        }
    }
}
