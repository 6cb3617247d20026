//! The shape of a tree of hashes over a file of a given length, and what it holds where the file has nothing but zeros.
//!
//! ```text
//! a file of 20 MiB + 1 byte: 321 pieces of 64 KiB, the last one short
//!
//! level 1 (top)     0         1         2          one group, 3 wide
//!                   │         │         │
//! level 0      0 … 127   128 … 255   256 … 320     groups 0, 1 and 2, the last one 65 wide
//! ```
//! A group that is all of zeros need not be kept: [`Shape::blank`] makes it.

use sha2::{Digest as _, Sha256};

/// Bytes of the file that a hash of level 0 stands for.
pub const PIECE: u64 = 64 << 10;
/// Hashes in a group: of one group, 4 KiB, a hash of the level above is made.
pub const FANOUT: usize = 128;

/// SHA-256 of a piece, or of a group.
pub type Hash = [u8; 32];

/// A group, as many hashes of it as [`Shape::width`] says; those behind are zero.
pub type Group = Box<[Hash; FANOUT]>;

/// How many hashes each level has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    len: u64,
    levels: Vec<Level>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Level {
    count: u64,
    /// The hash of a whole subtree of zeros.
    zeros: Hash,
    /// The last hash, where the file is all zeros: its subtree may be less than whole.
    last: Hash,
}

impl Shape {
    /// That of a file of `len` bytes.
    pub fn new(len: u64) -> Self {
        let last = match len % PIECE {
            0 => ZERO_LEAF,
            short => hash_of_zeros(short),
        };
        let mut levels = vec![Level { count: len.div_ceil(PIECE), zeros: ZERO_LEAF, last }];
        while levels[levels.len() - 1].count > FANOUT as u64 {
            let below = Self { len, levels };
            let top = below.top();
            let whole = hash(&[below.levels[top].zeros; FANOUT]);
            let last_group = below.groups(top) - 1;
            let last = hash(&below.blank(top, last_group)[..below.width(top, last_group)]);
            let count = below.groups(top);
            levels = below.levels;
            levels.push(Level { count, zeros: whole, last });
        }
        Self { len, levels }
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.len
    }

    /// The hash of the last piece, which may be short, where it is of zeros.
    pub(super) fn last_leaf(&self) -> Hash {
        self.levels[0].last
    }

    /// The highest level, which is one group.
    pub fn top(&self) -> usize {
        self.levels.len() - 1
    }

    /// How many groups a level has; none for no bytes.
    pub fn groups(&self, level: usize) -> u64 {
        self.levels[level].count.div_ceil(FANOUT as u64)
    }

    /// How many hashes a group has.
    pub fn width(&self, level: usize, group: u64) -> usize {
        let before = group * FANOUT as u64;
        usize::try_from(self.levels[level].count - before).map_or(FANOUT, |left| left.min(FANOUT))
    }

    /// A group over zeros.
    pub fn blank(&self, level: usize, group: u64) -> Group {
        let Level { count, zeros, last } = &self.levels[level];
        let width = self.width(level, group);
        let mut made = Box::new([[0; 32]; FANOUT]);
        made[..width].fill(*zeros);
        if group * FANOUT as u64 + width as u64 == *count
            && let Some(end) = width.checked_sub(1)
        {
            made[end] = *last;
        }
        made
    }
}

/// The hash of hashes: of those of a group, the one above it.
pub fn hash(hashes: &[Hash]) -> Hash {
    Sha256::digest(hashes.as_flattened()).into()
}

/// The hash of a whole piece of zeros: it is as long to make as any other, and every file has use for it.
pub(super) const ZERO_LEAF: Hash = [
    0xde, 0x2f, 0x25, 0x60, 0x64, 0xa0, 0xaf, 0x79, 0x77, 0x47, 0xc2, 0xb9, 0x75, 0x05, 0xdc, 0x0b,
    0x9f, 0x3d, 0xf0, 0xde, 0x4f, 0x48, 0x9e, 0xac, 0x73, 0x1c, 0x23, 0xae, 0x9c, 0xa9, 0xcc, 0x31,
];

fn hash_of_zeros(len: u64) -> Hash {
    let zeros = vec![0; usize::try_from(len).expect("a piece at most")];
    Sha256::digest(zeros).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leaf_of_zeros_is_that_of_zeros() {
        assert_eq!(hash_of_zeros(PIECE), ZERO_LEAF);
    }

    #[test]
    fn a_level_ends_where_the_file_does() {
        let of = |len| {
            let shape = Shape::new(len);
            let widths = |level| (0..shape.groups(level)).map(|g| shape.width(level, g)).collect();
            (0..=shape.top()).map(widths).collect::<Vec<Vec<usize>>>()
        };
        assert_eq!(of(0), [Vec::<usize>::new()]);
        assert_eq!(of(1), [vec![1]]);
        assert_eq!(of(128 * PIECE), [vec![128]]);
        assert_eq!(of(128 * PIECE + 1), [vec![128, 1], vec![2]]);
        assert_eq!(of((20 << 20) + 1), [vec![128, 128, 65], vec![3]]);
        let of_tebibyte = Shape::new(1 << 40);
        assert_eq!(
            (of_tebibyte.top(), of_tebibyte.groups(0), of_tebibyte.groups(1)),
            (3, 1 << 17, 1 << 10)
        );
        // No length makes it overflow.
        assert_eq!(Shape::new(u64::MAX).top(), 6);
    }
}
