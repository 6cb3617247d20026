//! Sources: what they are, told by their content, and how they are read.
//!
//! | what stands there | is |
//! | --- | --- |
//! | a directory with `index.json` and `blobs` | a container image |
//! | any other directory | its tree |
//! | a tar of nothing but `blobs/`, `index.json`, `manifest.json`, `oci-layout`, `HEX/layer.tar` … | a container image |
//! | any other tar, packed or not | its tree |
//!
//! A container image is read out of order, so one that comes packed or through a pipe is unpacked beside the target first.

use std::fs::{self, File};
use std::io::{self, Cursor, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use imgfmt::archive::{
    Content, DirSource, Entry, Names, OciSource, Sink, Source, TarSource, Warn, unpack,
};
use imgfmt::compressed::Compression;
use imgfmt::{Error, Result as FormatResult};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::build::{Format, Type, Volume};
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::progress::Bar;

/// Bytes of a source that its seed is made of.
const HEAD_LEN: u64 = 64 << 10;

/// What sources are, where it is not told by their content.
pub(in crate::commands::image) struct Reading {
    pub(in crate::commands::image) format: Option<Format>,
    /// Which image of a container image of several: `linux/amd64`.
    pub(in crate::commands::image) platform: Option<String>,
}

/// All sources of a volume.
pub(super) struct Inputs {
    pub(super) all: Vec<Input>,
}

/// One source.
pub(in crate::commands::image) struct Input {
    path: PathBuf,
    kind: Kind,
    /// What is known of its content without reading it all.
    head: Vec<u8>,
    mode: u32,
}

enum Kind {
    Tar(File),
    /// Standard input, of which this much was read.
    Pipe(Vec<u8>),
    Dir,
    Oci {
        path: PathBuf,
        _spool: Option<NamedTempFile>,
        architecture: Option<String>,
    },
}

impl Inputs {
    /// Open those of all volumes. What has to be unpacked first is put into `scratch`.
    pub(super) fn open_all(
        volumes: &[Volume],
        reading: &Reading,
        scratch: &Path,
    ) -> Result<Vec<Self>> {
        let paths = volumes.iter().flat_map(|volume| &volume.from);
        if paths.filter(|path| is_pipe(path)).count() > 1 {
            return Err(Failure::new("standard input is named twice, and can be read once"));
        }
        volumes.iter().map(|volume| Self::open(volume, reading, scratch)).collect()
    }

    fn open(volume: &Volume, reading: &Reading, scratch: &Path) -> Result<Self> {
        let opened = volume.from.iter().map(|path| match volume.kind {
            Type::Raw => Input::open_raw(path),
            _ => Input::open(path, reading, scratch),
        });
        let mut all = opened.collect::<Result<Vec<_>>>()?;
        if volume.is_looked_at_first() {
            for input in &mut all {
                input.keep(scratch)?;
            }
        }
        Ok(Self { all })
    }

    /// The mode of a file that is no more open to others than any source: an image holds password hashes and keys.
    pub(super) fn mode(&self) -> u32 {
        self.all.iter().fold(0o666, |mode, input| mode & input.mode) | 0o600
    }

    /// What a volume's UUIDs are derived from.
    pub(super) fn seed(&self, volume: &Volume) -> Vec<u8> {
        let number = volume.number.to_le_bytes();
        if let Some(seed) = &volume.seed {
            return [&number[..], seed.as_bytes()].concat();
        }
        let mut hash = Sha256::new();
        hash.update(number);
        let names = [volume.kind.name(), volume.label.as_deref().unwrap_or_default()];
        let heads = self.all.iter().map(|input| &*input.head);
        for part in names.into_iter().map(str::as_bytes).chain(heads) {
            // Lengths keep other parts from being the same bytes.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().to_vec()
    }
}

fn is_pipe(path: &Path) -> bool {
    path == Path::new("-")
}

impl Input {
    /// Open one. What has to be unpacked first is put into `scratch`.
    pub(in crate::commands::image) fn open(
        path: &Path,
        reading: &Reading,
        scratch: &Path,
    ) -> Result<Self> {
        let input = Self { path: path.to_owned(), kind: Kind::Dir, head: Vec::new(), mode: 0o600 };
        let fail = |error: &io::Error| Failure::host("cannot read", path, error);
        if is_pipe(path) {
            return input.pipe(reading, scratch);
        }
        let meta = fs::metadata(path).map_err(|e| fail(&e))?;
        if meta.is_dir() {
            return input.dir(reading);
        }
        if reading.format == Some(Format::Dir) {
            return Err(Failure::new(format!("`{}` is no directory", path.display())));
        }
        let file = File::open(path).map_err(|e| fail(&e))?;
        input.file(file, meta.mode() & 0o666, reading, scratch)
    }

    /// A file whose bytes are taken as they are.
    fn open_raw(path: &Path) -> Result<Self> {
        let fail = |error: &io::Error| Failure::host("cannot read", path, error);
        let mut file = File::open(path).map_err(|e| fail(&e))?;
        let meta = file.metadata().map_err(|e| fail(&e))?;
        if !meta.is_file() {
            return Err(Failure::new(format!("`{}` is no file", path.display())));
        }
        let mut head = Vec::new();
        (&mut file).take(HEAD_LEN).read_to_end(&mut head).map_err(|e| fail(&e))?;
        let (path, kind) = (path.to_owned(), Kind::Tar(file));
        Ok(Self { path, kind, head, mode: meta.mode() & 0o666 })
    }

    /// Its bytes, as they are.
    pub(super) fn raw(&self) -> Result<&File> {
        let Kind::Tar(file) = &self.kind else {
            return Err(Failure::new(format!("{} is no file", self.name())));
        };
        let mut from = file;
        from.rewind().map_err(|e| Failure::host("cannot read", &self.path, &e))?;
        Ok(file)
    }

    /// What it is called in messages.
    pub(in crate::commands::image) fn name(&self) -> String {
        match is_pipe(&self.path) {
            true => "standard input".into(),
            false => format!("`{}`", self.path.display()),
        }
    }

    /// Refuse to make the image in a directory that goes into it: what is half made would, too.
    pub(super) fn check_apart(&self, place: &Path) -> Result<()> {
        let apart = match (self.is_walked(), self.path.canonicalize(), place.canonicalize()) {
            (true, Ok(source), Ok(place)) => !place.starts_with(source),
            _ => true,
        };
        match apart {
            true => Ok(()),
            false => {
                Err(Failure::new(format!("the image would lie in its own source {}", self.name()))
                    .hint("name a place outside of it with `-o`"))
            }
        }
    }

    /// Whether its times are the host's own.
    pub(super) fn is_host(&self) -> bool {
        matches!(self.kind, Kind::Dir)
    }

    /// Whether it is read file by file, and not as a stream.
    pub(super) fn is_walked(&self) -> bool {
        matches!(self.kind, Kind::Dir | Kind::Oci { .. })
    }

    fn dir(mut self, reading: &Reading) -> Result<Self> {
        let is_layout = self.path.join("index.json").is_file() && self.path.join("blobs").is_dir();
        let format = reading.format.unwrap_or(if is_layout { Format::Oci } else { Format::Dir });
        let fail = |error: &io::Error| Failure::host("cannot read", &self.path, error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(|e| fail(&e))? {
            names.push(entry.map_err(|e| fail(&e))?.file_name().into_encoded_bytes());
        }
        names.sort_unstable();
        self.head = names.join(&0);
        match format {
            Format::Dir => {}
            Format::Oci => {
                self.head = fs::read(self.path.join("index.json")).unwrap_or_default();
                self.kind = self.oci(self.path.clone(), None, reading)?;
            }
            Format::Tar => {
                return Err(Failure::new(format!("{} is a directory, and no tar", self.name())));
            }
        }
        Ok(self)
    }

    fn oci(&self, path: PathBuf, spool: Option<NamedTempFile>, reading: &Reading) -> Result<Kind> {
        let architecture = match &reading.platform {
            None => None,
            Some(platform) => match platform.split_once('/') {
                Some(("linux", architecture)) => Some(architecture.to_owned()),
                _ => {
                    return Err(Failure::new(format!("no platform that serves: `{platform}`"))
                        .hint("as in `linux/amd64`"));
                }
            },
        };
        let oci = Kind::Oci { path, _spool: spool, architecture };
        Ok(oci)
    }

    fn pipe(self, reading: &Reading, scratch: &Path) -> Result<Self> {
        let mut head = Vec::new();
        let read = io::stdin().lock().take(HEAD_LEN).read_to_end(&mut head);
        read.map_err(|e| Failure::new(format!("standard input: {}", crate::failure::plain(&e))))?;
        if reading.format == Some(Format::Dir) {
            return Err(Failure::new("standard input is no directory"));
        }
        let mut taken = Vec::new();
        let rest = Cursor::new(&head).chain(io::stdin().lock());
        let is_spooled = self.is_spooled(Recorded { from: rest, taken: &mut taken }, reading)?;
        if taken.len() < head.len() {
            taken.clone_from(&head);
        }
        let mut input = Self { head, ..self };
        input.kind = match is_spooled {
            true => {
                let rest = Cursor::new(taken).chain(io::stdin().lock());
                input.spool(rest, reading, scratch)?
            }
            false => Kind::Pipe(taken),
        };
        Ok(input)
    }

    fn file(
        mut self,
        mut file: File,
        mode: u32,
        reading: &Reading,
        scratch: &Path,
    ) -> Result<Self> {
        let path = self.path.clone();
        let fail = |error: &io::Error| Failure::host("cannot read", &path, error);
        self.mode = mode;
        (&mut file).take(HEAD_LEN).read_to_end(&mut self.head).map_err(|e| fail(&e))?;
        let is_regular = file.metadata().map_err(|e| fail(&e))?.is_file();
        if !is_regular {
            // A named pipe: what was read is gone.
            return Err(Failure::new(format!("{} is neither file nor directory", self.name()))
                .hint("`-` reads standard input"));
        }
        file.rewind().map_err(|e| fail(&e))?;
        let compression = Compression::detect(&self.head).map_err(|e| failed(&self, &e))?;
        self.kind = match (reading.format, compression) {
            (Some(Format::Tar), _) => Kind::Tar(file),
            (_, None) => {
                let is_oci = match reading.format {
                    Some(_) => true,
                    None => is_container_image(&file).map_err(|e| failed(&self, &e))?,
                };
                file.rewind().map_err(|e| fail(&e))?;
                if is_oci { self.oci(path.clone(), None, reading)? } else { Kind::Tar(file) }
            }
            (_, Some(_)) => {
                let is_spooled = self.is_spooled(&file, reading)?;
                file.rewind().map_err(|e| fail(&e))?;
                match is_spooled {
                    true => self.spool(&file, reading, scratch)?,
                    false => Kind::Tar(file),
                }
            }
        };
        Ok(self)
    }

    /// Whether a stream is of a container image, which has to be unpacked into a file: it is said to be, or its first
    /// member is of one. What is wrong with an archive is told when it is read.
    fn is_spooled(&self, from: impl Read, reading: &Reading) -> Result<bool> {
        match reading.format {
            Some(Format::Tar | Format::Dir) => return Ok(false),
            Some(Format::Oci) => return Ok(true),
            None => {}
        }
        let mut first = Vec::new();
        let from = unpack(from).map_err(|e| failed(self, &e))?;
        let _ = from.take(512).read_to_end(&mut first);
        Ok(is_of_image(first.split(|&byte| byte == 0).next().unwrap_or_default()))
    }

    /// A container image in a stream, unpacked into a file.
    fn spool(&self, from: impl Read, reading: &Reading, scratch: &Path) -> Result<Kind> {
        let mut from = unpack(from).map_err(|e| failed(self, &e))?;
        let fail = |error: &io::Error| Failure::host("cannot write to", scratch, error);
        let mut spool = tempfile::Builder::new()
            .prefix(".autoxen.")
            .suffix(".partial")
            .tempfile_in(scratch)
            .map_err(|e| fail(&e))?;
        copy(&mut from, spool.as_file_mut()).map_err(|e| failed(self, &e))?;
        spool.as_file().rewind().map_err(|e| fail(&e))?;
        // One member with such a name makes no image; and what was read of a pipe is gone.
        if reading.format.is_none()
            && !is_container_image(spool.as_file()).map_err(|e| failed(self, &e))?
        {
            return Ok(Kind::Tar(spool.into_file()));
        }
        let path = spool.path().to_owned();
        self.oci(path, Some(spool), reading)
    }

    /// Keep what comes through a pipe, so that it can be read twice.
    fn keep(&mut self, scratch: &Path) -> Result<()> {
        let Kind::Pipe(head) = &self.kind else { return Ok(()) };
        let fail = |error: &io::Error| Failure::host("cannot write to", scratch, error);
        let mut file = tempfile::tempfile_in(scratch).map_err(|e| fail(&e))?;
        let mut from = Cursor::new(head).chain(io::stdin().lock());
        copy(&mut from, &mut file).map_err(|e| failed(self, &e))?;
        self.kind = Kind::Tar(file);
        Ok(())
    }

    /// Feed what is in it to `sink`. `bar` hears how far it has come.
    pub(super) fn feed(
        &self,
        sink: &mut dyn Sink,
        bar: &Bar,
        warn: &mut Warn<'_>,
    ) -> FormatResult<()> {
        self.feed_knowing(Names::default(), sink, bar, warn)
    }

    /// The same, with names that ACLs of a tar may have.
    pub(in crate::commands::image) fn feed_knowing(
        &self,
        names: Names,
        sink: &mut dyn Sink,
        bar: &Bar,
        warn: &mut Warn<'_>,
    ) -> FormatResult<()> {
        let counted = |from, total| Counted { from, bar, done: 0, total };
        match &self.kind {
            Kind::Tar(file) => {
                let mut from = file;
                let total = file.metadata().map_or(0, |meta| meta.len());
                from.rewind().map_err(|e| Error::io("read it", e))?;
                let from = unpack(counted(Box::new(from), total))?;
                TarSource::new(from).knowing(names).feed(sink, warn)
            }
            Kind::Pipe(head) => {
                let from = Cursor::new(head).chain(io::stdin().lock());
                let from = unpack(counted(Box::new(from), 0))?;
                TarSource::new(from).knowing(names).feed(sink, warn)
            }
            Kind::Dir => DirSource::new(&self.path).feed(sink, warn),
            Kind::Oci { path, architecture, .. } => {
                OciSource::open(path, architecture.as_deref())?.feed(sink, warn)
            }
        }
    }
}

fn failed(input: &Input, error: &Error) -> Failure {
    super::failure(input, error)
}

/// A stream that keeps what was read of it, so that it can be read again from its start.
struct Recorded<'t, R> {
    from: R,
    taken: &'t mut Vec<u8>,
}

impl<R: Read> Read for Recorded<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buf)?;
        self.taken.extend_from_slice(&buf[..count]);
        Ok(count)
    }
}

