//! The leaves of a file: SHA-256 of each of its pieces, made by several cores at once. What lies in a hole is not read.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::thread;

use imgfmt::Storage;
use sha2::{Digest as _, Sha256};

use super::tree::{Leaf, PIECE, Step, ZERO_LEAF, zero_leaf};

/// Pieces between two joins of the workers: 4 GiB. It bounds the memory for leaves, however long a file says that it is.
const BATCH: u64 = 4096;

/// Bytes that a worker reads at a time: they stay in the processor's cache, and many workers take little memory.
const READ: usize = 128 << 10;
/// The stack of a worker, in bytes.
const STACK: usize = 128 << 10;
/// The most workers: past that, disks and memory are what is waited for.
const WORKERS_MAX: usize = 32;

/// Show `leaf` the leaves of `storage` in order, some at a time, with the number of the first.
///
/// # Errors
/// Those of [`super::tree::of`].
pub(super) fn each<S: Storage + Sync>(
    storage: &S,
    step: &Step<'_>,
    show: &mut dyn FnMut(u64, &[Leaf]),
) -> io::Result<()> {
    let len = storage.len();
    let pieces = len.div_ceil(PIECE);
    let mut first = 0;
    while first < pieces {
        let end = pieces.min(first.saturating_add(BATCH));
        let mut leaves = vec![ZERO_LEAF; usize::try_from(end - first).expect("a batch is small")];
        if end == pieces && !len.is_multiple_of(PIECE) {
            *leaves.last_mut().expect("no batch is empty") = zero_leaf(len % PIECE);
        }
        step(first * PIECE)?;
        Batch { storage, first, step }.fill(&mut leaves)?;
        show(first, &leaves);
        first = end;
    }
    // Past the end of a file that has become shorter there seem to be only holes.
    if let Some(last) = len.checked_sub(1) {
        storage.read_at(last, &mut [0])?;
    }
    step(len)
}

/// The leaves of these pieces of `storage`, which are few.
///
/// # Errors
/// Those of the host.
pub(super) fn some<S: Storage + Sync>(
    storage: &S,
    pieces: BTreeSet<u64>,
) -> io::Result<Vec<(u64, Leaf)>> {
    let pieces: Vec<u64> = pieces.into_iter().collect();
    let made = |pieces: &[u64]| {
        let mut buf = vec![0; READ];
        let leaf = |nr: &u64| Ok((*nr, leaf(storage, *nr, &mut buf)?));
        pieces.iter().map(leaf).collect::<io::Result<Vec<_>>>()
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
    first: u64,
    step: &'a Step<'a>,
}

/// What the workers share.
struct Shared<'a> {
    /// Leaves that are not given out yet; before them, the number of the first.
    rest: std::slice::IterMut<'a, Leaf>,
    next: u64,
    /// The run of data found last.
    data: Range<u64>,
    outcome: io::Result<()>,
}

impl<S: Storage + Sync> Batch<'_, S> {
    /// Compute those leaves that are not of holes. All are of holes already.
    fn fill(&self, leaves: &mut [Leaf]) -> io::Result<()> {
        let start = self.first * PIECE;
        let Some(data) = self.storage.data_from(start)? else { return Ok(()) };
        let end = start.saturating_add(leaves.len() as u64 * PIECE);
        if data.start >= end {
            return Ok(());
        }
        let workers = thread::available_parallelism().map_or(1, |cores| cores.get());
        let workers = workers.min(leaves.len()).min(WORKERS_MAX);
        let rest = leaves.iter_mut();
        let shared = Mutex::new(Shared { rest, next: self.first, data, outcome: Ok(()) });
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
        let mut buf = vec![0; READ];
        let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let taken = self.take(&mut lock());
            let outcome = match taken {
                Ok(None) => return,
                Ok(Some((nr, place))) => {
                    leaf(self.storage, nr, &mut buf).map(|found| *place = found)
                }
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

    /// The next piece that is not all hole, and where its leaf goes.
    fn take<'l>(&self, shared: &mut Shared<'l>) -> io::Result<Option<(u64, &'l mut Leaf)>> {
        loop {
            let Some(leaf) = shared.rest.next() else { return Ok(None) };
            let nr = shared.next;
            shared.next += 1;
            let start = nr * PIECE;
            if start >= shared.data.end {
                // Nothing but holes from here on is as data that nobody comes to.
                let none = u64::MAX..u64::MAX;
                shared.data = self.storage.data_from(start)?.unwrap_or(none);
            }
            if shared.data.start < start.saturating_add(PIECE) {
                (self.step)(start)?;
                return Ok(Some((nr, leaf)));
            }
        }
    }
}

fn leaf<S: Storage>(storage: &S, nr: u64, buf: &mut [u8]) -> io::Result<Leaf> {
    let mut digest = Sha256::new();
    let mut at = nr * PIECE;
    let end = storage.len().min(at.saturating_add(PIECE));
    while at < end {
        let len = usize::try_from(end - at).map_or(buf.len(), |left| left.min(buf.len()));
        storage.read_at(at, &mut buf[..len])?;
        digest.update(&buf[..len]);
        at += len as u64;
    }
    Ok(digest.finalize().into())
}
