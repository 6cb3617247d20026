//! Reading, the same on a file system and on a transaction, which sees its own edits.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::dir;
use crate::ext::edit::transaction::Transaction;
use crate::ext::file;
use crate::ext::fs::Fs;
use crate::ext::inode::{self, FileType, Inode};
use crate::ext::nr::InodeNr;
use crate::ext::path::find;
use crate::ext::xattr;

/// The longest file that `read` returns, in bytes: 64 MiB. A length found on disk is not to be trusted with memory.
pub const READ_CAP: u64 = 64 << 20;

/// A name in a directory (`struct ext4_dir_entry_2`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name, 1 to 255 bytes, any but `/` and NUL.
    pub name: OsString,
    /// What it leads to; without the feature `filetype` as the inode says.
    pub kind: FileType,
    /// The inode it leads to.
    pub nr: InodeNr,
}

/// What an inode (`struct ext4_inode`) says about its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The inode.
    pub nr: InodeNr,
    /// What kind of file it is, by the upper four bits of `i_mode`.
    pub kind: FileType,
    /// Permissions, with set-user-ID, set-group-ID and sticky bit: the lower twelve bits of `i_mode`.
    pub mode: u16,
    /// Owner (`i_uid`, `l_i_uid_high`).
    pub uid: u32,
    /// Group (`i_gid`, `l_i_gid_high`).
    pub gid: u32,
    /// Length in bytes (`i_size_lo`, `i_size_high`).
    pub len: u64,
    /// Names that lead here (`i_links_count`). 1 on a directory of 65,000 or more others: nobody counts any longer.
    pub nlink: u16,
    /// Last read (`i_atime`, `i_atime_extra`).
    pub atime: SystemTime,
    /// Last change of the content (`i_mtime`, `i_mtime_extra`).
    pub mtime: SystemTime,
    /// Last change of the inode (`i_ctime`, `i_ctime_extra`).
    pub ctime: SystemTime,
    /// Creation, where inodes are large enough to keep it (`i_crtime`, `i_crtime_extra`).
    pub crtime: Option<SystemTime>,
    /// Major and minor number, of a device (`i_block[0]`, `i_block[1]`).
    pub device: Option<(u32, u32)>,
}

/// An extended attribute (`struct ext4_xattr_entry`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xattr {
    /// The full name, such as `security.selinux`.
    pub name: OsString,
    /// The value as it is stored. Of `system.posix_acl_*` that is ext's own format, not the kernel's.
    pub value: Vec<u8>,
}

macro_rules! readers {
    ($type:ident) => {
        impl $type<'_> {
            /// All of a file of at most [`READ_CAP`] bytes.
            ///
            /// # Errors
            /// As of [`read_capped`](Self::read_capped).
            pub fn read(&self, path: impl AsRef<Path>) -> Result<Vec<u8>> {
                read(self, path.as_ref(), READ_CAP)
            }

            /// All of a file of at most `cap` bytes.
            ///
            /// # Errors
            /// [`Error::NotFound`], [`Error::IsADirectory`], [`Error::WrongKind`]; [`Error::Unsupported`] where it is longer.
            pub fn read_capped(&self, path: impl AsRef<Path>, cap: u64) -> Result<Vec<u8>> {
                read(self, path.as_ref(), cap)
            }

            /// Write all of a file to `out`, holes as zeros, in bounded memory. Returns its length in bytes.
            pub fn copy_to(&self, path: impl AsRef<Path>, out: &mut dyn Write) -> Result<u64> {
                file::copy(self, &find_file(self, path.as_ref())?, out)
            }

            /// What a file holds at byte `offset`, or behind the hole that begins there: where that is, and at most `cap`
            /// bytes. `None` where nothing but a hole is left. Bytes that were allocated and never written count as a hole.
            ///
            /// # Errors
            /// [`Error::NotFound`], [`Error::IsADirectory`], [`Error::WrongKind`].
            pub fn next_data(
                &self,
                path: impl AsRef<Path>,
                offset: u64,
                cap: usize,
            ) -> Result<Option<(u64, Vec<u8>)>> {
                file::next_data(self, &find_file(self, path.as_ref())?, offset, cap)
            }

            /// The names in a directory, in the order of the disk, without `.` and `..`.
            ///
            /// # Errors
            /// [`Error::NotFound`], [`Error::NotADirectory`]; [`Error::Unsupported`] where the names are encrypted.
            pub fn read_dir(&self, path: impl AsRef<Path>) -> Result<Vec<DirEntry>> {
                read_dir(self, path.as_ref())
            }

            /// What is at `path`, behind any symbolic links.
            pub fn metadata(&self, path: impl AsRef<Path>) -> Result<Metadata> {
                Ok(metadata(self, &find(self, path.as_ref(), true)?))
            }

            /// What is at `path`, be it a symbolic link.
            pub fn symlink_metadata(&self, path: impl AsRef<Path>) -> Result<Metadata> {
                Ok(metadata(self, &find(self, path.as_ref(), false)?))
            }

            /// The text of a symbolic link.
            ///
            /// # Errors
            /// [`Error::WrongKind`] where it is none.
            pub fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
                read_link(self, path.as_ref())
            }

            /// Whether something is at `path`, behind any symbolic links.
            pub fn exists(&self, path: impl AsRef<Path>) -> Result<bool> {
                match find(self, path.as_ref(), true) {
                    Ok(_) => Ok(true),
                    Err(Error::NotFound(_) | Error::NotADirectory(_)) => Ok(false),
                    Err(e) => Err(e),
                }
            }

            /// The extended attributes of what is at `path`, be it a symbolic link: those in the inode, then those in the
            /// block `i_file_acl_lo`.
            pub fn xattrs(&self, path: impl AsRef<Path>) -> Result<Vec<Xattr>> {
                let all = xattr::read(self, &find(self, path.as_ref(), false)?)?;
                Ok(all.into_iter().map(public_xattr).collect())
            }
        }
    };
}

