//! Copying files from one tree to another, or within one, as `cp` does.
//!
//! One routine serves host to image, image to host and image to image: all of them are trees. Content goes in pieces, and
//! holes stay holes. What the target does not keep (a FAT no owner, a user's process none either) is passed over, what
//! it cannot hold at all is an error.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use imgfmt::ext::FileType;
use imgfmt::{Error, Result};

use super::lost::Lost;
use super::tree::{Keeps, Meta, Tree, TreeMut, found, is_same, resolved};
use super::walk::Walk;
use crate::failure::Failure;
use crate::interrupt;

/// Bytes that are copied at once.
const CHUNK: usize = 1 << 20;

/// The deepest tree that is copied, in directories. Each takes some of the stack.
const DEPTH_MAX: usize = 256;

/// An ACL, which `-p` keeps as part of the mode.
const ACLS: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];
/// What a program may do; with other content it may no more.
const CAPABILITY: &str = "security.capability";

/// Which symbolic links are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// None.
    Never,
    /// Those that were named, not those that are met.
    Named,
    /// All.
    Always,
}

/// What is copied, and what is kept.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Directories, and devices as such.
    pub recursive: bool,
    /// Mode, owner, times, ACLs.
    pub keep: bool,
    /// Hard links and all extended attributes.
    pub keep_all: bool,
    /// Symbolic links.
    pub follow: Follow,
    /// Files that are there stay.
    pub no_clobber: bool,
    /// After a file that fails, the others are copied.
    pub go_on: bool,
}

/// A copy under way.
pub struct Copy<'a> {
    /// `None`: within the target.
    source: Option<&'a dyn Tree>,
    target: &'a mut dyn TreeMut,
    options: Options,
    /// Through the directories below what was named.
    walk: Walk,
    /// Where a file with several names is, by its number.
    links: HashMap<(u64, u64), PathBuf>,
    /// What was made by the same command: no second source takes its place.
    made: &'a mut HashSet<PathBuf>,
    /// `a -> b` of each file.
    pub said: Vec<String>,
    /// What was not kept, of files that were copied.
    pub notes: Vec<String>,
    /// What a target that has no owners did not keep.
    pub lost: Lost,
    /// What was not copied, where the copy goes on.
    pub faults: Vec<Failure>,
}

/// Why a file was not copied: whose fault it is decides what is said.
enum Fault {
    Source(Error),
    Target(Error),
    Other(Failure),
}

impl<'a> Copy<'a> {
    /// Copy from `source`, or within `target`; `made` holds what one command made there, from any source.
    pub fn new(
        source: Option<&'a dyn Tree>,
        target: &'a mut dyn TreeMut,
        options: Options,
        made: &'a mut HashSet<PathBuf>,
    ) -> Self {
        let (walk, links, said, notes, lost, faults) = Default::default();
        Self { source, target, options, walk, links, made, said, notes, lost, faults }
    }

    /// Copy what is at `from` to the name `to`.
    ///
    /// # Errors
    /// Unless the copy goes on, where anything cannot be copied.
    pub fn copy(&mut self, from: &Path, to: &Path) -> Result<(), Failure> {
        self.walk = Walk::default();
        let result = self.entry(from, to, &mut Vec::new());
        self.outcome(result)
    }

    fn outcome(&mut self, result: Result<(), Fault>) -> Result<(), Failure> {
        let Err(fault) = result else { return Ok(()) };
        let failure = match fault {
            Fault::Source(error) => self.source().failure(&error),
            Fault::Target(error) => self.target.failure(&error),
            Fault::Other(failure) => failure,
        };
        match failure {
            Failure::Interrupted { .. } => Err(failure),
            failure if self.options.go_on => {
                self.faults.push(failure);
                Ok(())
            }
            failure => Err(failure),
        }
    }

    fn source(&self) -> &dyn Tree {
        match self.source {
            Some(source) => source,
            None => &*self.target,
        }
    }

    fn refuse(&self, path: &Path, what: &str) -> Fault {
        Fault::Other(Failure::new(format!("`{}`: {what}", self.target.shown(path))))
    }

