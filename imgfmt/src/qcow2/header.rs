//! The header of a qcow2 file.
//!
//! ```text
//!   0  51 46 49 fb   magic, "QFI\xfb"       48  refcount table: offset u64, clusters u32
//!   4  version u32   2 or 3                 60  snapshots: count u32, offset u64
//!   8  backing file's name: offset u64,     72  v3: incompatible, compatible, autoclear features, u64 each
//!      length u32 (at most 1023)            96  v3: log2 of bits of a reference count, u32
//!  20  log2 of bytes of a cluster, u32     100  v3: length of this header, u32
//!  24  bytes of the disk, u64              104  v3: compression, u8: 0 zlib, 1 zstd
//!  32  encryption, u32: 0 is none           ..  extensions: type u32, length u32, bytes padded to 8; type 0 ends them
//!  36  L1 table: entries u32, offset u64
//! ```

use crate::error::{Error, Result};
use crate::storage::Storage;

/// The first bytes of every such file.
pub(super) const MAGIC: [u8; 4] = *b"QFI\xfb";

/// Clusters from 512 bytes to 2 MiB.
pub(super) const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;

/// A compressed cluster's way, a field of the header of version 3.
pub(super) const COMPRESSION_AT: usize = 104;

/// Length of the header of version 2, and of that part of version 3 that is always there.
const V2_LEN: usize = 72;
const V3_LEN: usize = 104;

/// QEMU's own cap on the L1 table: 32 MiB, of 8 bytes an entry.
pub(super) const L1_MAX: u32 = 4 << 20;

/// The longest name of a backing file, in bytes.
pub(super) const BACKING_NAME_MAX: u32 = 1023;

pub(super) const INCOMPATIBLE_COMPRESSION: u64 = 1 << 3;
const DIRTY: u64 = 1 << 0;
const CORRUPT: u64 = 1 << 1;
const DATA_FILE: u64 = 1 << 2;
const EXTENDED_L2: u64 = 1 << 4;

pub(super) const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;
const EXTENSION_FEATURE_NAMES: u32 = 0x6803_f857;

/// How compressed clusters are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// A raw deflate stream, RFC 1951.
    Zlib,
    /// A frame of Zstandard, RFC 8878.
    Zstd,
}

/// What an image says of its backing file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backing {
    /// Its name: a path, relative to the directory of the image where it is not absolute, or something that only QEMU
    /// knows (`json:…`, `nbd://…`).
    pub name: Vec<u8>,
    /// Its format, such as `raw` or `qcow2`, where that is said.
    pub format: Option<Vec<u8>>,
}

/// What the header says that a reader has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// Length of the disk, in bytes.
    pub len: u64,
    /// Of its backing file.
    pub backing: Option<Backing>,
    /// Of compressed clusters, whether or not there are any.
    pub compression: Compression,
    /// How many internal snapshots there are.
    pub snapshots: u32,
    pub(super) cluster_bits: u32,
    pub(super) has_extended_l2: bool,
    pub(super) l1_offset: u64,
    pub(super) l1_entries: u32,
}

impl Header {
    /// Read the header of `file`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with the name of what is not read; [`Error::Corrupt`].
    pub fn read(file: &dyn Storage) -> Result<Self> {
        let mut bytes = [0; COMPRESSION_AT + 1];
        let len = bytes.len().min(usize::try_from(file.len()).unwrap_or(usize::MAX));
        read(file, 0, &mut bytes[..len])?;
        if len < V2_LEN || bytes[..4] != MAGIC {
            return Err(corrupt("no header"));
        }
        let version = u32_at(&bytes, 4);
        let v3 = match version {
            2 => V3::of_version_2(),
            3 if len >= V3_LEN => V3::read(&bytes, len)?,
            3 => return Err(corrupt("no header")),
            other => return Err(unsupported(format!("version {other}"))),
        };
        let cluster_bits = u32_at(&bytes, 20);
        if !CLUSTER_BITS.contains(&cluster_bits) {
            return Err(corrupt(&format!("clusters of 2^{cluster_bits} bytes")));
        }
        match u32_at(&bytes, 32) {
            0 => {}
            1 => return Err(unsupported("encryption (AES)".into())),
            2 => return Err(unsupported("encryption (LUKS)".into())),
            other => return Err(unsupported(format!("encryption of kind {other}"))),
        }
        let extensions = Extensions::read(file, v3.header_len, cluster_bits)?;
        v3.refuse_features(&extensions)?;
        let header = Self {
            version,
            len: u64_at(&bytes, 24),
            backing: backing(file, &bytes, cluster_bits, extensions.backing_format)?,
            compression: v3.compression,
            snapshots: u32_at(&bytes, 60),
            cluster_bits,
            has_extended_l2: v3.incompatible & EXTENDED_L2 != 0,
            l1_offset: u64_at(&bytes, 40),
            l1_entries: u32_at(&bytes, 36),
        };
        header.check(file.len())?;
        Ok(header)
    }

