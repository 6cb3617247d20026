//! A sink that puts entries into an ext file system that is there, through a [`Transaction`].
//!
//! It goes as with `tar -x`: a file takes the place of another and is a new inode, so that other names of the old one keep
//! what they had; directories are merged; a symbolic link to a directory stays where a directory comes, and what is in it
//! goes where the link leads, inside the directory that takes all ([`super::within`]). Times of directories are set at the end, when nothing in them changes
//! any more: [`ExtSink::finish`].
//!
//! What a file inherits from its directory goes where the entry says otherwise: owner, group, mode and ACLs are the
//! entry's. A label of SELinux is inherited where the entry has none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::entry::{Content, Data, Entry, Kind, Meta, Sink, Time, Warn, Xattr, from_io};
use super::path::TreePath;
use super::within::{Missing, Within};
use crate::error::{Error, Result};
use crate::ext::{FileType, Transaction};

/// Bytes that are added to a sparse file at once: a multiple of every size of a block.
const CHUNK: usize = 1 << 20;
const ACLS: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];

/// A directory in the edited file system, into which entries go.
pub struct ExtSink<'t, 'f> {
    tx: &'t mut Transaction<'f>,
    within: Within,
    /// Times of last change of directories, which are set when all is there.
    dirs: BTreeMap<PathBuf, Meta>,
    root_is_there: bool,
}

impl<'t, 'f> ExtSink<'t, 'f> {
    /// Entries go below the directory `root`, which is made where it is missing. No symbolic link leads out of it.
    pub fn new(tx: &'t mut Transaction<'f>, root: &TreePath) -> Self {
        Self { tx, within: Within::new(root), dirs: BTreeMap::new(), root_is_there: false }
    }

    /// Entries go into the directory that is at `path`, behind symbolic links.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotADirectory`].
    pub fn at(tx: &'t mut Transaction<'f>, path: &Path) -> Result<Self> {
        let within = Within::new(&TreePath::root()).below(tx, path)?;
        Ok(Self { tx, within, dirs: BTreeMap::new(), root_is_there: true })
    }

    /// Set what could not be set before. Without it directories say that they changed at the time of the edit.
    ///
    /// # Errors
    /// As of [`Transaction::set_times`].
    pub fn finish(self, warn: &mut Warn<'_>) -> Result<()> {
        for (path, meta) in &self.dirs {
            // Something else may have come in its place, or on the way to it.
            if self.within.is_real(self.tx, path)? {
                set_times(self.tx, path, meta, warn)?;
            }
        }
        Ok(())
    }
}

impl Sink for ExtSink<'_, '_> {
    fn entry(
        &mut self,
        entry: &Entry,
        content: &mut Content<'_>,
        warn: &mut Warn<'_>,
    ) -> Result<()> {
        let Self { tx, within, dirs, root_is_there } = self;
        let outcome = tx.atomically(|tx| {
            if !*root_is_there {
                tx.create_dir_all(within.root())?;
            }
            put(tx, within, dirs, entry, content, warn)
        });
        *root_is_there |= outcome.is_ok();
        if outcome.is_err() {
            // What was made on the way is not there.
            within.forget();
        }
        outcome
    }
}

