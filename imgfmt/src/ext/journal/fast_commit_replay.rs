//! What fast commits change, as blocks of metadata.
//!
//! The records are applied, in their order, to a transaction over what the log gives. Each of them may have been applied
//! before, by a replay that was cut short: a name that is there is not added again, one that is gone is not missed. What
//! files map is kept aside ([`FileMap`]), and blocks are marked at the end, when it is known who has them. Links of
//! directories are counted anew, since no record counts them.

use std::collections::{BTreeMap, BTreeSet};

use super::fast_commit::{Name, Record};
use super::fast_commit_map::{EXTENTS_MAX, FileMap, Piece, too_many};
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::dir;
use crate::ext::edit::transaction::Transaction;
use crate::ext::feature::RoCompat;
use crate::ext::inode::{self, FileType, Inode};
use crate::ext::map;
use crate::ext::nr::{BlockNr, GroupNr, InodeNr};
use crate::ext::ondisk::inode::flag;
use crate::ext::space::bitmap;
use crate::ext::space::group;
use crate::ext::xattr;

/// The most bytes that a replay may change.
const LEN_MAX: usize = 32 << 20;
/// Where `i_block` lies in an inode: no record has it.
const MAP: std::ops::Range<usize> = 0x28..0x64;

/// What a replay leaves.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Changed blocks.
    pub(crate) blocks: BTreeMap<BlockNr, Vec<u8>>,
    /// Bits of the blocks of each group that were freed.
    pub(crate) freed: BTreeMap<GroupNr, Vec<u8>>,
}

/// When the last of the records was made, in Unix seconds, if one says so.
pub(super) fn time(records: &[Record]) -> Option<i64> {
    let ctime = |record: &Record| match record {
        Record::Inode { bytes, .. } => {
            let ctime = bytes.get(0x0C..0x10)?.try_into().expect("four bytes");
            Some(i64::from(i32::from_le_bytes(ctime)))
        }
        _ => None,
    };
    records.iter().filter_map(ctime).max()
}

/// Apply `records` to `tx`, to which nothing was done yet. `is_log` tells blocks of the journal.
pub(super) fn replay(
    mut tx: Transaction<'_>,
    records: &[Record],
    is_log: &dyn Fn(BlockNr, u64) -> bool,
) -> Result<Outcome> {
    if tx.geometry().has(RoCompat::BIGALLOC) {
        return Err(Error::Unsupported(
            "ext fast commits with the feature `bigalloc` cannot be replayed yet".to_owned(),
        ));
    }
    // The kernel counts at the next mount.
    tx.recount()?;
    let mut replay = Replay {
        tx: &mut tx,
        maps: BTreeMap::new(),
        dirs: BTreeSet::new(),
        maybe_free: Vec::new(),
    };
    for record in records {
        replay.reserve(record, is_log)?;
    }
    for record in records {
        replay.apply(record)?;
        replay.check_size()?;
    }
    replay.finish()?;
    let (blocks, freed) = tx.into_blocks();
    Ok(Outcome { blocks, freed })
}

fn corrupt(what: impl std::fmt::Display) -> Error {
    Error::Corrupt(format!("ext fast commits: {what}"))
}

struct Replay<'a, 'fs> {
    tx: &'a mut Transaction<'fs>,
    maps: BTreeMap<InodeNr, FileMap>,
    /// Directories whose links are to be counted.
    dirs: BTreeSet<InodeNr>,
    /// Runs that are free in the end if no file has them.
    maybe_free: Vec<(BlockNr, u64)>,
}

impl Replay<'_, '_> {
    /// Blocks that files are to get must not be given to directories and trees meanwhile.
    fn reserve(&mut self, record: &Record, is_log: &dyn Fn(BlockNr, u64) -> bool) -> Result<()> {
        let &Record::Add { nr, lblk, start, len, .. } = record else { return Ok(()) };
        if len == 0 || u64::from(lblk) + u64::from(len) > 1 << 32 || is_log(start, len.into()) {
            return Err(corrupt(format!("inode {nr} cannot have {len} blocks at {start}")));
        }
        let taken = self.tx.mark_run(start, len.into(), true)?;
        self.maybe_free.extend(taken);
        Ok(())
    }

    fn check_size(&self) -> Result<()> {
        if self.tx.changed_len() > LEN_MAX {
            return Err(Error::Unsupported(format!(
                "ext fast commits that change more than {LEN_MAX} bytes cannot be replayed"
            )));
        }
        if self.maps.values().map(FileMap::count).sum::<usize>() > EXTENTS_MAX {
            return Err(too_many());
        }
        Ok(())
    }

