//! From a path to an inode, within the image.
//!
//! Every path starts at the root of the image, absolute symbolic links as well, and `..` of the root is the root: nothing
//! leads out. At most [`MAX_LINKS`] symbolic links are followed on one way.
//!
//! As in `path_resolution(7)`, what has a `/` or a `.` behind it is a directory, and a symbolic link there is followed:
//!
//! ```text
//! link → dir      link: the link    link/, link/.: dir         link → file      link/: refused, not a directory
//! ```
//! Whoever makes, moves or takes away a name asks for it without the slash ([`without_slash`]): `link/` is then the link,
//! and what else a slash asks for is to be said there.

use std::ffi::OsStr;
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
    /// To a name that could be made: only the last one is missing, and no slash is behind it.
    Missing {
        /// The directory.
        parent: InodeNr,
        /// The name.
        name: Vec<u8>,
    },
}

/// The path without any `/` at its end, and whether there was one. The root stays as it is.
pub(crate) fn without_slash(path: &Path) -> (&Path, bool) {
    let bytes = path.as_os_str().as_bytes();
    let end = bytes.iter().rposition(|&byte| byte != b'/').map_or(bytes.len(), |last| last + 1);
    (Path::new(OsStr::from_bytes(&bytes[..end])), end < bytes.len())
}

/// Follow `path`, and a symbolic link at its end if `follow` or if a slash is behind it.
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
    let mut walk = Walk {
        blocks,
        path,
        dirs: vec![InodeNr::ROOT],
        rest: Vec::new(),
        has_slash: false,
        links: 0,
    };
    walk.push(bytes);
    let mut last = Target::Found { nr: InodeNr::ROOT, named: None };
    while let Some(name) = walk.rest.pop() {
        if name == b"." || name == b".." {
            if name == b".." && walk.dirs.len() > 1 {
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
    /// Whether a slash is behind the last of them.
    has_slash: bool,
    links: u32,
}

impl<B: Blocks> Walk<'_, B> {
    fn push(&mut self, path: &[u8]) {
        if self.rest.is_empty() {
            self.has_slash |= path.ends_with(b"/");
        }
        let names = path.split(|&byte| byte == b'/').rev();
        self.rest.extend(names.filter(|name| !name.is_empty()).map(<[u8]>::to_vec));
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
            return match self.rest.is_empty() && !self.has_slash {
                true => Ok(Target::Missing { parent: here, name }),
                false => Err(Error::NotFound(self.path.to_owned())),
            };
        };
        let inode = inode::read(self.blocks, nr)?;
        let wants_dir = self.has_slash || !self.rest.is_empty();
        match inode.kind() {
            FileType::Directory => self.dirs.push(nr),
            FileType::Symlink if follow || wants_dir => {
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
            _ if wants_dir => return Err(Error::NotADirectory(self.path.to_owned())),
            _ => {}
        }
        Ok(Target::Found { nr, named: Some((here, name)) })
    }
}
