//! A qcow2 file that is written from its start to its end.
//!
//! Clusters and L2 tables are laid down as they come, then the L1 table and the reference counts, which are known by
//! then, and the header last. Until then the file is not an image of any kind. What is in the clusters is the caller's.
//!
//! In memory are the L1 table, one L2 table, two bytes for each cluster of the file, and what was not handed to the
//! host yet: small pieces are gathered, so that a small file takes two calls.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::encode::encode;
use super::header::{Backing, Compression, Header, L1_MAX};
use super::plan::counts;
use super::write::Written;
use crate::error::{Error, Result};
use crate::host;

/// Bit 63 of an entry: the reference count is one.
pub(super) const COPIED: u64 = 1 << 63;

/// What is gathered before it is written, at most, in bytes.
const GATHERED: usize = 256 << 10;

/// The disk that such a file is to hold, and in which clusters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) cluster_bits: u32,
    /// A multiple of 512.
    disk_len: u64,
    l1_entries: u32,
}

impl Shape {
    /// A disk of `len` bytes, rounded up to 512.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where it is too long for such clusters.
    pub(super) fn new(len: u64, cluster_bits: u32) -> Result<Self> {
        let disk_len = len.checked_next_multiple_of(512);
        // An L2 table has 2^(bits - 3) entries of 2^bits bytes.
        let entries = disk_len.map(|len| len.div_ceil(1 << (2 * cluster_bits - 3)));
        match (disk_len, entries.and_then(|entries| u32::try_from(entries).ok())) {
            (Some(disk_len), Some(l1_entries @ ..=L1_MAX)) => {
                Ok(Self { cluster_bits, disk_len, l1_entries })
            }
            _ => Err(Error::Unsupported(format!(
                "a disk of {len} bytes in clusters of {} bytes",
                1_u32 << cluster_bits
            ))),
        }
    }

    pub(super) fn cluster_len(self) -> usize {
        1 << self.cluster_bits
    }
}

/// The file so far.
pub(super) struct Growing<'a> {
    to: &'a File,
    /// What is being done, for errors.
    what: &'static str,
    shape: Shape,
    l1: Vec<u64>,
    /// The L2 table that is being filled, and its number.
    l2: Vec<u64>,
    l2_nr: usize,
    /// One for each cluster of the file.
    refcounts: Vec<u16>,
    /// What is still to be written, and where.
    gathered: Vec<u8>,
    gathered_at: u64,
}

impl<'a> Growing<'a> {
    /// Begin with nothing in `to`, whatever it held.
    pub(super) fn new(to: &'a File, what: &'static str, shape: Shape) -> Result<Self> {
        to.set_len(0).map_err(|e| host::write_error(to, what, e))?;
        let l1 = vec![0; shape.l1_entries as usize];
        let l2 = vec![0; shape.cluster_len() / size_of::<u64>()];
        Ok(Self {
            to,
            what,
            shape,
            l1,
            l2,
            l2_nr: 0,
            // That of the header.
            refcounts: vec![1],
            gathered: Vec::new(),
            gathered_at: 0,
        })
    }

    /// Where the next new cluster begins.
    pub(super) fn end(&self) -> u64 {
        (self.refcounts.len() as u64) << self.shape.cluster_bits
    }

    /// Write whole clusters at the end of the file. Where they begin.
    pub(super) fn append(&mut self, clusters: &[u8]) -> Result<u64> {
        debug_assert!(clusters.len().is_multiple_of(self.shape.cluster_len()), "whole clusters");
        let offset = self.end();
        self.write(offset, clusters)?;
        let count = clusters.len() >> self.shape.cluster_bits;
        self.refcounts.resize(self.refcounts.len() + count, 1);
        Ok(offset)
    }

