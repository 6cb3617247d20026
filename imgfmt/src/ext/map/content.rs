//! The content of a file that has a map: its blocks in order, holes and unwritten blocks as zeros.

use std::io::Write;

use super::lookup;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::inode::{Inode, corrupt};

/// Bytes that are read at once.
pub(crate) const CHUNK: usize = 256 * 1024;

/// Write all that the map of an inode leads to, up to its length, to `out`. Returns the length in bytes.
pub(crate) fn copy(blocks: &impl Blocks, inode: &Inode, out: &mut dyn Write) -> Result<u64> {
    let geometry = blocks.geometry();
    let (size, block_size) = (inode.size(geometry), geometry.block_size);
    let mut buf = Vec::new();
    let mut offset = 0;
    while offset < size {
        let lblk = u32::try_from(offset / block_size as u64)
            .map_err(|_| corrupt(inode.nr(), &format!("length is {size} bytes")))?;
        let run = lookup(blocks, inode, lblk)?;
        let left = (size - offset).min(run.count.saturating_mul(block_size as u64));
        let len = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK.max(block_size));
        buf.resize(len.next_multiple_of(block_size), 0);
        match run.start {
            Some(start) => blocks.read_run(start, &mut buf)?,
            None => buf.fill(0),
        }
        write(inode, out, &buf[..len])?;
        offset += len as u64;
    }
    Ok(size)
}

/// Write some content of an inode to `out`.
pub(crate) fn write(inode: &Inode, out: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).map_err(|e| Error::io(format!("inode {} copied out", inode.nr()), e))
}
