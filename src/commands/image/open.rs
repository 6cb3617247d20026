//! An image that the command line names, opened for reading, unpacked first where it is compressed; its volumes.

use std::ops::ControlFlow;
use std::path::Path;

use imgfmt::compressed::{self, Compression};
use imgfmt::table::{Partition, Table};
use imgfmt::{Image, Storage, Volume};
use tempfile::TempDir;

use super::choose;
use crate::facts::gather::{about, hint};
use crate::failure::{Failure, Result, plain};
use crate::interrupt;
use crate::newfile::create_like;
use crate::progress::Progress;

/// An image, open and so locked for as long as this lives.
pub(super) struct Opened {
    /// The raw image.
    pub(super) raw: Image,
    /// How it was compressed.
    pub(super) compression: Option<Compression>,
    _scratch: Option<TempDir>,
    _packed: Option<Image>,
}

/// Open the image at `path`.
///
/// # Errors
/// Where it is no regular file, is empty or in use, or cannot be unpacked.
pub(super) fn open(path: &Path, progress: Progress) -> Result<Opened> {
    let fail = |e| failure(path, &e);
    let image = Image::open(path).map_err(fail)?;
    let Some(compression) = compression(path, &image)? else {
        return Ok(Opened { raw: image, compression: None, _scratch: None, _packed: None });
    };
    let scratch = tempfile::tempdir().map_err(|e| no_room(&plain(&e)))?;
    let unpacked = scratch.path().join("unpacked.img");
    let to = create_like(&unpacked, path).map_err(|e| no_room(&plain(&e)))?;
    let bar = progress.bar("unpack");
    let limit = compressed::DEFAULT_LIMIT;
    let result = compressed::unpack(&image, compression, &to, limit, &mut |done, total| {
        bar.set(done, total);
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    interrupt::check()?;
    result.map_err(|e| match e {
        imgfmt::Error::HostFull(_) => no_room("no space left there"),
        e => fail(e),
    })?;
    let raw = Image::open(&unpacked).map_err(fail)?;
    Ok(Opened {
        raw,
        compression: Some(compression),
        _scratch: Some(scratch),
        _packed: Some(image),
    })
}

/// How an image is compressed. One without bytes is refused.
pub(super) fn compression(path: &Path, image: &Image) -> Result<Option<Compression>> {
    let fail = |e| failure(path, &e);
    if image.is_empty() {
        return Err(Failure::new(format!("image `{}` is empty", path.display())));
    }
    let mut head = [0; 8];
    let len = usize::try_from(image.len()).unwrap_or(head.len()).min(head.len());
    let read = image.read_at(0, &mut head[..len]);
    read.map_err(|e| fail(imgfmt::Error::io("cannot read it", e)))?;
    Compression::detect(&head[..len]).map_err(fail)
}

/// An entry of a table, none without one, and its window of the image.
pub(super) type Window<'a> = (Option<Partition>, imgfmt::Result<Volume<'a>>);

/// The volumes of the image at `path`: all, or that of the partition `name`.
///
/// # Errors
/// Where there is no such partition.
pub(super) fn windows<'a>(
    path: &Path,
    table: Option<&Table>,
    name: Option<&str>,
    raw: &'a dyn Storage,
) -> Result<Vec<Window<'a>>> {
    match (table, name) {
        (None, Some(_)) => {
            let what = format!("image `{}` has no partition table", path.display());
            Err(Failure::new(what).hint("leave out `--partition`"))
        }
        (None, None) => Ok(vec![(None, Ok(Volume::whole(raw)))]),
        (Some(table), Some(name)) => {
            let number = choose::named(path, table, name, raw)?.number;
            let window = table.volume(number, raw).map_err(|e| failure(path, &e))?;
            let partition = table.partitions.iter().find(|p| p.number == number).cloned();
            Ok(vec![(partition, Ok(window))])
        }
        (Some(table), None) => {
            let partitions = table.partitions.iter().filter(|partition| !partition.is_extended());
            let window = |p: &Partition| (Some(p.clone()), Volume::new(raw, p.start, p.len));
            Ok(partitions.map(window).collect())
        }
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
