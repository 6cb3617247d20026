//! Moving a name, within a directory or to another.
//!
//! What stood at the new name goes in the same step. A directory that moves to another takes its `..` along: its old
//! parent has one link less, its new one one more.

use std::path::Path;

use super::name::{add_subdir, check_project, drop_subdir};
use super::protected;
use super::remove::{check_empty, named, remove_dir, remove_file};
use crate::error::{Error, Result};
use crate::ext::dir;
use crate::ext::edit::transaction::Transaction;
use crate::ext::inode::{self, Inode};
use crate::ext::path::{Target, resolve, resolve_way, without_slash};

impl Transaction<'_> {
    /// Move the name `from` to `to`; symbolic links at their ends are not followed.
    ///
    /// A file replaces a file, a directory an empty directory. Where both names lead to the same inode, both stay.
    ///
    /// # Errors
    /// [`Error::IsADirectory`] and [`Error::NotADirectory`] where one would replace the other, [`Error::WrongKind`] where
    /// `to` is a directory that is not empty or either cannot be renamed by that name, [`Error::InvalidPath`] where a
    /// directory would come to lie in itself, [`Error::Protected`] where a flag holds a name in its place.
    pub fn rename(&mut self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
        let (from, to) = (from.as_ref(), to.as_ref());
        self.atomically(|tx| rename(tx, from, to))
    }
}

fn rename(tx: &mut Transaction<'_>, from: &Path, to: &Path) -> Result<()> {
    // Whatever is wrong with the way to either is said before what is wrong with its end.
    resolve(tx, without_slash(from).0, false)?;
    let (bare, has_slash) = without_slash(to);
    let (target, way) = resolve_way(tx, bare, false)?;
    let (source, old_dir, old_name) = named(tx, from)?;
    if has_slash && !source.is_dir() {
        return Err(Error::NotADirectory(to.to_owned()));
    }
    let (new_dir, new_name, replaced) = match target {
        Target::Found { nr, named: Some(_) } if nr == source.nr() => return Ok(()),
        Target::Missing { parent, name } => (parent, name, None),
        Target::Found { .. } => {
            let (inode, parent, name) = named(tx, to)?;
            (parent, name, Some(inode))
        }
    };
    if way.contains(&source.nr()) {
        let what = "a directory cannot be moved into itself";
        return Err(Error::InvalidPath { path: to.to_owned(), what });
    }
    protected::check_remove(&inode::read(tx, old_dir)?, &source, from)?;
    protected::check_insert(&inode::read(tx, new_dir)?, to)?;
    check_project(tx, new_dir, &source, to)?;
    if let Some(inode) = replaced {
        protected::check_remove(&inode::read(tx, new_dir)?, &inode, to)?;
        check_replaces(tx, &source, &inode, to)?;
        match inode.is_dir() {
            true => remove_dir(tx, inode, new_dir, &new_name)?,
            false => remove_file(tx, inode, new_dir, &new_name)?,
        }
    }
    dir::edit::insert(tx, new_dir, &new_name, source.nr(), source.kind())?;
    dir::edit::remove(tx, old_dir, &old_name)?;
    if source.is_dir() && old_dir != new_dir {
        add_subdir(tx, new_dir)?;
        drop_subdir(tx, old_dir)?;
        dir::parent::set(tx, source.nr(), new_dir)?;
    }
    let now = tx.now();
    tx.edit_inode(source.nr(), |inode| inode.set_ctime(now))
}

fn check_replaces(tx: &Transaction<'_>, source: &Inode, target: &Inode, to: &Path) -> Result<()> {
    match (source.is_dir(), target.is_dir()) {
        (true, true) => check_empty(tx, target, to),
        (true, false) => Err(Error::NotADirectory(to.to_owned())),
        (false, true) => Err(Error::IsADirectory(to.to_owned())),
        (false, false) => Ok(()),
    }
}