fn put(
    tx: &mut Transaction<'_>,
    within: &mut Within,
    dirs: &mut BTreeMap<PathBuf, Meta>,
    entry: &Entry,
    content: &mut Content<'_>,
    warn: &mut Warn<'_>,
) -> Result<()> {
    if matches!(entry.kind, Kind::Whiteout | Kind::Opaque) {
        let place = within.place(tx, &entry.path, Missing::Refuse);
        within.forget();
        return match place {
            // There is nothing to be taken away.
            Err(Error::NotFound(_) | Error::NotADirectory(_) | Error::SymlinkLoop(_)) => Ok(()),
            Err(error) => Err(error),
            Ok(place) if entry.kind == Kind::Opaque => empty(tx, &place),
            Ok(place) => remove(tx, &place),
        };
    }
    if entry.path.is_root() && entry.kind != Kind::Dir {
        return Err(Error::IsADirectory(within.root().to_owned()));
    }
    let place = within.place(tx, &entry.path, Missing::Make)?;
    match &entry.kind {
        Kind::Dir => {
            if dir(tx, within, &entry.path, &place)? {
                set_meta(tx, &place, entry, warn)?;
                dirs.insert(place, entry.meta);
            }
            Ok(())
        }
        Kind::HardLink(first) => {
            // It is looked for on its own: the directory of the next entry is that of this one.
            let first = Within::new(within.path()).place(tx, first, Missing::Refuse)?;
            link(tx, within, &first, &place)
        }
        _ => {
            make_way(tx, within, &place)?;
            make(tx, &place, entry, content)?;
            set_meta(tx, &place, entry, warn)?;
            set_times(tx, &place, &entry.meta, warn)
        }
    }
}

/// What is at `path`, be it a symbolic link.
pub(super) fn kind(tx: &Transaction<'_>, path: &Path) -> Result<Option<FileType>> {
    match tx.symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta.kind)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Have a directory at `place`. False where a symbolic link to one stands for it, which is left as it is.
fn dir(
    tx: &mut Transaction<'_>,
    within: &mut Within,
    path: &TreePath,
    place: &Path,
) -> Result<bool> {
    match kind(tx, place)? {
        Some(FileType::Directory) => return Ok(true),
        Some(FileType::Symlink) if leads_to_dir(tx, within, path)? => return Ok(false),
        Some(_) => {
            within.forget();
            tx.remove_file(place)?;
        }
        None => {}
    }
    tx.create_dir(place)?;
    Ok(true)
}