    /// `above` holds the directories that are being copied, so that one which holds itself ends.
    fn entry(&mut self, from: &Path, to: &Path, above: &mut Vec<(u64, u64)>) -> Result<(), Fault> {
        interrupt::check().map_err(Fault::Other)?;
        let follow = match self.options.follow {
            Follow::Never => false,
            Follow::Named => above.is_empty(),
            Follow::Always => true,
        };
        let meta = self.source().metadata(from, follow).map_err(Fault::Source)?;
        let there = found(self.target.metadata(to, false)).map_err(Fault::Target)?;
        if meta.is_dir() {
            return self.directory(from, to, (&meta, there.as_ref()), above);
        }
        if let Some(there) = &there {
            if there.is_dir() {
                return Err(self.refuse(to, "is a directory, and would be replaced by a file"));
            }
            if self.options.no_clobber {
                return Ok(());
            }
            self.check_replaced(from, to, (&meta, there))?;
        }
        self.say(from, to);
        self.file(from, to, &meta, there)?;
        // What failed is no file to link to, and stands in nobody's way.
        self.made.insert(self.target.spelled(to).map_err(Fault::Target)?);
        if self.is_linked(&meta) {
            self.links.entry(meta.id).or_insert_with(|| to.to_owned());
        }
        Ok(())
    }

    /// What is at `to` may go: it is neither what was just made there, nor what is copied.
    fn check_replaced(
        &self,
        from: &Path,
        to: &Path,
        (meta, there): (&Meta, &Meta),
    ) -> Result<(), Fault> {
        if self.made.contains(&self.target.spelled(to).map_err(Fault::Target)?) {
            return Err(Fault::Other(just_made(self.target, to)));
        }
        let is_itself = self.source.is_none()
            && is_same(self.target, (from, meta), (to, there)).map_err(Fault::Target)?;
        if is_itself {
            return Err(self.refuse(to, "is the file itself"));
        }
        Ok(())
    }

    /// Whether its other names become links to the first.
    fn is_linked(&self, meta: &Meta) -> bool {
        self.options.keep_all && self.target.keeps().links && meta.nlink > 1
    }

    /// Anything but a directory, to where `there` is and may go.
    fn file(
        &mut self,
        from: &Path,
        to: &Path,
        meta: &Meta,
        there: Option<Meta>,
    ) -> Result<(), Fault> {
        if let Some(first) = self.links.get(&meta.id).filter(|_| self.is_linked(meta)).cloned() {
            self.make_room(to, there.as_ref())?;
            return self.target.hard_link(&first, to).map_err(Fault::Target);
        }
        match meta.kind {
            FileType::Symlink => {
                self.make_room(to, there.as_ref())?;
                let text = self.source().read_link(from).map_err(Fault::Source)?;
                self.target.symlink(&text, to).map_err(Fault::Target)?;
            }
            kind if kind == FileType::File || !self.options.recursive => {
                let (real, behind) = self.behind(to, there)?;
                if let Some(behind) = &behind {
                    self.check_replaced(from, &real, (meta, behind))?;
                }
                self.content(from, &real, meta)?;
                return self.attributes(from, &real, meta, behind.as_ref());
            }
            kind => {
                self.make_room(to, there.as_ref())?;
                let device = meta.device.unwrap_or_default();
                self.target.create_special(to, kind, device).map_err(Fault::Target)?;
            }
        }
        self.attributes(from, to, meta, None)
    }

    /// What is no file is replaced, not written to.
    fn make_room(&mut self, to: &Path, there: Option<&Meta>) -> Result<(), Fault> {
        match there {
            Some(_) => self.target.remove_file(to).map_err(Fault::Target),
            None => Ok(()),
        }
    }

