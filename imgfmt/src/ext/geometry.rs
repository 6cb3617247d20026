//! The shape of a file system, checked once: past [`Geometry::new`] no divisor is zero and no block lies outside.
//!
//! ```text
//! 1 KiB blocks:  0 boot | 1 superblock | 2… group descriptors, room to grow | bitmaps, inode table | data | group 1 …
//! 4 KiB blocks:  0 boot and superblock | 1… group descriptors, …
//! ```
//! Backups of superblock and descriptors begin some of the other groups; an edit leaves them as the kernel does.

use std::num::NonZeroU32;

use crate::error::{Error, Result};
use crate::ext::checksum;
use crate::ext::feature::{Compat, Features, Incompat, RoCompat};
use crate::ext::nr::{BlockNr, GroupNr, InodeNr};
use crate::ext::ondisk::superblock::{self, Superblock};

/// How group descriptors are protected, and whether everything else is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksums {
    /// Not at all.
    None,
    /// `uninit_bg`: descriptors by CRC-16, nothing else.
    Crc16,
    /// `metadata_csum`: all metadata by CRC-32C.
    Crc32c,
}

/// What never changes in the life of a file system.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    /// Features that are on.
    pub(crate) features: Features,
    /// Bytes of a block: a power of two from 1,024 to 65,536.
    pub(crate) block_size: usize,
    /// Blocks of the volume, all of which it holds.
    pub(crate) block_count: u64,
    /// Bytes that are given out at once: a block, or more with `bigalloc`.
    pub(crate) cluster_size: u64,
    /// The block that group 0 begins with.
    pub(crate) first_data_block: u64,
    /// Blocks of each group but the last.
    pub(crate) blocks_per_group: NonZeroU32,
    /// Inodes of each group.
    pub(crate) inodes_per_group: NonZeroU32,
    /// Inodes of the file system.
    pub(crate) inode_count: u32,
    /// Bytes of an inode: a power of two, 128 at least, a block at most.
    pub(crate) inode_size: usize,
    /// The first inode that is not reserved.
    pub(crate) first_inode: u32,
    /// Bytes of a group descriptor: 32, or a power of two from 64.
    pub(crate) desc_size: usize,
    /// Groups.
    pub(crate) group_count: u32,
    /// What is protected by checksums.
    pub(crate) checksums: Checksums,
    /// Whether inodes carry checksums: those of other systems than Linux keep other things in their place.
    pub(crate) inode_csum: bool,
    /// The seed of all CRC-32C checksums.
    pub(crate) seed: u32,
    /// The volume's UUID.
    pub(crate) uuid: [u8; 16],
    /// The seed of directory hashes; all zero means the default.
    pub(crate) hash_seed: [u32; 4],
    /// Whether directory hashes take names as unsigned bytes.
    pub(crate) hash_unsigned: bool,
    /// The hash of new hashed directories.
    pub(crate) hash_version: u8,
    /// Length of `i_extra` in new inodes, in bytes.
    pub(crate) extra_isize: u16,
    /// Groups whose tables may lie together.
    pub(crate) groups_per_flex: u32,
    /// Blocks behind the descriptors that these may grow into.
    pub(crate) reserved_gdt_blocks: u64,
    first_meta_bg: u32,
    backup_groups: [u32; 2],
}