    /// Write `bytes` at `offset`, in the last cluster or behind it; each cluster that they touch gains a reference. How
    /// many the last one has.
    pub(super) fn append_within(&mut self, offset: u64, bytes: &[u8]) -> Result<u16> {
        self.write(offset, bytes)?;
        let nr = |at: u64| usize::try_from(at >> self.shape.cluster_bits).expect("of a file");
        let (first, last) = (nr(offset), nr(offset + bytes.len() as u64 - 1));
        self.refcounts.resize(self.refcounts.len().max(last + 1), 0);
        for count in &mut self.refcounts[first..=last] {
            *count += 1;
        }
        Ok(self.refcounts[last])
    }

    /// The L2 entry of the cluster of byte `at` of the disk. Clusters come in rising order.
    pub(super) fn set_entry(&mut self, at: u64, entry: u64) -> Result<()> {
        let nr = usize::try_from(at >> self.shape.cluster_bits).expect("fewer than 2^53 clusters");
        let (l2_nr, index) = (nr / self.l2.len(), nr % self.l2.len());
        if l2_nr != self.l2_nr {
            self.close_l2()?;
            self.l2_nr = l2_nr;
        }
        self.l2[index] = entry;
        Ok(())
    }

    /// Write the L2 table that was filled, if anything is in it.
    fn close_l2(&mut self) -> Result<()> {
        if self.l2.iter().all(|entry| *entry == 0) {
            return Ok(());
        }
        let offset = self.append(&self.table(&self.l2))?;
        self.l1[self.l2_nr] = offset | COPIED;
        self.l2.fill(0);
        Ok(())
    }

    /// The tables, the reference counts, the header.
    pub(super) fn finish(
        mut self,
        compression: Compression,
        backing: Option<&Backing>,
    ) -> Result<Written> {
        self.close_l2()?;
        let bits = self.shape.cluster_bits;
        let l1_offset = self.append(&self.table(&self.l1))?;
        let used = self.refcounts.len() as u64;
        let (blocks, tables) = counts(used, bits);
        let counted = usize::try_from(used + blocks + tables).expect("of a file");
        self.refcounts.resize(counted, 1);
        let block_bytes = usize::try_from(blocks << bits).expect("two bytes a cluster");
        let mut counts: Vec<u8> = self.refcounts.iter().flat_map(|nr| nr.to_be_bytes()).collect();
        counts.resize(block_bytes, 0);
        self.write(used << bits, &counts)?;
        let table: Vec<u64> = (used..used + blocks).map(|nr| nr << bits).collect();
        let table_offset = (used + blocks) << bits;
        self.write(table_offset, &self.table(&table))?;
        self.flush()?;
        let header = Header {
            version: 3,
            len: self.shape.disk_len,
            backing: backing.cloned(),
            compression,
            snapshots: 0,
            cluster_bits: bits,
            has_extended_l2: false,
            l1_offset,
            l1_entries: self.shape.l1_entries,
        };
        let tables = u32::try_from(tables).expect("few");
        self.write(0, &encode(&header, table_offset, tables))?;
        self.flush()?;
        Ok(Written { disk_len: self.shape.disk_len, file_len: self.end() })
    }

    /// A table as it is in the file: big-endian, in whole clusters.
    fn table(&self, numbers: &[u64]) -> Vec<u8> {
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        bytes.resize(bytes.len().next_multiple_of(self.shape.cluster_len()), 0);
        bytes
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let follows = offset == self.gathered_at + self.gathered.len() as u64;
        if !follows || self.gathered.len() + bytes.len() > GATHERED {
            self.flush()?;
            self.gathered_at = offset;
        }
        if bytes.len() < GATHERED {
            self.gathered.extend_from_slice(bytes);
            return Ok(());
        }
        self.gathered_at += bytes.len() as u64;
        self.to.write_all_at(bytes, offset).map_err(|e| self.write_error(e))
    }

    fn flush(&mut self) -> Result<()> {
        let outcome = self.to.write_all_at(&self.gathered, self.gathered_at);
        outcome.map_err(|e| self.write_error(e))?;
        self.gathered_at += self.gathered.len() as u64;
        self.gathered.clear();
        Ok(())
    }

    fn write_error(&self, error: io::Error) -> Error {
        host::write_error(self.to, self.what, error)
    }
}
