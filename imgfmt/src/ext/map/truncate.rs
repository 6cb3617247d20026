//! Cutting off the end of a map: the blocks of a file from some block on are freed, and the blocks of the map that then
//! lead nowhere.
//!
//! ```text
//! root  0 → A | 5000 → B          cut at 20: B and all below it go, A keeps what lies before 20;
//! A     0 +16 | 16 +16 | …        two entries fit the root, which takes them, and A goes too
//! ```
//! The end of the last block that stays is the caller's: its bytes are not touched, nor is the length of the file.

use zerocopy::FromBytes;

use super::extents::{self, END, Node};
use super::extents_edit::{self, edit_node, header_mut};
use super::indirect::{self, number};
use crate::error::Result;
use crate::ext::blocks::Blocks;
use crate::ext::edit::transaction::Transaction;
use crate::ext::inode::{Inode, corrupt};
use crate::ext::nr::BlockNr;
use crate::ext::ondisk::extent::{ENTRY_LEN, Extent};
use crate::ext::ondisk::inode::flag;

/// Free what the file has from its block `first` on. `i_blocks` follows; the inode is still to be stored.
///
/// Only for an inode that maps blocks: no inline data, no short link, no device.
pub(crate) fn truncate(tx: &mut Transaction<'_>, inode: &mut Inode, first: u32) -> Result<()> {
    let mut cut = Cut { tx, inode, first: first.into(), pending: None, count: 0 };
    match cut.inode.has(flag::EXTENTS) {
        true => cut.tree()?,
        false => cut.lists()?,
    }
    cut.flush()?;
    let (count, geometry) = (cut.count, tx.geometry());
    let sectors = inode.sectors(geometry).checked_sub(count * (geometry.block_size as u64 / 512));
    match sectors {
        Some(sectors) if inode.set_sectors(geometry, sectors) => Ok(()),
        _ => Err(corrupt(inode.nr(), "takes less space than it maps")),
    }
}

/// A cut that is being made.
struct Cut<'a, 'fs> {
    tx: &'a mut Transaction<'fs>,
    inode: &'a mut Inode,
    /// The first block of the file that goes.
    first: u64,
    /// A run that is still to be freed: single blocks that follow one another are freed at once.
    pending: Option<(BlockNr, u64)>,
    /// Blocks freed so far, the map's own too.
    count: u64,
}

impl Cut<'_, '_> {
    fn free(&mut self, start: BlockNr, count: u64) -> Result<()> {
        self.count += count;
        if let Some((first, len)) = &mut self.pending
            && first.0 + *len == start.0
        {
            *len += count;
            return Ok(());
        }
        self.flush()?;
        self.pending = Some((start, count));
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        match self.pending.take() {
            Some((start, count)) => self.tx.free_run(start, count),
            None => Ok(()),
        }
    }

    fn tree(&mut self) -> Result<()> {
        let root = self.inode.base().block;
        let node = Node::new(&root, None).map_err(|e| extents::corrupt(self.inode, &e))?;
        let kept = self.node(None, &node, 0..END)?;
        if kept == 0 {
            extents_edit::clear(self.inode);
        } else if self.count > 0 {
            while self.collapse()? {}
        }
        Ok(())
    }

    /// Cut a node off. Returns how many of its entries stay; where none does, the caller frees it.
    fn node(
        &mut self,
        at: Option<BlockNr>,
        node: &Node<'_>,
        range: std::ops::Range<u64>,
    ) -> Result<u16> {
        let (kept, shorter) = match node.depth() {
            0 => self.leaf(node, range)?,
            _ => (self.branch(node, range)?, None),
        };
        if kept > 0 && (kept < node.count() || shorter.is_some()) {
            edit_node(self.tx, self.inode, at, |bytes| {
                header_mut(bytes).entries = kept.into();
                if let Some(len) = shorter {
                    let last = &mut bytes[usize::from(kept) * ENTRY_LEN..];
                    Extent::mut_from_prefix(last).expect("it was read").0.shorten(len);
                }
            })?;
        }
        Ok(kept)
    }

