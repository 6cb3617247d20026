//! An inode: what a file is, all but its names and its content.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zerocopy::FromBytes;

use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::checksum;
use crate::ext::geometry::Geometry;
use crate::ext::nr::{BlockNr, InodeNr};
use crate::ext::ondisk::inode as ondisk;
use crate::ext::ondisk::inode::{BASE_LEN, InodeExtra, flag};
use crate::ext::space::group;

/// What kind of file an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileType {
    /// A regular file (`S_IFREG`).
    File,
    /// A directory (`S_IFDIR`).
    Directory,
    /// A symbolic link (`S_IFLNK`).
    Symlink,
    /// A character device (`S_IFCHR`).
    CharDevice,
    /// A block device (`S_IFBLK`).
    BlockDevice,
    /// A named pipe (`S_IFIFO`).
    Fifo,
    /// A socket (`S_IFSOCK`).
    Socket,
}

impl FileType {
    /// From the upper four bits of `i_mode`.
    pub(crate) fn from_mode(mode: u16) -> Option<Self> {
        Some(match mode >> 12 {
            0o01 => Self::Fifo,
            0o02 => Self::CharDevice,
            0o04 => Self::Directory,
            0o06 => Self::BlockDevice,
            0o10 => Self::File,
            0o12 => Self::Symlink,
            0o14 => Self::Socket,
            _ => return None,
        })
    }

    /// The upper four bits of `i_mode`.
    pub(crate) fn mode_bits(self) -> u16 {
        match self {
            Self::Fifo => 0o010_000,
            Self::CharDevice => 0o020_000,
            Self::Directory => 0o040_000,
            Self::BlockDevice => 0o060_000,
            Self::File => 0o100_000,
            Self::Symlink => 0o120_000,
            Self::Socket => 0o140_000,
        }
    }

    /// From the type in a directory entry.
    pub(crate) fn from_dirent(file_type: u8) -> Option<Self> {
        Some(match file_type {
            1 => Self::File,
            2 => Self::Directory,
            3 => Self::CharDevice,
            4 => Self::BlockDevice,
            5 => Self::Fifo,
            6 => Self::Socket,
            7 => Self::Symlink,
            _ => return None,
        })
    }

    /// The type in a directory entry.
    pub(crate) fn dirent_type(self) -> u8 {
        match self {
            Self::File => 1,
            Self::Directory => 2,
            Self::CharDevice => 3,
            Self::BlockDevice => 4,
            Self::Fifo => 5,
            Self::Socket => 6,
            Self::Symlink => 7,
        }
    }
}

/// A copy of an inode, whole, of the size that the file system gives it.
#[derive(Clone)]
pub(crate) struct Inode {
    nr: InodeNr,
    bytes: Vec<u8>,
}

/// The inode `nr`, which must be in use, its checksum checked.
pub(crate) fn read(blocks: &impl Blocks, nr: InodeNr) -> Result<Inode> {
    let inode = read_any(blocks, nr)?;
    if inode.links_count() == 0 || FileType::from_mode(inode.mode()).is_none() {
        return Err(corrupt(nr, "is not in use, but named"));
    }
    Ok(inode)
}

/// The inode `nr`, be it in use or not, its checksum checked.
pub(crate) fn read_any(blocks: &impl Blocks, nr: InodeNr) -> Result<Inode> {
    if let Some(inode) = blocks.recall().and_then(|recall| recall.inode(nr)) {
        return Ok(inode);
    }
    let geometry = blocks.geometry();
    let (block, offset) = location(blocks, nr)?;
    let bytes = blocks.read_part(block, offset..offset + geometry.inode_size)?;
    let inode = Inode { nr, bytes };
    let extra = usize::from(inode.extra_isize());
    if extra > geometry.inode_size - BASE_LEN || !extra.is_multiple_of(4) {
        return Err(corrupt(nr, &format!("extra size is {extra}")));
    }
    if geometry.inode_csum && !inode.checksum_holds(geometry) {
        return Err(corrupt(nr, "checksum is wrong"));
    }
    if let Some(recall) = blocks.recall() {
        recall.keep_inode(&inode);
    }
    Ok(inode)
}

