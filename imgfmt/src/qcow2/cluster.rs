//! Compressed clusters, unpacked.
//!
//! What follows the stream in its last sector is not part of it. The stream has to give a whole cluster: no byte less,
//! and no byte more.

use std::io::{self, Read};

use flate2::read::DeflateDecoder;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::corrupt;
use super::header::{Compression, Header};
use crate::storage::Storage;

/// How many unpacked clusters are kept, each of at most 2 MiB.
const KEPT: usize = 4;

/// The largest window of zstd that is unpacked, in bytes: no cluster gains by a larger one than 2 MiB.
const WINDOW_MAX: u64 = 8 << 20;

/// The last clusters that were unpacked.
pub(super) struct Clusters {
    compression: Compression,
    cluster_len: usize,
    /// By the byte of the disk that they begin with; the one that was asked for last is at the end.
    kept: Vec<(u64, Box<[u8]>)>,
}

impl std::fmt::Debug for Clusters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clusters").field("kept", &self.kept.len()).finish_non_exhaustive()
    }
}

impl Clusters {
    pub(super) fn new(header: &Header) -> Self {
        let cluster_len = usize::try_from(header.cluster_len()).expect("at most 2 MiB");
        Self { compression: header.compression, cluster_len, kept: Vec::new() }
    }

    /// The cluster that begins at byte `start` of the disk, in `len` bytes or less at `offset` of the file.
    pub(super) fn unpacked(
        &mut self,
        file: &dyn Storage,
        start: u64,
        offset: u64,
        len: u64,
    ) -> io::Result<&[u8]> {
        if let Some(found) = self.kept.iter().position(|(kept, _)| *kept == start) {
            self.kept[found..].rotate_left(1);
        } else {
            // The last sector may lie past the end of the file.
            let len = len.min(file.len().saturating_sub(offset));
            let mut packed =
                vec![0; usize::try_from(len).expect("sectors of at most two clusters")];
            file.read_at(offset, &mut packed)?;
            let mut cluster = vec![0; self.cluster_len].into_boxed_slice();
            let unpacked = match self.compression {
                Compression::Zlib => inflate(&packed, &mut cluster),
                Compression::Zstd => unpack_zstd(&packed, &mut cluster),
            };
            unpacked.map_err(|what| {
                corrupt(format!("the compressed cluster of byte {start} of the disk: {what}"))
            })?;
            if self.kept.len() == KEPT {
                self.kept.remove(0);
            }
            self.kept.push((start, cluster));
        }
        Ok(&self.kept.last().expect("it was just put there").1)
    }
}

fn inflate(packed: &[u8], cluster: &mut [u8]) -> Result<(), String> {
    let mut stream = DeflateDecoder::new(packed);
    let mut filled = 0;
    while filled < cluster.len() {
        match stream.read(&mut cluster[filled..]).map_err(|e| e.to_string())? {
            0 => return Err(format!("it ends after {filled} bytes")),
            count => filled += count,
        }
    }
    match stream.read(&mut [0]).map_err(|e| e.to_string())? {
        0 => Ok(()),
        _ => Err("it does not end with the cluster".into()),
    }
}

fn unpack_zstd(packed: &[u8], cluster: &mut [u8]) -> Result<(), String> {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(WINDOW_MAX);
    let mut source = packed;
    decoder.reset(&mut source).map_err(|e| e.to_string())?;
    let mut filled = 0;
    while !decoder.is_finished() {
        let strategy = BlockDecodingStrategy::UptoBytes(cluster.len());
        decoder.decode_blocks(&mut source, strategy).map_err(|e| e.to_string())?;
        loop {
            if filled == cluster.len() && decoder.can_collect() > 0 {
                return Err("it does not end with the cluster".into());
            }
            match decoder.read(&mut cluster[filled..]).map_err(|e| e.to_string())? {
                0 => break,
                count => filled += count,
            }
        }
    }
    match (decoder.get_checksum_from_data(), decoder.get_calculated_checksum()) {
        (Some(stored), Some(computed)) if stored != computed => {
            return Err("its checksum does not match".into());
        }
        _ => {}
    }
    if filled < cluster.len() {
        return Err(format!("it ends after {filled} bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::DeflateEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_stream_gives_one_whole_cluster_whatever_follows_it() {
        let text: Vec<u8> = (0..4096_u32).map(|nr| (nr / 7) as u8).collect();
        let zstd = |bytes: &[u8]| compress_to_vec(bytes, CompressionLevel::Fastest);
        let mut cluster = [0; 4096];
        for (packed, unpack) in [
            (deflated(&text), inflate as fn(&[u8], &mut [u8]) -> Result<(), String>),
            (zstd(&text), unpack_zstd),
        ] {
            unpack(&[packed, vec![0xff; 300]].concat(), &mut cluster).unwrap();
            assert!(cluster == text[..]);
        }
        let short = "it ends after 4095 bytes";
        assert_eq!(inflate(&deflated(&text[1..]), &mut cluster).unwrap_err(), short);
        assert_eq!(unpack_zstd(&zstd(&text[1..]), &mut cluster).unwrap_err(), short);
        let long = "it does not end with the cluster";
        let text = [text, vec![1]].concat();
        assert_eq!(inflate(&deflated(&text), &mut cluster).unwrap_err(), long);
        assert_eq!(unpack_zstd(&zstd(&text), &mut cluster).unwrap_err(), long);
    }
}
