//! A disk written as a qcow2 image, in one pass from the start of the file to its end; then the header.
//!
//! Version 3, without a backing file. Clusters that are all zeros are left out. Until the header is written, which
//! happens last, the file is not an image of any kind.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::header::{CLUSTER_BITS, COMPRESSION_AT, INCOMPATIBLE_COMPRESSION, MAGIC};
use super::plan::{COUNT_BITS_LOG, counts};
use crate::copy::{Progress, is_zero, report_progress};
use crate::error::{Error, Result};
use crate::host;
use crate::storage::Storage;

/// Bit 63: the reference count is one.
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;

/// How an image is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// log2 of the bytes of a cluster, 9 to 21. QEMU's own default is 16.
    pub cluster_bits: u32,
    /// Whether clusters are compressed, with zstd; QEMU reads that since 5.1.
    pub compress: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { cluster_bits: 16, compress: false }
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Length of the disk: that of the original, rounded up to 512 bytes.
    pub disk_len: u64,
    /// Length of the file, in bytes.
    pub file_len: u64,
}

/// Write the disk `from` into `to`, whose contents are lost. It is not synced.
///
/// # Errors
/// [`Error::HostFull`], [`Error::Stopped`], errors of reading `from`. `to` is no image then.
/// [`Error::Unsupported`] for a disk that is too large for clusters of that length.
pub fn write(
    from: &dyn Storage,
    to: &File,
    options: Options,
    progress: &mut Progress<'_>,
) -> Result<Written> {
    assert!(CLUSTER_BITS.contains(&options.cluster_bits), "clusters have 2^9 to 2^21 bytes");
    to.set_len(0).map_err(|e| host::write_error(to, "convert", e))?;
    let mut writer = Writer::new(to, options, from.len())?;
    writer.data(from, progress)?;
    let file_len = writer.finish()?;
    report_progress(progress, from.len(), from.len())?;
    Ok(Written { disk_len: writer.disk_len, file_len })
}

struct Writer<'a> {
    to: &'a File,
    options: Options,
    disk_len: u64,
    l1: Vec<u64>,
    /// The L2 table that is being filled, and its number.
    l2: Vec<u64>,
    l2_nr: usize,
    /// One for each cluster of the file so far.
    refcounts: Vec<u16>,
    /// Where the next compressed cluster may begin, in the last cluster of the file.
    packed_end: Option<u64>,
}

impl<'a> Writer<'a> {
    fn new(to: &'a File, options: Options, len: u64) -> Result<Self> {
        let bits = options.cluster_bits;
        let disk_len = len.checked_next_multiple_of(512);
        let entries = disk_len.map(|len| len.div_ceil(1 << (2 * bits - 3)));
        let (Some(disk_len), Some(entries @ ..=0x40_0000)) = (disk_len, entries) else {
            return Err(Error::Unsupported(format!(
                "a disk of {len} bytes in clusters of {} bytes",
                1_u32 << bits
            )));
        };
        let l1 = vec![0; usize::try_from(entries).expect("at most four million")];
        let l2 = vec![0; 1 << (bits - 3)];
        Ok(Self { to, options, disk_len, l1, l2, l2_nr: 0, refcounts: vec![1], packed_end: None })
    }

    fn cluster_len(&self) -> usize {
        1 << self.options.cluster_bits
    }

    fn data(&mut self, from: &dyn Storage, progress: &mut Progress<'_>) -> Result<()> {
        let cluster_len = self.cluster_len() as u64;
        let mut cluster = vec![0; self.cluster_len()];
        let mut at = 0;
        while let Some(data) = from.data_from(at).map_err(host::read_error)? {
            at = data.start.max(at) / cluster_len * cluster_len;
            while at < data.end {
                let held = usize::try_from(from.len() - at)
                    .map_or(cluster.len(), |n| n.min(cluster.len()));
                from.read_at(at, &mut cluster[..held]).map_err(host::read_error)?;
                cluster[held..].fill(0);
                if !is_zero(&cluster) {
                    self.cluster(at, &cluster)?;
                }
                at += cluster_len;
                report_progress(progress, at.min(from.len()), from.len())?;
            }
        }
        self.close_l2()
    }

    /// Lay down the cluster of byte `at` of the disk.
    fn cluster(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let nr =
            usize::try_from(at >> self.options.cluster_bits).expect("fewer than 2^53 clusters");
        let l2_nr = nr / self.l2.len();
        if l2_nr != self.l2_nr {
            self.close_l2()?;
            self.l2_nr = l2_nr;
        }
        let entry = match self.packed(bytes)? {
            Some(entry) => entry,
            None => self.append(bytes)? | COPIED,
        };
        let index = nr % self.l2.len();
        self.l2[index] = entry;
        Ok(())
    }

