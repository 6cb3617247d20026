//! More names for a file.

use std::path::Path;

use super::name::{LINKS_MAX, check_project, free_name};
use super::protected;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::dir;
use crate::ext::edit::transaction::Transaction;
use crate::ext::inode;
use crate::ext::path::find;

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
            let (parent, name) = free_name(tx, link, inode.kind())?;
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
