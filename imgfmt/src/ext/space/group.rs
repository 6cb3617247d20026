//! A block group: its descriptor, and which of its blocks are metadata.
//!
//! Descriptors are read one by one, when they are asked for: opening a large volume reads none.

use std::ops::Range;

use zerocopy::FromBytes;

use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::checksum;
use crate::ext::feature::RoCompat;
use crate::ext::geometry::{Checksums, Geometry};
use crate::ext::nr::{BlockNr, GroupNr};
use crate::ext::ondisk::group_desc::{BLOCK_UNINIT, GroupDescHi, GroupDescLo, INODE_UNINIT};

/// A copy of a descriptor, whole.
#[derive(Clone)]
pub(crate) struct GroupDesc {
    group: GroupNr,
    bytes: Vec<u8>,
    has_csum: bool,
}

/// The descriptor of `group`, its checksum and its block numbers checked.
pub(crate) fn read(blocks: &impl Blocks, group: GroupNr) -> Result<GroupDesc> {
    let geometry = blocks.geometry();
    let (block, offset) = geometry.desc_location(group);
    checked(blocks, group, &blocks.read_part(block, offset..offset + geometry.desc_size)?)
}

/// Every descriptor, in order.
pub(crate) fn for_each(blocks: &impl Blocks, mut f: impl FnMut(GroupDesc)) -> Result<()> {
    for_range(blocks, 0..blocks.geometry().group_count, |desc| {
        f(desc);
        Ok(())
    })
}

/// The descriptors of `groups`, in order. Each block of them is read once.
fn for_range(
    blocks: &impl Blocks,
    groups: Range<u32>,
    mut f: impl FnMut(GroupDesc) -> Result<()>,
) -> Result<()> {
    let geometry = blocks.geometry();
    let mut last = None;
    for group in groups.map(GroupNr) {
        let (block, offset) = geometry.desc_location(group);
        let bytes = match last.take() {
            Some((held, bytes)) if held == block => bytes,
            _ => blocks.read_block(block)?,
        };
        f(checked(blocks, group, &bytes[offset..])?)?;
        last = Some((block, bytes));
    }
    Ok(())
}

fn checked(blocks: &impl Blocks, group: GroupNr, bytes: &[u8]) -> Result<GroupDesc> {
    let geometry = blocks.geometry();
    let bytes = bytes[..geometry.desc_size].to_vec();
    let desc = GroupDesc { group, bytes, has_csum: geometry.checksums != Checksums::None };
    let holds = desc.checksum_holds(geometry);
    let table_end = desc.inode_table().0.checked_add(table_len(geometry));
    let in_volume = |block: BlockNr| geometry.check_block(block).is_ok();
    if !in_volume(desc.block_bitmap())
        || !in_volume(desc.inode_bitmap())
        || !in_volume(desc.inode_table())
        || table_end.is_none_or(|end| end > geometry.block_count)
    {
        return Err(Error::corrupt(format!("group {group}: bitmaps or table lie outside")));
    }
    if !holds && !is_vouched_for(blocks, &desc)? {
        return Err(Error::corrupt(format!("group {group}: checksum of the descriptor is wrong")));
    }
    Ok(desc)
}

/// Whether all that a descriptor says is true though its checksum is not, which e2fsck and a kernel that only reads pass
/// over: both bitmaps have the checksums and the zeros that it names.
fn is_vouched_for(blocks: &impl Blocks, desc: &GroupDesc) -> Result<bool> {
    let geometry = blocks.geometry();
    if !geometry.has_metadata_csum()
        || geometry.has(RoCompat::BIGALLOC)
        || desc.is_block_uninit()
        || desc.is_inode_uninit()
    {
        return Ok(false);
    }
    let inodes = u64::from(geometry.inodes_per_group.get());
    let bits = blocks.read_block(desc.block_bitmap())?;
    let covered = geometry.blocks_per_group.get() as usize / 8;
    let crc = checksum::crc32c(geometry.seed, &bits[..covered]);
    if !desc.block_bitmap_csum_is(crc)
        || zeros(&bits, geometry.group_len(desc.group)) != desc.free_blocks()
    {
        return Ok(false);
    }
    let bits = blocks.read_block(desc.inode_bitmap())?;
    let crc =
        checksum::crc32c(geometry.seed, &bits[..geometry.inodes_per_group.get() as usize / 8]);
    let used = inodes.checked_sub(desc.itable_unused().into());
    Ok(desc.inode_bitmap_csum_is(crc)
        && zeros(&bits, inodes) == desc.free_inodes()
        && used
            .is_some_and(|used| zeros(&bits, inodes) - zeros(&bits, used) == desc.itable_unused()))
}

