//! The file system as it will be: its new shape, over the blocks as they are.
//!
//! Changes are of two kinds. What is *guarded* is read by whoever mounts the file system as it is, and changes all at once.
//! What is *ahead* nobody reads before that: the new groups, and the backups of superblock and descriptors.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::changes::Changes;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::fs::Fs;
use crate::ext::geometry::Geometry;
use crate::ext::nr::BlockNr;
use crate::ext::ondisk::superblock::Superblock;
use crate::ext::space::group::GroupDesc;

/// Bytes that are held at most.
const HELD_MAX: usize = 1 << 30;

/// A file system that grows.
pub(super) struct Enlarged<'a> {
    pub(super) fs: &'a Fs<'a>,
    pub(super) superblock: Superblock,
    pub(super) geometry: Geometry,
    /// Bytes of the volume from which on all are known to be zeros.
    zeros_from: u64,
    pub(super) guarded: BTreeMap<BlockNr, Vec<u8>>,
    ahead: BTreeMap<BlockNr, Vec<u8>>,
    held: usize,
}

impl<'a> Enlarged<'a> {
    /// Nothing changed yet but the shape.
    pub(super) fn new(
        fs: &'a Fs<'a>,
        superblock: Superblock,
        geometry: Geometry,
        zeros_from: u64,
    ) -> Self {
        let (guarded, ahead) = (BTreeMap::new(), BTreeMap::new());
        Self { fs, superblock, geometry, zeros_from, guarded, ahead, held: 0 }
    }

    /// The file system as it is.
    pub(super) fn old(&self) -> &Geometry {
        self.fs.geometry()
    }

    /// Whether blocks are known to hold zeros.
    pub(super) fn is_fresh(&self, first: BlockNr) -> bool {
        let offset = first.0.saturating_mul(self.geometry.block_size as u64);
        offset >= self.zeros_from && first.0 >= self.old().block_count
    }

    /// Give a block that somebody reads new content.
    pub(super) fn guard(&mut self, block: BlockNr, bytes: Vec<u8>) {
        self.guarded.insert(block, bytes);
    }

    /// Give a block that nobody reads yet its content.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where more would have to be held than fits in memory.
    pub(super) fn write_ahead(&mut self, block: BlockNr, bytes: Vec<u8>) -> Result<()> {
        self.held += bytes.len();
        if self.held > HELD_MAX {
            return Err(Error::Unsupported(format!(
                "growth of the ext file system that has to write more than {HELD_MAX} bytes at once"
            )));
        }
        self.ahead.insert(block, bytes);
        Ok(())
    }

    /// The same for what may be old or new: it is guarded in the file system as it is.
    pub(super) fn put(&mut self, block: BlockNr, bytes: Vec<u8>) -> Result<()> {
        match block.0 < self.old().block_count {
            true => self.guard(block, bytes),
            false => self.write_ahead(block, bytes)?,
        }
        Ok(())
    }

    /// A block, or zeros where it was no part of the file system: whatever stands there means nothing.
    pub(super) fn read_or_blank(&self, block: BlockNr) -> Result<Vec<u8>> {
        let is_known = block.0 < self.old().block_count || self.ahead.contains_key(&block);
        match is_known {
            true => Ok(self.read_block(block)?.into_owned()),
            false => Ok(vec![0; self.geometry.block_size]),
        }
    }

    /// Store a descriptor, its checksum filled.
    pub(super) fn put_group(&mut self, mut desc: GroupDesc) -> Result<()> {
        desc.seal(&self.geometry);
        let (block, offset) = self.geometry.desc_location(desc.group());
        let mut bytes = self.read_or_blank(block)?;
        bytes[offset..offset + desc.bytes().len()].copy_from_slice(desc.bytes());
        self.put(block, bytes)
    }

    /// What nobody reads yet must not be what somebody reads: descriptors say where bitmaps are, and may say anything.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where a block is both.
    pub(super) fn check_apart(&self) -> Result<()> {
        match self.guarded.keys().find(|block| self.ahead.contains_key(block)) {
            None => Ok(()),
            Some(block) => Err(Error::corrupt(format!(
                "block {block} belongs to a backup of the superblock or descriptors, and to something else"
            ))),
        }
    }

    /// What is written ahead, by its place in the image. It is taken out.
    pub(super) fn take_ahead(&mut self) -> Changes {
        let ahead = std::mem::take(&mut self.ahead);
        self.changes(ahead)
    }

    /// Blocks by their places in the image.
    pub(super) fn changes(&self, blocks: BTreeMap<BlockNr, Vec<u8>>) -> Changes {
        let block_size = self.geometry.block_size as u64;
        let mut changes = Changes::new();
        for (block, bytes) in blocks {
            changes.insert(self.fs.volume().start() + block.0 * block_size, bytes);
        }
        changes
    }
}

impl Blocks for Enlarged<'_> {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    fn read_block(&self, block: BlockNr) -> Result<Cow<'_, [u8]>> {
        match self.guarded.get(&block).or_else(|| self.ahead.get(&block)) {
            Some(bytes) => Ok(Cow::Borrowed(bytes)),
            None => self.fs.read_block(block),
        }
    }

    fn read_run(&self, first: BlockNr, buf: &mut [u8]) -> Result<()> {
        for (block, chunk) in (first.0..).zip(buf.chunks_exact_mut(self.geometry.block_size)) {
            chunk.copy_from_slice(&self.read_block(BlockNr(block))?);
        }
        Ok(())
    }
}
