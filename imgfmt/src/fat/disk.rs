//! The device that the crate `fatfs` writes to: changed blocks in memory, above a volume that is never touched.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};

use super::geometry::{Geometry, Root};
use crate::Volume;
use crate::changes::Changes;
use crate::storage::Storage;

/// The unit of change, in bytes.
const BLOCK: u64 = 4096;

/// Blocks by their number; the last one of a volume may be shorter.
type Blocks = BTreeMap<u64, Vec<u8>>;

/// A volume, and the blocks that edits have changed so far.
#[derive(Clone, Debug)]
pub(super) struct Overlay<'a> {
    volume: Volume<'a>,
    blocks: Blocks,
}

impl<'a> Overlay<'a> {
    pub(super) fn new(volume: Volume<'a>) -> Self {
        Self { volume, blocks: Blocks::new() }
    }

    /// A device for one edit. What it writes is lost unless [`Overlay::keep`] gets it.
    pub(super) fn device(&self) -> Device<'_, 'a> {
        Device { overlay: self, written: Blocks::new(), position: 0, near: None, spill: None }
    }

    /// A device whose blocks go to `spill`, and from there into the volume, when there are many. What was kept is in the
    /// volume already.
    pub(super) fn device_through<'o>(&'o self, spill: Spill<'o>) -> Device<'o, 'a> {
        Device { spill: Some(spill), ..self.device() }
    }

    pub(super) fn keep(&mut self, written: Written) {
        self.blocks.extend(written.0);
    }

    /// Whether nothing was kept.
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// What differs from the volume, at offsets of the image.
    pub(super) fn into_changes(mut self) -> io::Result<Changes> {
        self.take_changes()
    }

    /// The same; the volume will have them.
    pub(super) fn take_changes(&mut self) -> io::Result<Changes> {
        let mut changes = Changes::new();
        for (nr, block) in std::mem::take(&mut self.blocks) {
            let mut before = vec![0; block.len()];
            self.volume.read_at(nr * BLOCK, &mut before)?;
            if before != block {
                changes.insert(self.volume.start() + nr * BLOCK, block);
            }
        }
        Ok(changes)
    }

    fn block(&self, nr: u64) -> io::Result<Vec<u8>> {
        if let Some(block) = self.blocks.get(&nr) {
            return Ok(block.clone());
        }
        let len = BLOCK.min(self.volume.len() - nr * BLOCK);
        let mut block = vec![0; usize::try_from(len).expect("at most a block")];
        self.volume.read_at(nr * BLOCK, &mut block)?;
        Ok(block)
    }
}

/// Blocks that are held before they are spilt.
const SPILL_AT: usize = 1024;

/// Where blocks go that are too many to hold, by their offset in the image.
pub(super) struct Spill<'o>(&'o mut dyn FnMut(u64, &[u8]) -> io::Result<()>);

impl<'o> Spill<'o> {
    pub(super) fn new(write: &'o mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> Self {
        Self(write)
    }
}

impl fmt::Debug for Spill<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spill")
    }
}

/// The blocks that one edit wrote.
#[derive(Debug)]
pub(super) struct Written(Blocks);

/// A device with a position. It cannot grow.
#[derive(Debug)]
pub(super) struct Device<'o, 'a> {
    overlay: &'o Overlay<'a>,
    written: Blocks,
    position: u64,
    /// The block of the volume that was read last. The crate follows a chain by reading its links one by one, two or
    /// four bytes each, and most of them lie beside the one before.
    near: Option<(u64, Vec<u8>)>,
    spill: Option<Spill<'o>>,
}

impl Device<'_, '_> {
    pub(super) fn into_written(self) -> Written {
        Written(self.written)
    }

