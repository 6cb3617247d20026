//! Files of the host that go into an image: opened once, compared with their digest, fed to what writes them, and what
//! was fed is remembered for whoever reads it back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::MetadataExt;

use imgfmt::archive::{
    Content, Data, DirSource, Entry, Kind, Meta, Sink, Source, TarSource, Time, TreePath, Warn,
    unpack,
};
use imgfmt::{Error, Result as FormatResult};
use sha2::{Digest, Sha256};

use crate::digest;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::plan::Staged;
use crate::xmf::model::InputKind;

/// The most that goes into an image whose changes are held in memory, in bytes.
pub const MEMORY_MAX: u64 = 1 << 30;

/// What was fed, by its path below the place that it is put at.
pub type Fed = BTreeMap<Vec<u8>, Seen>;

/// One entry, as it should be read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A file of this length, with this SHA-256 where it has no holes.
    File(u64, Option<[u8; 32]>),
    /// A directory.
    Dir,
    /// A symbolic link with this text.
    Symlink(Vec<u8>),
    /// Anything else.
    Other,
}

/// Something staged, open for as long as this lives.
#[derive(Debug)]
pub struct Opened<'p> {
    /// What it is.
    pub staged: &'p Staged,
    file: Option<File>,
    fed: RefCell<Fed>,
    warnings: RefCell<Vec<String>>,
}

impl<'p> Opened<'p> {
    /// Open it, and compare its digest.
    ///
    /// # Errors
    /// Where it cannot be read, or is another file than the job description wants.
    pub fn open(staged: &'p Staged) -> Result<Self> {
        let path = &staged.source;
        let fail = |e: io::Error| Failure::host("cannot read", path, &e);
        let file = match staged.kind {
            InputKind::Directory => None,
            InputKind::File | InputKind::Tar => Some(File::open(path).map_err(fail)?),
        };
        if let (Some(wanted), Some(mut file)) = (&staged.sha256, file.as_ref()) {
            let found = digest::sha256(&mut file, &mut |_| interrupt::check_io());
            interrupt::check()?;
            let found = found.map_err(fail)?;
            if found != *wanted {
                return Err(Failure::new(format!(
                    "input `{}` has another SHA-256: {found}",
                    path.display()
                ))
                .hint("do not use this file unless you know why it differs"));
            }
        }
        let (fed, warnings) = (RefCell::default(), RefCell::default());
        Ok(Self { staged, file, fed, warnings })
    }

    /// All of a file.
    ///
    /// # Errors
    /// Where it cannot be read, or memory is no place for it.
    pub fn read(&self) -> Result<Vec<u8>> {
        let path = &self.staged.source;
        let fail = |e: io::Error| Failure::host("cannot read", path, &e);
        let mut file = self.file.as_ref().expect("a directory is not read as a file");
        file.rewind().map_err(fail)?;
        let mut bytes = Vec::new();
        file.take(MEMORY_MAX + 1).read_to_end(&mut bytes).map_err(fail)?;
        if bytes.len() as u64 > MEMORY_MAX {
            return Err(Failure::new(format!(
                "`{}` is larger than 1 GiB, the most that an image takes in",
                path.display()
            ))
            .hint("`place=\"ext\"` puts it on a disk of its own"));
        }
        Ok(bytes)
    }

    /// Feed all of it to `sink`, `cap` bytes of content at most. Paths begin at the place that it is put at; a file has its
    /// own name there.
    ///
    /// # Errors
    /// Those of the source and of the sink.
    pub fn feed(&self, sink: &mut dyn Sink, cap: u64) -> FormatResult<()> {
        let name = self.staged.source.display();
        self.feed_all(sink, cap).map_err(|error| match error {
            Error::Archive(what) => Error::Archive(format!("input `{name}`: {what}")),
            other => other,
        })
    }

    fn feed_all(&self, sink: &mut dyn Sink, cap: u64) -> FormatResult<()> {
        let is_host = self.staged.kind != InputKind::Tar;
        let mut recorder = Recorder { sink, is_host, left: cap, fed: Fed::new() };
        let mut warnings = Vec::new();
        let name = self.staged.source.display();
        let warn = &mut |warning: String| warnings.push(format!("`{name}`: {warning}"));
        match (self.staged.kind, &self.file) {
            (InputKind::Tar, Some(file)) => {
                let mut from = file;
                from.rewind().map_err(|e| Error::io("read it", e))?;
                TarSource::new(unpack(from)?).feed(&mut recorder, warn)?;
            }
            (InputKind::File, Some(file)) => feed_file(self.staged, file, &mut recorder, warn)?,
            (_, _) => DirSource::new(&self.staged.source).feed(&mut recorder, warn)?,
        }
        *self.fed.borrow_mut() = recorder.fed;
        *self.warnings.borrow_mut() = warnings;
        Ok(())
    }

