//! The undo file beside an image: where it stands, how it comes and goes.
//!
//! For `disk.img` it is `disk.img.autoxen-undo`, in the directory of the file that a symbolic link leads to. It appears
//! whole, by a rename, after its bytes are on the disk, and the directory is synced before the image is touched: so a
//! file of that name that is not whole is no remnant of ours, and is left alone. A process that is killed before the rename
//! leaves a file `disk.img.autoxen-undo.XXXXXX`, which nobody reads.
//!
//! The bytes in it are written into the image. So it must belong to whoever may write to the image anyway: its owner, or
//! who opens it.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::host;
use crate::undo::{LEN_MAX, MAGIC, Undo};

const SUFFIX: &str = ".autoxen-undo";

/// Where the undo file of `image` stands, if there is one or not. `None` where `path` no longer leads to `image`.
fn place(image: &File, path: &Path) -> Result<Option<PathBuf>> {
    let opened = image.metadata().map_err(|e| at(path, e))?;
    let Ok(mut place) = path.canonicalize() else { return Ok(None) };
    let is_same = |found: Metadata| (found.dev(), found.ino()) == (opened.dev(), opened.ino());
    if !place.symlink_metadata().is_ok_and(is_same) {
        return Ok(None);
    }
    let Some(name) = place.file_name() else { return Ok(None) };
    let mut name = name.to_owned();
    name.push(SUFFIX);
    place.set_file_name(name);
    Ok(Some(place))
}

/// The undo file of an image that was opened by `path`, if an edit of it was interrupted: its path, and what it says.
///
/// # Errors
/// [`Error::ForeignUndo`] where something else has its name.
pub(crate) fn find(image: &File, path: &Path) -> Result<Option<(PathBuf, Undo)>> {
    let Some(place) = place(image, path)? else { return Ok(None) };
    let found = match place.symlink_metadata() {
        Ok(found) => found,
        Err(e) if e.kind() == ErrorKind::NotFound || is_too_long(&e) => return Ok(None),
        Err(e) => return Err(at(&place, e)),
    };
    let foreign = |what: &str| Error::ForeignUndo { path: place.clone(), what: what.to_owned() };
    if !found.is_file() {
        return Err(foreign("it is not a regular file"));
    }
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(&place);
    let file = file.map_err(|e| at(&place, e))?;
    let found = file.metadata().map_err(|e| at(&place, e))?;
    let owner = image.metadata().map_err(|e| at(path, e))?.uid();
    let us = rustix::process::geteuid().as_raw();
    if ![owner, us, 0].contains(&found.uid()) || found.mode() & 0o022 != 0 {
        return Err(foreign("it may be written by others than the owner of the image"));
    }
    if found.len() > LEN_MAX {
        return Err(foreign("it is too large"));
    }
    let mut bytes = Vec::new();
    // Something else of that name may be large.
    let magic = (&file).take(MAGIC.len() as u64).read_to_end(&mut bytes);
    magic.map_err(|e| at(&place, e))?;
    if bytes == MAGIC {
        file.take(LEN_MAX).read_to_end(&mut bytes).map_err(|e| at(&place, e))?;
    }
    let undo = Undo::decode(&bytes).map_err(foreign)?;
    Ok(Some((place, undo)))
}

/// An undo file that is to be.
#[derive(Debug)]
pub(crate) struct Place(PathBuf);

impl Place {
    /// Where the undo file of `image` can stand.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where it would not be found again.
    pub(crate) fn new(image: &File, path: &Path) -> Result<Self> {
        let found = image.metadata().map_err(|e| at(path, e))?;
        if found.nlink() > 1 {
            return Err(Error::Unsupported(format!(
                "`{}`: an edit in place without a journal, of an image with {} names (hard links)",
                path.display(),
                found.nlink()
            )));
        }
        let place = place(image, path)?.ok_or_else(|| {
            Error::Busy(format!("`{}`: it was moved while it was open", path.display()))
        })?;
        let mut longest = place.clone().into_os_string();
        longest.push(".XXXXXX");
        if Path::new(&longest).symlink_metadata().is_err_and(|e| is_too_long(&e)) {
            return Err(Error::Unsupported(format!(
                "`{}`: an edit in place without a journal, of an image whose name is too long to have an undo file \
                 beside it",
                path.display()
            )));
        }
        Ok(Self(place))
    }

    /// Have it there, whole.
    ///
    /// # Errors
    /// [`Error::HostFull`]; [`Error::ForeignUndo`] where something has that name. There is no undo file then.
    pub(crate) fn keep(&self, undo: &[u8]) -> Result<()> {
        let directory = self.directory();
        let mut prefix = OsString::from(self.0.file_name().expect("it has a name"));
        prefix.push(".");
        let mut file = tempfile::Builder::new()
            .prefix(&prefix)
            .tempfile_in(directory)
            .map_err(|e| at(&self.0, e))?;
        let written = file.write_all(undo).and_then(|()| file.as_file().sync_all());
        written.map_err(|e| host::write_error(file.as_file(), "undo file", e))?;
        file.persist_noclobber(&self.0).map_err(|e| match e.error.kind() {
            ErrorKind::AlreadyExists => Error::ForeignUndo {
                path: self.0.clone(),
                what: "it appeared meanwhile".to_owned(),
            },
            _ => at(&self.0, e.error),
        })?;
        sync_directory(directory).inspect_err(|_| {
            // Left there it would do no harm: nothing was written that it could roll back.
            let _gone = std::fs::remove_file(&self.0);
        })
    }

    /// Take it away.
    pub(crate) fn remove(&self) -> Result<()> {
        remove(&self.0)
    }

    fn directory(&self) -> &Path {
        self.0.parent().expect("a canonical path of a file has a parent")
    }
}

/// Take an undo file away.
pub(crate) fn remove(place: &Path) -> Result<()> {
    std::fs::remove_file(place).map_err(|e| at(place, e))?;
    sync_directory(place.parent().expect("a canonical path of a file has a parent"))
}

/// Whether no file can have the name, so that none has.
fn is_too_long(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::InvalidFilename
}

fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(|e| at(directory, e))
}

fn at(path: &Path, error: std::io::Error) -> Error {
    match host::is_full(&error) {
        true => Error::HostFull(format!("`{}`", path.display())),
        false => Error::io(format!("`{}`", path.display()), error),
    }
}
