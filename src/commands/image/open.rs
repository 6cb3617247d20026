//! An image that the command line names, opened for reading: unpacked first where it is compressed, read as it is where it
//! is qcow2.

use std::path::{Path, PathBuf};

use imgfmt::compressed;
use imgfmt::qcow2::{self, Layer};
use imgfmt::{Error, Image, Storage};
use tempfile::TempDir;

use crate::facts::form::Form;
use crate::facts::words::{about, hint};
use crate::failure::{Failure, Result, plain};
use crate::interrupt;
use crate::newfile::create_like;
use crate::progress::Progress;

/// An image, open and so locked for as long as this lives.
pub(super) struct Opened {
    /// The disk.
    pub(super) raw: Layer,
    /// In which form the file holds it.
    pub(super) form: Form,
    _scratch: Option<TempDir>,
    _packed: Option<Image>,
}

/// Open the image at `path`. Backing files lie in its directory.
///
/// # Errors
/// Where it is no regular file, is empty or in use, or cannot be unpacked.
pub(super) fn open(path: &Path, progress: Progress) -> Result<Opened> {
    let fail = |e| failure(path, &e);
    let image = Image::open(path).map_err(fail)?;
    let form = form(path, &image)?;
    let Form::Compressed(compression) = form else {
        let raw = layered(path, image, form, &[])?;
        return Ok(Opened { raw, form, _scratch: None, _packed: None });
    };
    let scratch = tempfile::tempdir().map_err(|e| no_room(&plain(&e)))?;
    let unpacked = scratch.path().join("unpacked.img");
    let to = create_like(&unpacked, &[path]).map_err(|e| no_room(&plain(&e)))?;
    let bar = progress.bar("unpack");
    let limit = compressed::DEFAULT_LIMIT;
    let result = compressed::unpack(&image, compression, &to, limit, &mut |done, total| {
        bar.step(done, total)
    });
    interrupt::check()?;
    result.map_err(|e| match e {
        imgfmt::Error::HostFull(_) => no_room("no space left there"),
        e => damage(path, form, &e),
    })?;
    let raw = Layer::Raw(Image::open(&unpacked).map_err(fail)?);
    Ok(Opened { raw, form, _scratch: Some(scratch), _packed: Some(image) })
}

/// Look whether the image at `target` may be replaced.
///
/// # Errors
/// Where it is in use, or an edit of it is unfinished: its user would go on with what has no name any more, and an undo
/// file would outlive its image.
pub(super) fn check_idle(target: &Path) -> Result<()> {
    match Image::open(target) {
        Err(e @ (Error::Busy(_) | Error::Interrupted(_) | Error::ForeignUndo { .. })) => {
            Err(failure(target, &e))
        }
        _ => Ok(()),
    }
}

/// The disk that `image` holds, which is not compressed. Backing files lie in its directory or in one of `allowed`.
pub(super) fn layered(path: &Path, image: Image, form: Form, allowed: &[PathBuf]) -> Result<Layer> {
    match form {
        Form::Qcow2 => {
            let disk = qcow2::open(image, allowed).map_err(|e| damage(path, form, &e))?;
            Ok(Layer::Qcow2(Box::new(disk)))
        }
        Form::Raw | Form::Compressed(_) => Ok(Layer::Raw(image)),
    }
}

/// The form of an image. One without bytes is refused.
pub(super) fn form(path: &Path, image: &Image) -> Result<Form> {
    if image.is_empty() {
        return Err(Failure::new(format!("image `{}` is empty", path.display())));
    }
    Form::of(image).map_err(|e| failure(path, &e))
}

/// Refuse to write to an image that is not raw: there is no place `to_what`. The way out ends in `then`.
pub(super) fn refuse_packed(path: &Path, image: &Image, to_what: &str, then: &str) -> Result<()> {
    match form(path, image)?.obstacle(path) {
        None => Ok(()),
        Some((what, way_out)) => Err(Failure::new(format!("{what}: no place to {to_what}"))
            .hint(format!("{way_out}, and {then}"))),
    }
}

/// What is wrong with the image at `path`; of damage, the judge of its form says more.
pub(super) fn damage(path: &Path, form: Form, error: &imgfmt::Error) -> Failure {
    let failure = failure(path, error);
    match (error, form.judge()) {
        (imgfmt::Error::Corrupt(_), Some(judge)) => {
            failure.hint(format!("`{judge}` says more; use a copy that is whole"))
        }
        _ => failure,
    }
}

fn no_room(what: &str) -> Failure {
    let directory = std::env::temp_dir();
    Failure::new(format!("cannot unpack it into `{}`: {what}", directory.display()))
        .hint("let TMPDIR name a directory with room for the unpacked image")
}

/// What is wrong with the image at `path`, and the way out where one is known.
pub(super) fn failure(path: &Path, error: &imgfmt::Error) -> Failure {
    Failure::new(about(path, error)).any_hint(hint(error))
}
