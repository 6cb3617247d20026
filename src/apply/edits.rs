//! The edits of a plan as changes of bytes: made on the stock image, before anything is copied, so that whatever
//! cannot be done is refused at once, by `plan` as by `prepare`. Nothing is written here.

use std::path::Path;
use std::sync::Arc;

use imgfmt::archive::ExtSink;
use imgfmt::in_place::Guard;
use imgfmt::{Changes, InPlace, Storage, Volume, ext, fat, probe, table};

use super::contents::Loaded;
use super::obstacle::{self, failure};
use super::staged::MEMORY_MAX;
use crate::facts::gather::Gathered;
use crate::failure::Result;
use crate::inside::entries::TreeSink;
use crate::inside::fat::Fat;
use crate::plan::{Disk, Plan, Source};

/// The edits of one disk.
#[derive(Debug)]
pub struct DiskEdits<'p> {
    /// By volume, in the plan's order.
    pub loaded: Vec<Vec<Loaded<'p>>>,
    /// What they change; `None` for a disk that is not formatted yet.
    pub changes: Option<DiskChanges>,
    disk: &'p Disk,
}

/// What the edits of one disk change.
#[derive(Debug)]
pub struct DiskChanges {
    /// The bytes of all volumes. They are shared with the reader that looks at them before they are written.
    pub write: Arc<Write>,
    /// By volume, in the plan's order.
    pub volumes: Vec<Place>,
}

/// What is to be written.
#[derive(Debug)]
pub enum Write {
    /// Into a copy.
    Copy(Changes),
    /// Where the image lies, in steps.
    InPlace(InPlace),
}

impl Write {
    /// What keeps it whole.
    pub fn guard(&self) -> Option<Guard> {
        match self {
            Self::Copy(_) => None,
            Self::InPlace(edit) => Some(edit.guard()),
        }
    }

    /// Show `buf`, which was read from the image at `offset`, as it will be.
    pub fn show(&self, offset: u64, buf: &mut [u8]) {
        match self {
            Self::Copy(changes) => changes.overlay(offset, buf),
            Self::InPlace(edit) => edit.steps().for_each(|step| step.overlay(offset, buf)),
        }
    }
}

/// Where a volume lies.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its first byte, from the start of the image.
    pub start: u64,
    /// It holds FAT; otherwise it is of the ext family.
    pub is_fat: bool,
}

/// Make the edits of all disks of `plan`. `now` is their time, in seconds since 1970.
///
/// # Errors
/// Where one of them cannot be made: the image is full, a directory stands where a file should, …
pub fn make<'p>(plan: &'p Plan, gathered: &Gathered, now: i64) -> Result<Vec<DiskEdits<'p>>> {
    plan.disks.iter().map(|disk| DiskEdits::of(disk, gathered, now)).collect()
}

impl<'p> DiskEdits<'p> {
    fn of(disk: &'p Disk, gathered: &Gathered, now: i64) -> Result<Self> {
        let loaded = disk
            .edits
            .iter()
            .map(|volume| volume.edits.iter().map(Loaded::load).collect::<Result<Vec<_>>>())
            .collect::<Result<Vec<_>>>()?;
        let mut edits = Self { loaded, changes: None, disk };
        if let Source::Image(path) = &disk.source
            && !edits.is_empty()
        {
            let made = edits.make(&gathered.stock[path].disk, now);
            edits.changes = Some(match &disk.guard {
                None => made.map_err(|e| failure(path, &e))?,
                Some(guard) => {
                    obstacle::check_writable(path, guard)?;
                    made.map_err(|e| obstacle::refused(path, &e))?
                }
            });
        }
        Ok(edits)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.loaded.is_empty()
    }

    /// What was odd about the trees that were put into the disk.
    pub fn warnings(&self) -> Vec<String> {
        let loaded = self.loaded.iter().flatten();
        let warnings = loaded.filter_map(|edit| match edit {
            Loaded::Tree(opened) => Some(opened.warnings()),
            _ => None,
        });
        warnings.flatten().collect()
    }

    /// What the edits change in `image`.
    pub fn make(&self, image: &dyn Storage, now: i64) -> imgfmt::Result<DiskChanges> {
        let mut windows = Vec::new();
        for (volume, edits) in self.disk.edits.iter().zip(&self.loaded) {
            let (window, is_fat) = select(image, volume.partition)?;
            windows.push((window, edits, Place { start: window.start(), is_fat }));
        }
        let write = match (&self.disk.guard, windows.as_slice()) {
            // One file system has means of its own; what is more than one is guarded from outside.
            (Some(_), [(window, edits, Place { is_fat: false, .. })]) => {
                Write::InPlace(ext_edit(*window, edits, now, |tx| tx.finish_in_place())?)
            }
            (guard, _) => {
                let mut changes = Changes::new();
                for (window, edits, place) in &windows {
                    changes.extend(if place.is_fat {
                        fat_changes(*window, edits, now)?
                    } else {
                        ext_edit(*window, edits, now, |tx| tx.finish())?
                    });
                }
                match guard {
                    Some(_) => Write::InPlace(InPlace::undo(changes)),
                    None => Write::Copy(changes),
                }
            }
        };
        let volumes = windows.into_iter().map(|(_, _, place)| place).collect();
        Ok(DiskChanges { write: Arc::new(write), volumes })
    }
}

/// The window of a volume, and whether it holds FAT.
fn select(image: &dyn Storage, partition: Option<u32>) -> imgfmt::Result<(Volume<'_>, bool)> {
    let window = match partition {
        None => Volume::whole(image),
        Some(number) => table::read(image)?
            .ok_or_else(|| imgfmt::Error::corrupt("the partition table is gone"))?
            .volume(number, image)?,
    };
    let is_fat = probe::probe(&window)?.is_some_and(|probe| probe.kind == probe::Kind::Vfat);
    Ok((window, is_fat))
}

/// All `edits` of an ext file system, as one transaction that ends in `finish`.
fn ext_edit<T>(
    window: Volume<'_>,
    edits: &[Loaded<'_>],
    now: i64,
    finish: impl FnOnce(ext::Transaction<'_>) -> imgfmt::Result<T>,
) -> imgfmt::Result<T> {
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
            Loaded::Tree(opened) => {
                tx.create_dir_all(path)?;
                let mut sink = ExtSink::at(&mut tx, Path::new(path))?;
                opened.feed(&mut sink, MEMORY_MAX)?;
                sink.finish(&mut |_| {})?;
            }
        }
    }
    finish(tx)
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
            Loaded::Tree(opened) => {
                make_fat_dir(&mut fs, path, now)?;
                let mut tree = Fat { file: path, name: "", now, fs };
                let mut sink = TreeSink::new(&mut tree, path)?;
                opened.feed(&mut sink, MEMORY_MAX)?;
                fs = tree.fs;
            }
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
