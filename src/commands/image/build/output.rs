//! The image in the making: a file beside its target under a temporary name, `.NAME.XXXXXX.partial`, that is synced and
//! then renamed. Dropping it removes it; only SIGKILL or a loss of power leaves one behind, safe to remove.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use imgfmt::Error;
use imgfmt::ext::mkfs::Target;
use tempfile::NamedTempFile;

use super::writer::Writer;
use crate::failure::{Failure, Result};
use crate::interrupt;

/// Where an image will be.
pub(super) struct Place {
    target: PathBuf,
    directory: PathBuf,
    force: bool,
}

/// A file that is being filled.
pub(super) struct Output {
    place: Place,
    file: NamedTempFile,
    writer: Writer,
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
            Ok(_) if !force => return Err(exists(target)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::host("cannot look at", target, &error)),
        }
        if target.file_name().is_none() {
            return Err(Failure::new(format!("`{shown}` is no name of a file")));
        }
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = parent.unwrap_or(Path::new(".")).to_owned();
        Ok(Place { target: target.to_owned(), directory, force })
    }

    /// Make it so long that a volume of `len` bytes fits from here on.
    pub(super) fn reach(&mut self, len: u64) -> Result<()> {
        let end = self.start + len;
        let file = self.file.as_file();
        let reached = file.metadata().and_then(|meta| match meta.len() < end {
            true => file.set_len(end),
            false => Ok(()),
        });
        reached.map_err(|e| Failure::host("cannot write", &self.place.target, &e))
    }

    /// The file, to be read and written.
    pub(super) fn file(&mut self) -> io::Result<File> {
        self.writer.wait()?.try_clone()
    }

    /// End it: `len` bytes, synced, under its name.
    pub(super) fn publish(mut self, len: u64) -> Result<()> {
        let Place { target, directory, force } = self.place;
        let fail = |error: &io::Error| Failure::host("cannot write", &target, error);
        self.writer.wait().map_err(|e| fail(&e))?;
        let file = self.file.as_file();
        file.set_len(len).and_then(|()| file.sync_all()).map_err(|e| fail(&e))?;
        interrupt::check()?;
        let renamed = match force {
            true => self.file.persist(&target),
            false => self.file.persist_noclobber(&target),
        };
        match renamed {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(exists(&target));
            }
            Err(error) => return Err(fail(&error.error)),
        }
        File::open(&directory).and_then(|dir| dir.sync_all()).map_err(|e| fail(&e))
    }
}

impl Place {
    /// The directory that the image will lie in.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Begin, with a file of this mode, of which the umask takes its share.
    pub(super) fn create(self, mode: u32) -> Result<Output> {
        let mut prefix = OsString::from(".");
        prefix.push(self.target.file_name().expect("`beside` saw to it"));
        prefix.push(".");
        let file = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(".partial")
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(&self.directory)
            .map_err(|e| Failure::host("cannot write to", &self.directory, &e))?;
        let writer = file.as_file().try_clone().map(Writer::new);
        let writer = writer.map_err(|e| Failure::host("cannot write to", &self.directory, &e))?;
        Ok(Output { place: self, file, writer, start: 0 })
    }
}

impl Target for Output {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if interrupt::asked() {
            return Err(io::Error::other(Error::Stopped));
        }
        self.writer.write(self.start + offset, bytes)
    }

    fn write_buffer(&mut self, offset: u64, buffer: Vec<u8>, len: usize) -> io::Result<Vec<u8>> {
        if interrupt::asked() {
            return Err(io::Error::other(Error::Stopped));
        }
        self.writer.write_buffer(self.start + offset, buffer, len)
    }
}

fn exists(target: &Path) -> Failure {
    Failure::new(format!("`{}` is there already", target.display()))
        .hint("choose another name with `-o`, or replace it with `--force`")
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
        Error::Io { source, .. } => Failure::host("cannot write", Path::new("the image"), source),
        _ => Failure::new(error.to_string()),
    }
}
