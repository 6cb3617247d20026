//! Block groups: what their descriptors say, what they keep to themselves, and their bitmaps and counts at the end.
//!
//! ```text
//! group 3   superblock? descriptors? | block bitmap 1027 | inode bitmap 1043 | inode table 1059..1571   claimed first
//! group 3   in use 0-70, 90; bitmap 0-70, 91: block 90 is in use but free, 91 the other way round       compared last
//! ```

use super::inodes::reserved;
use super::{FindingKind, Place, Step, Walk, run};
use crate::ext::blocks::Blocks;
use crate::ext::checksum;
use crate::ext::feature::{Compat, Incompat, RoCompat};
use crate::ext::geometry::Checksums;
use crate::ext::nr::{BlockNr, GroupNr};
use crate::ext::ondisk::group_desc::{BLOCK_UNINIT, INODE_UNINIT, ITABLE_ZEROED};
use crate::ext::ondisk::superblock::STATE_VALID;
use crate::ext::space::bitmap;
use crate::ext::space::group::{self, GroupDesc};

/// Runs of blocks that one finding names.
const RUNS_NAMED: usize = 4;

impl Walk<'_, '_> {
    /// What the superblock says of itself and [`Geometry`](crate::ext::geometry::Geometry) does not need.
    pub(super) fn superblock(&mut self) -> Step {
        let (geometry, superblock) = (self.geometry(), self.fs.superblock());
        let wide = geometry.is_wide();
        let reserved = superblock.reserved_blocks_count(wide);
        if reserved > geometry.block_count {
            let what =
                format!("{reserved} blocks are reserved, there are {}", geometry.block_count);
            self.add(FindingKind::Superblock, Place::Superblock, what)?;
        }
        let has_resize = geometry.features.compat.contains(Compat::RESIZE_INODE);
        if geometry.reserved_gdt_blocks > geometry.block_size as u64 / 4
            || geometry.reserved_gdt_blocks > 0 && !has_resize
        {
            let count = geometry.reserved_gdt_blocks;
            let what = format!("{count} blocks are kept for more descriptors");
            self.add(FindingKind::Superblock, Place::Superblock, what)?;
        }
        for (feature, name) in [
            (RoCompat::SNAPSHOT, "snapshot"),
            (RoCompat::REPLICA, "replica"),
            (RoCompat::BTREE_DIR, "btree_dir"),
        ] {
            if geometry.has(feature) {
                self.report.skip(format!("what the feature `{name}` adds"));
            }
        }
        for (feature, name) in [
            (Compat::LAZY_BG, "lazy_bg"),
            (Compat::SNAPSHOT_BITMAP, "snapshot_bitmap"),
            (Compat::IMAGIC_INODES, "imagic_inodes"),
        ] {
            if geometry.features.compat.contains(feature) {
                self.report.skip(format!("what the feature `{name}` adds"));
            }
        }
        if geometry.has(RoCompat::QUOTA) {
            let quotas = [
                (superblock.usr_quota_inum, reserved::USER_QUOTA),
                (superblock.grp_quota_inum, reserved::GROUP_QUOTA),
                (superblock.prj_quota_inum, 0),
            ];
            for (nr, usual) in quotas.map(|(nr, usual)| (nr.get(), usual)) {
                let free = geometry.first_inode..=geometry.inode_count;
                if nr != 0 && nr != usual && !free.contains(&nr) {
                    let what = format!("inode {nr} cannot be a quota file");
                    self.add(FindingKind::Superblock, Place::Superblock, what)?;
                }
            }
            self.report.skip("the numbers in the quota files");
        }
        if (1..geometry.group_count).any(|group| geometry.has_superblock(GroupNr(group))) {
            self.report.skip("the content of the backups of superblock and descriptors");
        }
        if geometry.has(RoCompat::SHARED_BLOCKS) {
            self.report.skip("blocks that belong to two files (`shared_blocks` allows them)");
        }
        Ok(())
    }

