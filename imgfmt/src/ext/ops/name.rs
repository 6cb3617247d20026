//! Names that are about to be made: whether they may be, and what an inode counts of them.
//!
//! A directory counts its own two names and the `..` of each directory in it. With `dir_nlink` one that would count past
//! the limit says 1, and nobody counts any longer.

use std::path::Path;

use super::protected;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::edit::transaction::Transaction;
use crate::ext::feature::RoCompat;
use crate::ext::inode::{self, FileType, Inode};
use crate::ext::nr::InodeNr;
use crate::ext::ondisk::inode::flag;
use crate::ext::path::{Target, resolve, without_slash};

/// Names of one inode (`EXT4_LINK_MAX`). Of a directory `dir_nlink` lifts the limit.
pub(super) const LINKS_MAX: u16 = 65000;

/// The directory and the name of `path`, where nothing may be yet. A slash at its end is for directories.
pub(super) fn free_name(
    tx: &Transaction<'_>,
    path: &Path,
    kind: FileType,
) -> Result<(InodeNr, Vec<u8>)> {
    let (bare, has_slash) = without_slash(path);
    match resolve(tx, bare, false)? {
        Target::Found { .. } => Err(Error::AlreadyExists(path.to_owned())),
        Target::Missing { .. } if has_slash && kind != FileType::Directory => {
            Err(Error::NotFound(path.to_owned()))
        }
        Target::Missing { parent, name } => {
            protected::check_insert(&inode::read(tx, parent)?, path)?;
            Ok((parent, name))
        }
    }
}

/// Directories that hand their project down take in nothing of another one.
pub(super) fn check_project(
    tx: &Transaction<'_>,
    parent: InodeNr,
    inode: &Inode,
    path: &Path,
) -> Result<()> {
    let dir = inode::read(tx, parent)?;
    let differs = dir.projid().unwrap_or(0) != inode.projid().unwrap_or(0);
    if tx.geometry().has(RoCompat::PROJECT) && dir.has(flag::PROJINHERIT) && differs {
        return Err(Error::Unsupported(format!(
            "`{}`: its directory is of another `project`, and takes no names of others",
            path.display()
        )));
    }
    Ok(())
}

/// One more `..` leads to `dir`.
pub(super) fn add_subdir(tx: &mut Transaction<'_>, dir: InodeNr) -> Result<()> {
    let unlimited = tx.geometry().has(RoCompat::DIR_NLINK);
    let links = inode::read(tx, dir)?.links_count();
    let links = match links {
        // Nobody counts any longer.
        1 => 1,
        _ if links < LINKS_MAX => links + 1,
        _ if unlimited => 1,
        _ => return Err(Error::NoSpace(format!("directory {dir} has {links} links"))),
    };
    tx.edit_inode(dir, |inode| inode.base_mut().links_count = links.into())
}

/// One `..` less leads to `dir`.
pub(super) fn drop_subdir(tx: &mut Transaction<'_>, dir: InodeNr) -> Result<()> {
    tx.edit_inode(dir, |inode| {
        // 1 stays: nobody counts any longer.
        let links = inode.links_count();
        let links = if links > 2 { links - 1 } else { links };
        inode.base_mut().links_count = links.into();
    })
}
