//! A directory of the host that is copied to.
//!
//! What comes from an image is not trusted: each path is walked from the directory's descriptor, name by name, and no
//! symbolic link on it is followed, be it one that was there or one that the image brought. So nothing is written outside
//! of the directory. Only root sets owners and makes devices.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use imgfmt::ext::{FileType, Xattr};
use imgfmt::{Error, Result};
use rustix::fs::{AtFlags, CWD, Dev, Mode, OFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::host;
use super::tree::{Keeps, Meta, Tree, TreeMut, check_name};
use crate::failure::Failure;

/// A directory and all below it; paths begin there.
#[derive(Debug)]
pub struct HostTarget {
    base: PathBuf,
    directory: OwnedFd,
    umask: u16,
}

impl HostTarget {
    /// Open the directory `base`, behind any symbolic links: the user named it.
    pub fn open(base: &Path) -> Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let directory = rustix::fs::open(base, flags, Mode::empty());
        let directory = directory.map_err(|e| host::at(base, e.into()))?;
        Ok(Self { base: base.to_owned(), directory, umask: umask() })
    }

    /// Where `path` lies on the host, for words only.
    fn named(&self, path: &Path) -> PathBuf {
        let below: PathBuf =
            path.components().filter(|c| matches!(c, Component::Normal(_))).collect();
        if below.as_os_str().is_empty() { self.base.clone() } else { self.base.join(below) }
    }

    fn at(&self, path: &Path, error: Errno) -> Error {
        let named = self.named(path);
        match error {
            Errno::LOOP => {
                let what = "is a symbolic link, or lies behind one: none is followed".to_owned();
                Error::WrongKind { path: named, what }
            }
            Errno::EXIST => Error::AlreadyExists(named),
            error => host::at(&named, error.into()),
        }
    }

    /// The directory that `path` is in, and its last name.
    fn parent(&self, path: &Path) -> Result<(OwnedFd, OsString)> {
        let fail = |e| self.at(path, e);
        let mut names: Vec<&OsStr> = Vec::new();
        for component in path.components() {
            match component {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => names.push(name),
                Component::ParentDir | Component::Prefix(_) => {
                    let what = "leads out of the directory that is copied to";
                    return Err(Error::InvalidPath { path: path.to_owned(), what });
                }
            }
        }
        let last = names.pop().unwrap_or(OsStr::new("."));
        let mut directory = self.directory.try_clone().map_err(|e| host::at(&self.base, e))?;
        for name in names {
            check_name(name, &self.base)?;
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::PATH;
            directory = rustix::fs::openat(&directory, name, flags, Mode::empty()).map_err(fail)?;
        }
        Ok((directory, last.to_owned()))
    }

    /// The file itself, a symbolic link too, without a right to read or write.
    fn handle(&self, path: &Path) -> Result<OwnedFd> {
        let (directory, name) = self.parent(path)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&directory, name, flags, Mode::empty()).map_err(|e| self.at(path, e))
    }

    /// A regular file, open for writing.
    fn writable(&self, path: &Path, flags: OFlags) -> Result<File> {
        let (directory, name) = self.parent(path)?;
        let flags = flags | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&directory, name, flags, mode);
        let file = File::from(file.map_err(|e| self.at(path, e))?);
        let found = file.metadata().map_err(|e| host::at(&self.named(path), e))?;
        if !found.is_file() {
            let what = "is not a regular file".to_owned();
            return Err(Error::WrongKind { path: self.named(path), what });
        }
        Ok(file)
    }

    fn io(&self, path: &Path, error: io::Error) -> Error {
        host::at(&self.named(path), error)
    }
}

/// What the user keeps from others; it cannot be asked without being changed, but for `/proc`.
fn umask() -> u16 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|octal| u16::from_str_radix(octal.trim(), 8).ok()).unwrap_or(0o077)
}

/// A path of the process to what a descriptor stands for.
fn proc_path(handle: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", handle.as_raw_fd()).into()
}

