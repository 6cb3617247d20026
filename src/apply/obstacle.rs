//! What stands in the way of an image that is to be written, and the way out, in words.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD};

use crate::facts::words::{about, hint};
use crate::failure::{Failure, Result, plain};
use crate::plan::Guard;

/// The image at `path` may be written to, and an undo file can stand beside it where one is needed. Nothing is opened.
///
/// # Errors
/// Where its owner, its directory or its file system does not let us.
pub(super) fn check_writable(path: &Path, guard: &Guard) -> Result<()> {
    let read_only = |what: String| {
        Failure::new(format!("image `{}` cannot be edited where it lies: {what}", path.display()))
    };
    let found = fs::metadata(path).map_err(|e| Failure::host("cannot read", path, &e))?;
    // Root may write to it, but somebody meant it to stay as it is.
    if found.permissions().mode() & 0o222 == 0 {
        return Err(read_only("it is read-only".into())
            .hint("`chmod u+w` it, or leave out --in-place: then a copy is edited"));
    }
    may(path, Access::WRITE_OK).map_err(|e| {
        read_only(e)
            .hint("leave out --in-place: then a copy is edited; that takes no more than reading")
    })?;
    if let Guard::Undo(file) = guard {
        if found.nlink() > 1 {
            return Err(read_only(format!(
                "it has {} names (hard links), and its undo file stands beside one of them",
                found.nlink()
            ))
            .hint("leave out --in-place: then a copy is edited"));
        }
        let directory = file.parent().expect("an absolute path of a file has a parent");
        may(directory, Access::WRITE_OK | Access::EXEC_OK).map_err(|e| {
            read_only(format!("no undo file can stand in `{}`: {e}", directory.display()))
                .hint("leave out --in-place: then a copy is edited")
        })?;
    }
    Ok(())
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
pub(crate) fn may(path: &Path, access: Access) -> std::result::Result<(), String> {
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
        other => about(path, other),
    };
    Failure::new(what).any_hint(hint(error))
}
