//! The arguments of `autoxen image grow`.

use std::ffi::OsString;

use clap::Args;

use crate::bytes::bytes;

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

/// Arguments of `image grow`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("to").required(true), after_help = GROW_EXAMPLES)]
pub struct ImageGrowArgs {
    /// The image: raw, and in use by nobody
    #[arg(value_name = "IMAGE[#PARTITION]")]
    pub image: OsString,
    /// How large the file is to be; with a `+`, by how much it grows
    #[arg(long, group = "to", value_name = "[+]N[K|M|G|T]", value_parser = grow_to)]
    pub size: Option<GrowTo>,
    /// Leave the file as long as it is, and take the room in it
    #[arg(long, group = "to")]
    pub fill: bool,
    /// Enlarge this partition, which has to be the last: its number, name or UUID, or the UUID or label of its file system
    #[arg(long, value_name = "N|LABEL|UUID")]
    pub partition: Option<OsString>,
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
    let bytes = bytes(digits)?;
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