fn timespec(time: SystemTime) -> Timespec {
    let (seconds, nanoseconds) = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos()),
        Err(before) => {
            let before = before.duration();
            let seconds = i64::try_from(before.as_secs()).map_or(i64::MIN, |seconds| -seconds);
            match before.subsec_nanos() {
                0 => (seconds, 0),
                nanoseconds => (seconds.saturating_sub(1), 1_000_000_000 - nanoseconds),
            }
        }
    };
    Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() }
}

impl Tree for HostTarget {
    fn failure(&self, error: &Error) -> Failure {
        host::failure(error)
    }

    fn shown(&self, path: &Path) -> String {
        self.named(path).display().to_string()
    }

    fn metadata(&self, path: &Path, follow: bool) -> Result<Meta> {
        let handle = self.handle(path)?;
        let found = File::from(handle).metadata().map_err(|e| self.io(path, e))?;
        match follow && found.is_symlink() {
            true => Err(self.at(path, Errno::LOOP)),
            false => Ok(host::meta(&found)),
        }
    }

    fn read_dir(&self, path: &Path) -> Result<Vec<OsString>> {
        host::Host.read_dir(&proc_path(&self.handle(path)?))
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf> {
        let (directory, name) = self.parent(path)?;
        let text = rustix::fs::readlinkat(&directory, name, Vec::new());
        let text = text.map_err(|e| self.at(path, e))?;
        Ok(OsString::from_vec(text.into_bytes()).into())
    }

    fn xattrs(&self, path: &Path) -> Result<Vec<Xattr>> {
        let (directory, name) = self.parent(path)?;
        host::Host.xattrs(&proc_path(&directory).join(name))
    }

    fn next_data(&self, path: &Path, offset: u64, cap: usize) -> Result<Option<(u64, Vec<u8>)>> {
        host::Host.next_data(&proc_path(&self.handle(path)?), offset, cap)
    }

    fn copy_to(&self, path: &Path, out: &mut dyn Write) -> Result<u64> {
        host::Host.copy_to(&proc_path(&self.handle(path)?), out)
    }
}

impl TreeMut for HostTarget {
    fn keeps(&self) -> Keeps {
        let owner = rustix::process::geteuid().is_root();
        Keeps { mode: true, owner, xattrs: true, links: true, umask: self.umask }
    }

    fn create_dir(&mut self, path: &Path) -> Result<()> {
        let (directory, name) = self.parent(path)?;
        rustix::fs::mkdirat(&directory, name, Mode::RWXU).map_err(|e| self.at(path, e))
    }

    fn create_file(&mut self, path: &Path) -> Result<()> {
        let file = self.writable(path, OFlags::CREATE)?;
        file.set_len(0).map_err(|e| self.io(path, e))
    }

    fn append(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        let file = self.writable(path, OFlags::empty())?;
        let end = file.metadata().map_err(|e| self.io(path, e))?.len();
        file.write_all_at(bytes, end).map_err(|e| self.io(path, e))
    }

    fn truncate(&mut self, path: &Path, len: u64) -> Result<()> {
        self.writable(path, OFlags::empty())?.set_len(len).map_err(|e| self.io(path, e))
    }

    fn symlink(&mut self, target: &Path, path: &Path) -> Result<()> {
        let (directory, name) = self.parent(path)?;
        rustix::fs::symlinkat(target, &directory, name).map_err(|e| self.at(path, e))
    }

    fn hard_link(&mut self, original: &Path, path: &Path) -> Result<()> {
        let (old, old_name) = self.parent(original)?;
        let (new, new_name) = self.parent(path)?;
        let made = rustix::fs::linkat(&old, old_name, &new, new_name, AtFlags::empty());
        made.map_err(|e| self.at(path, e))
    }

    fn create_special(&mut self, path: &Path, kind: FileType, device: (u32, u32)) -> Result<()> {
        let kind = match kind {
            FileType::CharDevice => rustix::fs::FileType::CharacterDevice,
            FileType::BlockDevice => rustix::fs::FileType::BlockDevice,
            FileType::Socket => rustix::fs::FileType::Socket,
            _ => rustix::fs::FileType::Fifo,
        };
        let (directory, name) = self.parent(path)?;
        let device: Dev = rustix::fs::makedev(device.0, device.1);
        let made = rustix::fs::mknodat(&directory, name, kind, Mode::RUSR | Mode::WUSR, device);
        made.map_err(|e| self.at(path, e))
    }

