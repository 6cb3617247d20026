//! Taking names away, and what they led to when no other name does.

use std::path::{Path, PathBuf};

use super::name::drop_subdir;
use super::protected;
use super::write::free_mapping;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::dir;
use crate::ext::edit::transaction::Transaction;
use crate::ext::file;
use crate::ext::inode::{self, FileType, Inode};
use crate::ext::map;
use crate::ext::nr::{BlockNr, InodeNr};
use crate::ext::ondisk::inode::flag;
use crate::ext::path::{Target, resolve, without_slash};
use crate::ext::xattr;

impl Transaction<'_> {
    /// Take away the name `path`, of anything but a directory; of a symbolic link, not of what it leads to.
    ///
    /// # Errors
    /// [`Error::IsADirectory`] where it is one, [`Error::Protected`] where a flag holds the name in its place.
    pub fn remove_file(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.atomically(|tx| {
            let (inode, parent, name) = named(tx, path)?;
            if inode.is_dir() {
                return Err(Error::IsADirectory(path.to_owned()));
            }
            protected::check_remove(&inode::read(tx, parent)?, &inode, path)?;
            remove_file(tx, inode, parent, &name)
        })
    }

    /// Take away an empty directory.
    ///
    /// # Errors
    /// [`Error::WrongKind`] where it is not empty, or the root; [`Error::Protected`] where a flag holds the name in its
    /// place.
    pub fn remove_dir(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.atomically(|tx| {
            let (inode, parent, name) = named(tx, path)?;
            if !inode.is_dir() {
                return Err(Error::NotADirectory(path.to_owned()));
            }
            check_empty(tx, &inode, path)?;
            protected::check_remove(&inode::read(tx, parent)?, &inode, path)?;
            remove_dir(tx, inode, parent, &name)
        })
    }

    /// Take away a directory and all that is below it; of a symbolic link, the link alone. What has names elsewhere
    /// stays there.
    ///
    /// # Errors
    /// [`Error::NotADirectory`] where something else is at `path`, [`Error::WrongKind`] where it is the root. What cannot
    /// be removed is refused with its own path, and everything stays.
    pub fn remove_dir_all(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.atomically(|tx| {
            let (inode, parent, name) = named(tx, path)?;
            protected::check_remove(&inode::read(tx, parent)?, &inode, path)?;
            match inode.kind() {
                FileType::Symlink => remove_file(tx, inode, parent, &name),
                FileType::Directory => {
                    dir::edit::remove(tx, parent, &name)?;
                    drop_subdir(tx, parent)?;
                    Doomed::new(path, inode.nr()).discard(tx)
                }
                _ => Err(Error::NotADirectory(path.to_owned())),
            }
        })
    }
}

/// What is at `path`, and the name that leads there. A slash at its end is for directories, not for links to them.
pub(super) fn named(tx: &Transaction<'_>, path: &Path) -> Result<(Inode, InodeNr, Vec<u8>)> {
    let (bare, has_slash) = without_slash(path);
    match resolve(tx, bare, false)? {
        Target::Found { nr, named: Some((parent, name)) } => {
            let inode = not_reserved(tx, nr)?;
            match has_slash && !inode.is_dir() {
                true => Err(Error::NotADirectory(path.to_owned())),
                false => Ok((inode, parent, name)),
            }
        }
        Target::Found { named: None, .. } => {
            let what = "cannot be removed or renamed by this name".to_owned();
            Err(Error::WrongKind { path: path.to_owned(), what })
        }
        Target::Missing { .. } => Err(Error::NotFound(path.to_owned())),
    }
}

fn not_reserved(tx: &Transaction<'_>, nr: InodeNr) -> Result<Inode> {
    if nr.0 < tx.geometry().first_inode {
        return Err(inode::corrupt(nr, "is reserved, but named"));
    }
    inode::read(tx, nr)
}

/// Refuse a directory that has names.
pub(super) fn check_empty(tx: &Transaction<'_>, dir: &Inode, path: &Path) -> Result<()> {
    let mut is_empty = true;
    dir::for_each(tx, dir, |_, _, _| {
        is_empty = false;
        false
    })?;
    if !is_empty {
        let what = "is a directory that is not empty".to_owned();
        return Err(Error::WrongKind { path: path.to_owned(), what });
    }
    Ok(())
}

/// Take a name of anything but a directory.
pub(super) fn remove_file(
    tx: &mut Transaction<'_>,
    inode: Inode,
    parent: InodeNr,
    name: &[u8],
) -> Result<()> {
    dir::edit::remove(tx, parent, name)?;
    drop_name(tx, inode)
}

