//! The tree digest of a file: SHA-256 over the SHA-256 of its pieces, so that several cores make it at once and what lies
//! in a hole is not read.
//!
//! ```text
//! piece   1 MiB; the last one may be shorter
//! leaf    SHA-256(piece)
//! digest  SHA-256("autoxen-tree-sha256\n" || length of the file, 64 bits, little-endian || leaf 0 || leaf 1 || …)
//! ```
//!
//! As text it is `tree-sha256:` and 64 hexadecimal digits in lower case. A hole counts as the zeros that it reads as: how a
//! host stores a file makes no difference. The tree has two levels, so that a leaf cannot pass for a digest: no piece that
//! anybody signs begins with the word and a fitting length.
//!
//! Nothing here compares, and nothing knows of signatures.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::thread;

use imgfmt::Storage;
use imgfmt::storage::OpenFile;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

/// Bytes that a leaf stands for.
pub const PIECE: u64 = 1 << 20;
/// What the digest's own input begins with.
const DOMAIN: &[u8] = b"autoxen-tree-sha256\n";
/// What its text begins with.
const PREFIX: &str = "tree-sha256:";
/// Pieces between two joins of the workers: 4 GiB. It bounds the memory for leaves, however long a file says that it is.
const BATCH: u64 = 4096;

/// Bytes that a worker reads at a time: they stay in the processor's cache, and many workers take little memory.
const READ: usize = 128 << 10;
/// The stack of a worker, in bytes.
const STACK: usize = 128 << 10;
/// The most workers: past that, disks and memory are what is waited for.
const WORKERS_MAX: usize = 32;

/// SHA-256 of a piece.
type Leaf = [u8; 32];

/// The tree digest of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// The digest of the first `len` bytes of `file`, which moves the file's own position.
///
/// `step` is told how many bytes are done, in rising order; an error from it ends the work.
///
/// # Errors
/// Those of the host and of `step`; [`io::ErrorKind::UnexpectedEof`] where the file is shorter, or becomes so meanwhile.
pub fn of(file: &File, len: u64, step: &Step<'_>) -> io::Result<Digest> {
    of_storage(&OpenFile::new(file, len), step)
}

/// What is told how far the work has come.
pub type Step<'a> = dyn Fn(u64) -> io::Result<()> + Sync + 'a;

/// The digest of an image, read through the descriptor that it was opened with.
///
/// # Errors
/// Those of [`of`].
pub fn of_storage<S: Storage + Sync>(storage: &S, step: &Step<'_>) -> io::Result<Digest> {
    let len = storage.len();
    let mut digest = Sha256::new();
    digest.update(DOMAIN);
    digest.update(len.to_le_bytes());
    let zero = zero_leaf(PIECE);
    let pieces = len.div_ceil(PIECE);
    let mut first = 0;
    while first < pieces {
        let end = pieces.min(first.saturating_add(BATCH));
        let mut leaves = vec![zero; usize::try_from(end - first).expect("a batch is small")];
        if end == pieces && !len.is_multiple_of(PIECE) {
            *leaves.last_mut().expect("no batch is empty") = zero_leaf(len % PIECE);
        }
        step(first * PIECE)?;
        Batch { storage, len, first, step }.fill(&mut leaves)?;
        leaves.iter().for_each(|leaf| digest.update(leaf));
        first = end;
    }
    // Past the end of a file that has become shorter there seem to be only holes.
    if let Some(last) = len.checked_sub(1) {
        storage.read_at(last, &mut [0])?;
    }
    step(len)?;
    Ok(Digest(digest.finalize().into()))
}

fn zero_leaf(len: u64) -> Leaf {
    let zeros = [0; 4096];
    let mut digest = Sha256::new();
    let mut left = len;
    while left > 0 {
        let part = left.min(4096);
        digest.update(&zeros[..usize::try_from(part).expect("at most 4096")]);
        left -= part;
    }
    digest.finalize().into()
}

