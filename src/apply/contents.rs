//! The edits of a plan with their contents at hand: files of the host are read once, so that what is written is what is
//! verified.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::staged::Opened;
use crate::digest;
use crate::failure::{Failure, Result};
use crate::plan::{Action, Content, Edit};
use crate::xmf::model::InputKind;

/// The largest file of the host that a `file` element may bring in, in bytes: it is held in memory.
const CONTENT_MAX: u64 = 1 << 30;

/// One edit, ready to be made.
#[derive(Debug)]
pub enum Loaded<'p> {
    /// Create or replace a file.
    Write {
        /// Absolute path inside the image.
        path: &'p str,
        /// The content.
        bytes: Cow<'p, [u8]>,
        /// Permission bits, if the plan sets them.
        mode: Option<u32>,
        /// User and group, if the plan sets them.
        owner: Option<(u32, u32)>,
    },
    /// Create a directory where there is none.
    CreateDir {
        /// Absolute path inside the image.
        path: &'p str,
        /// Permission bits, if the plan sets them.
        mode: Option<u32>,
        /// User and group, if the plan sets them.
        owner: Option<(u32, u32)>,
    },
    /// Create or replace a symbolic link.
    Symlink {
        /// Absolute path inside the image.
        path: &'p str,
        /// Where it points.
        target: &'p str,
    },
    /// Put a tree of the host into a directory.
    Tree(Opened<'p>),
}

impl<'p> Loaded<'p> {
    /// Absolute path inside the image.
    pub fn path(&self) -> &'p str {
        match self {
            Self::Write { path, .. }
            | Self::CreateDir { path, .. }
            | Self::Symlink { path, .. } => path,
            Self::Tree(opened) => &opened.staged.path,
        }
    }

    /// SHA-256 of the content, where the edit writes a file.
    pub fn digest(&self) -> Option<String> {
        match self {
            Self::Write { bytes, .. } => Some(digest::sha256_of(bytes)),
            Self::CreateDir { .. } | Self::Symlink { .. } | Self::Tree(_) => None,
        }
    }

    /// Get the content of `edit`.
    ///
    /// # Errors
    /// Where a file of the host cannot be read or is too large.
    pub fn load(edit: &'p Edit) -> Result<Self> {
        let path = edit.path.as_str();
        Ok(match &edit.action {
            Action::Write { content, mode, owner } => {
                let bytes = match content {
                    Content::Bytes(bytes) => Cow::Borrowed(bytes.as_slice()),
                    Content::Host(source) => Cow::Owned(read(source)?),
                };
                Self::Write { path, bytes, mode: *mode, owner: *owner }
            }
            Action::CreateDir { mode, owner } => {
                Self::CreateDir { path, mode: *mode, owner: *owner }
            }
            Action::Symlink { target } => Self::Symlink { path, target },
            Action::Stage(staged) => {
                let opened = Opened::open(staged)?;
                match staged.kind {
                    InputKind::File => Self::Write {
                        path,
                        bytes: Cow::Owned(opened.read()?),
                        mode: Some(staged.mode),
                        owner: Some((0, 0)),
                    },
                    InputKind::Directory | InputKind::Tar => Self::Tree(opened),
                }
            }
        })
    }
}

/// A file of the host, whole.
fn read(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|e| Failure::host("cannot read", path, &e))?;
    let mut bytes = Vec::new();
    file.take(CONTENT_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::host("cannot read", path, &e))?;
    if bytes.len() as u64 > CONTENT_MAX {
        return Err(Failure::new(format!(
            "`{}` is larger than 1 GiB, the most that a `file` element brings in",
            path.display()
        ))
        .hint("put it on a disk of its own"));
    }
    Ok(bytes)
}
