//! File data on its way to the target: blocks are taken in the order in which it comes.

use crate::archive::{Content, Data};
use crate::error::Result;
use crate::ext::mkfs::buffer::Buffer;
use crate::ext::mkfs::map::Piece;
use crate::ext::mkfs::space::Space;

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
    buffer: &mut Buffer<'_>,
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
            buffer.seek(taken.start * block_size)?;
            let (mut at, end) = (lblk * block_size, (lblk + taken.len) * block_size);
            while at < end {
                match &mut run {
                    Some(here) if here.offset <= at => {
                        let part = here.len.min(end - at);
                        buffer.append(part, Some(content))?;
                        at += part;
                        here.offset += part;
                        here.len -= part;
                        if here.len == 0 {
                            run = runs.next();
                        }
                    }
                    next => {
                        let to = next.as_ref().map_or(end, |next| next.offset.min(end));
                        buffer.append(to - at, None)?;
                        at = to;
                    }
                }
            }
            lblk += taken.len;
        }
    }
    Ok(pieces)
}
