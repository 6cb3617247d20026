//! What an inode maps: each block within the volume, in order, and nobody else's.
//!
//! The reader ([`crate::ext::map`]) stops at the first contradiction; this walk says it and goes on with what is left of the
//! tree. A node that belongs to something already is not entered: so no tree can be endless, and none is deeper than its
//! format allows.

use super::{FindingKind, Place, Step, Walk, run};
use crate::ext::blocks::Blocks;
use crate::ext::inode::Inode;
use crate::ext::map::extents::{Node, checksum_holds};
use crate::ext::map::indirect::number;
use crate::ext::nr::BlockNr;
use crate::ext::ondisk::extent::ENTRY_LEN;

/// One more than the last block that a file can have.
const END: u64 = 1 << 32;

/// What was found of a map.
#[derive(Default)]
pub(super) struct Mapped {
    /// Clusters that it takes, those of the map itself too.
    pub(super) units: u64,
    /// One past the last block of the file that is mapped.
    pub(super) end: u64,
    /// One past the last that is not read as zeros.
    pub(super) written_end: u64,
    /// The cluster that was claimed last, which the next run may share.
    last_unit: Option<u64>,
    /// Findings already said of this map; a broken one would say each block.
    said: u32,
}

/// A node that is still to be looked at.
struct Todo {
    block: BlockNr,
    depth: u16,
    /// Blocks of the file that it may map.
    from: u64,
    end: u64,
}

/// Findings of one kind that are said of one map.
const SAID_MAX: u32 = 4;

impl Walk<'_, '_> {
    fn map_finding(&mut self, inode: &Inode, mapped: &mut Mapped, what: String) -> Step {
        mapped.said += 1;
        match mapped.said {
            0..SAID_MAX => self.add(FindingKind::Map, Place::Inode(inode.nr()), what),
            SAID_MAX => {
                let what = "more is wrong with its map";
                self.add(FindingKind::Map, Place::Inode(inode.nr()), what)
            }
            _ => Ok(()),
        }
    }

    /// A run of file data.
    fn data(
        &mut self,
        inode: &Inode,
        mapped: &mut Mapped,
        lblk: u64,
        run_: (BlockNr, u64),
    ) -> Step {
        let (first, count) = run_;
        if !self.is_within(first, count) {
            let what = format!("{} of the file: {} do not exist", lblk, run(first.0, count));
            return self.map_finding(inode, mapped, what);
        }
        let ratio = self.ratio();
        if lblk % ratio != first.0 % ratio {
            let what =
                format!("block {lblk} of the file lies at {first}, elsewhere in its cluster");
            self.map_finding(inode, mapped, what)?;
        }
        let (mut from, to) = (self.unit(first.0), self.unit(first.0 + count - 1));
        if ratio > 1 && mapped.last_unit == Some(from) {
            from += 1;
        }
        mapped.last_unit = Some(to);
        mapped.end = mapped.end.max(lblk + count);
        if from <= to {
            mapped.units += to - from + 1;
            self.claim(Place::Inode(inode.nr()), from, to - from + 1)?;
        }
        Ok(())
    }

    /// A block of the map itself; whether it may be entered.
    fn map_block(&mut self, inode: &Inode, mapped: &mut Mapped, block: BlockNr) -> Step<bool> {
        if !self.is_within(block, 1) {
            let what = format!("its map leads to block {block}, which does not exist");
            self.map_finding(inode, mapped, what)?;
            return Ok(false);
        }
        mapped.units += 1;
        self.claim(Place::Inode(inode.nr()), self.unit(block.0), 1)
    }

    /// Walk an extent tree.
    pub(super) fn extents(&mut self, inode: &Inode) -> Step<Mapped> {
        let mut mapped = Mapped::default();
        let root = inode.base().block;
        let mut todo = Vec::new();
        match Node::new(&root, None) {
            Ok(node) => {
                self.room(inode, &mut mapped, &node, root.len())?;
                let whole = Todo { block: BlockNr(0), depth: node.depth(), from: 0, end: END };
                self.node(inode, &mut mapped, &node, &whole, &mut todo)?;
            }
            Err(what) => self.map_finding(inode, &mut mapped, format!("extent tree: {what}"))?,
        }
        while let Some(next) = todo.pop() {
            if !self.map_block(inode, &mut mapped, next.block)? {
                continue;
            }
            let bytes = self.fs.read_block(next.block)?;
            let at = format!("extent block {}", next.block);
            let node = match Node::new(&bytes, Some(next.depth)) {
                Ok(node) => node,
                Err(what) => {
                    self.map_finding(inode, &mut mapped, format!("{at}: {what}"))?;
                    continue;
                }
            };
            self.room(inode, &mut mapped, &node, bytes.len())?;
            let geometry = self.geometry();
            if geometry.has_metadata_csum()
                && !checksum_holds(&bytes, node.max(), inode.seed(geometry))
            {
                let what = format!("{at}: checksum is wrong");
                self.map_finding(inode, &mut mapped, what)?;
            }
            let room = geometry.block_size / ENTRY_LEN - 1;
            if usize::from(node.max()) + 2 < room {
                let what = format!("{at}: room for {} entries, not {room}", node.max());
                self.map_finding(inode, &mut mapped, what)?;
            }
            let first = match node.depth() {
                0 => node.extents().first().map(|entry| entry.block.get()),
                _ => node.indexes().first().map(|entry| entry.block.get()),
            };
            if first.is_some_and(|first| u64::from(first) != next.from) {
                let what = format!("{at}: begins elsewhere than its parent says ({})", next.from);
                self.map_finding(inode, &mut mapped, what)?;
            }
            self.node(inode, &mut mapped, &node, &next, &mut todo)?;
        }
        Ok(mapped)
    }

