//! A raw image file: opened for reading, or for an edit.
//!
//! A stock image is read with `pread`: when somebody truncates it meanwhile, that is an error, and not the SIGBUS that a
//! map would give. An image that is ours alone is mapped once anybody reads it. It is written with `pwrite`, not through the
//! map: a page of a shared map costs a fault, in which the host's file system looks for its block (0.3 ms for each of ten
//! pages on ext4, where a `pwrite` takes 0.01), and a process that is killed in the middle of a copy through a map leaves any
//! number of bytes, while the host's kernel copies a page, and so each sector, in one go.
//!
//! Both hold a lock (`flock`), shared for reading and exclusive for an edit, and both look for users that know nothing
//! of that lock: a loop device, QEMU. A host file system that has no locks serves for reading only.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use memmap2::{Mmap, MmapOptions};
use rustix::io::Errno;

use crate::busy::{self, Intent};
use crate::changes::Changes;
use crate::error::{Error, Result};
use crate::host;
use crate::in_place::{Disk, Guard, InPlace};
use crate::locked::Locked;
use crate::reserve::{self, Reservation};
use crate::storage::{OpenFile, Reader, Storage};
use crate::undo_file;

/// A raw image, opened read-only under a shared lock, read with `pread`.
#[derive(Debug)]
pub struct Image {
    file: Locked,
    path: PathBuf,
    len: u64,
    modified: Option<SystemTime>,
}

impl Image {
    /// Open `path`.
    ///
    /// # Errors
    /// [`Error::NotAnImage`] for anything but a regular file, [`Error::Busy`] where somebody may be writing to it,
    /// [`Error::Interrupted`] where an edit in place was, and has to be undone.
    pub fn open(path: &Path) -> Result<Self> {
        let file = Locked(open_regular(path, OpenOptions::new().read(true))?);
        lock_shared(&file, path)?;
        refuse_occupied(&file, path, Intent::Read)?;
        if undo_file::find(&file, path)?.is_some() {
            return Err(Error::Interrupted(path.into()));
        }
        let found = file.metadata().map_err(|e| at(path, e))?;
        Ok(Self { file, path: path.into(), len: found.len(), modified: found.modified().ok() })
    }

    /// Take `file`, which is open for reading already, as the image that is called `path` where there is anything to say of
    /// it. Nothing is looked for beside `path`: it may lead elsewhere by now.
    ///
    /// # Errors
    /// Those of [`Image::open`], but for [`Error::Interrupted`].
    pub fn of_file(file: File, path: &Path) -> Result<Self> {
        let found = file.metadata().map_err(|e| at(path, e))?;
        refuse_special(path, found.file_type())?;
        let file = Locked(file);
        lock_shared(&file, path)?;
        refuse_occupied(&file, path, Intent::Read)?;
        Ok(Self { file, path: path.into(), len: found.len(), modified: found.modified().ok() })
    }

    /// Nobody has written to it since it was opened, as far as its length and its time of modification tell. Who keeps to
    /// no lock is noticed here: what was read of the image meanwhile may be of two minds.
    ///
    /// # Errors
    /// [`Error::Busy`].
    pub fn check_unchanged(&self) -> Result<()> {
        let found = self.file.metadata().map_err(|e| at(&self.path, e))?;
        if found.len() == self.len && found.modified().ok() == self.modified {
            return Ok(());
        }
        Err(Error::Busy(format!("`{}`: it was changed while it was read", self.path.display())))
    }

    /// The path that it was opened by leads to it still, for who goes by that path later. What it holds has not changed either.
    ///
    /// # Errors
    /// [`Error::Busy`].
    pub fn check_in_place(&self) -> Result<()> {
        self.check_unchanged()?;
        let own = self.file.metadata().map_err(|e| at(&self.path, e))?;
        let found = std::fs::metadata(&self.path).map_err(|e| at(&self.path, e))?;
        if (found.dev(), found.ino()) == (own.dev(), own.ino()) {
            return Ok(());
        }
        Err(Error::Busy(format!("`{}`: it was replaced meanwhile", self.path.display())))
    }

