//! Where the files of a container image are: in a directory, or in a tar.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::read_capped;
use crate::archive::entry::{Content, Entry, Kind, Sink, Source, Warn, from_io};
use crate::archive::path::TreePath;
use crate::archive::tar::TarSource;
use crate::compressed::Compression;
use crate::error::{Error, Result};

/// The longest JSON that is read, in bytes: registries refuse manifests of more.
const JSON_CAP: u64 = 4 << 20;
/// Symbolic links from one member to another, as old versions of `docker save` have them.
const LINKS: u32 = 8;

/// A digest of SHA-256, 64 digits of hexadecimal.
#[derive(PartialEq, Eq)]
pub(super) struct Digest(String);

impl Digest {
    /// From `sha256:HEX`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let hex = text.strip_prefix("sha256:").ok_or_else(|| {
            Error::Unsupported(format!("digest `{}`: only sha256 is", text.escape_debug()))
        })?;
        let is_hex = hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match is_hex {
            true => Ok(Self(hex.to_owned())),
            false => Err(Error::Archive(format!("`{}` is not a digest", text.escape_debug()))),
        }
    }

    /// Where its blob stands in a layout.
    pub(super) fn path(&self) -> String {
        format!("blobs/sha256/{}", self.0)
    }
}

/// A stream, and the digest of what was read.
pub(super) struct Hashed<R> {
    from: R,
    hash: Sha256,
}

impl<R: Read> Hashed<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, hash: Sha256::new() }
    }

    /// Read to the end, and compare.
    pub(super) fn check(mut self, expected: &Digest, what: &str) -> Result<()> {
        io::copy(&mut self, &mut io::sink()).map_err(from_io)?;
        let found: String = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        match found == expected.0 {
            true => Ok(()),
            false => Err(Error::Archive(format!(
                "{what} is not what its digest says: sha256:{}, found {found}",
                expected.0
            ))),
        }
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buf)?;
        self.hash.update(&buf[..count]);
        Ok(count)
    }
}

/// Files by their names.
pub(super) enum Blobs {
    Dir(PathBuf),
    Tar { file: File, members: HashMap<TreePath, Member> },
}

pub(super) enum Member {
    File { offset: u64, len: u64 },
    Link(Vec<u8>),
}

/// A part of a file.
pub(super) struct Part {
    file: File,
    offset: u64,
    left: u64,
}

impl Read for Part {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left).map_or(buf.len(), |left| left.min(buf.len()));
        let count = self.file.read_at(&mut buf[..want], self.offset)?;
        if count == 0 && want > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

impl Blobs {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = |error| Error::io(format!("open `{}`", path.display()), error);
        let meta = std::fs::metadata(path).map_err(failed)?;
        if meta.is_dir() {
            return Ok(Self::Dir(path.to_owned()));
        }
        if !meta.is_file() {
            return Err(Error::Unsupported(format!(
                "`{}`: a container image is read from a file or directory, not from a pipe; save it first",
                path.display()
            )));
        }
        let file = File::open(path).map_err(failed)?;
        let mut first = [0; 6];
        let count = file.read_at(&mut first, 0).map_err(failed)?;
        if let Some(compression) = Compression::detect(&first[..count])? {
            return Err(Error::Unsupported(format!(
                "`{}`: a container image in a tar that is packed with {}; unpack it first",
                path.display(),
                compression.name()
            )));
        }
        let mut members = Members(HashMap::new());
        TarSource::of_file(&file)?.feed(&mut members, &mut |_| {})?;
        Ok(Self::Tar { file, members: members.0 })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        match (self, TreePath::new(name.as_bytes())) {
            (Self::Dir(root), Ok(path)) => root.join(path.as_path()).is_file(),
            (Self::Tar { members, .. }, Ok(path)) => members.contains_key(&path),
            (_, Err(_)) => false,
        }
    }

    /// The file of that name.
    pub(super) fn member(&self, name: &str) -> Result<Part> {
        let wrong = |what: &str| {
            Error::Archive(format!("container image: `{}` {what}", name.escape_debug()))
        };
        let mut path = TreePath::new(name.as_bytes()).map_err(wrong)?;
        let (file, members) = match self {
            Self::Dir(root) => {
                let full = root.join(path.as_path());
                let failed = |error| Error::io(format!("open `{}`", full.display()), error);
                // A named pipe would be waited for, until somebody writes to it.
                let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
                let file = match File::options().read(true).custom_flags(nonblock).open(&full) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        return Err(wrong("is missing"));
                    }
                    Err(error) => return Err(failed(error)),
                };
                let meta = file.metadata().map_err(failed)?;
                return match meta.is_file() {
                    true => Ok(Part { file, offset: 0, left: meta.len() }),
                    false => Err(wrong("is no file")),
                };
            }
            Self::Tar { file, members } => (file, members),
        };
        for _ in 0..LINKS {
            match members.get(&path) {
                None => return Err(wrong("is missing")),
                Some(&Member::File { offset, len: left }) => {
                    let file =
                        file.try_clone().map_err(|e| Error::io(format!("open `{name}`"), e))?;
                    return Ok(Part { file, offset, left });
                }
                Some(Member::Link(target)) => path = followed(&path, target).map_err(wrong)?,
            }
        }
        Err(wrong("is behind too many links"))
    }

    /// The blob of that digest, which is still to be checked, and its length, which is not.
    pub(super) fn blob(&self, digest: &Digest, size: u64) -> Result<Part> {
        let part = self.member(&digest.path())?;
        match part.left == size {
            true => Ok(part),
            false => Err(Error::Archive(format!(
                "blob sha256:{} has {} bytes, its descriptor says {size}",
                digest.0, part.left
            ))),
        }
    }

    /// A blob of JSON, its digest checked.
    pub(super) fn json<T: DeserializeOwned>(&self, digest: &Digest, size: u64) -> Result<T> {
        let bytes = read_capped(self.blob(digest, size)?, JSON_CAP)?;
        Hashed::new(&bytes[..]).check(digest, &digest.path())?;
        parsed(&bytes, &digest.path())
    }

    /// A file of JSON that nothing has a digest of.
    pub(super) fn json_member<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        parsed(&read_capped(self.member(name)?, JSON_CAP)?, name)
    }
}

fn parsed<T: DeserializeOwned>(bytes: &[u8], name: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        Error::Archive(format!("container image: `{}`: {error}", name.escape_debug()))
    })
}

/// Where a symbolic link of the tar leads, from the directory it is in.
fn followed(link: &TreePath, target: &[u8]) -> Result<TreePath, &'static str> {
    let mut way: Vec<&[u8]> = link.components().collect();
    way.pop();
    for component in target.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                way.pop().ok_or("is a link that leads out")?;
            }
            name => way.push(name),
        }
    }
    TreePath::new(&way.join(&b'/'))
}

/// Where the members of a tar are.
struct Members(HashMap<TreePath, Member>);

impl Sink for Members {
    fn entry(&mut self, entry: &Entry, content: &mut Content<'_>, _: &mut Warn<'_>) -> Result<()> {
        let member = match &entry.kind {
            Kind::File { len, data } if data.bytes(*len) == *len => {
                Member::File { offset: content.offset(), len: *len }
            }
            Kind::Symlink(target) => Member::Link(target.clone()),
            Kind::HardLink(first) => Member::Link([b"/", first.as_bytes()].concat()),
            _ => return Ok(()),
        };
        self.0.insert(entry.path.clone(), member);
        Ok(())
    }
}
