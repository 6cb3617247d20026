//! Host blocks, reserved before a write.
//!
//! A write into a hole of a sparse file needs a host block at that moment, and a full host has none: the edit would be half
//! done. So every page that will be touched gets its block first. Nothing here changes what the file holds: a reserved hole
//! still reads as zeros, and when the host is full the holes reserved so far are punched out again.
//!
//! Three kinds of host file system:
//!
//! ```text
//! ext4, xfs, tmpfs…       fallocate                      blocks are there
//! ext2, ext3, nfs3…       no fallocate: the same bytes are read and written back, then synced
//! btrfs, zfs, bcachefs    fallocate promises nothing for blocks in use, since each write goes to a new place: the same
//!                         bytes are written back, which shows that there is some room
//! ```

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

use crate::changes::Changes;
use crate::error::{Error, Result};
use crate::host;

/// Room on the host for a change.
#[derive(Debug)]
pub(crate) struct Reservation {
    holes: Vec<Range<u64>>,
}

/// How much is read and written back at a time, in bytes.
const PIECE: u64 = 1 << 20;

/// The runs of whole pages of `page` bytes that ranges (offset and length in bytes, in any order) touch, joined where they
/// meet, cut off at `len`, the length of the file.
pub(crate) fn page_runs(
    ranges: impl Iterator<Item = (u64, u64)>,
    page: u64,
    len: u64,
) -> Vec<Range<u64>> {
    let mut pages: Vec<Range<u64>> = ranges
        .map(|(offset, count)| {
            let end = (offset + count).next_multiple_of(page).min(len);
            offset / page * page..end
        })
        .collect();
    pages.sort_by_key(|run| run.start);
    let mut runs: Vec<Range<u64>> = Vec::new();
    for run in pages {
        match runs.last_mut() {
            Some(last) if run.start <= last.end => last.end = last.end.max(run.end),
            _ => runs.push(run),
        }
    }
    runs
}

/// Give every byte of `runs` a host block.
///
/// # Errors
/// [`Error::HostFull`] with the number of bytes that were needed; the file holds what it held, holes included.
pub(crate) fn reserve(file: &File, runs: &[Range<u64>]) -> Result<Reservation> {
    let needed = runs.iter().map(|run| run.end - run.start).sum::<u64>();
    let mut holes = Vec::new();
    let outcome = reserve_all(file, runs, &mut holes);
    match outcome {
        Ok(()) => Ok(Reservation { holes }),
        Err(error) => {
            punch(file, &holes);
            Err(host::write_error(file, &format!("the change needs {needed} bytes"), error))
        }
    }
}

impl Reservation {
    /// Give back what was taken. Nothing may have been written there.
    pub(crate) fn cancel(self, file: &File) {
        punch(file, &self.holes);
    }
}

fn reserve_all(file: &File, runs: &[Range<u64>], holes: &mut Vec<Range<u64>>) -> io::Result<()> {
    let rewrites = copies_on_write(file);
    let mut written_back = false;
    let page = rustix::param::page_size() as u64;
    let mut may_unshare = true;
    for run in runs {
        let found = holes_in(file, run, page);
        // What has blocks that nobody shares needs none.
        if !rewrites && !may_unshare && found.as_ref().is_some_and(Vec::is_empty) {
            continue;
        }
        holes.extend(found.unwrap_or_default());
        if rewrites || !allocate(file, run, &mut may_unshare)? {
            write_back(file, run)?;
            written_back = true;
        }
    }
    // A host that allocates late (nfs, fuse) says only now that it is full.
    if written_back {
        file.sync_data()?;
    }
    Ok(())
}

