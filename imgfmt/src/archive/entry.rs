//! One entry of a file tree, and how entries go from where they are to where they are wanted.
//!
//! A [`Source`] hands every [`Entry`] of a tree to a [`Sink`], one after another, each with its [`Content`]. Neither knows
//! the other: what reads a tar serves whoever builds an image, edits one, or writes another tar.
//!
//! ```text
//! File { len: 1 GiB, data: [4096..8192] }, content of 4096 bytes     a sparse file: the rest reads as zeros
//! ```
//! # What a sink does with the order of entries
//!
//! * A directory may come after what is in it, or never. One that is missing is made, 0755, of root, and takes what
//!   its entry says when that comes.
//! * A path that comes again replaces what was there. A directory that comes again keeps what is in it and takes the
//!   new [`Meta`] and attributes. A directory in the place of something else, and the other way round: what was there goes, unless
//!   it is a directory that is not empty, which is an error.
//! * A symbolic link on the way to a path is followed inside the tree, never out of it; the last component is not.
//! * A hard link leads to a path that came before. Its own `meta` and `xattrs` mean nothing.
//! * [`Kind::Whiteout`] and [`Kind::Opaque`] take away what came before, and nothing that comes later.

use std::io::{self, Read};

use super::path::TreePath;
use crate::error::{Error, Result};

/// A moment, in Unix seconds and nanoseconds behind them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Seconds since 1970, rounded down: negative before.
    pub secs: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanos: u32,
}

/// Owner, permissions and times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Permissions, with set-user-ID, set-group-ID and sticky bit: twelve bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the content.
    pub mtime: Time,
    /// Last read, where the source knows it.
    pub atime: Option<Time>,
    /// Last change of the inode, where the source knows it. No system call sets it; only who writes inodes can.
    pub ctime: Option<Time>,
}

/// An extended attribute, as `getxattr` gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// The full name: `user.x`, `security.capability`, `system.posix_acl_access`. At most 255 bytes, no NUL.
    pub name: Vec<u8>,
    /// The value. Of an ACL that is the kernel's form (version 2, `struct posix_acl_xattr_header`), not ext's.
    pub value: Vec<u8>,
}

/// Bytes of a file that are there; between such runs are holes, which read as zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where in the file it starts, in bytes.
    pub offset: u64,
    /// How many bytes, never 0.
    pub len: u64,
}

/// What the content of a file is made of. Runs rise, do not overlap, and end within the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// No hole: one run, as long as the file.
    Whole,
    /// These runs alone.
    Sparse(Vec<Run>),
}

impl Data {
    /// Runs as they were found, for a file of `len` bytes; empty ones are left out.
    ///
    /// # Errors
    /// What is wrong with them: order, overlap, past the end.
    pub fn sparse(runs: Vec<Run>, len: u64) -> Result<Self, &'static str> {
        let mut end = 0;
        for run in &runs {
            if run.offset < end {
                return Err("data runs overlap or are out of order");
            }
            end = run.offset.checked_add(run.len).ok_or("a data run is too long")?;
        }
        if end > len {
            return Err("a data run ends past the end of the file");
        }
        let mut runs = runs;
        runs.retain(|run| run.len > 0);
        match runs[..] {
            [] if len == 0 => Ok(Self::Whole),
            [Run { offset: 0, len: whole }] if whole == len => Ok(Self::Whole),
            _ => Ok(Self::Sparse(runs)),
        }
    }

    /// The runs of a file of `len` bytes.
    pub fn runs(&self, len: u64) -> impl Iterator<Item = Run> {
        let (whole, sparse) = match self {
            Self::Whole => ((len > 0).then_some(Run { offset: 0, len }), &[][..]),
            Self::Sparse(runs) => (None, &runs[..]),
        };
        whole.into_iter().chain(sparse.iter().copied())
    }

    /// How many bytes of data a file of `len` bytes has.
    pub fn bytes(&self, len: u64) -> u64 {
        self.runs(len).map(|run| run.len).sum()
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// Its length with its holes, in bytes.
        len: u64,
        /// Where it has data. The content that comes with the entry is that data, run after run.
        data: Data,
    },
    /// A directory.
    Dir,
    /// A symbolic link with its text, never empty, no NUL.
    Symlink(Vec<u8>),
    /// One more name for what came under another.
    HardLink(TreePath),
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// Nothing: what came before at this path, with all below it, is to go. It need not be there.
    Whiteout,
    /// What came before in this directory is to go; the directory itself stays, if it is there.
    Opaque,
}

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands. The root has an entry like any other directory, or none.
    pub path: TreePath,
    /// Owner, permissions and times.
    pub meta: Meta,
    /// Extended attributes, in the order of the source, no name twice.
    pub xattrs: Vec<Xattr>,
    /// What it is.
    pub kind: Kind,
}

