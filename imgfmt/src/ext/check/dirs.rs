//! Directories: the chain of entries in each block, and what each name leads to.
//!
//! Block 0 begins with `.` and `..`; a directory in its inode has neither, and its parent's number instead. The reader
//! ([`crate::ext::dir`]) stops at the first entry that is wrong; this walk goes on with the next block.

use std::hash::{DefaultHasher, Hasher};

use zerocopy::FromBytes;

use super::htree::Leaf;
use super::{FindingKind, Place, Step, Walk};
use crate::ext::blocks::Blocks;
use crate::ext::dir::{dx, hash, is_indexed, linear};
use crate::ext::feature::Incompat;
use crate::ext::inode::{FileType, Inode};
use crate::ext::map;
use crate::ext::nr::{BlockNr, InodeNr};
use crate::ext::ondisk::dirent::{HEADER_LEN, Header, NAME_MAX, TAIL_LEN};
use crate::ext::ondisk::dx::{INFO_OFFSET, RootInfo};
use crate::ext::ondisk::inode::flag;
use crate::ext::ondisk::superblock::OS_HURD;
use crate::ext::xattr;

/// The shortest entry: a header and one letter, padded.
const ENTRY_MIN: usize = 12;
/// Names of one directory that are compared with each other: eight bytes each are kept.
const NAMES_MAX: usize = 4 << 20;
/// Holes in a directory after which the rest is not looked at.
const HOLES_MAX: u32 = 16;

/// A directory that is being read.
struct Reading {
    inode: Inode,
    /// Its place in the list of directories.
    index: usize,
    /// Hashes of its names, to find one that stands twice.
    names: Vec<u64>,
    /// The version of the tree's hash, where there is a tree and the hash is known.
    version: Option<u8>,
    /// For each block, the hashes of its names; empty where there is no tree.
    leaves: Vec<Leaf>,
}

/// An entry as it stands.
struct Entry<'a> {
    nr: u32,
    name: &'a [u8],
    file_type: u8,
}

impl Walk<'_, '_> {
    /// Look at every directory.
    pub(super) fn directories(&mut self) -> Step {
        let count = self.dirs.len();
        for index in 0..count {
            self.advance(1, index as u64, count as u64)?;
            let nr = self.dirs[index].nr;
            if let Some(inode) = self.raw_inode(nr)? {
                let names = Vec::new();
                let reading = Reading { inode, index, names, version: None, leaves: Vec::new() };
                self.directory(reading)?;
            }
        }
        Ok(())
    }

    fn directory(&mut self, mut dir: Reading) -> Step {
        let place = Place::Directory(dir.inode.nr());
        if dir.inode.has(flag::INLINE_DATA) {
            self.inline_directory(&mut dir)?;
        } else {
            self.blocks(&mut dir)?;
        }
        if dir.inode.has(flag::CASEFOLD) {
            self.report.skip("whether names in a directory without case differ in case alone");
        }
        if dir.names.len() < NAMES_MAX {
            dir.names.sort_unstable();
            if dir.names.windows(2).any(|pair| pair[0] == pair[1]) {
                self.add(FindingKind::Directory, place, "a name stands in it twice")?;
            }
        } else {
            let what = format!("whether a name of directory {} stands twice", dir.inode.nr());
            self.report.skip(what);
        }
        Ok(())
    }

    fn inline_directory(&mut self, dir: &mut Reading) -> Step {
        // Where that fails, it was said with the inode.
        let Ok(content) = xattr::inline_data(self.fs, &dir.inode) else { return Ok(()) };
        let Some((parent, rest)) = content.split_first_chunk::<4>() else { return Ok(()) };
        let nr = dir.inode.nr().0;
        self.dirs[dir.index].dotdot = u32::from_le_bytes(*parent);
        for nr in [nr, u32::from_le_bytes(*parent)] {
            if let Some(seen) = self.seen(nr) {
                seen.counted += 1;
            }
        }
        let (first, second) = rest.split_at(rest.len().min(56));
        self.entries(dir, first, None)?;
        self.entries(dir, second, None)
    }

