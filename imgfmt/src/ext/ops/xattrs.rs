//! Extended attributes, ACLs among them.
//!
//! A POSIX ACL is an attribute whose first three classes are the mode too, so that the one never changes without the
//! other. It may be given as ext stores it, which is what reading returns, or as `setxattr` takes it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::protected;
use super::write::check_attributes;
use crate::error::{Error, Result};
use crate::ext::edit::transaction::Transaction;
use crate::ext::inode::{FileType, Inode};
use crate::ext::path::find;
use crate::ext::xattr::{self, Xattr, acl};

/// The longest name with its prefix, in bytes (`XATTR_NAME_MAX`).
const NAME_MAX: usize = 255;

impl Transaction<'_> {
    /// Give what is at `path`, be it a symbolic link, the extended attribute `name`, which may be there already: `user.`,
    /// `trusted.`, `security.`, `system.posix_acl_access` or `system.posix_acl_default`.
    ///
    /// An access ACL brings its mode along, and one that says no more than a mode is kept as the mode alone. An ACL
    /// without entries is none.
    ///
    /// # Errors
    /// [`Error::WrongKind`] where a file of that kind has no such attribute, [`Error::InvalidPath`] where the name or an
    /// ACL is not one, [`Error::NoSpace`] where the attributes fit neither the inode nor a block,
    /// [`Error::Unsupported`] where an attribute has an inode of its own.
    pub fn set_xattr(
        &mut self,
        path: impl AsRef<Path>,
        name: impl AsRef<OsStr>,
        value: impl AsRef<[u8]>,
    ) -> Result<()> {
        let (path, value) = (path.as_ref(), value.as_ref());
        let (index, name) = split(name.as_ref())?;
        let acl = match is_acl(index) {
            true => acl::from_kernel_or_disk(value),
            false => None,
        };
        let is_none = acl.as_ref().is_some_and(|acl| acl::mode(acl).is_none());
        if is_none && has_no_acl(self, path, index)? {
            return Ok(());
        }
        self.change(path, false, |tx, inode| {
            check_kind(inode, index, path)?;
            check_attributes(tx, inode)?;
            let value = match is_acl(index) {
                true => {
                    let what = "an ACL that is not one";
                    let acl =
                        acl.ok_or_else(|| Error::InvalidPath { path: path.to_owned(), what })?;
                    settle_acl(inode, index, acl)
                }
                false => Some(value.to_vec()),
            };
            match value {
                Some(value) => {
                    let name = name.to_vec();
                    xattr::edit::set(tx, inode, Xattr { index, name, value, has_inode: false })
                }
                None => xattr::edit::remove(tx, inode, index, name).map(drop),
            }
        })
    }

    /// Take an extended attribute from what is at `path`, be it a symbolic link. The mode stays where an ACL goes; one
    /// that is not there may be taken away.
    ///
    /// # Errors
    /// [`Error::NoSuchXattr`] where it is not there and no ACL, else as of [`set_xattr`](Self::set_xattr).
    pub fn remove_xattr(&mut self, path: impl AsRef<Path>, name: impl AsRef<OsStr>) -> Result<()> {
        let (path, full) = (path.as_ref(), name.as_ref());
        let (index, name) = split(full)?;
        if is_acl(index) && has_no_acl(self, path, index)? {
            return Ok(());
        }
        self.change(path, false, |tx, inode| {
            check_kind(inode, index, path)?;
            check_attributes(tx, inode)?;
            match xattr::edit::remove(tx, inode, index, name)? {
                true => Ok(()),
                false => Err(Error::NoSuchXattr { path: path.to_owned(), name: full.to_owned() }),
            }
        })
    }
}

fn split(name: &OsStr) -> Result<(u8, &[u8])> {
    let bytes = name.as_bytes();
    let invalid = |what| Err(Error::InvalidPath { path: name.into(), what });
    if bytes.len() > NAME_MAX || bytes.contains(&0) {
        return invalid("not a name that an extended attribute can have");
    }
    match xattr::split_name(bytes) {
        Some(found) => Ok(found),
        None => invalid("neither a `user.`, `trusted.` or `security.` attribute nor a POSIX ACL"),
    }
}

fn is_acl(index: u8) -> bool {
    matches!(index, xattr::INDEX_ACL_ACCESS | xattr::INDEX_ACL_DEFAULT)
}

/// Whether what is at `path` has no such ACL, and is neither a link, which can have none, nor protected: Linux then takes
/// one away without a word.
fn has_no_acl(tx: &Transaction<'_>, path: &Path, index: u8) -> Result<bool> {
    let inode = find(tx, path, false)?;
    protected::check_change(&inode, path)?;
    let is_there = xattr::read(tx, &inode)?.iter().any(|xattr| xattr.index == index);
    Ok(inode.kind() != FileType::Symlink && !is_there)
}

/// The kernel keeps `user.` for what has content or names, and ACLs from links.
fn check_kind(inode: &Inode, index: u8, path: &Path) -> Result<()> {
    let kind = inode.kind();
    let what = match (index, kind) {
        (xattr::INDEX_USER, FileType::File | FileType::Directory) => return Ok(()),
        (xattr::INDEX_USER, _) => "only files and directories have `user.` attributes",
        (xattr::INDEX_ACL_ACCESS, FileType::Symlink) => "a symbolic link has no ACL",
        (xattr::INDEX_ACL_DEFAULT, FileType::Directory) => return Ok(()),
        (xattr::INDEX_ACL_DEFAULT, _) => "only directories have a default ACL",
        _ => return Ok(()),
    };
    Err(Error::WrongKind { path: path.to_owned(), what: what.to_owned() })
}

/// Bring the mode in step with an ACL. What is still to be kept: `None` where it says no more than the mode.
fn settle_acl(inode: &mut Inode, index: u8, value: Vec<u8>) -> Option<Vec<u8>> {
    let permissions = acl::mode(&value)?;
    if index == xattr::INDEX_ACL_DEFAULT {
        return Some(value);
    }
    let mode = inode.mode() & !0o777 | permissions;
    inode.base_mut().mode = mode.into();
    (!acl::is_plain(&value)).then_some(value)
}
