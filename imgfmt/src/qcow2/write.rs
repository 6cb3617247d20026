//! A disk written as a qcow2 image, in one pass from the start of the file to its end; then the header.
//!
//! Version 3, without a backing file. Clusters that are all zeros are left out. Until the header is written, which
//! happens last, the file is not an image of any kind.

use std::fs::File;

use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::growing::{COPIED, Growing, Shape};
use super::header::{CLUSTER_BITS, Compression};
use crate::copy::{Progress, is_zero, report_progress};
use crate::error::Result;
use crate::host;
use crate::storage::Storage;

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
/// [`Error::HostFull`](crate::Error::HostFull), [`Error::Stopped`](crate::Error::Stopped), errors of reading `from`. `to` is no
/// image then. [`Error::Unsupported`](crate::Error::Unsupported) for a disk that is too large for clusters of that length.
pub fn write(
    from: &dyn Storage,
    to: &File,
    options: Options,
    progress: &mut Progress<'_>,
) -> Result<Written> {
    assert!(CLUSTER_BITS.contains(&options.cluster_bits), "clusters have 2^9 to 2^21 bytes");
    let shape = Shape::new(from.len(), options.cluster_bits)?;
    let file = Growing::new(to, "convert", shape)?;
    let mut writer = Writer { file, shape, compress: options.compress, packed_end: None };
    writer.data(from, progress)?;
    let compression = if options.compress { Compression::Zstd } else { Compression::Zlib };
    let written = writer.file.finish(compression, None)?;
    report_progress(progress, from.len(), from.len())?;
    Ok(written)
}

struct Writer<'a> {
    file: Growing<'a>,
    shape: Shape,
    compress: bool,
    /// Where the next compressed cluster may begin, as long as that is in the last cluster of the file.
    packed_end: Option<u64>,
}

impl Writer<'_> {
    fn data(&mut self, from: &dyn Storage, progress: &mut Progress<'_>) -> Result<()> {
        let cluster_len = self.shape.cluster_len() as u64;
        let mut cluster = vec![0; self.shape.cluster_len()];
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
        Ok(())
    }

    /// Lay down the cluster of byte `at` of the disk.
    fn cluster(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let entry = match self.packed(bytes)? {
            Some(entry) => entry,
            None => self.file.append(bytes)? | COPIED,
        };
        self.file.set_entry(at, entry)
    }

    /// The entry of a compressed cluster, if compression is asked for and gains anything.
    fn packed(&mut self, bytes: &[u8]) -> Result<Option<u64>> {
        if !self.compress {
            return Ok(None);
        }
        let packed = compress_to_vec(bytes, CompressionLevel::Fastest);
        if packed.len() + 512 > bytes.len() {
            return Ok(None);
        }
        let cluster_len = self.shape.cluster_len() as u64;
        let is_open = |end: &u64| end.next_multiple_of(cluster_len) == self.file.end();
        let start = self.packed_end.filter(is_open).unwrap_or(self.file.end());
        let end = start + packed.len() as u64;
        let count = self.file.append_within(start, &packed)?;
        // A cluster holds at most 2^21 / 10 frames, but a count ends at 2^16.
        let has_room = !end.is_multiple_of(cluster_len) && count < 0x8000;
        self.packed_end = has_room.then_some(end);
        let sectors = (end - 1) / 512 - start / 512;
        Ok(Some(COMPRESSED | sectors << (62 - (self.shape.cluster_bits - 8)) | start))
    }
}
