//! Inode tables and inode bitmaps, group by group.
//!
//! Inodes that were never used stand at the end of a table, and their number in the descriptor; they are not read. Every
//! other one is: whether it is in use is said by the inode, and the bitmap has to say the same.

use super::groups::runs;
use super::{FindingKind, Place, Step, Walk};
use crate::ext::blocks::Blocks;
use crate::ext::inode::{FileType, Inode};
use crate::ext::nr::{BlockNr, GroupNr, InodeNr};
use crate::ext::space::bitmap;
use crate::ext::space::group::{self, GroupDesc};

/// Bytes of a table that are read at once.
const CHUNK: usize = 64 * 1024;

impl Walk<'_, '_> {
    /// Look at every inode.
    pub(super) fn tables(&mut self) -> Step {
        let count = self.geometry().group_count;
        for group in 0..count {
            self.advance(0, group.into(), count.into())?;
            let desc = group::read_unchecked(self.fs, GroupNr(group))?;
            if self.lost_tables.contains(&group) {
                self.report.skip(format!("inodes of group {group}: its table is lost"));
                continue;
            }
            let in_use = self.table(&desc)?;
            self.inode_bitmap(&desc, &in_use)?;
        }
        Ok(())
    }

    /// Look at the inodes of a group; a bit for each that is in use.
    fn table(&mut self, desc: &GroupDesc) -> Step<Vec<u8>> {
        let geometry = self.geometry();
        let (size, per_group) = (geometry.inode_size, geometry.inodes_per_group.get());
        let mut in_use = vec![0; geometry.block_size];
        let first = desc.group().0 * per_group + 1;
        for index in 0..geometry.first_inode.saturating_sub(first).min(per_group) {
            bitmap::set(&mut in_use, index);
        }
        let count = match desc.checksum_holds(geometry) {
            true if desc.is_inode_uninit() => 0,
            // Without checksums the number means nothing.
            true if geometry.checksums != crate::ext::geometry::Checksums::None => {
                per_group.saturating_sub(desc.itable_unused())
            }
            _ => per_group,
        };
        let mut buf = vec![0; CHUNK.max(geometry.block_size)];
        let per_buf = buf.len() / size;
        let mut index = 0;
        while index < count {
            let here = usize::try_from(count - index).expect("a u32").min(per_buf);
            let block = (index as usize * size / geometry.block_size) as u64;
            let bytes = &mut buf[..(here * size).next_multiple_of(geometry.block_size)];
            self.fs.read_run(BlockNr(desc.inode_table().0 + block), bytes)?;
            for bytes in bytes.chunks_exact(size).take(here) {
                let inode = Inode::from_bytes(InodeNr(first + index), bytes.to_vec());
                if bytes.iter().any(|&byte| byte != 0) && self.inode(&inode)? {
                    bitmap::set(&mut in_use, index);
                }
                index += 1;
            }
        }
        Ok(in_use)
    }

    fn inode_bitmap(&mut self, desc: &GroupDesc, in_use: &[u8]) -> Step {
        let (geometry, group) = (self.geometry(), desc.group());
        let place = Place::Group(group.0);
        let per_group = geometry.inodes_per_group.get();
        let mut bits = vec![0; geometry.block_size];
        if !desc.is_inode_uninit() || !desc.checksum_holds(geometry) {
            if !self.is_within(desc.inode_bitmap(), 1) {
                return Ok(());
            }
            bits = self.fs.read_block(desc.inode_bitmap())?.into_owned();
            let crc = bitmap::inodes_csum(geometry, &bits);
            if geometry.has_metadata_csum() && !desc.inode_bitmap_csum_is(crc) {
                let what = "checksum of the inode bitmap is wrong";
                self.add(FindingKind::Bitmap, place, what)?;
            }
            self.padding(place, &bits, per_group, "inode")?;
        }
        let first = u64::from(group.0) * u64::from(per_group) + 1;
        let bytes = per_group as usize / 8;
        let differ = in_use[..bytes] != bits[..bytes];
        for (is_used, what) in
            [(true, "in use, but free in the bitmap"), (false, "free, but in use in the bitmap")]
        {
            let differs = |index: &u32| {
                bitmap::get(in_use, *index) == is_used && bitmap::get(&bits, *index) != is_used
            };
            let differing = runs((0..per_group).filter(|_| differ).filter(differs));
            if let Some(&(at, count)) = differing.first() {
                let all: u64 = differing.iter().map(|(_, count)| count).sum();
                let (from, to) = (first + at, first + at + count - 1);
                let what = format!("{what}: {all} inodes, first {from} to {to}");
                self.add(FindingKind::Bitmap, place, what)?;
            }
        }
        let taken = bitmap::count(&bits, per_group);
        self.report.inodes += u64::from(taken);
        let free = per_group - taken;
        if desc.free_inodes() != free {
            let what = format!("free inodes is {}, the bitmap has {free}", desc.free_inodes());
            self.add(FindingKind::Count, place, what)?;
        }
        let from = self.inodes.partition_point(|seen| u64::from(seen.nr) < first);
        let dirs = self.inodes[from..].iter().filter(|s| s.kind == Some(FileType::Directory));
        let dirs = u32::try_from(dirs.count()).expect("inodes of a group");
        self.report.directories += u64::from(dirs);
        if desc.used_dirs() != dirs {
            let what = format!("directories is {}, there are {dirs}", desc.used_dirs());
            self.add(FindingKind::Count, place, what)?;
        }
        Ok(())
    }
}
