//! What a file system holds before anybody has put a file into it: root, `lost+found`, journal, resize inode, orphan file.

use std::collections::BTreeMap;
use std::rc::Rc;

use zerocopy::IntoBytes;

use crate::error::Result;
use crate::ext::checksum;
use crate::ext::feature::Incompat;
use crate::ext::inode::FileType;
use crate::ext::mkfs::buffer::Buffer;
use crate::ext::mkfs::directory::{self, Named, Place};
use crate::ext::mkfs::inodes::{Record, map_flag};
use crate::ext::mkfs::layout::Layout;
use crate::ext::mkfs::map::{self, Map, Piece};
use crate::ext::mkfs::reserved;
use crate::ext::mkfs::runs::Run;
use crate::ext::mkfs::space::Space;
use crate::ext::nr::InodeNr;

/// Number of the journal's inode.
const JOURNAL: u32 = 8;
/// Number of the inode of `lost+found`.
pub(super) const LOST_AND_FOUND: u32 = 11;
/// Number of the orphan file's inode, where there is one.
pub(super) const ORPHAN_FILE: u32 = 12;
/// Magic number at the end of each block of the orphan file.
const ORPHAN_MAGIC: u32 = 0x0B10_CA04;

/// A layout on its way to the target: inodes in memory, all else written as soon as it is known.
pub(super) struct Contents<'a> {
    pub(super) layout: Rc<Layout>,
    pub(super) buffer: Buffer<'a>,
    pub(super) space: Space,
    pub(super) inodes: BTreeMap<u32, Record>,
}

impl<'a> Contents<'a> {
    /// Nothing yet.
    pub(super) fn new(layout: Rc<Layout>, buffer: Buffer<'a>) -> Self {
        let space = layout.space.clone();
        Self { layout, buffer, space, inodes: BTreeMap::new() }
    }

    /// Write the files without a name.
    pub(super) fn put_files(&mut self) -> Result<()> {
        self.put_resize_inode()?;
        self.put_journal()?;
        self.put_orphan_file()
    }

    /// The seed of the checksums of what belongs to an inode. New ones are of generation 0.
    pub(super) fn seed(&self, inode: u32) -> u32 {
        checksum::inode_seed(self.layout.geometry.seed, InodeNr(inode), 0)
    }

    /// Write at the start of a block.
    pub(super) fn write(&mut self, block: u64, bytes: &[u8]) -> Result<()> {
        let offset = block * self.layout.block_size();
        self.buffer.write(offset, bytes)
    }

    /// Map `pieces` in an inode, and count its blocks. Returns those of the map.
    pub(super) fn map(
        &mut self,
        inode: u32,
        record: &mut Record,
        pieces: &[Piece],
    ) -> Result<Vec<u64>> {
        let layout = Rc::clone(&self.layout);
        let geometry = &layout.geometry;
        let seed = self.seed(inode);
        let space = &mut self.space;
        let Map { root, nodes } = match geometry.features.incompat.contains(Incompat::EXTENT) {
            true => map::by_extents(geometry, seed, pieces, || space.take_one())?,
            false => map::by_blocks(geometry, pieces, || space.take_one())?,
        };
        record.flags |= map_flag(geometry);
        record.block = root;
        record.blocks += pieces.iter().map(|piece| piece.run.len).sum::<u64>() + nodes.len() as u64;
        let mut blocks = Vec::with_capacity(nodes.len());
        for (block, bytes) in nodes {
            self.write(block, &bytes)?;
            blocks.push(block);
        }
        Ok(blocks)
    }

    /// Give a directory its blocks.
    pub(super) fn put_dir(&mut self, inode: u32, record: &mut Record, bytes: &[u8]) -> Result<()> {
        let block_size = self.layout.geometry.block_size;
        let runs = self.space.take_all((bytes.len() / block_size) as u64)?;
        let mut rest = bytes;
        for run in &runs {
            let len = usize::try_from(run.len).expect("part of a slice") * block_size;
            let (here, behind) = rest.split_at(len);
            self.write(run.start, here)?;
            rest = behind;
        }
        record.size = bytes.len() as u64;
        self.map(inode, record, &map::pieces(&runs))?;
        Ok(())
    }