/// Where an inode lies: its block, and the byte therein.
pub(crate) fn location(blocks: &impl Blocks, nr: InodeNr) -> Result<(BlockNr, usize)> {
    let geometry = blocks.geometry();
    let (group, index) = geometry.group_of_inode(nr)?;
    let table = group::read(blocks, group)?.inode_table();
    let offset = index as usize * geometry.inode_size;
    let block = (offset / geometry.block_size) as u64;
    Ok((BlockNr(table.0 + block), offset % geometry.block_size))
}

/// An error about an inode.
pub(crate) fn corrupt(nr: InodeNr, what: &str) -> Error {
    Error::Corrupt(format!("ext inode {nr}: {what}"))
}

impl Inode {
    /// An inode of zeros.
    pub(crate) fn new(geometry: &Geometry, nr: InodeNr) -> Self {
        Self { nr, bytes: vec![0; geometry.inode_size] }
    }

    /// Bytes of a table, as they are; [`read`] checks them.
    pub(crate) fn from_bytes(nr: InodeNr, bytes: Vec<u8>) -> Self {
        Self { nr, bytes }
    }

    /// Its number.
    pub(crate) fn nr(&self) -> InodeNr {
        self.nr
    }

    /// All bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, to be changed.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The bytes behind the fixed fields, where extended attributes lie: `None` where there is no such room.
    pub(crate) fn tail(&self) -> Option<&[u8]> {
        self.bytes.get(self.tail_offset()?..)
    }

    /// The same, to be changed.
    pub(crate) fn tail_mut(&mut self) -> Option<&mut [u8]> {
        let offset = self.tail_offset()?;
        self.bytes.get_mut(offset..)
    }

    fn tail_offset(&self) -> Option<usize> {
        match self.extra_isize() {
            0 => None,
            extra => Some(BASE_LEN + usize::from(extra)),
        }
    }

    pub(crate) fn base(&self) -> &ondisk::Inode {
        ondisk::Inode::ref_from_prefix(&self.bytes).expect("an inode has 128 bytes at least").0
    }

    pub(crate) fn base_mut(&mut self) -> &mut ondisk::Inode {
        ondisk::Inode::mut_from_prefix(&mut self.bytes).expect("an inode has 128 bytes at least").0
    }

    /// The part behind the first 128 bytes, where there is room for one.
    pub(crate) fn extra(&self) -> Option<&InodeExtra> {
        InodeExtra::ref_from_prefix(&self.bytes[BASE_LEN..]).ok().map(|(extra, _)| extra)
    }

    fn extra_mut(&mut self) -> Option<&mut InodeExtra> {
        InodeExtra::mut_from_prefix(&mut self.bytes[BASE_LEN..]).ok().map(|(extra, _)| extra)
    }

    /// Bytes of the extra part that hold.
    pub(crate) fn extra_isize(&self) -> u16 {
        self.extra().map_or(0, |extra| extra.extra_isize.get())
    }

    /// Say how many bytes of the extra part hold; without one, nothing.
    pub(crate) fn set_extra_isize(&mut self, len: u16) {
        if let Some(extra) = self.extra_mut() {
            extra.extra_isize = len.into();
        }
    }

    /// The seed of the checksums of all that belongs to this inode.
    pub(crate) fn seed(&self, geometry: &Geometry) -> u32 {
        checksum::inode_seed(geometry.seed, self.nr, self.base().generation.get())
    }

    fn has_checksum_hi(&self) -> bool {
        self.extra_isize() >= 4
    }

    /// Whether the checksum is right.
    pub(crate) fn checksum_holds(&self, geometry: &Geometry) -> bool {
        let crc = checksum::inode(self.seed(geometry), &self.bytes, self.has_checksum_hi());
        self.base().checksum_lo.get() == checksum::low(crc)
            && (!self.has_checksum_hi()
                || self.extra().is_some_and(|x| x.checksum_hi.get() == checksum::high(crc)))
    }

