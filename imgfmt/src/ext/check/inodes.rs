//! One inode: is it in use, and do its fields fit one another?
//!
//! An inode with a link count is in use, and so is one with none that waits in the list of orphans. The first ten are the
//! file system's own: no name leads to them but to the root.

use super::maps::Mapped;
use super::{Dir, FindingKind, Place, Seen, Step, Walk};
use crate::ext::blocks::Blocks;
use crate::ext::feature::{Compat, Incompat, RoCompat};
use crate::ext::file;
use crate::ext::inode::{FileType, Inode};
use crate::ext::map::extents::Node;
use crate::ext::ondisk::inode::{BASE_LEN, flag};

/// Inodes that the format sets apart.
pub(super) mod reserved {
    /// Bad blocks of the device.
    pub(crate) const BAD_BLOCKS: u32 = 1;
    /// The root directory.
    pub(crate) const ROOT: u32 = 2;
    /// Quota of users.
    pub(crate) const USER_QUOTA: u32 = 3;
    /// Quota of groups.
    pub(crate) const GROUP_QUOTA: u32 = 4;
    /// The blocks kept for more descriptors.
    pub(crate) const RESIZE: u32 = 7;
    /// The journal.
    pub(crate) const JOURNAL: u32 = 8;
}

impl Walk<'_, '_> {
    /// Look at an inode that has some byte set. Whether it is in use.
    pub(super) fn inode(&mut self, inode: &Inode) -> Step<bool> {
        let nr = inode.nr().0;
        let place = Place::Inode(inode.nr());
        if self.geometry().inode_csum && !inode.checksum_holds(self.geometry()) {
            self.add(FindingKind::Inode, place, "checksum is wrong")?;
        }
        if nr == reserved::BAD_BLOCKS {
            self.indirect(inode)?;
            return Ok(true);
        }
        let kind = FileType::from_mode(inode.mode());
        let is_own = nr < self.geometry().first_inode && nr != reserved::ROOT;
        if is_own && inode.mode() != 0 && kind != Some(FileType::File) {
            let what = "one of the file system's own, but not a regular file";
            self.add(FindingKind::Inode, place, what)?;
        }
        if nr == reserved::RESIZE || self.is_unused_reserved(inode)? {
            // The first is looked at for itself.
            return Ok(true);
        }
        let links = inode.links_count();
        let is_orphan = self.orphans.contains(&nr);
        let dtime = inode.base().dtime.get();
        if links == 0 && !is_orphan && nr >= self.geometry().first_inode {
            if dtime == 0 && inode.mode() != 0 {
                self.add(FindingKind::Inode, place, "deleted, but no time of deletion is noted")?;
            }
            return Ok(false);
        }
        if links == 0 && !is_orphan && nr != reserved::ROOT && inode.base().block == [0; 60] {
            return Ok(true);
        }
        if dtime != 0 && !is_orphan {
            self.add(FindingKind::Inode, place, "in use, but a time of deletion is noted")?;
        }
        self.inodes.push(Seen {
            nr,
            counted: 0,
            links,
            kind,
            is_nameless: self.is_nameless(nr) || links == 0,
        });
        if inode.has(flag::EA_INODE) {
            self.value(inode)?;
        }
        if kind == Some(FileType::Directory) && links > 0 {
            self.dirs.push(Dir { nr, ..Dir::default() });
        }
        self.fields(inode)?;
        let xattr_sectors = match self.extra(inode)? {
            true => self.xattrs(inode)?,
            false => None,
        };
        match kind {
            None => self.add(
                FindingKind::Inode,
                place,
                format!("mode {:o} names no type of file", inode.mode()),
            )?,
            Some(kind) => self.content(inode, kind, xattr_sectors)?,
        }
        Ok(true)
    }

    /// Inodes of the file system's own that no feature asks for must be empty.
    fn is_unused_reserved(&mut self, inode: &Inode) -> Step<bool> {
        let nr = inode.nr().0;
        let superblock = self.fs.superblock();
        let features = self.geometry().features;
        let is_asked_for = match nr {
            reserved::ROOT => true,
            reserved::USER_QUOTA => {
                self.geometry().has(RoCompat::QUOTA) && superblock.usr_quota_inum.get() == nr
            }
            reserved::GROUP_QUOTA => {
                self.geometry().has(RoCompat::QUOTA) && superblock.grp_quota_inum.get() == nr
            }
            reserved::JOURNAL => {
                features.compat.contains(Compat::HAS_JOURNAL) && superblock.journal_inum.get() == nr
            }
            _ => true,
        };
        if is_asked_for {
            return Ok(false);
        }
        let base = inode.base();
        if base.links_count.get() != 0 || base.blocks_lo.get() != 0 || base.block[..4] != [0; 4] {
            let what = "no feature uses it, but it is not empty";
            self.add(FindingKind::Inode, Place::Inode(inode.nr()), what)?;
            self.report.skip(format!("the blocks of inode {nr}, which no feature uses"));
        }
        Ok(true)
    }

