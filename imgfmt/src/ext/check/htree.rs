//! The hash tree of a directory against its leaves.
//!
//! Every block but the first is led to once, hashes ascend, and the names of a leaf hash to its range: from its own hash
//! up to the next one, which counts too where its lowest bit says that names of one hash go on there.

use zerocopy::FromBytes;

use super::{FindingKind, Place, Step, Walk};
use crate::ext::blocks::Blocks;
use crate::ext::dir::htree::{max_levels, room};
use crate::ext::inode::Inode;
use crate::ext::map;
use crate::ext::ondisk::dx::{
    CountLimit, ENTRY_LEN, Entry, INFO_OFFSET, NODE_ENTRIES_OFFSET, ROOT_ENTRIES_OFFSET, RootInfo,
};
use crate::ext::ondisk::inode::flag;

/// The hashes of the names in a block: the least and the greatest.
#[derive(Clone, Copy, Default)]
pub(super) struct Leaf(Option<(u32, u32)>);

impl Leaf {
    /// There is a name of this hash.
    pub(super) fn take(&mut self, hash: u32) {
        let (least, greatest) = self.0.unwrap_or((hash, hash));
        self.0 = Some((least.min(hash), greatest.max(hash)));
    }
}

/// A block of the tree that is still to be looked at: hashes from `from` up to `end` belong below it.
struct Todo {
    lblk: u32,
    level: usize,
    from: u32,
    end: u64,
}

impl Walk<'_, '_> {
    /// Compare a tree with the hashes of its leaves, which are known where `version` is.
    pub(super) fn tree(&mut self, dir: &Inode, version: Option<u8>, leaves: &[Leaf]) -> Step {
        let place = Place::Directory(dir.nr());
        let Some(root) = self.dir_block(dir, 0)? else { return Ok(()) };
        let (info, _) = RootInfo::ref_from_prefix(&root[INFO_OFFSET..]).expect("a block is longer");
        let levels = usize::from(info.indirect_levels) + 1;
        if info.reserved_zero.get() != 0
            || info.info_length != 8
            || info.unused_flags & 1 != 0
            || levels > max_levels(self.fs)
        {
            return self.add(FindingKind::HashTree, place, "its header is wrong");
        }
        if version.is_none() {
            if !dir.has(flag::CASEFOLD) && !dir.has(flag::ENCRYPT) {
                let what = format!("hash {} is not known", info.hash_version);
                return self.add(FindingKind::HashTree, place, what);
            }
            self.report.skip(format!("the order of names in directory {}", dir.nr()));
        }
        let mut led_to = vec![false; leaves.len()];
        let mut todo = vec![Todo { lblk: 0, level: 0, from: 0, end: 1 << 32 }];
        while let Some(next) = todo.pop() {
            if next.level == levels {
                self.leaf(dir, &next, leaves)?;
                continue;
            }
            for below in self.array(dir, &next)? {
                match led_to.get_mut(below.lblk as usize).filter(|_| below.lblk != 0) {
                    None => {
                        let what = format!("tree: block {} does not exist", below.lblk);
                        self.add(FindingKind::HashTree, place, what)?;
                    }
                    Some(true) => {
                        let what = format!("tree: block {} is led to twice", below.lblk);
                        self.add(FindingKind::HashTree, place, what)?;
                    }
                    Some(led_to) => {
                        *led_to = true;
                        todo.push(below);
                    }
                }
            }
        }
        if let Some(lost) = led_to.iter().skip(1).position(|&led_to| !led_to) {
            let what = format!("tree: nothing leads to block {}", lost + 1);
            self.add(FindingKind::HashTree, place, what)?;
        }
        Ok(())
    }

    fn dir_block(&self, dir: &Inode, lblk: u32) -> Step<Option<Vec<u8>>> {
        let start = map::lookup(self.fs, dir, lblk).ok().and_then(|run| run.start);
        match start.filter(|&start| self.is_within(start, 1)) {
            Some(start) => Ok(Some(self.fs.read_block(start)?.into_owned())),
            None => Ok(None),
        }
    }

    /// The entries of an inner block.
    fn array(&mut self, dir: &Inode, at: &Todo) -> Step<Vec<Todo>> {
        let place = Place::Directory(dir.nr());
        let Some(bytes) = self.dir_block(dir, at.lblk)? else { return Ok(Vec::new()) };
        let offset = if at.lblk == 0 { ROOT_ENTRIES_OFFSET } else { NODE_ENTRIES_OFFSET };
        let (counts, _) = CountLimit::ref_from_prefix(&bytes[offset..]).expect("a block is longer");
        let (limit, count) = (usize::from(counts.limit.get()), usize::from(counts.count.get()));
        let expected = room(bytes.len(), offset, self.geometry().has_metadata_csum());
        if limit != expected || count == 0 || count > limit {
            let what = format!("tree: block {} has {count} entries of {limit}", at.lblk);
            self.add(FindingKind::HashTree, place, what)?;
            return Ok(Vec::new());
        }
        let array = &bytes[offset..offset + count * ENTRY_LEN];
        let array = <[Entry]>::ref_from_bytes(array).expect("whole entries");
        let mut below: Vec<Todo> = Vec::with_capacity(count);
        for (index, entry) in array.iter().enumerate() {
            let hash = if index == 0 { at.from } else { entry.hash.get() };
            if let Some(before) = below.last_mut() {
                before.end = hash.into();
                if hash < before.from {
                    let what = format!("tree: block {} is not sorted", at.lblk);
                    self.add(FindingKind::HashTree, place, what)?;
                }
            }
            let lblk = entry.block.get() & 0x0FFF_FFFF;
            below.push(Todo { lblk, level: at.level + 1, from: hash, end: at.end });
        }
        if below.last().is_some_and(|last| u64::from(last.from) > at.end) {
            let what = format!("tree: block {} goes on where the next begins", at.lblk);
            self.add(FindingKind::HashTree, place, what)?;
        }
        Ok(below)
    }

    fn leaf(&mut self, dir: &Inode, at: &Todo, leaves: &[Leaf]) -> Step {
        let Some(Leaf(Some((least, greatest)))) = leaves.get(at.lblk as usize) else {
            return Ok(());
        };
        // The lowest bit of a hash belongs to the tree, so a name that goes on in the next leaf hashes below its bound.
        if *least < at.from & !1 || u64::from(*greatest) >= at.end {
            let what = format!("tree: names of block {} hash elsewhere", at.lblk);
            self.add(FindingKind::HashTree, Place::Directory(dir.nr()), what)?;
        }
        Ok(())
    }
}
