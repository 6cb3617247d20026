//! The lowest level of a tree: SHA-256 of each piece of a file, made by several cores at once. What lies in a hole is not read.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::thread;

use imgfmt::Storage;
use sha2::{Digest as _, Sha256};

use super::shape::{FANOUT, Hash, PIECE, ZERO_LEAF};
use super::tree::Step;

/// Pieces between two joins of the workers: 1 GiB, whole groups. It bounds the memory for hashes, however long a file says
/// that it is.
const BATCH: u64 = 128 * FANOUT as u64;
/// The most pieces that a worker takes at a time, 1 MiB: they are asked for by all workers in turn.
const RUN: usize = 16;
/// The stack of a worker, in bytes.
const STACK: usize = 128 << 10;
/// The most workers: past that, disks and memory are what is waited for.
const WORKERS_MAX: usize = 32;

/// Show `show` the hashes of `storage` in order, many at a time, with the number of the first, which begins a group. Whole groups
/// of holes may be left out. `last_of_zeros` is the hash of the last piece, should it be of zeros.
///
/// # Errors
/// Those of [`super::tree::of`].
pub(super) fn each<S: Storage + Sync>(
    storage: &S,
    last_of_zeros: Hash,
    step: &Step<'_>,
    show: &mut dyn FnMut(u64, &[Hash]),
) -> io::Result<()> {
    let len = storage.len();
    let pieces = len.div_ceil(PIECE);
    let mut first = 0;
    while first < pieces {
        step(first * PIECE)?;
        let Some(data) = storage.data_from(first * PIECE)? else { break };
        first = first.max(data.start / PIECE / FANOUT as u64 * FANOUT as u64);
        if first >= pieces {
            break;
        }
        let end = pieces.min(first.saturating_add(BATCH));
        let mut hashes = vec![ZERO_LEAF; usize::try_from(end - first).expect("a batch is small")];
        if end == pieces {
            *hashes.last_mut().expect("no batch is empty") = last_of_zeros;
        }
        Batch { storage, step }.fill(first, data, &mut hashes)?;
        show(first, &hashes);
        first = end;
    }
    // Past the end of a file that has become shorter there seem to be only holes.
    if let Some(last) = len.checked_sub(1) {
        storage.read_at(last, &mut [0])?;
    }
    step(len)
}

/// The hashes of these pieces of `storage`, which are few.
///
/// # Errors
/// Those of the host.
pub(super) fn some<S: Storage + Sync>(
    storage: &S,
    pieces: BTreeSet<u64>,
) -> io::Result<Vec<(u64, Hash)>> {
    let pieces: Vec<u64> = pieces.into_iter().collect();
    let made = |pieces: &[u64]| {
        let mut buf = buffer();
        let hash = |nr: &u64| Ok((*nr, piece(storage, *nr, &mut buf)?));
        pieces.iter().map(hash).collect::<io::Result<Vec<_>>>()
    };
    let (here, there) = pieces.split_at(pieces.len().div_ceil(2));
    thread::scope(|scope| {
        let worker = thread::Builder::new().stack_size(STACK);
        let there = match worker.spawn_scoped(scope, || made(there)) {
            Ok(worker) => {
                let here = made(here)?;
                let there = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                return Ok([here, there?].concat());
            }
            Err(_) => made(there)?,
        };
        Ok([made(here)?, there].concat())
    })
}

/// Some pieces that follow one another.
struct Batch<'a, S> {
    storage: &'a S,
    step: &'a Step<'a>,
}

/// What the workers share.
struct Shared<'a> {
    /// Hashes that are not given out yet; before them, the number of the first.
    rest: &'a mut [Hash],
    next: u64,
    /// The run of data found last.
    data: Range<u64>,
    outcome: io::Result<()>,
}

impl<'a> Shared<'a> {
    /// The first `count` of those that are left, and their number.
    fn split(&mut self, count: usize) -> (u64, &'a mut [Hash]) {
        let (taken, rest) = std::mem::take(&mut self.rest).split_at_mut(count);
        let first = self.next;
        (self.rest, self.next) = (rest, first + count as u64);
        (first, taken)
    }
}

impl<S: Storage + Sync> Batch<'_, S> {
    /// Compute those hashes, from piece `first` on, that are not of holes. All are of holes already. The first data from there
    /// on is `data`.
    fn fill(&self, first: u64, data: Range<u64>, hashes: &mut [Hash]) -> io::Result<()> {
        let workers = thread::available_parallelism().map_or(1, |cores| cores.get());
        let workers = workers.min(hashes.len().div_ceil(RUN)).min(WORKERS_MAX);
        let shared = Mutex::new(Shared { rest: hashes, next: first, data, outcome: Ok(()) });
        thread::scope(|scope| {
            for _ in 1..workers {
                // Where the host gives no more threads, those that there are do it.
                let worker = thread::Builder::new().stack_size(STACK);
                let _ = worker.spawn_scoped(scope, || self.work(&shared));
            }
            self.work(&shared);
        });
        shared.into_inner().unwrap_or_else(PoisonError::into_inner).outcome
    }

    /// Take pieces until there are none.
    fn work(&self, shared: &Mutex<Shared<'_>>) {
        let mut buf = buffer();
        let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let taken = self.take(&mut lock());
            let outcome = match taken {
                Ok(None) => return,
                Ok(Some((first, hashes))) => (first..).zip(hashes).try_for_each(|(nr, place)| {
                    *place = piece(self.storage, nr, &mut buf)?;
                    Ok(())
                }),
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                let mut shared = lock();
                shared.rest = Default::default();
                if shared.outcome.is_ok() {
                    shared.outcome = Err(error);
                }
                return;
            }
        }
    }

    /// The next pieces that are not all hole, and where their hashes go.
    fn take<'l>(&self, shared: &mut Shared<'l>) -> io::Result<Option<(u64, &'l mut [Hash])>> {
        loop {
            if shared.rest.is_empty() {
                return Ok(None);
            }
            let start = shared.next * PIECE;
            if start >= shared.data.end {
                // Nothing but holes from here on is as data that nobody comes to.
                let none = u64::MAX..u64::MAX;
                shared.data = self.storage.data_from(start)?.unwrap_or(none);
            }
            let at_most =
                |pieces: u64, most: usize| usize::try_from(pieces).map_or(most, |p| most.min(p));
            let left = shared.rest.len();
            let holes = at_most(shared.data.start.saturating_sub(start) / PIECE, left);
            if holes > 0 {
                shared.split(holes);
                continue;
            }
            (self.step)(start)?;
            let count =
                at_most(shared.data.end.saturating_sub(start).div_ceil(PIECE), left.min(RUN));
            // One at least: a host may have made a hole of the data since.
            return Ok(Some(shared.split(count.max(1))));
        }
    }
}

/// Room for a piece.
fn buffer() -> Vec<u8> {
    vec![0; usize::try_from(PIECE).expect("64 KiB")]
}

fn piece<S: Storage>(storage: &S, nr: u64, buf: &mut [u8]) -> io::Result<Hash> {
    let start = nr * PIECE;
    let len = usize::try_from((storage.len() - start).min(PIECE)).expect("64 KiB");
    storage.read_at(start, &mut buf[..len])?;
    Ok(Sha256::digest(&buf[..len]).into())
}
