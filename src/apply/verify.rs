//! A second pair of eyes: the crate `ext4-view`, which shares no code with our writer, reads each edit back. Of a copy it
//! reads the finished image; of an image that is edited where it lies it reads what the image will be, before a byte of
//! it changes.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use ext4_view::{Ext4, Ext4Error, Ext4Read};
use imgfmt::qcow2::{self, Layer, Qcow2};
use imgfmt::{Image, Storage};
use sha2::{Digest, Sha256};

use super::contents::Loaded;
use super::edits::{DiskChanges, Write};
use super::staged::{Fed, Seen};
use crate::failure::{Failure, Result};

/// What the independent reader saw.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// All edits are there.
    Equal {
        /// How many.
        edits: usize,
    },
    /// The reader does not know a feature of this file system.
    NotReadable {
        /// The reader's reason.
        reason: String,
    },
}

/// What was done to one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// SHA-256 of what was written, for each edit that writes a file.
    pub digests: Vec<Option<String>>,
    /// What the independent reader saw.
    pub verdict: Verdict,
}

/// Where a finished disk is read from.
#[derive(Debug)]
pub enum Finished {
    /// A raw image.
    Raw(File),
    /// An overlay, with what it is laid over.
    Overlay(Arc<Qcow2<Image, Layer>>),
}

impl Finished {
    /// The raw image at `path`.
    ///
    /// # Errors
    /// Those of the host.
    pub fn raw(path: &Path) -> io::Result<Self> {
        Ok(Self::Raw(File::open(path)?))
    }

    /// The overlay at `path` of the image at `below`, both opened anew.
    ///
    /// # Errors
    /// Where one of them cannot be read.
    pub fn overlay(path: &Path, below: &Path) -> imgfmt::Result<Self> {
        let below = Image::open(below)?;
        let below = match qcow2::is_qcow2(&below)? {
            true => Layer::Qcow2(Box::new(qcow2::open(below, &[])?)),
            false => Layer::Raw(below),
        };
        let file = Image::open(path)?;
        let header = qcow2::Header::read(&file)?;
        Ok(Self::Overlay(Arc::new(Qcow2::new(file, header, Some(below))?)))
    }

    fn try_clone(&self) -> Result<Self> {
        Ok(match self {
            Self::Raw(file) => {
                let fail = |e| Failure::new(format!("cannot read back: {e}"));
                Self::Raw(file.try_clone().map_err(fail)?)
            }
            Self::Overlay(disk) => Self::Overlay(Arc::clone(disk)),
        })
    }

    fn len(&self) -> io::Result<u64> {
        match self {
            Self::Raw(file) => Ok(file.metadata()?.len()),
            Self::Overlay(disk) => Ok(disk.len()),
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Raw(file) => file.read_exact_at(buf, offset),
            Self::Overlay(disk) => disk.read_at(offset, buf),
        }
    }
}

/// What is read at a time, in bytes: `ext4-view` asks for each group's descriptor by itself, of which a TiB has 8,192.
const CHUNK: u64 = 64 << 10;

/// A window of a disk, as `ext4-view` wants it.
struct Window {
    disk: Finished,
    start: u64,
    /// What is not written yet.
    write: Option<Arc<Write>>,
    /// Where the bytes begin that were read last, and they.
    chunk: (u64, Vec<u8>),
}

impl Window {
    fn new(disk: Finished, start: u64, write: Option<Arc<Write>>) -> Self {
        Self { disk, start, write, chunk: (0, Vec::new()) }
    }

    fn read_at(&self, offset: u64, dst: &mut [u8]) -> io::Result<()> {
        self.disk.read_at(offset, dst)?;
        if let Some(write) = &self.write {
            write.show(offset, dst);
        }
        Ok(())
    }

    /// What the chunk has at `offset`.
    fn held(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let (begin, bytes) = &self.chunk;
        let first = usize::try_from(offset.checked_sub(*begin)?).ok()?;
        bytes.get(first..first.checked_add(len)?)
    }
}

impl Ext4Read for Window {
    fn read(
        &mut self,
        start_byte: u64,
        dst: &mut [u8],
    ) -> std::result::Result<(), Box<dyn Error + Send + Sync>> {
        let offset = self.start.checked_add(start_byte).ok_or("offset past 2^64")?;
        if self.held(offset, dst.len()).is_none() {
            let begin = offset / CHUNK * CHUNK;
            let len = self.disk.len()?.saturating_sub(begin).min(CHUNK);
            let mut bytes = vec![0; usize::try_from(len)?];
            self.read_at(begin, &mut bytes)?;
            self.chunk = (begin, bytes);
        }
        match self.held(offset, dst.len()) {
            Some(bytes) => dst.copy_from_slice(bytes),
            // It is longer, or lies over the end of one.
            None => self.read_at(offset, dst)?,
        }
        Ok(())
    }
}