    /// Give away all blocks, neighbours together.
    pub(super) fn spill(&mut self) -> io::Result<()> {
        let Some(Spill(write)) = &mut self.spill else { return Ok(()) };
        // The volume is about to change.
        self.near = None;
        let start = self.overlay.volume.start();
        let mut run: Option<(u64, Vec<u8>)> = None;
        for (nr, block) in std::mem::take(&mut self.written) {
            let offset = start + nr * BLOCK;
            match &mut run {
                Some((at, bytes)) if *at + bytes.len() as u64 == offset => bytes.extend(block),
                _ => {
                    if let Some((at, bytes)) = run.replace((offset, block)) {
                        write(at, &bytes)?;
                    }
                }
            }
        }
        run.map_or(Ok(()), |(at, bytes)| write(at, &bytes))
    }

    /// Give a directory that this edit made the `.` and `..` that the format wants. The crate writes both with long
    /// names, which nobody else does or accepts, and lets `..` lead to the cluster of the root, which has to be 0.
    ///
    /// ```text
    /// made:  long "." | . | long ".." | ..      wanted:  . | .. | 0 | 0
    /// ```
    pub(super) fn mend_dots(&mut self, geometry: &Geometry) -> io::Result<()> {
        const NAMES: [&[u8]; 4] = [b"A.\0", b".          ", b"A.\0.\0", b"..         "];
        let blocks: Vec<u64> = self.written.keys().copied().collect();
        let clusters = blocks.iter().flat_map(|nr| geometry.clusters_in(nr * BLOCK, BLOCK));
        for cluster in clusters {
            // Only what was free before: a file could hold such bytes, too.
            let mut before = self.overlay.device();
            let was = geometry.link(cluster, |at, buf| {
                before.seek(SeekFrom::Start(geometry.table + at))?;
                before.read_exact(buf)
            })?;
            let offset = geometry.offset_from_cluster(cluster);
            let mut entries = [0; 128];
            self.seek(SeekFrom::Start(offset))?;
            self.read_exact(&mut entries)?;
            let (made, _) = entries.as_chunks::<32>();
            if was != 0 || !made.iter().zip(NAMES).all(|(entry, name)| entry.starts_with(name)) {
                continue;
            }
            let mut parent = made[3];
            let leads_to = u32::from_le_bytes([parent[26], parent[27], parent[20], parent[21]]);
            if matches!(geometry.root, Root::Cluster(root) if root == leads_to) {
                for at in [20, 21, 26, 27] {
                    parent[at] = 0;
                }
            }
            self.seek(SeekFrom::Start(offset))?;
            self.write_all([made[1], parent, [0; 32], [0; 32]].as_flattened())?;
        }
        Ok(())
    }

    /// A block that no edit has changed.
    fn unchanged(&mut self, nr: u64) -> io::Result<&[u8]> {
        let near = match self.near.take() {
            Some(near) if near.0 == nr => near,
            _ => (nr, self.overlay.block(nr)?),
        };
        Ok(&self.near.insert(near).1)
    }

    /// The block at the position, the place in it, and how many of `len` bytes are in it.
    fn here(&self, len: usize) -> (u64, usize, usize) {
        let nr = self.position / BLOCK;
        let at = self.position % BLOCK;
        let left = (self.overlay.volume.len().saturating_sub(self.position)).min(BLOCK - at);
        let at = usize::try_from(at).expect("less than a block");
        (nr, at, len.min(usize::try_from(left).expect("at most a block")))
    }
}

impl Read for Device<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (nr, at, count) = self.here(buf.len());
        if count == 0 {
            return Ok(0);
        }
        let held = self.written.get(&nr).or_else(|| self.overlay.blocks.get(&nr));
        match held {
            Some(block) => buf[..count].copy_from_slice(&block[at..at + count]),
            None => buf[..count].copy_from_slice(&self.unchanged(nr)?[at..at + count]),
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for Device<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let (nr, at, count) = self.here(buf.len());
        if count == 0 {
            return Ok(0);
        }
        if !self.written.contains_key(&nr) {
            if self.spill.is_some() && self.written.len() >= SPILL_AT {
                self.spill()?;
            }
            self.written.insert(nr, self.overlay.block(nr)?);
        }
        let block = self.written.get_mut(&nr).expect("it was put there");
        block[at..at + count].copy_from_slice(&buf[..count]);
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Device<'_, '_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.overlay.volume.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