    fn directory(
        &mut self,
        from: &Path,
        to: &Path,
        (meta, there): (&Meta, Option<&Meta>),
        above: &mut Vec<(u64, u64)>,
    ) -> Result<(), Fault> {
        if !self.options.recursive {
            let what = format!("`{}` is a directory", self.source().shown(from));
            return Err(Fault::Other(Failure::new(what).hint("-r copies directories")));
        }
        if self.options.follow != Follow::Always {
            let source = self.source.unwrap_or(&*self.target);
            self.walk.enter(source, from, meta).map_err(Fault::Source)?;
        } else if meta.id != (0, 0) && above.contains(&meta.id) {
            let what = format!("directory `{}` lies in itself", from.display());
            return Err(Fault::Source(Error::corrupt(what)));
        }
        if above.len() >= DEPTH_MAX {
            let what = format!("a tree of more than {DEPTH_MAX} directories in one another");
            return Err(Fault::Source(Error::Unsupported(what)));
        }
        // What is below lies within the target only if the top does, unless a link leads up.
        if above.is_empty() || self.options.follow == Follow::Always {
            self.check_not_within(from, to, meta)?;
        }
        match there {
            Some(there) if !there.is_dir() => {
                return Err(self.refuse(to, "is no directory, and would be replaced by one"));
            }
            Some(_) => {}
            None => {
                self.target.create_dir(to).map_err(Fault::Target)?;
                self.say(from, to);
            }
        }
        let mut names = self.source().read_dir(from).map_err(Fault::Source)?;
        names.sort();
        above.push(meta.id);
        for name in names {
            let result = self.entry(&from.join(&name), &to.join(&name), above);
            self.outcome(result).map_err(Fault::Other)?;
        }
        above.pop();
        // The root of a tree is a directory like any other, but nobody made it here.
        self.attributes(from, to, meta, there)
    }

    /// A copy of a directory into itself would have no end.
    fn check_not_within(&self, from: &Path, to: &Path, meta: &Meta) -> Result<(), Fault> {
        if self.source.is_some() {
            return Ok(());
        }
        for path in to.ancestors() {
            let is_within = match self.target.metadata(path, true) {
                Ok(there) => is_same(self.target, (from, meta), (path, &there)),
                Err(_) => Ok(false),
            };
            if is_within.map_err(Fault::Target)? {
                let what = format!("cannot be copied into itself, as `{}`", to.display());
                return Err(self.refuse(from, &what));
            }
        }
        Ok(())
    }

    /// What content for `to` goes to: itself, or what a symbolic link there leads to.
    fn behind(&self, to: &Path, there: Option<Meta>) -> Result<(PathBuf, Option<Meta>), Fault> {
        match there {
            Some(Meta { kind: FileType::Symlink, .. }) => {}
            Some(Meta { kind: FileType::File, .. }) | None => return Ok((to.to_owned(), there)),
            Some(_) => return Err(self.refuse(to, "is not a regular file")),
        }
        match found(self.target.metadata(to, true)).map_err(Fault::Target)? {
            Some(behind) if behind.kind == FileType::File => {
                Ok((resolved(self.target, to).map_err(Fault::Target)?, Some(behind)))
            }
            Some(_) => Err(self.refuse(to, "leads to what is no regular file")),
            None => {
                Err(self.refuse(to, "is a symbolic link that leads nowhere: not written through"))
            }
        }
    }

    fn content(&mut self, from: &Path, to: &Path, meta: &Meta) -> Result<(), Fault> {
        if meta.kind != FileType::File {
            let Some(source) = self.source.filter(|source| source.is_host()) else {
                let what = format!("`{}` is not a regular file", self.source().shown(from));
                let failure = Failure::new(what).hint("-r copies devices and pipes as such");
                return Err(Fault::Other(failure));
            };
            return self.stream(source, from, to);
        }
        if let Some(source) = self.source.filter(|_| meta.id == (0, 0)) {
            // A FAT has no holes, and is read from the start.
            return self.stream(source, from, to);
        }
        self.target.create_file(to).map_err(Fault::Target)?;
        let mut end = 0;
        loop {
            interrupt::check().map_err(Fault::Other)?;
            let next = self.source().next_data(from, end, CHUNK).map_err(Fault::Source)?;
            let Some((offset, bytes)) = next else { break };
            if offset > end {
                self.target.truncate(to, offset).map_err(Fault::Target)?;
            }
            self.target.append(to, &bytes).map_err(Fault::Target)?;
            end = offset + bytes.len() as u64;
        }
        if meta.len > end {
            self.target.truncate(to, meta.len).map_err(Fault::Target)?;
        }
        Ok(())
    }

