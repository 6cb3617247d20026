//! Where everything of a new file system lies, decided before a byte is written.

use crate::error::{Error, Result};
use crate::ext::feature::{Compat, Incompat};
use crate::ext::geometry::Geometry;
use crate::ext::mkfs::journal::Journal;
use crate::ext::mkfs::options::Options;
use crate::ext::mkfs::place;
use crate::ext::mkfs::runs::{Run, RunSet};
use crate::ext::mkfs::shape::Shape;
use crate::ext::mkfs::space::Space;
use crate::ext::mkfs::superblock;
use crate::ext::nr::GroupNr;
use crate::ext::ondisk::superblock::Superblock;

/// Bytes that `lost+found` has, so that `e2fsck` need not allocate any.
const LOST_AND_FOUND_LEN: u64 = 16 << 10;
/// The most blocks of it: those that an inode without extents names itself.
const LOST_AND_FOUND_MAX: u64 = 12;

/// Where a group keeps its own: block numbers of the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tables {
    /// The block bitmap.
    pub(super) block_bitmap: u64,
    /// The inode bitmap.
    pub(super) inode_bitmap: u64,
    /// The first block of the inode table.
    pub(super) inode_table: u64,
}

/// A file system before it is written: pure data.
#[derive(Clone)]
pub struct Layout {
    pub(super) superblock: Superblock,
    pub(super) geometry: Geometry,
    pub(super) tables: Vec<Tables>,
    pub(super) journal: Option<(Journal, Vec<Run>)>,
    pub(super) orphan_file: Vec<Run>,
    /// The double indirect block of the resize inode.
    pub(super) resize_block: Option<u64>,
    /// What all of that takes.
    pub(super) space: Space,
    /// What `s_overhead_clusters` counts: tables and journal.
    pub(super) overhead: u64,
    pub(super) root_owner: (u32, u32),
    pub(super) time: i64,
}

impl Layout {
    /// Decide.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what cannot be made, by its name; [`Error::NoSpace`] where it does not fit.
    pub fn new(options: &Options) -> Result<Self> {
        let shape = Shape::new(options)?;
        let superblock = superblock::superblock(&shape, options)?;
        let geometry = Geometry::new(&superblock, shape.block_count * shape.block_size)
            .map_err(|_| too_small(&shape))?;
        let mut used = place::superblocks(&geometry);
        let tables = place::tables(&geometry, &mut used)?;
        let mut layout = Self::bare(geometry, superblock, options);
        layout.tables = tables;
        layout.space = Space::new(used, layout.block_count());
        layout.place_files(Journal::new(&shape, options)?, layout.middle(), 0)?;
        // Root and `lost+found`, and a map of the latter.
        let needed = 1 + layout.lost_and_found_blocks();
        if layout.space.free() < needed {
            return Err(too_small(&shape));
        }
        Ok(layout)
    }

    /// A shape, and nothing placed.
    pub(super) fn bare(geometry: Geometry, superblock: Superblock, options: &Options) -> Self {
        Self {
            superblock,
            geometry,
            tables: Vec::new(),
            journal: None,
            orphan_file: Vec::new(),
            resize_block: None,
            space: Space::new(RunSet::default(), 0),
            overhead: 0,
            root_owner: options.root_owner,
            time: options.time,
        }
    }

    /// Place the files without a name: the journal from `goal` on. `data_blocks` of what is taken are no overhead.
    pub(super) fn place_files(
        &mut self,
        journal: Option<Journal>,
        goal: u64,
        data_blocks: u64,
    ) -> Result<()> {
        let before = self.space.free();
        let compat = self.geometry.features.compat;
        if let Some(journal) = journal {
            let taken = self.space.take_near(journal.blocks, goal).map_err(|_| {
                Error::NoSpace(format!(
                    "a journal of {} blocks does not fit {before} free ones",
                    journal.blocks
                ))
            })?;
            self.journal = Some((journal, taken));
        }
        self.overhead = self.space.used().count(0, self.geometry.block_count) - data_blocks;
        if compat.contains(Compat::RESIZE_INODE) {
            self.resize_block = Some(self.space.take_one()?);
        }
        if compat.contains(Compat::ORPHAN_FILE) {
            self.orphan_file = self.space.take_all(self.orphan_file_blocks())?;
        }
        Ok(())
    }

    /// Where the journal goes: the first block of the group in the middle, or of the first one that shares its tables.
    fn middle(&self) -> u64 {
        let group = self.geometry.group_count / 2;
        let flex = match self.geometry.features.incompat.contains(Incompat::FLEX_BG) {
            true => self.geometry.groups_per_flex,
            false => 1,
        };
        self.geometry.group_start(GroupNr(group - group % flex))
    }

    /// One block for each 4,096: 32 to 512 of them, of no more than 2 MiB, since the kernel takes 8 MiB at most.
    fn orphan_file_blocks(&self) -> u64 {
        let most = ((2 << 20) / self.block_size()).clamp(32, 512);
        (self.geometry.block_count / 4096).clamp(32, most)
    }

    /// Blocks of `lost+found`.
    pub(super) fn lost_and_found_blocks(&self) -> u64 {
        let blocks = LOST_AND_FOUND_LEN.div_ceil(self.geometry.block_size as u64);
        blocks.clamp(2, LOST_AND_FOUND_MAX)
    }

    /// Bytes of a block.
    pub fn block_size(&self) -> u64 {
        self.geometry.block_size as u64
    }

    /// Blocks of the file system.
    pub fn block_count(&self) -> u64 {
        self.geometry.block_count
    }

    /// Bytes of the file system.
    pub fn len(&self) -> u64 {
        self.block_count() * self.block_size()
    }

    /// Whether there is no byte; there always is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Inodes, the reserved ones too.
    pub fn inode_count(&self) -> u32 {
        self.geometry.inode_count
    }

    /// Features that are on, in `mke2fs`'s words.
    pub fn features(&self) -> Vec<String> {
        self.geometry.features.names()
    }

    /// The UUID.
    pub fn uuid(&self) -> [u8; 16] {
        self.geometry.uuid
    }
}

fn too_small(shape: &Shape) -> Error {
    Error::NoSpace(format!(
        "{} blocks of {} bytes are too few for an ext file system",
        shape.block_count, shape.block_size
    ))
}

impl std::fmt::Debug for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layout")
            .field("geometry", &self.geometry)
            .field("tables", &self.tables)
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}