    /// Fill the checksum.
    pub(crate) fn seal(&mut self, geometry: &Geometry) {
        if !geometry.inode_csum {
            return;
        }
        let hi = self.has_checksum_hi();
        let crc = checksum::inode(self.seed(geometry), &self.bytes, hi);
        self.base_mut().checksum_lo = checksum::low(crc).into();
        if let Some(extra) = self.extra_mut().filter(|_| hi) {
            extra.checksum_hi = checksum::high(crc).into();
        }
    }

    /// `i_mode`, with the type.
    pub(crate) fn mode(&self) -> u16 {
        self.base().mode.get()
    }

    /// The type. [`read`] made sure that there is one.
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_mode(self.mode()).unwrap_or(FileType::File)
    }

    /// Whether this is a directory.
    pub(crate) fn is_dir(&self) -> bool {
        self.kind() == FileType::Directory
    }

    /// Whether a flag is set.
    pub(crate) fn has(&self, bit: u32) -> bool {
        self.base().flags.get() & bit != 0
    }

    /// Set or clear a flag.
    pub(crate) fn set_flag(&mut self, bit: u32, on: bool) {
        let flags = self.base().flags.get();
        self.base_mut().flags = if on { flags | bit } else { flags & !bit }.into();
    }

    /// Names of this inode, and for a directory `.` and the `..` of its children; 1 may mean that nobody counts.
    pub(crate) fn links_count(&self) -> u16 {
        self.base().links_count.get()
    }

    /// Length in bytes. Only large directories have one with a high half; old ones keep other things there.
    pub(crate) fn size(&self, geometry: &Geometry) -> u64 {
        use crate::ext::feature::Incompat;
        let lo = u64::from(self.base().size_lo.get());
        let wide = match self.kind() {
            FileType::File => true,
            FileType::Directory => geometry.features.incompat.contains(Incompat::LARGE_DIR),
            _ => false,
        };
        if wide { lo | u64::from(self.base().size_high.get()) << 32 } else { lo }
    }

    /// Store the length in bytes.
    pub(crate) fn set_size(&mut self, len: u64) {
        let bytes = len.to_le_bytes();
        let base = self.base_mut();
        base.size_lo = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).into();
        base.size_high = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]).into();
    }

    /// Space taken, in sectors of 512 bytes.
    pub(crate) fn sectors(&self, geometry: &Geometry) -> u64 {
        use crate::ext::feature::RoCompat;
        let lo = u64::from(self.base().blocks_lo.get());
        if !geometry.has(RoCompat::HUGE_FILE) {
            return lo;
        }
        let count = lo | u64::from(self.base().blocks_high.get()) << 32;
        let unit = if self.has(flag::HUGE_FILE) { geometry.block_size as u64 / 512 } else { 1 };
        count * unit
    }

    /// Store the space taken, in sectors of 512 bytes. False where the format has no room for the number.
    #[must_use]
    pub(crate) fn set_sectors(&mut self, geometry: &Geometry, sectors: u64) -> bool {
        use crate::ext::feature::RoCompat;
        let huge = geometry.has(RoCompat::HUGE_FILE);
        let in_blocks = huge && sectors >> 48 != 0;
        let count = if in_blocks { sectors / (geometry.block_size as u64 / 512) } else { sectors };
        let bytes = count.to_le_bytes();
        if huge {
            self.set_flag(flag::HUGE_FILE, in_blocks);
            self.base_mut().blocks_high = u16::from_le_bytes([bytes[4], bytes[5]]).into();
        }
        self.base_mut().blocks_lo =
            u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).into();
        huge || sectors >> 32 == 0
    }

    /// The block of extended attributes; 0 means none.
    pub(crate) fn file_acl(&self, geometry: &Geometry) -> BlockNr {
        let base = self.base();
        let hi = if geometry.is_wide() { base.file_acl_high.get() } else { 0 };
        BlockNr(u64::from(base.file_acl_lo.get()) | u64::from(hi) << 32)
    }

    /// Store the block of extended attributes; without `64bit` the high half belongs to others.
    pub(crate) fn set_file_acl(&mut self, geometry: &Geometry, block: BlockNr) {
        let bytes = block.0.to_le_bytes();
        let base = self.base_mut();
        base.file_acl_lo = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).into();
        if geometry.is_wide() {
            base.file_acl_high = u16::from_le_bytes([bytes[4], bytes[5]]).into();
        }
    }

    /// Owner.
    pub(crate) fn uid(&self) -> u32 {
        u32::from(self.base().uid.get()) | u32::from(self.base().uid_high.get()) << 16
    }

    /// Group.
    pub(crate) fn gid(&self) -> u32 {
        u32::from(self.base().gid.get()) | u32::from(self.base().gid_high.get()) << 16
    }

    /// Store owner and group.
    pub(crate) fn set_owner(&mut self, uid: u32, gid: u32) {
        let base = self.base_mut();
        (base.uid, base.uid_high) = (checksum::low(uid).into(), checksum::high(uid).into());
        (base.gid, base.gid_high) = (checksum::low(gid).into(), checksum::high(gid).into());
    }

    /// The number of a device, major and minor.
    pub(crate) fn device(&self) -> (u32, u32) {
        let block = &self.base().block;
        let old = u16::from_le_bytes([block[0], block[1]]);
        if old != 0 {
            return (u32::from(old >> 8), u32::from(old & 0xFF));
        }
        let new = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
        (new >> 8 & 0xFFF, new & 0xFF | new >> 12 & 0xF_FF00)
    }

    /// Whether field `end` bytes into the extra part is there.
    fn has_extra(&self, end: u16) -> bool {
        self.extra_isize() >= end
    }

    /// Last read.
    pub(crate) fn atime(&self) -> SystemTime {
        let extra = self.extra().filter(|_| self.has_extra(16)).map_or(0, |x| x.atime_extra.get());
        time(self.base().atime.get(), extra)
    }

    /// Last change of the inode.
    pub(crate) fn ctime(&self) -> SystemTime {
        let extra = self.extra().filter(|_| self.has_extra(8)).map_or(0, |x| x.ctime_extra.get());
        time(self.base().ctime.get(), extra)
    }

    /// Last change of the content.
    pub(crate) fn mtime(&self) -> SystemTime {
        let extra = self.extra().filter(|_| self.has_extra(12)).map_or(0, |x| x.mtime_extra.get());
        time(self.base().mtime.get(), extra)
    }

    /// Creation, where the inode has room for it.
    pub(crate) fn crtime(&self) -> Option<SystemTime> {
        let extra = self.extra().filter(|_| self.has_extra(24))?;
        Some(time(extra.crtime.get(), extra.crtime_extra.get()))
    }

    /// The inode was changed at `now`, in Unix seconds.
    pub(crate) fn set_ctime(&mut self, now: i64) {
        let has = self.has_extra(8);
        let (lo, extra) = (seconds_where(now, has), seconds_extra(now));
        self.base_mut().ctime = lo.into();
        if let Some(x) = self.extra_mut().filter(|_| has) {
            x.ctime_extra = extra.into();
        }
    }

    /// The content was changed at `now`, in Unix seconds.
    pub(crate) fn set_mtime(&mut self, now: i64) {
        let has = self.has_extra(12);
        let (lo, extra) = (seconds_where(now, has), seconds_extra(now));
        self.base_mut().mtime = lo.into();
        if let Some(x) = self.extra_mut().filter(|_| has) {
            x.mtime_extra = extra.into();
        }
    }

    /// Whether times have room for nanoseconds, and for more than 32 bits of seconds.
    pub(crate) fn keeps_nanoseconds(&self) -> bool {
        self.has_extra(16)
    }

    /// Last read: seconds and nanoseconds. False, and nothing changed, where there is no room for the seconds.
    #[must_use]
    pub(crate) fn set_atime(&mut self, (seconds, nanoseconds): (i64, u32)) -> bool {
        let has = self.has_extra(16);
        if !seconds_fit(seconds, has) {
            return false;
        }
        self.base_mut().atime = seconds_lo(seconds).into();
        if let Some(x) = self.extra_mut().filter(|_| has) {
            x.atime_extra = (seconds_extra(seconds) | nanoseconds << 2).into();
        }
        true
    }

    /// Last change of the content: seconds and nanoseconds. False, and nothing changed, where there is no room for the
    /// seconds.
    #[must_use]
    pub(crate) fn set_mtime_exactly(&mut self, (seconds, nanoseconds): (i64, u32)) -> bool {
        let has = self.has_extra(12);
        if !seconds_fit(seconds, has) {
            return false;
        }
        self.base_mut().mtime = seconds_lo(seconds).into();
        if let Some(x) = self.extra_mut().filter(|_| has) {
            x.mtime_extra = (seconds_extra(seconds) | nanoseconds << 2).into();
        }
        true
    }

    /// Born at `now`, in Unix seconds: all four times.
    pub(crate) fn set_born(&mut self, now: i64) {
        self.set_ctime(now);
        self.set_mtime(now);
        let (lo, extra) = (seconds_lo(now), seconds_extra(now));
        let (has_atime, has_crtime) = (self.has_extra(16), self.has_extra(24));
        self.base_mut().atime = seconds_where(now, has_atime).into();
        if let Some(x) = self.extra_mut().filter(|_| has_atime) {
            x.atime_extra = extra.into();
        }
        if let Some(x) = self.extra_mut().filter(|_| has_crtime) {
            (x.crtime, x.crtime_extra) = (lo.into(), extra.into());
        }
    }

    /// Project, where the inode has room for it.
    pub(crate) fn projid(&self) -> Option<u32> {
        self.extra().filter(|_| self.has_extra(32)).map(|x| x.projid.get())
    }

    /// Store the project; without room, nothing.
    pub(crate) fn set_projid(&mut self, projid: u32) {
        let has = self.has_extra(32);
        if let Some(x) = self.extra_mut().filter(|_| has) {
            x.projid = projid.into();
        }
    }
}

