//! The disks of a bundle: a copy of a stock image, or a new one; edited, synced, read back.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use imgfmt::ext::mkfs;
use imgfmt::qcow2::Backing;
use imgfmt::{Changes, ImageMut, Storage, Volume, copy, fat, in_place, qcow2, swap};

use super::beside;
use super::edits::{DiskEdits, Write};
use super::inputs;
use super::obstacle::failure;
use super::preview::Preview;
use super::provenance::unread;
use super::verify::{self, Edited, Finished};
use crate::bundle::Staging;
use crate::digest::tree::Digest;
use crate::domain::value::FileName;
use crate::domain::xl::DiskFormat;
use crate::facts::gather::Gathered;
use crate::facts::stock::Stock;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::newfile::create_like;
use crate::plan::{Disk, Format, Plan, Source};
use crate::progress::Progress;
use crate::writeback::Writeback;

/// What was done for one disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Length of the disk in bytes.
    pub len: u64,
    /// How its bytes got there.
    pub how: How,
    /// The digest of the file in the bundle, where it is known already.
    pub digest: Option<Digest>,
    /// What kept the edit whole, where the image itself was edited.
    pub guard: Option<in_place::Guard>,
    /// The edited volumes, as the plan lists them.
    pub volumes: Vec<Edited>,
}

/// How a disk's bytes got into the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Its data were copied; holes stayed holes.
    Copied,
    /// It shares its blocks with the stock image (a reflink).
    Cloned,
    /// It is laid over the stock image.
    Overlay,
    /// It was unpacked.
    Unpacked,
    /// It was made new.
    Formatted,
    /// It is used where it lies; the bundle has no copy.
    InPlace,
}

/// Make all disks of `plan` in `staging`. `now` is the time of every edit, in seconds since 1970. With `digests`, images are
/// hashed while they are copied.
pub fn make(
    plan: &Plan,
    edits: &[DiskEdits<'_>],
    gathered: &mut Gathered,
    staging: &Staging,
    now: i64,
    digests: bool,
    progress: Progress,
) -> Result<Vec<Made>> {
    let mut maker = Maker { gathered, staging, now, digests, progress };
    let mut made = Vec::new();
    for (index, (disk, edits)) in plan.disks.iter().zip(edits).enumerate() {
        interrupt::check()?;
        let again = plan.disks[index + 1..].iter().any(|later| later.source == disk.source);
        made.push(maker.one(disk, edits, again)?);
    }
    Ok(made)
}

/// What goes by the path of an image later, and not by what we have open: overlays, and disks that are used where they lie.
///
/// # Errors
/// Where such a path leads elsewhere by now.
pub fn check_paths(plan: &Plan, gathered: &Gathered) -> Result<()> {
    for disk in &plan.disks {
        let Source::Image(path) = &disk.source else { continue };
        let is_named = disk.file.is_none() || disk.format == DiskFormat::Qcow2;
        let Some(stock) = gathered.stock.get(path).filter(|_| is_named) else { continue };
        for image in stock.disk.files() {
            image.check_in_place().map_err(|e| failure(image.path(), &e))?;
        }
    }
    Ok(())
}

struct Maker<'a> {
    gathered: &'a mut Gathered,
    staging: &'a Staging,
    now: i64,
    digests: bool,
    progress: Progress,
}

impl Maker<'_> {
    /// Make one disk. `again`: a later disk comes from the same image.
    fn one(&mut self, disk: &Disk, edits: &DiskEdits<'_>, again: bool) -> Result<Made> {
        let Self { gathered, staging, now, digests, progress } = self;
        let named =
            staging.target().join(disk.file.as_ref().map_or(disk.vdev.as_str(), FileName::as_str));
        let (Some(name), path) = (&disk.file, &disk.source) else {
            let Source::Image(path) = &disk.source else {
                unreachable!("a new disk always has a file in the bundle");
            };
            return look_at(path, edits);
        };
        let to = staging.path().join(name.as_str());
        let how = match path {
            Source::Blank { len, format } => {
                format_new(&to, *len, format, *now).map_err(|e| failure(&named, &e))?;
                How::Formatted
            }
            Source::Inputs { uuid, is_legacy, staged } => {
                inputs::make(&to, &named, *uuid, *is_legacy, staged, *now)?;
                How::Formatted
            }
            Source::Image(path)
                if !again && gathered.stock.get(path).is_some_and(Stock::is_unpacked) =>
            {
                let stock = gathered.stock.remove(path).expect("it was just found");
                fs::rename(&stock.path, &to)
                    .map_err(|e| Failure::host("cannot write", &named, &e))?;
                How::Unpacked
            }
            Source::Image(path) if disk.format == DiskFormat::Qcow2 => {
                return overlay(&gathered.stock[path], &to, &named, edits);
            }
            Source::Image(path) => {
                let stock = &gathered.stock[path];
                let work = || {
                    let how = copy_stock(stock, &to, &named, *progress)?;
                    finish(&to, &named, edits, *now, how)
                };
                // Of an unpacked image it is the packed file's digest that is wanted.
                if !*digests || stock.is_unpacked() {
                    return work();
                }
                let made = beside::hashed(stock, *progress, work)?;
                let digest = of_copy(stock, edits).map_err(|e| unread(&named, &e))?;
                stock.disk.check_unchanged().map_err(|e| failure(&stock.path, &e))?;
                return Ok(Made { digest: Some(digest), ..made });
            }
        };
        finish(&to, &named, edits, *now, how)
    }
}