    /// All of a file of `source`, as it comes.
    fn stream(&mut self, source: &dyn Tree, from: &Path, to: &Path) -> Result<(), Fault> {
        self.target.create_file(to).map_err(Fault::Target)?;
        let mut end = Append { target: self.target, path: to, error: None };
        let mut buffer = io::BufWriter::with_capacity(CHUNK, &mut end);
        let copied = source.copy_to(from, &mut buffer);
        let _kept = buffer.flush();
        drop(buffer);
        // A write fails for the target's reasons alone, which are kept beside.
        match end.error {
            Some(error) => Err(Fault::Target(error)),
            None => copied.map(drop).map_err(Fault::Source),
        }
    }

    /// `existed`: what was at `to` before, where it was not replaced.
    fn attributes(
        &mut self,
        from: &Path,
        to: &Path,
        meta: &Meta,
        existed: Option<&Meta>,
    ) -> Result<(), Fault> {
        let keeps = self.target.keeps();
        let is_link = meta.kind == FileType::Symlink;
        if !self.target.has_owners() {
            self.count_lost(from, meta, existed)?;
        }
        if keeps.xattrs && existed.is_some() && meta.kind == FileType::File {
            match self.target.remove_xattr(to, CAPABILITY.as_ref()) {
                Ok(()) | Err(Error::NoSuchXattr { .. }) => {}
                Err(error) => return Err(Fault::Target(error)),
            }
        }
        if self.options.keep && keeps.owner {
            self.target.set_owner(to, meta.uid, meta.gid).map_err(Fault::Target)?;
        }
        if keeps.mode && !is_link {
            self.mode(to, meta, existed, keeps)?;
        }
        if self.options.keep && keeps.xattrs {
            self.xattrs(from, to, is_link)?;
        }
        if self.options.keep {
            self.target.set_times(to, meta.atime, meta.mtime).map_err(Fault::Target)?;
        }
        Ok(())
    }

    fn count_lost(
        &mut self,
        from: &Path,
        meta: &Meta,
        existed: Option<&Meta>,
    ) -> Result<(), Fault> {
        let keep = self.options.keep;
        if keep {
            let owner = Some((meta.uid, meta.gid));
            self.lost.attributes(meta.is_dir(), meta.mode, owner);
            let all = self.source().xattrs(from).map_err(Fault::Source)?;
            let is_kept = |name: &str| self.options.keep_all || ACLS.contains(&name);
            if all.iter().any(|xattr| xattr.name.to_str().is_some_and(is_kept)) {
                self.lost.xattrs();
            }
        } else if existed.is_none() {
            let mode = meta.mode & 0o777 & !self.target.keeps().umask;
            self.lost.attributes(meta.is_dir(), mode, None);
        }
        if self.options.keep_all && !meta.is_dir() && meta.nlink > 1 && meta.id != (0, 0) {
            match self.links.entry(meta.id) {
                Entry::Occupied(_) => self.lost.link(),
                Entry::Vacant(place) => drop(place.insert(PathBuf::new())),
            }
        }
        Ok(())
    }

    fn mode(
        &mut self,
        to: &Path,
        meta: &Meta,
        existed: Option<&Meta>,
        keeps: Keeps,
    ) -> Result<(), Fault> {
        let mode = if self.options.keep {
            // Without its owner, a file must not run as whoever it belongs to now.
            let is_owned = keeps.owner || meta.mode & 0o6000 == 0;
            if is_owned { meta.mode } else { meta.mode & 0o1777 }
        } else if existed.is_some() {
            return Ok(());
        } else {
            let handed_down = self.handed_down(to)?;
            match (meta.is_dir(), handed_down) {
                // As with cp: others get no right to write in a directory that the umask would not give them.
                (true, handed_down) => {
                    meta.mode & (0o1000 | handed_down.unwrap_or(0o777)) & !keeps.umask
                }
                (false, Some(handed_down)) => meta.mode & handed_down,
                (false, None) => meta.mode & 0o777 & !keeps.umask,
            }
        };
        // What a directory hands down to those in it is its own affair.
        let inherited = match (self.options.keep, self.target.metadata(to, false)) {
            (false, Ok(new)) if new.is_dir() => new.mode & 0o2000,
            _ => 0,
        };
        self.target.set_mode(to, mode | inherited).map_err(Fault::Target)
    }