    fn apply(&mut self, record: &Record) -> Result<()> {
        match record {
            &Record::Add { nr, lblk, start, len, is_unwritten } => {
                let piece = Piece { start, len: len.into(), is_unwritten };
                self.change_map(nr, |map| map.add(lblk.into(), piece))
            }
            &Record::Cut { nr, lblk, len } => {
                self.change_map(nr, |map| map.cut(lblk.into(), len.into()))
            }
            Record::Create(name) => self.create(name),
            Record::Link(name) => self.link(name),
            Record::Unlink(name) => self.unlink(name),
            Record::Inode { nr, bytes } => self.inode(*nr, bytes),
        }
    }

    /// The inode, if it is in use.
    fn used(&self, nr: InodeNr) -> Result<Option<Inode>> {
        if nr.0 < self.tx.geometry().first_inode && nr != InodeNr::ROOT {
            return Err(corrupt(format!("they change inode {nr}, which is reserved")));
        }
        let (group, index) = self.tx.geometry().group_of_inode(nr)?;
        let bits = bitmap::inodes(self.tx, &group::read(self.tx, group)?)?;
        if !bitmap::get(&bits, index) {
            return Ok(None);
        }
        let inode = inode::read_any(self.tx, nr)?;
        Ok((inode.links_count() > 0 && FileType::from_mode(inode.mode()).is_some())
            .then_some(inode))
    }

    /// What a file maps, read when it is first asked for.
    fn map(&mut self, inode: &Inode) -> Result<&mut FileMap> {
        let nr = inode.nr();
        if !self.maps.contains_key(&nr) {
            let map = FileMap::read(self.tx, inode)?;
            self.maps.insert(nr, map);
        }
        Ok(self.maps.get_mut(&nr).expect("inserted above"))
    }

    fn change_map(&mut self, nr: InodeNr, f: impl FnOnce(&mut FileMap)) -> Result<()> {
        let Some(inode) = self.used(nr)? else { return Ok(()) };
        if inode.is_dir() || !inode.has(flag::EXTENTS) || inode.has(flag::INLINE_DATA) {
            return Err(Error::Unsupported(format!(
                "ext fast commits that map blocks of inode {nr}, which is no file with extents"
            )));
        }
        f(self.map(&inode)?);
        Ok(())
    }

    /// Give an inode the bytes of a record, all but its map.
    fn inode(&mut self, nr: InodeNr, bytes: &[u8]) -> Result<()> {
        let old = self.used(nr)?;
        let (mode, links) = (half(bytes, 0), half(bytes, 0x1A));
        if links == 0 {
            // Deleted, and still open then.
            return old.map_or(Ok(()), |old| self.release(old));
        }
        let kind = FileType::from_mode(mode)
            .ok_or_else(|| corrupt(format!("inode {nr} has mode {mode:o}")))?;
        let is_dir = kind == FileType::Directory;
        if old.as_ref().is_some_and(|old| old.is_dir() != is_dir) {
            return Err(corrupt(format!("inode {nr} was and was not a directory")));
        }
        let mut inode = match &old {
            Some(old) => {
                if !is_dir {
                    self.map(old)?;
                }
                old.clone()
            }
            None => {
                self.tx.claim_inode(nr, is_dir)?;
                if !is_dir {
                    self.maps.entry(nr).or_default().clear();
                }
                Inode::new(self.tx.geometry(), nr)
            }
        };
        let all = inode.bytes_mut();
        all[..MAP.start].copy_from_slice(&bytes[..MAP.start]);
        all[MAP.end..bytes.len()].copy_from_slice(&bytes[MAP.end..]);
        if inode.has(flag::INLINE_DATA) {
            inode.bytes_mut()[MAP].copy_from_slice(&bytes[MAP]);
        } else if inode.has(flag::EXTENTS) && old.as_ref().is_none_or(|o| !o.has(flag::EXTENTS)) {
            map::edit::clear(&mut inode);
        }
        if is_dir {
            self.keep_dir(old.as_ref(), &mut inode);
        }
        self.tx.put_inode(inode)?;
        inode::read(self.tx, nr).map(drop)
    }

