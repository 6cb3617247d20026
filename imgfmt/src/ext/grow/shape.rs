//! What a larger file system is to be: its counts, and where its descriptors go. Nothing is written here.
//!
//! A block of descriptors is full at 128, 64 or 32 groups of the usual sizes. Where one more is needed there are three ways:
//!
//! ```text
//! resize_inode   the blocks behind the descriptors, kept for this in every group with a backup      until they are used up
//! meta_bg        each 64 groups keep their own descriptors, in their first, second and last group   without end
//! neither        one of ext4 turns meta_bg on (as the kernel does since 3.7); ext2 and ext3 end here
//! ```
//! A file system that old kernels know is not given a feature that they do not know.

use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::feature::{Compat, Incompat, RoCompat};
use crate::ext::fs::Fs;
use crate::ext::geometry::Geometry;
use crate::ext::nr::GroupNr;
use crate::ext::ondisk::superblock::Superblock;
use crate::ext::space::group::table_len;
use crate::storage::Storage;

/// A group that is given away without regret: it has fewer blocks than this left for files.
const LEAST_FREE: u64 = 50;

/// A larger file system.
#[derive(Clone)]
pub(super) struct Shape {
    /// Its superblock, the counts of what is free still as they were.
    pub(super) superblock: Superblock,
    pub(super) geometry: Geometry,
    /// Whether `meta_bg` is turned on, and `resize_inode` off.
    pub(super) switches_to_meta_bg: bool,
}

/// Blocks that descriptors take without `meta_bg`.
pub(super) fn desc_blocks(geometry: &Geometry, superblock: &Superblock) -> u32 {
    let all = geometry.group_count.div_ceil(descs_per_block(geometry));
    match geometry.features.incompat.contains(Incompat::META_BG) {
        true => all.min(superblock.first_meta_bg.get()),
        false => all,
    }
}

/// Descriptors in a block.
pub(super) fn descs_per_block(geometry: &Geometry) -> u32 {
    u32::try_from(geometry.block_size / geometry.desc_size).expect("64 KiB over 32")
}

/// The file system with `wanted` blocks, or a few less where its last group would be too short; `None` where nothing is
/// left of the growth.
///
/// # Errors
/// [`Error::Unsupported`] where it cannot get that large, with how large it can get; [`Error::NoSpace`] where the volume
/// is too short.
pub(super) fn enlarge(fs: &Fs<'_>, superblock: &Superblock, wanted: u64) -> Result<Option<Shape>> {
    let old = fs.geometry();
    let held = fs.volume().len() / old.block_size as u64;
    if wanted > held {
        return Err(Error::NoSpace(format!("{wanted} blocks wanted, the volume holds {held}")));
    }
    if wanted < old.block_count {
        return Err(Error::Unsupported(format!(
            "an ext file system of {} blocks cannot be made smaller ({wanted} blocks)",
            old.block_count
        )));
    }
    check_kinds(old, superblock)?;
    let shape = build(fs, superblock, wanted)?;
    let last = GroupNr(shape.geometry.group_count - 1);
    let own = shape.geometry.base_meta_blocks(last) + 2 + table_len(&shape.geometry);
    let len = shape.geometry.group_len(last);
    let is_short = shape.geometry.group_count > old.group_count && len < own + LEAST_FREE;
    let is_whole = len == u64::from(old.blocks_per_group.get());
    let shape = match is_short && !is_whole {
        true => build(fs, superblock, wanted - len)?,
        false => shape,
    };
    Ok((shape.geometry.block_count > old.block_count).then_some(shape))
}

/// What contradicts itself, and what nobody knows how to enlarge.
fn check_kinds(old: &Geometry, superblock: &Superblock) -> Result<()> {
    let refused = |what: &str| Err(Error::Unsupported(format!("an ext file system {what}")));
    let has_meta_bg = old.features.incompat.contains(Incompat::META_BG);
    let has_resize = old.features.compat.contains(Compat::RESIZE_INODE);
    if has_meta_bg && has_resize {
        return refused("with both `meta_bg` and `resize_inode` cannot be enlarged");
    }
    if has_resize && !old.has(RoCompat::SPARSE_SUPER) {
        return refused("with `resize_inode` and without `sparse_super` cannot be enlarged");
    }
    let blocks = old.group_count.div_ceil(descs_per_block(old));
    if has_meta_bg && superblock.first_meta_bg.get() > blocks {
        return refused("whose `s_first_meta_bg` lies behind its descriptors cannot be enlarged");
    }
    Ok(())
}