    /// A node fills its `len` bytes but for the tail of a checksum: `eh_max` is two entries short of that at most.
    fn room(&mut self, inode: &Inode, mapped: &mut Mapped, node: &Node<'_>, len: usize) -> Step {
        let most = len / ENTRY_LEN - 1;
        if usize::from(node.max()) + 2 >= most {
            return Ok(());
        }
        let what = format!("extent tree: a node has room for {} entries, not {most}", node.max());
        self.map_finding(inode, mapped, what)
    }

    fn node(
        &mut self,
        inode: &Inode,
        mapped: &mut Mapped,
        node: &Node<'_>,
        at: &Todo,
        todo: &mut Vec<Todo>,
    ) -> Step {
        let mut from = at.from;
        if node.depth() > 0 {
            let entries = node.indexes();
            let mut below = Vec::with_capacity(entries.len());
            for (i, entry) in entries.iter().enumerate() {
                let start = u64::from(entry.block.get());
                let end = entries.get(i + 1).map_or(at.end, |next| next.block.get().into());
                if start < from || start >= end || end > at.end {
                    let what = format!("extent tree: index of block {start} is out of order");
                    self.map_finding(inode, mapped, what)?;
                    continue;
                }
                from = end;
                let depth = node.depth() - 1;
                below.push(Todo { block: entry.leaf(), depth, from: start, end });
            }
            // The first is popped first.
            todo.extend(below.into_iter().rev());
            return Ok(());
        }
        for entry in node.extents() {
            let (start, len) = (u64::from(entry.block.get()), u64::from(entry.len()));
            if len == 0 || start < from || start + len > at.end {
                let what = format!("extent of {len} blocks at {start} is out of order");
                self.map_finding(inode, mapped, what)?;
                continue;
            }
            from = start + len;
            if entry.is_unwritten() && inode.is_dir() {
                let what = format!("directory with an unwritten extent at block {start}");
                self.map_finding(inode, mapped, what)?;
            }
            self.data(inode, mapped, start, (entry.start(), len))?;
            if !entry.is_unwritten() {
                mapped.written_end = mapped.written_end.max(start + len);
            }
        }
        Ok(())
    }

    /// Walk lists of block numbers.
    pub(super) fn indirect(&mut self, inode: &Inode) -> Step<Mapped> {
        let mut mapped = Mapped::default();
        let root = inode.base().block;
        let mut pending = None;
        let mut lblk = 0;
        for slot in 0..15_usize {
            let level = u32::try_from(slot.saturating_sub(11)).expect("below 4");
            let nr = number(&root, slot);
            self.enter(inode, &mut mapped, &mut pending, (nr, level, lblk))?;
            lblk += self.span(level);
        }
        self.flush(inode, &mut mapped, &mut pending)?;
        mapped.written_end = mapped.end;
        Ok(mapped)
    }

    /// Blocks of a file below a number at `level`.
    fn span(&self, level: u32) -> u64 {
        (self.geometry().block_size as u64 / 4).pow(level)
    }

    /// Data is gathered into runs; three levels is as deep as it gets.
    fn enter(
        &mut self,
        inode: &Inode,
        mapped: &mut Mapped,
        pending: &mut Option<(u64, u64, u64)>,
        (nr, level, lblk): (u32, u32, u64),
    ) -> Step {
        if nr == 0 {
            return Ok(());
        }
        if level == 0 {
            match pending {
                Some((at, first, count))
                    if *at + *count == lblk && *first + *count == u64::from(nr) =>
                {
                    *count += 1;
                }
                _ => {
                    self.flush(inode, mapped, pending)?;
                    *pending = Some((lblk, nr.into(), 1));
                }
            }
            return Ok(());
        }
        let block = BlockNr(nr.into());
        if !self.map_block(inode, mapped, block)? {
            return Ok(());
        }
        let array = self.fs.read_block(block)?;
        let span = self.span(level - 1);
        for index in 0..array.len() / 4 {
            let below = (number(&array, index), level - 1, lblk + index as u64 * span);
            self.enter(inode, mapped, pending, below)?;
        }
        Ok(())
    }

    fn flush(
        &mut self,
        inode: &Inode,
        mapped: &mut Mapped,
        pending: &mut Option<(u64, u64, u64)>,
    ) -> Step {
        match pending.take() {
            None => Ok(()),
            // Each number is judged alone: some of a run may exist.
            Some((lblk, first, count)) => match self.is_within(BlockNr(first), count) {
                true => self.data(inode, mapped, lblk, (BlockNr(first), count)),
                false => (0..count)
                    .try_for_each(|i| self.data(inode, mapped, lblk + i, (BlockNr(first + i), 1))),
            },
        }
    }
}
