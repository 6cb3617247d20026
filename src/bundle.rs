//! The directory that `prepare` makes: built under a temporary name beside its target, synced, then renamed, so that it
//! exists whole or not at all.
//!
//! All is synced at once, at the end: most file systems put all that is new into one step of their log then, where a sync of
//! each file on its own would be a step each.
//!
//! Dropping a [`Staging`] removes it with all that is in it. Only a process that is killed by SIGKILL or may open no more
//! files, or a machine that loses power, leaves one behind: `.NAME.XXXXXX.partial`, safe to remove.

use std::cmp::Reverse;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, CWD, RenameFlags};
use tempfile::TempDir;

use crate::failure::{Failure, Result};
use crate::newfile::{PARTIAL, partial_prefix, sync_directory};

/// What a file is at most that is written whole while nobody waits, in bytes.
const SMALL: u64 = 1 << 20;

/// A bundle in the making.
#[derive(Debug)]
pub struct Staging {
    directory: TempDir,
    target: PathBuf,
}

impl Staging {
    /// Begin a bundle that will be `target`.
    ///
    /// # Errors
    /// Where something of that name is there already, or its parent cannot be written.
    pub fn beside(target: &Path) -> Result<Self> {
        let target = absolute(target)?;
        if fs::symlink_metadata(&target).is_ok() {
            return Err(exists(&target));
        }
        let parent = target.parent().expect("`absolute` returns a path with a parent");
        let name = target.file_name().expect("`absolute` returns a path with a name");
        let directory = tempfile::Builder::new()
            .prefix(&partial_prefix(name))
            .suffix(PARTIAL)
            .permissions(fs::Permissions::from_mode(0o777))
            .tempdir_in(parent)
            .map_err(|e| Failure::host("cannot write to", parent, &e))?;
        Ok(Self { directory, target })
    }

    /// Where the files are put meanwhile.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where the bundle will be: absolute, its parent without symbolic links.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Write a small file of the bundle.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let fail = |e| Failure::host("cannot write", &self.target.join(name), &e);
        fs::write(self.path().join(name), bytes).map_err(fail)
    }

    /// Wait until all files are on the disk.
    ///
    /// # Errors
    /// What the disk says to any of them.
    pub fn sync(&self) -> Result<()> {
        let fail = |e| Failure::host("cannot sync", &self.target, &e);
        let mut files = Vec::new();
        for entry in fs::read_dir(self.path()).map_err(fail)? {
            let file = File::open(entry.map_err(fail)?.path()).map_err(fail)?;
            files.push((file.metadata().map_err(fail)?.len(), file));
        }
        files.sort_by_key(|(len, _)| Reverse(*len));
        for (len, file) in &files {
            if *len <= SMALL {
                // It does not do without, and the host begins to write at once: it has its blocks when the log is written.
                let _unneeded = rustix::fs::fadvise(file, 0, None, Advice::DontNeed);
            }
        }
        files.iter().try_for_each(|(_, file)| file.sync_all()).map_err(fail)
    }

    /// Have the host write out all that it holds of the file system that the bundle is on, which is faster than file by file
    /// where many bundles are about to be synced. It promises nothing: [`Staging::sync`] does.
    pub fn write_out(&self) {
        let _unneeded = File::open(self.path()).map(rustix::fs::syncfs);
    }

    /// Put the bundle, whose files are synced, into its place. The directories are synced here.
    pub fn publish(self) -> Result<PathBuf> {
        let target = self.place()?;
        sync_directory(target.parent().expect("an absolute path with a name has a parent"))?;
        Ok(target)
    }

    /// The same, but for the directory that it gets its name in.
    pub fn place(self) -> Result<PathBuf> {
        let Self { directory, target } = self;
        sync_directory(directory.path())?;
        match rustix::fs::renameat_with(CWD, directory.path(), CWD, &target, RenameFlags::NOREPLACE)
        {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => return Err(exists(&target)),
            // NFS and some FUSE file systems do not know the flag.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                if fs::symlink_metadata(&target).is_ok() {
                    return Err(exists(&target));
                }
                fs::rename(directory.path(), &target)
                    .map_err(|e| Failure::host("cannot make", &target, &e))?;
            }
            Err(e) => return Err(Failure::host("cannot make", &target, &e.into())),
        }
        // The name belongs to the bundle now: there is nothing left to remove.
        let _ = directory.keep();
        Ok(target)
    }
}

fn exists(target: &Path) -> Failure {
    Failure::new(format!("`{}` is there already", target.display()))
        .hint("remove it, or choose another name with `-o`")
}

/// `target` with its parent made absolute and free of symbolic links.
fn absolute(target: &Path) -> Result<PathBuf> {
    let Some(name) = target.file_name() else {
        return Err(Failure::new(format!("`{}` cannot name a new directory", target.display())));
    };
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent = fs::canonicalize(parent).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            Failure::new(format!("`{}`: no such directory", parent.display()))
                .hint("create it first")
        }
        _ => Failure::host("cannot use", parent, &e),
    })?;
    if !parent.is_dir() {
        return Err(Failure::new(format!("`{}` is not a directory", parent.display())));
    }
    Ok(parent.join(name))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Staging;

    fn names(directory: &std::path::Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_dropped_staging_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let staging = Staging::beside(&home.path().join("ready")).unwrap();
        staging.write("domain.cfg", b"x").unwrap();
        assert_eq!(names(home.path()).len(), 1);
        drop(staging);
        assert_eq!(names(home.path()), Vec::<String>::new());
    }

    #[test]
    fn a_published_bundle_has_its_files_and_no_other_trace() {
        let home = tempfile::tempdir().unwrap();
        let staging = Staging::beside(&home.path().join("ready")).unwrap();
        staging.write("domain.cfg", b"x").unwrap();
        let target = staging.publish().unwrap();
        assert_eq!(names(home.path()), ["ready"]);
        assert_eq!(fs::read(target.join("domain.cfg")).unwrap(), b"x");
    }

    #[test]
    fn a_target_that_appears_meanwhile_is_not_replaced() {
        let home = tempfile::tempdir().unwrap();
        let staging = Staging::beside(&home.path().join("ready")).unwrap();
        fs::create_dir(home.path().join("ready")).unwrap();
        let error = staging.publish().unwrap_err();
        assert!(error.to_string().ends_with("/ready` is there already"), "{error}");
        assert_eq!(names(home.path()), ["ready"]);
        assert_eq!(names(&home.path().join("ready")), Vec::<String>::new());
    }

    #[test]
    fn a_dangling_link_counts_as_an_existing_target() {
        let home = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", home.path().join("ready")).unwrap();
        assert!(Staging::beside(&home.path().join("ready")).is_err());
    }
}