    /// Open it for an edit in place of reading: the shared lock is given back and the exclusive one is taken. Nobody has
    /// written to it and nothing else has its path meanwhile.
    ///
    /// # Errors
    /// Those of [`ImageMut::open`]; [`Error::Busy`] where it was changed, or its path leads to another file.
    pub fn into_mut(self) -> Result<ImageMut> {
        self.check_unchanged()?;
        let Self { file, path, len, modified } = self;
        let before = file.metadata().map_err(|e| at(&path, e))?;
        // `file` stays open, so that no other file gets its inode's number.
        file.unlock().map_err(|e| at(&path, e))?;
        let image = ImageMut::open(&path)?;
        let found = image.file.metadata().map_err(|e| at(&path, e))?;
        if (found.dev(), found.ino()) != (before.dev(), before.ino()) {
            return Err(Error::Busy(format!("`{}`: it was replaced meanwhile", path.display())));
        }
        if found.len() != len || found.modified().ok() != modified {
            return Err(Error::Busy(format!("`{}`: it was changed meanwhile", path.display())));
        }
        Ok(image)
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the host says of the file that is open.
    ///
    /// # Errors
    /// Those of the host.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// What file system of the host it lies on: `f_type` of statfs(2), where the host says so.
    pub fn file_system(&self) -> Option<u64> {
        host::file_system(&self.file)
    }

    /// The bytes in order, from the first, for a digest or a copy.
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(self)
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

impl Storage for Image {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn data_from(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        OpenFile::new(&self.file, self.len).data_from(offset)
    }
}

/// A raw image, opened for an edit under an exclusive lock.
#[derive(Debug)]
pub struct ImageMut {
    /// Made for the first reader. Dropped before the lock ends.
    map: OnceLock<Mmap>,
    file: Locked,
    path: PathBuf,
    len: u64,
}

impl ImageMut {
    /// Open `path`. An edit in place that was interrupted is undone.
    ///
    /// # Errors
    /// [`Error::NotAnImage`] for anything but a regular file, [`Error::Busy`] where anybody else has it open,
    /// [`Error::ForeignUndo`] where an undo file beside it is not of this image as it is now.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self::open_recovered(path)?.0)
    }

    /// The same, and whether there was anything to undo.
    ///
    /// # Errors
    /// Those of [`ImageMut::open`].
    pub fn open_recovered(path: &Path) -> Result<(Self, Recovered)> {
        let file = Locked(open_regular(path, OpenOptions::new().read(true).write(true))?);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(locked(&file, path)),
            Err(TryLockError::Error(e)) => return Err(at(path, e)),
        }
        refuse_occupied(&file, path, Intent::Write)?;
        let len = file.metadata().map_err(|e| at(path, e))?.len();
        let mut image = Self { map: OnceLock::new(), file, path: path.into(), len };
        let recovered = image.roll_back()?;
        Ok((image, recovered))
    }

