//! The tree digest of a file: SHA-256 over a tree of SHA-256 of its pieces, so that several cores make it at once, what lies
//! in a hole is not read, and what changes in a few places is hashed there alone.
//!
//! ```text
//! piece     64 KiB; the last one may be shorter
//! level 0   SHA-256(piece) of each piece
//! level 1   SHA-256(128 hashes of level 0, one after another) of each 128; the last one of those that are left
//! …         and so on, until a level has no more than 128 hashes
//! digest    SHA-256("autoxen-tree-sha256\n" || length of the file, 64 bits, little-endian || the hashes of that level)
//! ```
//!
//! As text it is `tree-sha256:` and 64 hexadecimal digits in lower case. A hole counts as the zeros that it reads as: how a
//! host stores a file makes no difference. The length decides on the shape of the tree and is hashed with it, so that no hash
//! of one level passes for one of another; and nothing that anybody signs begins with the word.
//!
//! Nothing here compares, and nothing knows of signatures.

use std::fmt;
use std::fs::File;
use std::io;
use std::str::FromStr;

use imgfmt::Storage;
use imgfmt::storage::OpenFile;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

use super::nodes::{Nodes, Tree};
use super::shape::Hash;

/// What the digest's own input begins with.
const DOMAIN: &[u8] = b"autoxen-tree-sha256\n";
/// What its text begins with.
const PREFIX: &str = "tree-sha256:";

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
    Ok(Tree::without_leaves(storage, step)?.digest())
}

impl Digest {
    /// That of a file of `len` bytes, whose highest level has these hashes.
    pub(crate) fn of_top(len: u64, hashes: &[Hash]) -> Self {
        let mut digest = Sha256::new();
        digest.update(DOMAIN);
        digest.update(len.to_le_bytes());
        digest.update(hashes.as_flattened());
        Self(digest.finalize().into())
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
