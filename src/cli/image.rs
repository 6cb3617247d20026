//! What may be typed behind `autoxen image`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

const INFO_EXAMPLES: &str = "\
Examples:
  autoxen image info root.img
  autoxen image info --deep --partition 2 disk.img     is its file system whole?
  autoxen image info --json disk.img.zst | jq '.volumes[].holds'

The image is opened read-only. A compressed one is unpacked into a temporary directory ($TMPDIR) to be looked at; qcow2
is read as it is, with backing files that lie in its directory.
--deep reads all metadata of every ext2, ext3 and ext4 file system, as `e2fsck -fn` does; a journal that has to be
replayed is taken into account. It repairs nothing.

JSON: one object with `image`, `bytes` (of the disk), `compression`, `qcow2` (`version`, `file_bytes`, `cluster_bytes`,
`compression`, `snapshots`, `backing_file`, `backing_format`, `backing_paths`: all the files below it), `table` (`kind`, `id`,
`sector_bytes`, `warnings`) and `volumes`. Each volume has `partition`, `start`, `bytes`, `part_uuid`, `part_label`, `holds`, `uuid`,
`label`, `ext` (`kind`, `block_size`, `blocks`, `free_blocks`, `inode_size`, `inodes`, `free_inodes`, `features`,
`state`, `needs_recovery`, `last_mounted`), `check` (`clean`, `total`, `findings` of `kind`, `place` and `what`,
`not_checked`, `inodes`, `directories`, `blocks`) and `error`. What there is none of is null.

Exit status: 0 nothing found; 1 findings of --deep; 2 the image or an ext file system in it cannot be read.";

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

const RECOVER_EXAMPLES: &str = "\
Examples:
  autoxen image recover root.img
  autoxen image recover --partition 2 disk.img
  autoxen image recover --json root.img | jq '.volumes[].journal'

An edit in place that was interrupted is undone with its undo file, IMAGE.autoxen-undo. Then every ext3 and ext4 file
system gets what a mount would do first: its journal is replayed, and files are freed that were deleted while they were
open. Nothing else is changed, and nothing is repaired: that is for `e2fsck`. A crash in the middle does no harm; the
same command goes on. All is looked at before anything is written: where one file system cannot be recovered, none is
written to, and --partition recovers another one alone. An undo file is of the whole image.

JSON: one object with `image`, `undone_bytes` (null where no edit was interrupted) and `volumes`: of each ext file system
`partition`, `journal` (`replayed`; `empty`: only the mark of it was on; null) and `orphans`, how many were freed or cut.

Exit status: 0 done, or nothing to do; 2 failed.";

/// Arguments of `image`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct ImageArgs {
    /// What to do with it
    #[command(subcommand)]
    pub command: ImageCommand,
}

/// One verb of `image`.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Say what an image is: its partitions, and what each of them holds
    #[command(after_help = INFO_EXAMPLES)]
    Info(ImageInfoArgs),
    /// Bring an image back after a crash: undo an interrupted edit, replay journals
    #[command(after_help = RECOVER_EXAMPLES)]
    Recover(ImageRecoverArgs),
    /// Make a raw image of a qcow2 or compressed one, or a qcow2 of a raw one
    #[command(after_help = CONVERT_EXAMPLES)]
    Convert(ImageConvertArgs),
}

/// Arguments of `image info`.
#[derive(Debug, Args)]
pub struct ImageInfoArgs {
    /// The image: raw, compressed with zstd, gzip or xz, or qcow2
    #[arg(value_name = "IMAGE")]
    pub image: PathBuf,
    /// Check every ext file system in it for consistency
    #[arg(long)]
    pub deep: bool,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
    /// Look at this partition alone
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub partition: Option<u32>,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// Arguments of `image recover`.
#[derive(Debug, Args)]
pub struct ImageRecoverArgs {
    /// The image: raw, and in use by nobody
    #[arg(value_name = "IMAGE")]
    pub image: PathBuf,
    /// Replay the journal of this partition alone
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub partition: Option<u32>,
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `image convert`.
#[derive(Debug, Args)]
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
    let (number, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        _ => (text, 0),
    };
    let size = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << unit));
    match size {
        Some(size) if size.is_power_of_two() && (512..=2 << 20).contains(&size) => {
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
