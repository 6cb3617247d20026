//! The superblock: 1,024 bytes at byte 1,024 of the volume, whatever the block size.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Where the primary superblock begins, in bytes from the start of the volume.
pub(crate) const OFFSET: u64 = 1024;
/// `s_magic`.
pub(crate) const MAGIC: u16 = 0xEF53;
/// `s_state`: unmounted cleanly.
pub(crate) const STATE_VALID: u16 = 1;
/// `s_state`: the kernel met an error.
pub(crate) const STATE_ERROR: u16 = 2;
/// `s_flags`: names are hashed as unsigned bytes.
pub(crate) const FLAG_UNSIGNED_HASH: u32 = 2;
/// `s_flags`: names are hashed as signed bytes.
pub(crate) const FLAG_SIGNED_HASH: u32 = 1;
/// `s_creator_os`: Linux.
pub(crate) const OS_LINUX: u32 = 0;
/// `s_creator_os`: GNU Hurd, whose inodes keep other things in their last twelve bytes.
pub(crate) const OS_HURD: u32 = 1;

/// `struct ext4_super_block`.
#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Superblock {
    pub(crate) inodes_count: U32,
    blocks_count_lo: U32,
    r_blocks_count_lo: U32,
    free_blocks_count_lo: U32,
    pub(crate) free_inodes_count: U32,
    pub(crate) first_data_block: U32,
    pub(crate) log_block_size: U32,
    pub(crate) log_cluster_size: U32,
    pub(crate) blocks_per_group: U32,
    pub(crate) clusters_per_group: U32,
    pub(crate) inodes_per_group: U32,
    mtime: U32,
    pub(crate) wtime: U32,
    pub(crate) mnt_count: U16,
    pub(crate) max_mnt_count: U16,
    pub(crate) magic: U16,
    pub(crate) state: U16,
    pub(crate) errors: U16,
    minor_rev_level: U16,
    pub(crate) lastcheck: U32,
    checkinterval: U32,
    pub(crate) creator_os: U32,
    pub(crate) rev_level: U32,
    def_resuid: U16,
    def_resgid: U16,
    pub(crate) first_ino: U32,
    pub(crate) inode_size: U16,
    pub(crate) block_group_nr: U16,
    pub(crate) feature_compat: U32,
    pub(crate) feature_incompat: U32,
    pub(crate) feature_ro_compat: U32,
    pub(crate) uuid: [u8; 16],
    pub(crate) volume_name: [u8; 16],
    pub(crate) last_mounted: [u8; 64],
    algorithm_usage_bitmap: U32,
    prealloc_blocks: u8,
    prealloc_dir_blocks: u8,
    pub(crate) reserved_gdt_blocks: U16,
    pub(crate) journal_uuid: [u8; 16],
    pub(crate) journal_inum: U32,
    pub(crate) journal_dev: U32,
    pub(crate) last_orphan: U32,
    pub(crate) hash_seed: [U32; 4],
    pub(crate) def_hash_version: u8,
    pub(crate) jnl_backup_type: u8,
    pub(crate) desc_size: U16,
    pub(crate) default_mount_opts: U32,
    pub(crate) first_meta_bg: U32,
    pub(crate) mkfs_time: U32,
    pub(crate) jnl_blocks: [U32; 17],
    blocks_count_hi: U32,
    r_blocks_count_hi: U32,
    free_blocks_count_hi: U32,
    pub(crate) min_extra_isize: U16,
    pub(crate) want_extra_isize: U16,
    pub(crate) flags: U32,
    pub(crate) raid_stride: U16,
    mmp_update_interval: U16,
    pub(crate) mmp_block: U64,
    pub(crate) raid_stripe_width: U32,
    pub(crate) log_groups_per_flex: u8,
    pub(crate) checksum_type: u8,
    encryption_level: u8,
    reserved_pad: u8,
    kbytes_written: U64,
    snapshot: [u8; 20],
    error_count: U32,
    error_records: [u8; 104],
    mount_opts: [u8; 64],
    pub(crate) usr_quota_inum: U32,
    pub(crate) grp_quota_inum: U32,
    pub(crate) overhead_blocks: U32,
    pub(crate) backup_bgs: [U32; 2],
    encrypt_algos: [u8; 4],
    encrypt_pw_salt: [u8; 16],
    lpf_ino: U32,
    pub(crate) prj_quota_inum: U32,
    pub(crate) checksum_seed: U32,
    wtime_hi: u8,
    pub(crate) times_hi: [u8; 7],
    encoding: U16,
    encoding_flags: U16,
    pub(crate) orphan_file_inum: U32,
    reserved: [u8; 376],
    pub(crate) checksum: U32,
}

const _: () = assert!(size_of::<Superblock>() == 1024);

impl Superblock {
    /// Blocks of the file system; the high half counts only where `64bit` is on.
    pub(crate) fn blocks_count(&self, wide: bool) -> u64 {
        join(self.blocks_count_lo, self.blocks_count_hi, wide)
    }