    /// Undo an edit that was interrupted.
    fn roll_back(&mut self) -> Result<Recovered> {
        let Some((place, undo)) = undo_file::find(&self.file, &self.path)? else {
            return Ok(Recovered::Nothing);
        };
        let changes = undo
            .roll_back(self)
            .map_err(|what| Error::ForeignUndo { path: place.clone(), what })?;
        self.reserve(&[&changes])?;
        let mut disk = Reserved { image: self, place: None, has_written: false };
        for (offset, bytes) in changes.iter() {
            disk.write_at(offset, bytes)?;
        }
        disk.sync()?;
        undo_file::remove(&place)?;
        Ok(Recovered::RolledBack { bytes: changes.len() })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Make the file `len` bytes long, with a hole at its end; it is so on the disk when this returns. Shorter it does not
    /// get.
    ///
    /// # Errors
    /// [`Error::Busy`] where the file is not as long as it was, [`Error::HostFull`] and [`Error::Io`] where the host says
    /// no: the file is as it was, or has the new length.
    pub fn lengthen(&mut self, len: u64) -> Result<()> {
        self.check_len()?;
        if len <= self.len() {
            return Ok(());
        }
        self.file.set_len(len).map_err(|e| host::write_error(&self.file, "lengthen", e))?;
        (self.map, self.len) = (OnceLock::new(), len);
        self.file.sync_all().map_err(|e| host::write_error(&self.file, "sync", e))
    }

    /// Reserve host blocks for every range, then write all of them. Nothing is synced: see [`ImageMut::sync`].
    ///
    /// A crash may leave any part of it: this is for a copy that nobody else sees yet.
    ///
    /// # Errors
    /// [`Error::HostFull`], [`Error::Busy`] where the file is not as long as it was, and [`Error::Corrupt`] where a range
    /// lies past the end: nothing was written.
    pub fn commit(&mut self, changes: &Changes) -> Result<()> {
        self.reserve(&[changes])?;
        self.write(changes)
    }

    /// The same without reserving anything: on a full host some may be written. For a copy that is thrown away then.
    ///
    /// # Errors
    /// Those of [`ImageMut::commit`].
    pub fn write(&mut self, changes: &Changes) -> Result<()> {
        self.check_len()?;
        reserve::check_within(changes, self.len)?;
        for (offset, bytes) in changes.iter() {
            let outcome = self.file.write_all_at(bytes, offset);
            outcome.map_err(|e| host::write_error(&self.file, "commit", e))?;
        }
        Ok(())
    }

    /// Carry out an edit where the image stands, such that a crash at any moment leaves it as it was or as it is to be,
    /// once the file system's journal is replayed or, without one, the undo file is used ([`recover`]).
    ///
    /// Host blocks for all steps are reserved before the first byte changes.
    ///
    /// # Errors
    /// Those of [`ImageMut::commit`]; [`Error::Unsupported`] where an undo file is needed and cannot be had. Nothing was
    /// written then. [`Error::Io`] where a write or a sync failed: the image is as after a crash.
    pub fn commit_in_place(&mut self, edit: &InPlace) -> Result<()> {
        if edit.is_empty() {
            return Ok(());
        }
        let place = match edit.guard() {
            Guard::Journal => None,
            Guard::Undo => Some(undo_file::Place::new(&self.file, &self.path)?),
        };
        let reservation = self.reserve(&edit.steps().collect::<Vec<_>>())?;
        let mut disk = Reserved { image: self, place, has_written: false };
        let outcome = edit.apply(&mut disk);
        if outcome.is_err() && !disk.has_written {
            // There was no room for the undo file.
            reservation.cancel(&self.file);
        }
        outcome
    }

    /// Give all that is to be written its host blocks.
    fn reserve(&self, steps: &[&Changes]) -> Result<Reservation> {
        self.check_len()?;
        for step in steps {
            reserve::check_within(step, self.len())?;
        }
        let page = rustix::param::page_size() as u64;
        let ranges = steps.iter().flat_map(|step| step.ranges());
        let runs = reserve::page_runs(ranges, page, self.len());
        reserve::reserve(&self.file, &runs)
    }

    /// Wait until all that was committed is on the disk.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| host::write_error(&self.file, "sync", e))
    }

    /// What is read through the map past the end of the file would be a SIGBUS.
    fn check_len(&self) -> Result<()> {
        let len = self.file.metadata().map_err(|e| at(&self.path, e))?.len();
        let mapped = self.len();
        if len == mapped {
            return Ok(());
        }
        let what = if len < mapped { "shrank" } else { "grew" };
        let path = self.path.display();
        Err(Error::Busy(format!("`{path}` {what} from {mapped} to {len} bytes while it was open")))
    }
}

impl Storage for ImageMut {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let map = match self.map.get() {
            Some(map) => map,
            None => {
                let made = map(&self.file, self.len)?;
                self.map.get_or_init(|| made)
            }
        };
        Storage::read_at(&map[..], offset, buf)
    }
}

