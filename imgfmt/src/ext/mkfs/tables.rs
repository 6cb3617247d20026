//! The end of it: inode tables, bitmaps, descriptors, superblocks, from what was put into the file system.
//!
//! What is all zeros is not written. A group none of whose inodes is in use has no inode bitmap (`INODE_UNINIT`), one of
//! whose blocks only its own metadata is in use no block bitmap (`BLOCK_UNINIT`), where descriptors have checksums.

use std::rc::Rc;

use zerocopy::{FromZeros, IntoBytes};

use crate::error::Result;
use crate::ext::checksum::{self, crc32c};
use crate::ext::feature::{Incompat, RoCompat};
use crate::ext::geometry::{Checksums, Geometry};
use crate::ext::inode::FileType;
use crate::ext::mkfs::contents::{Contents, LOST_AND_FOUND};
use crate::ext::mkfs::layout::Tables;
use crate::ext::mkfs::place;
use crate::ext::mkfs::runs::{Run, RunSet};
use crate::ext::nr::{GroupNr, InodeNr};
use crate::ext::ondisk::group_desc::{
    BLOCK_UNINIT, GroupDescHi, GroupDescLo, INODE_UNINIT, ITABLE_ZEROED,
};
use crate::ext::ondisk::superblock::{OFFSET, Superblock};

/// Bytes that are written at once.
const CHUNK_LEN: usize = 1 << 20;

/// What a group's inodes come to.
struct Inodes {
    bits: Vec<u8>,
    used: u64,
    dirs: u64,
    /// One past the last one in use, within the group.
    end: u64,
}

/// A group descriptor, both halves.
struct Descriptor {
    lo: GroupDescLo,
    hi: GroupDescHi,
}

/// Write all that was kept for the end.
pub(super) fn write(mut contents: Contents<'_>) -> Result<()> {
    let layout = Rc::clone(&contents.layout);
    let geometry = &layout.geometry;
    let mut descriptors = Vec::new();
    let (mut free_blocks, mut free_inodes) = (0, 0);
    for (group, tables) in (0..).map(GroupNr).zip(&layout.tables) {
        let inodes = write_table(&mut contents, group, tables)?;
        let mut desc = Descriptor::new(tables);
        free_blocks += put_block_bitmap(&mut contents, group, tables, &mut desc)?;
        free_inodes += put_inode_bitmap(&mut contents, tables, inodes, &mut desc)?;
        descriptors.extend(desc.seal(geometry, group));
    }
    write_descriptors(&mut contents, &descriptors)?;
    write_superblocks(&mut contents, free_blocks, free_inodes)
}

/// The inodes of a group that are in use, up to the last of them.
fn write_table(contents: &mut Contents<'_>, group: GroupNr, tables: &Tables) -> Result<Inodes> {
    let layout = Rc::clone(&contents.layout);
    let geometry = &layout.geometry;
    let per_group = geometry.inodes_per_group.get();
    let first = group.0 * per_group + 1;
    let reserved = u64::from(geometry.first_inode - 1);
    let mut found = Inodes { bits: vec![0; geometry.block_size], used: 0, dirs: 0, end: 0 };
    if group.0 == 0 {
        set_bits(&mut found.bits, 0, reserved);
        (found.used, found.end) = (reserved, reserved);
    }
    let (mut buffer, mut block) = (Vec::new(), tables.inode_table);
    let mut writes = Vec::new();
    for (&nr, record) in contents.inodes.range(first..=first + (per_group - 1)) {
        let index = u64::from(nr - first);
        let at = index * geometry.inode_size as u64;
        let start = (block - tables.inode_table) * geometry.block_size as u64;
        let offset = usize::try_from(at - start).expect("a chunk and what is between two inodes");
        if offset >= CHUNK_LEN {
            let whole = offset / geometry.block_size * geometry.block_size;
            buffer.resize(whole.max(buffer.len()), 0);
            writes.push((block, std::mem::take(&mut buffer)));
            block += (whole / geometry.block_size) as u64;
        }
        let start = (block - tables.inode_table) * geometry.block_size as u64;
        let offset = usize::try_from(at - start).expect("a chunk at most");
        buffer.resize(offset, 0);
        buffer.extend(record.build(geometry, InodeNr(nr))?.bytes());
        if u64::from(nr) > reserved {
            set_bits(&mut found.bits, index, index + 1);
            found.used += 1;
        }
        found.dirs += u64::from(record.kind == FileType::Directory);
        found.end = found.end.max(index + 1);
    }
    writes.push((block, buffer));
    for (block, bytes) in writes.into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
        contents.write(block, &bytes)?;
    }
    Ok(found)
}

/// Blocks of a group that are its own: superblock, descriptors, and those of its tables that lie in it.
fn own_blocks(geometry: &Geometry, group: GroupNr, tables: &Tables, table_blocks: u64) -> RunSet {
    let start = geometry.group_start(group);
    let end = start + geometry.group_len(group);
    let mut own = RunSet::default();
    let runs = [
        Run { start, len: geometry.base_meta_blocks(group) },
        Run { start: tables.block_bitmap, len: 1 },
        Run { start: tables.inode_bitmap, len: 1 },
        Run { start: tables.inode_table, len: table_blocks },
    ];
    for run in runs {
        let (from, to) = (run.start.max(start), run.end().min(end));
        own.insert(Run { start: from, len: to.saturating_sub(from) });
    }
    own
}

