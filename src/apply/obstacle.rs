//! What stands in the way of an image that is to be written, and the way out, in words.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};

use crate::facts::words::{about, hint};
use crate::failure::{Failure, Result, plain};
use crate::plan::Guard;

/// Why an image cannot be written to where it lies. Nothing is opened to know it.
#[derive(Debug)]
pub(crate) enum Obstacle {
    /// Nobody may. Root could, but somebody meant it to stay as it is.
    ReadOnly,
    /// We may not: the host's words.
    Denied(String),
    /// It has several names, and an undo file stands beside one.
    Names(u64),
    /// Its directory takes no undo file: the host's words.
    NoUndo(PathBuf, String),
}

impl Obstacle {
    /// What keeps us from writing to the image at `path`. One that is missing is told by whoever opens it.
    pub(crate) fn to_writing(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        if found.is_file() && found.permissions().mode() & 0o222 == 0 {
            return Some(Self::ReadOnly);
        }
        may(path, Access::WRITE_OK).err().map(Self::Denied)
    }

    /// What keeps us from having an undo file beside it.
    pub(crate) fn to_undo(path: &Path) -> Option<Self> {
        let real = fs::canonicalize(path).ok()?;
        let names = fs::metadata(&real).ok()?.nlink();
        if names > 1 {
            return Some(Self::Names(names));
        }
        let directory = real.parent().expect("a file has a directory");
        let denied = may(directory, Access::WRITE_OK | Access::EXEC_OK).err()?;
        Some(Self::NoUndo(directory.to_owned(), denied))
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadOnly => f.write_str("it is read-only"),
            Self::Denied(why) => f.write_str(why),
            Self::Names(count) => {
                write!(
                    f,
                    "it has {count} names (hard links), and its undo file stands beside one of them"
                )
            }
            Self::NoUndo(directory, why) => {
                write!(f, "no undo file can stand in `{}`: {why}", directory.display())
            }
        }
    }
}

/// The image at `path` may be written to, and an undo file can stand beside it where one is needed.
///
/// # Errors
/// Where its owner, its directory or its file system does not let us.
pub(super) fn check_writable(path: &Path, guard: &Guard) -> Result<()> {
    let undo = || match guard {
        Guard::Undo(_) => Obstacle::to_undo(path),
        Guard::Journal => None,
    };
    let Some(obstacle) = Obstacle::to_writing(path).or_else(undo) else { return Ok(()) };
    let what = format!("image `{}` cannot be edited where it lies: {obstacle}", path.display());
    Err(Failure::new(what).hint(match obstacle {
        Obstacle::ReadOnly => "`chmod u+w` it, or leave out --in-place: then a copy is edited",
        Obstacle::Denied(_) => {
            "leave out --in-place: then a copy is edited; that takes no more than reading"
        }
        Obstacle::Names(_) | Obstacle::NoUndo(..) => "leave out --in-place: then a copy is edited",
    }))
}

/// An error about the image `path` itself, where a copy of it would have another way out.
pub(super) fn refused(path: &Path, error: &imgfmt::Error) -> Failure {
    let failure = failure(path, error);
    match error {
        imgfmt::Error::HostFull(_) => failure.hint("make room there"),
        imgfmt::Error::NoSpace(_) => failure.hint(
            "enlarge the image with `autoxen image grow`, or remove files in it; where it is the journal that is too small, \
             leave out --in-place",
        ),
        // What no copy could have either was refused when the image was looked at.
        imgfmt::Error::Unsupported(_) => {
            failure.hint("leave out --in-place: then a copy is edited, unless that says the same")
        }
        imgfmt::Error::Io { .. } => failure.hint(
            "`autoxen image recover` brings the image back; the same command does, too, and goes on",
        ),
        _ => failure,
    }
}

/// Whether the process may use `path` so; the host's words where not.
fn may(path: &Path, access: Access) -> std::result::Result<(), String> {
    rustix::fs::accessat(CWD, path, access, AtFlags::EACCESS).map_err(|e| plain(&e.into()))
}

/// An error about the image `path`: for a file that is still under its temporary name, the name that it will have.
pub(super) fn failure(path: &Path, error: &imgfmt::Error) -> Failure {
    let what = match error {
        imgfmt::Error::HostFull(_) => {
            format!("no space left on the host for `{}`", path.display())
        }
        imgfmt::Error::Io { source, .. } if source.kind() == io::ErrorKind::FileTooLarge => {
            format!("cannot write `{}`: {}", path.display(), plain(source))
        }
        // It is about what goes into the image, not about the image.
        imgfmt::Error::Archive(what) => what.clone(),
        other => about(path, other),
    };
    Failure::new(what).any_hint(hint(error))
}
