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

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io;
use std::str::FromStr;

use imgfmt::Storage;
use imgfmt::storage::OpenFile;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

use super::pieces;

/// Bytes that a leaf stands for.
pub const PIECE: u64 = 1 << 20;
/// What the digest's own input begins with.
const DOMAIN: &[u8] = b"autoxen-tree-sha256\n";
/// What its text begins with.
const PREFIX: &str = "tree-sha256:";
/// SHA-256 of a piece.
pub type Leaf = [u8; 32];

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
    let mut digest = begin(storage.len());
    pieces::each(storage, step, &mut |_, leaves| {
        leaves.iter().for_each(|leaf| digest.update(leaf));
    })?;
    Ok(Digest(digest.finalize().into()))
}

/// What a digest of `len` bytes begins with.
fn begin(len: u64) -> Sha256 {
    let mut digest = Sha256::new();
    digest.update(DOMAIN);
    digest.update(len.to_le_bytes());
    digest
}

/// The leaves of a file: with them the digest of a copy that differs in a few places costs those places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaves {
    len: u64,
    /// By the number of the piece; what is missing is the leaf of zeros.
    kept: BTreeMap<u64, Leaf>,
}

impl Leaves {
    /// Those of `storage`.
    ///
    /// # Errors
    /// Those of [`of`].
    pub fn of<S: Storage + Sync>(storage: &S, step: &Step<'_>) -> io::Result<Self> {
        let mut kept = BTreeMap::new();
        pieces::each(storage, step, &mut |first, leaves| {
            let held = (first..).zip(leaves).filter(|(_, leaf)| **leaf != ZERO_LEAF);
            kept.extend(held.map(|(nr, leaf)| (nr, *leaf)));
        })?;
        Ok(Self { len: storage.len(), kept })
    }

    /// Those of `copy`, which has as many bytes, and the same but for what lies in `changed` (offset and length in bytes).
    ///
    /// # Errors
    /// Those of the host.
    pub fn of_copy<S: Storage + Sync>(
        &self,
        copy: &S,
        changed: impl Iterator<Item = (u64, u64)>,
    ) -> io::Result<Self> {
        let pieces: BTreeSet<u64> = changed
            .filter(|(_, len)| *len > 0)
            .flat_map(|(start, len)| start / PIECE..=(start + len - 1) / PIECE)
            .collect();
        let mut made = self.clone();
        made.kept.extend(pieces::some(copy, pieces)?);
        Ok(made)
    }

    /// Those that were kept before: the length of the file, and what is not the leaf of zeros, by the number of the piece.
    pub fn kept(len: u64, kept: BTreeMap<u64, Leaf>) -> Self {
        Self { len, kept }
    }

    /// What is not the leaf of zeros, by the number of the piece.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u64, &Leaf)> {
        self.kept.iter().map(|(nr, leaf)| (*nr, leaf))
    }

    /// The digest that they make.
    pub fn digest(&self) -> Digest {
        const RUN: u64 = 128;
        let mut digest = begin(self.len);
        let zeros = [ZERO_LEAF; RUN as usize].concat();
        let holes = |digest: &mut Sha256, mut count: u64| {
            while count > 0 {
                let run = count.min(RUN);
                let bytes = usize::try_from(run).expect("at most 128") * size_of::<Leaf>();
                digest.update(&zeros[..bytes]);
                count -= run;
            }
        };
        let mut next = 0;
        for (nr, leaf) in &self.kept {
            holes(&mut digest, nr - next);
            digest.update(leaf);
            next = nr + 1;
        }
        holes(&mut digest, self.len.div_ceil(PIECE) - next);
        Digest(digest.finalize().into())
    }
}

/// The leaf of a whole piece of zeros: it is as long to make as any other, and every file has use for it.
pub(super) const ZERO_LEAF: Leaf = [
    0x30, 0xe1, 0x49, 0x55, 0xeb, 0xf1, 0x35, 0x22, 0x66, 0xdc, 0x2f, 0xf8, 0x06, 0x7e, 0x68, 0x10,
    0x46, 0x07, 0xe7, 0x50, 0xab, 0xb9, 0xd3, 0xb3, 0x65, 0x82, 0xb8, 0xaf, 0x90, 0x9f, 0xcb, 0x58,
];

/// The leaf of a piece of `len` zeros.
pub(super) fn zero_leaf(len: u64) -> Leaf {
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

#[cfg(test)]
mod tests {
    use super::{Leaves, PIECE, ZERO_LEAF, of_storage, zero_leaf};

    #[test]
    fn the_leaf_of_zeros_is_that_of_zeros() {
        assert_eq!(zero_leaf(PIECE), ZERO_LEAF);
    }

    /// A file in memory: data, a piece of zeros, data, a last piece that is short.
    fn bytes() -> Vec<u8> {
        let piece = usize::try_from(PIECE).unwrap();
        let mut bytes = vec![0; 4 * piece + 700];
        bytes[5] = 1;
        bytes[2 * piece] = 2;
        bytes[3 * piece - 1] = 3;
        bytes[4 * piece + 699] = 4;
        bytes
    }

    #[test]
    fn leaves_make_the_digest_of_their_bytes_and_of_a_copy_that_was_changed() {
        let original = bytes();
        let leaves = Leaves::of(&original, &|_| Ok(())).unwrap();
        assert_eq!(leaves.digest(), of_storage(&original, &|_| Ok(())).unwrap());
        let last = original.len() - 1;
        // Within a piece, over a border of two, into zeros, to zeros, the last byte, nothing.
        for (start, new) in [
            (9, vec![9; 3]),
            (usize::try_from(PIECE).unwrap() - 1, vec![8; 2]),
            (3 * usize::try_from(PIECE).unwrap(), vec![7]),
            (5, vec![0]),
            (last, vec![6]),
            (0, vec![]),
        ] {
            let mut copy = original.clone();
            copy[start..start + new.len()].copy_from_slice(&new);
            let changed = [(start as u64, new.len() as u64)];
            let made = leaves.of_copy(&copy, changed.into_iter()).unwrap();
            assert_eq!(made.digest(), of_storage(&copy, &|_| Ok(())).unwrap(), "at {start}");
        }
        for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 300 * PIECE] {
            let zeros = vec![0; usize::try_from(len).unwrap()];
            let leaves = Leaves::of(&zeros, &|_| Ok(())).unwrap();
            assert_eq!(leaves.digest(), of_storage(&zeros, &|_| Ok(())).unwrap(), "{len} zeros");
        }
    }
}