/// Write a group's block bitmap, and count what is free.
fn put_block_bitmap(
    contents: &mut Contents<'_>,
    group: GroupNr,
    tables: &Tables,
    desc: &mut Descriptor,
) -> Result<u64> {
    let layout = Rc::clone(&contents.layout);
    let geometry = &layout.geometry;
    let start = geometry.group_start(group);
    let end = start + geometry.group_len(group);
    let used: Vec<Run> = contents.space.used().within(start, end).collect();
    let free = end - start - used.iter().map(|run| run.len).sum::<u64>();
    desc.set_free_blocks(free);
    let own = own_blocks(geometry, group, tables, place::table_blocks(geometry));
    // The last group is always written: it may be short, which old kernels do not make up for.
    let is_last = group.0 + 1 == geometry.group_count;
    let is_untouched = !is_last && used.iter().copied().eq(own.within(start, end));
    if geometry.checksums != Checksums::None && is_untouched {
        desc.add_flag(BLOCK_UNINIT);
        return Ok(free);
    }
    let mut bits = vec![0; geometry.block_size];
    for run in used {
        set_bits(&mut bits, run.start - start, run.end() - start);
    }
    set_bits(&mut bits, end - start, geometry.block_size as u64 * 8);
    if geometry.has_metadata_csum() {
        let covered = geometry.blocks_per_group.get() as usize / 8;
        desc.set_block_bitmap_csum(crc32c(geometry.seed, &bits[..covered]));
    }
    contents.write(tables.block_bitmap, &bits)?;
    Ok(free)
}

/// Write a group's inode bitmap, and count what is free.
fn put_inode_bitmap(
    contents: &mut Contents<'_>,
    tables: &Tables,
    inodes: Inodes,
    desc: &mut Descriptor,
) -> Result<u64> {
    let layout = Rc::clone(&contents.layout);
    let geometry = &layout.geometry;
    let per_group = u64::from(geometry.inodes_per_group.get());
    let free = per_group - inodes.used;
    desc.set_inodes(free, inodes.dirs);
    if geometry.checksums != Checksums::None {
        desc.add_flag(ITABLE_ZEROED);
        desc.set_itable_unused(per_group - inodes.end);
        if inodes.used == 0 {
            desc.add_flag(INODE_UNINIT);
            return Ok(free);
        }
    }
    let mut bits = inodes.bits;
    set_bits(&mut bits, per_group, geometry.block_size as u64 * 8);
    if geometry.has_metadata_csum() {
        let covered = geometry.inodes_per_group.get() as usize / 8;
        desc.set_inode_bitmap_csum(crc32c(geometry.seed, &bits[..covered]));
    }
    contents.write(tables.inode_bitmap, &bits)?;
    Ok(free)
}

fn set_bits(bits: &mut [u8], from: u64, to: u64) {
    let mut at = from;
    while at < to {
        let byte = usize::try_from(at / 8).expect("within a block");
        if at.is_multiple_of(8) && to - at >= 8 {
            bits[byte] = 0xFF;
            at += 8;
        } else {
            bits[byte] |= 1 << (at % 8);
            at += 1;
        }
    }
}

impl Descriptor {
    fn new(tables: &Tables) -> Self {
        let mut desc = Self { lo: GroupDescLo::new_zeroed(), hi: GroupDescHi::new_zeroed() };
        (desc.lo.block_bitmap, desc.hi.block_bitmap) = words(tables.block_bitmap);
        (desc.lo.inode_bitmap, desc.hi.inode_bitmap) = words(tables.inode_bitmap);
        (desc.lo.inode_table, desc.hi.inode_table) = words(tables.inode_table);
        desc
    }

    fn add_flag(&mut self, flag: u16) {
        self.lo.flags = (self.lo.flags.get() | flag).into();
    }

    fn set_free_blocks(&mut self, count: u64) {
        (self.lo.free_blocks_count, self.hi.free_blocks_count) = shorts(count);
    }

    fn set_inodes(&mut self, free: u64, dirs: u64) {
        (self.lo.free_inodes_count, self.hi.free_inodes_count) = shorts(free);
        (self.lo.used_dirs_count, self.hi.used_dirs_count) = shorts(dirs);
    }

    fn set_itable_unused(&mut self, count: u64) {
        (self.lo.itable_unused, self.hi.itable_unused) = shorts(count);
    }

    fn set_block_bitmap_csum(&mut self, crc: u32) {
        (self.lo.block_bitmap_csum, self.hi.block_bitmap_csum) = shorts(crc.into());
    }

    fn set_inode_bitmap_csum(&mut self, crc: u32) {
        (self.lo.inode_bitmap_csum, self.hi.inode_bitmap_csum) = shorts(crc.into());
    }

