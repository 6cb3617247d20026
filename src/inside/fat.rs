//! A FAT in an image as a tree. It has no owners, modes, links or attributes: what would set one is refused by name, and
//! all files are shown as root's, directories 0755 and files 0644.
//!
//! There are no symbolic links, so that `.` and `..` are taken out of paths by their text.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use imgfmt::ext::{FileType, Xattr};
use imgfmt::{Error, Result, fat};

use super::ext;
use super::tree::{Keeps, Meta, Tree, TreeMut};
use crate::failure::Failure;

/// A FAT, and how the user named its image.
pub struct Fat<'n, 'a> {
    /// The file of the host, for errors.
    pub file: &'n Path,
    /// How the user wrote it, with the partition.
    pub name: &'n str,
    /// The time of all edits, in seconds since 1970.
    pub now: u64,
    /// What is in it.
    pub fs: fat::Fs<'a>,
}

/// `path` without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            // Above the root is the root.
            Component::ParentDir => drop(plain.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    plain
}

fn no(path: &Path, what: &str) -> Error {
    Error::Unsupported(format!("`{}`: FAT has no {what}", path.display()))
}

fn meta(entry: &fat::Entry) -> Meta {
    let written = UNIX_EPOCH + Duration::from_secs(entry.modified);
    Meta {
        kind: if entry.is_dir { FileType::Directory } else { FileType::File },
        id: (0, 0),
        mode: if entry.is_dir { 0o755 } else { 0o644 },
        uid: 0,
        gid: 0,
        len: entry.len,
        nlink: 1,
        atime: written,
        mtime: written,
        ctime: written,
        device: None,
    }
}

impl Tree for Fat<'_, '_> {
    fn has_owners(&self) -> bool {
        false
    }

    fn failure(&self, error: &Error) -> Failure {
        ext::failure(self.file, error)
    }

    fn shown(&self, path: &Path) -> String {
        format!("{}:{}", self.name, path.display())
    }

    fn spelled(&self, path: &Path) -> Result<PathBuf> {
        self.fs.spelled(&plain(path))
    }

    fn metadata(&self, path: &Path, _follow: bool) -> Result<Meta> {
        let found = self.fs.metadata(&plain(path)).map(|entry| meta(&entry))?;
        let wants_dir = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        if wants_dir && !found.is_dir() {
            return Err(Error::NotADirectory(path.to_owned()));
        }
        Ok(found)
    }

    fn read_dir(&self, path: &Path) -> Result<Vec<OsString>> {
        Ok(self.fs.read_dir(&plain(path))?.into_iter().map(|entry| entry.name.into()).collect())
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf> {
        Err(no(path, "symbolic links"))
    }

    fn xattrs(&self, _path: &Path) -> Result<Vec<Xattr>> {
        Ok(Vec::new())
    }

    fn next_data(&self, path: &Path, offset: u64, cap: usize) -> Result<Option<(u64, Vec<u8>)>> {
        // There are no holes.
        let bytes = self.fs.read_at(&plain(path), offset, cap)?;
        Ok((!bytes.is_empty()).then_some((offset, bytes)))
    }

    fn copy_to(&self, path: &Path, out: &mut dyn Write) -> Result<u64> {
        self.fs.copy_to(&plain(path), out)
    }
}

impl TreeMut for Fat<'_, '_> {
    fn keeps(&self) -> Keeps {
        Keeps { mode: false, owner: false, xattrs: false, links: false, umask: 0o022 }
    }

    fn create_dir(&mut self, path: &Path) -> Result<()> {
        self.fs.create_dir(&plain(path), self.now)
    }

    fn create_file(&mut self, path: &Path) -> Result<()> {
        self.fs.write(&plain(path), b"", self.now)
    }

    fn append(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.fs.append(&plain(path), bytes, self.now)
    }

    fn truncate(&mut self, path: &Path, len: u64) -> Result<()> {
        self.fs.truncate(&plain(path), len, self.now)
    }

    fn symlink(&mut self, _target: &Path, path: &Path) -> Result<()> {
        self.fs.symlink(path)
    }

    fn hard_link(&mut self, _original: &Path, path: &Path) -> Result<()> {
        Err(no(path, "hard links"))
    }

    fn create_special(&mut self, path: &Path, _: FileType, _: (u32, u32)) -> Result<()> {
        Err(no(path, "devices, pipes or sockets"))
    }

    fn remove_file(&mut self, path: &Path) -> Result<()> {
        let path = plain(path);
        match self.fs.metadata(&path)?.is_dir {
            true => Err(Error::IsADirectory(path)),
            false => self.fs.remove(&path),
        }
    }

    fn remove_dir(&mut self, path: &Path) -> Result<()> {
        let path = plain(path);
        match self.fs.metadata(&path)?.is_dir {
            true => self.fs.remove(&path),
            false => Err(Error::NotADirectory(path)),
        }
    }

    fn remove_dir_all(&mut self, path: &Path) -> Result<()> {
        let path = plain(path);
        for entry in self.fs.read_dir(&path)? {
            let below = path.join(&entry.name);
            match entry.is_dir {
                true => self.remove_dir_all(&below)?,
                false => self.fs.remove(&below)?,
            }
        }
        self.fs.remove(&path)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        let (from, to) = (plain(from), plain(to));
        match self.fs.metadata(&to) {
            // Another spelling of the name itself.
            Ok(_) if self.fs.spelled(&from)? == self.fs.spelled(&to)? => {}
            // As rename(2) has it, a file takes the place of a file, a directory that of an empty one.
            Ok(there) => match (self.fs.metadata(&from)?.is_dir, there.is_dir) {
                (true, false) => return Err(Error::NotADirectory(to)),
                (false, true) => return Err(Error::IsADirectory(to)),
                _ => self.fs.remove(&to)?,
            },
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        self.fs.rename(&from, &to, self.now)
    }

    fn set_mode(&mut self, path: &Path, _mode: u16) -> Result<()> {
        self.fs.set_mode(path)
    }

    fn set_owner(&mut self, path: &Path, _uid: u32, _gid: u32) -> Result<()> {
        self.fs.set_owner(path)
    }

    fn set_times(&mut self, path: &Path, _atime: SystemTime, mtime: SystemTime) -> Result<()> {
        let since = mtime.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.fs.set_modified(&plain(path), since)
    }

    fn set_xattr(&mut self, path: &Path, _name: &OsStr, _value: &[u8]) -> Result<()> {
        Err(no(path, "extended attributes"))
    }

    fn remove_xattr(&mut self, _path: &Path, _name: &OsStr) -> Result<()> {
        Ok(())
    }
}
