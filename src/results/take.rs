//! Copying what a job has left into a directory of the host.
//!
//! | on the disk | on the host |
//! | --- | --- |
//! | a file | a file, its holes holes; set-ID bits and sticky bits are dropped |
//! | a second name of a file | a hard link |
//! | a directory | one that its owner may enter and empty |
//! | a symbolic link that stays below `outputs`, whatever others say | one |
//! | any other symbolic link, a device, a pipe, a socket | nothing: it is told |
//!
//! A hostile disk can claim more than it holds: blocks in many files, directories in themselves. So the data that is copied
//! is as much as the disk is long, the names as many as [`ENTRIES_MAX`], the depth [`DEPTH_MAX`].

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use imgfmt::Error;
use imgfmt::ext::{FileType, Fs, InodeNr, Metadata};
use serde::Serialize;

use crate::failure::{Failure, Result};
use crate::inside::host_target::HostTarget;
use crate::inside::tree::{Tree, TreeMut, check_name};
use crate::interrupt;

/// The most names that are copied.
pub const ENTRIES_MAX: u64 = 1_000_000;

/// The deepest directory that is copied.
pub const DEPTH_MAX: usize = 128;

/// Warnings that are kept; the others are counted.
const WARNINGS_MAX: usize = 1000;

/// Bytes that are copied at once.
const PIECE: usize = 1 << 20;

/// What was copied of one job.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Taken {
    /// Bytes of its standard output.
    pub stdout: Option<u64>,
    /// Bytes of its standard error.
    pub stderr: Option<u64>,
    /// What it has staged out.
    pub outputs: Vec<Output>,
}

/// One thing that was staged out.
#[derive(Clone, Debug, Serialize)]
pub struct Output {
    /// Its path in the guest.
    pub path: String,
    /// `file`, `directory`, `link`.
    pub kind: &'static str,
    /// Length in bytes.
    pub len: u64,
    /// Permission bits in the guest, in octal.
    pub mode: String,
    /// Owner in the guest.
    pub uid: u32,
    /// Group in the guest.
    pub gid: u32,
    /// Last change of its content, in Unix seconds of the guest's clock.
    pub mtime: i64,
}

/// Copies from one disk into one directory.
pub struct Take<'a> {
    fs: &'a Fs<'a>,
    to: &'a mut HostTarget,
    /// Owners are set as in the guest.
    keep_owner: bool,
    bytes_left: u64,
    entries_left: u64,
    /// First names of files with several.
    names: HashMap<InodeNr, PathBuf>,
    /// What was left out, and why.
    pub warnings: Vec<String>,
    unsaid: u64,
}

/// Why an entry, or all that follows, is not copied.
enum Stop {
    /// This one.
    Left(String),
    /// All: the host, or a limit.
    All(Failure),
}

impl<'a> Take<'a> {
    /// From `fs`, which is `len` bytes long, to `to`.
    pub fn new(fs: &'a Fs<'a>, len: u64, to: &'a mut HostTarget, keep_owner: bool) -> Self {
        let (names, warnings) = (HashMap::new(), Vec::new());
        let entries_left = ENTRIES_MAX;
        Self { fs, to, keep_owner, bytes_left: len, entries_left, names, warnings, unsaid: 0 }
    }

    /// Copy what the job `name` has left to the directory of that name.
    ///
    /// # Errors
    /// Those of the host. What cannot be read on the disk is left out, and told.
    pub fn job(&mut self, name: &str) -> Result<Taken> {
        let mut taken = Taken::default();
        let from = Path::new("/").join(name);
        let directory = self.fs.symlink_metadata(&from);
        if !directory.is_ok_and(|found| found.kind == FileType::Directory) {
            return Ok(taken);
        }
        let fail = |to: &HostTarget, error: &Error| to.failure(error);
        if let Err(error) = self.to.create_dir(&from) {
            return Err(fail(self.to, &error));
        }
        taken.stdout = self.stream(&from.join("stdout"))?;
        taken.stderr = self.stream(&from.join("stderr"))?;
        self.stream(&from.join("job.json"))?;
        let outputs = from.join("outputs");
        match self.fs.symlink_metadata(&outputs) {
            Ok(found) if found.kind == FileType::Directory => {
                self.entry(&outputs, &outputs, &mut taken.outputs, 0)?;
            }
            Ok(_) => self.warn(format!("{}: is no directory: left out", outputs.display())),
            Err(_) => {}
        }
        self.to.set_mode(&from, 0o755).map_err(|error| fail(self.to, &error))?;
        Ok(taken)
    }

