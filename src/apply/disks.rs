//! The disks of a bundle: a copy of a stock image, or a new one; edited, synced, read back.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use imgfmt::{Changes, ImageMut, Volume, copy, ext, fat, probe, swap, table};

use super::contents::Loaded;
use super::verify::{self, Verdict};
use crate::bundle::Staging;
use crate::domain::value::FileName;
use crate::facts::gather::{self, Gathered, Stock};
use crate::failure::{Failure, Result, plain};
use crate::interrupt;
use crate::newfile::create_like;
use crate::plan::{Disk, Format, Plan, Source};
use crate::progress::Progress;

/// What was done for one disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Length of the disk in bytes.
    pub len: u64,
    /// How its bytes got there.
    pub how: How,
    /// The edited volumes, as the plan lists them.
    pub volumes: Vec<Edited>,
}

/// What was done to one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// SHA-256 of what was written, for each edit that writes a file.
    pub digests: Vec<Option<String>>,
    /// What the independent reader saw.
    pub verdict: Verdict,
}

/// How a disk's bytes got into the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Its data were copied; holes stayed holes.
    Copied,
    /// It shares its blocks with the stock image (a reflink).
    Cloned,
    /// It was unpacked.
    Unpacked,
    /// It was made new.
    Formatted,
    /// It is used where it lies; the bundle has no copy.
    InPlace,
}

/// Make all disks of `plan` in `staging`. `now` is the time of every edit, in seconds since 1970.
pub fn make(
    plan: &Plan,
    mut gathered: Gathered,
    staging: &Staging,
    now: i64,
    progress: Progress,
) -> Result<Vec<Made>> {
    let mut made = Vec::new();
    for (index, disk) in plan.disks.iter().enumerate() {
        interrupt::check()?;
        let again = plan.disks[index + 1..].iter().any(|later| later.source == disk.source);
        made.push(one(disk, &mut gathered, again, staging, now, progress)?);
    }
    Ok(made)
}

fn one(
    disk: &Disk,
    gathered: &mut Gathered,
    again: bool,
    staging: &Staging,
    now: i64,
    progress: Progress,
) -> Result<Made> {
    let named =
        staging.target().join(disk.file.as_ref().map_or(disk.vdev.as_str(), FileName::as_str));
    let (Some(name), path) = (&disk.file, &disk.source) else {
        let Source::Image(path) = &disk.source else {
            unreachable!("a new disk always has a file in the bundle");
        };
        let len = fs::metadata(path).map_err(|e| Failure::host("cannot read", path, &e))?.len();
        return Ok(Made { len, how: How::InPlace, volumes: Vec::new() });
    };
    let to = staging.path().join(name.as_str());
    let how = match path {
        Source::Blank { len, format } => {
            format_new(&to, *len, format).map_err(|e| failure(&named, &e))?;
            How::Formatted
        }
        Source::Image(path)
            if !again && gathered.stock.get(path).is_some_and(Stock::is_unpacked) =>
        {
            let stock = gathered.stock.remove(path).expect("it was just found");
            fs::rename(&stock.path, &to).map_err(|e| Failure::host("cannot write", &named, &e))?;
            How::Unpacked
        }
        Source::Image(path) => copy_stock(&gathered.stock[path], &to, &named, progress)?,
    };
    let volumes = edit(&to, &named, disk, now)?;
    let file = File::open(&to).map_err(|e| Failure::host("cannot read", &named, &e))?;
    file.sync_all().map_err(|e| Failure::host("cannot sync", &named, &e))?;
    let len = file.metadata().map_err(|e| Failure::host("cannot read", &named, &e))?.len();
    Ok(Made { len, how, volumes })
}

