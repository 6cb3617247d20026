//! FAT12, FAT16 and FAT32, read and edited through the crate `fatfs`.
//!
//! The crate writes as it goes and trusts what it reads. Here it gets a device in memory above the volume, so that an
//! edit is a value ([`Changes`]) as everywhere in this library, and it gets in only after every chain was walked once
//! ([`Fs::open`]): nothing that comes from an image makes it panic or run for ever.
//!
//! FAT has no owners, no modes and no symbolic links: an edit that wants one is refused by name. Names are compared
//! without case; long names are kept as they are given, up to 255 bytes of UTF-8.
//!
//! ```no_run
//! # fn main() -> imgfmt::Result<()> {
//! let mut image = imgfmt::ImageMut::open("disk.img".as_ref())?;
//! let mut fs = imgfmt::fat::Fs::open(imgfmt::Volume::whole(&image))?;
//! fs.write("loader.conf".as_ref(), b"timeout 0\n", 1_795_437_908)?;
//! let changes = fs.into_changes()?;
//! image.commit(&changes)?;
//! image.sync()
//! # }
//! ```

#![forbid(unsafe_code)]

use std::io::{self, ErrorKind, Write};
use std::path::{Component, Path};

use fatfs::{Dir, DirEntry, FileSystem, FsOptions};

use crate::Volume;
use crate::changes::Changes;
use crate::error::{Error, Result};

mod check;
mod clock;
mod disk;
mod format;
mod geometry;
mod ops;
mod space;
mod stream;

use clock::Clock;
use disk::{Device, Overlay};
use geometry::Geometry;

pub use format::{clusters, format};
pub use space::{Space, space};

/// The crate tells most of its errors by their text.
const IS_A_DIRECTORY: &str = "Is a directory";

type FatFs<'d, 'o, 'a> = FileSystem<&'d mut Device<'o, 'a>>;

/// A FAT whose chains are known to be whole, with the edits made so far.
#[derive(Debug)]
pub struct Fs<'a> {
    overlay: Overlay<'a>,
    geometry: Geometry,
}

/// A file or directory in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its long name, or its short one where it has no other.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Length of a file, in bytes.
    pub len: u64,
    /// When it was last written, in seconds since 1970, taken as UTC; 0 where that is no date.
    pub modified: u64,
}

impl<'a> Fs<'a> {
    /// Open the FAT in `volume`, and walk all its chains and directories.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with what contradicts what.
    pub fn open(volume: Volume<'a>) -> Result<Self> {
        let geometry = Geometry::read(&volume)?;
        check::check(&volume, &geometry)?;
        let fs = Self { overlay: Overlay::new(volume), geometry };
        // The crate has conditions of its own, above all for the FSInfo sector.
        fs.look(Path::new("/"), |_| Ok(()))?;
        Ok(fs)
    }

    /// What is in the directory at `path`, in its order, without `.` and `..`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where a name could not be a component of a path.
    pub fn read_dir(&self, path: &Path) -> Result<Vec<Entry>> {
        let names = components(path)?;
        self.look(path, |fs| {
            let mut entries = Vec::new();
            for entry in directory(fs, &names)?.iter() {
                let entry = entry?;
                if !is_dots(&entry) {
                    entries.push(self::entry(&entry)?);
                }
            }
            Ok(entries)
        })
    }

