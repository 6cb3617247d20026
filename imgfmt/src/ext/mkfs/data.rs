//! File data on its way to the target: one buffer, from which runs of many files go out in one write.

use crate::archive::{Content, Data};
use crate::error::{Error, Result};
use crate::ext::mkfs::map::Piece;
use crate::ext::mkfs::space::Space;
use crate::ext::mkfs::target::Target;

/// Bytes that are written at once.
const BUFFER_LEN: usize = 1 << 20;

/// What waits to be written.
pub(super) struct Pending {
    /// Where the first byte of the buffer belongs, in bytes.
    start: u64,
    /// Always as long as it gets; what was there before is overwritten.
    buffer: Vec<u8>,
    /// How much of it waits.
    len: usize,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self { start: 0, buffer: vec![0; BUFFER_LEN], len: 0 }
    }

    /// Write what there is.
    pub(super) fn flush(&mut self, target: &mut dyn Target) -> Result<()> {
        if self.len > 0 {
            let full = std::mem::take(&mut self.buffer);
            self.buffer = target
                .write_buffer(self.start, full, self.len)
                .map_err(|e| Error::io(format!("writing at byte {}", self.start), e))?;
        }
        self.start += self.len as u64;
        self.len = 0;
        Ok(())
    }

    /// What comes next belongs to `offset`.
    fn seek(&mut self, offset: u64, target: &mut dyn Target) -> Result<()> {
        if self.start + self.len as u64 != offset {
            self.flush(target)?;
            self.start = offset;
        }
        Ok(())
    }

    /// `len` bytes of content, or of zeros.
    fn append(
        &mut self,
        mut len: u64,
        mut content: Option<&mut Content<'_>>,
        target: &mut dyn Target,
    ) -> Result<()> {
        while len > 0 {
            if self.len == self.buffer.len() {
                self.flush(target)?;
            }
            let room = &mut self.buffer[self.len..];
            let here = usize::try_from(len).map_or(room.len(), |len| len.min(room.len()));
            match content.as_deref_mut() {
                None => room[..here].fill(0),
                Some(content) => {
                    if content.read(&mut room[..here])? < here {
                        return Err(Error::Archive(
                            "content is shorter than its entry says".into(),
                        ));
                    }
                }
            }
            self.len += here;
            len -= here as u64;
        }
        Ok(())
    }
}

/// Blocks of a file that have data: first, and one past the last.
fn block_ranges(len: u64, data: &Data, block_size: u64) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for run in data.runs(len) {
        let (from, to) = (run.offset / block_size, (run.offset + run.len).div_ceil(block_size));
        match ranges.last_mut() {
            Some(last) if last.1 >= from => last.1 = to,
            _ => ranges.push((from, to)),
        }
    }
    ranges
}

/// Take blocks for a file of `len` bytes, and write its content into them.
pub(super) fn write(
    (len, data): (u64, &Data),
    content: &mut Content<'_>,
    space: &mut Space,
    pending: &mut Pending,
    target: &mut dyn Target,
    block_size: u64,
) -> Result<Vec<Piece>> {
    let ranges = block_ranges(len, data, block_size);
    let wanted: u64 = ranges.iter().map(|(from, to)| to - from).sum();
    if wanted > space.free() {
        return Err(space.full(wanted));
    }
    let mut runs = data.runs(len);
    let mut run = runs.next();
    let mut pieces = Vec::new();
    for (from, to) in ranges {
        let mut lblk = from;
        while lblk < to {
            let taken = space.take(to - lblk)?;
            pieces.push(Piece { lblk, run: taken });
            pending.seek(taken.start * block_size, target)?;
            let (mut at, end) = (lblk * block_size, (lblk + taken.len) * block_size);
            while at < end {
                match &mut run {
                    Some(here) if here.offset <= at => {
                        let part = here.len.min(end - at);
                        pending.append(part, Some(content), target)?;
                        at += part;
                        here.offset += part;
                        here.len -= part;
                        if here.len == 0 {
                            run = runs.next();
                        }
                    }
                    next => {
                        let to = next.as_ref().map_or(end, |next| next.offset.min(end));
                        pending.append(to - at, None, target)?;
                        at = to;
                    }
                }
            }
            lblk += taken.len;
        }
    }
    Ok(pieces)
}