    /// Names and blocks of a directory are as the log and the other records say.
    fn keep_dir(&self, old: Option<&Inode>, inode: &mut Inode) {
        if inode.has(flag::INLINE_DATA) {
            return;
        }
        let geometry = self.tx.geometry();
        let sectors = old.map_or(0, |old| old.sectors(geometry));
        inode.set_flag(flag::INDEX, old.is_some_and(|old| old.has(flag::INDEX)));
        let (lo, high) =
            old.map_or((0, 0), |old| (old.base().size_lo.get(), old.base().size_high.get()));
        let fits = inode.set_sectors(geometry, sectors);
        debug_assert!(fits, "it was read from there, or is 0");
        let base = inode.base_mut();
        (base.size_lo, base.size_high) = (lo.into(), high.into());
    }

    fn create(&mut self, name: &Name) -> Result<()> {
        let Some(mut inode) = self.used(name.nr)? else {
            return Err(corrupt(format!("inode {} has a name and was not created", name.nr)));
        };
        let Some(parent) = self.used(name.parent)? else { return Ok(()) };
        if inode.is_dir() {
            self.dirs.insert(name.nr);
            if !inode.has(flag::INLINE_DATA) && inode.size(self.tx.geometry()) == 0 {
                dir::edit::make_first_block(self.tx, &mut inode, name.parent)?;
                self.tx.put_inode(inode.clone())?;
            }
        }
        if self.insert(&parent, name, &inode)? && !inode.is_dir() {
            self.tx.edit_inode(name.nr, |inode| inode.base_mut().links_count = 1.into())?;
        }
        Ok(())
    }

    fn link(&mut self, name: &Name) -> Result<()> {
        let Some(inode) = self.used(name.nr)? else { return Ok(()) };
        let Some(parent) = self.used(name.parent)? else { return Ok(()) };
        if self.insert(&parent, name, &inode)? && !inode.is_dir() {
            let links = inode.links_count().checked_add(1);
            let links = links.ok_or_else(|| corrupt("too many links"))?;
            self.tx.edit_inode(name.nr, |inode| inode.base_mut().links_count = links.into())?;
        }
        Ok(())
    }

    /// Add a name, unless one like it is there.
    fn insert(&mut self, parent: &Inode, name: &Name, inode: &Inode) -> Result<bool> {
        check_name(parent, &name.name)?;
        if dir::locate(self.tx, parent, &name.name)?.is_some() {
            return Ok(false);
        }
        dir::edit::insert(self.tx, name.parent, &name.name, name.nr, inode.kind())?;
        if inode.is_dir() {
            self.dirs.insert(name.parent);
        }
        Ok(true)
    }

    fn unlink(&mut self, name: &Name) -> Result<()> {
        let Some(inode) = self.used(name.nr)? else { return Ok(()) };
        let Some(parent) = self.used(name.parent)? else { return Ok(()) };
        check_name(&parent, &name.name)?;
        let place = dir::locate(self.tx, &parent, &name.name)?;
        if place.is_none_or(|place| place.nr != name.nr) {
            return Ok(());
        }
        dir::edit::remove(self.tx, name.parent, &name.name)?;
        if inode.is_dir() {
            self.dirs.insert(name.parent);
        } else if inode.links_count() > 1 {
            let links = inode.links_count() - 1;
            return self
                .tx
                .edit_inode(name.nr, |inode| inode.base_mut().links_count = links.into());
        }
        self.release(inode)
    }

    /// Free an inode, and what it has at the end.
    fn release(&mut self, mut inode: Inode) -> Result<()> {
        let nr = inode.nr();
        if nr == InodeNr::ROOT {
            return Err(corrupt("they delete the root"));
        }
        if xattr::read(self.tx, &inode)?.iter().any(|xattr| xattr.has_inode) {
            return Err(Error::Unsupported(format!(
                "ext fast commits that delete inode {nr} with an attribute as `ea_inode` keeps it"
            )));
        }
        self.map(&inode)?.clear();
        self.dirs.remove(&nr);
        xattr::edit::release_block(self.tx, &inode)?;
        self.tx.free_inode(nr, inode.is_dir())?;
        map::edit::clear(&mut inode);
        inode.set_size(0);
        inode.set_file_acl(self.tx.geometry(), BlockNr(0));
        let fits = inode.set_sectors(self.tx.geometry(), 0);
        debug_assert!(fits, "0 always fits");
        let dtime = u32::try_from(self.tx.now().max(0)).unwrap_or(u32::MAX);
        let dtime = dtime.max(self.tx.geometry().inode_count);
        let base = inode.base_mut();
        base.links_count = 0.into();
        base.dtime = dtime.into();
        self.tx.put_inode(inode)
    }

