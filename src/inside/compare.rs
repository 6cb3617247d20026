//! What differs between two trees.
//!
//! Directories are walked side by side, in the order of names; no more than their names on the way down is held. Content
//! is compared last, and only of files of one length; holes are compared as the zeros that they read as.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use imgfmt::ext::{FileType, Xattr};

use super::tree::{Meta, Tree};
use super::walk::Walk;
use crate::failure::{Failure, Result};
use crate::interrupt;

/// Bytes that are compared at once.
const CHUNK: usize = 1 << 20;

/// What differs at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only the first tree has it.
    OnlyInFirst,
    /// Only the second has it.
    OnlyInSecond,
    /// A file here, a directory there.
    Kind,
    /// What a file holds.
    Content,
    /// What a symbolic link says.
    Target,
    /// Which other names the same file has, of those that both trees have.
    Links,
    /// Permissions.
    Mode,
    /// Owner or group.
    Owner,
    /// Extended attributes, ACLs among them.
    Xattrs,
    /// The number of a device.
    Device,
    /// When it was last written.
    Times,
}

impl Change {
    /// As it is listed.
    pub fn name(self) -> &'static str {
        match self {
            Self::OnlyInFirst => "only in first",
            Self::OnlyInSecond => "only in second",
            Self::Kind => "kind",
            Self::Content => "content",
            Self::Target => "target",
            Self::Links => "links",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Xattrs => "xattrs",
            Self::Device => "device",
            Self::Times => "times",
        }
    }
}

/// A directory of a tree.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// The tree.
    pub tree: &'a dyn Tree,
    /// The directory, or a file.
    pub top: &'a Path,
}

impl Side<'_> {
    /// `relative` is empty for the top itself.
    fn path(&self, relative: &Path) -> PathBuf {
        match relative.as_os_str().is_empty() {
            true => self.top.to_owned(),
            false => self.top.join(relative),
        }
    }

    fn fail(&self, error: &imgfmt::Error) -> Failure {
        self.tree.failure(error)
    }

    fn meta(&self, relative: &Path) -> Result<Meta> {
        // The top may be reached through a link, as the user named it.
        let follow = relative.as_os_str().is_empty();
        self.tree.metadata(&self.path(relative), follow).map_err(|e| self.fail(&e))
    }

    fn names(&self, relative: &Path) -> Result<Vec<OsString>> {
        let mut names = self.tree.read_dir(&self.path(relative)).map_err(|e| self.fail(&e))?;
        names.sort();
        Ok(names)
    }

    fn xattrs(&self, relative: &Path) -> Result<Vec<Xattr>> {
        let mut all = self.tree.xattrs(&self.path(relative)).map_err(|e| self.fail(&e))?;
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }
}

/// Tell `visit` of every path, relative to the tops, that differs; empty for the tops. It says whether to go on.
///
/// # Errors
/// Where either tree cannot be read.
pub fn compare(
    first: Side<'_>,
    second: Side<'_>,
    times: bool,
    visit: &mut dyn FnMut(&Path, &[Change]) -> Result<bool>,
) -> Result<()> {
    let mut left = vec![PathBuf::new()];
    let mut walk = Walk::default();
    let mut names = [FirstNames::new(), FirstNames::new()];
    while let Some(path) = left.pop() {
        interrupt::check()?;
        let (a, b) = (first.meta(&path)?, second.meta(&path)?);
        let mut changes = changes((first, &a), (second, &b), &path, times)?;
        if linked_otherwise(&mut names, (&a, &b), &path) && changes != [Change::Kind] {
            changes.push(Change::Links);
        }
        if !changes.is_empty() && !visit(&path, &changes)? {
            return Ok(());
        }
        if !a.is_dir() || !b.is_dir() {
            continue;
        }
        // What only the second tree has is not entered: it is no larger than the first.
        walk.enter(first.tree, &first.path(&path), &a).map_err(|e| first.fail(&e))?;
        let (ours, theirs) = (first.names(&path)?, second.names(&path)?);
        let mut both = Vec::new();
        let (mut i, mut j) = (0, 0);
        while i < ours.len() || j < theirs.len() {
            let (name, change) = match (ours.get(i), theirs.get(j)) {
                (Some(a), Some(b)) if a == b => {
                    both.push(path.join(a));
                    (i, j) = (i + 1, j + 1);
                    continue;
                }
                (Some(a), b) if b.is_none_or(|b| a < b) => {
                    i += 1;
                    (a, Change::OnlyInFirst)
                }
                (_, Some(b)) => {
                    j += 1;
                    (b, Change::OnlyInSecond)
                }
                _ => break,
            };
            if !visit(&path.join(name), &[change])? {
                return Ok(());
            }
        }
        left.extend(both.into_iter().rev());
    }
    Ok(())
}