    /// Whether no name is due to an inode by its number.
    fn is_nameless(&self, nr: u32) -> bool {
        let superblock = self.fs.superblock();
        let features = self.geometry().features;
        nr != reserved::ROOT && nr < self.geometry().first_inode
            || features.compat.contains(Compat::HAS_JOURNAL) && nr == superblock.journal_inum.get()
            || features.compat.contains(Compat::ORPHAN_FILE)
                && nr == superblock.orphan_file_inum.get()
            || self.geometry().has(RoCompat::QUOTA)
                && [superblock.usr_quota_inum, superblock.grp_quota_inum, superblock.prj_quota_inum]
                    .iter()
                    .any(|inum| inum.get() == nr)
    }

    /// Fields that must be zero, and flags that a feature has to allow.
    fn fields(&mut self, inode: &Inode) -> Step {
        let geometry = self.geometry();
        let base = inode.base();
        let compat = geometry.features.compat;
        let incompat = geometry.features.incompat;
        let kind = FileType::from_mode(inode.mode());
        let is_dir = kind == Some(FileType::Directory);
        let has = |bit| inode.has(bit);
        let is_linux =
            self.fs.superblock().creator_os.get() == crate::ext::ondisk::superblock::OS_LINUX;
        for (bit, what) in [
            (flag::ENCRYPT, "whether encrypted files have the policy of their directory"),
            (flag::VERITY, "whether the content of files under fs-verity has its hash"),
        ] {
            if has(bit) {
                self.report.skip(what);
            }
        }
        for (is_wrong, kind, what) in [
            (
                !compat.contains(Compat::EXT_ATTR) && inode.file_acl(geometry).0 != 0,
                FindingKind::Xattr,
                "a block of attributes without the feature `ext_attr`",
            ),
            (base.obso_faddr.get() != 0, FindingKind::Inode, "i_faddr is not zero"),
            (
                !geometry.is_wide() && is_linux && base.file_acl_high.get() != 0,
                FindingKind::Xattr,
                "i_file_acl_high is not zero",
            ),
            (
                is_dir && base.size_high.get() != 0 && !incompat.contains(Incompat::LARGE_DIR),
                FindingKind::Inode,
                "a directory whose i_size_high is not zero",
            ),
            (
                !geometry.has(RoCompat::HUGE_FILE) && is_linux && base.blocks_high.get() != 0,
                FindingKind::Inode,
                "i_blocks_high is not zero",
            ),
            (
                has(flag::INDEX) && (!is_dir || !compat.contains(Compat::DIR_INDEX)),
                FindingKind::HashTree,
                "flagged as having a hash tree, which cannot be",
            ),
            (
                has(flag::IMAGIC) && !compat.contains(Compat::IMAGIC_INODES),
                FindingKind::Inode,
                "flagged for AFS without the feature `imagic_inodes`",
            ),
            (
                has(flag::EXTENTS) && !incompat.contains(Incompat::EXTENT),
                FindingKind::Map,
                "mapped by extents without the feature `extent`",
            ),
            (
                has(flag::INLINE_DATA) && !incompat.contains(Incompat::INLINE_DATA),
                FindingKind::Inode,
                "content in the inode without the feature `inline_data`",
            ),
            (
                has(flag::EA_INODE) && !incompat.contains(Incompat::EA_INODE),
                FindingKind::Xattr,
                "the value of an attribute without the feature `ea_inode`",
            ),
            (
                has(flag::ENCRYPT) && !incompat.contains(Incompat::ENCRYPT),
                FindingKind::Inode,
                "encrypted without the feature `encrypt`",
            ),
            (
                has(flag::CASEFOLD) && (!is_dir || !incompat.contains(Incompat::CASEFOLD)),
                FindingKind::Inode,
                "names without case, which cannot be",
            ),
            (
                has(flag::VERITY) && !geometry.has(RoCompat::VERITY),
                FindingKind::Inode,
                "under fs-verity without the feature `verity`",
            ),
        ] {
            if is_wrong {
                self.add(kind, Place::Inode(inode.nr()), what)?;
            }
        }
        Ok(())
    }

