//! A tree of hashes, in memory or wherever a reader of [`Nodes`] has it: of a copy that differs in a few places only those
//! places are hashed, and what lies above them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use imgfmt::Storage;

use super::pieces;
use super::shape::{FANOUT, Group, Hash, PIECE, Shape, hash};
use super::tree::{Digest, Step};

/// The hashes of a file.
pub trait Nodes: fmt::Debug + Send + Sync {
    /// Their shape.
    fn shape(&self) -> &Shape;

    /// One group of them. All are those of the file of which [`digest`](Self::digest) is.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] where it is not the one that the digest was made of; those of the host.
    fn group(&self, level: usize, nr: u64) -> io::Result<Group>;

    /// The digest that they make.
    fn digest(&self) -> Digest;
}

/// The digest of `copy`, which is as long as the file of `nodes`, and the same but for what lies in `changed` (offset and
/// length in bytes).
///
/// # Errors
/// Those of the host, and of [`Nodes::group`].
pub fn of_copy<S: Storage + Sync>(
    nodes: &dyn Nodes,
    copy: &S,
    changed: &[(u64, u64)],
) -> io::Result<Digest> {
    let changed = changed
        .iter()
        .filter(|(_, len)| *len > 0)
        .flat_map(|(start, len)| start / PIECE..=(start + len - 1) / PIECE)
        .collect();
    let mut hashes: BTreeMap<u64, Hash> = pieces::some(copy, changed)?.into_iter().collect();
    if hashes.is_empty() {
        return Ok(nodes.digest());
    }
    let shape = nodes.shape();
    for level in 0..shape.top() {
        let above = changed_groups(nodes, level, &hashes)?;
        hashes = above.map(|(nr, group)| (nr, hash(&group[..shape.width(level, nr)]))).collect();
    }
    let (nr, group) = changed_groups(nodes, shape.top(), &hashes)?.next().expect("one at least");
    Ok(Digest::of_top(shape.bytes(), &group[..shape.width(shape.top(), nr)]))
}

/// The groups of a level in which hashes differ, with these in place.
fn changed_groups(
    nodes: &dyn Nodes,
    level: usize,
    hashes: &BTreeMap<u64, Hash>,
) -> io::Result<impl Iterator<Item = (u64, Group)>> {
    let mut groups: BTreeMap<u64, Group> = BTreeMap::new();
    for (nr, hash) in hashes {
        let (nr, place) = place(*nr);
        if let Some(group) = groups.get_mut(&nr) {
            group[place] = *hash;
            continue;
        }
        let mut group = nodes.group(level, nr)?;
        group[place] = *hash;
        groups.insert(nr, group);
    }
    Ok(groups.into_iter())
}

/// The group of a hash of a level, and its place there.
fn place(nr: u64) -> (u64, usize) {
    (nr / FANOUT as u64, usize::try_from(nr % FANOUT as u64).expect("at most 127"))
}

/// A tree in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    shape: Shape,
    /// Of each level the groups by their numbers; what is missing is over zeros.
    levels: Vec<BTreeMap<u64, Group>>,
}

impl Tree {
    /// That of `storage`.
    ///
    /// # Errors
    /// Those of [`super::tree::of`].
    pub fn of<S: Storage + Sync>(storage: &S, step: &Step<'_>) -> io::Result<Self> {
        Self::made(storage, step, true)
    }

    /// For its digest alone: where there are more levels than one, the lowest is not kept. Of a terabyte of data it is 512 MiB.
    pub(super) fn without_leaves<S: Storage + Sync>(
        storage: &S,
        step: &Step<'_>,
    ) -> io::Result<Self> {
        Self::made(storage, step, false)
    }

    fn made<S: Storage + Sync>(storage: &S, step: &Step<'_>, leaves: bool) -> io::Result<Self> {
        let shape = Shape::new(storage.len());
        let mut made = Self { levels: vec![BTreeMap::new(); shape.top() + 1], shape };
        pieces::each(storage, made.shape.last_leaf(), step, &mut |first, hashes| {
            let (first, _) = place(first);
            for (nr, hashes) in (first..).zip(hashes.chunks(FANOUT)) {
                let mut group = Box::new([[0; 32]; FANOUT]);
                group[..hashes.len()].copy_from_slice(hashes);
                if group == made.shape.blank(0, nr) {
                    continue;
                }
                if made.shape.top() > 0 {
                    made.put(1, nr, hash(hashes));
                }
                if leaves || made.shape.top() == 0 {
                    made.levels[0].insert(nr, group);
                }
            }
        })?;
        for level in 1..made.shape.top() {
            let groups = made.levels[level].iter();
            let above: Vec<_> = groups
                .map(|(nr, group)| (*nr, hash(&group[..made.shape.width(level, *nr)])))
                .collect();
            above.into_iter().for_each(|(nr, hash)| made.put(level + 1, nr, hash));
        }
        Ok(made)
    }