    /// Its bytes, the checksum filled.
    fn seal(mut self, geometry: &Geometry, group: GroupNr) -> Vec<u8> {
        let bytes = self.bytes(geometry);
        self.lo.checksum = match geometry.checksums {
            Checksums::None => 0,
            Checksums::Crc16 => checksum::group_desc_crc16(&geometry.uuid, group, &bytes),
            Checksums::Crc32c => checksum::group_desc(geometry.seed, group, &bytes),
        }
        .into();
        self.bytes(geometry)
    }

    fn bytes(&self, geometry: &Geometry) -> Vec<u8> {
        let mut bytes = [self.lo.as_bytes(), self.hi.as_bytes()].concat();
        bytes.resize(geometry.desc_size, 0);
        bytes
    }
}

/// Low and high half.
fn words<T: From<u32>>(value: u64) -> (T, T) {
    let bytes = value.to_le_bytes();
    let word = |at: usize| {
        u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]).into()
    };
    (word(0), word(4))
}

/// Low and high half of 32 bits.
fn shorts<T: From<u16>>(value: u64) -> (T, T) {
    let bytes = value.to_le_bytes();
    (
        u16::from_le_bytes([bytes[0], bytes[1]]).into(),
        u16::from_le_bytes([bytes[2], bytes[3]]).into(),
    )
}

/// The descriptors where they belong, and their backups.
fn write_descriptors(contents: &mut Contents<'_>, all: &[u8]) -> Result<()> {
    let layout = Rc::clone(&contents.layout);
    let geometry = &layout.geometry;
    let primary = geometry.superblock_block().0;
    let is_meta_bg = geometry.features.incompat.contains(Incompat::META_BG);
    if !is_meta_bg {
        for group in (0..geometry.group_count).map(GroupNr) {
            if geometry.has_superblock(group) {
                let start = if group.0 == 0 { primary } else { geometry.group_start(group) };
                contents.write(start + 1, all)?;
            }
        }
        return Ok(());
    }
    let per_block = u32::try_from(geometry.block_size / geometry.desc_size).expect("2,048 at most");
    for (index, bytes) in (0..).zip(all.chunks(geometry.block_size)) {
        let first = index * per_block;
        // The first, the second and the last group that a block describes have it.
        for group in [first, first + 1, first + per_block - 1] {
            if group < geometry.group_count {
                let group = GroupNr(group);
                let start = geometry.group_start(group);
                contents.write(start + u64::from(geometry.has_superblock(group)), bytes)?;
            }
        }
    }
    Ok(())
}

/// The backups, and at last the superblock itself.
fn write_superblocks(
    contents: &mut Contents<'_>,
    free_blocks: u64,
    free_inodes: u64,
) -> Result<()> {
    let layout = Rc::clone(&contents.layout);
    let geometry = &layout.geometry;
    let mut sb = layout.superblock.clone();
    sb.set_free_blocks_count(free_blocks, geometry.is_wide());
    sb.free_inodes_count = u32::try_from(free_inodes).expect("inodes have 32 bits").into();
    sb.overhead_blocks = u32::try_from(layout.overhead).unwrap_or(0).into();
    if contents.inodes.values().any(super::inodes::Record::is_large) {
        sb.feature_ro_compat = (sb.feature_ro_compat.get() | RoCompat::LARGE_FILE.bits()).into();
    }
    if let Some(journal) = contents.inodes.get(&8).filter(|_| layout.journal.is_some()) {
        set_journal(&mut sb, &journal.block, journal.size);
    }
    if !layout.orphan_file.is_empty() {
        sb.orphan_file_inum = (LOST_AND_FOUND + 1).into();
    }
    for group in (1..geometry.group_count).map(GroupNr) {
        if geometry.has_superblock(group) {
            sb.block_group_nr = u16::try_from(group.0).unwrap_or(u16::MAX).into();
            let bytes = sealed(&mut sb, geometry);
            contents.write(geometry.group_start(group), &bytes)?;
        }
    }
    sb.block_group_nr = 0.into();
    let bytes = sealed(&mut sb, geometry);
    // Until then there is no file system.
    contents.buffer.flush()?;
    contents.buffer.write(OFFSET, &bytes)?;
    contents.buffer.flush()
}

fn sealed(sb: &mut Superblock, geometry: &Geometry) -> Vec<u8> {
    if geometry.has_metadata_csum() {
        sb.checksum = checksum::superblock(sb.as_bytes()).into();
    }
    sb.as_bytes().to_vec()
}

/// Where the journal is, and a copy of its map in case its inode is lost (`s_jnl_blocks`).
fn set_journal(sb: &mut Superblock, map: &[u8], size: u64) {
    /// `s_jnl_backup_type`: the map of an inode.
    const BACKUP_BLOCKS: u8 = 1;
    sb.journal_inum = 8.into();
    sb.jnl_backup_type = BACKUP_BLOCKS;
    for (word, bytes) in sb.jnl_blocks.iter_mut().zip(map.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes).into();
    }
    let (lo, hi) = words(size);
    sb.jnl_blocks[15] = hi;
    sb.jnl_blocks[16] = lo;
}
