//! Where paths of entries lead below the directory that takes them: whatever symbolic links say, never out of it.
//!
//! It goes as after `chroot`: an absolute link starts at that directory, and `..` above it is that directory. So nothing
//! that an archive brings, and nothing that was there, leads an entry elsewhere:
//!
//! ```text
//! root /srv/app, entries `out -> /etc`, `out/passwd`      the second one is /srv/app/etc/passwd
//! ```

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::path::TreePath;
use crate::error::{Error, Result};
use crate::ext::{FileType, Transaction};

/// As many symbolic links as the kernel follows on one way.
const LINKS_CAP: u32 = 40;

/// A directory of a file system, as the root of paths.
pub(super) struct Within {
    path: TreePath,
    root: PathBuf,
    /// The directory of the last entry, and where it is: entries of one come one after another.
    last: Option<(TreePath, PathBuf)>,
}

/// What is done where a directory on the way is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is made.
    Make,
    /// That is an error.
    Refuse,
}

/// A component that is still to go.
struct Step {
    name: OsString,
    /// It is of the text of a link: what is missing there is not made.
    of_link: bool,
}

impl Within {
    /// Paths start at `root`.
    pub(super) fn new(root: &TreePath) -> Self {
        Self { path: root.clone(), root: Path::new("/").join(root.as_path()), last: None }
    }

    /// The directory at `path` as a root of its own.
    pub(super) fn below(&self, tx: &mut Transaction<'_>, path: &Path) -> Result<Self> {
        let real = self.follow(tx, path, Missing::Refuse)?;
        let below = real.strip_prefix("/").expect("it starts at the root");
        Ok(Self::new(&TreePath::new(below.as_os_str().as_bytes()).expect("no `..` in it")))
    }

    /// The directory.
    pub(super) fn path(&self) -> &TreePath {
        &self.path
    }

    /// The same from the root of the file system.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where `path` is: behind the links on its way, its last component not followed.
    ///
    /// # Errors
    /// [`Error::NotADirectory`], [`Error::SymlinkLoop`], [`Error::NotFound`] for what is missing and is not to be made.
    pub(super) fn place(
        &mut self,
        tx: &mut Transaction<'_>,
        path: &TreePath,
        missing: Missing,
    ) -> Result<PathBuf> {
        let Some((parent, name)) = path.split() else { return Ok(self.root.clone()) };
        if let Some((last, real)) = &self.last
            && last.as_bytes() == parent
        {
            return Ok(real.join(OsStr::from_bytes(name)));
        }
        let parent = TreePath::new(parent).expect("part of a path");
        let real = self.directory(tx, &parent, missing)?;
        let place = real.join(OsStr::from_bytes(name));
        self.last = Some((parent, real));
        Ok(place)
    }

    /// Forget what may be otherwise from now on: something went that may have been on the way.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// Whether `place`, which was real once, still is: no component of it became a link.
    pub(super) fn is_real(&self, tx: &mut Transaction<'_>, place: &Path) -> Result<bool> {
        let below = place.strip_prefix(&self.root).expect("all places are below the root");
        let path = TreePath::new(below.as_os_str().as_bytes()).expect("no `..` in it");
        match self.directory(tx, &path, Missing::Refuse) {
            Ok(real) => Ok(real == place),
            Err(Error::NotFound(_) | Error::NotADirectory(_) | Error::SymlinkLoop(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Where the directory `path` is, behind all links, the last component too.
    pub(super) fn directory(
        &self,
        tx: &mut Transaction<'_>,
        path: &TreePath,
        missing: Missing,
    ) -> Result<PathBuf> {
        self.follow(tx, path.as_path(), missing)
    }

    fn follow(&self, tx: &mut Transaction<'_>, path: &Path, missing: Missing) -> Result<PathBuf> {
        let (mut real, mut depth, mut links) = (self.root.clone(), 0_usize, 0);
        let mut steps = steps(path, false);
        while let Some(Step { name, of_link }) = steps.pop() {
            if name == ".." {
                if depth > 0 {
                    real.pop();
                    depth -= 1;
                }
                continue;
            }
            let next = real.join(&name);
            match super::into_ext::kind(tx, &next)? {
                Some(FileType::Directory) => {}
                Some(FileType::Symlink) => {
                    links += 1;
                    if links > LINKS_CAP {
                        return Err(Error::SymlinkLoop(next));
                    }
                    let target = tx.read_link(&next)?;
                    if target.is_absolute() {
                        (real, depth) = (self.root.clone(), 0);
                    }
                    steps.extend(self::steps(&target, true));
                    continue;
                }
                Some(_) => return Err(Error::NotADirectory(next)),
                None if missing == Missing::Refuse || of_link => {
                    return Err(Error::NotFound(next));
                }
                None => tx.create_dir(&next)?,
            }
            (real, depth) = (next, depth + 1);
        }
        Ok(real)
    }
}

/// Components of a path, the first one last.
fn steps(path: &Path, of_link: bool) -> Vec<Step> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut steps: Vec<Step> = names.map(|name| Step { name, of_link }).collect();
    steps.reverse();
    steps
}