    /// What the default ACL of the directory above gives at most to a new file, in the place of the umask.
    fn handed_down(&self, to: &Path) -> Result<Option<u16>, Fault> {
        let Some(directory) = to.parent().filter(|_| self.target.keeps().xattrs) else {
            return Ok(None);
        };
        let all = self.target.xattrs(directory).map_err(Fault::Target)?;
        let acl = all.iter().find(|xattr| xattr.name == "system.posix_acl_default");
        Ok(acl.and_then(|acl| mode_of_acl(&acl.value)))
    }

    fn xattrs(&mut self, from: &Path, to: &Path, is_link: bool) -> Result<(), Fault> {
        let all = self.source().xattrs(from).map_err(Fault::Source)?;
        let is_kept = |name: &str| self.options.keep_all || ACLS.contains(&name);
        let kept: Vec<_> = all
            .into_iter()
            .filter(|xattr| {
                xattr.name.to_str().is_none_or(is_kept) && xattr.name.to_str().is_some()
            })
            .collect();
        for name in ACLS {
            if is_link || kept.iter().any(|xattr| xattr.name == name) {
                continue;
            }
            match self.target.remove_xattr(to, name.as_ref()) {
                // Only a directory has a default ACL.
                Ok(()) | Err(Error::NoSuchXattr { .. } | Error::WrongKind { .. }) => {}
                Err(error) => return Err(Fault::Target(error)),
            }
        }
        for xattr in kept {
            match self.target.set_xattr(to, &xattr.name, &xattr.value) {
                Ok(()) => {}
                // An attribute of the host's file system, or one that only root may set: the file is worth more.
                Err(error @ (Error::InvalidPath { .. } | Error::Io { .. })) => {
                    let (path, name) = (self.target.shown(to), xattr.name.display());
                    let why = self.target.failure(&error);
                    self.notes.push(format!("`{path}`: attribute `{name}` is not kept: {why}"));
                }
                Err(error) => return Err(Fault::Target(error)),
            }
        }
        Ok(())
    }

    fn say(&mut self, from: &Path, to: &Path) {
        let line = format!("{} -> {}", self.source().shown(from), self.target.shown(to));
        self.said.push(line);
    }
}

/// Why `to` does not go: one source would take the place of another.
pub fn just_made(tree: &dyn Tree, to: &Path) -> Failure {
    let shown = tree.shown(to);
    Failure::new(format!("`{shown}`: was just made there, from another place"))
        .hint("several sources of one name need several directories")
}

/// The mode that an ACL stands for, in the form that `setxattr` takes (`struct posix_acl_xattr_header`, version 2):
/// four bytes, then entries of a tag, permissions and an id. The mask, where there is one, is what a group may do.
fn mode_of_acl(value: &[u8]) -> Option<u16> {
    const OWNER: u16 = 0x01;
    const GROUP: u16 = 0x04;
    const MASK: u16 = 0x10;
    const OTHER: u16 = 0x20;
    let (entries, _) = value.strip_prefix(&2_u32.to_le_bytes())?.as_chunks::<8>();
    let permissions = |wanted| {
        let mut all = entries.iter().map(|entry| {
            let [tag, permissions] = [[entry[0], entry[1]], [entry[2], entry[3]]];
            (u16::from_le_bytes(tag), u16::from_le_bytes(permissions) & 7)
        });
        all.find_map(|(tag, permissions)| (tag == wanted).then_some(permissions))
    };
    let group = permissions(MASK).or_else(|| permissions(GROUP))?;
    Some(permissions(OWNER)? << 6 | group << 3 | permissions(OTHER)?)
}

/// Writes to the end of a file of a tree.
struct Append<'t> {
    target: &'t mut dyn TreeMut,
    path: &'t Path,
    error: Option<Error>,
}

impl Write for Append<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.target.append(self.path, bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.error = Some(error);
                Err(io::ErrorKind::Other.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