/// A stream whose progress is shown, and that ends when we are asked to stop.
struct Counted<'a> {
    from: Box<dyn Read + 'a>,
    bar: &'a Bar,
    done: u64,
    total: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if interrupt::asked() {
            return Err(io::Error::other(Error::Stopped));
        }
        let count = self.from.read(buf)?;
        self.done += count as u64;
        self.bar.set(self.done, self.total);
        Ok(count)
    }
}

fn copy(from: &mut dyn Read, to: &mut File) -> FormatResult<()> {
    let mut buf = vec![0; 256 << 10];
    loop {
        if interrupt::asked() {
            return Err(Error::Stopped);
        }
        let count = from.read(&mut buf).map_err(imgfmt::archive::entry::from_io)?;
        if count == 0 {
            return Ok(());
        }
        io::Write::write_all(to, &buf[..count])
            .map_err(|e| Error::io("writing a copy of it", e))?;
    }
}

/// Whether a member of this name is one of a container image.
fn is_of_image(name: &[u8]) -> bool {
    let name = name.strip_prefix(b"./").unwrap_or(name);
    let mut parts = name.split(|&byte| byte == b'/');
    let first = parts.next().unwrap_or_default();
    // `HEX.json` is a configuration; `HEX.tar` a layer, as skopeo names it.
    let hex = first.strip_suffix(b".json").or_else(|| first.strip_suffix(b".tar")).unwrap_or(first);
    let is_digest = hex.len() == 64 && hex.iter().all(u8::is_ascii_hexdigit);
    is_digest
        || matches!(
            first,
            b"blobs" | b"index.json" | b"manifest.json" | b"oci-layout" | b"repositories"
        )
}