    /// Free blocks.
    pub(crate) fn free_blocks_count(&self, wide: bool) -> u64 {
        join(self.free_blocks_count_lo, self.free_blocks_count_hi, wide)
    }

    /// Store the number of blocks; the high half is written where `64bit` is on.
    pub(crate) fn set_blocks_count(&mut self, count: u64, wide: bool) {
        split(count, wide, &mut self.blocks_count_lo, &mut self.blocks_count_hi);
    }

    /// Store the number of blocks that only the administrator may take.
    pub(crate) fn set_reserved_blocks_count(&mut self, count: u64, wide: bool) {
        split(count, wide, &mut self.r_blocks_count_lo, &mut self.r_blocks_count_hi);
    }

    /// Store the number of free blocks.
    pub(crate) fn set_free_blocks_count(&mut self, count: u64, wide: bool) {
        split(count, wide, &mut self.free_blocks_count_lo, &mut self.free_blocks_count_hi);
    }

    /// Blocks that only the administrator may take.
    pub(crate) fn reserved_blocks_count(&self, wide: bool) -> u64 {
        join(self.r_blocks_count_lo, self.r_blocks_count_hi, wide)
    }

    /// Take over what `home` says of errors: the kernel writes that without the journal.
    pub(crate) fn keep_errors_of(&mut self, home: &Self) {
        self.state = (self.state.get() | home.state.get() & STATE_ERROR).into();
        self.error_count = home.error_count;
        self.error_records = home.error_records;
    }

    /// Whether this is `other` but for what descriptors say as well, how much is free, and for the time of the last write: the
    /// kernel keeps these right at unmount alone, and counts anew after a crash.
    pub(crate) fn differs_in_counts_alone(&self, other: &Self) -> bool {
        let mut same = other.clone();
        same.free_blocks_count_lo = self.free_blocks_count_lo;
        same.free_blocks_count_hi = self.free_blocks_count_hi;
        same.free_inodes_count = self.free_inodes_count;
        (same.wtime, same.wtime_hi) = (self.wtime, self.wtime_hi);
        same.checksum = self.checksum;
        same.as_bytes() == self.as_bytes()
    }

    /// Time of the last mount, in Unix seconds; 0 where there was none.
    pub(crate) fn mtime(&self) -> i64 {
        i64::from(self.mtime.get()) | i64::from(self.times_hi[0]) << 32
    }

    /// When it was made, in Unix seconds; 0 where that was not noted.
    pub(crate) fn mkfs_time(&self) -> i64 {
        i64::from(self.mkfs_time.get()) | i64::from(self.times_hi[1]) << 32
    }

    /// Time of the last write, in Unix seconds.
    pub(crate) fn wtime(&self) -> i64 {
        i64::from(self.wtime.get()) | i64::from(self.wtime_hi) << 32
    }

    /// Time of the last write, in Unix seconds; 40 bits of it are kept.
    pub(crate) fn set_wtime(&mut self, seconds: i64) {
        let bytes = seconds.max(0).to_le_bytes();
        self.wtime = U32::from_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        self.wtime_hi = bytes[4];
    }
}

fn split(count: u64, wide: bool, lo: &mut U32, hi: &mut U32) {
    let bytes = count.to_le_bytes();
    *lo = U32::from_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    if wide {
        *hi = U32::from_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    }
}

fn join(lo: U32, hi: U32, wide: bool) -> u64 {
    u64::from(lo.get()) | if wide { u64::from(hi.get()) << 32 } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::Superblock;

    // Offsets as the kernel's documentation lists them (Documentation/filesystems/ext4/super.rst).
    #[test]
    fn fields_lie_where_the_documentation_puts_them() {
        assert_eq!(offset_of!(Superblock, magic), 0x38);
        assert_eq!(offset_of!(Superblock, uuid), 0x68);
        assert_eq!(offset_of!(Superblock, reserved_gdt_blocks), 0xCE);
        assert_eq!(offset_of!(Superblock, hash_seed), 0xEC);
        assert_eq!(offset_of!(Superblock, desc_size), 0xFE);
        assert_eq!(offset_of!(Superblock, first_meta_bg), 0x104);
        assert_eq!(offset_of!(Superblock, blocks_count_hi), 0x150);
        assert_eq!(offset_of!(Superblock, flags), 0x160);
        assert_eq!(offset_of!(Superblock, log_groups_per_flex), 0x174);
        assert_eq!(offset_of!(Superblock, error_count), 0x194);
        assert_eq!(offset_of!(Superblock, mount_opts), 0x200);
        assert_eq!(offset_of!(Superblock, backup_bgs), 0x24C);
        assert_eq!(offset_of!(Superblock, checksum_seed), 0x270);
        assert_eq!(offset_of!(Superblock, wtime_hi), 0x274);
        assert_eq!(offset_of!(Superblock, checksum), 0x3FC);
    }
}