    /// Claim what the groups keep to themselves.
    pub(super) fn claim_own(&mut self) -> Step {
        let geometry = self.geometry();
        for group in (0..geometry.group_count).map(GroupNr) {
            let mut len = geometry.base_meta_blocks(group);
            // With bigalloc and 1 KiB blocks the boot block is a block of group 0.
            if group.0 == 0 && geometry.block_size == 1024 && geometry.first_data_block == 0 {
                len += 1;
            }
            let start = geometry.group_start(group);
            let len = len.min(geometry.group_len(group));
            self.claim_for_itself(Place::Group(group.0), BlockNr(start), len, "descriptors")?;
        }
        for group in (0..geometry.group_count).map(GroupNr) {
            let desc = group::read_unchecked(self.fs, group)?;
            self.descriptor(&desc)?;
            let [block_bitmap, inode_bitmap, table] = desc.own_blocks(geometry);
            for ((first, count), what) in [
                (block_bitmap, "block bitmap"),
                (inode_bitmap, "inode bitmap"),
                (table, "inode table"),
            ] {
                let place = Place::Group(group.0);
                let own_group = geometry.group_of(first).is_ok_and(|(found, _)| found == group);
                let is_free = if !self.is_within(first, count) {
                    let what = format!("{what} lies outside the volume ({})", run(first.0, count));
                    self.add(FindingKind::Descriptor, place, what)?;
                    false
                } else if !own_group && !geometry.features.incompat.contains(Incompat::FLEX_BG) {
                    let what = format!("{what} lies in another group ({})", run(first.0, count));
                    self.add(FindingKind::Descriptor, place, what)?;
                    false
                } else {
                    self.claim_for_itself(place, first, count, what)?
                };
                if !is_free && what == "inode table" {
                    self.lost_tables.insert(group.0);
                }
            }
        }
        Ok(())
    }

    fn descriptor(&mut self, desc: &GroupDesc) -> Step {
        let (geometry, group) = (self.geometry(), desc.group());
        let place = Place::Group(group.0);
        if !desc.checksum_holds(geometry) {
            return self.add(FindingKind::Descriptor, place, "checksum of the descriptor is wrong");
        }
        let (flags, unused) = (desc.flags(), desc.itable_unused());
        let uninit = INODE_UNINIT | BLOCK_UNINIT;
        if geometry.checksums == Checksums::None {
            if flags & uninit != 0 || unused != 0 {
                let what = "says that something was never written, which needs checksums";
                self.add(FindingKind::Descriptor, place, what)?;
            }
            return Ok(());
        }
        if flags & !(uninit | ITABLE_ZEROED) != 0 {
            self.add(FindingKind::Descriptor, place, format!("unknown flags ({flags:#x})"))?;
        }
        if desc.is_block_uninit() && group.0 + 1 == geometry.group_count {
            // Its length is not that of the others.
            let what = "the block bitmap of the last group was never written";
            self.add(FindingKind::Descriptor, place, what)?;
        }
        if unused > geometry.inodes_per_group.get() {
            let what = format!("{unused} unused inodes, more than there are");
            self.add(FindingKind::Descriptor, place, what)?;
        }
        Ok(())
    }

    /// Compare what is in use with the block bitmaps, and all counts.
    pub(super) fn bitmaps(&mut self) -> Step {
        let geometry = self.geometry();
        let units = self.unit(geometry.block_count - 1) + 1;
        let per_group = self.units_per_group();
        let (mut free_units, mut free_inodes) = (0_u64, 0_u64);
        for group in 0..geometry.group_count {
            let first = u64::from(group) * per_group;
            let len = u32::try_from(per_group.min(units.saturating_sub(first)))
                .expect("clusters of a group");
            let desc = group::read_unchecked(self.fs, GroupNr(group))?;
            free_units += u64::from(desc.free_blocks());
            free_inodes += u64::from(desc.free_inodes());
            self.block_bitmap(&desc, first, len)?;
        }
        let superblock = self.fs.superblock();
        if self.fs.recovery().is_some() || superblock.state.get() & STATE_VALID == 0 {
            // While it is mounted, the kernel keeps the descriptors right and not the superblock.
            return Ok(());
        }
        let free_blocks = superblock.free_blocks_count(geometry.is_wide());
        // The last cluster may be cut short.
        let (most, over) = (free_units * self.ratio(), self.ratio());
        if free_blocks > most || free_blocks + over <= most {
            let what = format!("free blocks is {free_blocks}, the groups have {most}");
            self.add(FindingKind::Count, Place::Superblock, what)?;
        }
        let count = u64::from(superblock.free_inodes_count.get());
        if count != free_inodes {
            let what = format!("free inodes is {count}, the groups have {free_inodes}");
            self.add(FindingKind::Count, Place::Superblock, what)?;
        }
        Ok(())
    }

