//! What may be typed behind `autoxen image`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::image_build::ImageBuildArgs;
use super::inside::{EditVerb, ReadVerb};

const INFO_EXAMPLES: &str = "\
Examples:
  autoxen image info root.img
  autoxen image info --deep --partition 2 disk.img     is its file system whole?
  autoxen image info --json disk.img.zst | jq '.volumes[].holds'

The image is opened read-only. A compressed one is unpacked into a temporary directory ($TMPDIR) to be looked at.
--deep reads all metadata of every ext2, ext3 and ext4 file system, as `e2fsck -fn` does; a journal that has to be
replayed is taken into account. It repairs nothing.

JSON: one object with `image`, `bytes`, `compression`, `table` (`kind`, `id`, `sector_bytes`, `warnings`; null
without one) and `volumes`. Each volume has `partition`, `start`, `bytes`, `part_uuid`, `part_label`, `holds`, `uuid`,
`label`, `ext` (`kind`, `block_size`, `blocks`, `free_blocks`, `inode_size`, `inodes`, `free_inodes`, `features`,
`state`, `needs_recovery`, `last_mounted`), `check` (`clean`, `total`, `findings` of `kind`, `place` and `what`,
`not_checked`, `inodes`, `directories`, `blocks`) and `error`. What there is none of is null.

Exit status: 0 nothing found; 1 findings of --deep; 2 the image or an ext file system in it cannot be read.";

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

const GROW_EXAMPLES: &str = "\
Examples:
  autoxen image grow --size 20G cloud.img
  autoxen image grow --size +2G --dry-run disk.img
  autoxen image grow --fill disk.img                   the room that there is already

The file gets longer (sparse), then its last partition, then the ext2, ext3 or ext4 file system in that; without a
partition table the file system alone. Sizes are in bytes, or with K, M, G, T in powers of 1024. What cannot grow as far
is refused before anything is written: a file system of another kind, a partition behind which another one lies, room
for more group descriptors than the file system kept or may make (`meta_bg`, ext4 only). A GPT's copy moves to the end.

Each of the three steps leaves a sound image; partition and file system grow whole or not at all, through the journal or
with an undo file. After a crash `autoxen image recover` and the same command, or --fill, go on.

JSON: one object with `image`, `dry_run`, `bytes` (`before`, `after`, as all that follow), `partition` (`number`, `bytes`;
null without a table) and `ext` (`kind`, `block_size`, `blocks`, `inodes`, `groups`, `turns_on_meta_bg`).

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
    /// Make a new image from archives, directories and container images
    Build(Box<ImageBuildArgs>),
    /// Enlarge an image, its last partition and the ext file system in it
    #[command(after_help = GROW_EXAMPLES)]
    Grow(ImageGrowArgs),
    /// Look inside, compare, or run a script
    #[command(flatten)]
    Read(ReadVerb),
    /// Work inside
    #[command(flatten)]
    Edit(EditVerb),
}

/// Arguments of `image info`.
#[derive(Debug, Args)]
pub struct ImageInfoArgs {
    /// The image: raw, or compressed with zstd, gzip or xz
    #[arg(value_name = "IMAGE")]
    pub image: PathBuf,
    /// Check every ext file system in it for consistency
    #[arg(long)]
    pub deep: bool,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
    /// Look at this partition alone: its number, name or UUID, or the UUID or label of the file system in it
    #[arg(long, value_name = "N|LABEL|UUID")]
    pub partition: Option<String>,
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
    /// Replay the journal of this partition alone: its number, name or UUID, or the UUID or label of the file system in it
    #[arg(long, value_name = "N|LABEL|UUID")]
    pub partition: Option<String>,
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `image grow`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("to").required(true))]
pub struct ImageGrowArgs {
    /// The image: raw, and in use by nobody
    #[arg(value_name = "IMAGE")]
    pub image: PathBuf,
    /// How large the file is to be; with a `+`, by how much it grows
    #[arg(long, group = "to", value_name = "[+]N[K|M|G|T]", value_parser = grow_to)]
    pub size: Option<GrowTo>,
    /// Leave the file as long as it is, and take the room in it
    #[arg(long, group = "to")]
    pub fill: bool,
    /// Enlarge this partition, which has to be the last: its number, name or UUID, or the UUID or label of its file system
    #[arg(long, value_name = "N|LABEL|UUID")]
    pub partition: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
}

/// How large an image is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrowTo {
    /// So many bytes.
    Size(u64),
    /// By so many bytes.
    By(u64),
    /// As it is.
    Fill,
}

impl ImageGrowArgs {
    /// How large it is to be.
    pub fn to(&self) -> GrowTo {
        self.size.unwrap_or(GrowTo::Fill)
    }
}

fn grow_to(text: &str) -> Result<GrowTo, String> {
    let (digits, is_more) = match text.strip_prefix('+') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let unit = digits.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let shift = match unit {
        "" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return Err("not a number of bytes, or one with K, M, G or T behind it".into()),
    };
    let number: u64 = digits[..digits.len() - unit.len()]
        .parse()
        .map_err(|_| "not a number of bytes, or one with K, M, G or T behind it".to_owned())?;
    let bytes = number.checked_mul(1 << shift).ok_or("no file is that large")?;
    Ok(if is_more { GrowTo::By(bytes) } else { GrowTo::Size(bytes) })
}

#[cfg(test)]
mod tests {
    use super::{GrowTo, grow_to};

    #[test]
    fn sizes_are_absolute_or_what_is_added() {
        assert_eq!(grow_to("512"), Ok(GrowTo::Size(512)));
        assert_eq!(grow_to("2G"), Ok(GrowTo::Size(2 << 30)));
        assert_eq!(grow_to("+1MiB"), Ok(GrowTo::By(1 << 20)));
        for wrong in ["", "+", "G", "-1", "1GB", "++1", "16777216T", "99999999999999999999"] {
            assert!(grow_to(wrong).is_err(), "{wrong}");
        }
    }
}