    /// The warnings, with the count of those that were too many.
    pub fn into_warnings(mut self) -> Vec<String> {
        if self.unsaid > 0 {
            self.warnings.push(format!("and {} more like these", self.unsaid));
        }
        self.warnings
    }

    fn warn(&mut self, what: String) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(what);
        } else {
            self.unsaid += 1;
        }
    }

    /// A file of the runner; its length.
    fn stream(&mut self, path: &Path) -> Result<Option<u64>> {
        match self.fs.symlink_metadata(path) {
            Ok(found) if found.kind == FileType::File => {
                let copied = self.file(path, &found);
                Ok(self.settle(path, copied)?.map(|()| found.len))
            }
            Ok(_) => {
                self.warn(format!("{}: is no file: left out", path.display()));
                Ok(None)
            }
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => {
                self.warn(error.to_string());
                Ok(None)
            }
        }
    }

    /// Go on behind what is left out.
    fn settle<T>(&mut self, path: &Path, done: std::result::Result<T, Stop>) -> Result<Option<T>> {
        match done {
            Ok(value) => Ok(Some(value)),
            Err(Stop::Left(why)) => {
                self.warn(format!("{}: {why}: left out", path.display()));
                Ok(None)
            }
            Err(Stop::All(failure)) => Err(failure),
        }
    }

    /// Copy `path`, with all below it where it is a directory.
    fn entry(
        &mut self,
        path: &Path,
        top: &Path,
        outputs: &mut Vec<Output>,
        depth: usize,
    ) -> Result<()> {
        interrupt::check()?;
        let Some(left) = self.entries_left.checked_sub(1) else {
            return Ok(());
        };
        self.entries_left = left;
        if left == 0 {
            self.warn(format!("more than {ENTRIES_MAX} names: the rest is left out"));
            return Ok(());
        }
        let found = match self.fs.symlink_metadata(path) {
            Ok(found) => found,
            Err(error) => {
                self.warn(error.to_string());
                return Ok(());
            }
        };
        let done = match found.kind {
            FileType::File => self.file(path, &found).map(|()| "file"),
            FileType::Directory => self.directory(path, top).map(|()| "directory"),
            FileType::Symlink => self.link(path, top).map(|()| "link"),
            FileType::CharDevice | FileType::BlockDevice => {
                Err(Stop::Left("is a device".to_owned()))
            }
            FileType::Fifo => Err(Stop::Left("is a pipe".to_owned())),
            FileType::Socket => Err(Stop::Left("is a socket".to_owned())),
        };
        let Some(kind) = self.settle(path, done)? else { return Ok(()) };
        if path != top {
            outputs.push(described(path, top, kind, &found));
        }
        if found.kind == FileType::Directory {
            self.below(path, top, outputs, depth)?;
            self.finish(path, &found, 0o700)?;
        }
        Ok(())
    }

    fn below(
        &mut self,
        path: &Path,
        top: &Path,
        outputs: &mut Vec<Output>,
        depth: usize,
    ) -> Result<()> {
        if depth >= DEPTH_MAX {
            self.warn(format!("{}: deeper than {DEPTH_MAX}: left out", path.display()));
            return Ok(());
        }
        let mut names = match self.fs.read_dir(path) {
            Ok(entries) => entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>(),
            Err(error) => {
                self.warn(error.to_string());
                return Ok(());
            }
        };
        names.sort_unstable();
        names.dedup();
        for name in names {
            match check_name(&name, path) {
                Ok(()) => self.entry(&path.join(name), top, outputs, depth + 1)?,
                Err(error) => self.warn(error.to_string()),
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, found: &Metadata) -> std::result::Result<(), Stop> {
        if found.nlink > 1
            && let Some(first) = self.names.get(&found.nr)
        {
            return self.to.hard_link(first, path).map_err(|error| self.host(&error));
        }
        self.to.create_file(path).map_err(|error| self.host(&error))?;
        let copied = self.content(path, found);
        if let Err(stop) = copied {
            // Half a file is none.
            self.to.remove_file(path).map_err(|error| self.host(&error))?;
            return Err(stop);
        }
        if found.nlink > 1 {
            self.names.insert(found.nr, path.to_owned());
        }
        self.finish(path, found, 0o400).map_err(Stop::All)
    }

    fn content(&mut self, path: &Path, found: &Metadata) -> std::result::Result<(), Stop> {
        let mut offset = 0;
        while offset < found.len {
            interrupt::check().map_err(Stop::All)?;
            let next = self.fs.next_data(path, offset, PIECE);
            let Some((at, mut bytes)) = next.map_err(|error| Stop::Left(error.to_string()))? else {
                break;
            };
            bytes.truncate(usize::try_from(found.len.saturating_sub(at)).unwrap_or(usize::MAX));
            if bytes.is_empty() || at < offset {
                break;
            }
            let count = bytes.len() as u64;
            self.bytes_left = self.bytes_left.checked_sub(count).ok_or_else(|| {
                Stop::Left("the disk claims more data than it is long".to_owned())
            })?;
            if at > offset {
                self.to.truncate(path, at).map_err(|error| self.host(&error))?;
            }
            self.to.append(path, &bytes).map_err(|error| self.host(&error))?;
            offset = at.saturating_add(count);
        }
        if offset < found.len {
            // A host that holds no file of that length says so; a hole takes nothing from it.
            self.to.truncate(path, found.len).map_err(|error| Stop::Left(error.to_string()))?;
        }
        Ok(())
    }

    fn directory(&mut self, path: &Path, top: &Path) -> std::result::Result<(), Stop> {
        // The directories in a path of the guest are made as they come.
        debug_assert!(path.starts_with(top));
        self.to.create_dir(path).map_err(|error| self.host(&error))
    }

    fn link(&mut self, path: &Path, top: &Path) -> std::result::Result<(), Stop> {
        let target = self.fs.read_link(path).map_err(|error| Stop::Left(error.to_string()))?;
        let below = path.strip_prefix(top).unwrap_or(path).components().count();
        if !stays_below(&target, below.saturating_sub(1)) {
            let target = target.display();
            return Err(Stop::Left(format!("is a symbolic link to {target}, which may lead out")));
        }
        self.to.symlink(&target, path).map_err(|error| self.host(&error))
    }

    /// Owner, mode and times.
    fn finish(&mut self, path: &Path, found: &Metadata, at_least: u16) -> Result<()> {
        let mode = found.mode & 0o777 | at_least;
        let owner = match self.keep_owner {
            true => self.to.set_owner(path, found.uid, found.gid),
            false => Ok(()),
        };
        owner
            .and_then(|()| self.to.set_mode(path, mode))
            .and_then(|()| self.to.set_times(path, found.atime, found.mtime))
            .map_err(|error| self.to.failure(&error))
    }

    fn host(&self, error: &Error) -> Stop {
        Stop::All(self.to.failure(error))
    }
}

/// Whether a link in a directory `depth` below the top stays below it, whatever the links on its way are: it climbs first,
/// no higher than the top, and then goes down. A `..` behind a name would climb from wherever that name leads.
fn stays_below(target: &Path, depth: usize) -> bool {
    let mut climbs = 0;
    let mut goes_down = false;
    for component in target.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(_) => goes_down = true,
            Component::ParentDir if !goes_down => climbs += 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    climbs <= depth
}

fn described(path: &Path, top: &Path, kind: &'static str, found: &Metadata) -> Output {
    let below = path.strip_prefix(top).unwrap_or(path);
    Output {
        path: Path::new("/").join(below).to_string_lossy().into_owned(),
        kind,
        len: found.len,
        mode: format!("{:04o}", found.mode),
        uid: found.uid,
        gid: found.gid,
        mtime: seconds(found.mtime),
    }
}

fn seconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |secs| -secs),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::stays_below;

    #[test]
    fn a_link_may_climb_to_the_top_and_no_higher() {
        for (target, depth, stays) in [
            ("a", 0, true),
            ("a/b", 0, true),
            ("..", 0, false),
            ("../a", 1, true),
            ("../../a", 1, false),
            ("a/..", 5, false),
            ("./../a", 1, true),
            ("/a", 9, false),
        ] {
            assert_eq!(stays_below(Path::new(target), depth), stays, "{target} {depth}");
        }
    }
}
