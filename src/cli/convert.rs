//! The arguments of `autoxen image convert`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::bytes::bytes;

const CONVERT_EXAMPLES: &str = "\
Examples:
  autoxen image convert cloud.qcow2 cloud.img             make a raw image, sparse
  autoxen image convert --compress root.img root.qcow2    make a small one to hand on
  autoxen image convert --backing-dir /srv/base overlay.qcow2 whole.qcow2

SRC is raw, raw and compressed (zstd, gzip, xz), or qcow2 (version 2 or 3, with backing files); its first bytes tell,
not its name. The backing files of a qcow2 image are read where they lie in its own directory or below it, and in those
that --backing-dir names: an image from elsewhere must not reach any file of this host. What is made has no backing
file. Internal snapshots are not taken along.

DST is raw or qcow2, by -O or by its ending (.img, .raw, .qcow2). Zeros become holes or are left out. It is built under a
temporary name beside DST, synced, then renamed: it is there whole or not at all. It is no more open to other users than
SRC and its backing files are.

JSON: one object with `image`, `format`, `bytes` (of the disk), `file_bytes`, `allocated_bytes` (on the host) and
`source_format`: `raw`, `zstd`, `gzip`, `xz` or `qcow2`.

Exit status: 0 done; 2 failed, DST is as it was; 130 interrupted, DST is as it was.";

/// Arguments of `image convert`.
#[derive(Debug, Args)]
#[command(after_help = CONVERT_EXAMPLES)]
pub struct ImageConvertArgs {
    /// The image to read
    #[arg(value_name = "SRC")]
    pub source: PathBuf,
    /// The image to make
    #[arg(value_name = "DST")]
    pub target: PathBuf,
    /// The format of DST, whatever its name
    #[arg(short = 'O', long, value_enum, value_name = "FORMAT")]
    pub output_format: Option<ImageFormat>,
    /// Compress a qcow2 image, with zstd (QEMU 5.1 and later read it)
    #[arg(long)]
    pub compress: bool,
    /// Bytes of a cluster of a qcow2 image: a power of two from 512 to 2M [default: 64K]
    #[arg(long, value_name = "N", value_parser = cluster_bits)]
    pub cluster_size: Option<u32>,
    /// Read backing files that lie in this directory or below it, too
    #[arg(long, value_name = "DIR")]
    pub backing_dir: Vec<PathBuf>,
    /// Replace DST
    #[arg(long)]
    pub force: bool,
    /// Print what was made as JSON
    #[arg(long)]
    pub json: bool,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// A format that `image convert` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ImageFormat {
    /// Byte for byte
    Raw,
    /// QEMU's, version 3
    Qcow2,
}

/// log2 of a cluster's size: `65536`, `64k`, `64K`, `2M`.
fn cluster_bits(text: &str) -> Result<u32, String> {
    match bytes(text) {
        Ok(size) if size.is_power_of_two() && (512..=2 << 20).contains(&size) => {
            Ok(size.trailing_zeros())
        }
        _ => Err("a power of two from 512 to 2M".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::cluster_bits;

    #[test]
    fn clusters_are_powers_of_two_that_qcow2_knows() {
        for (text, bits) in [("512", 9), ("4k", 12), ("65536", 16), ("64K", 16), ("2M", 21)] {
            assert_eq!(cluster_bits(text), Ok(bits), "{text}");
        }
        for text in ["", "k", "0", "256", "3000", "4M", "64G", "-1", "18446744073709551615k"] {
            assert!(cluster_bits(text).is_err(), "{text}");
        }
    }
}
