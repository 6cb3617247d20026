//! qcow2, QEMU's format, in which cloud images come: read as if it were raw, and written anew by [`write`](write()),
//! or as an edit of another image, by [`write_overlay`].
//!
//! [`Qcow2`] is a [`Storage`]: whatever reads raw images reads these. Versions 2 and 3; clusters of 512 bytes to 2 MiB,
//! compressed with zlib or zstd; extended L2 entries (subclusters); backing files. What is on the disk now is read, not
//! what an internal snapshot keeps. Nothing here edits such an image: edits are for raw ones, and [`write`](write())
//! makes another file.
//!
//! Refused by name: encryption, an external data file, an image that is marked corrupt, unknown incompatible features.
//! Reference counts are not looked at, so a dirty mark, which says that those may be stale, does not matter.
//!
//! Source: QEMU's `docs/interop/qcow2.txt`. Numbers are big-endian. The way of a byte, with clusters of 64 KiB:
//!
//! ```text
//! offset 0x1234_5678 of the disk
//!   0x5678            within its cluster                      16 bits
//!   0x234 & 0x1fff    index into an L2 table of 8192 entries  13 bits, of 0x1234 = 0x0_1234
//!   0x0               index into the L1 table                 the rest
//! L1 entry  80000000 00050000                   the L2 table is at byte 0x50000 of the file (bit 63: nobody shares it)
//! L2 entry  80000000 00090000                   the cluster is at byte 0x90000
//!           00000000 00000001                   version 3: zeros
//!           00000000 00000000                   not here: the backing file has it, or it is zeros
//!           4(sectors - 1, then the byte)       bit 62: compressed
//! ```

#![forbid(unsafe_code)]

mod backing;
mod cluster;
mod encode;
mod entry;
mod growing;
mod header;
mod overlay;
mod plan;
mod write;

use std::io;
use std::ops::Range;
use std::sync::Mutex;

use crate::error::{Error, Result};
use crate::storage::Storage;

pub use backing::{Layer, is_qcow2, open};
pub use header::{Backing, Compression, Header};
pub use overlay::write_overlay;
pub use write::{Options, Written, write};

use cluster::Clusters;
use entry::{Place, Tables};

/// A qcow2 image, read as the disk that it holds.
#[derive(Debug)]
pub struct Qcow2<S, B = S> {
    file: S,
    header: Header,
    /// Of what is not in the file itself; what it is too short for reads as zeros.
    below: Option<B>,
    cache: Mutex<Cache>,
}

#[derive(Debug)]
struct Cache {
    tables: Tables,
    clusters: Clusters,
}

impl<S: Storage, B: Storage> Qcow2<S, B> {
    /// Read `file`, whose header is `header`, over `below`, the disk of its backing file.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the header names a backing file and there is none, or the other
    /// way round.
    pub fn new(file: S, header: Header, below: Option<B>) -> Result<Self> {
        if header.backing.is_some() != below.is_some() {
            return Err(Error::Unsupported(
                "qcow2: a backing file belongs to an image that names one, and to no other".into(),
            ));
        }
        let cache = Mutex::new(Cache { tables: Tables::new(), clusters: Clusters::new(&header) });
        Ok(Self { file, header, below, cache })
    }

    /// What its header says.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Where the byte `at` of the disk is, and how many bytes from there on have the same answer.
    fn place(&self, at: u64) -> io::Result<(Place, u64)> {
        let mut cache = self.cache.lock().expect("no reader panics while it holds the lock");
        cache.tables.place(&self.file, &self.header, at)
    }

    fn read_below(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        let len = self.below.as_ref().map_or(0, Storage::len);
        let there = usize::try_from(len.saturating_sub(at)).map_or(buf.len(), |n| n.min(buf.len()));
        let (held, past) = buf.split_at_mut(there);
        past.fill(0);
        match &self.below {
            Some(below) if !held.is_empty() => below.read_at(at, held),
            _ => Ok(()),
        }
    }

    fn read_piece(&self, at: u64, place: Place, buf: &mut [u8]) -> io::Result<()> {
        match place {
            Place::Zero => buf.fill(0),
            Place::Below => self.read_below(at, buf)?,
            Place::At(offset) => self.file.read_at(offset, buf).map_err(|e| match e.kind() {
                io::ErrorKind::UnexpectedEof => cut_short(at, offset, self.file.len()),
                _ => e,
            })?,
            Place::Packed { offset, len } => {
                let mut cache =
                    self.cache.lock().expect("no reader panics while it holds the lock");
                let within = self.header.offset_in_cluster(at);
                let cluster =
                    cache.clusters.unpacked(&self.file, at - within as u64, offset, len)?;
                buf.copy_from_slice(&cluster[within..within + buf.len()]);
            }
        }
        Ok(())
    }
}

impl<S: Storage, B: Storage> Storage for Qcow2<S, B> {
    fn len(&self) -> u64 {
        self.header.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        match offset.checked_add(buf.len() as u64) {
            Some(end) if end <= self.len() => {}
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let (place, same) = self.place(at)?;
            let len = usize::try_from(same).map_or(rest.len(), |same| same.min(rest.len()));
            let (now, later) = rest.split_at_mut(len);
            self.read_piece(at, place, now)?;
            (at, rest) = (at + len as u64, later);
        }
        Ok(())
    }

    fn data_from(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let mut at = offset;
        // Where the next data is below holds until that is behind us: asked again at each cluster, the layer below
        // would go through the same tables each time.
        let mut next: Option<Range<u64>> = None;
        while at < self.len() {
            let (place, same) = self.place(at)?;
            let end = at.saturating_add(same).min(self.len());
            match (place, &self.below) {
                (Place::Zero, _) | (Place::Below, None) => {}
                (Place::Below, Some(below)) => {
                    let data = match next.take().filter(|data| at < data.end) {
                        Some(data) => data,
                        None => below.data_from(at)?.unwrap_or(u64::MAX..u64::MAX),
                    };
                    if data.start < end {
                        return Ok(Some(data.start.max(at)..data.end.min(end)));
                    }
                    next = Some(data);
                }
                (Place::At(_) | Place::Packed { .. }, _) => return Ok(Some(at..end)),
            }
            at = end;
        }
        Ok(None)
    }
}

/// Bytes that contradict the format, met while the disk is read.
fn corrupt(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("corrupt qcow2: {what}"))
}

fn cut_short(at: u64, offset: u64, len: u64) -> io::Error {
    corrupt(format!(
        "byte {at} of the disk is at {offset}, in a file of {len} bytes: was it cut short?"
    ))
}