    fn block_bitmap(&mut self, desc: &GroupDesc, first: u64, len: u32) -> Step {
        let (geometry, group) = (self.geometry(), desc.group());
        let place = Place::Group(group.0);
        let block_size = geometry.block_size;
        let mut in_use = vec![0; block_size];
        self.claims.fill(first, len, &mut in_use);
        let mut bits = vec![0; block_size];
        if desc.is_block_uninit() && desc.checksum_holds(geometry) {
            self.own.fill(first, len, &mut bits);
        } else {
            if !self.is_within(desc.block_bitmap(), 1) {
                return Ok(());
            }
            bits = self.fs.read_block(desc.block_bitmap())?.into_owned();
            let covered = usize::try_from(self.units_per_group() / 8).unwrap_or(block_size);
            let crc = checksum::crc32c(geometry.seed, &bits[..covered.min(block_size)]);
            if geometry.has_metadata_csum() && !desc.block_bitmap_csum_is(crc) {
                let what = "checksum of the block bitmap is wrong";
                self.add(FindingKind::Bitmap, place, what)?;
            }
            self.padding(place, &bits, len, "block")?;
        }
        self.compare_blocks(place, (first, len), &in_use, &bits)?;
        let taken = u64::from(bitmap::count(&bits, len));
        self.report.blocks += taken * self.ratio();
        let free = u64::from(len) - taken;
        if u64::from(desc.free_blocks()) != free {
            let what = format!("free blocks is {}, the bitmap has {free}", desc.free_blocks());
            self.add(FindingKind::Count, place, what)?;
        }
        Ok(())
    }

    /// The bits behind the last block or inode must be 1.
    pub(super) fn padding(&mut self, place: Place, bits: &[u8], len: u32, of: &str) -> Step {
        let all = u32::try_from(bits.len() * 8).expect("64 KiB times 8");
        if bitmap::count(bits, all) - bitmap::count(bits, len) != all - len {
            let what = format!("{of} bitmap: the bits behind its end are not set");
            self.add(FindingKind::Bitmap, place, what)?;
        }
        Ok(())
    }

    fn compare_blocks(
        &mut self,
        place: Place,
        (first, len): (u64, u32),
        in_use: &[u8],
        bits: &[u8],
    ) -> Step {
        let whole = len as usize / 8;
        if in_use[..whole] == bits[..whole]
            && (len / 8 * 8..len).all(|i| bitmap::get(in_use, i) == bitmap::get(bits, i))
        {
            return Ok(());
        }
        let base = self.geometry().first_data_block;
        let ratio = self.ratio();
        for (is_used, what) in
            [(true, "in use, but free in the bitmap"), (false, "free, but in use in the bitmap")]
        {
            let differs = |index: &u32| {
                bitmap::get(in_use, *index) == is_used && bitmap::get(bits, *index) != is_used
            };
            let differing = runs((0..len).filter(differs));
            if differing.is_empty() {
                continue;
            }
            let named: Vec<String> = differing
                .iter()
                .take(RUNS_NAMED)
                .map(|&(at, count)| run(base + (first + at) * ratio, count * ratio))
                .collect();
            let more = match differing.len().saturating_sub(RUNS_NAMED) {
                0 => String::new(),
                count => format!(" and {count} more runs"),
            };
            let what = format!("{what}: {}{more}", named.join(", "));
            self.add(FindingKind::Bitmap, place, what)?;
        }
        Ok(())
    }
}

/// Numbers that follow one another, as runs: first and count.
pub(super) fn runs(numbers: impl Iterator<Item = u32>) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers.map(u64::from) {
        match runs.last_mut() {
            Some((start, count)) if *start + *count == number => *count += 1,
            _ => runs.push((number, 1)),
        }
    }
    runs
}
