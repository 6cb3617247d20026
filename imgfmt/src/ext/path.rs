//! From a path to an inode, within the image.
//!
//! Every path starts at the root of the image, absolute symbolic links as well, and `..` of the root is the root: nothing
//! leads out. At most [`MAX_LINKS`] symbolic links are followed on one way.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::dir;
use crate::ext::file;
use crate::ext::inode::{self, FileType, Inode};
use crate::ext::nr::InodeNr;
use crate::ext::ondisk::dirent::NAME_MAX;

/// The most symbolic links on one way, as in the kernel.
pub(crate) const MAX_LINKS: u32 = 40;

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// To something that is there.
    Found {
        /// The inode.
        nr: InodeNr,
        /// The directory and the name by which it was reached; `None` for the root, and behind `.` or `..`.
        named: Option<(InodeNr, Vec<u8>)>,
    },
    /// To a name that could be made: only the last one is missing.
    Missing {
        /// The directory.
        parent: InodeNr,
        /// The name.
        name: Vec<u8>,
    },
}

/// Follow `path`, and a symbolic link at its end if `follow`.
pub(crate) fn resolve(blocks: &impl Blocks, path: &Path, follow: bool) -> Result<Target> {
    Ok(resolve_way(blocks, path, follow)?.0)
}

/// The same, and the directories from the root down to where `path` ends, itself included if it is one.
pub(crate) fn resolve_way(
    blocks: &impl Blocks,
    path: &Path,
    follow: bool,
) -> Result<(Target, Vec<InodeNr>)> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes.contains(&0) {
        let what = if bytes.is_empty() { "an empty path" } else { "a path with a NUL" };
        return Err(Error::InvalidPath { path: path.to_owned(), what });
    }
    let mut walk = Walk { blocks, path, dirs: vec![InodeNr::ROOT], rest: Vec::new(), links: 0 };
    walk.push(bytes);
    let mut last = Target::Found { nr: InodeNr::ROOT, named: None };
    while let Some(name) = walk.rest.pop() {
        if name == b".." {
            if walk.dirs.len() > 1 {
                walk.dirs.pop();
            }
            last = Target::Found { nr: walk.here(), named: None };
            continue;
        }
        last = walk.step(name, follow)?;
    }
    Ok((last, walk.dirs))
}

/// The inode that `path` leads to.
pub(crate) fn find(blocks: &impl Blocks, path: &Path, follow: bool) -> Result<Inode> {
    match resolve(blocks, path, follow)? {
        Target::Found { nr, .. } => inode::read(blocks, nr),
        Target::Missing { .. } => Err(Error::NotFound(path.to_owned())),
    }
}

struct Walk<'a, B> {
    blocks: &'a B,
    path: &'a Path,
    /// From the root down to where we are.
    dirs: Vec<InodeNr>,
    /// Names still to go, the next one last.
    rest: Vec<Vec<u8>>,
    links: u32,
}

impl<B: Blocks> Walk<'_, B> {
    fn push(&mut self, path: &[u8]) {
        let names = path.split(|&byte| byte == b'/').rev();
        self.rest
            .extend(names.filter(|name| !name.is_empty() && *name != b".").map(<[u8]>::to_vec));
    }

    fn here(&self) -> InodeNr {
        *self.dirs.last().expect("the root is never popped")
    }

    fn step(&mut self, name: Vec<u8>, follow: bool) -> Result<Target> {
        if name.len() > NAME_MAX {
            let what = "a name of more than 255 bytes";
            return Err(Error::InvalidPath { path: self.path.to_owned(), what });
        }
        let here = self.here();
        let parent = inode::read(self.blocks, here)?;
        if !parent.is_dir() {
            return Err(Error::NotADirectory(self.path.to_owned()));
        }
        let Some(dir::Place { nr, .. }) = dir::locate(self.blocks, &parent, &name)? else {
            return match self.rest.is_empty() {
                true => Ok(Target::Missing { parent: here, name }),
                false => Err(Error::NotFound(self.path.to_owned())),
            };
        };
        let inode = inode::read(self.blocks, nr)?;
        match inode.kind() {
            FileType::Directory => self.dirs.push(nr),
            FileType::Symlink if follow || !self.rest.is_empty() => {
                self.links += 1;
                if self.links > MAX_LINKS {
                    return Err(Error::SymlinkLoop(self.path.to_owned()));
                }
                let target = file::read_link(self.blocks, &inode)?;
                if target.starts_with(b"/") {
                    self.dirs.truncate(1);
                }
                self.push(&target);
                return Ok(Target::Found { nr: self.here(), named: None });
            }
            _ if !self.rest.is_empty() => {
                return Err(Error::NotADirectory(self.path.to_owned()));
            }
            _ => {}
        }
        Ok(Target::Found { nr, named: Some((here, name)) })
    }
}
