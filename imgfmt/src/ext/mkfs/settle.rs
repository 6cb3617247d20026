//! File systems whose size is known at the end: a draft to begin with, and the layout that fits what was put into it.
//!
//! Data is laid down in order from the start on, and goes round what cannot go elsewhere: superblocks and descriptors, with
//! room for those of 512 GiB. Everything else is decided at the end:
//!
//! ```text
//! flex_bg   super, 64 blocks for descriptors │ data … │ directories │ bitmaps, tables, journal │ free
//! without   super, 64 … │ room for tables │ data … │ group 1: super … │ room for tables │ data … │ journal │ free
//! ```
//! With `flex_bg` tables stand behind the data. Without it each group's have to lie in it, and how many inodes there will
//! be is not known: so each group begins with room for one inode for each 4 KiB. What is not needed of that becomes free
//! blocks; where it is too little, there are more groups. A first pass over the archive would save those, and cost
//! that pass: of a pipe there is none.
//!
//! Descriptors that there are not yet leave their room to `resize_inode`, or free without it.

use crate::error::{Error, Result};
use crate::ext::feature::{Compat, Incompat};
use crate::ext::geometry::Geometry;
use crate::ext::mkfs::journal::Journal;
use crate::ext::mkfs::layout::Layout;
use crate::ext::mkfs::options::{Inodes, Options};
use crate::ext::mkfs::place;
use crate::ext::mkfs::runs::RunSet;
use crate::ext::mkfs::shape::{JOURNALED_MIN, Shape, bytes_per_inode};
use crate::ext::mkfs::space::Space;
use crate::ext::mkfs::superblock;

/// Bytes that the descriptors are to have room for.
const REACH: u64 = 512 << 30;
/// Without `flex_bg`: so many bytes have an inode, which is the most that a file system of any size has by default.
const BYTES_PER_INODE: u64 = 4096;

/// What is to be left free, when the size is not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Free {
    /// Bytes.
    pub bytes: u64,
    /// Part of the whole, in percent: 90 at most.
    pub percent: u8,
}

/// What stands in the way of data, and where it may end.
pub(super) struct Draft {
    pub(super) layout: Layout,
    shape: Shape,
    options: Options,
    free: Free,
    /// Blocks for descriptors and their growth.
    room: u64,
    /// What no data may have.
    taken: RunSet,
}

/// What comes of a number of blocks.
enum Attempt {
    Fits(Box<Layout>),
    /// So many are too few.
    Missing(u64),
}

impl Draft {
    /// The most that there may be.
    pub(super) fn new(options: &Options, free: Free) -> Result<Self> {
        let options = Options {
            size: REACH,
            block_size: options.block_size.or(Some(4096)),
            ..options.clone()
        };
        if free.percent > 90 {
            return Err(Error::Unsupported(format!(
                "{} % left free: 90 are the most",
                free.percent
            )));
        }
        if free.bytes > REACH {
            return Err(Error::Unsupported(format!(
                "{} bytes left free: {REACH} are the most that a size of `auto` can have",
                free.bytes
            )));
        }
        let mut shape = Shape::new(&options)?;
        if shape.features.compat.contains(Compat::SPARSE_SUPER2) {
            return Err(Error::Unsupported(
                "an ext file system of a size that is yet to be known cannot have the feature `sparse_super2`: one of its backups lies in the last group"
                    .into(),
            ));
        }
        let descs = shape.block_size / shape.desc_size();
        let is_meta_bg = shape.features.incompat.contains(Incompat::META_BG);
        // As many blocks as the map of the resize inode can name.
        let room = shape.desc_blocks().min(shape.block_size / 4);
        if !is_meta_bg {
            let groups = (room * descs).min(shape.group_count);
            shape.block_count =
                shape.block_count.min(shape.first_data_block + groups * shape.blocks_per_group);
        }
        shape.group_count =
            (shape.block_count - shape.first_data_block).div_ceil(shape.blocks_per_group);
        shape.reserved_gdt_blocks = if is_meta_bg { 0 } else { room - shape.desc_blocks() };
        let ratio = match options.inodes {
            Inodes::Ratio(_) => bytes_per_inode(&options, shape.block_size, options.size),
            _ => BYTES_PER_INODE,
        };
        shape.set_inodes_per_group(shape.blocks_per_group * shape.block_size / ratio)?;
        let geometry = geometry(&shape, &options)?;
        let mut taken = place::superblocks(&geometry);
        if !shape.features.incompat.contains(Incompat::FLEX_BG) {
            place::tables(&geometry, &mut taken)?;
        }
        let mut layout =
            Layout::bare(geometry, superblock::superblock(&shape, &options)?, &options);
        layout.space = Space::new(taken.clone(), shape.block_count);
        Ok(Self { layout, shape, options, free, room, taken })
    }

