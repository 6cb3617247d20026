//! A FAT as a source and as a sink of entries, through its tree. It keeps names, content and times; what it has no place
//! for (links, devices, owners, attributes) is left out, and told of. A second name of a file becomes a copy of it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use imgfmt::archive::{
    Content, Data, Entry, Kind, Meta, PATH_CAP, Sink, Source, Time, TreePath, Warn, entry::from_io,
};
use imgfmt::ext::FileType;
use imgfmt::{Error, Result};

use super::lost::Lost;
use super::tree::{self, Tree, TreeMut, found};

/// Bytes that are read and written at once.
const PIECE: usize = 1 << 20;

/// A directory or a file of a tree that has neither links nor holes. Names come in the order of their bytes.
pub struct TreeSource<'t> {
    tree: &'t dyn Tree,
    root: PathBuf,
}

impl<'t> TreeSource<'t> {
    /// What is at `root`: a directory is the root of the entries, a file the only one.
    pub fn new(tree: &'t dyn Tree, root: &Path) -> Self {
        Self { tree, root: root.into() }
    }
}

impl Source for TreeSource<'_> {
    fn feed(&mut self, sink: &mut dyn Sink, warn: &mut Warn<'_>) -> Result<()> {
        let is_dir = self.tree.metadata(&self.root, false)?.is_dir();
        let name = self.root.file_name().filter(|_| !is_dir);
        let path = name.and_then(|name| TreePath::root().join(name.as_encoded_bytes()));
        let mut stack = vec![(path.unwrap_or_else(TreePath::root), self.root.clone())];
        while let Some((path, place)) = stack.pop() {
            let found = self.tree.metadata(&place, false)?;
            let meta = Meta {
                mode: found.mode,
                uid: found.uid,
                gid: found.gid,
                mtime: time(found.mtime),
                ..Meta::default()
            };
            if found.kind != FileType::Directory {
                let kind = Kind::File { len: found.len, data: Data::Whole };
                let entry = Entry { path, meta, xattrs: Vec::new(), kind };
                let mut bytes = Bytes { tree: self.tree, place, offset: 0, piece: Vec::new() };
                sink.entry(&entry, &mut Content::new(&mut bytes, found.len), warn)?;
                continue;
            }
            let mut names = self.tree.read_dir(&place)?;
            names.sort_unstable_by(|a, b| b.cmp(a));
            for name in names {
                tree::check_name(&name, &place)?;
                let below = path.join(name.as_encoded_bytes()).expect("it was checked");
                if below.as_bytes().len() > PATH_CAP {
                    // A directory that leads to one above it has no end.
                    return Err(Error::corrupt("directories are nested too deep"));
                }
                stack.push((below, place.join(name)));
            }
            let entry = Entry { path, meta, xattrs: Vec::new(), kind: Kind::Dir };
            sink.entry(&entry, &mut Content::new(&mut io::empty(), 0), warn)?;
        }
        Ok(())
    }
}

fn time(time: SystemTime) -> Time {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { secs: since.as_secs().cast_signed(), nanos: since.subsec_nanos() }
}

/// The content of a file, piece by piece.
struct Bytes<'t> {
    tree: &'t dyn Tree,
    place: PathBuf,
    offset: u64,
    /// What was read and is still to be given out.
    piece: Vec<u8>,
}

impl Read for Bytes<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            let next = self.tree.next_data(&self.place, self.offset, PIECE);
            let Some((_, bytes)) = next.map_err(io::Error::other)? else { return Ok(0) };
            self.offset += bytes.len() as u64;
            self.piece = bytes;
        }
        let count = buf.len().min(self.piece.len());
        buf[..count].copy_from_slice(&self.piece[..count]);
        self.piece.drain(..count);
        Ok(count)
    }
}

/// A directory of a tree that has no links, into which entries go.
pub struct TreeSink<'t> {
    tree: &'t mut dyn TreeMut,
    root: PathBuf,
    told_of_attributes: bool,
    /// What was not kept.
    pub lost: Lost,
}

impl<'t> TreeSink<'t> {
    /// Entries go into the directory at `root`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotADirectory`].
    pub fn new(tree: &'t mut dyn TreeMut, root: &Path) -> Result<Self> {
        match tree.metadata(root, true)?.is_dir() {
            true => Ok(Self {
                tree,
                root: root.into(),
                told_of_attributes: false,
                lost: Lost::default(),
            }),
            false => Err(Error::NotADirectory(root.into())),
        }
    }

    fn kind(&self, place: &Path) -> Result<Option<FileType>> {
        Ok(found(self.tree.metadata(place, false))?.map(|meta| meta.kind))
    }

    /// Make the directories on the way that are not there.
    fn make_dirs(&mut self, path: &TreePath) -> Result<PathBuf> {
        let mut place = self.root.clone();
        for name in path.as_path() {
            place.push(name);
            match self.kind(&place)? {
                Some(FileType::Directory) => {}
                Some(_) => return Err(Error::NotADirectory(place)),
                None => self.tree.create_dir(&place)?,
            }
        }
        Ok(place)
    }