impl Geometry {
    /// Check a superblock against itself and against the `volume_len` bytes there are.
    pub(crate) fn new(sb: &Superblock, volume_len: u64) -> Result<Self> {
        if sb.magic.get() != superblock::MAGIC {
            return Err(bad(format!("magic number is {:#06x}, not 0xef53", sb.magic.get())));
        }
        if sb.rev_level.get() > 1 {
            return Err(Error::Unsupported(format!("ext revision {}", sb.rev_level.get())));
        }
        let features = Features::new(sb);
        features.check_readable()?;
        let log = sb.log_block_size.get();
        if log > 6 {
            return Err(bad(format!("block size is 1024 << {log}, more than 65536")));
        }
        let block_size = 1024_usize << log;
        let checksums = checksums(sb, features)?;
        let block_count = block_count(sb, features, block_size, volume_len)?;
        let first_data_block = first_data_block(sb, features, block_size, block_count)?;
        let inode_size = inode_size(sb, block_size)?;
        let desc_size = desc_size(sb, features)?;
        let (blocks_per_group, inodes_per_group) = per_group(sb, features, block_size)?;

        let group_count = (block_count - first_data_block).div_ceil(blocks_per_group.get().into());
        let inode_count = sb.inodes_count.get();
        if group_count.checked_mul(inodes_per_group.get().into()) != Some(inode_count.into()) {
            return Err(bad(format!(
                "{inode_count} inodes, but {group_count} groups of {inodes_per_group}"
            )));
        }
        let group_count =
            u32::try_from(group_count).map_err(|_| bad(format!("{group_count} groups")))?;
        let geometry = Self {
            features,
            block_size,
            block_count,
            cluster_size: match features.ro_compat.contains(RoCompat::BIGALLOC) {
                // per_group() refused absurd ones.
                true => 1024 << sb.log_cluster_size.get(),
                false => block_size as u64,
            },
            first_data_block,
            blocks_per_group,
            inodes_per_group,
            inode_count,
            inode_size,
            first_inode: if sb.rev_level.get() == 0 { 11 } else { sb.first_ino.get() },
            desc_size,
            group_count,
            checksums,
            inode_csum: checksums == Checksums::Crc32c
                && sb.creator_os.get() == superblock::OS_LINUX,
            seed: if features.incompat.contains(Incompat::METADATA_CSUM_SEED) {
                sb.checksum_seed.get()
            } else {
                checksum::crc32c(!0, &sb.uuid)
            },
            uuid: sb.uuid,
            hash_seed: sb.hash_seed.map(u32::from),
            hash_unsigned: sb.flags.get() & superblock::FLAG_UNSIGNED_HASH != 0,
            hash_version: sb.def_hash_version,
            extra_isize: extra_isize(sb, features, inode_size),
            groups_per_flex: match features.incompat.contains(Incompat::FLEX_BG) {
                // Only a hint of where tables lie; a nonsensical one must not make anything slow.
                true => 1 << sb.log_groups_per_flex.min(10),
                false => 1,
            },
            reserved_gdt_blocks: sb.reserved_gdt_blocks.get().into(),
            first_meta_bg: sb.first_meta_bg.get(),
            backup_groups: sb.backup_bgs.map(u32::from),
        };
        geometry.check_descriptors()?;
        Ok(geometry)
    }

    /// Descriptors and the room they have to grow must lie before the end of group 0.
    fn check_descriptors(&self) -> Result<()> {
        let len = self.base_meta_blocks(GroupNr(0));
        if len >= self.group_len(GroupNr(0)) {
            return Err(bad(format!("group descriptors fill all of group 0 ({len} blocks)")));
        }
        if self.first_inode < 11 || self.first_inode > self.inode_count {
            return Err(bad(format!("first inode is {}", self.first_inode)));
        }
        Ok(())
    }

    /// Whether all metadata carries CRC-32C checksums.
    pub(crate) fn has_metadata_csum(&self) -> bool {
        self.checksums == Checksums::Crc32c
    }

    /// Whether counts in superblock and descriptors have high halves.
    pub(crate) fn is_wide(&self) -> bool {
        self.features.incompat.contains(Incompat::WIDE)
    }

    /// Whether any of these features is on.
    pub(crate) fn has(&self, bit: RoCompat) -> bool {
        self.features.ro_compat.intersects(bit)
    }

    /// The block that holds the primary superblock.
    pub(crate) fn superblock_block(&self) -> BlockNr {
        BlockNr(u64::from(self.block_size == 1024))
    }

    /// The first block of a group.
    pub(crate) fn group_start(&self, group: GroupNr) -> u64 {
        self.first_data_block + u64::from(group.0) * u64::from(self.blocks_per_group.get())
    }

    /// Blocks of a group; the last one may be short.
    pub(crate) fn group_len(&self, group: GroupNr) -> u64 {
        (self.block_count - self.group_start(group)).min(self.blocks_per_group.get().into())
    }

    /// The group of a block and its index therein.
    pub(crate) fn group_of(&self, block: BlockNr) -> Result<(GroupNr, u32)> {
        self.check_block(block)?;
        let index = block.0 - self.first_data_block;
        let per_group = u64::from(self.blocks_per_group.get());
        let group = u32::try_from(index / per_group).expect("Geometry counted the groups");
        let index = u32::try_from(index % per_group).expect("less than a u32 divisor");
        Ok((GroupNr(group), index))
    }

