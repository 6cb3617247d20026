//! More names for a file, and how many names an inode counts.

use std::path::Path;

use super::create::free_name;
use super::protected;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::dir;
use crate::ext::edit::transaction::Transaction;
use crate::ext::feature::RoCompat;
use crate::ext::inode::{self, Inode};
use crate::ext::nr::InodeNr;
use crate::ext::ondisk::inode::flag;
use crate::ext::path::find;

/// Names of one inode (`EXT4_LINK_MAX`). Of a directory `dir_nlink` lifts the limit.
const LINKS_MAX: u16 = 65000;

impl Transaction<'_> {
    /// Give what is at `original`, be it a symbolic link, one more name: `link`.
    ///
    /// # Errors
    /// [`Error::IsADirectory`] where `original` is one, [`Error::AlreadyExists`] where something is at `link`,
    /// [`Error::NoSpace`] where it has 65,000 names, [`Error::Protected`] where it or the directory is immutable.
    pub fn hard_link(&mut self, original: impl AsRef<Path>, link: impl AsRef<Path>) -> Result<()> {
        let (original, link) = (original.as_ref(), link.as_ref());
        self.atomically(|tx| {
            let mut inode = find(tx, original, false)?;
            let (parent, name) = free_name(tx, link)?;
            if inode.is_dir() {
                return Err(Error::IsADirectory(original.to_owned()));
            }
            protected::check_change(&inode, original)?;
            check_project(tx, parent, &inode, link)?;
            let (nr, kind, links) = (inode.nr(), inode.kind(), inode.links_count());
            if nr.0 < tx.geometry().first_inode {
                return Err(inode::corrupt(nr, "is reserved, but named"));
            }
            if links >= LINKS_MAX {
                return Err(Error::NoSpace(format!("`{}` has {links} names", original.display())));
            }
            inode.base_mut().links_count = (links + 1).into();
            inode.set_ctime(tx.now());
            tx.put_inode(inode)?;
            dir::edit::insert(tx, parent, &name, nr, kind)
        })
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
