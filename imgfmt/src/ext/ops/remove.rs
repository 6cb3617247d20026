//! Taking names away, and what they led to when no other name does.

use std::path::Path;

use super::write::{free_mapping, mapping};
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::dir;
use crate::ext::inode::{self, Inode};
use crate::ext::map;
use crate::ext::nr::{BlockNr, InodeNr};
use crate::ext::ondisk::inode::flag;
use crate::ext::path::{Target, resolve};
use crate::ext::transaction::Transaction;
use crate::ext::xattr_edit;

impl Transaction<'_> {
    /// Take away the name `path`, of anything but a directory; of a symbolic link, not of what it leads to.
    pub fn remove_file(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.atomically(|tx| {
            let (inode, parent, name) = named(tx, path)?;
            if inode.is_dir() {
                return Err(Error::IsADirectory(path.to_owned()));
            }
            dir::edit::remove(tx, parent, &name)?;
            if inode.links_count() > 1 {
                let now = tx.now();
                return tx.edit_inode(inode.nr(), |inode| {
                    let links = inode.links_count() - 1;
                    inode.base_mut().links_count = links.into();
                    inode.set_ctime(now);
                });
            }
            discard(tx, inode)
        })
    }

    /// Take away an empty directory.
    ///
    /// # Errors
    /// [`Error::WrongKind`] where it is not empty, or the root.
    pub fn remove_dir(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.atomically(|tx| {
            let (inode, parent, name) = named(tx, path)?;
            if !inode.is_dir() {
                return Err(Error::NotADirectory(path.to_owned()));
            }
            let mut is_empty = true;
            dir::for_each(tx, &inode, |_, _, _| {
                is_empty = false;
                false
            })?;
            if !is_empty {
                let what = "is a directory that is not empty".to_owned();
                return Err(Error::WrongKind { path: path.to_owned(), what });
            }
            dir::edit::remove(tx, parent, &name)?;
            tx.edit_inode(parent, |parent| {
                // 1 stays: nobody counts any longer.
                let links = parent.links_count();
                let links = if links > 2 { links - 1 } else { links };
                parent.base_mut().links_count = links.into();
            })?;
            discard(tx, inode)
        })
    }
}

/// What is at `path`, and the name that leads there.
fn named(tx: &Transaction<'_>, path: &Path) -> Result<(Inode, InodeNr, Vec<u8>)> {
    match resolve(tx, path, false)? {
        Target::Found { nr, named: Some((parent, name)) } => {
            if nr.0 < tx.geometry().first_inode {
                return Err(inode::corrupt(nr, "is reserved, but named"));
            }
            Ok((inode::read(tx, nr)?, parent, name))
        }
        Target::Found { named: None, .. } => {
            let what = "cannot be removed by this name".to_owned();
            Err(Error::WrongKind { path: path.to_owned(), what })
        }
        Target::Missing { .. } => Err(Error::NotFound(path.to_owned())),
    }
}

/// Free an inode and all it has.
pub(super) fn discard(tx: &mut Transaction<'_>, mut inode: Inode) -> Result<()> {
    if inode.has(flag::EA_INODE) || inode.has(flag::INLINE_DATA) {
        return super::write::check_editable(tx, &inode);
    }
    super::write::check_attributes(tx, &inode)?;
    let old = mapping(tx, &inode)?;
    free_mapping(tx, old)?;
    xattr_edit::release_block(tx, &inode)?;
    tx.free_inode(inode.nr(), inode.is_dir())?;
    map::clear(&mut inode);
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