fn changes(
    (first, a): (Side<'_>, &Meta),
    (second, b): (Side<'_>, &Meta),
    path: &Path,
    times: bool,
) -> Result<Vec<Change>> {
    if a.kind != b.kind {
        return Ok(vec![Change::Kind]);
    }
    let mut all = Vec::new();
    match a.kind {
        FileType::File if a.len != b.len || !same_content(first, second, path)? => {
            all.push(Change::Content);
        }
        FileType::Symlink => {
            let read =
                |side: Side<'_>| side.tree.read_link(&side.path(path)).map_err(|e| side.fail(&e));
            if read(first)? != read(second)? {
                all.push(Change::Target);
            }
        }
        FileType::CharDevice | FileType::BlockDevice if a.device != b.device => {
            all.push(Change::Device);
        }
        _ => {}
    }
    if first.tree.has_owners() && second.tree.has_owners() {
        if a.mode != b.mode {
            all.push(Change::Mode);
        }
        if (a.uid, a.gid) != (b.uid, b.gid) {
            all.push(Change::Owner);
        }
        if first.xattrs(path)? != second.xattrs(path)? {
            all.push(Change::Xattrs);
        }
    }
    if times && a.mtime != b.mtime {
        all.push(Change::Times);
    }
    Ok(all)
}

/// The first name that was met, of each file with several.
type FirstNames = HashMap<(u64, u64), PathBuf>;

/// Whether `path` is another name of one file here, and of another one or of none there. Of files that a FAT has, which
/// have one name each and no number, nothing can be said.
fn linked_otherwise(names: &mut [FirstNames; 2], (a, b): (&Meta, &Meta), path: &Path) -> bool {
    if a.is_dir() || b.is_dir() || a.id == (0, 0) || b.id == (0, 0) {
        return false;
    }
    let [ours, theirs] = names;
    let first = |names: &mut FirstNames, meta: &Meta| match meta.nlink {
        0 | 1 => path.to_owned(),
        _ => names.entry(meta.id).or_insert_with(|| path.to_owned()).clone(),
    };
    first(ours, a) != first(theirs, b)
}

/// The next bytes of a file that are not in a hole.
struct Data<'a> {
    side: Side<'a>,
    path: PathBuf,
    held: Option<(u64, Vec<u8>)>,
}

impl Data<'_> {
    /// Have what lies at `position`, or the first behind it.
    fn seek(&mut self, position: u64) -> Result<()> {
        let is_past = |(start, bytes): &(u64, Vec<u8>)| start + bytes.len() as u64 <= position;
        if self.held.as_ref().is_some_and(is_past) {
            self.load(position)?;
        }
        Ok(())
    }

    fn load(&mut self, position: u64) -> Result<()> {
        let next = self.side.tree.next_data(&self.path, position, CHUNK);
        self.held = next.map_err(|e| self.side.fail(&e))?.filter(|(_, bytes)| !bytes.is_empty());
        Ok(())
    }

    /// Where it holds something from; the end of all files where it holds nothing.
    fn start(&self) -> u64 {
        self.held.as_ref().map_or(u64::MAX, |(start, _)| *start)
    }

    /// What it holds from `position` on; nothing in a hole.
    fn at(&self, position: u64) -> &[u8] {
        let Some((start, bytes)) = &self.held else { return &[] };
        let skipped =
            position.checked_sub(*start).and_then(|skipped| usize::try_from(skipped).ok());
        skipped.and_then(|skipped| bytes.get(skipped..)).unwrap_or(&[])
    }
}

fn same_content(first: Side<'_>, second: Side<'_>, path: &Path) -> Result<bool> {
    let mut a = Data { side: first, path: first.path(path), held: None };
    let mut b = Data { side: second, path: second.path(path), held: None };
    let mut position = 0;
    a.load(position)?;
    b.load(position)?;
    loop {
        interrupt::check()?;
        a.seek(position)?;
        b.seek(position)?;
        if a.held.is_none() && b.held.is_none() {
            return Ok(true);
        }
        let (ours, theirs) = (a.at(position), b.at(position));
        let len = match (ours.len(), theirs.len()) {
            (0, 0) => {
                position = a.start().min(b.start());
                continue;
            }
            // Zeros, up to where the other goes on.
            (len, 0) => len.min(usize::try_from(b.start() - position).unwrap_or(len)),
            (0, len) => len.min(usize::try_from(a.start() - position).unwrap_or(len)),
            (ours, theirs) => ours.min(theirs),
        };
        let is_same = match (ours.is_empty(), theirs.is_empty()) {
            (false, false) => ours[..len] == theirs[..len],
            (false, true) => ours[..len].iter().all(|&byte| byte == 0),
            _ => theirs[..len].iter().all(|&byte| byte == 0),
        };
        if !is_same {
            return Ok(false);
        }
        position += len as u64;
    }
}