/// Zeros among the first `len` bits.
fn zeros(bits: &[u8], len: u64) -> u32 {
    let len =
        u32::try_from(len).unwrap_or(u32::MAX).min(8 * u32::try_from(bits.len()).unwrap_or(0));
    let whole: u32 = bits[..len as usize / 8].iter().map(|byte| byte.count_zeros()).sum();
    let rest = (len / 8 * 8..len).filter(|bit| bits[*bit as usize / 8] & 1 << (bit % 8) == 0);
    whole + u32::try_from(rest.count()).expect("seven at most")
}

/// The descriptor of `group` as it stands.
pub(crate) fn read_unchecked(blocks: &impl Blocks, group: GroupNr) -> Result<GroupDesc> {
    let geometry = blocks.geometry();
    let (block, offset) = geometry.desc_location(group);
    let bytes = blocks.read_block(block)?[offset..offset + geometry.desc_size].to_vec();
    Ok(GroupDesc { group, bytes, has_csum: geometry.checksums != Checksums::None })
}

/// Blocks of a group's inode table.
pub(crate) fn table_len(geometry: &Geometry) -> u64 {
    let bytes = u64::from(geometry.inodes_per_group.get()) * geometry.inode_size as u64;
    bytes.div_ceil(geometry.block_size as u64)
}

/// File data, directories and the like must not lie where the file system keeps its own.
///
/// Tables may lie anywhere within the groups that share theirs (`flex_bg`); those are looked at.
pub(crate) fn check_not_metadata(blocks: &impl Blocks, first: BlockNr, count: u64) -> Result<()> {
    let geometry = blocks.geometry();
    geometry.check_data(first, count)?;
    let (from, _) = geometry.group_of(first)?;
    let end = first.0 + count;
    let (to, _) = geometry.group_of(BlockNr(end - 1))?;
    for group in from.0..=to.0 {
        let start = geometry.group_start(GroupNr(group));
        if overlaps(first.0, end, start, geometry.base_meta_blocks(GroupNr(group))) {
            return Err(in_use(first, count, "superblock or descriptors"));
        }
    }
    let flex = geometry.groups_per_flex;
    let flex_start = from.0 - from.0 % flex;
    let flex_end = (u64::from(to.0) / u64::from(flex) + 1) * u64::from(flex);
    let flex_end = u32::try_from(flex_end).unwrap_or(u32::MAX).min(geometry.group_count);
    for_range(blocks, flex_start..flex_end, |desc| {
        let mut own = desc.own_blocks(geometry).into_iter();
        match own.find(|(start, len)| overlaps(first.0, end, start.0, *len)) {
            Some(_) => Err(in_use(first, count, &format!("tables of group {}", desc.group))),
            None => Ok(()),
        }
    })
}

fn overlaps(start: u64, end: u64, other: u64, other_len: u64) -> bool {
    // Most groups begin with no superblock: nothing overlaps nothing, wherever it lies.
    other_len > 0 && start < other + other_len && other < end
}

fn in_use(first: BlockNr, count: u64, by: &str) -> Error {
    let last = first.0 + count - 1;
    Error::corrupt(format!("blocks {first} to {last} overlap {by}"))
}

impl GroupDesc {
    /// The descriptor of a new group: nothing is set.
    pub(crate) fn blank(geometry: &Geometry, group: GroupNr) -> Self {
        let has_csum = geometry.checksums != Checksums::None;
        Self { group, bytes: vec![0; geometry.desc_size], has_csum }
    }