/// An image with room for all that is to be written in place.
struct Reserved<'a> {
    image: &'a mut ImageMut,
    place: Option<undo_file::Place>,
    has_written: bool,
}

impl Storage for Reserved<'_> {
    fn len(&self) -> u64 {
        self.image.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.image.read_at(offset, buf)
    }
}

impl Disk for Reserved<'_> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let file = &self.image.file;
        self.has_written = true;
        file.write_all_at(bytes, offset).map_err(|e| host::write_error(file, "commit", e))
    }

    fn sync(&mut self) -> Result<()> {
        self.image.sync()
    }

    fn keep_undo(&mut self, undo: &[u8]) -> Result<()> {
        // What it says of the image has to be on the disk as well: somebody may have written it just now.
        self.image.sync()?;
        self.place.as_ref().expect("an edit with an undo file has a place for it").keep(undo)
    }

    fn drop_undo(&mut self) -> Result<()> {
        self.place.as_ref().expect("an edit with an undo file has a place for it").remove()
    }
}

/// What [`recover`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// No edit was interrupted, or a journal guards it: the kernel, `e2fsck` and this library replay that themselves.
    Nothing,
    /// An edit was undone.
    RolledBack {
        /// Bytes that were put back; 0 where the edit had not begun to change what anybody reads.
        bytes: u64,
    },
}

/// Undo an edit in place of the image at `path` that was interrupted, if one was.
///
/// # Errors
/// Those of [`ImageMut::open`].
pub fn recover(path: &Path) -> Result<Recovered> {
    Ok(ImageMut::open_recovered(path)?.1)
}

#[expect(
    unsafe_code,
    reason = "a map of a file is the one thing here that the compiler cannot vouch for"
)]
fn map(file: &File, len: u64) -> io::Result<Mmap> {
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
    // SAFETY: the bytes of a map must not change under a reference to them. References are made by `read_at` only, which
    // copies them out; our own writes, with `pwrite`, have `&mut self`. Other processes that keep to the lock stay out;
    // what one that does not keep to it stores is copied as bytes, of which any value is valid.
    unsafe { MmapOptions::new().len(len).map(file) }
}

/// Open a regular file and nothing else. A pipe without a writer would hang, a device could act on being opened: so the
/// path is looked at first, and what was opened is looked at again.
fn open_regular(path: &Path, options: &mut OpenOptions) -> Result<File> {
    let before = std::fs::metadata(path).map_err(|e| at(path, e))?;
    refuse_special(path, before.file_type())?;
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = options.custom_flags(nonblock).open(path).map_err(|e| at(path, e))?;
    let opened = file.metadata().map_err(|e| at(path, e))?;
    refuse_special(path, opened.file_type())?;
    Ok(file)
}

fn refuse_special(path: &Path, kind: std::fs::FileType) -> Result<()> {
    let what = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "is a directory",
        kind if kind.is_block_device() => "is a block device",
        kind if kind.is_char_device() => "is a character device",
        kind if kind.is_fifo() => "is a named pipe",
        kind if kind.is_socket() => "is a socket",
        _ => "is not a regular file",
    };
    Err(Error::NotAnImage { path: path.into(), what })
}

fn refuse_occupied(file: &File, path: &Path, intent: Intent) -> Result<()> {
    match busy::occupant(file, intent) {
        Some(who) => Err(Error::Busy(format!("`{}`: {who}", path.display()))),
        None => Ok(()),
    }
}

fn locked(file: &File, path: &Path) -> Error {
    let who = busy::flock_holder(file).unwrap_or_else(|| "another process".into());
    Error::Busy(format!("`{}`: {who} has locked it", path.display()))
}

/// Reading needs no lock where there are none to be had.
fn lock_shared(file: &Locked, path: &Path) -> Result<()> {
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Err(locked(file, path)),
        Err(TryLockError::Error(e)) if !has_no_locks(&e) => Err(at(path, e)),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

fn has_no_locks(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOLCK | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL)
    )
}

fn at(path: &Path, error: io::Error) -> Error {
    Error::io(format!("`{}`", path.display()), error)
}
