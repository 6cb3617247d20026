//! The orphan file: inodes whose last name is gone, or whose end is being cut off, while somebody has them open.
//!
//! ```text
//! each block:  inode 1311 | 0 | 0 | … | magic 0x0b10ca04 | checksum
//! ```
//! The feature `orphan_present` says only that it may hold some: it is on as long as the file system is mounted.

use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::checksum;
use crate::ext::inode::{self, FileType};
use crate::ext::map;
use crate::ext::nr::InodeNr;

const MAGIC: u32 = 0x0B10_CA04;
/// Magic number and checksum at the end of each block.
pub(crate) const TAIL_LEN: usize = 8;
/// Bytes of the largest orphan file that the kernel takes.
const LEN_MAX: u64 = 8 << 20;

/// Whether the orphan file, which must be sound, names no inode.
pub(crate) fn is_file_empty(blocks: &impl Blocks) -> Result<bool> {
    let geometry = blocks.geometry();
    let nr = InodeNr(blocks.superblock().orphan_file_inum.get());
    let damaged = |what: &str| Error::corrupt(format!("ext orphan file (inode {nr}): {what}"));
    let inode = inode::read(blocks, nr)?;
    let size = inode.size(geometry);
    if inode.kind() != FileType::File || size > LEN_MAX {
        return Err(damaged("not a regular file of 8 MiB or less"));
    }
    for lblk in 0..size / geometry.block_size as u64 {
        let lblk = u32::try_from(lblk).expect("8 MiB of blocks");
        let Some(block) = map::lookup(blocks, &inode, lblk)?.start else {
            return Err(damaged("it has a hole"));
        };
        let bytes = blocks.read_block(block)?;
        let (entries, tail) = bytes.split_at(bytes.len() - TAIL_LEN);
        if tail[..4] != MAGIC.to_le_bytes() {
            return Err(damaged("no magic number"));
        }
        let crc = checksum::crc32c(inode.seed(geometry), &block.0.to_le_bytes());
        if geometry.has_metadata_csum() && tail[4..] != checksum::crc32c(crc, entries).to_le_bytes()
        {
            return Err(damaged("checksum is wrong"));
        }
        if entries.iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}