    fn remove(&mut self, place: &Path) -> Result<()> {
        match self.kind(place) {
            Ok(Some(FileType::Directory)) => self.tree.remove_dir_all(place),
            Ok(Some(_)) => self.tree.remove_file(place),
            Ok(None) | Err(Error::NotADirectory(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn empty(&mut self, place: &Path) -> Result<()> {
        if self.kind(place)? != Some(FileType::Directory) {
            return Ok(());
        }
        for name in self.tree.read_dir(place)? {
            self.remove(&place.join(name))?;
        }
        Ok(())
    }

    /// What is at `place` gives way, a directory only if it is empty.
    fn make_way(&mut self, place: &Path) -> Result<()> {
        match self.kind(place)? {
            Some(FileType::Directory) => self.tree.remove_dir(place),
            Some(_) => self.tree.remove_file(place),
            None => Ok(()),
        }
    }

    fn write(
        &mut self,
        place: &Path,
        (len, data): (u64, &Data),
        content: &mut Content<'_>,
    ) -> Result<()> {
        self.tree.create_file(place)?;
        let mut piece = vec![0; PIECE];
        for run in data.runs(len) {
            self.tree.truncate(place, run.offset)?;
            let mut left = run.len;
            while left > 0 {
                let want = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
                let count = content.read(&mut piece[..want])?;
                if count < want {
                    return Err(Error::Archive("content is shorter than its runs".into()));
                }
                self.tree.append(place, &piece[..count])?;
                left -= count as u64;
            }
        }
        self.tree.truncate(place, len)
    }

    /// Another name is another copy. The time of what was copied.
    fn copy(&mut self, from: &Path, place: &Path) -> Result<SystemTime> {
        let original = self.tree.metadata(from, false)?;
        if original.is_dir() {
            return Err(Error::IsADirectory(from.into()));
        }
        if from == place {
            return Ok(original.mtime);
        }
        self.make_way(place)?;
        self.tree.create_file(place)?;
        let mut offset = 0;
        while let Some((_, bytes)) = self.tree.next_data(from, offset, PIECE)? {
            self.tree.append(place, &bytes)?;
            offset += bytes.len() as u64;
        }
        Ok(original.mtime)
    }

    fn put(
        &mut self,
        entry: &Entry,
        place: &Path,
        content: &mut Content<'_>,
        warn: &mut Warn<'_>,
    ) -> Result<()> {
        let mut mtime = system_time(entry.meta.mtime);
        match &entry.kind {
            Kind::File { len, data } => {
                self.make_way(place)?;
                self.write(place, (*len, data), content)?;
            }
            Kind::HardLink(first) => {
                mtime = self.copy(&self.root.join(first.as_path()), place)?;
                warn(format!("`{}` is a copy: FAT has no hard links", entry.path));
            }
            _ => {
                if self.kind(place)? != Some(FileType::Directory) {
                    self.make_way(place)?;
                    self.tree.create_dir(place)?;
                }
            }
        }
        self.tree.set_times(place, mtime, mtime)
    }
}

/// What is before 1970 is before all that FAT has.
fn system_time(time: Time) -> SystemTime {
    let secs = Duration::from_secs(u64::try_from(time.secs).unwrap_or(0));
    UNIX_EPOCH.checked_add(secs).unwrap_or(UNIX_EPOCH)
}

impl Sink for TreeSink<'_> {
    fn entry(
        &mut self,
        entry: &Entry,
        content: &mut Content<'_>,
        warn: &mut Warn<'_>,
    ) -> Result<()> {
        let place = self.root.join(entry.path.as_path());
        let lost = match &entry.kind {
            Kind::Whiteout => return self.remove(&place),
            Kind::Opaque => return self.empty(&place),
            // Its root has no time.
            Kind::Dir if entry.path.is_root() => return Ok(()),
            _ if entry.path.is_root() => return Err(Error::IsADirectory(place)),
            Kind::Symlink(_) => Some("symbolic links"),
            Kind::CharDevice { .. } | Kind::BlockDevice { .. } => Some("devices"),
            Kind::Fifo => Some("named pipes"),
            Kind::Socket => Some("sockets"),
            Kind::File { .. } | Kind::Dir | Kind::HardLink(_) => None,
        };
        if let Some(what) = lost {
            warn(format!("`{}` is left out: FAT has no {what}", entry.path));
            return Ok(());
        }
        if !entry.xattrs.is_empty() && !self.told_of_attributes {
            self.told_of_attributes = true;
            warn(format!("`{}`: FAT keeps no extended attributes, of no file", entry.path));
        }
        let meta = &entry.meta;
        if !matches!(entry.kind, Kind::HardLink(_)) {
            let is_dir = entry.kind == Kind::Dir;
            self.lost.attributes(is_dir, meta.mode, Some((meta.uid, meta.gid)));
        }
        let (parent, _) = entry.path.split().expect("it is not the root");
        self.make_dirs(&TreePath::new(parent).expect("part of a path"))?;
        self.put(entry, &place, content, warn).map_err(|error| match error {
            Error::Io { source, .. } if source.get_ref().is_some() => from_io(source),
            other => other,
        })
    }
}
