//! An ext file system in an image as a [`Tree`], and an edit of one as a [`TreeMut`].

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use imgfmt::ext::{self, FileType, Fs, Transaction, Xattr, acl_to_kernel};
use imgfmt::{Error, Result};

use super::tree::{Keeps, Meta, Tree, TreeMut, check_name};
use crate::facts::words::{about, hint};
use crate::failure::Failure;

/// A file system or an edit of it, and how the user named its image.
pub struct Ext<'n, T> {
    /// The file of the host, for errors.
    pub file: &'n Path,
    /// How the user wrote it, with the partition.
    pub name: &'n str,
    /// What is in it.
    pub fs: T,
}

/// Why an image could not be read or edited, and the way out.
pub fn failure(file: &Path, error: &Error) -> Failure {
    let failure = Failure::new(about(file, error));
    match error {
        Error::HostFull(_) => failure.hint("make room there"),
        Error::Interrupted(_) => failure.hint("`autoxen image recover` undoes what is half done"),
        _ => failure.any_hint(hint(error)),
    }
}

fn meta(found: &ext::Metadata) -> Meta {
    Meta {
        kind: found.kind,
        id: (0, found.nr.get().into()),
        mode: found.mode,
        uid: found.uid,
        gid: found.gid,
        len: found.len,
        nlink: found.nlink.into(),
        atime: found.atime,
        mtime: found.mtime,
        ctime: found.ctime,
        device: found.device,
    }
}

/// ACLs are kept in a form of their own.
fn as_the_kernel_shows_it(xattr: Xattr) -> Xattr {
    let is_acl = xattr.name.as_encoded_bytes().starts_with(b"system.posix_acl_");
    match acl_to_kernel(&xattr.value).filter(|_| is_acl) {
        Some(value) => Xattr { value, ..xattr },
        None => xattr,
    }
}

macro_rules! tree {
    ($type:ident) => {
        impl Tree for Ext<'_, $type<'_>> {
            fn failure(&self, error: &Error) -> Failure {
                failure(self.file, error)
            }

            fn shown(&self, path: &Path) -> String {
                format!("{}:{}", self.name, path.display())
            }

            fn metadata(&self, path: &Path, follow: bool) -> Result<Meta> {
                let found = match follow {
                    true => self.fs.metadata(path)?,
                    false => self.fs.symlink_metadata(path)?,
                };
                Ok(meta(&found))
            }

            fn read_dir(&self, path: &Path) -> Result<Vec<OsString>> {
                let entries = self.fs.read_dir(path)?;
                for entry in &entries {
                    check_name(&entry.name, path)?;
                }
                Ok(entries.into_iter().map(|entry| entry.name).collect())
            }

            fn read_link(&self, path: &Path) -> Result<PathBuf> {
                self.fs.read_link(path)
            }

            fn xattrs(&self, path: &Path) -> Result<Vec<Xattr>> {
                Ok(self.fs.xattrs(path)?.into_iter().map(as_the_kernel_shows_it).collect())
            }

            fn next_data(
                &self,
                path: &Path,
                offset: u64,
                cap: usize,
            ) -> Result<Option<(u64, Vec<u8>)>> {
                self.fs.next_data(path, offset, cap)
            }

            fn copy_to(&self, path: &Path, out: &mut dyn Write) -> Result<u64> {
                self.fs.copy_to(path, out)
            }
        }
    };
}

tree!(Fs);
tree!(Transaction);

impl TreeMut for Ext<'_, Transaction<'_>> {
    fn keeps(&self) -> Keeps {
        Keeps { mode: true, owner: true, xattrs: true, links: true, umask: 0o022 }
    }

    fn create_dir(&mut self, path: &Path) -> Result<()> {
        self.fs.create_dir(path)
    }

    fn create_file(&mut self, path: &Path) -> Result<()> {
        self.fs.write(path, b"")
    }

    fn append(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.fs.append(path, bytes)
    }

    fn truncate(&mut self, path: &Path, len: u64) -> Result<()> {
        self.fs.truncate(path, len)
    }

    fn symlink(&mut self, target: &Path, path: &Path) -> Result<()> {
        self.fs.symlink(target, path)
    }

    fn hard_link(&mut self, original: &Path, path: &Path) -> Result<()> {
        self.fs.hard_link(original, path)
    }

    fn create_special(&mut self, path: &Path, kind: FileType, device: (u32, u32)) -> Result<()> {
        self.fs.create_special(path, kind, device.0, device.1)
    }

    fn remove_file(&mut self, path: &Path) -> Result<()> {
        self.fs.remove_file(path)
    }

    fn remove_dir(&mut self, path: &Path) -> Result<()> {
        self.fs.remove_dir(path)
    }

    fn remove_dir_all(&mut self, path: &Path) -> Result<()> {
        self.fs.remove_dir_all(path)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        self.fs.rename(from, to)
    }

    fn set_mode(&mut self, path: &Path, mode: u16) -> Result<()> {
        self.fs.set_mode(path, mode)
    }

    fn set_owner(&mut self, path: &Path, uid: u32, gid: u32) -> Result<()> {
        self.fs.set_symlink_owner(path, uid, gid)
    }

    fn set_times(&mut self, path: &Path, atime: SystemTime, mtime: SystemTime) -> Result<()> {
        self.fs.set_symlink_times(path, atime, mtime)
    }

    fn set_xattr(&mut self, path: &Path, name: &OsStr, value: &[u8]) -> Result<()> {
        self.fs.set_xattr(path, name, value)
    }

    fn remove_xattr(&mut self, path: &Path, name: &OsStr) -> Result<()> {
        self.fs.remove_xattr(path, name)
    }
}
