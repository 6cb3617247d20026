//! Where bitmaps and inode tables lie.
//!
//! Without `flex_bg` each group has its own, behind superblock and descriptors if it has those. With it, the first of 16
//! groups has all of theirs, kind by kind; where that runs into the descriptors of a later group it goes on behind them.
//!
//! ```text
//! 4 KiB blocks, 8,192 inodes of 256 bytes:   super 0, descriptors 1–256 │ 257–272 │ 273–288 │ 289–800, 801–1312 …
//! ```

use crate::error::{Error, Result};
use crate::ext::feature::Incompat;
use crate::ext::geometry::Geometry;
use crate::ext::mkfs::layout::Tables;
use crate::ext::mkfs::runs::{Run, RunSet};
use crate::ext::nr::GroupNr;

/// Blocks of a group's inode table.
pub(super) fn table_blocks(geometry: &Geometry) -> u64 {
    let bytes = u64::from(geometry.inodes_per_group.get()) * geometry.inode_size as u64;
    bytes.div_ceil(geometry.block_size as u64)
}

/// Superblocks and descriptors with their room to grow, of all groups.
pub(super) fn superblocks(geometry: &Geometry) -> RunSet {
    let mut used = RunSet::default();
    // With blocks of 1 KiB the first one belongs to no group, and still to nobody else.
    used.insert(Run { start: 0, len: 1 });
    for group in (0..geometry.group_count).map(GroupNr) {
        let len = geometry.base_meta_blocks(group).min(geometry.group_len(group));
        used.insert(Run { start: geometry.group_start(group), len });
    }
    used
}

/// Place the tables of all groups, and mark them in `used`.
pub(super) fn tables(geometry: &Geometry, used: &mut RunSet) -> Result<Vec<Tables>> {
    let flex = match geometry.features.incompat.contains(Incompat::FLEX_BG) {
        true => geometry.groups_per_flex,
        false => 1,
    };
    let mut all = Vec::with_capacity(geometry.group_count as usize);
    let mut first = 0;
    while first < geometry.group_count {
        let count = flex.min(geometry.group_count - first);
        place(geometry, used, first, count, &mut all)?;
        first += count;
    }
    Ok(all)
}

/// Place the tables of all groups behind `goal`, kind by kind: with `flex_bg` they may be anywhere.
pub(super) fn tables_behind(
    geometry: &Geometry,
    used: &mut RunSet,
    goal: u64,
) -> Result<Vec<Tables>> {
    let count = geometry.group_count;
    let mut all = Vec::with_capacity(count as usize);
    place_in(geometry, used, (goal, geometry.block_count), (0, count), &mut all)?;
    Ok(all)
}

/// Place those of `count` groups from `first` on.
fn place(
    geometry: &Geometry,
    used: &mut RunSet,
    first: u32,
    count: u32,
    all: &mut Vec<Tables>,
) -> Result<()> {
    let start = geometry.group_start(GroupNr(first));
    let last = GroupNr(first + count - 1);
    let end = geometry.group_start(last) + geometry.group_len(last);
    place_in(geometry, used, (start, end), (first, count), all)
}

/// Place those of some groups between `start` and `end`.
fn place_in(
    geometry: &Geometry,
    used: &mut RunSet,
    (start, end): (u64, u64),
    (first, count): (u32, u32),
    all: &mut Vec<Tables>,
) -> Result<()> {
    let blocks = table_blocks(geometry);
    let mut goal = start;
    let mut take = |len| -> Result<u64> {
        let at = used.gap_of(len, goal, end).or_else(|| used.gap_of(len, start, end));
        let at = at.ok_or_else(|| no_room(geometry, first, blocks))?;
        used.insert(Run { start: at, len });
        goal = at + len;
        Ok(at)
    };
    let block_bitmaps = (0..count).map(|_| take(1)).collect::<Result<Vec<_>>>()?;
    let inode_bitmaps = (0..count).map(|_| take(1)).collect::<Result<Vec<_>>>()?;
    let inode_tables = (0..count).map(|_| take(blocks)).collect::<Result<Vec<_>>>()?;
    for ((block_bitmap, inode_bitmap), inode_table) in
        block_bitmaps.into_iter().zip(inode_bitmaps).zip(inode_tables)
    {
        all.push(Tables { block_bitmap, inode_bitmap, inode_table });
    }
    Ok(())
}

fn no_room(geometry: &Geometry, group: u32, blocks: u64) -> Error {
    Error::NoSpace(format!(
        "group {group} of {} blocks has no room for an inode table of {blocks} blocks",
        geometry.group_len(GroupNr(group))
    ))
}
