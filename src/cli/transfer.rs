//! The arguments of `autoxen image import` and `autoxen image export`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::build::Format;

const IMPORT_EXAMPLES: &str = "\
Examples:
  autoxen image import root.img:/ overlay.tar.zst
  ssh host tar -C /etc --xattrs --xattrs-include='*' -c . | autoxen image import disk.img#2:/etc
  autoxen image import root.img:/srv/www htdocs/ --owner 33:33
  docker save app | autoxen image import root.img:/opt/app --format oci -

SOURCE is a tar (plain, gzip, zstd, xz), a directory, an OCI layout or archive, or what `docker save` writes; `-`, or
nothing, is standard input. DIR is a directory that is there. What is in it stays, as with `tar -x`: directories are
merged, and take owner, mode and times of the source, DIR itself too where the source has an entry for it; a file takes
the place of another. Owners, modes, times, device nodes, hard links, holes, extended attributes and ACLs are those of
the source, by their numbers. No entry leaves DIR, whatever its name or a symbolic link says: links are followed as if
DIR were the root.

It is one edit, whole or not at all, whatever ends the work: through the journal, or with an undo file
IMAGE.autoxen-undo beside the image while it lasts, where there is no journal or it has no room. What is new is held in
memory until it is written. ACLs with names of users, as GNU tar writes them, become numbers by the owners in the
archive, by its own etc/passwd and etc/group if they come before, or by those of the image.

A FAT keeps names, content and times alone: what it has no place for is left out with a warning, owners and modes are counted.

JSON: one object with `image`, `path`, `entries`, `guard` (`journal` or `undo`) and `warnings`.

Exit status: 0 done; 2 failed, and nothing has changed; 130 interrupted.";

const EXPORT_EXAMPLES: &str = "\
Examples:
  autoxen image export root.img -o root.tar.zst
  autoxen image export disk.img#2:/home | ssh host tar -C /srv/home --xattrs --xattrs-include='*' --acls -xp
  autoxen image export disk.img#EFI -o efi.tar
  autoxen image export cloud.qcow2:/etc --compress gzip > etc.tgz

The archive is a tar in the form of POSIX (pax): mtime to the nanosecond, extended attributes as SCHILY.xattr, ACLs, holes
in GNU tar's form 1.0, hard links, device nodes; names begin with `./`, in the order of their bytes. GNU tar restores all
of it with `--xattrs --xattrs-include='*' --acls`, bsdtar with `-p`. The same tree gives the same bytes. A socket has no
form in a tar, and is left out with a warning; so is an empty lost+found.

OUT is compressed as its ending says (.gz .tgz, .zst .tzst, .xz .txz), or as --compress says. It is built under a
temporary name, synced, then renamed: it is there whole or not at all, and no more open to other users than the image.
Without -o, or with `-o -`, the archive goes to standard output, which must not be a terminal.

JSON: one object with `archive`, `compression` (null: none), `bytes` (of the file), `entries` and `warnings`.

Exit status: 0 done; 2 failed; 130 interrupted. OUT is as it was then.";

/// Arguments of `image import`.
#[derive(Debug, Args)]
#[command(after_help = IMPORT_EXAMPLES)]
pub struct ImageImportArgs {
    /// The directory to import into; an image alone stands for its root directory
    #[arg(value_name = "IMAGE[#PARTITION][:DIR]")]
    pub place: OsString,
    /// What to import: a tar, a directory, a container image; without it, or `-`: standard input
    #[arg(value_name = "SOURCE")]
    pub source: Option<PathBuf>,
    /// Change owners: USER:GROUP for all, or OLD:OLD=USER:GROUP; numbers, or `root`
    #[arg(long, value_name = "[OLD=]USER:GROUP")]
    pub owner: Vec<String>,
    /// What the source is, where it is not told by its content
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Which image of a container image of several [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<String>,
    /// Print what was imported as JSON
    #[arg(long)]
    pub json: bool,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// Arguments of `image export`.
#[derive(Debug, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub struct ImageExportArgs {
    /// The directory or file to export; an image alone stands for its root directory
    #[arg(value_name = "IMAGE[#PARTITION][:PATH]")]
    pub place: OsString,
    /// The archive to make; without it, or `-`: standard output
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,
    /// How to compress it, whatever its name
    #[arg(long, value_enum, value_name = "HOW")]
    pub compress: Option<Compress>,
    /// Replace OUT if it is there
    #[arg(long, short)]
    pub force: bool,
    /// Print what was made as JSON
    #[arg(long)]
    pub json: bool,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Compress {
    /// Not at all
    None,
    /// gzip
    Gzip,
    /// zstd: fast
    Zstd,
    /// xz: small
    Xz,
}