/// Some pieces that follow one another.
struct Batch<'a, S> {
    storage: &'a S,
    len: u64,
    first: u64,
    step: &'a Step<'a>,
}

/// What the workers share.
struct Shared<'a> {
    /// Leaves that are not given out yet; before them, the number of the first.
    rest: std::slice::IterMut<'a, Leaf>,
    next: u64,
    /// The run of data found last.
    data: Range<u64>,
    outcome: io::Result<()>,
}

impl<S: Storage + Sync> Batch<'_, S> {
    /// Compute those leaves that are not of holes. All are of holes already.
    fn fill(&self, leaves: &mut [Leaf]) -> io::Result<()> {
        let start = self.first * PIECE;
        let Some(data) = self.storage.data_from(start)? else { return Ok(()) };
        let end = start.saturating_add(leaves.len() as u64 * PIECE);
        if data.start >= end {
            return Ok(());
        }
        let workers = thread::available_parallelism().map_or(1, |cores| cores.get());
        let workers = workers.min(leaves.len()).min(WORKERS_MAX);
        let rest = leaves.iter_mut();
        let shared = Mutex::new(Shared { rest, next: self.first, data, outcome: Ok(()) });
        thread::scope(|scope| {
            for _ in 1..workers {
                // Where the host gives no more threads, those that there are do it.
                let worker = thread::Builder::new().stack_size(STACK);
                let _ = worker.spawn_scoped(scope, || self.work(&shared));
            }
            self.work(&shared);
        });
        shared.into_inner().unwrap_or_else(PoisonError::into_inner).outcome
    }

    /// Take pieces until there are none.
    fn work(&self, shared: &Mutex<Shared<'_>>) {
        let mut buf = vec![0; READ];
        let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let taken = self.take(&mut lock());
            let outcome = match taken {
                Ok(None) => return,
                Ok(Some((nr, leaf))) => self.leaf(nr, &mut buf).map(|found| *leaf = found),
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                let mut shared = lock();
                shared.rest = Default::default();
                if shared.outcome.is_ok() {
                    shared.outcome = Err(error);
                }
                return;
            }
        }
    }

    /// The next piece that is not all hole, and where its leaf goes.
    fn take<'l>(&self, shared: &mut Shared<'l>) -> io::Result<Option<(u64, &'l mut Leaf)>> {
        loop {
            let Some(leaf) = shared.rest.next() else { return Ok(None) };
            let nr = shared.next;
            shared.next += 1;
            let start = nr * PIECE;
            if start >= shared.data.end {
                // Nothing but holes from here on is as data that nobody comes to.
                let none = u64::MAX..u64::MAX;
                shared.data = self.storage.data_from(start)?.unwrap_or(none);
            }
            if shared.data.start < start.saturating_add(PIECE) {
                (self.step)(start)?;
                return Ok(Some((nr, leaf)));
            }
        }
    }

    fn leaf(&self, nr: u64, buf: &mut [u8]) -> io::Result<Leaf> {
        let mut digest = Sha256::new();
        let mut at = nr * PIECE;
        let end = self.len.min(at.saturating_add(PIECE));
        while at < end {
            let len = usize::try_from(end - at).map_or(buf.len(), |left| left.min(buf.len()));
            self.storage.read_at(at, &mut buf[..len])?;
            digest.update(&buf[..len]);
            at += len as u64;
        }
        Ok(digest.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no tree digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not `tree-sha256:` and 64 hexadecimal digits in lower case")]
pub struct NotADigest;

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let digits = text.strip_prefix(PREFIX).ok_or(NotADigest)?.as_bytes();
        // One digest has one text.
        let nibble = |digit: u8| match digit {
            b'0'..=b'9' => Ok(digit - b'0'),
            b'a'..=b'f' => Ok(digit - b'a' + 10),
            _ => Err(NotADigest),
        };
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return Err(NotADigest);
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}