    fn check(&self, file_len: u64) -> Result<()> {
        if self.has_extended_l2 && self.cluster_bits < 14 {
            return Err(corrupt("subclusters in clusters of less than 16 KiB"));
        }
        if !i64::try_from(self.len).is_ok_and(|len| len <= i64::MAX - (1 << 21)) {
            return Err(corrupt(&format!("a disk of {} bytes", self.len)));
        }
        let needed = self.len.div_ceil(self.l2_span());
        if u64::from(self.l1_entries) < needed || self.l1_entries > L1_MAX {
            let entries = self.l1_entries;
            return Err(corrupt(&format!(
                "{entries} entries in the L1 table, {needed} are needed"
            )));
        }
        if !self.l1_offset.is_multiple_of(self.cluster_len()) {
            return Err(corrupt(&format!("L1 table at byte {}", self.l1_offset)));
        }
        let end = self.l1_offset.checked_add(u64::from(self.l1_entries) * 8);
        if self.l1_entries > 0 && end.is_none_or(|end| end > file_len) {
            return Err(corrupt("the L1 table reaches past the end of the file"));
        }
        Ok(())
    }

    /// Bytes of a cluster.
    pub fn cluster_len(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Bytes of an entry of an L2 table.
    pub(super) fn l2_entry_len(&self) -> u64 {
        if self.has_extended_l2 { 16 } else { 8 }
    }

    /// Bytes of the disk that one L2 table tells of.
    pub(super) fn l2_span(&self) -> u64 {
        (self.cluster_len() / self.l2_entry_len()) << self.cluster_bits
    }

    pub(super) fn offset_in_cluster(&self, at: u64) -> usize {
        usize::try_from(at & (self.cluster_len() - 1)).expect("a cluster has at most 2 MiB")
    }
}

/// What version 3 adds to the header.
struct V3 {
    incompatible: u64,
    compression: Compression,
    header_len: u64,
}

impl V3 {
    fn of_version_2() -> Self {
        Self { incompatible: 0, compression: Compression::Zlib, header_len: V2_LEN as u64 }
    }

    fn read(bytes: &[u8; COMPRESSION_AT + 1], len: usize) -> Result<Self> {
        let incompatible = u64_at(bytes, 72);
        let header_len = u32_at(bytes, 100);
        if (header_len as usize) < V3_LEN || !header_len.is_multiple_of(8) {
            return Err(corrupt(&format!("a header of {header_len} bytes")));
        }
        let has_field = header_len as usize > COMPRESSION_AT && len > COMPRESSION_AT;
        let field = if has_field { bytes[COMPRESSION_AT] } else { 0 };
        let compression = match field {
            0 => Compression::Zlib,
            1 => Compression::Zstd,
            other => return Err(unsupported(format!("compression of kind {other}"))),
        };
        if (compression != Compression::Zlib) != (incompatible & INCOMPATIBLE_COMPRESSION != 0) {
            return Err(corrupt("the compression contradicts the feature bit"));
        }
        Ok(Self { incompatible, compression, header_len: header_len.into() })
    }

