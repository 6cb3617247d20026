//! An image, opened to be read or to be edited, with its tree.
//!
//! An edit is one transaction. It is made under a shared lock and written under an exclusive one, in place: through the
//! journal, or, where there is none, with an undo file, unless the user says that the image is a copy which can be made
//! again. Before it is written nothing changes; an error on the way there leaves all as it was.

use std::path::Path;

use imgfmt::in_place::Guard;
use imgfmt::{Changes, Error, Image, InPlace, ext, fat};

use super::open;
use super::recover::check_writable;
use super::select::{Selected, select};
use crate::apply::obstacle::Obstacle;
use crate::epoch;
use crate::failure::{Failure, Result};
use crate::inside::address::ImageName;
use crate::inside::ext::{Ext, failure};
use crate::inside::fat::Fat;
use crate::inside::tree::{Tree, TreeMut};
use crate::interrupt;
use crate::progress::Progress;

/// Whether an edit is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// It is.
    Commit,
    /// It is, with an undo file where the journal has no room for it.
    CommitLarge,
    /// It is, straight to its place, and the host syncs it when it likes: for a copy that can be made again.
    NoSync,
    /// It is made, and then forgotten.
    Forget,
}

/// What is read.
pub(super) enum Read<'t, 'a> {
    /// A file system of the ext family.
    Ext(&'t Ext<'t, ext::Fs<'a>>),
    /// A FAT.
    Fat(&'t Fat<'t, 'a>),
}

/// What is edited.
pub(super) enum Edited<'t, 'n, 'a> {
    /// A file system of the ext family.
    Ext(&'t mut Ext<'n, ext::Transaction<'a>>),
    /// A FAT.
    Fat(&'t mut Fat<'n, 'a>),
}

/// Read in an image, which may be compressed.
pub(super) fn read<R>(name: &ImageName, act: impl FnOnce(&dyn Tree) -> Result<R>) -> Result<R> {
    read_volume(name, Progress::new(false), |read| match read {
        Read::Ext(tree) => act(tree),
        Read::Fat(tree) => act(tree),
    })
}

/// The same, for what wants more than a tree.
pub(super) fn read_volume<R>(
    name: &ImageName,
    progress: Progress,
    act: impl FnOnce(Read<'_, '_>) -> Result<R>,
) -> Result<R> {
    let opened = open::open(&name.file, progress)?;
    let fail = |e| failure(&name.file, &e);
    let selected = select(name, &opened.raw)?;
    let result = within_volume(name, selected, act)?;
    opened.raw.check_unchanged().map_err(fail)?;
    Ok(result)
}

/// Read in a volume of the image that `name` names.
pub(super) fn within<R>(
    name: &ImageName,
    selected: Selected<'_>,
    act: impl FnOnce(&dyn Tree) -> Result<R>,
) -> Result<R> {
    within_volume(name, selected, |read| match read {
        Read::Ext(tree) => act(tree),
        Read::Fat(tree) => act(tree),
    })
}

fn within_volume<R>(
    name: &ImageName,
    selected: Selected<'_>,
    act: impl FnOnce(Read<'_, '_>) -> Result<R>,
) -> Result<R> {
    let fail = |e| failure(&name.file, &e);
    let Selected { volume, is_fat, .. } = selected;
    let shown = shown(name);
    match is_fat {
        true => {
            let fs = fat::Fs::open(volume).map_err(fail)?;
            act(Read::Fat(&Fat { file: &name.file, name: &shown, now: 0, fs }))
        }
        false => {
            let fs = ext::Fs::open(volume).map_err(fail)?;
            act(Read::Ext(&Ext { file: &name.file, name: &shown, fs }))
        }
    }
}

/// Edit in an image: all that `act` does, or nothing.
pub(super) fn edit<R>(
    name: &ImageName,
    write: Write,
    act: impl FnOnce(&mut dyn TreeMut) -> Result<R>,
) -> Result<R> {
    let (result, _) = edit_volume(name, write, |edited| match edited {
        Edited::Ext(tree) => act(tree),
        Edited::Fat(tree) => act(tree),
    })?;
    Ok(result)
}

/// An edit that is done, and not written.
enum Made {
    Guarded(InPlace),
    Straight(Changes),
}

impl Made {
    fn is_empty(&self) -> bool {
        match self {
            Self::Guarded(edit) => edit.is_empty(),
            Self::Straight(changes) => changes.is_empty(),
        }
    }

    fn guard(&self) -> Option<Guard> {
        match self {
            Self::Guarded(edit) => Some(edit.guard()),
            Self::Straight(_) => None,
        }
    }
}

/// The same, for what wants more than a tree; and what keeps the edit whole, where anything has to.
pub(super) fn edit_volume<R>(
    name: &ImageName,
    write: Write,
    act: impl FnOnce(Edited<'_, '_, '_>) -> Result<R>,
) -> Result<(R, Option<Guard>)> {
    let now = epoch::now()?;
    let file = &name.file;
    let fail = |e| failure(file, &e);
    check_writable(file, "edit")?;
    let image = Image::open(file).map_err(fail)?;
    open::refuse_packed(file, &image, "edit", "edit that")?;
    let shown = shown(name);
    let (result, edit) = {
        let Selected { volume, is_fat, .. } = select(name, &image)?;
        match is_fat {
            true => {
                let fs = fat::Fs::open(volume).map_err(fail)?;
                let now = u64::try_from(now).unwrap_or(0);
                let mut tree = Fat { file, name: &shown, now, fs };
                let result = act(Edited::Fat(&mut tree))?;
                let changes = tree.fs.into_changes().map_err(fail)?;
                match write {
                    Write::NoSync => (result, Made::Straight(changes)),
                    _ => (result, Made::Guarded(InPlace::undo(changes))),
                }
            }
            false => {
                let fs = ext::Fs::open(volume).map_err(fail)?;
                let tx = fs.begin(now).map_err(|e| refused(file, &e))?;
                let mut tree = Ext { file, name: &shown, fs: tx };
                let result = act(Edited::Ext(&mut tree))?;
                let edit = match write {
                    Write::CommitLarge => tree.fs.finish_in_place_or_undo().map(Made::Guarded),
                    Write::Commit | Write::Forget => tree.fs.finish_in_place().map(Made::Guarded),
                    Write::NoSync => tree.fs.finish().map(Made::Straight),
                };
                (result, edit.map_err(|e| refused(file, &e))?)
            }
        }
    };
    let guard = edit.guard();
    if write == Write::Forget || edit.is_empty() {
        return Ok((result, guard));
    }
    if guard == Some(Guard::Undo) {
        check_undo(file)?;
    }
    interrupt::check()?;
    let mut image = image.into_mut().map_err(fail)?;
    let written = match &edit {
        Made::Guarded(edit) => image.commit_in_place(edit),
        Made::Straight(changes) => image.commit(changes),
    };
    written.map_err(|e| match edit {
        Made::Guarded(_) => unwritten(file, &e),
        Made::Straight(_) => refused(file, &e).hint("it may be half edited: make the copy again"),
    })?;
    Ok((result, guard))
}

/// `disk.img#2`, as the user wrote it.
pub(super) fn shown(name: &ImageName) -> String {
    match &name.partition {
        Some(partition) => format!("{}#{}", name.file.display(), partition.display()),
        None => name.file.display().to_string(),
    }
}

/// Why an edit cannot be made, and the way out.
fn refused(file: &Path, error: &Error) -> Failure {
    let failure = failure(file, error);
    match error {
        Error::NoSpace(what) if what.contains("journal") => failure.hint(
            "make the edit in several parts, or give the file system a larger journal with `tune2fs -J size=`",
        ),
        _ => failure,
    }
}

/// The same, where some of it may be written.
fn unwritten(file: &Path, error: &Error) -> Failure {
    match error {
        Error::Io { .. } => {
            refused(file, error).hint("`autoxen image recover` brings the image back")
        }
        _ => refused(file, error),
    }
}

/// An undo file stands beside the image while it is written to.
fn check_undo(file: &Path) -> Result<()> {
    let Some(obstacle) = Obstacle::to_undo(file) else { return Ok(()) };
    let what = format!("image `{}` cannot be edited: {obstacle}", file.display());
    Err(Failure::new(what).hint("edit a copy"))
}
