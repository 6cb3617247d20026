//! The image in the making: a file that appears under its name when it is whole ([`Staged`]), written at any offset.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use imgfmt::Error;
use imgfmt::ext::mkfs::Target;

use crate::commands::image::open;
use crate::failure::{Failure, Result, plain};
use crate::interrupt;
use crate::newfile::{Existing, Staged, cannot_write, directory_of, there};

/// Where an image will be.
pub(super) struct Place {
    target: PathBuf,
    existing: Existing,
}

/// A file that is being filled.
pub(super) struct Output {
    place: Place,
    staged: Staged,
    /// Where what is written begins, in bytes.
    pub(super) start: u64,
}

impl Output {
    /// Look whether `target` can be made.
    ///
    /// # Errors
    /// Where something of that name is there and is not to be replaced, or is no file.
    pub(super) fn beside(target: &Path, force: bool) -> Result<Place> {
        let shown = target.display();
        match fs::symlink_metadata(target) {
            Ok(meta) if !meta.is_file() => {
                return Err(Failure::new(format!("`{shown}` is there, and is no file"))
                    .hint("choose another name with `-o`"));
            }
            Ok(_) if !force => return Err(there(target)),
            Ok(_) => open::check_idle(target)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::host("cannot look at", target, &error)),
        }
        if target.file_name().is_none() {
            return Err(Failure::new(format!("`{shown}` is no name of a file")));
        }
        let existing = if force { Existing::Replace } else { Existing::Keep };
        Ok(Place { target: target.to_owned(), existing })
    }

    /// Make it so long that a volume of `len` bytes fits from here on.
    pub(super) fn reach(&mut self, len: u64) -> Result<()> {
        let end = self.start + len;
        let file = self.staged.file();
        let reached = file.metadata().and_then(|meta| match meta.len() < end {
            true => file.set_len(end),
            false => Ok(()),
        });
        reached.map_err(|e| cannot_write(&self.place.target, &e))
    }

    /// The file, to be read and written.
    pub(super) fn file(&self) -> &File {
        self.staged.file()
    }

    /// End it: `len` bytes, synced, under its name.
    pub(super) fn publish(self, len: u64) -> Result<()> {
        let Place { target, existing } = self.place;
        self.staged.file().set_len(len).map_err(|e| cannot_write(&target, &e))?;
        self.staged.publish(existing)
    }
}

impl Place {
    /// The directory that the image will lie in.
    pub(super) fn directory(&self) -> &Path {
        directory_of(&self.target)
    }

    /// Begin, with a file of this mode, of which the umask takes its share.
    pub(super) fn create(self, mode: u32) -> Result<Output> {
        let staged = Staged::with_mode(&self.target, mode)?;
        Ok(Output { place: self, staged, start: 0 })
    }
}

impl Target for Output {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if interrupt::asked() {
            return Err(io::Error::other(Error::Stopped));
        }
        self.staged.write_all_at(bytes, self.start + offset)
    }
}

/// What went wrong with what is written.
pub(super) fn failure(error: &Error) -> Failure {
    if interrupt::asked() {
        return Failure::Interrupted { edited: Vec::new() };
    }
    match error {
        Error::Stopped => Failure::Interrupted { edited: Vec::new() },
        Error::NoSpace(what) => Failure::new(format!("it does not fit: {what}"))
            .hint("give it more room with `--size`; `--size auto` takes what it needs"),
        Error::Io { source, .. } => {
            let failed = Failure::new(format!("cannot write the image: {}", plain(source)));
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    failed.hint("make room on the host, or choose another place with `-o`")
                }
                _ => failed,
            }
        }
        _ => Failure::new(error.to_string()),
    }
}