    fn refuse_features(&self, extensions: &Extensions) -> Result<()> {
        if self.incompatible & CORRUPT != 0 {
            return Err(corrupt("it is marked so (repair it: `qemu-img check -r all`)"));
        }
        if self.incompatible & DATA_FILE != 0 {
            return Err(unsupported("an external data file".into()));
        }
        let known = DIRTY | INCOMPATIBLE_COMPRESSION | EXTENDED_L2;
        match self.incompatible & !known {
            0 => Ok(()),
            unknown => {
                let bit = unknown.trailing_zeros();
                let name =
                    extensions.incompatible_names.iter().find(|(nr, _)| u32::from(*nr) == bit);
                Err(unsupported(match name {
                    Some((_, name)) => format!("the feature `{name}`"),
                    None => format!("the incompatible feature of bit {bit}"),
                }))
            }
        }
    }
}

/// The header extensions that matter.
#[derive(Default)]
struct Extensions {
    backing_format: Option<Vec<u8>>,
    /// Bit and name of incompatible features.
    incompatible_names: Vec<(u8, String)>,
}

impl Extensions {
    /// They follow the header, and end within the first cluster at the latest.
    fn read(file: &dyn Storage, header_len: u64, cluster_bits: u32) -> Result<Self> {
        let end = file.len().min(1 << cluster_bits);
        let mut found = Self::default();
        let mut at = header_len;
        while at + 8 <= end {
            let mut head = [0; 8];
            read(file, at, &mut head)?;
            let (kind, len) = (u32_at(&head, 0), u64::from(u32_at(&head, 4)));
            if kind == 0 {
                break;
            }
            if at + 8 + len > end {
                return Err(corrupt("a header extension reaches out of the first cluster"));
            }
            match kind {
                EXTENSION_BACKING_FORMAT => found.backing_format = Some(bytes(file, at + 8, len)?),
                EXTENSION_FEATURE_NAMES => {
                    let table = bytes(file, at + 8, len)?;
                    found.incompatible_names =
                        table.as_chunks::<48>().0.iter().filter_map(name).collect();
                }
                // The others are of bitmaps, of encryption and of data files: features of their own.
                _ => {}
            }
            at += 8 + len.next_multiple_of(8);
        }
        Ok(found)
    }
}

/// An entry of the feature name table: kind, bit, name padded with zeros.
fn name(entry: &[u8; 48]) -> Option<(u8, String)> {
    let [0, bit, name @ ..] = entry else { return None };
    let len = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    Some((*bit, String::from_utf8_lossy(&name[..len]).into_owned()))
}

fn backing(
    file: &dyn Storage,
    header: &[u8],
    cluster_bits: u32,
    format: Option<Vec<u8>>,
) -> Result<Option<Backing>> {
    let (offset, len) = (u64_at(header, 8), u32_at(header, 16));
    if offset == 0 || len == 0 {
        return Ok(None);
    }
    if len > BACKING_NAME_MAX || offset.saturating_add(len.into()) > 1 << cluster_bits {
        return Err(corrupt("the name of the backing file is out of its place"));
    }
    Ok(Some(Backing { name: bytes(file, offset, len.into())?, format }))
}

/// `len` bytes of the first cluster, so that it is at most 2 MiB.
fn bytes(file: &dyn Storage, offset: u64, len: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).expect("it lies within a cluster")];
    read(file, offset, &mut bytes)?;
    Ok(bytes)
}

fn read(file: &dyn Storage, offset: u64, buf: &mut [u8]) -> Result<()> {
    file.read_at(offset, buf).map_err(|e| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => corrupt("the file ends within the header"),
        _ => Error::io("qcow2 header", e),
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(*bytes[at..].first_chunk().expect("the header has it"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(*bytes[at..].first_chunk().expect("the header has it"))
}

fn corrupt(what: &str) -> Error {
    Error::corrupt(format!("qcow2: {what}"))
}

fn unsupported(what: String) -> Error {
    Error::Unsupported(format!("qcow2 with {what} is not read"))
}
