//! A tree of files as the verbs see it: a file system in an image, edited or not, or a directory of the host.
//!
//! Paths are absolute within a tree. What a tree cannot do it refuses with [`imgfmt::Error::Unsupported`], by name; what
//! it cannot keep without harm (the owner of a file, in a FAT) is told by [`TreeMut::keeps`], so that a copy can go on.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use imgfmt::ext::{FileType, Xattr};
use imgfmt::{Error, Result};

use crate::failure::Failure;

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// What it is.
    pub kind: FileType,
    /// Device and inode on the host; 0 and the inode in an image; both 0 where files have no number.
    pub id: (u64, u64),
    /// The lower twelve bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes.
    pub len: u64,
    /// How many names it has.
    pub nlink: u64,
    /// Last read.
    pub atime: SystemTime,
    /// Last written.
    pub mtime: SystemTime,
    /// Last change of the inode.
    pub ctime: SystemTime,
    /// Major and minor number of a device.
    pub device: Option<(u32, u32)>,
}

impl Meta {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == FileType::Directory
    }
}

/// A tree that can be read.
pub trait Tree {
    /// What is wrong, with the name by which the user knows this tree.
    fn failure(&self, error: &Error) -> Failure;

    /// How this tree and a path in it are shown: `root.img:/etc`, or the path alone on the host.
    fn shown(&self, path: &Path) -> String;

    /// Whether it is the host, whose pipes and devices have content.
    fn is_host(&self) -> bool {
        false
    }

    /// Whether its files have owners, modes and attributes of their own.
    fn has_owners(&self) -> bool {
        true
    }

    /// `path`, which is there, as the tree itself spells it: a FAT finds one file by names in any case, and by aliases.
    /// What has two spellings and no number is told apart by this alone.
    fn spelled(&self, path: &Path) -> Result<PathBuf> {
        Ok(path.to_owned())
    }

    /// What is at `path`; behind a symbolic link if `follow`.
    fn metadata(&self, path: &Path, follow: bool) -> Result<Meta>;

    /// The names in a directory, without `.` and `..`: none is empty, has a `/` or a NUL.
    fn read_dir(&self, path: &Path) -> Result<Vec<OsString>>;

    /// The text of a symbolic link.
    fn read_link(&self, path: &Path) -> Result<PathBuf>;

    /// Extended attributes of what is at `path`, be it a symbolic link; ACLs as `setxattr` takes them.
    fn xattrs(&self, path: &Path) -> Result<Vec<Xattr>>;

    /// What a file holds at `offset` or behind the hole there: where, and at most `cap` bytes.
    fn next_data(&self, path: &Path, offset: u64, cap: usize) -> Result<Option<(u64, Vec<u8>)>>;

    /// All of a file, holes as zeros, in bounded memory.
    fn copy_to(&self, path: &Path, out: &mut dyn Write) -> Result<u64>;
}

/// What of a file's attributes a tree keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeps {
    /// Permissions.
    pub mode: bool,
    /// Owner and group.
    pub owner: bool,
    /// Extended attributes.
    pub xattrs: bool,
    /// Several names for one file.
    pub links: bool,
    /// Bits that new files do not get.
    pub umask: u16,
}

/// A tree that can be changed.
pub trait TreeMut: Tree {
    /// What it keeps.
    fn keeps(&self) -> Keeps;

    /// Make a directory, 0755, in one that is there.
    fn create_dir(&mut self, path: &Path) -> Result<()>;

    /// Make an empty file, or empty one that is there, behind any symbolic links.
    fn create_file(&mut self, path: &Path) -> Result<()>;

    /// Add `bytes` at the end of a file.
    fn append(&mut self, path: &Path, bytes: &[u8]) -> Result<()>;

    /// Make a file `len` bytes long; what is new is a hole.
    fn truncate(&mut self, path: &Path, len: u64) -> Result<()>;

    /// Make a symbolic link that says `target`.
    fn symlink(&mut self, target: &Path, path: &Path) -> Result<()>;

    /// Give a file one more name.
    fn hard_link(&mut self, original: &Path, path: &Path) -> Result<()>;

    /// Make a device, a pipe or a socket.
    fn create_special(&mut self, path: &Path, kind: FileType, device: (u32, u32)) -> Result<()>;

    /// Remove anything but a directory.
    fn remove_file(&mut self, path: &Path) -> Result<()>;

    /// Remove an empty directory.
    fn remove_dir(&mut self, path: &Path) -> Result<()>;

    /// Remove a directory and all that is below it.
    fn remove_dir_all(&mut self, path: &Path) -> Result<()>;

    /// Move a name; what is at `to` goes, as with `rename(2)`.
    fn rename(&mut self, from: &Path, to: &Path) -> Result<()>;

    /// Set the permissions of what is at `path`, which is no symbolic link.
    fn set_mode(&mut self, path: &Path, mode: u16) -> Result<()>;

    /// Set owner and group, of a symbolic link itself.
    fn set_owner(&mut self, path: &Path, uid: u32, gid: u32) -> Result<()>;

    /// Set when it was last read and last written, of a symbolic link itself.
    fn set_times(&mut self, path: &Path, atime: SystemTime, mtime: SystemTime) -> Result<()>;

    /// Set an extended attribute, of a symbolic link itself; an ACL as `setxattr` takes it.
    fn set_xattr(&mut self, path: &Path, name: &OsStr, value: &[u8]) -> Result<()>;

    /// Remove an extended attribute, of a symbolic link itself.
    fn remove_xattr(&mut self, path: &Path, name: &OsStr) -> Result<()>;
}

/// Whether `a` and `b`, which are there and of which this is known, are one file of `tree`.
pub fn is_same(tree: &dyn Tree, a: (&Path, &Meta), b: (&Path, &Meta)) -> Result<bool> {
    match (a.1.id, b.1.id) {
        ((0, 0), (0, 0)) => Ok(tree.spelled(a.0)? == tree.spelled(b.0)?),
        (a, b) => Ok(a == b),
    }
}

/// `None` where nothing is at `path`.
pub fn found(meta: Result<Meta>) -> Result<Option<Meta>> {
    match meta {
        Ok(meta) => Ok(Some(meta)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the symbolic links at the end of `path` lead.
pub fn resolved(tree: &dyn Tree, path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    // As many as the kernel follows.
    for _ in 0..40 {
        if tree.metadata(&path, false)?.kind != FileType::Symlink {
            return Ok(path);
        }
        let target = tree.read_link(&path)?;
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    Err(Error::SymlinkLoop(path))
}

/// Refuse a name that a directory of an image should not hold: joined to a path, it would lead elsewhere.
pub fn check_name(name: &OsStr, directory: &Path) -> Result<()> {
    let bytes = name.as_encoded_bytes();
    let is_bad = bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/');
    if is_bad || bytes.contains(&0) {
        let (directory, name) = (directory.display(), name.display());
        return Err(Error::corrupt(format!("directory `{directory}` holds the name `{name}`")));
    }
    Ok(())
}