impl Entry {
    /// How many bytes of content come with it.
    pub fn content_len(&self) -> u64 {
        match &self.kind {
            Kind::File { len, data } => data.bytes(*len),
            _ => 0,
        }
    }
}

/// The content of one file: the bytes of its data runs, one run behind the other. A sink may leave the rest unread.
pub struct Content<'a> {
    from: &'a mut dyn Read,
    left: u64,
    offset: u64,
}

impl<'a> Content<'a> {
    /// `len` bytes that `from` has.
    pub fn new(from: &'a mut dyn Read, len: u64) -> Self {
        Self { from, left: len, offset: 0 }
    }

    /// The same, where it starts at a byte of an archive that may be read there again.
    pub(super) fn at(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// Where in the archive it starts.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes that were not read yet. It comes from an archive: no reason to allocate as much.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Fill `buf`, or as much of it as there are bytes left. Returns how many that were: fewer than asked for at the end alone.
    ///
    /// # Errors
    /// [`Error::Archive`] where the source ends before the content does, or is damaged; [`Error::Io`].
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let want = usize::try_from(self.left).map_or(buf.len(), |left| left.min(buf.len()));
        let mut filled = 0;
        while filled < want {
            match self.from.read(&mut buf[filled..want]) {
                Ok(0) => return Err(cut_short()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(from_io(error)),
            }
        }
        self.left -= filled as u64;
        Ok(filled)
    }
}

/// For those who take any stream. Errors of this library come back out by [`from_io`].
impl Read for Content<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Content::read(self, buf).map_err(io::Error::other)
    }
}

/// What is behind an error of a stream: an error of this library as it was, or else the host's.
pub fn from_io(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return cut_short();
    }
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(error) => Error::io("read the source", error),
    }
}

fn cut_short() -> Error {
    Error::Archive("cut short".into())
}

/// Takes what is not worth stopping for, one line each, such as a kind of file that the target cannot hold.
pub type Warn<'a> = dyn FnMut(String) + 'a;

/// A tree to be read.
pub trait Source {
    /// Hand all entries to `sink`, in order.
    ///
    /// # Errors
    /// Those of the source and of the sink. The sink has a part of the tree then.
    fn feed(&mut self, sink: &mut dyn Sink, warn: &mut Warn<'_>) -> Result<()>;
}

/// A tree to be made. What it does with the order of entries is said [above](self).
pub trait Sink {
    /// Take one entry.
    ///
    /// # Errors
    /// Of the content, of the sink, or for an entry that cannot stand there.
    fn entry(
        &mut self,
        entry: &Entry,
        content: &mut Content<'_>,
        warn: &mut Warn<'_>,
    ) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ends_where_it_was_declared_to_end() {
        let mut from = &b"abcdefgh"[..];
        let mut content = Content::new(&mut from, 5);
        let mut buf = [0; 4];
        assert_eq!(content.read(&mut buf).expect("four bytes"), 4);
        assert_eq!(content.left(), 1);
        assert_eq!(content.read(&mut buf).expect("the last"), 1);
        assert_eq!(content.read(&mut buf).expect("the end"), 0);
        assert_eq!(from, b"fgh");
    }

    #[test]
    fn a_source_that_ends_within_the_content_is_cut_short() {
        let mut from = &b"abc"[..];
        let outcome = Content::new(&mut from, 5).read(&mut [0; 8]);
        assert_eq!(outcome.expect_err("short").to_string(), "archive: cut short");
        // The same through a stream.
        let mut from = &b"abc"[..];
        let outcome = Content::new(&mut from, 5).read_to_end(&mut Vec::new());
        assert_eq!(from_io(outcome.expect_err("short")).to_string(), "archive: cut short");
    }

    #[test]
    fn data_runs_rise_and_end_within_the_file() {
        let run = |offset, len| Run { offset, len };
        assert_eq!(Data::sparse(vec![run(0, 7)], 7), Ok(Data::Whole));
        assert_eq!(Data::sparse(vec![run(7, 0)], 7), Ok(Data::Sparse(vec![])));
        assert_eq!(Data::sparse(vec![], 0), Ok(Data::Whole));
        let two = vec![run(0, 4), run(8, 2)];
        let data = Data::sparse(two.clone(), 99).expect("in order");
        assert_eq!(data.runs(99).collect::<Vec<_>>(), two);
        assert_eq!(data.bytes(99), 6);
        for odd in [vec![run(4, 4), run(7, 1)], vec![run(90, 10)], vec![run(1, u64::MAX)]] {
            assert!(Data::sparse(odd, 99).is_err());
        }
        assert_eq!(Data::Whole.runs(0).count(), 0);
    }
}