    /// The contents of the file at `path`.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.copy_to(path, &mut bytes)?;
        Ok(bytes)
    }

    /// Give the contents of the file at `path` to `to`, a piece at a time; how many bytes there were.
    pub fn copy_to(&self, path: &Path, to: &mut dyn Write) -> Result<u64> {
        let names = components(path)?;
        self.look(path, |fs| {
            let Some((name, parents)) = names.split_last() else { return Err(is_a_directory()) };
            let mut file = directory(fs, parents)?.open_file(name)?;
            io::copy(&mut file, &mut { to })
        })
    }

    /// Write `bytes` to the file at `path`, new or in the place of what it held, at `now` in seconds since 1970.
    ///
    /// # Errors
    /// [`Error::NoSpace`]; after any error the volume is as it was before.
    pub fn write(&mut self, path: &Path, bytes: &[u8], now: u64) -> Result<()> {
        if u32::try_from(bytes.len()).is_err() {
            let path = path.display();
            return Err(Error::Unsupported(format!("`{path}`: a FAT file ends at 4 GiB")));
        }
        let names = checked_name(path)?;
        self.edit(path, now, |fs| {
            let Some((name, parents)) = names.split_last() else { return Err(is_a_directory()) };
            let mut file = directory(fs, parents)?.create_file(name)?;
            file.truncate()?;
            file.write_all(bytes)?;
            file.flush()
        })
    }

    /// Create a directory at `path`, whose parent is there, at `now` in seconds since 1970.
    pub fn create_dir(&mut self, path: &Path, now: u64) -> Result<()> {
        let names = checked_name(path)?;
        let mut device = self.edited(path, now, |fs| {
            let exists = || io::Error::from(ErrorKind::AlreadyExists);
            let Some((name, parents)) = names.split_last() else { return Err(exists()) };
            let parent = directory(fs, parents)?;
            // The crate would open what is there.
            match parent.open_file(name) {
                Ok(_) => Err(exists()),
                Err(error) if error.to_string() == IS_A_DIRECTORY => Err(exists()),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    parent.create_dir(name).map(drop)
                }
                Err(error) => Err(error),
            }
        })?;
        device.mend_dots(&self.geometry).map_err(|e| describe(path, e))?;
        let written = device.into_written();
        self.overlay.keep(written);
        Ok(())
    }

    /// Remove the file or the empty directory at `path`.
    pub fn remove(&mut self, path: &Path) -> Result<()> {
        let names = components(path)?;
        self.edit(path, 0, |fs| {
            let Some((name, parents)) = names.split_last() else { return Err(is_a_directory()) };
            directory(fs, parents)?.remove(name)
        })
    }

    /// FAT has no symbolic links.
    ///
    /// # Errors
    /// Always [`Error::Unsupported`].
    pub fn symlink(&mut self, path: &Path) -> Result<()> {
        Err(Error::Unsupported(format!("`{}`: FAT has no symbolic links", path.display())))
    }

    /// FAT has no owners.
    ///
    /// # Errors
    /// Always [`Error::Unsupported`].
    pub fn set_owner(&mut self, path: &Path) -> Result<()> {
        Err(Error::Unsupported(format!("`{}`: FAT has no owners", path.display())))
    }

    /// FAT has no modes.
    ///
    /// # Errors
    /// Always [`Error::Unsupported`].
    pub fn set_mode(&mut self, path: &Path) -> Result<()> {
        Err(Error::Unsupported(format!("`{}`: FAT has no modes", path.display())))
    }

    /// All edits, at offsets of the image.
    pub fn into_changes(self) -> Result<Changes> {
        self.overlay.into_changes().map_err(|e| Error::io("FAT", e))
    }

    fn look<R>(
        &self,
        path: &Path,
        look: impl FnOnce(&FatFs<'_, '_, 'a>) -> io::Result<R>,
    ) -> Result<R> {
        let mut device = self.overlay.device();
        let outcome = with_fatfs(&mut device, look);
        outcome.map_err(|e| describe(path, e))
    }

    fn edit(
        &mut self,
        path: &Path,
        now: u64,
        edit: impl FnOnce(&FatFs<'_, '_, 'a>) -> io::Result<()>,
    ) -> Result<()> {
        let written = self.edited(path, now, edit)?.into_written();
        self.overlay.keep(written);
        Ok(())
    }

    fn check_clean(&self) -> Result<()> {
        if self.geometry.is_dirty {
            let what = "it was not unmounted; `fsck.fat -a` mends it";
            return Err(Error::NotClean(what.into()));
        }
        Ok(())
    }

    /// A device that holds what `edit` wrote.
    fn edited(
        &self,
        path: &Path,
        now: u64,
        edit: impl FnOnce(&FatFs<'_, '_, 'a>) -> io::Result<()>,
    ) -> Result<Device<'_, 'a>> {
        self.check_clean()?;
        let mut device = self.overlay.device();
        let outcome = clock::at(now, || with_fatfs(&mut device, edit));
        outcome.map_err(|e| describe(path, e))?;
        Ok(device)
    }
}

fn with_fatfs<'d, 'o, 'a, R>(
    device: &'d mut Device<'o, 'a>,
    act: impl FnOnce(&FatFs<'d, 'o, 'a>) -> io::Result<R>,
) -> io::Result<R> {
    let options = FsOptions::new().time_provider(&Clock);
    let fs = FileSystem::new(device, options)?;
    let result = act(&fs)?;
    // Not left to be dropped: that would lose the error.
    fs.unmount()?;
    Ok(result)
}

fn directory<'f, 'd, 'o, 'a>(
    fs: &'f FatFs<'d, 'o, 'a>,
    names: &[String],
) -> io::Result<Dir<'f, &'d mut Device<'o, 'a>>> {
    names.iter().try_fold(fs.root_dir(), |directory, name| directory.open_dir(name))
}

/// The names on the way, from the root.
fn components(path: &Path) -> Result<Vec<String>> {
    let invalid = |what| Error::InvalidPath { path: path.into(), what };
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => {
                names.push(name.to_str().ok_or_else(|| invalid("a FAT name is text"))?.to_string());
            }
            Component::ParentDir | Component::Prefix(_) => {
                return Err(invalid("`..` has no place in a path inside a FAT"));
            }
        }
    }
    Ok(names)
}

