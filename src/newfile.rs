//! New files: no more open to others than those that they are made from, and there whole or not at all.
//!
//! An image holds password hashes and keys, and whoever made it 0600 did not mean its copy to be 0644.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::failure::{Failure, Result, plain};
use crate::interrupt;
use crate::writeback::Writeback;

/// Create `path`, which must not exist, for reading and writing by us, and by others only where all `originals` are open
/// to them as well; the umask takes its share as ever.
pub fn create_like(path: &Path, originals: &[&Path]) -> io::Result<File> {
    let mode = mode_like(originals)?;
    File::options().read(true).write(true).create_new(true).mode(mode).open(path)
}

/// What all `originals` allow.
fn mode_like(originals: &[&Path]) -> io::Result<u32> {
    originals.iter().try_fold(0o666, |mode, path| Ok(mode & fs::metadata(path)?.mode() | 0o600))
}

/// A file in the making, under a temporary name beside that which it will have. Dropping it removes it.
///
/// Only a process killed by SIGKILL, or a machine that loses power, leaves one behind: `.NAME.XXXXXX.partial`, safe to
/// remove.
#[derive(Debug)]
pub struct Staged {
    file: NamedTempFile,
    target: PathBuf,
    writeback: Writeback,
}

/// What is done about a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the new file is not made.
    Keep,
    /// It is replaced.
    Replace,
}

impl Staged {
    /// Begin the file `target`, made from `originals`.
    pub fn beside(target: &Path, originals: &[&Path]) -> Result<Self> {
        let mode = mode_like(originals).map_err(|e| cannot_write(target, &e))?;
        Self::with_mode(target, mode)
    }

    /// Begin the file `target` with a mode, of which the umask takes its share.
    pub fn with_mode(target: &Path, mode: u32) -> Result<Self> {
        let fail = |e: &io::Error| cannot_write(target, e);
        let Some(name) = target.file_name() else {
            return Err(Failure::new(format!("`{}` cannot name a file", target.display())));
        };
        let file = tempfile::Builder::new()
            .prefix(&partial_prefix(name))
            .suffix(PARTIAL)
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(directory_of(target))
            .map_err(|e| fail(&e))?;
        Ok(Self { file, target: target.into(), writeback: Writeback::default() })
    }

    /// The file, to be written.
    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Write at `offset`, in bytes, and let it go to the disk while more is made.
    pub fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.as_file().write_all_at(bytes, offset)?;
        self.writeback.wrote(self.file.as_file(), bytes.len() as u64)
    }

    /// Its name for the time being.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Sync it and give it its name.
    pub fn publish(self, existing: Existing) -> Result<()> {
        let Self { file, target, writeback } = self;
        let fail = |e: &io::Error| cannot_write(&target, e);
        writeback.finish().map_err(|e| fail(&e))?;
        file.as_file().sync_all().map_err(|e| fail(&e))?;
        // A sync takes its time.
        interrupt::check()?;
        let named = match existing {
            Existing::Keep => file.persist_noclobber(&target),
            Existing::Replace => file.persist(&target),
        };
        named.map_err(|e| match e.error.kind() {
            io::ErrorKind::AlreadyExists => there(&target),
            _ => fail(&e.error),
        })?;
        sync_directory(directory_of(&target))
    }
}

/// The end of the name of what is not whole yet.
pub const PARTIAL: &str = ".partial";

/// The beginning of such a name, for what will be `name`; random letters come between.
pub fn partial_prefix(name: &OsStr) -> OsString {
    [OsStr::new("."), name, OsStr::new(".")].into_iter().collect()
}

/// Why `target` cannot be written, in the host's words, and the way out.
pub fn cannot_write(target: &Path, error: &io::Error) -> Failure {
    let host = Failure::new(format!("cannot write `{}`: {}", target.display(), plain(error)));
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Failure::new(format!("no space left on the host for `{}`", target.display()))
                .hint("make room there, or choose another place")
        }
        io::ErrorKind::FileTooLarge => {
            host.hint("raise the limit (`ulimit -f`), or choose another place")
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            host.hint("choose another place")
        }
        io::ErrorKind::NotFound => host.hint("create its directory first"),
        _ => host,
    }
}

/// A file that is in the way.
pub fn there(target: &Path) -> Failure {
    Failure::new(format!("`{}` is there already", target.display()))
        .hint("choose another name, or replace it with `--force`")
}

/// Where `path` is a name.
pub fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Wait until the names in `path` are on the disk.
pub fn sync_directory(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|e| Failure::host("cannot sync", path, &e))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::{Existing, Staged, create_like};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_copy_is_no_more_open_than_its_original() {
        let directory = tempfile::tempdir().unwrap();
        let original = directory.path().join("original");
        fs::write(&original, "").unwrap();
        for (given, expected) in [(0o600, 0o600), (0o400, 0o600), (0o640, 0o640), (0o755, 0o644)] {
            fs::set_permissions(&original, Permissions::from_mode(given)).unwrap();
            let copy = directory.path().join("copy");
            // The usual umask, 022, takes nothing from these.
            create_like(&copy, &[&original]).unwrap();
            assert_eq!(mode(&copy), expected, "of {given:o}");
            fs::remove_file(copy).unwrap();
        }
    }

    #[test]
    fn what_is_made_of_several_is_as_closed_as_the_most_closed() {
        let directory = tempfile::tempdir().unwrap();
        let [first, second, made] =
            ["first", "second", "made"].map(|name| directory.path().join(name));
        for (path, mode) in [(&first, 0o644), (&second, 0o640)] {
            fs::write(path, "").unwrap();
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        Staged::beside(&made, &[&first, &second]).unwrap().publish(Existing::Keep).unwrap();
        assert_eq!(mode(&made), 0o640);
        let closed = Staged::beside(&made, &[&second]).unwrap();
        fs::set_permissions(&second, Permissions::from_mode(0o600)).unwrap();
        assert!(
            closed.publish(Existing::Keep).unwrap_err().to_string().ends_with("is there already")
        );
        Staged::beside(&made, &[&first, &second]).unwrap().publish(Existing::Replace).unwrap();
        assert_eq!(mode(&made), 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }
}