/// `false` where the host cannot allocate. Whether it can unshare is asked once.
fn allocate(file: &File, run: &Range<u64>, may_unshare: &mut bool) -> io::Result<bool> {
    // A reflinked file shares its blocks: unsharing is what makes a later write safe there (xfs).
    let unshare = FallocateFlags::UNSHARE_RANGE | FallocateFlags::KEEP_SIZE;
    for mode in [unshare, FallocateFlags::KEEP_SIZE] {
        if mode == unshare && !*may_unshare {
            continue;
        }
        let outcome = retry(|| rustix::fs::fallocate(file, mode, run.start, run.end - run.start));
        match outcome {
            Ok(()) => return Ok(true),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => *may_unshare &= mode != unshare,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

fn write_back(file: &File, run: &Range<u64>) -> io::Result<()> {
    let mut piece =
        vec![0; usize::try_from(PIECE.min(run.end - run.start)).expect("at most 1 MiB")];
    let mut offset = run.start;
    while offset < run.end {
        let len = usize::try_from(PIECE.min(run.end - offset)).expect("at most 1 MiB");
        file.read_exact_at(&mut piece[..len], offset)?;
        file.write_all_at(&piece[..len], offset)?;
        offset += len as u64;
    }
    Ok(())
}

/// The parts of `run`, whole pages of `page` bytes, that have no block yet; `None` where the host cannot tell.
///
/// The host is not asked for the next hole: to find it, it may go through all that lies behind `run`, extent by extent.
fn holes_in(file: &File, run: &Range<u64>, page: u64) -> Option<Vec<Range<u64>>> {
    let mut holes = Vec::new();
    let mut at = run.start;
    while at < run.end {
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => data.min(run.end),
            Err(Errno::NXIO) => run.end,
            Err(_) => return None,
        };
        if data > at {
            holes.push(at..data);
        }
        at = data / page * page + page;
    }
    Some(holes)
}

/// Make holes again. What fails to be punched reads as zeros all the same, so that no error is worth telling.
fn punch(file: &File, holes: &[Range<u64>]) {
    for hole in holes {
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let _unpunched = rustix::fs::fallocate(file, mode, hole.start, hole.end - hole.start);
    }
}

fn copies_on_write(file: &File) -> bool {
    // f_type of btrfs, bcachefs and zfs.
    const REWRITERS: [u64; 3] = [0x9123_683e, 0xca45_1a4e, 0x2fc1_2fc1];
    host::file_system(file).is_some_and(|kind| REWRITERS.contains(&kind))
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            outcome => return outcome,
        }
    }
}

/// Refuse a change that does not lie within `len` bytes.
pub(crate) fn check_within(changes: &Changes, len: u64) -> Result<()> {
    for (offset, bytes) in changes.iter() {
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > len) {
            return Err(Error::corrupt(format!(
                "change at byte {offset} with {} bytes reaches past the end of the image ({len} bytes)",
                bytes.len()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_runs_are_whole_pages_joined_and_cut_at_the_end() {
        let mut changes = Changes::new();
        for (offset, len) in [(4095, 2), (8192, 1), (20_000, 10), (40_000, 960)] {
            changes.insert(offset, vec![1; len]);
        }
        // 4095..4097 touches pages 0 and 1, 8192 page 2; the last page has 40960 - 100 bytes of file.
        let expected = [0..12_288, 16_384..20_480, 36_864..40_960];
        assert_eq!(page_runs(changes.ranges(), 4096, 40_960), expected);
        let backwards: Vec<_> = changes.ranges().collect();
        assert_eq!(page_runs(backwards.into_iter().rev(), 4096, 40_960), expected);
        let cut = page_runs(changes.ranges(), 4096, 40_960 - 100);
        assert_eq!(cut.last(), Some(&(36_864..40_860)));
    }

    #[test]
    fn a_reserved_hole_has_blocks_and_still_reads_as_zeros() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        let holes = |run| holes_in(&file, &run, 4096).expect("this host can tell");
        let found = holes(0..8192);
        assert_eq!((found.len(), found.first()), (1, Some(&(0..8192))));
        reserve(&file, &[0..8192, 65_536..69_632]).unwrap();
        let blocks = std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap());
        assert_eq!(blocks * 512, 12_288);
        let mut bytes = [1; 8192];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [0; 8192]);
        assert_eq!(file.metadata().unwrap().len(), 1 << 20);
        file.write_all_at(&[1; 4096], 4096).unwrap();
        file.write_all_at(&[1; 4096], 16_384).unwrap();
        assert_eq!(holes(4096..8192), []);
        assert_eq!(holes(12_288..24_576), [12_288..16_384, 20_480..24_576]);
    }
}
