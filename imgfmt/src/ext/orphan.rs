//! The orphan file: inodes whose last name is gone, or whose end is being cut off, while somebody has them open.
//!
//! ```text
//! each block:  inode 1311 | 0 | 0 | … | magic 0x0b10ca04 | checksum
//! ```
//! The feature `orphan_present` says only that it may hold some: it is on as long as the file system is mounted.

use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::checksum;
use crate::ext::edit::transaction::Transaction;
use crate::ext::geometry::Geometry;
use crate::ext::inode::{self, FileType};
use crate::ext::map;
use crate::ext::nr::{BlockNr, InodeNr};

const MAGIC: u32 = 0x0B10_CA04;
/// Magic number and checksum at the end of each block.
pub(crate) const TAIL_LEN: usize = 8;
/// Bytes of the largest orphan file that the kernel takes.
const LEN_MAX: u64 = 8 << 20;

/// The inodes that the orphan file, which must be sound, names, in its order; at most `max` of them.
pub(crate) fn entries(blocks: &impl Blocks, max: usize) -> Result<Vec<InodeNr>> {
    let mut entries = Vec::new();
    for block in file_blocks(blocks)? {
        let bytes = blocks.read_block(block.nr)?;
        block.check(blocks.geometry(), &bytes)?;
        for entry in bytes[..bytes.len() - TAIL_LEN].chunks_exact(4) {
            let nr = u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]);
            if nr != 0 {
                entries.push(InodeNr(nr));
            }
        }
        if entries.len() > max {
            break;
        }
    }
    Ok(entries)
}

/// Make the orphan file name no inode.
pub(crate) fn clear(tx: &mut Transaction<'_>) -> Result<()> {
    for block in file_blocks(tx)? {
        let bytes = tx.read_block(block.nr)?;
        if bytes[..bytes.len() - TAIL_LEN].iter().all(|&byte| byte == 0) {
            continue;
        }
        let mut bytes = bytes.into_owned();
        let (entries, tail) = bytes.split_at_mut(block_len(tx));
        entries.fill(0);
        if tx.geometry().has_metadata_csum() {
            tail[4..].copy_from_slice(&checksum::crc32c(block.seed, entries).to_le_bytes());
        }
        tx.put_block(block.nr, bytes);
    }
    Ok(())
}

/// Bytes of a block that hold entries.
fn block_len(blocks: &impl Blocks) -> usize {
    blocks.geometry().block_size - TAIL_LEN
}

/// A block of the orphan file.
struct FileBlock {
    file: InodeNr,
    nr: BlockNr,
    /// Of its checksum.
    seed: u32,
}

impl FileBlock {
    fn check(&self, geometry: &Geometry, bytes: &[u8]) -> Result<()> {
        let (entries, tail) = bytes.split_at(bytes.len() - TAIL_LEN);
        if tail[..4] != MAGIC.to_le_bytes() {
            return Err(damaged(self.file, "no magic number"));
        }
        let crc = checksum::crc32c(self.seed, entries);
        if geometry.has_metadata_csum() && tail[4..] != crc.to_le_bytes() {
            return Err(damaged(self.file, "checksum is wrong"));
        }
        Ok(())
    }
}

fn damaged(nr: InodeNr, what: &str) -> Error {
    Error::corrupt(format!("ext orphan file (inode {nr}): {what}"))
}

fn file_blocks(blocks: &impl Blocks) -> Result<Vec<FileBlock>> {
    let geometry = blocks.geometry();
    let file = InodeNr(blocks.superblock().orphan_file_inum.get());
    let inode = inode::read(blocks, file)?;
    let size = inode.size(geometry);
    if inode.kind() != FileType::File || size > LEN_MAX {
        return Err(damaged(file, "not a regular file of 8 MiB or less"));
    }
    let count = u32::try_from(size / geometry.block_size as u64).expect("8 MiB of blocks");
    let block = |lblk| {
        let nr = map::lookup(blocks, &inode, lblk)?.start;
        let nr = nr.ok_or_else(|| damaged(file, "it has a hole"))?;
        let seed = checksum::crc32c(inode.seed(geometry), &nr.0.to_le_bytes());
        Ok(FileBlock { file, nr, seed })
    };
    (0..count).map(block).collect()
}