    /// The part behind the first 128 bytes; whether it is sound.
    fn extra(&mut self, inode: &Inode) -> Step<bool> {
        let len = usize::from(inode.extra_isize());
        let room = self.geometry().inode_size - BASE_LEN;
        if len != 0 && (len < 4 || len > room || !len.is_multiple_of(4)) {
            let what = format!("extra size is {len} of {room}");
            self.add(FindingKind::Inode, Place::Inode(inode.nr()), what)?;
            return Ok(false);
        }
        let base = inode.base();
        let Some(extra) = inode.extra().filter(|_| !inode.has(flag::EA_INODE)) else {
            return Ok(true);
        };
        let times = [
            (base.ctime, extra.ctime_extra, 8),
            (base.mtime, extra.mtime_extra, 12),
            (base.atime, extra.atime_extra, 16),
            (extra.crtime, extra.crtime_extra, 24),
        ];
        // Kernels before 3.14 wrote times before 1970 that way.
        let is_ancient = |&(lo, high, end): &(zerocopy::little_endian::U32, _, usize)| {
            let high: zerocopy::little_endian::U32 = high;
            len >= end && lo.get() >> 31 == 1 && high.get() & 3 == 3
        };
        if times.iter().any(is_ancient) {
            let what = "a time past the year 2310";
            self.add(FindingKind::Inode, Place::Inode(inode.nr()), what)?;
        }
        Ok(true)
    }

    /// What it maps, and whether length and space agree with that. `xattr_sectors` is `None` where it is not known.
    fn content(&mut self, inode: &Inode, kind: FileType, xattr_sectors: Option<u64>) -> Step {
        let place = Place::Inode(inode.nr());
        let is_special = !matches!(kind, FileType::File | FileType::Directory | FileType::Symlink);
        if is_special || kind == FileType::Symlink {
            self.special(inode, kind)?;
        }
        let is_link_in_inode = kind == FileType::Symlink && file::is_fast_link(self.fs, inode);
        let mapped = if is_special || is_link_in_inode {
            Mapped::default()
        } else if inode.has(flag::INLINE_DATA) {
            self.inline(inode, kind)?;
            Mapped::default()
        } else if inode.has(flag::EXTENTS) {
            self.extents(inode)?
        } else {
            let block = inode.base().block;
            let looks_so = self.geometry().features.incompat.contains(Incompat::EXTENT)
                && block[..2] == crate::ext::ondisk::extent::MAGIC.to_le_bytes()
                && Node::new(&block, None).is_ok();
            if looks_so {
                self.add(FindingKind::Map, place, "an extent tree, but not flagged as one")?;
                self.extents(inode)?
            } else {
                self.indirect(inode)?
            }
        };
        self.length(inode, kind, &mapped)?;
        let Some(xattr_sectors) = xattr_sectors else { return Ok(()) };
        let expected = mapped.units * (self.geometry().cluster_size / 512) + xattr_sectors;
        let sectors = inode.sectors(self.geometry());
        if sectors != expected {
            let what = format!("i_blocks is {sectors} sectors, should be {expected}");
            self.add(FindingKind::Inode, place, what)?;
        }
        Ok(())
    }

    fn length(&mut self, inode: &Inode, kind: FileType, mapped: &Mapped) -> Step {
        let geometry = self.geometry();
        let place = Place::Inode(inode.nr());
        let (size, block_size) = (inode.size(geometry), geometry.block_size as u64);
        let what = match kind {
            _ if inode.has(flag::INLINE_DATA) => return Ok(()),
            FileType::Directory => {
                let expected = mapped.end * block_size;
                if mapped.end == 0 {
                    "a directory without a block".to_owned()
                } else if size != expected {
                    format!("length is {size} bytes, should be {expected}")
                } else {
                    return Ok(());
                }
            }
            FileType::File | FileType::Symlink => {
                let numbers = block_size / 4;
                let largest = match inode.has(flag::EXTENTS) {
                    true => ((1 << 32) * block_size).saturating_sub(1),
                    false => {
                        (12 + numbers + numbers.pow(2) + numbers.pow(3)).saturating_mul(block_size)
                    }
                };
                let least = mapped.written_end.saturating_sub(1) * block_size;
                if size > largest {
                    format!("length is {size} bytes, more than {largest}")
                } else if size < least && !inode.has(flag::VERITY) {
                    format!("length is {size} bytes, but block {} is mapped", least / block_size)
                } else {
                    return Ok(());
                }
            }
            _ if size != 0 => format!("length is {size} bytes, should be 0"),
            _ => return Ok(()),
        };
        self.add(FindingKind::Inode, place, what)
    }

    /// Content that lies in the inode.
    fn inline(&mut self, inode: &Inode, kind: FileType) -> Step {
        let place = Place::Inode(inode.nr());
        if inode.has(flag::EXTENTS) {
            self.add(FindingKind::Inode, place, "content in the inode and in extents")?;
        }
        let read = crate::ext::xattr::inline_data(self.fs, inode);
        let Some(content) = self.found(FindingKind::Xattr, place, read)? else { return Ok(()) };
        let size = inode.size(self.geometry());
        // `mke2fs -d` keeps a large hole as a file without inline data; 60 bytes are the least for a directory.
        if kind == FileType::Directory && (content.len() as u64 != size || size < 60) {
            let what = format!("length is {size} bytes, {} are in the inode", content.len());
            self.add(FindingKind::Inode, place, what)?;
        }
        Ok(())
    }
}