/// Read the edits of each volume back from `disk`. `unwritten`: they are not there yet, but have to show when they are laid
/// over it.
///
/// # Errors
/// Where the reader sees anything else than what was planned.
pub fn volumes(
    disk: &Finished,
    changes: &DiskChanges,
    loaded: &[Vec<Loaded<'_>>],
    unwritten: bool,
) -> Result<Vec<Edited>> {
    let write = unwritten.then(|| Arc::clone(&changes.write));
    let volumes = changes.volumes.iter().zip(loaded);
    let edited = volumes.map(|(volume, loaded)| {
        let verdict = if volume.is_fat {
            Verdict::NotReadable { reason: "ext4-view does not read FAT".into() }
        } else {
            edits(disk, volume.start, write.clone(), loaded)?
        };
        Ok(Edited { digests: loaded.iter().map(Loaded::digest).collect(), verdict })
    });
    edited.collect()
}

/// Read `edits` back from the file system at byte `start` of `disk`, with `write` laid over it.
///
/// # Errors
/// Where the reader sees anything else than what was planned.
pub fn edits(
    disk: &Finished,
    start: u64,
    write: Option<Arc<Write>>,
    edits: &[Loaded<'_>],
) -> Result<Verdict> {
    let disk = disk.try_clone()?;
    let fs = match Ext4::load(Box::new(Window::new(disk, start, write))) {
        Ok(fs) => fs,
        Err(Ext4Error::Incompatible(reason)) => {
            return Ok(Verdict::NotReadable { reason: reason.to_string() });
        }
        Err(error) => return Err(differs("the file system", &error.to_string())),
    };
    // Two edits of one path: the last one counts.
    let last: BTreeMap<&str, &Loaded<'_>> = edits.iter().map(|e| (e.path(), e)).collect();
    for edit in last.values() {
        match look(&fs, edit) {
            Ok(None) => {}
            Ok(Some(difference)) => return Err(differs(edit.path(), &difference)),
            Err(Ext4Error::Incompatible(reason)) => {
                return Ok(Verdict::NotReadable { reason: reason.to_string() });
            }
            Err(error) => return Err(differs(edit.path(), &error.to_string())),
        }
    }
    Ok(Verdict::Equal { edits: edits.len() })
}

/// Read back what was fed to the directory `top` of the new file system in `file`.
///
/// # Errors
/// Where the reader sees anything else.
pub fn tree(file: &File, top: &str, fed: &Fed) -> Result<()> {
    let file = file.try_clone().map_err(|e| Failure::new(format!("cannot read back: {e}")))?;
    let found = Ext4::load(Box::new(Window::new(Finished::Raw(file), 0, None)))
        .and_then(|fs| look_below(&fs, top, fed));
    match found {
        Ok(None) => Ok(()),
        Ok(Some(difference)) => Err(differs(top, &difference)),
        Err(error) => Err(differs(top, &error.to_string())),
    }
}

/// `None` where the edit is there, or what is there in its place.
fn look(fs: &Ext4, edit: &Loaded<'_>) -> std::result::Result<Option<String>, Ext4Error> {
    let path = edit.path();
    let (mode, owner) = match edit {
        Loaded::Tree(opened) => return look_below(fs, path, &opened.fed()),
        Loaded::Symlink { target, .. } => {
            let found = fs.read_link(path)?;
            let equal = found.as_ref() == target.as_bytes();
            return Ok((!equal).then(|| format!("points to `{}`", found.display())));
        }
        Loaded::Write { bytes, mode, owner, .. } => {
            if fs.read(path)? != **bytes {
                return Ok(Some("has another content".into()));
            }
            (mode, owner)
        }
        Loaded::CreateDir { mode, owner, .. } => {
            if !fs.metadata(path)?.is_dir() {
                return Ok(Some("is no directory".into()));
            }
            (mode, owner)
        }
    };
    let metadata = fs.metadata(path)?;
    if let Some(mode) = mode
        && u32::from(metadata.mode()) & 0o7777 != *mode
    {
        return Ok(Some(format!("has mode {:04o}", metadata.mode() & 0o7777)));
    }
    if let Some(owner) = owner
        && (metadata.uid(), metadata.gid()) != *owner
    {
        return Ok(Some(format!("belongs to {}:{}", metadata.uid(), metadata.gid())));
    }
    Ok(None)
}

/// The first entry of a tree that is not there as it was fed.
fn look_below(fs: &Ext4, top: &str, fed: &Fed) -> std::result::Result<Option<String>, Ext4Error> {
    let is_behind_link = |path: &[u8]| {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        ends.into_iter().any(|end| matches!(fed.get(&path[..end]), Some(Seen::Symlink(_))))
    };
    // What an archive puts behind a link of its own lies where that leads.
    for (path, seen) in fed.iter().filter(|(path, _)| !is_behind_link(path)) {
        let shown = String::from_utf8_lossy(path);
        let path = [top.trim_end_matches('/').as_bytes(), b"/", path].concat();
        let path = path.as_slice();
        let is_there = match seen {
            Seen::File(len, digest) => {
                let mut file = fs.open(path)?;
                file.metadata().len() == *len
                    && digest.is_none_or(|digest| {
                        digest_of(&mut file).is_ok_and(|found| found == digest)
                    })
            }
            Seen::Dir => fs.metadata(path)?.is_dir(),
            Seen::Symlink(text) => fs.read_link(path)?.as_ref() == text.as_slice(),
            Seen::Other => {
                fs.symlink_metadata(path)?;
                true
            }
        };
        if !is_there {
            return Ok(Some(format!("has another `{}`", shown.escape_debug())));
        }
    }
    Ok(None)
}

fn digest_of(file: &mut ext4_view::File) -> std::result::Result<[u8; 32], Ext4Error> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match file.read_bytes(&mut piece)? {
            0 => return Ok(hash.finalize().into()),
            count => hash.update(&piece[..count]),
        }
    }
}

fn differs(path: &str, what: &str) -> Failure {
    Failure::new(format!("the independent reader does not see the plan: `{path}` {what}"))
        .hint("nothing was written; please report this with the image")
}