    fn put(&mut self, level: usize, nr: u64, hash: Hash) {
        let (nr, place) = place(nr);
        let group = self.levels[level].entry(nr).or_insert_with(|| self.shape.blank(level, nr));
        group[place] = hash;
    }

    /// The groups of a level that are not over zeros, in order.
    pub fn kept(&self, level: usize) -> impl ExactSizeIterator<Item = (u64, &Group)> {
        self.levels[level].iter().map(|(nr, group)| (*nr, group))
    }
}

impl Nodes for Tree {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn group(&self, level: usize, nr: u64) -> io::Result<Group> {
        let kept = self.levels[level].get(&nr).cloned();
        Ok(kept.unwrap_or_else(|| self.shape.blank(level, nr)))
    }

    fn digest(&self) -> Digest {
        let top = self.shape.top();
        let group = match self.levels[top].get(&0) {
            Some(group) => group.clone(),
            None => self.shape.blank(top, 0),
        };
        Digest::of_top(self.shape.bytes(), &group[..self.shape.width(top, 0)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::tree::of_storage;

    const P: usize = PIECE as usize;

    /// A file in memory: data, a piece of zeros, data, a last piece that is short; or with a level more, and a blank group.
    fn bytes(pieces: usize) -> Vec<u8> {
        let mut bytes = vec![0; pieces * P + 700];
        bytes[5] = 1;
        bytes[2 * P] = 2;
        bytes[3 * P - 1] = 3;
        bytes[pieces * P + 699] = 4;
        bytes
    }

    #[test]
    fn a_tree_makes_the_digest_of_its_bytes_and_of_a_copy_that_was_changed() {
        for pieces in [4, 3 * FANOUT] {
            let original = bytes(pieces);
            let tree = Tree::of(&original, &|_| Ok(())).unwrap();
            assert_eq!(tree.digest(), of_storage(&original, &|_| Ok(())).unwrap());
            assert_eq!(tree.levels.len(), if pieces == 4 { 1 } else { 2 });
            let last = original.len() - 1;
            // Within a piece, over a border of two, into zeros, to zeros, the last byte, nothing.
            for (start, new) in [
                (9, vec![9; 3]),
                (P - 1, vec![8; 2]),
                ((pieces - 1) * P, vec![7]),
                (5, vec![0]),
                (last, vec![6]),
                (0, vec![]),
            ] {
                let mut copy = original.clone();
                copy[start..start + new.len()].copy_from_slice(&new);
                let changed = [(start as u64, new.len() as u64)];
                let made = of_copy(&tree, &copy, &changed).unwrap();
                assert_eq!(made, of_storage(&copy, &|_| Ok(())).unwrap(), "{pieces}: at {start}");
            }
        }
    }

    #[test]
    fn zeros_have_the_digest_of_zeros_whether_they_are_kept_or_not() {
        let group = P * FANOUT;
        for len in [0, 1, P - 1, P, P + 1, group - 1, group, group + 1, 3 * group + 5] {
            let zeros = vec![0; len];
            let tree = Tree::of(&zeros, &|_| Ok(())).unwrap();
            assert!(tree.levels.iter().all(BTreeMap::is_empty), "{len} zeros");
            // Level by level, with nothing left out.
            let mut level: Vec<Hash> = zeros
                .chunks(P)
                .map(|piece| {
                    sha2::Digest::finalize(sha2::Digest::chain_update(
                        sha2::Sha256::default(),
                        piece,
                    ))
                    .into()
                })
                .collect();
            while level.len() > FANOUT {
                level = level.chunks(FANOUT).map(hash).collect();
            }
            assert_eq!(tree.digest(), Digest::of_top(len as u64, &level), "{len} zeros");
        }
    }
}
