//! A tree of hashes as a file: of it only those groups are read that are asked for, so that it takes as long for a terabyte as
//! for a megabyte.
//!
//! ```text
//! 0      autoxen-tree 2\n
//!        LEN MTIME MTIME_NS CTIME CTIME_NS\n      of the image, decimal
//!        tree-sha256:…\n                          its digest
//!        zeros
//! 4096   the highest level: one group of 128 hashes, 4 KiB
//! 8192   the level below, group by group; and so on
//! ```
//! A group over zeros is a hole of the file. Whatever else is damaged shows: the digest is that of the highest level, and each
//! hash that of the group below it. What cannot be read counts as damaged.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::known::Version;
use crate::digest::nodes::{Nodes, Tree};
use crate::digest::shape::{FANOUT, Group, Hash, Shape, hash};
use crate::digest::tree::Digest;

const HEADER: &str = "autoxen-tree 2\n";
/// Bytes of a group, and of what stands before the first.
const BLOCK: usize = FANOUT * size_of::<Hash>();
/// The most groups that are written: 256 MiB, for half a TiB of data.
const GROUPS_MAX: usize = 1 << 16;

/// The tree of an image, in an open file.
#[derive(Debug)]
pub(super) struct NodesFile {
    file: File,
    shape: Shape,
    digest: Digest,
}

impl NodesFile {
    /// What `file` holds, if it is the tree of the image as it is now.
    pub(super) fn open(file: File, version: &Version) -> Option<Self> {
        let mut block = [0; BLOCK];
        file.read_exact_at(&mut block, 0).ok()?;
        let rest = block.strip_prefix(HEADER.as_bytes())?.strip_prefix(line(version).as_bytes())?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        if rest[end + 1..].iter().any(|byte| *byte != 0) {
            return None;
        }
        let digest = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
        let shape = Shape::new(version.len);
        let opened = Self { file, shape, digest };
        // The group that no other vouches for.
        let top = opened.shape.top();
        opened.group(top, 0).ok()?;
        Some(opened)
    }

    fn read(&self, level: usize, nr: u64) -> io::Result<Group> {
        let mut bytes = [0; BLOCK];
        let read = self.file.read_exact_at(&mut bytes, offset(&self.shape, level, nr));
        read.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        if bytes == [0; BLOCK] {
            return Ok(self.shape.blank(level, nr));
        }
        let mut group: Group = Box::new([[0; 32]; FANOUT]);
        group.as_flattened_mut().copy_from_slice(&bytes);
        Ok(group)
    }
}

impl Nodes for NodesFile {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn group(&self, level: usize, nr: u64) -> io::Result<Group> {
        let group = self.read(level, nr)?;
        let hashes = &group[..self.shape.width(level, nr)];
        let holds = if level == self.shape.top() {
            Digest::of_top(self.shape.bytes(), hashes) == self.digest
        } else {
            let above = self.group(level + 1, nr / FANOUT as u64)?;
            above[usize::try_from(nr % FANOUT as u64).expect("at most 127")] == hash(hashes)
        };
        match holds {
            true => Ok(group),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn digest(&self) -> Digest {
        self.digest
    }
}

/// Write the tree of an image as it is now, where that is not too long. Returns whether it was written.
pub(super) fn write(file: &File, version: &Version, tree: &Tree) -> io::Result<bool> {
    let shape = tree.shape();
    let levels = (0..=shape.top()).rev();
    if levels.clone().map(|level| tree.kept(level).len()).sum::<usize>() > GROUPS_MAX {
        return Ok(false);
    }
    file.set_len(offset(shape, 0, shape.groups(0).max(1)))?;
    let header = format!("{HEADER}{}{}\n", line(version), tree.digest());
    file.write_all_at(header.as_bytes(), 0)?;
    for level in levels {
        for (nr, group) in tree.kept(level) {
            file.write_all_at(group.as_flattened(), offset(shape, level, nr))?;
        }
    }
    Ok(true)
}

/// Where a group stands.
fn offset(shape: &Shape, level: usize, nr: u64) -> u64 {
    let above: u64 = (level + 1..=shape.top()).map(|level| shape.groups(level)).sum();
    (1 + above + nr) * BLOCK as u64
}

fn line(version: &Version) -> String {
    let Version { len, mtime, ctime, .. } = version;
    format!("{len} {} {} {} {}\n", mtime.0, mtime.1, ctime.0, ctime.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::shape::PIECE;

    const VERSION: Version = Version { dev: 1, ino: 2, len: 0, mtime: (1000, 5), ctime: (1001, 6) };

    /// A file of so many bytes with some data at both ends, its tree, and that in a file.
    fn kept(len: usize) -> (Vec<u8>, Version, Tree, File) {
        let mut bytes = vec![0; len];
        bytes[0] = 1;
        bytes[len - 1] = 2;
        let version = Version { len: len as u64, ..VERSION };
        let tree = Tree::of(&bytes, &|_| Ok(())).unwrap();
        let file = tempfile::tempfile().unwrap();
        assert!(write(&file, &version, &tree).unwrap());
        (bytes, version, tree, file)
    }

    #[test]
    fn a_tree_is_read_as_it_was_written() {
        for len in [1, 70_000, 300 * PIECE as usize + 5] {
            let (_, version, tree, file) = kept(len);
            let read = NodesFile::open(file, &version).unwrap();
            assert_eq!(read.digest(), tree.digest());
            for level in 0..=tree.shape().top() {
                for nr in 0..tree.shape().groups(level) {
                    assert_eq!(read.group(level, nr).unwrap(), tree.group(level, nr).unwrap());
                }
            }
        }
        let empty = Tree::of(&Vec::new(), &|_| Ok(())).unwrap();
        let file = tempfile::tempfile().unwrap();
        assert!(write(&file, &VERSION, &empty).unwrap());
        assert_eq!(NodesFile::open(file, &VERSION).unwrap().digest(), empty.digest());
    }

    #[test]
    fn whatever_is_damaged_shows() {
        let (_, version, tree, file) = kept(300 * PIECE as usize + 5);
        let len = usize::try_from(file.metadata().unwrap().len()).unwrap();
        let mut whole = vec![0; len];
        file.read_exact_at(&mut whole, 0).unwrap();
        let shape = tree.shape();
        let sound = |bytes: &[u8]| {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(bytes, 0).unwrap();
            let Some(read) = NodesFile::open(file, &version) else { return false };
            let places = (0..=shape.top()).flat_map(|l| (0..shape.groups(l)).map(move |g| (l, g)));
            places.into_iter().all(|(level, nr)| read.group(level, nr).is_ok())
        };
        assert!(sound(&whole));
        for at in (0..len).step_by(7).chain(0..200) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            // Behind the last hash of a group nothing is read.
            let (block, place) = (at / BLOCK, at % BLOCK);
            let width = match block {
                0 => FANOUT,
                1 => shape.width(1, 0),
                _ => shape.width(0, block as u64 - 2),
            };
            let is_spare =
                place >= width * 32 && !whole[block * BLOCK..][..BLOCK].iter().all(|b| *b == 0);
            assert_eq!(sound(&bytes), is_spare, "byte {at}");
            assert!(at % 512 != 0 || !sound(&whole[..at]), "cut at {at}");
        }
        let other = Version { ctime: (1001, 7), ..version };
        assert!(NodesFile::open(file, &other).is_none());
    }
}
