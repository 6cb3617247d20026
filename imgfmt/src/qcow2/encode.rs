//! The header of a new file, as bytes: what [`Header::read`] reads, of version 3.
//!
//! ```text
//!   0  the fields of version 3; the compression's is the last, padded: 112 bytes
//! 112  over a backing file: the extension of its format, and the end of the extensions
//!      the name of the backing file
//! ```
//!
//! Without a backing file there is no extension at all: eight zeros end them.

use super::header::{
    BACKING_NAME_MAX, COMPRESSION_AT, Compression, EXTENSION_BACKING_FORMAT, Header,
    INCOMPATIBLE_COMPRESSION, MAGIC,
};
use super::plan::COUNT_BITS_LOG;

const LEN: usize = 112;

/// The header, with the reference counts' table in `table_clusters` clusters at byte `table_offset`.
///
/// The name of a backing file has at most 1023 bytes and its format a few, so that both fit the first cluster.
pub(super) fn encode(header: &Header, table_offset: u64, table_clusters: u32) -> Vec<u8> {
    let extensions = extensions(header);
    let name = header.backing.as_ref().map_or(&[][..], |backing| &backing.name);
    let name_len = u32::try_from(name.len()).expect("it was checked");
    assert!(name_len <= BACKING_NAME_MAX, "the name of a backing file has at most 1023 bytes");
    let name_at = if name.is_empty() { 0 } else { (LEN + extensions.len()) as u64 };

    let mut bytes = MAGIC.to_vec();
    let u32s = |bytes: &mut Vec<u8>, numbers: &[u32]| {
        bytes.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    };
    u32s(&mut bytes, &[header.version]);
    bytes.extend(name_at.to_be_bytes());
    u32s(&mut bytes, &[name_len, header.cluster_bits]);
    bytes.extend(header.len.to_be_bytes());
    u32s(&mut bytes, &[0, header.l1_entries]);
    bytes.extend(header.l1_offset.to_be_bytes());
    bytes.extend(table_offset.to_be_bytes());
    u32s(&mut bytes, &[table_clusters, header.snapshots, 0, 0]);
    let is_zstd = header.compression == Compression::Zstd;
    let incompatible = if is_zstd { INCOMPATIBLE_COMPRESSION } else { 0 };
    bytes.extend(incompatible.to_be_bytes());
    bytes.extend([0; 16]);
    u32s(&mut bytes, &[COUNT_BITS_LOG, LEN as u32]);
    debug_assert_eq!(bytes.len(), COMPRESSION_AT);
    bytes.push(is_zstd.into());
    bytes.resize(LEN, 0);
    bytes.extend(extensions);
    bytes.extend(name);
    bytes
}

fn extensions(header: &Header) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(format) = header.backing.as_ref().and_then(|backing| backing.format.as_ref()) {
        let len = u32::try_from(format.len()).expect("it was checked");
        bytes.extend(EXTENSION_BACKING_FORMAT.to_be_bytes());
        bytes.extend(len.to_be_bytes());
        bytes.extend(format);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes.extend([0; 8]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qcow2::Backing;

    #[test]
    fn what_is_encoded_is_read_again() {
        let backing =
            |name: &str, format: &str| Backing { name: name.into(), format: Some(format.into()) };
        let longest = "/".to_string() + &"n".repeat(1022);
        for backing in [
            None,
            Some(backing("/srv/base.raw", "raw")),
            Some(backing(&longest, "qcow2")),
            Some(backing("/a", "eight by")),
        ] {
            let header = Header {
                version: 3,
                len: 64 << 20,
                backing,
                compression: Compression::Zstd,
                snapshots: 0,
                cluster_bits: 14,
                has_extended_l2: false,
                l1_offset: 1 << 14,
                l1_entries: 2,
            };
            let mut file = encode(&header, 2 << 14, 1);
            file.resize(3 << 14, 0);
            assert_eq!(Header::read(&file).expect("it is ours"), header);
        }
    }
}