fn leads_to_dir(tx: &mut Transaction<'_>, within: &Within, path: &TreePath) -> Result<bool> {
    match within.directory(tx, path, Missing::Refuse) {
        Ok(_) => Ok(true),
        // A link that leads nowhere, or in a circle, gives way.
        Err(Error::NotFound(_) | Error::NotADirectory(_) | Error::SymlinkLoop(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Have nothing at `place`, in a directory that is there. A directory goes only if it is empty.
fn make_way(tx: &mut Transaction<'_>, within: &mut Within, place: &Path) -> Result<()> {
    match kind(tx, place)? {
        Some(FileType::Directory) => {
            within.forget();
            tx.remove_dir(place)
        }
        Some(FileType::Symlink) => {
            within.forget();
            tx.remove_file(place)
        }
        Some(_) => tx.remove_file(place),
        None => Ok(()),
    }
}

fn remove(tx: &mut Transaction<'_>, path: &Path) -> Result<()> {
    match kind(tx, path) {
        Ok(Some(FileType::Directory)) => tx.remove_dir_all(path),
        Ok(Some(_)) => tx.remove_file(path),
        Ok(None) | Err(Error::NotADirectory(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn empty(tx: &mut Transaction<'_>, path: &Path) -> Result<()> {
    match kind(tx, path) {
        Ok(Some(FileType::Directory)) => {}
        Ok(_) | Err(Error::NotADirectory(_)) => return Ok(()),
        Err(error) => return Err(error),
    }
    for entry in tx.read_dir(path)? {
        remove(tx, &path.join(entry.name))?;
    }
    Ok(())
}

fn link(tx: &mut Transaction<'_>, within: &mut Within, first: &Path, path: &Path) -> Result<()> {
    let original = tx.symlink_metadata(first)?;
    match tx.symlink_metadata(path) {
        // It is a name of that file already.
        Ok(meta) if meta.nr == original.nr => return Ok(()),
        Ok(_) | Err(Error::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    make_way(tx, within, path)?;
    tx.hard_link(first, path)
}

/// Make what is no directory and no link to another, where nothing is.
fn make(
    tx: &mut Transaction<'_>,
    path: &Path,
    entry: &Entry,
    content: &mut Content<'_>,
) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let (kind, major, minor) = match &entry.kind {
        Kind::File { len, data } => return write(tx, path, *len, data, content),
        Kind::Symlink(target) => return tx.symlink(std::ffi::OsStr::from_bytes(target), path),
        Kind::CharDevice { major, minor } => (FileType::CharDevice, *major, *minor),
        Kind::BlockDevice { major, minor } => (FileType::BlockDevice, *major, *minor),
        Kind::Fifo => (FileType::Fifo, 0, 0),
        Kind::Socket => (FileType::Socket, 0, 0),
        Kind::Dir | Kind::HardLink(_) | Kind::Whiteout | Kind::Opaque => {
            unreachable!("these are made elsewhere")
        }
    };
    tx.create_special(path, kind, major, minor)
}

fn write(
    tx: &mut Transaction<'_>,
    path: &Path,
    len: u64,
    data: &Data,
    content: &mut Content<'_>,
) -> Result<()> {
    if *data == Data::Whole {
        return match tx.write_from(path, content) {
            Err(Error::Io { source, .. }) => Err(from_io(source)),
            outcome => outcome.map(drop),
        };
    }
    tx.write(path, [])?;
    let mut buffer = vec![0; CHUNK];
    for run in data.runs(len) {
        tx.truncate(path, run.offset)?;
        let mut left = run.len;
        while left > 0 {
            let want = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
            let count = content.read(&mut buffer[..want])?;
            if count < want {
                return Err(Error::Archive("content is shorter than its runs".into()));
            }
            tx.append(path, &buffer[..count])?;
            left -= count as u64;
        }
    }
    tx.truncate(path, len)
}

/// All but the times.
fn set_meta(
    tx: &mut Transaction<'_>,
    path: &Path,
    entry: &Entry,
    warn: &mut Warn<'_>,
) -> Result<()> {
    tx.set_symlink_owner(path, entry.meta.uid, entry.meta.gid)?;
    let is_link = matches!(entry.kind, Kind::Symlink(_));
    if !is_link {
        for acl in ACLS {
            match tx.remove_xattr(path, acl) {
                Ok(()) | Err(Error::NoSuchXattr { .. } | Error::WrongKind { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        tx.set_mode(path, entry.meta.mode)?;
    }
    for xattr in &entry.xattrs {
        set_xattr(tx, path, xattr, warn)?;
    }
    Ok(())
}

/// What ext has no place for is left out.
fn set_xattr(
    tx: &mut Transaction<'_>,
    path: &Path,
    xattr: &Xattr,
    warn: &mut Warn<'_>,
) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    match tx.set_xattr(path, std::ffi::OsStr::from_bytes(&xattr.name), &xattr.value) {
        Err(error @ (Error::InvalidPath { .. } | Error::WrongKind { .. })) => {
            let name = xattr.name.escape_ascii();
            warn(format!("`{}`: the attribute `{name}` is left out: {error}", path.display()));
            Ok(())
        }
        outcome => outcome,
    }
}

fn set_times(
    tx: &mut Transaction<'_>,
    path: &Path,
    meta: &Meta,
    warn: &mut Warn<'_>,
) -> Result<()> {
    let now = Time { secs: tx.now(), nanos: 0 };
    let read = system_time(meta.atime.unwrap_or(now));
    let outcome = match (read, system_time(meta.mtime)) {
        (Some(read), Some(written)) => tx.set_symlink_times(path, read, written),
        _ => Err(Error::Unsupported(format!("`{}`: a time that no clock has", path.display()))),
    };
    match outcome {
        Err(Error::Unsupported(what)) => {
            warn(what);
            Ok(())
        }
        outcome => outcome,
    }
}

fn system_time(time: Time) -> Option<SystemTime> {
    let whole = Duration::from_secs(time.secs.unsigned_abs());
    let whole = match time.secs < 0 {
        true => UNIX_EPOCH.checked_sub(whole),
        false => UNIX_EPOCH.checked_add(whole),
    };
    whole?.checked_add(Duration::from_nanos(time.nanos.into()))
}
