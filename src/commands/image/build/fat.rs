//! A FAT volume of an image, filled through `imgfmt::fat`.
//!
//! FAT has names, directories, content and times, and nothing else. Symbolic links, devices, pipes and sockets are left
//! out with a warning each, hard links become copies; owners, modes and extended attributes are not kept. Names that
//! FAT cannot have, or that differ from another in case alone, are refused.
//!
//! Edits are written to the image whenever they hold as much as [`FLUSH_LEN`], so that memory is bounded. A file of more
//! than one piece is written as it comes: a chain has no end that can be found but by walking it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use imgfmt::archive::{Content, Data, Entry, Kind, Run, Sink, TreePath, Warn};
use imgfmt::fat::Fs;
use imgfmt::{Changes, Error, Result as FormatResult, Storage, Volume as Window};

use super::Work;
use super::fat_size;
use super::made::VolumeMade;
use super::output::{self, Output};
use crate::build::{Type, Volume};
use crate::failure::{Failure, Result};
use crate::inside::lost::Lost;

/// Bytes of content that are given to a file at once. What is longer goes past the edits that are held.
const PIECE_LEN: u64 = 4 << 20;
/// Bytes of a file that are copied at once: each piece is looked for from the start of its chain.
const COPY_LEN: usize = 32 << 20;
/// Bytes of content after which edits are written.
const FLUSH_LEN: u64 = 32 << 20;

/// Make it where `output` stands.
pub(super) fn make(
    work: &mut Work<'_>,
    volume: &Volume,
    output: &mut Output,
) -> Result<VolumeMade> {
    let len = fat_size::settle(work, volume)?;
    let seed = work.inputs.seed(volume);
    let id = match volume.uuid {
        Some(uuid) => uuid.as_fields().0,
        None => fat_size::id(&seed),
    };
    let fail = |error: Error| output::failure(&error);
    output.reach(len)?;
    let bytes = Bytes { file: output.file(), start: output.start, len };
    let label = volume.label.as_deref();
    let made = imgfmt::fat::format(Window::whole(&bytes), id, label).map_err(fail)?;
    bytes.write(&made).map_err(fail)?;
    let fs = Fs::open(Window::whole(&bytes)).map_err(fail)?;
    let spellings = BTreeMap::new();
    let mut filler = Filler {
        bytes: &bytes,
        fs,
        held: 0,
        spellings,
        told_of_attributes: false,
        lost: Lost::default(),
    };
    work.feed(volume, &mut filler)?;
    filler.flush().map_err(fail)?;
    let lost = filler.lost.lines();
    work.warnings.extend(lost);
    let [a, b] = [id >> 16, id & 0xffff];
    Ok(VolumeMade {
        kind: Type::Vfat,
        partition: None,
        start: output.start,
        len,
        uuid: format!("{a:04X}-{b:04X}"),
        label: volume.label.clone(),
        ext: None,
    })
}

/// The bytes of the volume, in the file.
struct Bytes<'f> {
    file: &'f File,
    start: u64,
    len: u64,
}

impl Storage for Bytes<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        match offset.checked_add(buf.len() as u64) {
            Some(end) if end <= self.len => self.file.read_exact_at(buf, self.start + offset),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Bytes<'_> {
    fn write(&self, changes: &Changes) -> FormatResult<()> {
        for (offset, bytes) in changes.iter() {
            self.file
                .write_all_at(bytes, self.start + offset)
                .map_err(|e| Error::io(format!("writing at byte {offset}"), e))?;
        }
        Ok(())
    }
}

/// The pieces of a file, holes among them: whether each has content, and how long it is.
fn pieces(data: &Data, len: u64) -> impl Iterator<Item = (bool, u64)> + '_ {
    let mut end = 0;
    let behind = Run { offset: len, len: 0 };
    data.runs(len).chain([behind]).flat_map(move |run| {
        let hole = run.offset.saturating_sub(end);
        end = run.offset.saturating_add(run.len);
        [(false, hole), (true, run.len)].into_iter().flat_map(|(has_content, len)| {
            let starts = (0..len).step_by(usize::try_from(PIECE_LEN).expect("a piece"));
            starts.map(move |start| (has_content, PIECE_LEN.min(len - start)))
        })
    })
}

