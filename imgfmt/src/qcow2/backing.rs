//! Images and the files that they are laid over, opened together.
//!
//! An image from the network could name any file of the host as its backing file, and so carry it into a guest. So a
//! backing file is opened only where it lies in the directory of the image that names it, below it, or in a directory that
//! the caller allows; links are followed before that is asked. Nothing but files is opened: no `nbd://`, no `json:`.

use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Qcow2;
use super::header::{Backing, Header, MAGIC};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::storage::Storage;

/// How many files may lie over one another.
const CHAIN_MAX: usize = 64;

/// An image, or a file that others are laid over.
#[derive(Debug)]
pub enum Layer {
    /// A raw image.
    Raw(Image),
    /// One more qcow2 image.
    Qcow2(Box<Qcow2<Image, Layer>>),
}

impl Layer {
    /// Its own file, then those that it is laid over.
    pub fn files(&self) -> Vec<&Image> {
        let mut files = Vec::new();
        let mut next = Some(self);
        while let Some(layer) = next {
            match layer {
                Self::Raw(image) => {
                    files.push(image);
                    next = None;
                }
                Self::Qcow2(image) => {
                    files.push(&image.file);
                    next = image.below.as_ref();
                }
            }
        }
        files
    }

    /// Nobody has written to any of its files since they were opened.
    ///
    /// # Errors
    /// Those of [`Image::check_unchanged`].
    pub fn check_unchanged(&self) -> Result<()> {
        self.files().into_iter().try_for_each(Image::check_unchanged)
    }
}

impl Storage for Layer {
    fn len(&self) -> u64 {
        match self {
            Self::Raw(image) => image.len(),
            Self::Qcow2(image) => image.len(),
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Raw(image) => image.read_at(offset, buf),
            Self::Qcow2(image) => image.read_at(offset, buf),
        }
    }

    fn data_from(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        match self {
            Self::Raw(image) => image.data_from(offset),
            Self::Qcow2(image) => image.data_from(offset),
        }
    }
}

/// Whether `file` is a qcow2 image, by its magic.
///
/// # Errors
/// [`Error::Io`].
pub fn is_qcow2(file: &dyn Storage) -> Result<bool> {
    let mut magic = [0; MAGIC.len()];
    if file.len() < magic.len() as u64 {
        return Ok(false);
    }
    file.read_at(0, &mut magic).map_err(|e| Error::io("cannot read it", e))?;
    Ok(magic == MAGIC)
}

/// Read `file`, a qcow2 image, with its backing files. They lie in its directory, or in one of `allowed`.
///
/// # Errors
/// Those of [`Header::read`] and of [`Image::open`]; [`Error::BackingElsewhere`]; [`Error::Unsupported`] for a backing
/// file that is none.
pub fn open(file: Image, allowed: &[PathBuf]) -> Result<Qcow2<Image, Layer>> {
    layered(file, allowed, CHAIN_MAX)
}

fn layered(file: Image, allowed: &[PathBuf], depth: usize) -> Result<Qcow2<Image, Layer>> {
    let header = Header::read(&file)?;
    let below = match &header.backing {
        None => None,
        Some(_) if depth == 0 => {
            return Err(Error::Unsupported(format!("qcow2: more than {CHAIN_MAX} backing files")));
        }
        Some(backing) => Some(layer(file.path(), backing, allowed, depth - 1)?),
    };
    Qcow2::new(file, header, below)
}

fn layer(path: &Path, backing: &Backing, allowed: &[PathBuf], depth: usize) -> Result<Layer> {
    let place = locate(path, &backing.name, allowed)?;
    let file = Image::open(&place)?;
    let is_qcow2 = match backing.format.as_deref() {
        Some(b"raw" | b"file" | b"host_device") => false,
        Some(b"qcow2") => true,
        // As in QEMU. What is taken for qcow2 by mistake can name none but files that may be read anyway.
        None => is_qcow2(&file)?,
        Some(other) => {
            let format = String::from_utf8_lossy(other).into_owned();
            return Err(Error::Unsupported(format!(
                "qcow2 over `{}`, a backing file in the format `{format}`, is not read",
                place.display()
            )));
        }
    };
    Ok(match is_qcow2 {
        true => Layer::Qcow2(Box::new(layered(file, allowed, depth)?)),
        false => Layer::Raw(file),
    })
}

/// Where the backing file `name` of the image at `path` is, if it may be opened.
fn locate(path: &Path, name: &[u8], allowed: &[PathBuf]) -> Result<PathBuf> {
    let shown = String::from_utf8_lossy(name).into_owned();
    let name = name.strip_prefix(b"file:").unwrap_or(name);
    // As QEMU tells them apart: a colon before any slash.
    if name.iter().find(|byte| [b':', b'/'].contains(byte)) == Some(&b':') {
        return Err(Error::Unsupported(format!("qcow2: the backing file `{shown}` is not a file")));
    }
    let image = path.canonicalize().map_err(|e| at(path, e))?;
    let home = image.parent().expect("a file has a directory");
    let named = home.join(OsStr::from_bytes(name));
    let place = named.canonicalize().map_err(|e| at(&named, e))?;
    let is_below = |directory: &PathBuf| {
        directory.canonicalize().is_ok_and(|directory| place.starts_with(directory))
    };
    if place.starts_with(home) || allowed.iter().any(is_below) {
        return Ok(place);
    }
    Err(Error::BackingElsewhere { image: path.into(), place })
}

fn at(path: &Path, error: io::Error) -> Error {
    Error::io(format!("backing file `{}`", path.display()), error)
}