/// How large it can get, in blocks, and what stands against more.
fn limit(old: &Geometry) -> (u64, &'static str) {
    let mut limit = (u64::MAX, "");
    let mut at_most = |blocks: u64, why| {
        if blocks < limit.0 {
            limit = (blocks, why);
        }
    };
    let has_resize = old.features.compat.contains(Compat::RESIZE_INODE);
    let until = |groups: u64| {
        let blocks = groups.checked_mul(old.blocks_per_group.get().into());
        blocks.and_then(|b| b.checked_add(old.first_data_block)).unwrap_or(u64::MAX)
    };
    if !old.is_wide() {
        at_most(u32::MAX.into(), "without `64bit` it numbers no more blocks");
    }
    at_most(until((u32::MAX / old.inodes_per_group).into()), "it numbers no more inodes");
    let has_meta_bg = old.features.incompat.contains(Incompat::META_BG);
    let (groups, _) = desc_room(old);
    if !has_meta_bg && !may_switch(old) {
        let why = match has_resize {
            true => "no more room is kept for its group descriptors (`resize_inode`)",
            false => "there is no more room for its group descriptors (no `resize_inode`)",
        };
        at_most(until(groups), why);
    }
    if has_resize && until(groups) > u32::MAX.into() {
        at_most(u32::MAX.into(), "`resize_inode` numbers no more blocks");
    }
    limit
}

/// Groups whose descriptors have a place without `meta_bg`, and blocks of the reserve.
fn desc_room(old: &Geometry) -> (u64, u64) {
    let per_block = descs_per_block(old);
    let reserve = match old.features.compat.contains(Compat::RESIZE_INODE) {
        true => old.reserved_gdt_blocks,
        false => 0,
    };
    let blocks = u64::from(old.group_count.div_ceil(per_block)) + reserve;
    (blocks * u64::from(per_block), reserve)
}

/// Whether only kernels that know `meta_bg` know it anyway.
fn may_switch(old: &Geometry) -> bool {
    let today = Incompat::EXTENT | Incompat::FLEX_BG | Incompat::WIDE;
    old.features.incompat.intersects(today)
}

fn build(fs: &Fs<'_>, superblock: &Superblock, blocks: u64) -> Result<Shape> {
    let old = fs.geometry();
    let (limit, why) = limit(old);
    if blocks > limit {
        return Err(Error::Unsupported(format!(
            "the ext file system can be enlarged to {limit} blocks of {} bytes at most: {why}",
            old.block_size
        )));
    }
    let mut new = superblock.clone();
    let wide = old.is_wide();
    let groups = (blocks - old.first_data_block).div_ceil(old.blocks_per_group.get().into());
    let groups = u32::try_from(groups).expect("each has inodes, which were counted");
    new.set_blocks_count(blocks, wide);
    new.inodes_count = (groups * old.inodes_per_group.get()).into();
    // The share that only the administrator may take stays.
    let reserved = u128::from(superblock.reserved_blocks_count(wide)) * u128::from(blocks)
        / u128::from(old.block_count);
    new.set_reserved_blocks_count(u64::try_from(reserved).unwrap_or(blocks), wide);
    let switches_to_meta_bg = place_descriptors(old, &mut new, groups);
    place_backups(old, &mut new, groups);
    let geometry = Geometry::new(&new, fs.volume().len())?;
    Ok(Shape { superblock: new, geometry, switches_to_meta_bg })
}

/// Take what `groups` need from the reserve, or turn `meta_bg` on.
fn place_descriptors(old: &Geometry, new: &mut Superblock, groups: u32) -> bool {
    if old.features.incompat.contains(Incompat::META_BG) {
        return false;
    }
    let per_block = descs_per_block(old);
    let (before, needed) = (old.group_count.div_ceil(per_block), groups.div_ceil(per_block));
    let (room, reserve) = desc_room(old);
    if u64::from(groups) <= room {
        if reserve > 0 {
            let left = reserve - u64::from(needed - before);
            new.reserved_gdt_blocks = u16::try_from(left).expect("less than it was").into();
        }
        return false;
    }
    new.feature_incompat = (new.feature_incompat.get() | Incompat::META_BG.bits()).into();
    let first = before + u32::try_from(reserve).expect("16 bits of the superblock");
    new.first_meta_bg = first.into();
    if old.features.compat.contains(Compat::RESIZE_INODE) {
        new.feature_compat = (new.feature_compat.get() & !Compat::RESIZE_INODE.bits()).into();
        new.reserved_gdt_blocks = 0.into();
    }
    true
}

/// With `sparse_super2`, backups that had no group to lie in get one: the second, and the last. With `meta_bg` they stay
/// as they are, since a superblock moves the descriptors behind it.
fn place_backups(old: &Geometry, new: &mut Superblock, groups: u32) {
    if !old.features.compat.contains(Compat::SPARSE_SUPER2)
        || new.feature_incompat.get() & Incompat::META_BG.bits() != 0
    {
        return;
    }
    if old.group_count == 1 && groups > 1 && new.backup_bgs[0].get() == 0 {
        new.backup_bgs[0] = 1.into();
    }
    if groups > old.group_count.max(2) && new.backup_bgs[1].get() == 0 && old.group_count <= 2 {
        new.backup_bgs[1] = (groups - 1).into();
    }
}