    /// What was fed last.
    pub fn fed(&self) -> Fed {
        self.fed.borrow().clone()
    }

    /// What was odd about it.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.borrow().clone()
    }
}

fn feed_file(
    staged: &Staged,
    mut file: &File,
    sink: &mut dyn Sink,
    warn: &mut Warn<'_>,
) -> FormatResult<()> {
    file.rewind().map_err(|e| Error::io("read it", e))?;
    let meta = file.metadata().map_err(|e| Error::io("look at it", e))?;
    let name = staged.path.rsplit('/').next().unwrap_or_default();
    let path = TreePath::root().join(name.as_bytes()).expect("the last part of a normal path");
    let mtime = Time { secs: meta.mtime(), nanos: u32::try_from(meta.mtime_nsec()).unwrap_or(0) };
    let mode = u16::try_from(staged.mode & 0o777).unwrap_or(0o644);
    let entry = Entry {
        path,
        meta: Meta { mode, mtime, ..Meta::default() },
        xattrs: Vec::new(),
        kind: Kind::File { len: meta.len(), data: Data::Whole },
    };
    sink.entry(&entry, &mut Content::new(&mut file, meta.len()), warn)
}

/// Remembers what passes.
struct Recorder<'a> {
    sink: &'a mut dyn Sink,
    /// It comes from a directory of this host, whose owners mean nothing in a guest, and of whose times only that of the
    /// content is kept by a copy.
    is_host: bool,
    left: u64,
    fed: Fed,
}

impl Sink for Recorder<'_> {
    fn entry(
        &mut self,
        entry: &Entry,
        content: &mut Content<'_>,
        warn: &mut Warn<'_>,
    ) -> FormatResult<()> {
        if interrupt::asked() {
            return Err(Error::Stopped);
        }
        let Some(left) = self.left.checked_sub(entry.content_len()) else {
            let what = "inputs of more than 1 GiB go on a disk of their own: `place=\"ext\"`";
            return Err(Error::Unsupported(what.into()));
        };
        self.left = left;
        let mut entry = entry.clone();
        if self.is_host {
            (entry.meta.uid, entry.meta.gid) = (0, 0);
            (entry.meta.atime, entry.meta.ctime) = (None, None);
        }
        let mut hashed = Hashed { from: content, hash: Sha256::new() };
        let len = entry.content_len();
        self.sink.entry(&entry, &mut Content::new(&mut hashed, len), warn)?;
        // A sink may leave bytes unread; the digest is of all.
        io::copy(&mut hashed, &mut io::sink()).map_err(imgfmt::archive::entry::from_io)?;
        let digest = hashed.hash.finalize().into();
        let seen = match &entry.kind {
            Kind::File { len, data: Data::Whole } => Seen::File(*len, Some(digest)),
            Kind::File { len, .. } => Seen::File(*len, None),
            Kind::Dir => Seen::Dir,
            Kind::Symlink(text) => Seen::Symlink(text.clone()),
            Kind::HardLink(other) => self.fed.get(other.as_bytes()).cloned().unwrap_or(Seen::Other),
            _ => Seen::Other,
        };
        let path = entry.path.as_bytes().to_vec();
        if seen != Seen::Dir {
            // What came before below this path is gone.
            let below = [&path[..], b"/"].concat();
            self.fed.retain(|other, _| !other.starts_with(&below));
        }
        self.fed.insert(path, seen);
        Ok(())
    }
}

/// A stream whose digest is taken as it passes.
struct Hashed<'a, 'c> {
    from: &'a mut Content<'c>,
    hash: Sha256,
}

impl Read for Hashed<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = Read::read(self.from, buf)?;
        self.hash.update(&buf[..count]);
        Ok(count)
    }
}

/// A sink that puts all below a directory.
pub struct Below<'a> {
    /// What takes the entries.
    pub sink: &'a mut dyn Sink,
    /// The directory.
    pub directory: TreePath,
}

impl Below<'_> {
    fn path(&self, path: &TreePath) -> FormatResult<TreePath> {
        let parts = self.directory.components().chain(path.components()).collect::<Vec<_>>();
        TreePath::new(&parts.join(&b'/')).map_err(|what| Error::Archive(what.into()))
    }
}

impl Sink for Below<'_> {
    fn entry(
        &mut self,
        entry: &Entry,
        content: &mut Content<'_>,
        warn: &mut Warn<'_>,
    ) -> FormatResult<()> {
        let kind = match &entry.kind {
            Kind::HardLink(other) => Kind::HardLink(self.path(other)?),
            kind => kind.clone(),
        };
        let entry = Entry { path: self.path(&entry.path)?, kind, ..entry.clone() };
        self.sink.entry(&entry, content, warn)
    }
}