    /// The layout for what was put into `space`, with inodes up to `inodes_end`.
    pub(super) fn settle(&self, space: &Space, inodes_end: u32) -> Result<Layout> {
        let mut data = space.used().clone();
        for run in self.taken.within(0, self.shape.block_count) {
            data.remove(run);
        }
        let page = (4096 / self.shape.block_size).max(1);
        let mut blocks = (data.end() + 64).next_multiple_of(page);
        // Each round adds what was missing; where that is little, at least a 64th.
        for _ in 0..1000 {
            if blocks > self.shape.block_count {
                break;
            }
            let missing = match self.attempt(&data, blocks, inodes_end) {
                Ok(Attempt::Fits(layout)) => return Ok(*layout),
                Ok(Attempt::Missing(blocks)) => blocks,
                Err(Error::NoSpace(_)) => 16 + blocks / 64,
                Err(error) => return Err(error),
            };
            blocks = (blocks + missing).next_multiple_of(page);
        }
        Err(Error::NoSpace(format!(
            "more than the {} bytes that a size of `auto` can have here; give one that is large enough",
            self.shape.block_count * self.shape.block_size
        )))
    }

    /// A layout of so many blocks.
    fn attempt(&self, data: &RunSet, blocks: u64, inodes_end: u32) -> Result<Attempt> {
        let mut shape = self.shape.clone();
        shape.block_count = blocks;
        shape.group_count = (blocks - shape.first_data_block).div_ceil(shape.blocks_per_group);
        let wanted_free = u128::from(blocks) * u128::from(self.free.percent) / 100;
        let wanted_free = u64::try_from(wanted_free).expect("less than the blocks")
            + self.free.bytes.div_ceil(shape.block_size);
        let inodes = match self.options.inodes {
            Inodes::Count(count) => u64::from(count.max(inodes_end)),
            _ => {
                let size = blocks * shape.block_size;
                let ratio = bytes_per_inode(&self.options, shape.block_size, size);
                let spare = wanted_free * shape.block_size / ratio;
                let needed = u64::from(inodes_end) + u64::from(inodes_end / 16) + 16 + spare;
                needed.max(size / ratio)
            }
        };
        let most = self.most_inodes_per_group();
        let more_groups = inodes.div_ceil(most).saturating_sub(shape.group_count);
        if more_groups > 0 {
            return Ok(Attempt::Missing(more_groups * shape.blocks_per_group));
        }
        shape.set_inodes_per_group(inodes.div_ceil(shape.group_count))?;
        if shape.inodes_per_group * shape.group_count < inodes {
            return Ok(Attempt::Missing(shape.blocks_per_group));
        }
        let keeps_room = shape.features.compat.contains(Compat::RESIZE_INODE);
        shape.reserved_gdt_blocks = if keeps_room { self.room - shape.desc_blocks() } else { 0 };
        if self.options.journal_size.is_none()
            && shape.default_journal_blocks().is_none()
            && shape.features.compat.contains(Compat::HAS_JOURNAL)
        {
            // Asked for, and so there: the file system becomes large enough for the smallest one.
            return Ok(Attempt::Missing(JOURNALED_MIN - blocks));
        }
        let geometry = geometry(&shape, &self.options)?;
        let mut used = place::superblocks(&geometry);
        for run in data.within(0, blocks) {
            used.insert(run);
        }
        let tables = match shape.features.incompat.contains(Incompat::FLEX_BG) {
            true => place::tables_behind(&geometry, &mut used, data.end())?,
            false => place::tables(&geometry, &mut used)?,
        };
        let journal = Journal::new(&shape, &self.options)?;
        let superblock = superblock::superblock(&shape, &self.options)?;
        let mut layout = Layout::bare(geometry, superblock, &self.options);
        layout.tables = tables;
        layout.space = Space::new(used, blocks);
        let data_blocks = data.count(0, blocks);
        layout.place_files(journal, data.end(), data_blocks)?;
        let free = layout.space.free();
        let reserved = match wanted_free {
            0 => 0,
            _ => blocks * u64::from(self.options.reserved_percent) / 100,
        };
        // Maps of journal and orphan file may need a block each level.
        let missing = (wanted_free + reserved + 8).saturating_sub(free);
        Ok(match missing {
            0 => Attempt::Fits(Box::new(layout)),
            _ => Attempt::Missing(missing),
        })
    }

    fn most_inodes_per_group(&self) -> u64 {
        match self.shape.features.incompat.contains(Incompat::FLEX_BG) {
            true => (8 * self.shape.block_size).min((1 << 16) - 512),
            false => self.shape.inodes_per_group,
        }
    }
}

fn geometry(shape: &Shape, options: &Options) -> Result<Geometry> {
    let superblock = superblock::superblock(shape, options)?;
    Geometry::new(&superblock, shape.block_count * shape.block_size)
        .map_err(|error| Error::NoSpace(error.to_string()))
}
