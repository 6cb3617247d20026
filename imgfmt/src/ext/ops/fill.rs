//! New content behind what a file has.
//!
//! Content is written into blocks that were free, never over other content: a crash before the edit is whole must leave
//! the old file. So a last block that is only partly used is not filled up; a copy that is takes its place.

use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::edit::transaction::Transaction;
use crate::ext::feature::RoCompat;
use crate::ext::inode::{Inode, corrupt};
use crate::ext::map::{self, indirect};
use crate::ext::nr::BlockNr;
use crate::ext::ondisk::inode::flag;

/// Where a file goes on, and what it has taken for that.
pub(super) struct Fill {
    lblk: u32,
    goal: BlockNr,
    blocks: u64,
}

impl Fill {
    /// Go on at block `lblk`, from which on the file maps nothing.
    pub(super) fn new(tx: &Transaction<'_>, inode: &Inode, lblk: u32) -> Result<Self> {
        let before = lblk.checked_sub(1).map(|last| map::lookup(tx, inode, last)).transpose()?;
        let goal = match before.and_then(|run| run.start) {
            Some(last) => BlockNr(last.0 + 1),
            None => tx.inode_goal(inode.nr())?,
        };
        Ok(Self { lblk, goal, blocks: 0 })
    }

    /// Add content: whole blocks, or the last.
    pub(super) fn push(
        &mut self,
        tx: &mut Transaction<'_>,
        inode: &mut Inode,
        bytes: &[u8],
    ) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (start, len) = self.take(tx, inode, rest.len())?;
            let (run, after) = rest.split_at(len.min(rest.len()));
            tx.put_data(start, run);
            rest = after;
        }
        Ok(())
    }

    /// The same, without a copy where one run of blocks takes it all.
    pub(super) fn push_owned(
        &mut self,
        tx: &mut Transaction<'_>,
        inode: &mut Inode,
        bytes: Vec<u8>,
    ) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let (start, len) = self.take(tx, inode, bytes.len())?;
        if len >= bytes.len() {
            tx.put_owned_data(start, bytes);
            return Ok(());
        }
        let (run, rest) = bytes.split_at(len);
        tx.put_data(start, run);
        self.push(tx, inode, rest)
    }

    /// Map a run of at most as many blocks as `len` bytes want: its first block, and its length in bytes.
    fn take(
        &mut self,
        tx: &mut Transaction<'_>,
        inode: &mut Inode,
        len: usize,
    ) -> Result<(BlockNr, usize)> {
        let block_size = tx.geometry().block_size;
        let want = u32::try_from(len.div_ceil(block_size)).unwrap_or(u32::MAX);
        let (start, count) = tx.alloc_run(self.goal, want)?;
        let grown = map::edit::append(tx, inode, self.lblk, start, count)?;
        self.blocks += u64::from(count) + grown;
        self.goal = BlockNr(start.0 + u64::from(count));
        self.lblk = self.lblk.checked_add(count).ok_or_else(|| too_long(inode))?;
        Ok((start, count as usize * block_size))
    }

    /// The file is `len` bytes long now. Stores the inode.
    pub(super) fn finish(self, tx: &mut Transaction<'_>, mut inode: Inode, len: u64) -> Result<()> {
        let sectors = self.blocks * (tx.geometry().block_size as u64 / 512);
        let sectors = inode.sectors(tx.geometry()).checked_add(sectors);
        if !sectors.is_some_and(|sectors| inode.set_sectors(tx.geometry(), sectors)) {
            return Err(Error::NoSpace("a file of 2 TiB".to_owned()));
        }
        inode.set_flag(flag::EOFBLOCKS, false);
        inode.set_size(len);
        if len > 0x7FFF_FFFF {
            tx.note_large_file()?;
        }
        inode.set_mtime(tx.now());
        inode.set_ctime(tx.now());
        tx.put_inode(inode)
    }
}

/// Refuse a length that the map of a file cannot have, be it all holes (`s_maxbytes`).
pub(super) fn check_len(tx: &Transaction<'_>, inode: &Inode, len: u64) -> Result<()> {
    let geometry = tx.geometry();
    let block_size = geometry.block_size as u64;
    // i_blocks counts in 32 bits of sectors, or in 48.
    let bits = if geometry.has(RoCompat::HUGE_FILE) { 48 } else { 32 };
    let counted = ((1_u64 << bits) - 1) / (block_size / 512);
    let blocks = match inode.has(flag::EXTENTS) {
        true => counted.min((1 << 32) - 1),
        false => indirect::max_blocks(geometry.block_size, counted),
    };
    let most = blocks.saturating_mul(block_size).min(i64::MAX.unsigned_abs());
    if len > most {
        return Err(Error::NoSpace(format!("a file of {len} bytes: {most} is the most")));
    }
    Ok(())
}

/// The last, partly used block of a file of `len` bytes, up to its end, and its number. It and all behind it are freed.
pub(super) fn take_tail(
    tx: &mut Transaction<'_>,
    inode: &mut Inode,
    len: u64,
) -> Result<(u32, Vec<u8>)> {
    let block_size = tx.geometry().block_size;
    let used = within(len, block_size);
    let lblk = lblk(inode, len / block_size as u64)?;
    let mut tail = Vec::new();
    if used > 0 {
        match map::lookup(tx, inode, lblk)?.start {
            Some(block) => tail.extend(&tx.read_block(block)?[..used]),
            None => tail.resize(used, 0),
        }
    }
    map::edit::truncate(tx, inode, lblk)?;
    Ok((lblk, tail))
}

/// Bytes of `len` in its last block, 0 where they fill it.
pub(super) fn within(len: u64, block_size: usize) -> usize {
    usize::try_from(len % block_size as u64).expect("less than a block")
}

/// A block of a file by a length that is on the disk.
pub(super) fn lblk(inode: &Inode, index: u64) -> Result<u32> {
    u32::try_from(index).map_err(|_| corrupt(inode.nr(), &format!("no file has {index} blocks")))
}

fn too_long(inode: &Inode) -> Error {
    Error::NoSpace(format!("inode {} cannot have more blocks", inode.nr()))
}