readers!(Fs);
readers!(Transaction);

pub(super) fn public_xattr(xattr: xattr::Xattr) -> Xattr {
    Xattr { name: OsString::from_vec(xattr.full_name()), value: xattr.value }
}

/// The regular file at `path`.
pub(super) fn find_file(blocks: &impl Blocks, path: &Path) -> Result<Inode> {
    let inode = find(blocks, path, true)?;
    check_file(&inode, path)?;
    Ok(inode)
}

/// Only regular files have content that can be read or replaced.
pub(super) fn check_file(inode: &Inode, path: &Path) -> Result<()> {
    let what = match inode.kind() {
        FileType::File => return Ok(()),
        FileType::Directory => return Err(Error::IsADirectory(path.to_owned())),
        FileType::Symlink => "is a symbolic link",
        FileType::CharDevice => "is a character device",
        FileType::BlockDevice => "is a block device",
        FileType::Fifo => "is a named pipe",
        FileType::Socket => "is a socket",
    };
    Err(Error::WrongKind { path: path.to_owned(), what: format!("{what}, not a regular file") })
}

fn read(blocks: &impl Blocks, path: &Path, cap: u64) -> Result<Vec<u8>> {
    file::read(blocks, &find_file(blocks, path)?, cap)
}

fn read_dir(blocks: &impl Blocks, path: &Path) -> Result<Vec<DirEntry>> {
    let inode = find(blocks, path, true)?;
    if !inode.is_dir() {
        return Err(Error::NotADirectory(path.to_owned()));
    }
    entries(blocks, &inode)
}

/// The names in a directory.
pub(super) fn entries(blocks: &impl Blocks, dir: &Inode) -> Result<Vec<DirEntry>> {
    let mut names = Vec::new();
    dir::for_each(blocks, dir, |lblk, entry, nr| {
        names.push((entry.name.to_vec(), entry.file_type, dir::Place { lblk, nr }));
        true
    })?;
    if let Some(recall) = blocks.recall() {
        recall.keep_names(dir.nr(), names.iter().map(|(name, _, place)| (&name[..], *place)));
    }
    let entry = |(name, file_type, dir::Place { nr, .. })| {
        let kind = match FileType::from_dirent(file_type) {
            Some(kind) => kind,
            None => inode::read(blocks, nr)?.kind(),
        };
        Ok(DirEntry { name: OsString::from_vec(name), kind, nr })
    };
    names.into_iter().map(entry).collect()
}

pub(super) fn metadata(blocks: &impl Blocks, inode: &Inode) -> Metadata {
    let kind = inode.kind();
    let is_device = matches!(kind, FileType::CharDevice | FileType::BlockDevice);
    Metadata {
        nr: inode.nr(),
        kind,
        mode: inode.mode() & 0o7777,
        uid: inode.uid(),
        gid: inode.gid(),
        len: inode.size(blocks.geometry()),
        nlink: inode.links_count(),
        atime: inode.atime(),
        mtime: inode.mtime(),
        ctime: inode.ctime(),
        crtime: inode.crtime(),
        device: is_device.then(|| inode.device()),
    }
}

fn read_link(blocks: &impl Blocks, path: &Path) -> Result<PathBuf> {
    let inode = find(blocks, path, false)?;
    if inode.kind() != FileType::Symlink {
        let what = "is not a symbolic link".to_owned();
        return Err(Error::WrongKind { path: path.to_owned(), what });
    }
    Ok(OsString::from_vec(file::read_link(blocks, &inode)?).into())
}