    /// The group of an inode and its index therein.
    pub(crate) fn group_of_inode(&self, nr: InodeNr) -> Result<(GroupNr, u32)> {
        match nr.0.checked_sub(1) {
            Some(index) if nr.0 <= self.inode_count => {
                Ok((GroupNr(index / self.inodes_per_group), index % self.inodes_per_group))
            }
            _ => Err(Error::corrupt(format!(
                "inode {nr} does not exist (there are {})",
                self.inode_count
            ))),
        }
    }

    /// A block must lie in some group.
    pub(crate) fn check_block(&self, block: BlockNr) -> Result<()> {
        if block.0 < self.first_data_block {
            return Err(Error::corrupt(format!("block {block} lies before the first group")));
        }
        self.check_range(block, 1)
    }

    /// A run of blocks must lie in the groups, and not in superblock or descriptors.
    pub(crate) fn check_data(&self, block: BlockNr, count: u64) -> Result<()> {
        let (group, index) = self.group_of(block)?;
        self.check_range(block, count)?;
        if u64::from(index) < self.base_meta_blocks(group) {
            return Err(Error::corrupt(format!(
                "block {block} belongs to superblock or descriptors"
            )));
        }
        Ok(())
    }

    fn check_range(&self, block: BlockNr, count: u64) -> Result<()> {
        match block.0.checked_add(count) {
            Some(end) if end <= self.block_count => Ok(()),
            _ => Err(Error::corrupt(format!(
                "block {} lies past the end of the volume ({} blocks)",
                block.0.saturating_add(count.saturating_sub(1)),
                self.block_count
            ))),
        }
    }

    /// Where the descriptor of a group lies: its block, and the byte therein.
    pub(crate) fn desc_location(&self, group: GroupNr) -> (BlockNr, usize) {
        let per_block = self.descs_per_block();
        let index = group.0 / per_block;
        let offset = (group.0 % per_block) as usize * self.desc_size;
        if !self.is_meta_bg(group) {
            return (BlockNr(self.superblock_block().0 + 1 + u64::from(index)), offset);
        }
        let first = GroupNr(index * per_block);
        // With bigalloc and 1 KiB blocks group 0 begins at block 0 and its superblock is block 1.
        let boot = first.0 == 0 && self.block_size == 1024 && self.first_data_block == 0;
        let before = u64::from(self.has_superblock(first)) + u64::from(boot);
        (BlockNr(self.group_start(first) + before), offset)
    }

    /// Blocks at the start of a group that hold superblock, descriptors, and room for more of those.
    pub(crate) fn base_meta_blocks(&self, group: GroupNr) -> u64 {
        let superblock = u64::from(self.has_superblock(group));
        if self.is_meta_bg(group) {
            let in_meta = group.0 % self.descs_per_block();
            let holds = in_meta <= 1 || in_meta == self.descs_per_block() - 1;
            return superblock + u64::from(holds);
        }
        if superblock == 0 {
            return 0;
        }
        let all = u64::from(self.group_count.div_ceil(self.descs_per_block()));
        let blocks = match self.features.incompat.contains(Incompat::META_BG) {
            true => all.min(self.first_meta_bg.into()),
            false => all,
        };
        superblock + blocks + self.reserved_gdt_blocks
    }

    fn is_meta_bg(&self, group: GroupNr) -> bool {
        self.features.incompat.contains(Incompat::META_BG)
            && group.0 / self.descs_per_block() >= self.first_meta_bg
    }

    fn descs_per_block(&self) -> u32 {
        u32::try_from(self.block_size / self.desc_size).expect("64 KiB over 32")
    }

    /// Whether a group begins with a superblock.
    pub(crate) fn has_superblock(&self, group: GroupNr) -> bool {
        if group.0 == 0 {
            return true;
        }
        if self.features.compat.contains(Compat::SPARSE_SUPER2) {
            return self.backup_groups.contains(&group.0);
        }
        !self.has(RoCompat::SPARSE_SUPER)
            || group.0 == 1
            || [3, 5, 7].iter().any(|&base| is_power(group.0, base))
    }
}

/// Whether `n` is `base` to some power; 1 is.
fn is_power(n: u32, base: u32) -> bool {
    let mut power = 1_u64;
    while power < u64::from(n) {
        power *= u64::from(base);
    }
    power == u64::from(n)
}

fn bad(what: String) -> Error {
    Error::Corrupt(format!("ext superblock: {what}"))
}