    /// Make the trees, count links, and mark what is free.
    fn finish(&mut self) -> Result<()> {
        for nr in std::mem::take(&mut self.dirs) {
            self.count_links(nr)?;
        }
        let mut used = Vec::new();
        for (nr, map) in std::mem::take(&mut self.maps) {
            if let Some(mut inode) = self.used(nr)?
                && !inode.is_dir()
                && !inode.has(flag::INLINE_DATA)
            {
                used.extend(map.store(self.tx, &mut inode)?);
                self.tx.put_inode(inode)?;
            }
            self.maybe_free.extend(map.before);
            self.check_size()?;
        }
        let used = joined(used);
        for (start, len) in joined(std::mem::take(&mut self.maybe_free)) {
            for (start, len) in without(start, len, &used) {
                self.tx.mark_run(start, len, false)?;
            }
        }
        Ok(())
    }

    /// `.`, the name in the directory above, and the `..` of each directory below.
    fn count_links(&mut self, nr: InodeNr) -> Result<()> {
        let Some(dir) = self.used(nr)? else { return Ok(()) };
        let mut below = Vec::new();
        let mut links: u32 = 2;
        dir::for_each(self.tx, &dir, |_, entry, nr| {
            match FileType::from_dirent(entry.file_type) {
                Some(FileType::Directory) => links += 1,
                Some(_) => {}
                None => below.push(nr),
            }
            true
        })?;
        for nr in below {
            links += u32::from(inode::read(self.tx, nr)?.is_dir());
        }
        // 1 means that nobody counts any longer.
        let links = u16::try_from(links).ok().filter(|&links| links <= 65_000).unwrap_or(1);
        if dir.links_count() != 1 {
            self.tx.edit_inode(nr, |inode| inode.base_mut().links_count = links.into())?;
        }
        Ok(())
    }
}

fn check_name(parent: &Inode, name: &[u8]) -> Result<()> {
    if !parent.is_dir() {
        return Err(corrupt(format!("inode {} has names and is no directory", parent.nr())));
    }
    if matches!(name, b"." | b"..") || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
        return Err(corrupt("a name that no file can have"));
    }
    Ok(())
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// Runs in the order of the volume, none touching another.
fn joined(mut runs: Vec<(BlockNr, u64)>) -> Vec<(BlockNr, u64)> {
    runs.sort_unstable();
    let mut joined: Vec<(BlockNr, u64)> = Vec::new();
    for (start, len) in runs {
        match joined.last_mut() {
            Some((first, count)) if first.0 + *count >= start.0 => {
                *count = (*count).max(start.0 + len - first.0);
            }
            _ => joined.push((start, len)),
        }
    }
    joined
}

/// What is left of a run without `used`, which is joined.
fn without(start: BlockNr, len: u64, used: &[(BlockNr, u64)]) -> Vec<(BlockNr, u64)> {
    let (mut from, end, mut left) = (start.0, start.0 + len, Vec::new());
    let first = used.partition_point(|(at, count)| at.0 + count <= start.0);
    for (at, count) in &used[first..] {
        if at.0 >= end {
            break;
        }
        if at.0 > from {
            left.push((BlockNr(from), at.0 - from));
        }
        from = at.0 + count;
    }
    if from < end {
        left.push((BlockNr(from), end - from));
    }
    left
}

#[cfg(test)]
mod tests {
    use super::{joined, without};
    use crate::ext::nr::BlockNr;

    #[test]
    fn a_run_is_free_where_nobody_uses_it() {
        let used = joined([(5, 2), (1, 2), (7, 1), (20, 9)].map(|(at, n)| (BlockNr(at), n)).into());
        assert_eq!(used, [(BlockNr(1), 2), (BlockNr(5), 3), (BlockNr(20), 9)]);
        for (start, len, expected) in [
            (0, 30, vec![(0, 1), (3, 2), (8, 12), (29, 1)]),
            (1, 2, vec![]),
            (3, 2, vec![(3, 2)]),
            (6, 4, vec![(8, 2)]),
            (28, 4, vec![(29, 3)]),
        ] {
            let left: Vec<_> =
                without(BlockNr(start), len, &used).into_iter().map(|(b, n)| (b.0, n)).collect();
            assert_eq!(left, expected, "{start} +{len}");
        }
    }
}