    /// Free the extents of a leaf. Returns how many stay, and the length of the last one where that is cut.
    fn leaf(&mut self, node: &Node<'_>, range: std::ops::Range<u64>) -> Result<(u16, Option<u16>)> {
        let (mut from, mut kept, mut shorter) = (range.start, 0, None);
        for entry in node.extents() {
            let (at, len) = (u64::from(entry.block.get()), u64::from(entry.len()));
            extents::check_extent(self.tx, self.inode, entry)?;
            if at < from || at + len > range.end {
                return Err(extents::corrupt(self.inode, &"entries out of order"));
            }
            from = at + len;
            let keep = self.first.saturating_sub(at).min(len);
            if keep > 0 {
                kept += 1;
            }
            if keep < len {
                self.free(BlockNr(entry.start().0 + keep), len - keep)?;
                if keep > 0 {
                    shorter = Some(u16::try_from(keep).expect("less than an extent"));
                }
            }
        }
        Ok((kept, shorter))
    }

    /// Cut what is below an inner node. Returns how many entries stay.
    fn branch(&mut self, node: &Node<'_>, range: std::ops::Range<u64>) -> Result<u16> {
        let entries = node.indexes();
        let (mut from, mut kept) = (range.start, 0);
        for (i, entry) in entries.iter().enumerate() {
            let at = u64::from(entry.block.get());
            let end = entries.get(i + 1).map_or(range.end, |next| next.block.get().into());
            if at < from || at >= end || end > range.end {
                return Err(extents::corrupt(self.inode, &"entries out of order"));
            }
            from = end;
            if end > self.first {
                let block = entry.leaf();
                let bytes = extents::read_node(self.tx, self.inode, block, node.depth() - 1)?;
                let child = Node::new(&bytes, None).expect("read_node() looked");
                if self.node(Some(block), &child, at..end)? == 0 {
                    self.free(block, 1)?;
                    continue;
                }
            }
            kept += 1;
        }
        Ok(kept)
    }

    /// Take the entries of the nodes below the root into it, where they fit. Returns whether they did.
    fn collapse(&mut self) -> Result<bool> {
        let old = self.inode.base().block;
        let root = Node::new(&old, None).map_err(|e| extents::corrupt(self.inode, &e))?;
        let Some(depth) = root.depth().checked_sub(1) else { return Ok(false) };
        let mut entries = Vec::new();
        for index in root.indexes() {
            let bytes = extents::read_node(self.tx, self.inode, index.leaf(), depth)?;
            entries.extend(Node::new(&bytes, None).expect("read_node() looked").entries());
        }
        let count = u16::try_from(entries.len() / ENTRY_LEN).unwrap_or(u16::MAX);
        if count > root.max() {
            return Ok(false);
        }
        for index in root.indexes() {
            self.free(index.leaf(), 1)?;
        }
        let bytes = &mut self.inode.base_mut().block;
        bytes[ENTRY_LEN..ENTRY_LEN + entries.len()].copy_from_slice(&entries);
        let header = header_mut(bytes);
        (header.entries, header.depth) = (count.into(), depth.into());
        Ok(true)
    }

    fn lists(&mut self) -> Result<()> {
        let mut start = 0;
        for slot in 0..15_usize {
            let level = u32::try_from(slot.saturating_sub(11).min(3)).expect("three at most");
            let end = start + self.span(level);
            let number = number(&self.inode.base().block, slot);
            if end > self.first && number != 0 && !self.number(number, level, start)? {
                self.inode.base_mut().block[slot * 4..slot * 4 + 4].fill(0);
            }
            start = end;
        }
        Ok(())
    }

    /// Blocks of the file below one number.
    fn span(&self, level: u32) -> u64 {
        (self.tx.geometry().block_size as u64 / 4).pow(level)
    }

    /// Cut what is below a number that leads, in `level` steps, to block `start` of the file and those behind it. Returns
    /// whether anything stays.
    fn number(&mut self, number: u32, level: u32, start: u64) -> Result<bool> {
        let block = indirect::check(self.tx, self.inode, number, 1)?;
        let whole = start >= self.first;
        if whole {
            // Before what it leads to: a block that leads to itself is then freed twice, which is an error.
            self.free(block, 1)?;
        }
        if level == 0 {
            return Ok(!whole);
        }
        let mut bytes = self.tx.read_block(block)?.into_owned();
        let (span, mut left, mut changed) = (self.span(level - 1), false, false);
        for index in 0..bytes.len() / 4 {
            let (next, start) = (indirect::number(&bytes, index), start + index as u64 * span);
            if next == 0 {
                continue;
            }
            if start + span <= self.first || self.number(next, level - 1, start)? {
                left = true;
            } else {
                bytes[index * 4..index * 4 + 4].fill(0);
                changed = true;
            }
        }
        if whole {
            return Ok(false);
        }
        match (left, changed) {
            (true, true) => self.tx.put_block(block, bytes),
            (true, false) => {}
            (false, _) => self.free(block, 1)?,
        }
        Ok(left)
    }
}