/// Signed seconds, two more bits of them, and nanoseconds.
fn time(lo: u32, extra: u32) -> SystemTime {
    let seconds = i64::from(lo.cast_signed()) + (i64::from(extra & 3) << 32);
    let nanoseconds = Duration::from_nanos(u64::from(extra >> 2).min(999_999_999));
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
    base + nanoseconds
}

fn clamp(seconds: i64) -> i64 {
    // -2^31 to 2^34 - 2^31 is what 34 bits hold. But kernels before 3.14 wrote times before 1970 as if they were of 2310
    // to 2378, and e2fsck takes those for that.
    seconds.clamp(i64::from(i32::MIN), (2 << 32) + i64::from(i32::MAX))
}

fn seconds_fit(seconds: i64, has_extra: bool) -> bool {
    if has_extra { clamp(seconds) == seconds } else { i32::try_from(seconds).is_ok() }
}

fn seconds_lo(seconds: i64) -> u32 {
    let bytes = clamp(seconds).to_le_bytes();
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// The low half, where there may be no room for more bits: 2038 is then as late as it gets, and not 1901.
fn seconds_where(seconds: i64, has_extra: bool) -> u32 {
    seconds_lo(if has_extra { seconds } else { seconds.min(i32::MAX.into()) })
}

fn seconds_extra(seconds: i64) -> u32 {
    let lo = i64::from(seconds_lo(seconds).cast_signed());
    u32::try_from((clamp(seconds) - lo) >> 32 & 3).expect("two bits")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{seconds_extra, seconds_lo, time};

    // The table of the kernel's documentation: extra bits 0 with a negative low half are before 1970.
    #[test]
    fn two_bits_carry_times_past_2038() {
        for seconds in [-0x8000_0000, -1, 0, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x2_7FFF_FFFF] {
            let whole = Duration::from_secs(i64::unsigned_abs(seconds));
            let expected = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
            assert_eq!(time(seconds_lo(seconds), seconds_extra(seconds)), expected, "{seconds}");
        }
        assert_eq!(seconds_extra(0x8000_0000), 1);
    }
}