    fn blocks(&mut self, dir: &mut Reading) -> Step {
        let geometry = self.geometry();
        let place = Place::Directory(dir.inode.nr());
        let count = dir.inode.size(geometry) / geometry.block_size as u64;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let has_tree = is_indexed(self.fs, &dir.inode);
        let (mut lblk, mut holes) = (0, 0);
        while lblk < count {
            // Where that fails, it was said with the inode.
            let Ok(run) = map::lookup(self.fs, &dir.inode, lblk) else {
                self.report.skip(format!("directory {} from block {lblk} on", dir.inode.nr()));
                return Ok(());
            };
            let len = u32::try_from(run.count).unwrap_or(u32::MAX).min(count - lblk);
            match run.start {
                None => {
                    holes += 1;
                    let what = format!("block {lblk} is a hole");
                    self.add(FindingKind::Directory, place, what)?;
                    if holes == HOLES_MAX {
                        self.report
                            .skip(format!("directory {}: it is full of holes", dir.inode.nr()));
                        return Ok(());
                    }
                    if has_tree && dir.leaves.len() == lblk as usize {
                        dir.leaves.push(Leaf::default());
                    }
                }
                Some(start) => {
                    for block in start.0..start.0 + u64::from(len) {
                        if self.dir_blocks.claim(block, 1).count > 0 {
                            let what = format!("block {block} was read already");
                            return self.add(FindingKind::Shared, place, what);
                        }
                        self.block(
                            dir,
                            lblk + u32::try_from(block - start.0).expect("below"),
                            BlockNr(block),
                        )?;
                    }
                }
            }
            lblk = lblk.saturating_add(len);
        }
        if has_tree {
            self.tree(&dir.inode, dir.version, &dir.leaves)?;
        }
        Ok(())
    }

    fn block(&mut self, dir: &mut Reading, lblk: u32, block: BlockNr) -> Step {
        let geometry = self.geometry();
        let place = Place::Directory(dir.inode.nr());
        let bytes = self.fs.read_block(block)?;
        let has_tree = is_indexed(self.fs, &dir.inode);
        let inner = match has_tree {
            true => dx::entries_offset(&bytes, &dir.inode, lblk),
            false => None,
        };
        if has_tree {
            dir.leaves.push(Leaf::default());
            if lblk == 0 {
                let (info, _) =
                    RootInfo::ref_from_prefix(&bytes[INFO_OFFSET..]).expect("a block is longer");
                let version = info.hash_version;
                let is_plain = !dir.inode.has(flag::CASEFOLD) && !dir.inode.has(flag::ENCRYPT);
                dir.version =
                    Some(version).filter(|&v| is_plain && hash::hash(geometry, v, b"x").is_some());
            }
        }
        let mut end = bytes.len();
        if geometry.has_metadata_csum() {
            let seed = dir.inode.seed(geometry);
            let what = match inner {
                Some(offset) if dx::checksum_holds(&bytes, seed, offset) => None,
                None if !linear::has_tail(&bytes) => Some("has no checksum"),
                None if linear::checksum_holds(&bytes, seed) => None,
                _ => Some("checksum is wrong"),
            };
            if let Some(what) = what {
                let what = format!("block {lblk}: {what}");
                self.add(FindingKind::Directory, place, what)?;
            }
            if inner.is_none() && linear::has_tail(&bytes) {
                end -= TAIL_LEN;
            }
        }
        self.entries_of_block(dir, &bytes, end, lblk)
    }

    fn entries_of_block(&mut self, dir: &mut Reading, bytes: &[u8], end: usize, lblk: u32) -> Step {
        if lblk > 0 {
            return self.entries(dir, &bytes[..end], Some((lblk, bytes.len())));
        }
        let place = Place::Directory(dir.inode.nr());
        let nr = dir.inode.nr().0;
        let mut at = 0;
        for name in [&b"."[..], b".."] {
            let entry = match self.parse(&bytes[..end], at, bytes.len(), true) {
                Ok((entry, len)) => {
                    at += len;
                    entry
                }
                Err(what) => {
                    let what = format!("block 0: {what}");
                    return self.add(FindingKind::Directory, place, what);
                }
            };
            let expected_type = match self.geometry().features.incompat.contains(Incompat::FILETYPE)
            {
                true => FileType::Directory.dirent_type(),
                false => 0,
            };
            if entry.name != name || name == b"." && entry.nr != nr {
                let what = format!("it does not begin with `.` and `..`: `{}`", shown(entry.name));
                self.add(FindingKind::Directory, place, what)?;
                if entry.name != name && entry.nr != 0 {
                    self.entry(dir, &entry, 0)?;
                }
                continue;
            }
            if entry.file_type != expected_type && !self.may_lack_types(entry.file_type) {
                let what = format!("`{}` is of type {}", shown(name), entry.file_type);
                self.add(FindingKind::Directory, place, what)?;
            }
            if let Some(seen) = self.seen(entry.nr) {
                seen.counted += 1;
            }
            if name == b".." {
                self.dirs[dir.index].dotdot = entry.nr;
            }
        }
        self.entries_from(dir, &bytes[..end], at, Some((0, bytes.len())))
    }

    /// Entries from the start of `bytes` on; of a block its number and whole length are given.
    fn entries(&mut self, dir: &mut Reading, bytes: &[u8], block: Option<(u32, usize)>) -> Step {
        self.entries_from(dir, bytes, 0, block)
    }

