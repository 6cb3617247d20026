//! The host as a tree to copy from, by the paths that the user gave.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use imgfmt::ext::{FileType, Xattr};
use imgfmt::{Error, Result};
use rustix::io::Errno;

use super::tree::{Meta, Tree};
use crate::failure::{Failure, plain};

/// The files that the process can reach. Nothing is written.
#[derive(Clone, Copy, Debug)]
pub struct Host;

/// What is wrong on the host.
pub(super) fn failure(error: &Error) -> Failure {
    match error {
        Error::Io { what, source } => Failure::new(format!("{what}: {}", plain(source))),
        Error::NotFound(path) => {
            Failure::new(format!("`{}`: no such file or directory", path.display()))
        }
        other => Failure::new(other.to_string()),
    }
}

/// An error of the host at `path`.
pub(super) fn at(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound(path.to_owned()),
        io::ErrorKind::NotADirectory => Error::NotADirectory(path.to_owned()),
        io::ErrorKind::IsADirectory => Error::IsADirectory(path.to_owned()),
        _ => Error::io(format!("`{}`", path.display()), error),
    }
}

/// What the host says of a file.
pub(super) fn meta(found: &Metadata) -> Meta {
    let is_device = found.file_type().is_char_device() || found.file_type().is_block_device();
    let rdev = found.rdev();
    Meta {
        kind: kind(found),
        id: (found.dev(), found.ino()),
        mode: u16::try_from(found.mode() & 0o7777).expect("twelve bits"),
        uid: found.uid(),
        gid: found.gid(),
        len: found.len(),
        nlink: found.nlink(),
        atime: time(found.atime(), found.atime_nsec()),
        mtime: time(found.mtime(), found.mtime_nsec()),
        ctime: time(found.ctime(), found.ctime_nsec()),
        device: is_device.then(|| (rustix::fs::major(rdev), rustix::fs::minor(rdev))),
    }
}

fn kind(found: &Metadata) -> FileType {
    let kind = found.file_type();
    if kind.is_dir() {
        FileType::Directory
    } else if kind.is_symlink() {
        FileType::Symlink
    } else if kind.is_char_device() {
        FileType::CharDevice
    } else if kind.is_block_device() {
        FileType::BlockDevice
    } else if kind.is_fifo() {
        FileType::Fifo
    } else if kind.is_socket() {
        FileType::Socket
    } else {
        FileType::File
    }
}

fn time(seconds: i64, nanoseconds: i64) -> SystemTime {
    let nanoseconds = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0));
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let second =
        if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    second.unwrap_or(UNIX_EPOCH) + nanoseconds
}

impl Tree for Host {
    fn is_host(&self) -> bool {
        true
    }

    fn failure(&self, error: &Error) -> Failure {
        failure(error)
    }

    fn shown(&self, path: &Path) -> String {
        path.display().to_string()
    }

    fn metadata(&self, path: &Path, follow: bool) -> Result<Meta> {
        let found = if follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
        Ok(meta(&found.map_err(|e| at(path, e))?))
    }

    fn read_dir(&self, path: &Path) -> Result<Vec<OsString>> {
        let entries = fs::read_dir(path).map_err(|e| at(path, e))?;
        let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
        names.collect::<io::Result<_>>().map_err(|e| at(path, e))
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf> {
        fs::read_link(path).map_err(|e| at(path, e))
    }

    fn xattrs(&self, path: &Path) -> Result<Vec<Xattr>> {
        xattrs(path).map_err(|e| at(path, e.into()))
    }

    fn next_data(&self, path: &Path, offset: u64, cap: usize) -> Result<Option<(u64, Vec<u8>)>> {
        next_data(path, offset, cap).map_err(|e| at(path, e))
    }

    fn copy_to(&self, path: &Path, out: &mut dyn Write) -> Result<u64> {
        let mut file = File::open(path).map_err(|e| at(path, e))?;
        io::copy(&mut file, &mut { out }).map_err(|e| at(path, e))
    }
}

fn next_data(path: &Path, offset: u64, cap: usize) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut file = File::open(path)?;
    let (from, end) = match rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(offset)) {
        Ok(from) => {
            let end = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(from))?;
            (from, end)
        }
        Err(Errno::NXIO) => return Ok(None),
        // This file system knows no holes.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => (offset, u64::MAX),
        Err(error) => return Err(error.into()),
    };
    file.seek(SeekFrom::Start(from))?;
    let len = usize::try_from(end - from).unwrap_or(cap).min(cap);
    let mut bytes = Vec::with_capacity(len);
    file.take(len as u64).read_to_end(&mut bytes)?;
    Ok((!bytes.is_empty()).then_some((from, bytes)))
}

/// Attributes that are gone between two calls are passed over.
fn xattrs(path: &Path) -> rustix::io::Result<Vec<Xattr>> {
    let mut names = vec![0; 64 << 10];
    let len = match rustix::fs::llistxattr(path, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => 0,
        len => len?,
    };
    let mut all = Vec::new();
    let mut value = vec![0; 64 << 10];
    for name in names[..len].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        match rustix::fs::lgetxattr(path, name, &mut value[..]) {
            Ok(len) => all.push(Xattr {
                name: OsString::from_vec(name.to_vec()),
                value: value[..len].to_vec(),
            }),
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}
