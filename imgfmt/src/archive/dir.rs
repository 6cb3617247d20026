//! A directory of the host as a source of entries.
//!
//! Names come in the order of their bytes, each directory before what is in it. No symbolic link is followed, not even one
//! that takes the place of a directory meanwhile: every step is an `openat` with `O_NOFOLLOW` from the directory above.
//! The second name of a file is a hard link to the first. Holes are kept where the host's file system tells of them.
//! A mount point is an empty directory.
//!
//! Owners are those of the host. Who is not root and packs files of their own wants [`Owned`](super::Owned).

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, SeekFrom, Stat};

use super::entry::{Content, Data, Entry, Kind, Meta, Run, Sink, Source, Time, Warn, Xattr};
use super::path::{PATH_CAP, TreePath};
use crate::error::{Error, Result};

/// A directory, with all below it.
pub struct DirSource {
    root: PathBuf,
}

impl DirSource {
    /// The directory at `root`, behind any symbolic links; it becomes the root of the entries.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }
}

/// A directory that is open, and the names in it that are still to come, the next one last.
struct Level {
    fd: OwnedFd,
    path: TreePath,
    names: Vec<Vec<u8>>,
}

struct Walk<'a> {
    root: &'a Path,
    /// Its device: what lies on others is not walked.
    device: u64,
    levels: Vec<Level>,
    /// The first name of each file that has more, by device and inode.
    names: HashMap<(u64, u64), TreePath>,
}

impl Source for DirSource {
    fn feed(&mut self, sink: &mut dyn Sink, warn: &mut Warn<'_>) -> Result<()> {
        let failed = |error: rustix::io::Errno| {
            Error::io(format!("open the directory `{}`", self.root.display()), error.into())
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&self.root, flags, Mode::empty()).map_err(failed)?;
        let stat = rustix::fs::fstat(&fd).map_err(failed)?;
        let mut walk = Walk {
            root: &self.root,
            device: stat.st_dev,
            levels: Vec::new(),
            names: HashMap::new(),
        };
        walk.enter(fd, &stat, TreePath::root(), sink, warn)?;
        while let Some(level) = walk.levels.last_mut() {
            match level.names.pop() {
                Some(name) => walk.visit(&name, sink, warn)?,
                None => drop(walk.levels.pop()),
            }
        }
        Ok(())
    }
}

impl Walk<'_> {
    /// Give out a directory, and go on with what is in it.
    fn enter(
        &mut self,
        fd: OwnedFd,
        stat: &Stat,
        path: TreePath,
        sink: &mut dyn Sink,
        warn: &mut Warn<'_>,
    ) -> Result<()> {
        let xattrs = xattrs(&fd).map_err(|e| self.failed("read the attributes of", &path, e))?;
        let entry = Entry { path, meta: meta(stat), xattrs, kind: Kind::Dir };
        sink.entry(&entry, &mut Content::new(&mut io::empty(), 0), warn)?;
        let path = entry.path;
        if self.device != stat.st_dev {
            return Ok(());
        }
        let mut names =
            names(&fd).map_err(|e| self.failed("read the directory", &path, e.into()))?;
        names.sort_unstable_by(|a, b| b.cmp(a));
        self.levels.push(Level { fd, path, names });
        Ok(())
    }

    fn visit(&mut self, name: &[u8], sink: &mut dyn Sink, warn: &mut Warn<'_>) -> Result<()> {
        let level = self.levels.last().expect("a name comes from a directory");
        let path = level.path.join(name).expect("the kernel has no other names");
        if path.as_bytes().len() > PATH_CAP {
            return Err(self.failed("go into", &path, io::ErrorKind::InvalidFilename.into()));
        }
        let fail = |error| self.failed("read", &path, io::Error::from(error));
        let stat = rustix::fs::statat(&level.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            let fd = open(level.fd.as_fd(), name, OFlags::DIRECTORY).map_err(fail)?;
            let stat = rustix::fs::fstat(&fd).map_err(fail)?;
            return self.enter(fd, &stat, path, sink, warn);
        }
        let id = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.names.get(&id) {
            let kind = Kind::HardLink(first.clone());
            let entry = Entry { path, meta: meta(&stat), xattrs: Vec::new(), kind };
            return sink.entry(&entry, &mut Content::new(&mut io::empty(), 0), warn);
        }
        if kind == FileType::RegularFile {
            let fd = open(level.fd.as_fd(), name, OFlags::NONBLOCK).map_err(fail)?;
            let stat = rustix::fs::fstat(&fd).map_err(fail)?;
            self.remember(&stat, &path);
            return self.file(fd.into(), &stat, path, sink, warn);
        }
        let entry = self.special(name, &stat, path.clone())?;
        self.remember(&stat, &path);
        sink.entry(&entry, &mut Content::new(&mut io::empty(), 0), warn)
    }

    fn remember(&mut self, stat: &Stat, path: &TreePath) {
        if stat.st_nlink > 1 {
            self.names.insert((stat.st_dev, stat.st_ino), path.clone());
        }
    }

    fn file(
        &self,
        file: File,
        stat: &Stat,
        path: TreePath,
        sink: &mut dyn Sink,
        warn: &mut Warn<'_>,
    ) -> Result<()> {
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.failed("read", &path, io::Error::other("it changed meanwhile")));
        }
        let len = u64::try_from(stat.st_size).unwrap_or(0);
        let full = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512) >= len;
        let data = match full {
            true => Data::Whole,
            false => data_runs(&file, len).map_err(|e| self.failed("read", &path, e))?,
        };
        let xattrs = xattrs(&file).map_err(|e| self.failed("read the attributes of", &path, e))?;
        let kind = Kind::File { len, data };
        let entry = Entry { path, meta: meta(stat), xattrs, kind };
        let Kind::File { data, .. } = &entry.kind else { unreachable!("it was made above") };
        let mut runs: Vec<Run> = data.runs(len).collect();
        runs.reverse();
        let mut reader = RunReader { file: &file, runs };
        let outcome = sink.entry(&entry, &mut Content::new(&mut reader, entry.content_len()), warn);
        outcome.map_err(|error| match error {
            Error::Archive(what) if what == "cut short" => {
                let shorter = io::Error::other("it became shorter meanwhile");
                self.failed("read", &entry.path, shorter)
            }
            other => other,
        })
    }

    /// What has no content.
    fn special(&self, name: &[u8], stat: &Stat, path: TreePath) -> Result<Entry> {
        let level = self.levels.last().expect("a name comes from a directory");
        let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                let text = rustix::fs::readlinkat(&level.fd, name, Vec::new());
                let text = text.map_err(|e| self.failed("read", &path, e.into()))?;
                Kind::Symlink(text.into_bytes())
            }
            FileType::CharacterDevice => Kind::CharDevice { major, minor },
            FileType::BlockDevice => Kind::BlockDevice { major, minor },
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            _ => {
                let odd = io::Error::other("it is a file of no known kind");
                return Err(self.failed("read", &path, odd));
            }
        };
        // There is no call for attributes by directory and name that old kernels know, and these cannot be opened.
        let by_name =
            [format!("/proc/self/fd/{}/", level.fd.as_raw_fd()).as_bytes(), name].concat();
        let xattrs = link_xattrs(&by_name);
        let xattrs = xattrs.map_err(|e| self.failed("read the attributes of", &path, e))?;
        Ok(Entry { path, meta: meta(stat), xattrs, kind })
    }

    fn failed(&self, what: &str, path: &TreePath, error: io::Error) -> Error {
        Error::io(format!("{what} `{}`", self.root.join(path.as_path()).display()), error)
    }
}