/// The bytes of a file, a piece at a time.
struct Pieces<'c, 's, I> {
    left: I,
    content: &'c mut Content<'s>,
}

impl<I: Iterator<Item = (bool, u64)>> Pieces<'_, '_, I> {
    fn next(&mut self) -> FormatResult<Option<Vec<u8>>> {
        let Some((has_content, len)) = self.left.next() else { return Ok(None) };
        let mut bytes = vec![0; usize::try_from(len).expect("a piece")];
        if has_content && self.content.read(&mut bytes)? < bytes.len() {
            return Err(Error::Archive("content is shorter than its entry says".into()));
        }
        Ok(Some(bytes))
    }
}

struct Filler<'a> {
    bytes: &'a Bytes<'a>,
    fs: Fs<'a>,
    /// Bytes of content since edits were last written.
    held: u64,
    /// How each path is spelt, by its lower case.
    spellings: BTreeMap<String, String>,
    told_of_attributes: bool,
    /// What is not kept.
    lost: Lost,
}

impl Filler<'_> {
    /// Write all edits.
    fn flush(&mut self) -> FormatResult<()> {
        self.held = 0;
        let changes = self.fs.take_changes()?;
        self.bytes.write(&changes)
    }

    /// Give `path`, which is there and empty, all that `next` gives.
    fn stream(
        &mut self,
        path: &Path,
        now: u64,
        next: &mut dyn FnMut() -> FormatResult<Option<Vec<u8>>>,
    ) -> FormatResult<()> {
        self.flush()?;
        let bytes = self.bytes;
        self.fs.append_through(path, now, next, &mut |offset, piece| {
            bytes.file.write_all_at(piece, bytes.start + offset)
        })
    }

    fn note(&mut self, bytes: u64) -> FormatResult<()> {
        self.held += bytes;
        if self.held >= FLUSH_LEN { self.flush() } else { Ok(()) }
    }

    /// Whether there is a directory or a file; `None` where there is nothing.
    fn is_dir(&mut self, path: &Path) -> FormatResult<Option<bool>> {
        match self.fs.metadata(path) {
            Ok(entry) => Ok(Some(entry.is_dir)),
            Err(Error::NotFound(_) | Error::NotADirectory(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Refuse a path, or a part of it, that is there in another spelling.
    fn check_spelling(&mut self, path: &TreePath) -> FormatResult<()> {
        let Ok(text) = std::str::from_utf8(path.as_bytes()) else {
            let what = "a FAT name is text";
            return Err(Error::InvalidPath { path: path.as_path().to_owned(), what });
        };
        let ends = text.match_indices('/').map(|(at, _)| at).chain([text.len()]);
        for end in ends {
            let part = &text[..end];
            let known = self.spellings.entry(part.to_lowercase()).or_insert_with(|| part.into());
            if known != part {
                return Err(Error::WrongKind {
                    path: path.as_path().to_owned(),
                    what: format!("and `{known}` are one name in a FAT, which knows no case"),
                });
            }
        }
        Ok(())
    }

    /// Make the directories on the way that are not there.
    fn make_parents(&mut self, path: &TreePath, now: u64) -> FormatResult<()> {
        let Some((dir, _)) = path.split().filter(|(dir, _)| !dir.is_empty()) else { return Ok(()) };
        let dir = Path::new(std::ffi::OsStr::from_bytes(dir));
        match self.is_dir(dir)? {
            Some(true) => return Ok(()),
            Some(false) => return Err(Error::NotADirectory(path.as_path().to_owned())),
            None => {}
        }
        let above = TreePath::new(dir.as_os_str().as_bytes()).expect("part of a path");
        self.make_parents(&above, now)?;
        self.fs.create_dir(dir, now)
    }

    /// Make room: a file goes, and a directory that is empty.
    fn make_room(&mut self, path: &Path, wants_dir: bool) -> FormatResult<()> {
        match self.is_dir(path)? {
            Some(is_dir) if is_dir != wants_dir => self.fs.remove(path),
            _ => Ok(()),
        }
    }

    fn put_file(
        &mut self,
        path: &Path,
        (len, data): (u64, &Data),
        content: &mut Content<'_>,
        now: u64,
    ) -> FormatResult<()> {
        self.fs.write(path, &[], now)?;
        if len > u64::from(u32::MAX) {
            let path = path.display();
            return Err(Error::Unsupported(format!("`{path}`: a FAT file ends at 4 GiB")));
        }
        let mut pieces = Pieces { left: pieces(data, len), content };
        if len <= PIECE_LEN {
            let mut all = Vec::new();
            while let Some(bytes) = pieces.next()? {
                all.extend(bytes);
            }
            self.fs.write(path, &all, now)?;
            self.note(len)?;
        } else {
            self.stream(path, now, &mut || pieces.next())?;
        }
        self.fs.set_modified(path, now)
    }

    /// Another name is another copy.
    fn copy(&mut self, path: &Path, from: &Path, now: u64) -> FormatResult<bool> {
        if self.is_dir(from)? != Some(false) {
            return Ok(false);
        }
        // A name that leads to the same file must not be emptied.
        let first = self.fs.spelled(from)?;
        if self.fs.spelled(path).is_ok_and(|other| other == first) {
            return Ok(true);
        }
        self.fs.write(path, &[], now)?;
        self.flush()?;
        let original = Fs::open(Window::whole(self.bytes))?;
        let mut end = 0;
        self.stream(path, now, &mut || {
            let bytes = original.read_at(from, end, COPY_LEN)?;
            end += bytes.len() as u64;
            Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
        })?;
        self.fs.set_modified(path, now)?;
        Ok(true)
    }

    fn remove(&mut self, path: &Path) -> FormatResult<()> {
        let Some(is_dir) = self.is_dir(path)? else { return Ok(()) };
        if is_dir {
            self.empty(path)?;
        }
        if !path.as_os_str().is_empty() {
            self.fs.remove(path)?;
            self.forget(path);
        }
        Ok(())
    }

    fn empty(&mut self, dir: &Path) -> FormatResult<()> {
        if self.is_dir(dir)? == Some(true) {
            for entry in self.fs.read_dir(dir)? {
                self.remove(&dir.join(entry.name))?;
            }
        }
        Ok(())
    }

    fn forget(&mut self, path: &Path) {
        self.spellings.remove(&path.to_string_lossy().to_lowercase());
    }
}

impl Sink for Filler<'_> {
    fn entry(
        &mut self,
        entry: &Entry,
        content: &mut Content<'_>,
        warn: &mut Warn<'_>,
    ) -> FormatResult<()> {
        let path = entry.path.as_path();
        let now = u64::try_from(entry.meta.mtime.secs).unwrap_or(0);
        match &entry.kind {
            Kind::Whiteout => return self.remove(path),
            Kind::Opaque => return self.empty(path),
            Kind::Dir if entry.path.is_root() => return Ok(()),
            _ => {}
        }
        let lost = match &entry.kind {
            Kind::Symlink(_) => Some("symbolic links"),
            Kind::CharDevice { .. } | Kind::BlockDevice { .. } => Some("devices"),
            Kind::Fifo => Some("named pipes"),
            Kind::Socket => Some("sockets"),
            _ => None,
        };
        if let Some(what) = lost {
            warn(format!("`{}` is left out: FAT has no {what}", entry.path));
            return self.remove(path);
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
        self.check_spelling(&entry.path)?;
        self.make_parents(&entry.path, now)?;
        self.make_room(path, entry.kind == Kind::Dir)?;
        match &entry.kind {
            Kind::File { len, data } => self.put_file(path, (*len, data), content, now),
            Kind::HardLink(to) => {
                let what = match self.copy(path, to.as_path(), now)? {
                    true => "is a copy",
                    false => "is left out",
                };
                warn(format!("`{}` {what}: FAT has no hard links", entry.path));
                Ok(())
            }
            _ if self.is_dir(path)? == Some(true) => Ok(()),
            _ => self.fs.create_dir(path, now),
        }
    }
}

/// Why there is no such FAT.
pub(super) fn refusal(error: &Error) -> Failure {
    output::failure(error)
}
