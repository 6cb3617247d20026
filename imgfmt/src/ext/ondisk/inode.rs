//! An inode: 128 bytes, and with larger inodes up to 32 more whose number stands in their first field.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of the part that every inode has, in bytes.
pub(crate) const BASE_LEN: usize = 128;
/// Length of the part behind it that the kernel knows today, in bytes.
pub(crate) const EXTRA_LEN: u16 = 32;

/// Length of `i_block`, in bytes.
pub(crate) const BLOCK_LEN: usize = 60;

/// `i_flags`, those that matter here.
pub(crate) mod flag {
    /// Overwritten when deleted; kept for undeletion; compressed (none of them by anybody).
    const UNUSED: u32 = 0x7;
    /// Written synchronously.
    const SYNC: u32 = 0x8;
    /// Neither changed, renamed, linked nor removed, not even by root.
    pub(crate) const IMMUTABLE: u32 = 0x10;
    /// Content only grows; of a directory, names are only added.
    pub(crate) const APPEND: u32 = 0x20;
    /// Not dumped.
    const NODUMP: u32 = 0x40;
    /// Access times are not kept.
    const NOATIME: u32 = 0x80;
    /// Not compressed.
    const NOCOMPR: u32 = 0x400;
    /// Encrypted content or names.
    pub(crate) const ENCRYPT: u32 = 0x800;
    /// A directory with a hash tree.
    pub(crate) const INDEX: u32 = 0x1000;
    /// A directory of AFS (`imagic_inodes`).
    pub(crate) const IMAGIC: u32 = 0x2000;
    /// Content goes through the journal.
    const JOURNAL_DATA: u32 = 0x4000;
    /// Tails are not merged.
    const NOTAIL: u32 = 0x8000;
    /// Entries are written synchronously.
    const DIRSYNC: u32 = 0x1_0000;
    /// `i_blocks` counts blocks, not sectors.
    pub(crate) const HUGE_FILE: u32 = 0x4_0000;
    /// Mapped by extents.
    pub(crate) const EXTENTS: u32 = 0x8_0000;
    /// Under fs-verity: never written.
    pub(crate) const VERITY: u32 = 0x10_0000;
    /// Holds a large extended attribute of another inode.
    pub(crate) const EA_INODE: u32 = 0x20_0000;
    /// Blocks were allocated past the end (older kernels).
    pub(crate) const EOFBLOCKS: u32 = 0x40_0000;
    /// Content in the inode.
    pub(crate) const INLINE_DATA: u32 = 0x1000_0000;
    /// Children take the project of this directory.
    pub(crate) const PROJINHERIT: u32 = 0x2000_0000;
    /// Names are compared without case.
    pub(crate) const CASEFOLD: u32 = 0x4000_0000;

    /// What a new file takes from its directory (`EXT4_FL_INHERITED`, `EXT4_REG_FLMASK`).
    pub(crate) const INHERITED_BY_FILES: u32 =
        UNUSED | SYNC | NODUMP | NOATIME | NOCOMPR | JOURNAL_DATA | NOTAIL;
    /// What a new directory takes.
    pub(crate) const INHERITED_BY_DIRS: u32 = INHERITED_BY_FILES | DIRSYNC | PROJINHERIT;
    /// What a new link, device, pipe or socket takes (`EXT4_OTHER_FLMASK`).
    pub(crate) const INHERITED_BY_OTHERS: u32 = NODUMP | NOATIME;
}

/// `struct ext4_inode`, the first 128 bytes.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Inode {
    pub(crate) mode: U16,
    pub(crate) uid: U16,
    pub(crate) size_lo: U32,
    pub(crate) atime: U32,
    pub(crate) ctime: U32,
    pub(crate) mtime: U32,
    pub(crate) dtime: U32,
    pub(crate) gid: U16,
    pub(crate) links_count: U16,
    pub(crate) blocks_lo: U32,
    pub(crate) flags: U32,
    pub(crate) version: U32,
    pub(crate) block: [u8; BLOCK_LEN],
    pub(crate) generation: U32,
    pub(crate) file_acl_lo: U32,
    pub(crate) size_high: U32,
    pub(crate) obso_faddr: U32,
    pub(crate) blocks_high: U16,
    pub(crate) file_acl_high: U16,
    pub(crate) uid_high: U16,
    pub(crate) gid_high: U16,
    pub(crate) checksum_lo: U16,
    reserved: U16,
}

const _: () = assert!(size_of::<Inode>() == BASE_LEN);
const _: () = assert!(std::mem::offset_of!(Inode, checksum_lo) == 0x7C);

/// `struct ext4_inode`, what follows in larger inodes; only its first `extra_isize` bytes hold.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct InodeExtra {
    pub(crate) extra_isize: U16,
    pub(crate) checksum_hi: U16,
    pub(crate) ctime_extra: U32,
    pub(crate) mtime_extra: U32,
    pub(crate) atime_extra: U32,
    pub(crate) crtime: U32,
    pub(crate) crtime_extra: U32,
    version_hi: U32,
    pub(crate) projid: U32,
}

const _: () = assert!(size_of::<InodeExtra>() == EXTRA_LEN as usize);
