//! A second pair of eyes: the crate `ext4-view`, which shares no code with our writer, reads each edit back. Of a copy it
//! reads the finished image; of an image that is edited where it lies it reads what the image will be, before a byte of
//! it changes.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use ext4_view::{Ext4, Ext4Error, Ext4Read};

use super::contents::Loaded;
use super::edits::{DiskChanges, Write};
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

/// A window of a file, as `ext4-view` wants it.
struct Window {
    file: File,
    start: u64,
    /// What is not written yet.
    write: Option<Arc<Write>>,
}

impl Ext4Read for Window {
    fn read(
        &mut self,
        start_byte: u64,
        dst: &mut [u8],
    ) -> std::result::Result<(), Box<dyn Error + Send + Sync>> {
        let offset = self.start.checked_add(start_byte).ok_or("offset past 2^64")?;
        self.file.read_exact_at(dst, offset)?;
        if let Some(write) = &self.write {
            write.show(offset, dst);
        }
        Ok(())
    }
}

/// Read the edits of each volume back from `file`. `unwritten`: they are not there yet, but have to show when they are laid
/// over it.
///
/// # Errors
/// Where the reader sees anything else than what was planned.
pub fn volumes(
    file: &File,
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
            edits(file, volume.start, write.clone(), loaded)?
        };
        Ok(Edited { digests: loaded.iter().map(Loaded::digest).collect(), verdict })
    });
    edited.collect()
}

/// Read `edits` back from the file system at byte `start` of `file`, with `write` laid over it.
///
/// # Errors
/// Where the reader sees anything else than what was planned.
pub fn edits(
    file: &File,
    start: u64,
    write: Option<Arc<Write>>,
    edits: &[Loaded<'_>],
) -> Result<Verdict> {
    let file = file.try_clone().map_err(|e| Failure::new(format!("cannot read back: {e}")))?;
    let fs = match Ext4::load(Box::new(Window { file, start, write })) {
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

/// `None` where the edit is there, or what is there in its place.
fn look(fs: &Ext4, edit: &Loaded<'_>) -> std::result::Result<Option<String>, Ext4Error> {
    let path = edit.path();
    let (mode, owner) = match edit {
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

fn differs(path: &str, what: &str) -> Failure {
    Failure::new(format!("the independent reader does not see the plan: `{path}` {what}"))
        .hint("nothing was written; please report this with the image")
}