/// The names on the way, of which the last may be a new one.
fn checked_name(path: &Path) -> Result<Vec<String>> {
    let invalid = |what| Err(Error::InvalidPath { path: path.into(), what });
    let names = components(path)?;
    let Some(name) = names.last() else { return Ok(names) };
    if name.len() > 255 {
        invalid("a FAT name is at most 255 bytes long")
    } else if name.ends_with(['.', ' ']) {
        invalid("a FAT name does not end in a dot or a blank")
    } else if name.contains(['"', '*', '/', ':', '<', '>', '?', '\\', '|', '\u{7f}'])
        || !name.chars().all(|c| (' '..='\u{ffff}').contains(&c))
    {
        invalid("a character that no FAT name has")
    } else {
        Ok(names)
    }
}

/// Whether it is `.` or `..`. By its short name: a long one could say anything.
fn is_dots(found: &DirEntry<'_, &mut Device<'_, '_>>) -> bool {
    found.is_dir() && matches!(found.short_file_name_as_bytes(), b"." | b"..")
}

/// What an entry says, if its name can be a component of a path.
fn entry(found: &DirEntry<'_, &mut Device<'_, '_>>) -> io::Result<Entry> {
    let name = found.file_name();
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(io::Error::other(format!("the name {name:?}")));
    }
    let modified = clock::seconds(found.modified());
    Ok(Entry { name, is_dir: found.is_dir(), len: found.len(), modified })
}

fn is_a_directory() -> io::Error {
    ErrorKind::IsADirectory.into()
}

fn describe(path: &Path, error: io::Error) -> Error {
    let text = error.to_string();
    match (error.kind(), &*text) {
        (ErrorKind::NotFound, _) => Error::NotFound(path.into()),
        (ErrorKind::AlreadyExists, _) => Error::AlreadyExists(path.into()),
        (ErrorKind::IsADirectory, _) | (_, IS_A_DIRECTORY) => Error::IsADirectory(path.into()),
        (_, "Not a directory") => Error::NotADirectory(path.into()),
        (_, "Directory not empty") => {
            Error::WrongKind { path: path.into(), what: "the directory is not empty".into() }
        }
        (_, "No space left on device") => Error::NoSpace("all clusters are in use".into()),
        // Only a directory in a place of its own cannot grow.
        (ErrorKind::WriteZero, _) => Error::NoSpace("the root directory is full".into()),
        (ErrorKind::Other | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof, text) => {
            Error::corrupt(format!("FAT: `{}`: {text}", path.display()))
        }
        _ => Error::io(format!("FAT: `{}`", path.display()), error),
    }
}