    fn remove_file(&mut self, path: &Path) -> Result<()> {
        let (directory, name) = self.parent(path)?;
        rustix::fs::unlinkat(&directory, name, AtFlags::empty()).map_err(|e| self.at(path, e))
    }

    fn remove_dir(&mut self, path: &Path) -> Result<()> {
        let (directory, name) = self.parent(path)?;
        rustix::fs::unlinkat(&directory, name, AtFlags::REMOVEDIR).map_err(|e| self.at(path, e))
    }

    fn remove_dir_all(&mut self, path: &Path) -> Result<()> {
        // No verb takes directories of the host away.
        self.remove_dir(path)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        let (old, old_name) = self.parent(from)?;
        let (new, new_name) = self.parent(to)?;
        rustix::fs::renameat(&old, old_name, &new, new_name).map_err(|e| self.at(to, e))
    }

    fn set_mode(&mut self, path: &Path, mode: u16) -> Result<()> {
        let handle = self.handle(path)?;
        let set = rustix::fs::chmod(proc_path(&handle), Mode::from_raw_mode(mode.into()));
        set.map_err(|e| self.at(path, e))
    }

    fn set_owner(&mut self, path: &Path, uid: u32, gid: u32) -> Result<()> {
        let handle = self.handle(path)?;
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
        let set = rustix::fs::chownat(&handle, c"", Some(uid), Some(gid), flags);
        set.map_err(|e| self.at(path, e))
    }

    fn set_times(&mut self, path: &Path, atime: SystemTime, mtime: SystemTime) -> Result<()> {
        let (directory, name) = self.parent(path)?;
        let times = Timestamps { last_access: timespec(atime), last_modification: timespec(mtime) };
        let set = rustix::fs::utimensat(&directory, name, &times, AtFlags::SYMLINK_NOFOLLOW);
        set.map_err(|e| self.at(path, e))
    }

    fn set_xattr(&mut self, path: &Path, name: &OsStr, value: &[u8]) -> Result<()> {
        let (directory, last) = self.parent(path)?;
        let place = proc_path(&directory).join(last);
        let set = rustix::fs::lsetxattr(place, name, value, XattrFlags::empty());
        set.map_err(|e| self.at(path, e))
    }

    fn remove_xattr(&mut self, path: &Path, name: &OsStr) -> Result<()> {
        let (directory, last) = self.parent(path)?;
        match rustix::fs::lremovexattr(proc_path(&directory).join(last), name) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            done => done.map_err(|e| self.at(path, e)),
        }
    }
}

/// Where a copy to `to` begins, and the path below that: a directory that is there, or the one in which `to` is new.
///
/// # Errors
/// Where the directory is missing.
pub fn target(to: &Path) -> Result<(HostTarget, PathBuf)> {
    // The user's own links are followed, also to a file.
    let real = fs::canonicalize(to).unwrap_or_else(|_| to.to_owned());
    if fs::metadata(&real).is_ok_and(|found| found.is_dir()) {
        return Ok((HostTarget::open(to)?, "/".into()));
    }
    let Some(name) = real.file_name() else {
        return Err(Error::NotFound(to.to_owned()));
    };
    let parent = real.parent().filter(|parent| !parent.as_os_str().is_empty());
    let base = HostTarget::open(parent.unwrap_or(Path::new(".")));
    let base = base.map_err(|e| match e {
        Error::NotFound(_) => Error::NotFound(to.to_owned()),
        e => e,
    })?;
    if rustix::fs::accessat(CWD, to, rustix::fs::Access::EXISTS, AtFlags::SYMLINK_NOFOLLOW).is_ok()
        && fs::metadata(to).is_err()
    {
        let what = "is a symbolic link that leads nowhere: not written through".to_owned();
        return Err(Error::WrongKind { path: to.to_owned(), what });
    }
    Ok((base, Path::new("/").join(name)))
}