fn copy_stock(stock: &Stock, to: &Path, named: &Path, progress: Progress) -> Result<How> {
    let file =
        create_like(to, &stock.path).map_err(|e| Failure::host("cannot write", named, &e))?;
    let bar = progress.bar("copy");
    let copied = copy::copy_sparse(&stock.raw, &file, &mut |done, total| {
        bar.set(done, total);
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    interrupt::check()?;
    let copied = copied.map_err(|e| failure(named, &e))?;
    stock.raw.check_unchanged().map_err(|e| failure(stock.raw.path(), &e))?;
    Ok(if copied.cloned { How::Cloned } else { How::Copied })
}

/// Make the edits of all volumes, in one commit, and have them read back.
fn edit(to: &Path, named: &Path, disk: &Disk, now: i64) -> Result<Vec<Edited>> {
    let volumes = disk.edits.as_slice();
    if volumes.is_empty() {
        return Ok(Vec::new());
    }
    // What is wrong inside is wrong in the stock image, which is still there when the copy is gone.
    let about = match &disk.source {
        Source::Image(stock) => stock,
        Source::Blank { .. } => named,
    };
    let loaded = volumes
        .iter()
        .map(|volume| volume.edits.iter().map(Loaded::load).collect::<Result<Vec<_>>>())
        .collect::<Result<Vec<_>>>()?;
    let mut starts = Vec::new();
    let mut image = ImageMut::open(to).map_err(|e| failure(named, &e))?;
    let mut changes = Changes::new();
    for (volume, edits) in volumes.iter().zip(&loaded) {
        let (window, is_fat) = select(&image, volume.partition).map_err(|e| failure(about, &e))?;
        let more =
            if is_fat { fat_changes(window, edits, now) } else { ext_changes(window, edits, now) };
        changes.extend(more.map_err(|e| failure(about, &e))?);
        starts.push((window.start(), is_fat));
    }
    image.commit(&changes).map_err(|e| failure(named, &e))?;
    image.sync().map_err(|e| failure(named, &e))?;
    drop(image);
    let file = File::open(to).map_err(|e| Failure::host("cannot read", named, &e))?;
    starts
        .into_iter()
        .zip(&loaded)
        .map(|((start, is_fat), edits)| {
            let verdict = if is_fat {
                Verdict::NotReadable { reason: "ext4-view does not read FAT".into() }
            } else {
                verify::edits(&file, start, edits)?
            };
            Ok(Edited { digests: edits.iter().map(Loaded::digest).collect(), verdict })
        })
        .collect()
}

/// The window of a volume, and whether it holds FAT.
fn select(image: &ImageMut, partition: Option<u32>) -> imgfmt::Result<(Volume<'_>, bool)> {
    let window = match partition {
        None => Volume::whole(image),
        Some(number) => table::read(image)?
            .ok_or_else(|| imgfmt::Error::corrupt("the partition table is gone"))?
            .volume(number, image)?,
    };
    let is_fat = probe::probe(&window)?.is_some_and(|probe| probe.kind == probe::Kind::Vfat);
    Ok((window, is_fat))
}

/// All `edits` of an ext file system, as one transaction.
fn ext_changes(window: Volume<'_>, edits: &[Loaded<'_>], now: i64) -> imgfmt::Result<Changes> {
    let fs = ext::Fs::open(window)?;
    let mut tx = fs.begin(now)?;
    for edit in edits {
        let path = edit.path();
        if let Some(parent) = Path::new(path).parent() {
            tx.create_dir_all(parent)?;
        }
        match edit {
            Loaded::Write { bytes, mode, owner, .. } => {
                tx.write(path, bytes)?;
                set_attributes(&mut tx, path, *mode, *owner)?;
            }
            Loaded::CreateDir { mode, owner, .. } => {
                tx.create_dir_all(path)?;
                set_attributes(&mut tx, path, *mode, *owner)?;
            }
            Loaded::Symlink { target, .. } => {
                match tx.remove_file(path) {
                    Ok(()) | Err(imgfmt::Error::NotFound(_)) => {}
                    Err(error) => return Err(error),
                }
                tx.symlink(target, path)?;
            }
        }
    }
    tx.finish()
}

fn set_attributes(
    tx: &mut ext::Transaction<'_>,
    path: &str,
    mode: Option<u32>,
    owner: Option<(u32, u32)>,
) -> imgfmt::Result<()> {
    if let Some((uid, gid)) = owner {
        tx.set_owner(path, uid, gid)?;
    }
    if let Some(mode) = mode {
        tx.set_mode(path, u16::try_from(mode & 0o7777).expect("twelve bits"))?;
    }
    Ok(())
}

/// An error about the image `path`: for a file that is still under its temporary name, the name that it will have.
fn failure(path: &Path, error: &imgfmt::Error) -> Failure {
    let failure = Failure::new(match error {
        imgfmt::Error::HostFull(_) => {
            format!("no space left on the host for `{}`", path.display())
        }
        imgfmt::Error::Io { source, .. } if source.kind() == io::ErrorKind::FileTooLarge => {
            format!("cannot write `{}`: {}", path.display(), plain(source))
        }
        other => gather::about(path, other),
    });
    match gather::hint(error) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// All `edits` of a FAT. The plan has refused what FAT cannot hold.
fn fat_changes(window: Volume<'_>, edits: &[Loaded<'_>], now: i64) -> imgfmt::Result<Changes> {
    let now = u64::try_from(now).unwrap_or(0);
    let mut fs = fat::Fs::open(window)?;
    for edit in edits {
        let path = Path::new(edit.path());
        for parent in parents(path) {
            make_fat_dir(&mut fs, parent, now)?;
        }
        match edit {
            Loaded::Write { bytes, .. } => fs.write(path, bytes, now)?,
            Loaded::CreateDir { .. } => make_fat_dir(&mut fs, path, now)?,
            Loaded::Symlink { .. } => fs.symlink(path)?,
        }
    }
    fs.into_changes()
}

/// The directories above `path`, from the top, without the top itself.
fn parents(path: &Path) -> Vec<&Path> {
    let mut parents: Vec<_> =
        path.ancestors().skip(1).filter(|parent| parent.parent().is_some()).collect();
    parents.reverse();
    parents
}

fn make_fat_dir(fs: &mut fat::Fs<'_>, path: &Path, now: u64) -> imgfmt::Result<()> {
    match fs.read_dir(path) {
        Ok(_) => Ok(()),
        Err(imgfmt::Error::NotFound(_)) => fs.create_dir(path, now),
        Err(error) => Err(error),
    }
}

/// Make a new disk at `to`.
fn format_new(to: &Path, len: u64, format: &Format) -> imgfmt::Result<()> {
    let file = File::create_new(to).map_err(|e| imgfmt::Error::io("cannot create it", e))?;
    file.set_len(len).map_err(|e| imgfmt::Error::io("cannot make it so long", e))?;
    drop(file);
    let mut image = ImageMut::open(to)?;
    let changes = match format {
        Format::Swap { uuid, label } => {
            let mut changes = Changes::new();
            changes.insert(0, swap::header(len, *uuid, label.as_deref())?);
            changes
        }
        Format::Vfat { volume_id, label } => {
            fat::format(Volume::whole(&image), *volume_id, label.as_deref())?
        }
    };
    image.commit(&changes)
}
