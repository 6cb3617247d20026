//! The superblock of a new file system, but for what is counted at the end: free blocks and inodes.

use zerocopy::FromZeros;

use crate::error::{Error, Result};
use crate::ext::checksum;
use crate::ext::feature::{Incompat, RoCompat};
use crate::ext::mkfs::derive;
use crate::ext::mkfs::options::Options;
use crate::ext::mkfs::shape::{FIRST_INODE, LOG_GROUPS_PER_FLEX, Shape};
use crate::ext::ondisk::inode::{BASE_LEN, EXTRA_LEN};
use crate::ext::ondisk::superblock::{FLAG_SIGNED_HASH, MAGIC, STATE_VALID, Superblock};

/// `s_errors`: go on.
const ERRORS_CONTINUE: u16 = 1;
/// `s_def_hash_version`: half MD4.
const HASH_HALF_MD4: u8 = 1;
/// `s_default_mount_opts`: `user_xattr` and `acl`.
const DEFAULT_MOUNT_OPTS: u32 = 0x4 | 0x8;
/// `s_checksum_type`: CRC-32C.
const CHECKSUM_CRC32C: u8 = 1;

/// The superblock of a file system of this shape.
pub(super) fn superblock(shape: &Shape, options: &Options) -> Result<Superblock> {
    let mut sb = Superblock::new_zeroed();
    let wide = shape.features.incompat.contains(Incompat::WIDE);
    set_sizes(&mut sb, shape, wide);
    set_identity(&mut sb, shape, options)?;
    set_times(&mut sb, options.time);
    if options.reserved_percent > 50 {
        return Err(Error::Unsupported(format!(
            "{} % of the blocks for root: 50 are the most",
            options.reserved_percent
        )));
    }
    let reserved = u128::from(shape.block_count) * u128::from(options.reserved_percent) / 100;
    sb.set_reserved_blocks_count(u64::try_from(reserved).expect("half of 48 bits"), wide);
    sb.raid_stride = options.stride.into();
    sb.raid_stripe_width = options.stripe_width.into();
    Ok(sb)
}

fn set_sizes(sb: &mut Superblock, shape: &Shape, wide: bool) {
    let narrow = |count: u64| u32::try_from(count).expect("Shape keeps to 32 bits");
    let log = shape.block_size.trailing_zeros() - 10;
    sb.set_blocks_count(shape.block_count, wide);
    sb.inodes_count = narrow(shape.inodes_per_group * shape.group_count).into();
    sb.first_data_block = narrow(shape.first_data_block).into();
    sb.log_block_size = log.into();
    // Clusters are blocks: there is no `bigalloc`.
    sb.log_cluster_size = log.into();
    sb.blocks_per_group = narrow(shape.blocks_per_group).into();
    sb.clusters_per_group = narrow(shape.blocks_per_group).into();
    sb.inodes_per_group = narrow(shape.inodes_per_group).into();
    sb.first_ino = FIRST_INODE.into();
    sb.inode_size = u16::try_from(shape.inode_size).expect("a block at most").into();
    sb.desc_size = if wide { 64 } else { 0 }.into();
    sb.reserved_gdt_blocks =
        u16::try_from(shape.reserved_gdt_blocks).expect("a quarter of a block at most").into();
    sb.backup_bgs = shape.backup_groups().map(Into::into);
    if shape.features.incompat.contains(Incompat::FLEX_BG) {
        sb.log_groups_per_flex = LOG_GROUPS_PER_FLEX;
    }
    if shape.inode_size >= (BASE_LEN + usize::from(EXTRA_LEN)) as u64 {
        sb.min_extra_isize = EXTRA_LEN.into();
        sb.want_extra_isize = EXTRA_LEN.into();
    }
}

fn set_identity(sb: &mut Superblock, shape: &Shape, options: &Options) -> Result<()> {
    let label = options.label.as_bytes();
    if label.len() > sb.volume_name.len() || label.contains(&0) {
        return Err(Error::Unsupported(format!(
            "`{}` as the label of an ext file system: 16 bytes are the most",
            options.label.escape_debug()
        )));
    }
    sb.volume_name[..label.len()].copy_from_slice(label);
    sb.magic = MAGIC.into();
    sb.rev_level = 1.into();
    sb.state = STATE_VALID.into();
    sb.errors = ERRORS_CONTINUE.into();
    // Minus one: never checked for the number of its mounts.
    sb.max_mnt_count = u16::MAX.into();
    sb.feature_compat = shape.features.compat.bits().into();
    sb.feature_incompat = shape.features.incompat.bits().into();
    sb.feature_ro_compat = shape.features.ro_compat.bits().into();
    sb.uuid = options.uuid.unwrap_or_else(|| derive::uuid("ext volume", &options.seed));
    let hash_seed =
        options.hash_seed.unwrap_or_else(|| derive::uuid("ext hash seed", &options.seed));
    let words = hash_seed.as_chunks::<4>().0;
    for (word, bytes) in sb.hash_seed.iter_mut().zip(words) {
        *word = u32::from_le_bytes(*bytes).into();
    }
    sb.def_hash_version = HASH_HALF_MD4;
    sb.flags = FLAG_SIGNED_HASH.into();
    sb.default_mount_opts = DEFAULT_MOUNT_OPTS.into();
    if shape.features.ro_compat.contains(RoCompat::METADATA_CSUM) {
        sb.checksum_type = CHECKSUM_CRC32C;
    }
    if shape.features.incompat.contains(Incompat::METADATA_CSUM_SEED) {
        sb.checksum_seed = checksum::crc32c(!0, &sb.uuid).into();
    }
    Ok(())
}

/// Made, written and checked at the same time; of each 40 bits are kept.
fn set_times(sb: &mut Superblock, time: i64) {
    sb.set_wtime(time);
    let bytes = time.max(0).to_le_bytes();
    let low = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    sb.mkfs_time = low.into();
    sb.lastcheck = low.into();
    // s_mtime_hi, s_mkfs_time_hi, s_lastcheck_hi.
    sb.times_hi[1] = bytes[4];
    sb.times_hi[2] = bytes[4];
}