/// Take an empty directory.
pub(super) fn remove_dir(
    tx: &mut Transaction<'_>,
    inode: Inode,
    parent: InodeNr,
    name: &[u8],
) -> Result<()> {
    dir::edit::remove(tx, parent, name)?;
    drop_subdir(tx, parent)?;
    discard(tx, inode)
}

/// Anything but a directory has one name less.
fn drop_name(tx: &mut Transaction<'_>, mut inode: Inode) -> Result<()> {
    let links = inode.links_count();
    if links <= 1 {
        return discard(tx, inode);
    }
    inode.base_mut().links_count = (links - 1).into();
    inode.set_ctime(tx.now());
    tx.put_inode(inode)
}

/// Directories that go with all that is below them, as deep as they may be.
struct Doomed<'a> {
    top: &'a Path,
    /// Every directory that was met: its inode, its name, and the index of the one above it.
    dirs: Vec<(InodeNr, Vec<u8>, usize)>,
}

impl<'a> Doomed<'a> {
    fn new(top: &'a Path, nr: InodeNr) -> Self {
        Self { top, dirs: vec![(nr, Vec::new(), 0)] }
    }

    /// The names that lead to all of them have gone, or go with the directory that they are in.
    fn discard(mut self, tx: &mut Transaction<'_>) -> Result<()> {
        let mut left = vec![0];
        while let Some(index) = left.pop() {
            let (nr, _, _) = self.dirs[index];
            let dir = inode::read(tx, nr).map_err(|e| self.at(e, index, b""))?;
            let mut names = Vec::new();
            dir::for_each(tx, &dir, |_, entry, nr| {
                names.push((entry.name.to_vec(), nr));
                true
            })
            .map_err(|e| self.at(e, index, b""))?;
            for (name, nr) in names {
                let child =
                    self.check(tx, &dir, nr, index, &name).map_err(|e| self.at(e, index, &name))?;
                if child.is_dir() {
                    left.push(self.dirs.len());
                    self.dirs.push((nr, name, index));
                } else {
                    drop_name(tx, child).map_err(|e| self.at(e, index, &name))?;
                }
            }
            discard(tx, dir).map_err(|e| self.at(e, index, b""))?;
        }
        Ok(())
    }

    /// What a name leads to, if that may go.
    fn check(
        &self,
        tx: &Transaction<'_>,
        dir: &Inode,
        nr: InodeNr,
        index: usize,
        name: &[u8],
    ) -> Result<Inode> {
        let child = not_reserved(tx, nr)?;
        if dir.has(flag::IMMUTABLE | flag::APPEND) || child.has(flag::IMMUTABLE | flag::APPEND) {
            protected::check_remove(dir, &child, &self.path(index, name))?;
        }
        if child.is_dir() && dir::parent::read(tx, &child)? != dir.nr() {
            let what = format!("its `..` does not lead to directory {}", dir.nr());
            return Err(inode::corrupt(nr, &what));
        }
        Ok(child)
    }

    fn path(&self, index: usize, name: &[u8]) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        let mut names = vec![name];
        let mut at = index;
        while at != 0 {
            let (_, name, above) = &self.dirs[at];
            names.push(name);
            at = *above;
        }
        let mut path = self.top.to_owned();
        let names = names.into_iter().rev().filter(|name| !name.is_empty());
        path.extend(names.map(std::ffi::OsStr::from_bytes));
        path
    }

    /// Say at which path it was.
    fn at(&self, error: Error, index: usize, name: &[u8]) -> Error {
        let said = |what| format!("`{}`: {what}", self.path(index, name).display());
        match error {
            Error::Unsupported(what) => Error::Unsupported(said(what)),
            Error::Corrupt(what) => Error::Corrupt(said(what)),
            other => other,
        }
    }
}

/// Free an inode and all it has.
pub(super) fn discard(tx: &mut Transaction<'_>, mut inode: Inode) -> Result<()> {
    if inode.has(flag::EA_INODE) {
        return super::write::check_editable(tx, &inode);
    }
    super::write::check_attributes(tx, &inode)?;
    let old = file::mapping(tx, &inode)?;
    free_mapping(tx, old)?;
    xattr::edit::release_block(tx, &inode)?;
    tx.free_inode(inode.nr(), inode.is_dir())?;
    map::edit::clear(&mut inode);
    inode.set_size(0);
    inode.set_file_acl(tx.geometry(), BlockNr(0));
    let fits = inode.set_sectors(tx.geometry(), 0);
    debug_assert!(fits, "0 always fits");
    // Zero would mean that it was never deleted, and a time that could be an inode that it waits on the orphan list.
    let dtime = u32::try_from(tx.now().max(0)).unwrap_or(u32::MAX);
    let dtime = dtime.max(tx.geometry().inode_count);
    let base = inode.base_mut();
    base.links_count = 0.into();
    base.dtime = dtime.into();
    tx.put_inode(inode)
}