/// An image that is used where it lies: have the edits read back that it is going to get.
fn look_at(path: &Path, edits: &DiskEdits<'_>) -> Result<Made> {
    let fail = |e| Failure::host("cannot read", path, &e);
    let file = File::open(path).map_err(fail)?;
    let len = file.metadata().map_err(fail)?.len();
    let (guard, volumes) = match &edits.changes {
        None => (None, Vec::new()),
        Some(changes) => {
            let disk = Finished::Raw(file);
            (changes.write.guard(), verify::volumes(&disk, changes, &edits.loaded, true)?)
        }
    };
    Ok(Made { len, how: How::InPlace, digest: None, guard, volumes })
}

/// Make the edits of a disk whose bytes are there, and have them read back.
fn finish(to: &Path, named: &Path, edits: &DiskEdits<'_>, now: i64, how: How) -> Result<Made> {
    let volumes = edit(to, named, edits, now)?;
    let len = fs::metadata(to).map_err(|e| Failure::host("cannot read", named, &e))?.len();
    Ok(Made { len, how, digest: None, guard: None, volumes })
}

/// The digest of the edited copy of an image. The image is in memory already, and a copy that shares its blocks is not.
fn of_copy(stock: &Stock, edits: &DiskEdits<'_>) -> io::Result<Digest> {
    let write = edits.changes.as_ref().map(|changes| &*changes.write);
    let preview = Preview { stock: &stock.disk, write };
    let changed = match write {
        Some(Write::Copy(bytes)) => bytes.ranges().collect(),
        Some(Write::InPlace(_)) | None => Vec::new(),
    };
    stock.known.of_copy(stock.file(), &preview, &changed)
}

/// Lay a disk over its image, with the edits on top.
fn overlay(stock: &Stock, to: &Path, named: &Path, edits: &DiskEdits<'_>) -> Result<Made> {
    let file =
        create_like(to, &[&stock.path]).map_err(|e| Failure::host("cannot write", named, &e))?;
    let nothing = Changes::new();
    let changes = match edits.changes.as_ref().map(|changes| &*changes.write) {
        Some(Write::Copy(bytes)) => bytes,
        _ => &nothing,
    };
    let backing = Backing {
        name: stock.path.as_os_str().as_bytes().to_vec(),
        format: Some(stock.format().into()),
    };
    let written = qcow2::write_overlay(changes, &stock.disk, &backing, &file);
    written.map_err(|e| failure(named, &e))?;
    stock.disk.check_unchanged().map_err(|e| failure(&stock.path, &e))?;
    let volumes = match &edits.changes {
        Some(changes) => {
            let disk = Finished::overlay(to, &stock.path).map_err(|e| failure(named, &e))?;
            verify::volumes(&disk, changes, &edits.loaded, false)?
        }
        None => Vec::new(),
    };
    let len = stock.disk.len();
    Ok(Made { len, how: How::Overlay, digest: None, guard: None, volumes })
}

fn copy_stock(stock: &Stock, to: &Path, named: &Path, progress: Progress) -> Result<How> {
    let file =
        create_like(to, &[&stock.path]).map_err(|e| Failure::host("cannot write", named, &e))?;
    let bar = progress.bar("copy");
    let mut writeback = Writeback::default();
    let mut before = 0;
    let mut written = Ok(());
    let copied = copy::copy_sparse(stock.raw(), &file, &mut |done, total| {
        bar.set(done, total);
        written = writeback.wrote(&file, done - before);
        before = done;
        let goes_on = written.is_ok() && !interrupt::asked();
        if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    interrupt::check()?;
    let written = written.and_then(|()| writeback.finish());
    written.map_err(|e| Failure::host("cannot write", named, &e))?;
    let copied = copied.map_err(|e| failure(named, &e))?;
    stock.raw().check_unchanged().map_err(|e| failure(&stock.path, &e))?;
    Ok(if copied.cloned { How::Cloned } else { How::Copied })
}

/// Commit the edits of a disk, all volumes at once, and have them read back.
fn edit(to: &Path, named: &Path, edits: &DiskEdits<'_>, now: i64) -> Result<Vec<Edited>> {
    if edits.is_empty() {
        return Ok(Vec::new());
    }
    let mut image = ImageMut::open(to).map_err(|e| failure(named, &e))?;
    let made;
    let changes = match &edits.changes {
        Some(changes) => changes,
        // A new disk had nothing to be edited before it was formatted.
        None => {
            made = edits.make(&image, now).map_err(|e| failure(named, &e))?;
            &made
        }
    };
    let Write::Copy(bytes) = &*changes.write else {
        unreachable!("a disk with a file in the bundle is not edited in place");
    };
    image.write(bytes).map_err(|e| failure(named, &e))?;
    drop(image);
    let disk = Finished::raw(to).map_err(|e| Failure::host("cannot read", named, &e))?;
    verify::volumes(&disk, changes, &edits.loaded, false)
}

/// Make a new disk at `to`.
fn format_new(to: &Path, len: u64, format: &Format, now: i64) -> imgfmt::Result<()> {
    let file = File::create_new(to).map_err(|e| imgfmt::Error::io("cannot create it", e))?;
    file.set_len(len).map_err(|e| imgfmt::Error::io("cannot make it so long", e))?;
    if let Format::Ext { uuid, label, is_legacy } = format {
        let options = inputs::options(len, *uuid, label, *is_legacy, now);
        let mut file = file;
        return mkfs::write(&mkfs::Layout::new(&options)?, &mut file);
    }
    drop(file);
    let mut image = ImageMut::open(to)?;
    let changes = match format {
        Format::Swap { uuid, label } => {
            let mut changes = Changes::new();
            changes.insert(0, swap::header(len, *uuid, label.as_deref())?);
            changes
        }
        Format::Ext { .. } => unreachable!("it was written above"),
        Format::Vfat { volume_id, label } => {
            fat::format(Volume::whole(&image), *volume_id, label.as_deref())?
        }
    };
    image.write(&changes)
}