    /// The entry of a compressed cluster, if compression is asked for and gains anything.
    fn packed(&mut self, bytes: &[u8]) -> Result<Option<u64>> {
        if !self.options.compress {
            return Ok(None);
        }
        let packed = compress_to_vec(bytes, CompressionLevel::Fastest);
        if packed.len() + 512 > bytes.len() {
            return Ok(None);
        }
        let bits = self.options.cluster_bits;
        let start = self.packed_end.unwrap_or((self.refcounts.len() as u64) << bits);
        let end = start + packed.len() as u64;
        self.write(start, &packed)?;
        let last = usize::try_from((end - 1) >> bits).expect("clusters of a file");
        self.refcounts.resize(self.refcounts.len().max(last + 1), 0);
        for count in &mut self.refcounts[usize::try_from(start >> bits).expect("as above")..=last] {
            *count += 1;
        }
        // A cluster holds at most 2^21 / 10 frames, but a count ends at 2^16.
        let is_open = !end.is_multiple_of(1 << bits) && self.refcounts[last] < 0x8000;
        self.packed_end = is_open.then_some(end);
        let sectors = (end - 1) / 512 - start / 512;
        Ok(Some(COMPRESSED | sectors << (62 - (bits - 8)) | start))
    }

    /// Write the L2 table that was filled, if anything is in it.
    fn close_l2(&mut self) -> Result<()> {
        if self.l2.iter().all(|entry| *entry == 0) {
            return Ok(());
        }
        let offset = self.append(&big_endian(&self.l2))?;
        self.l1[self.l2_nr] = offset | COPIED;
        self.l2.fill(0);
        Ok(())
    }

    /// Write `bytes` into new clusters at the end of the file. Where they begin.
    fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let offset = (self.refcounts.len() as u64) << self.options.cluster_bits;
        self.packed_end = None;
        self.write(offset, bytes)?;
        let clusters = bytes.len().div_ceil(self.cluster_len());
        self.refcounts.resize(self.refcounts.len() + clusters, 1);
        Ok(offset)
    }

    /// The L1 table, the reference counts, the header. Length of the file.
    fn finish(&mut self) -> Result<u64> {
        let bits = self.options.cluster_bits;
        let l1_offset = self.append(&big_endian(&self.l1))?;
        let used = self.refcounts.len() as u64;
        let (blocks, tables) = counts(used, bits);
        self.refcounts.resize(usize::try_from(used + blocks + tables).expect("of a file"), 1);
        let counts: Vec<u8> = self.refcounts.iter().flat_map(|count| count.to_be_bytes()).collect();
        self.write(used << bits, &counts)?;
        let table_offset = (used + blocks) << bits;
        let table: Vec<u64> = (used..used + blocks).map(|nr| nr << bits).collect();
        self.write(table_offset, &big_endian(&table))?;
        let file_len = (used + blocks + tables) << bits;
        self.to.set_len(file_len).map_err(|e| self.write_error(e))?;
        let header = self.header(l1_offset, table_offset, u32::try_from(tables).expect("few"));
        self.write(0, &header)?;
        Ok(file_len)
    }

    fn header(&self, l1_offset: u64, table_offset: u64, tables: u32) -> Vec<u8> {
        let compress = self.options.compress;
        let mut header = MAGIC.to_vec();
        let u32s = |header: &mut Vec<u8>, numbers: &[u32]| {
            header.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        };
        u32s(&mut header, &[3, 0, 0, 0, self.options.cluster_bits]);
        header.extend(self.disk_len.to_be_bytes());
        u32s(&mut header, &[0, u32::try_from(self.l1.len()).expect("at most four million")]);
        header.extend(l1_offset.to_be_bytes());
        header.extend(table_offset.to_be_bytes());
        u32s(&mut header, &[tables, 0, 0, 0]);
        let incompatible = if compress { INCOMPATIBLE_COMPRESSION } else { 0 };
        header.extend(incompatible.to_be_bytes());
        header.extend([0; 16]);
        // The header ends with the field of the compression, padded; no extension follows.
        u32s(&mut header, &[COUNT_BITS_LOG, 112]);
        debug_assert_eq!(header.len(), COMPRESSION_AT);
        header.push(compress.into());
        header.resize(112 + 8, 0);
        header
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.to.write_all_at(bytes, offset).map_err(|e| self.write_error(e))
    }

    fn write_error(&self, error: io::Error) -> Error {
        host::write_error(self.to, "convert", error)
    }
}

fn big_endian(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}
