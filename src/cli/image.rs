//! What may be typed behind `autoxen image`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::convert::ImageConvertArgs;
use super::grow::ImageGrowArgs;
use super::image_build::ImageBuildArgs;
use super::inside::{EditVerb, ReadVerb};
use super::lazy::Lazy;
use super::transfer::{ImageExportArgs, ImageImportArgs};

const INFO_EXAMPLES: &str = "\
Examples:
  autoxen image info root.img
  autoxen image info --deep --partition 2 disk.img     is its file system whole?
  autoxen image info --map disk.img#2                  which of its block groups are full?
  autoxen image info --json disk.img.zst | jq '.volumes[].guest.release.name'

The image is opened read-only. A compressed one is unpacked into a temporary directory ($TMPDIR) to be looked at; qcow2
is read as it is, with backing files that lie in its directory.
--deep reads all metadata of every ext2, ext3 and ext4 file system, as `e2fsck -fn` does; a journal that has to be
replayed is taken into account. It repairs nothing.
Of a file system with a Linux root it says what lives in it: the distribution, the processor, what starts its services,
its kernels with their ramdisks (of a separate /boot, too, if fstab names it, and of /usr/lib/modules), the entries of its
boot loader (GRUB, Syslinux, Boot Loader Specification) that start a kernel, and its fstab.
--map shows block groups as cells, by what their descriptors say: metadata, and how full of data the rest is.

JSON: one object with `image`, `bytes` (of the disk), `compression`, `qcow2` (`version`, `file_bytes`, `cluster_bytes`,
`compression`, `snapshots`, `backing_file`, `backing_format`, `backing_paths`: all the files below it), `table` (`kind`, `id`,
`sector_bytes`, `warnings`) and `volumes`. Each volume has `partition`, `start`, `bytes`, `part_uuid`, `part_label`, `holds`, `uuid`,
`label`, `ext` (`kind`, `block_size`, `blocks`, `free_blocks`, `reserved_blocks`, `inode_size`, `inodes`, `free_inodes`,
`features`, `state`, `needs_recovery`, `journal` (`clean`, `empty`: only the mark of it is on, `replay`, null), `orphans`,
`created`, `mounted`, `written` (Unix seconds), `mounts`, `last_mounted`), `fat` (`cluster_size`, `clusters`,
`free_clusters`), `guest`, `check` (`clean`, `total`, `findings` of
`kind`, `place` and `what`, `not_checked`, `inodes`, `directories`, `blocks`) and `error`. `guest` has `release` (`name`,
`id`, `version`, `source`), `machine`, `init` (the one that is started first), `systemd` (its version), `hostname`, `kernels`
(as of `image kernel`), `boot_entries` (`partition`, `path` of the menu, `title`, `hypervisor`, `kernel`, `ramdisks`, `options`,
as the loader reads them), `fstab` (`source`, `target`, `type`, `options`, `freq`, `passno`, `partition`: the one that `source`
means, 0 for an image without partitions) and `warnings`. What there is none of is null.

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

const KERNEL_EXAMPLES: &str = "\
Examples:
  autoxen image kernel root.img                        which kernels are there?
  autoxen image kernel root.img -o boot                the newest, with its ramdisk
  autoxen image kernel disk.img#2 --version 6.1.0-18-amd64 -o boot
  autoxen image kernel --json root.img -o boot | jq -r .kernel

The kernels are those of /boot, or of the partition of the same disk that the guest's fstab mounts there, and behind them
those that lie beside their modules alone, as /usr/lib/modules/6.8.5/vmlinuz. Newest is what
`prepare` would take for a pv guest: of kernels before 3.0, one that is built for Xen. The ramdisk is that of its version.

Files keep their names. Each is built under a temporary name in DIR, synced, then renamed: it is there whole or not at
all. It is no more open to other users than the image is.

JSON: one object with `image`, `kernels` (of each `version`, by its name; `release`, by what it says of itself; `partition`,
null where it is that of the root; `path`, `bytes` and `ramdisk`, in the image), and the paths `kernel` and `ramdisk` of what
was written, or null.

Exit status: 0 done; 2 failed.";

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
    Info(Lazy<ImageInfoArgs>),
    /// List the kernels of a guest, or take one out with its ramdisk
    Kernel(Lazy<ImageKernelArgs>),
    /// Bring an image back after a crash: undo an interrupted edit, replay journals
    Recover(Lazy<ImageRecoverArgs>),
    /// Make a new image from archives, directories and container images
    Build(Lazy<ImageBuildArgs>),
    /// Unpack an archive, a directory or a container image into a directory of an image
    Import(Lazy<ImageImportArgs>),
    /// Pack a directory of an image into a tar archive
    Export(Lazy<ImageExportArgs>),
    /// Enlarge an image, its last partition and the ext file system in it
    Grow(Lazy<ImageGrowArgs>),
    /// Make a raw image of a qcow2 or compressed one, or a qcow2 of a raw one
    Convert(Lazy<ImageConvertArgs>),
    /// Look inside, compare, or run a script
    #[command(flatten)]
    Read(ReadVerb),
    /// Work inside
    #[command(flatten)]
    Edit(EditVerb),
}

/// Arguments of `image info`.
#[derive(Debug, Args)]
#[command(after_help = INFO_EXAMPLES)]
pub struct ImageInfoArgs {
    /// The image: raw, compressed with zstd, gzip or xz, or qcow2
    #[arg(value_name = "IMAGE[#PARTITION]")]
    pub image: OsString,
    /// Check every ext file system in it for consistency
    #[arg(long)]
    pub deep: bool,
    /// Draw the block groups of every ext file system in it
    #[arg(long, conflicts_with = "json")]
    pub map: bool,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
    /// Look at this partition alone: its number, name or UUID, or the UUID or label of the file system in it
    #[arg(long, value_name = "N|LABEL|UUID")]
    pub partition: Option<OsString>,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// Arguments of `image kernel`.
#[derive(Debug, Args)]
#[command(after_help = KERNEL_EXAMPLES)]
pub struct ImageKernelArgs {
    /// The image: raw, compressed with zstd, gzip or xz, or qcow2
    #[arg(value_name = "IMAGE[#PARTITION]")]
    pub image: OsString,
    /// Write kernel and ramdisk into this directory; it is created where it is missing
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Take the kernel of this version, not the newest
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    /// The root is in this partition: its number, name or UUID, or the UUID or label of the file system in it
    #[arg(long, value_name = "N|LABEL|UUID")]
    pub partition: Option<OsString>,
    /// Replace files that are there
    #[arg(long)]
    pub force: bool,
    /// Print what there is and what was written as JSON
    #[arg(long)]
    pub json: bool,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// Arguments of `image recover`.
#[derive(Debug, Args)]
#[command(after_help = RECOVER_EXAMPLES)]
pub struct ImageRecoverArgs {
    /// The image: raw, and in use by nobody
    #[arg(value_name = "IMAGE[#PARTITION]")]
    pub image: OsString,
    /// Replay the journal of this partition alone: its number, name or UUID, or the UUID or label of the file system in it
    #[arg(long, value_name = "N|LABEL|UUID")]
    pub partition: Option<OsString>,
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
}
