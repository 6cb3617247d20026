//! Inodes before they are bytes.

use crate::error::{Error, Result};
use crate::ext::feature::Incompat;
use crate::ext::geometry::Geometry;
use crate::ext::inode::{FileType, Inode};
use crate::ext::nr::{BlockNr, InodeNr};
use crate::ext::ondisk::inode::{BLOCK_LEN, flag};

/// The most links that the format counts.
pub(super) const LINKS_MAX: u32 = 65_000;

/// The latest time that an inode with room for it holds, in Unix seconds: 2446. Later ones become it, as with the kernel.
const TIME_MAX: i64 = (2 << 32) + i32::MAX as i64;

/// Seconds since 1970, and nanoseconds.
pub(super) type Time = (i64, u32);

/// What a new inode is to hold.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) kind: FileType,
    /// Permissions, set-user-ID, set-group-ID, sticky.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Names; of a directory, its own `.` and its children's `..`, too.
    pub(super) links: u32,
    /// Bytes.
    pub(super) size: u64,
    /// Blocks that it has: data, map, attributes.
    pub(super) blocks: u64,
    pub(super) flags: u32,
    /// Map, target of a short link, number of a device.
    pub(super) block: [u8; BLOCK_LEN],
    pub(super) mtime: Time,
    pub(super) atime: Time,
    /// When it was made and last changed: an archive cannot say.
    pub(super) born: i64,
    /// The block of its attributes; 0 for none.
    pub(super) file_acl: u64,
    /// What stands behind the fixed fields: attributes in the inode.
    pub(super) tail: Vec<u8>,
}

impl Record {
    /// A file without anything, made at `time` by root.
    pub(super) fn new(kind: FileType, mode: u16, time: i64) -> Self {
        Self {
            kind,
            mode,
            uid: 0,
            gid: 0,
            links: 1,
            size: 0,
            blocks: 0,
            flags: 0,
            block: [0; BLOCK_LEN],
            mtime: (time, 0),
            atime: (time, 0),
            born: time,
            file_acl: 0,
            tail: Vec::new(),
        }
    }

    /// Its bytes, as inode `nr`.
    pub(super) fn build(&self, geometry: &Geometry, nr: InodeNr) -> Result<Inode> {
        let mut inode = Inode::new(geometry, nr);
        inode.set_extra_isize(geometry.extra_isize);
        let wrong = |what: &str| Error::Unsupported(format!("inode {nr}: {what}"));
        inode.set_born(self.born);
        let most = if inode.keeps_nanoseconds() { TIME_MAX } else { i32::MAX.into() };
        let clamp = |(seconds, nanoseconds): Time| match seconds {
            _ if seconds > most => (most, 0),
            _ if seconds < i32::MIN.into() => (i32::MIN.into(), 0),
            _ => (seconds, nanoseconds),
        };
        let fits = inode.set_atime(clamp(self.atime)) && inode.set_mtime_exactly(clamp(self.mtime));
        debug_assert!(fits, "clamped");
        let base = inode.base_mut();
        base.mode = (self.kind.mode_bits() | self.mode & 0o7777).into();
        // More subdirectories than can be counted (`dir_nlink`) are 1.
        let links = u16::try_from(self.links).ok().filter(|_| self.links <= LINKS_MAX);
        base.links_count = links.unwrap_or(1).into();
        base.block = self.block;
        base.flags = self.flags.into();
        inode.set_owner(self.uid, self.gid);
        inode.set_size(self.size);
        if !inode.set_sectors(geometry, self.blocks * (geometry.block_size as u64 / 512)) {
            return Err(wrong("a file of 2 TiB and more needs the feature `huge_file`"));
        }
        inode.set_file_acl(geometry, BlockNr(self.file_acl));
        if let Some(tail) = inode.tail_mut() {
            tail[..self.tail.len()].copy_from_slice(&self.tail);
        }
        inode.seal(geometry);
        Ok(inode)
    }

    /// Whether its length makes `large_file` necessary.
    pub(super) fn is_large(&self) -> bool {
        self.kind == FileType::File && self.size > i32::MAX.unsigned_abs().into()
    }
}

/// The flag of files that are mapped by extents, where new ones are.
pub(super) fn map_flag(geometry: &Geometry) -> u32 {
    if geometry.features.incompat.contains(Incompat::EXTENT) { flag::EXTENTS } else { 0 }
}