fn checksums(sb: &Superblock, features: Features) -> Result<Checksums> {
    if features.ro_compat.contains(RoCompat::METADATA_CSUM) {
        if sb.checksum_type != 1 {
            return Err(Error::Unsupported(format!(
                "ext metadata checksums of type {}",
                sb.checksum_type
            )));
        }
        return Ok(Checksums::Crc32c);
    }
    Ok(match features.ro_compat.contains(RoCompat::UNINIT_BG) {
        true => Checksums::Crc16,
        false => Checksums::None,
    })
}

fn block_count(sb: &Superblock, features: Features, size: usize, volume_len: u64) -> Result<u64> {
    let count = sb.blocks_count(features.incompat.contains(Incompat::WIDE));
    let held = volume_len / size as u64;
    if count > held {
        return Err(Error::corrupt(format!(
            "file system has {count} blocks, the volume holds {held}"
        )));
    }
    Ok(count)
}

fn first_data_block(sb: &Superblock, features: Features, size: usize, count: u64) -> Result<u64> {
    let first = sb.first_data_block.get();
    let fits = match size {
        1024 => first == 1 || first == 0 && features.ro_compat.contains(RoCompat::BIGALLOC),
        _ => first == 0,
    };
    if !fits || u64::from(first) >= count {
        return Err(bad(format!("first data block is {first}")));
    }
    Ok(first.into())
}

fn inode_size(sb: &Superblock, block_size: usize) -> Result<usize> {
    let size = match sb.rev_level.get() {
        0 => 128,
        _ => usize::from(sb.inode_size.get()),
    };
    if !size.is_power_of_two() || !(128..=block_size).contains(&size) {
        return Err(bad(format!("inode size is {size}")));
    }
    Ok(size)
}

fn desc_size(sb: &Superblock, features: Features) -> Result<usize> {
    if !features.incompat.contains(Incompat::WIDE) {
        return Ok(32);
    }
    let size = usize::from(sb.desc_size.get());
    if !size.is_power_of_two() || !(64..=1024).contains(&size) {
        return Err(bad(format!("descriptor size is {size}")));
    }
    Ok(size)
}

fn per_group(
    sb: &Superblock,
    features: Features,
    block_size: usize,
) -> Result<(NonZeroU32, NonZeroU32)> {
    let bits = u32::try_from(block_size * 8).expect("64 KiB times 8");
    let cluster_log = sb.log_cluster_size.get();
    let ratio_log = match features.ro_compat.contains(RoCompat::BIGALLOC) {
        true => cluster_log.checked_sub(sb.log_block_size.get()).filter(|&log| log <= 20),
        false => Some(0),
    };
    let Some(ratio_log) = ratio_log else {
        return Err(bad(format!("cluster size is 1024 << {cluster_log}")));
    };
    let blocks = sb.blocks_per_group.get();
    let limit = u64::from(bits) << ratio_log;
    // Whole bytes, since a bitmap's checksum covers whole bytes.
    let blocks = NonZeroU32::new(blocks)
        .filter(|n| u64::from(n.get()) <= limit && n.get() % 8 == 0)
        .ok_or_else(|| bad(format!("{blocks} blocks per group")))?;
    let inodes = sb.inodes_per_group.get();
    let inodes = NonZeroU32::new(inodes)
        .filter(|n| n.get() <= bits && n.get() % 8 == 0)
        .ok_or_else(|| bad(format!("{inodes} inodes per group")))?;
    Ok((blocks, inodes))
}

fn extra_isize(sb: &Superblock, features: Features, inode_size: usize) -> u16 {
    use crate::ext::ondisk::inode::{BASE_LEN, EXTRA_LEN};
    let room = inode_size - BASE_LEN;
    if room < usize::from(EXTRA_LEN) {
        return 0;
    }
    let wanted = match features.ro_compat.contains(RoCompat::EXTRA_ISIZE) {
        true => EXTRA_LEN.max(sb.want_extra_isize.get()).max(sb.min_extra_isize.get()),
        false => EXTRA_LEN,
    };
    if usize::from(wanted) > room || wanted % 4 != 0 { EXTRA_LEN } else { wanted }
}

#[cfg(test)]
mod tests {
    use super::is_power;

    #[test]
    fn backups_lie_in_powers_of_three_five_and_seven() {
        let groups: Vec<u32> =
            (2..130).filter(|&g| [3, 5, 7].iter().any(|&b| is_power(g, b))).collect();
        assert_eq!(groups, [3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }
}