    /// Store where the bitmaps of blocks and of inodes and the inode table are.
    pub(crate) fn set_places(&mut self, [blocks, inodes, table]: [BlockNr; 3]) {
        let halves = |block: BlockNr| {
            let [a, b, c, d, e, f, g, h] = block.0.to_le_bytes();
            ([a, b, c, d].into(), [e, f, g, h].into())
        };
        let [(blocks, blocks_hi), (inodes, inodes_hi), (table, table_hi)] =
            [blocks, inodes, table].map(halves);
        let lo = self.lo_mut();
        (lo.block_bitmap, lo.inode_bitmap, lo.inode_table) = (blocks, inodes, table);
        if let Some(hi) = self.hi_mut() {
            (hi.block_bitmap, hi.inode_bitmap, hi.inode_table) = (blocks_hi, inodes_hi, table_hi);
        }
    }

    /// Store `bg_flags`, all of them.
    pub(crate) fn set_flags(&mut self, flags: u16) {
        self.lo_mut().flags = flags.into();
    }

    /// Which group this is.
    pub(crate) fn group(&self) -> GroupNr {
        self.group
    }

    /// The bytes, to be stored.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn lo(&self) -> &GroupDescLo {
        GroupDescLo::ref_from_prefix(&self.bytes).expect("a descriptor has 32 bytes at least").0
    }

    fn lo_mut(&mut self) -> &mut GroupDescLo {
        GroupDescLo::mut_from_prefix(&mut self.bytes).expect("a descriptor has 32 bytes at least").0
    }

    fn hi(&self) -> Option<&GroupDescHi> {
        GroupDescHi::ref_from_prefix(&self.bytes[32..]).ok().map(|(hi, _)| hi)
    }

    fn hi_mut(&mut self) -> Option<&mut GroupDescHi> {
        GroupDescHi::mut_from_prefix(&mut self.bytes[32..]).ok().map(|(hi, _)| hi)
    }

    /// The block bitmap.
    pub(crate) fn block_bitmap(&self) -> BlockNr {
        let hi = self.hi().map_or(0, |hi| hi.block_bitmap.get());
        BlockNr(u64::from(self.lo().block_bitmap.get()) | u64::from(hi) << 32)
    }

    /// The inode bitmap.
    pub(crate) fn inode_bitmap(&self) -> BlockNr {
        let hi = self.hi().map_or(0, |hi| hi.inode_bitmap.get());
        BlockNr(u64::from(self.lo().inode_bitmap.get()) | u64::from(hi) << 32)
    }

    /// The first block of the inode table.
    pub(crate) fn inode_table(&self) -> BlockNr {
        let hi = self.hi().map_or(0, |hi| hi.inode_table.get());
        BlockNr(u64::from(self.lo().inode_table.get()) | u64::from(hi) << 32)
    }

    /// Both bitmaps and the table: first block and length of each.
    pub(crate) fn own_blocks(&self, geometry: &Geometry) -> [(BlockNr, u64); 3] {
        [
            (self.block_bitmap(), 1),
            (self.inode_bitmap(), 1),
            (self.inode_table(), table_len(geometry)),
        ]
    }

    /// Free blocks.
    pub(crate) fn free_blocks(&self) -> u32 {
        let hi = self.hi().map_or(0, |hi| hi.free_blocks_count.get());
        u32::from(self.lo().free_blocks_count.get()) | u32::from(hi) << 16
    }

    /// Store the number of free blocks.
    pub(crate) fn set_free_blocks(&mut self, count: u32) {
        self.lo_mut().free_blocks_count = checksum::low(count).into();
        if let Some(hi) = self.hi_mut() {
            hi.free_blocks_count = checksum::high(count).into();
        }
    }

    /// Free inodes.
    pub(crate) fn free_inodes(&self) -> u32 {
        let hi = self.hi().map_or(0, |hi| hi.free_inodes_count.get());
        u32::from(self.lo().free_inodes_count.get()) | u32::from(hi) << 16
    }

    /// Store the number of free inodes.
    pub(crate) fn set_free_inodes(&mut self, count: u32) {
        self.lo_mut().free_inodes_count = checksum::low(count).into();
        if let Some(hi) = self.hi_mut() {
            hi.free_inodes_count = checksum::high(count).into();
        }
    }

    /// Directories.
    pub(crate) fn used_dirs(&self) -> u32 {
        let hi = self.hi().map_or(0, |hi| hi.used_dirs_count.get());
        u32::from(self.lo().used_dirs_count.get()) | u32::from(hi) << 16
    }

    /// Store the number of directories.
    pub(crate) fn set_used_dirs(&mut self, count: u32) {
        self.lo_mut().used_dirs_count = checksum::low(count).into();
        if let Some(hi) = self.hi_mut() {
            hi.used_dirs_count = checksum::high(count).into();
        }
    }

    /// Inodes at the end of the table that were never used.
    pub(crate) fn itable_unused(&self) -> u32 {
        let hi = self.hi().map_or(0, |hi| hi.itable_unused.get());
        u32::from(self.lo().itable_unused.get()) | u32::from(hi) << 16
    }

    /// Store the number of inodes that were never used.
    pub(crate) fn set_itable_unused(&mut self, count: u32) {
        self.lo_mut().itable_unused = checksum::low(count).into();
        if let Some(hi) = self.hi_mut() {
            hi.itable_unused = checksum::high(count).into();
        }
    }

    /// Whether flags, and what says how much was never written, hold: without checksums they do not.
    pub(crate) fn has_checksum(&self) -> bool {
        self.has_csum
    }

    /// Whether the block bitmap was never written. Without checksums the flag means nothing.
    pub(crate) fn is_block_uninit(&self) -> bool {
        self.has_csum && self.lo().flags.get() & BLOCK_UNINIT != 0
    }

    /// Whether the inode bitmap was never written.
    pub(crate) fn is_inode_uninit(&self) -> bool {
        self.has_csum && self.lo().flags.get() & INODE_UNINIT != 0
    }

    /// The block bitmap has been written.
    pub(crate) fn clear_block_uninit(&mut self) {
        let flags = self.lo().flags.get() & !BLOCK_UNINIT;
        self.lo_mut().flags = flags.into();
    }

    /// The inode bitmap has been written.
    pub(crate) fn clear_inode_uninit(&mut self) {
        let flags = self.lo().flags.get() & !INODE_UNINIT;
        self.lo_mut().flags = flags.into();
    }

    /// Whether `crc` is the checksum that is stored for the block bitmap.
    pub(crate) fn block_bitmap_csum_is(&self, crc: u32) -> bool {
        self.lo().block_bitmap_csum.get() == checksum::low(crc)
            && self.hi().is_none_or(|hi| hi.block_bitmap_csum.get() == checksum::high(crc))
    }

    /// Whether `crc` is the checksum that is stored for the inode bitmap.
    pub(crate) fn inode_bitmap_csum_is(&self, crc: u32) -> bool {
        self.lo().inode_bitmap_csum.get() == checksum::low(crc)
            && self.hi().is_none_or(|hi| hi.inode_bitmap_csum.get() == checksum::high(crc))
    }

    /// Store the checksum of the block bitmap.
    pub(crate) fn set_block_bitmap_csum(&mut self, crc: u32) {
        self.lo_mut().block_bitmap_csum = checksum::low(crc).into();
        if let Some(hi) = self.hi_mut() {
            hi.block_bitmap_csum = checksum::high(crc).into();
        }
    }

    /// Store the checksum of the inode bitmap.
    pub(crate) fn set_inode_bitmap_csum(&mut self, crc: u32) {
        self.lo_mut().inode_bitmap_csum = checksum::low(crc).into();
        if let Some(hi) = self.hi_mut() {
            hi.inode_bitmap_csum = checksum::high(crc).into();
        }
    }

    /// `bg_flags`, all of them.
    pub(crate) fn flags(&self) -> u16 {
        self.lo().flags.get()
    }

    /// Whether the checksum of the descriptor itself is right, or there is none.
    pub(crate) fn checksum_holds(&self, geometry: &Geometry) -> bool {
        !self.has_csum || self.lo().checksum.get() == self.checksum(geometry)
    }

    /// Fill the checksum of the descriptor itself.
    pub(crate) fn seal(&mut self, geometry: &Geometry) {
        if self.has_csum {
            self.lo_mut().checksum = self.checksum(geometry).into();
        }
    }

    fn checksum(&self, geometry: &Geometry) -> u16 {
        match geometry.checksums {
            Checksums::None => 0,
            Checksums::Crc16 => checksum::group_desc_crc16(&geometry.uuid, self.group, &self.bytes),
            Checksums::Crc32c => checksum::group_desc(geometry.seed, self.group, &self.bytes),
        }
    }
}
