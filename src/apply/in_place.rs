//! Edits of images where they lie, the last step before a bundle gets its name: all images are locked for it, then each is
//! edited whole or not at all, one after another.
//!
//! An image was looked at under a shared lock, and has to be the same file with the same bytes once the exclusive one is
//! had; else nothing is written.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use imgfmt::{ImageMut, InPlace};
use rustix::fs::{Access, AtFlags, CWD};

use super::edits::{DiskEdits, Write, failure};
use crate::facts::gather::Gathered;
use crate::failure::{Failure, Result, plain};
use crate::interrupt;
use crate::plan::{Guard, Plan, Source};

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
            "enlarge the file system with `truncate` and `resize2fs`, or remove files in it; where it is the journal \
             that is too small, leave out --in-place",
        ),
        // What no copy could have either was refused when the image was looked at.
        imgfmt::Error::Unsupported(_) => {
            failure.hint("leave out --in-place: then a copy is edited, unless that says the same")
        }
        imgfmt::Error::Io { .. } => {
            failure.hint("an edit that is half done is brought to an end when the image is opened next")
        }
        _ => failure,
    }
}

/// Whether the process may use `path` so; the host's words where not.
fn may(path: &Path, access: Access) -> std::result::Result<(), String> {
    rustix::fs::accessat(CWD, path, access, AtFlags::EACCESS).map_err(|e| plain(&e.into()))
}

/// Edit all images that are edited where they lie; their paths. Long work is behind us: what is left takes moments.
///
/// # Errors
/// Where an image cannot be locked or is not as it was looked at, before anything is written. Later ones say which images
/// are edited already.
pub fn commit(
    plan: &Plan,
    edits: &[DiskEdits<'_>],
    gathered: &mut Gathered,
) -> Result<Vec<PathBuf>> {
    let mut locked: Vec<(&Path, ImageMut, &InPlace)> = Vec::new();
    for (disk, edits) in plan.disks.iter().zip(edits) {
        let (Source::Image(path), Some(changes)) = (&disk.source, &edits.changes) else { continue };
        let Write::InPlace(edit) = &*changes.write else { continue };
        let stock = gathered.stock.remove(path).expect("no image is edited for two disks");
        let image = stock.raw.into_mut().map_err(|e| refused(path, &e))?;
        locked.push((path, image, edit));
    }
    interrupt::check()?;
    let mut done: Vec<PathBuf> = Vec::new();
    for (path, mut image, edit) in locked {
        if !done.is_empty() && interrupt::asked() {
            return Err(Failure::Interrupted { edited: done });
        }
        image.commit_in_place(edit).map_err(|e| refused(path, &e).after_edits(&done))?;
        done.push(path.to_owned());
    }
    Ok(done)
}
