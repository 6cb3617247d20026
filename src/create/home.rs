//! What a domain has written, brought back to its user: into a directory that is opened and written with the user's own
//! rights. Each file is there whole or not at all.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use imgfmt::{Image, copy};
use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};

use super::caller::Caller;
use super::walk;
use crate::domain::value::FileName;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::newfile::{PARTIAL, partial_prefix};
use crate::progress::Progress;

/// Bring `names` out of the directory `from`, which is root's, into `to`.
///
/// # Errors
/// Where `to` is reached through a link, or the user may not write there.
pub(super) fn bring(
    from: &Path,
    names: &[FileName],
    to: &Path,
    caller: &Caller,
    progress: Progress,
) -> Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    for name in names {
        let path = from.join(name.as_str());
        let file = File::open(&path).map_err(|e| Failure::host("cannot read", &path, &e))?;
        let image = Image::of_file(file, &path)
            .map_err(|e| Failure::new(format!("cannot read `{}`: {e}", path.display())))?;
        images.push((name.clone(), image));
    }
    caller.with_rights(|| {
        let directory = walk::straight(to)?;
        let mut brought = Vec::new();
        for (name, image) in &images {
            one(&directory, to, name, image, progress)?;
            brought.push(to.join(name.as_str()));
        }
        rustix::fs::fsync(reopened(&directory, to)?)
            .map_err(|e| Failure::host("cannot sync", to, &e.into()))?;
        Ok(brought)
    })
}

fn one(
    directory: &OwnedFd,
    to: &Path,
    name: &FileName,
    image: &Image,
    progress: Progress,
) -> Result<()> {
    let target = to.join(name.as_str());
    let fail = |e: rustix::io::Errno| Failure::host("cannot write", &target, &e.into());
    let mut partial = partial_prefix(name.as_str().as_ref());
    partial.push(format!("{:08x}{PARTIAL}", std::process::id()));
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(directory, &partial, flags, Mode::RUSR | Mode::WUSR).map_err(fail)?;
    let file = File::from(file);
    let bar = progress.bar("bring home");
    let copied = copy::copy_sparse(image, &file, &mut |done, total| bar.step(done, total));
    let whole = match copied {
        Ok(_) => file.sync_all().map_err(|e| Failure::host("cannot write", &target, &e)),
        Err(e) => interrupt::check()
            .and_then(|()| Err(Failure::new(format!("cannot write `{}`: {e}", target.display())))),
    };
    let named =
        whole.and_then(|()| renameat(directory, &partial, directory, name.as_str()).map_err(fail));
    if named.is_err() {
        let _ = unlinkat(directory, &partial, AtFlags::empty());
    }
    named
}

/// A directory that was opened by its path alone, opened for a sync.
fn reopened(directory: &OwnedFd, to: &Path) -> Result<OwnedFd> {
    openat(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Failure::host("cannot open", to, &e.into()))
}