    /// Root and `lost+found`, where nothing else is to be in the root.
    pub(super) fn put_empty_root(&mut self) -> Result<()> {
        let root = InodeNr::ROOT.0;
        let entry = Named { name: b"lost+found", inode: LOST_AND_FOUND, kind: FileType::Directory };
        let place = Place {
            geometry: &self.layout.geometry,
            seed: self.seed(root),
            own: root,
            parent: root,
        };
        let bytes = directory::directory(place, &[entry])?.bytes;
        let mut record = Record::new(FileType::Directory, 0o755, self.layout.time);
        (record.uid, record.gid) = self.layout.root_owner;
        record.links = 3;
        self.put_dir(root, &mut record, &bytes)?;
        self.inodes.insert(root, record);
        self.put_lost_and_found()
    }

    pub(super) fn put_lost_and_found(&mut self) -> Result<()> {
        let place = Place {
            geometry: &self.layout.geometry,
            seed: self.seed(LOST_AND_FOUND),
            own: LOST_AND_FOUND,
            parent: InodeNr::ROOT.0,
        };
        let bytes = directory::lost_and_found(place, self.layout.lost_and_found_blocks());
        let mut record = Record::new(FileType::Directory, 0o700, self.layout.time);
        record.links = 2;
        self.put_dir(LOST_AND_FOUND, &mut record, &bytes)?;
        self.inodes.insert(LOST_AND_FOUND, record);
        Ok(())
    }

    fn put_resize_inode(&mut self) -> Result<()> {
        let Some(block) = self.layout.resize_block else { return Ok(()) };
        let (record, blocks) =
            reserved::resize_inode(&self.layout.geometry, block, self.layout.time);
        for (block, bytes) in blocks {
            if bytes.iter().any(|&byte| byte != 0) {
                self.write(block, &bytes)?;
            }
        }
        self.inodes.insert(reserved::INODE, record);
        Ok(())
    }

    fn put_journal(&mut self) -> Result<()> {
        let layout = Rc::clone(&self.layout);
        let Some((journal, runs)) = &layout.journal else { return Ok(()) };
        self.write(runs[0].start, &journal.superblock(layout.geometry.block_size))?;
        self.put_file(JOURNAL, runs)
    }

    /// An inode for a file that only the file system itself uses.
    fn put_file(&mut self, inode: u32, runs: &[Run]) -> Result<()> {
        let blocks: u64 = runs.iter().map(|run| run.len).sum();
        let mut record = Record::new(FileType::File, 0o600, self.layout.time);
        record.size = blocks * self.layout.block_size();
        self.map(inode, &mut record, &map::pieces(runs))?;
        self.inodes.insert(inode, record);
        Ok(())
    }

    fn put_orphan_file(&mut self) -> Result<()> {
        let layout = Rc::clone(&self.layout);
        if layout.orphan_file.is_empty() {
            return Ok(());
        }
        let seed = self.seed(ORPHAN_FILE);
        let mut bytes = vec![0; layout.geometry.block_size];
        let tail = bytes.len() - 8;
        bytes[tail..tail + 4].copy_from_slice(&ORPHAN_MAGIC.to_le_bytes());
        for block in layout.orphan_file.iter().flat_map(|run| run.start..run.end()) {
            if layout.geometry.has_metadata_csum() {
                let seed = checksum::crc32c(seed, &block.to_le_bytes());
                let crc = checksum::crc32c(seed, &bytes[..tail]);
                bytes[tail + 4..].copy_from_slice(crc.as_bytes());
            }
            self.write(block, &bytes)?;
        }
        self.put_file(ORPHAN_FILE, &layout.orphan_file)
    }
}