    fn entries_from(
        &mut self,
        dir: &mut Reading,
        bytes: &[u8],
        mut at: usize,
        block: Option<(u32, usize)>,
    ) -> Step {
        let (lblk, block_size) = block.unwrap_or((0, self.geometry().block_size));
        while at < bytes.len() {
            match self.parse(bytes, at, block_size, !dir.inode.has(flag::ENCRYPT)) {
                Err(what) => {
                    let what = format!("block {lblk}: {what}");
                    return self.add(
                        FindingKind::Directory,
                        Place::Directory(dir.inode.nr()),
                        what,
                    );
                }
                Ok((entry, len)) => {
                    if entry.nr != 0 {
                        self.entry(dir, &entry, lblk)?;
                    }
                    at += len;
                }
            }
        }
        Ok(())
    }

    /// The entry at `at` and its length.
    fn parse<'d>(
        &self,
        bytes: &'d [u8],
        at: usize,
        block_size: usize,
        has_plain_names: bool,
    ) -> Result<(Entry<'d>, usize), String> {
        let wrong = |what: String| format!("entry at {at}: {what}");
        let (header, rest) =
            Header::ref_from_prefix(&bytes[at..]).map_err(|_| wrong("too short".to_owned()))?;
        let len = header.rec_len(block_size);
        let has_types = self.geometry().features.incompat.contains(Incompat::FILETYPE);
        let mut name_len = usize::from(header.name_len);
        if !has_types {
            name_len += usize::from(header.file_type) << 8;
        }
        if len < ENTRY_MIN || !len.is_multiple_of(4) || len > bytes.len() - at {
            return Err(wrong(format!("length is {len}")));
        }
        if HEADER_LEN + name_len > len || name_len > NAME_MAX {
            return Err(wrong(format!("{name_len} bytes of name in {len}")));
        }
        let nr = header.inode.get();
        let name = &rest[..name_len];
        if nr != 0 && name.is_empty() {
            return Err(wrong("no name".to_owned()));
        }
        if nr != 0 && has_plain_names && name.iter().any(|&byte| byte == 0 || byte == b'/') {
            return Err(wrong(format!("name `{}`", shown(name))));
        }
        let file_type = if has_types { header.file_type } else { 0 };
        Ok((Entry { nr, name, file_type }, len))
    }

    /// GNU Hurd notes no types.
    fn may_lack_types(&self, file_type: u8) -> bool {
        file_type == 0 && self.fs.superblock().creator_os.get() == OS_HURD
    }

    /// A name that is neither `.` nor `..` of its directory.
    fn entry(&mut self, dir: &mut Reading, entry: &Entry<'_>, lblk: u32) -> Step {
        let geometry = self.geometry();
        let place = Place::Directory(dir.inode.nr());
        let name = shown(entry.name);
        if dir.names.len() < NAMES_MAX {
            let mut hasher = DefaultHasher::new();
            hasher.write(entry.name);
            dir.names.push(hasher.finish());
        }
        if let Some(hash) = dir.version.and_then(|v| hash::hash(geometry, v, entry.name))
            && let Some(leaf) = dir.leaves.get_mut(lblk as usize)
        {
            leaf.take(hash);
        }
        if matches!(entry.name, b"." | b"..") {
            return self.add(FindingKind::Directory, place, format!("`{name}` stands in it twice"));
        }
        if entry.nr > geometry.inode_count {
            let what = format!("`{name}` leads to inode {}, which does not exist", entry.nr);
            return self.add(FindingKind::Directory, place, what);
        }
        if entry.nr < geometry.first_inode {
            let what = format!("`{name}` leads to inode {} of the file system's own", entry.nr);
            return self.add(FindingKind::Directory, place, what);
        }
        let group = geometry.group_of_inode(InodeNr(entry.nr)).map(|(group, _)| group.0);
        let Some(seen) = self.seen(entry.nr) else {
            if group.is_ok_and(|group| self.lost_tables.contains(&group)) {
                return Ok(());
            }
            let what = format!("`{name}` leads to inode {}, which is not in use", entry.nr);
            return self.add(FindingKind::Directory, place, what);
        };
        seen.counted += 1;
        let seen = *seen;
        if seen.is_nameless {
            let what = format!("`{name}` leads to inode {}, to which no name is due", entry.nr);
            self.add(FindingKind::Directory, place, what)?;
        }
        let expected = match geometry.features.incompat.contains(Incompat::FILETYPE) {
            true => seen.kind.map_or(entry.file_type, FileType::dirent_type),
            false => 0,
        };
        if entry.file_type != expected && !self.may_lack_types(entry.file_type) {
            let what = format!("`{name}` is of type {}, not {expected}", entry.file_type);
            self.add(FindingKind::Directory, place, what)?;
        }
        if seen.kind == Some(FileType::Directory) {
            let at = self.dirs.binary_search_by_key(&entry.nr, |dir| dir.nr);
            let Ok(at) = at else { return Ok(()) };
            if self.dirs[at].named_in != 0 {
                let what = format!("`{name}` is a second name of directory {}", entry.nr);
                return self.add(FindingKind::Links, place, what);
            }
            self.dirs[at].named_in = dir.inode.nr().0;
        }
        Ok(())
    }
}

/// A name for a message.
fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).escape_debug().to_string()
}