/// Whether a plain tar is a container image: all its members are what these have.
fn is_container_image(file: &File) -> FormatResult<bool> {
    let mut look = Look { has_index: false };
    match TarSource::of_file(file).and_then(|mut tar| tar.feed(&mut look, &mut |_| {})) {
        Ok(()) => Ok(look.has_index),
        // The first member that is none of an image ends it; what is wrong with an archive is told when it is read.
        Err(_) => Ok(false),
    }
}

struct Look {
    has_index: bool,
}

impl Sink for Look {
    fn entry(&mut self, entry: &Entry, _: &mut Content<'_>, _: &mut Warn<'_>) -> FormatResult<()> {
        let name = entry.path.as_bytes();
        if interrupt::asked() || !name.is_empty() && !is_of_image(name) {
            return Err(Error::Stopped);
        }
        self.has_index |= matches!(name, b"index.json" | b"manifest.json");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::is_of_image;

    #[test]
    fn members_of_container_images_are_known_by_their_names() {
        let digest = "0123456789abcdef".repeat(4);
        let layer = format!("{digest}/layer.tar");
        let config = format!("{digest}.json");
        let plain = format!("{digest}.tar");
        for name in [
            "blobs/sha256/ab",
            "./index.json",
            "manifest.json",
            "oci-layout",
            &layer,
            &config,
            &plain,
        ] {
            assert!(is_of_image(name.as_bytes()), "{name}");
        }
        for name in ["etc/", "./", "index.html", "blob", "0123/layer.tar", "0123.tar"] {
            assert!(!is_of_image(name.as_bytes()), "{name}");
        }
    }
}