fn open(dir: BorrowedFd<'_>, name: &[u8], more: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC | more;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

fn names(fd: &OwnedFd) -> rustix::io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(fd)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

fn data_runs(file: &File, len: u64) -> io::Result<Data> {
    let (mut runs, mut at) = (Vec::new(), 0);
    while at < len {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Nothing but a hole is left.
            Err(rustix::io::Errno::NXIO) => break,
            Err(rustix::io::Errno::INVAL) => return Ok(Data::Whole),
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?.min(len);
        if start >= end {
            break;
        }
        runs.push(Run { offset: start, len: end - start });
        at = end;
    }
    Data::sparse(runs, len).map_err(io::Error::other)
}

struct RunReader<'a> {
    file: &'a File,
    /// What is left, the next one last.
    runs: Vec<Run>,
}

impl Read for RunReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(run) = self.runs.last_mut() else { return Ok(0) };
        let want = usize::try_from(run.len).map_or(buf.len(), |len| len.min(buf.len()));
        let count = self.file.read_at(&mut buf[..want], run.offset)?;
        run.offset += count as u64;
        run.len -= count as u64;
        if run.len == 0 {
            self.runs.pop();
        }
        Ok(count)
    }
}

fn meta(stat: &Stat) -> Meta {
    // The number of nanoseconds has another sign in the interface by way of libc.
    let time = |secs: i64, nanos| Time { secs, nanos: u32::try_from(nanos).unwrap_or(0) };
    Meta {
        mode: u16::try_from(stat.st_mode & 0o7777).expect("twelve bits"),
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        atime: Some(time(stat.st_atime, stat.st_atime_nsec)),
        ctime: Some(time(stat.st_ctime, stat.st_ctime_nsec)),
    }
}

/// The longest list of names and the longest value that Linux has (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const XATTR_CAP: usize = 64 << 10;

fn xattrs(fd: impl AsFd) -> io::Result<Vec<Xattr>> {
    let fd = fd.as_fd();
    collect_xattrs(
        |list| rustix::fs::flistxattr(fd, list),
        |name, value| rustix::fs::fgetxattr(fd, name, value),
    )
}

fn link_xattrs(path: &[u8]) -> io::Result<Vec<Xattr>> {
    collect_xattrs(
        |list| rustix::fs::llistxattr(path, list),
        |name, value| rustix::fs::lgetxattr(path, name, value),
    )
}

fn collect_xattrs(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
) -> io::Result<Vec<Xattr>> {
    use rustix::io::Errno;
    let mut names = vec![0; XATTR_CAP];
    let len = match list(&mut names) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        outcome => outcome?,
    };
    names.truncate(len);
    let (mut all, mut value) = (Vec::new(), vec![0; XATTR_CAP]);
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let len = match get(name, &mut value) {
            // It went meanwhile.
            Err(Errno::NODATA) => continue,
            outcome => outcome?,
        };
        all.push(Xattr { name: name.to_vec(), value: value[..len].to_vec() });
    }
    all.sort_unstable();
    Ok(all)
}
