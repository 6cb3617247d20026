//! What may be typed for the work inside an image. A script of `image edit` has the same verbs and flags.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::lazy::Lazy;

/// How places are written, for every verb.
macro_rules! with_places {
    ($text:literal) => {
        concat!(
            $text,
            "

IMAGE:PATH is a place in an image; PATH begins with `/`. IMAGE#PARTITION:PATH names the partition by its number, its GPT \
name, its UUID, or the UUID or label of the file system in it; without that it is the one with a Linux root, by its \
type in a GPT or by what is in it, or else the only file system (ext2, ext3, ext4 or FAT). Where the name of an image has `:` or `#` in it, the longest name of \
a file counts. `*`, `?`, `[...]` and `**` in PATH stand for what matches, unless something has that very name; quote them."
        )
    };
}

const LS_EXAMPLES: &str = with_places!(
    "\
Examples:
  autoxen image ls root.img:/etc
  autoxen image ls -lR disk.img#2:/boot
  autoxen image ls -lR --json root.img | jq -r 'select(.mode == \"4755\").path'

Names are escaped on a terminal and printed as they are into a pipe. Owners have the names of the image's own /etc/passwd \
and /etc/group. The mode of a file with an ACL ends in `+`, with a SELinux label in `.`. Times are in the zone of TZ.

JSON: one object a line with `path` (null where it is not UTF-8) and `path_pct` (bytes other than 0x21 to 0x7E, and `%`, \
are `%XX`), `type` (file, dir, symlink, char, block, fifo, socket), `mode`, `uid`, `gid`, `size`, `nlink`, `mtime`, `ino`, \
`rdev` of devices, `target` and `target_pct` of symbolic links, with --sha256 `sha256` of files, and \
`image` where places in several images are listed.

Exit status: 0 done; 2 something could not be listed."
);

const CAT_EXAMPLES: &str = with_places!(
    "\
Examples:
  autoxen image cat root.img:/etc/os-release
  autoxen image cat 'root.img:/etc/apt/sources.list.d/*' | grep deb

Exit status: 0 done; 2 something could not be read."
);

const CP_EXAMPLES: &str = with_places!(
    "\
Examples:
  autoxen image cp motd root.img:/etc/motd                     host to image
  autoxen image cp -r root.img:/var/log logs                   image to host
  autoxen image cp -a old.img:/home/. new.img:/home            image to image
  autoxen image cp -r grub.cfg fonts disk.img#EFI:/EFI/grub    into an EFI partition

`./x:y` is a file of the host with a colon in its name. What comes into an image belongs to root unless -p or -a keeps the \
owner, by its number. Holes stay holes. A copy to the host follows no symbolic link below its destination, sets owners \
only for root, and goes on after an error; one into an image is whole or has no effect. A FAT keeps contents and \
times alone; what has no place in it (links, devices) is refused, and it is told of how many files owner and mode are lost.

Exit status: 0 done; 2 failed; 130 interrupted: what was copied to the host so far stays."
);

const MKDIR_EXAMPLES: &str = with_places!(
    "\
Examples:
  autoxen image mkdir -p root.img:/srv/www/htdocs
  autoxen image mkdir -m 1777 root.img:/scratch

Exit status: 0 done; 2 failed, and nothing has changed, unless it was standard output that failed: \
-v speaks once the edit is made."
);

const RM_EXAMPLES: &str = with_places!(
    "\
Examples:
  autoxen image rm -r root.img:/usr/share/doc
  autoxen image rm -f 'root.img:/var/log/*.gz'

The root directory is never removed.

Exit status: 0 done; 2 failed, and nothing has changed, unless it was standard output that failed: \
-v speaks once the edit is made."
);

const MV_EXAMPLES: &str = with_places!(
    "\
Examples:
  autoxen image mv root.img:/etc/motd root.img:/etc/motd.old
  autoxen image mv 'root.img:/boot/*-old' root.img:/root

All of it happens in one image.

Exit status: 0 done; 2 failed, and nothing has changed, unless it was standard output that failed: \
-v speaks once the edit is made."
);

const LN_EXAMPLES: &str = with_places!(
    "\
Examples:
  autoxen image ln -s ../usr/share/zoneinfo/UTC root.img:/etc/localtime
  autoxen image ln -sfn app-2.0 root.img:/opt/app
  autoxen image ln root.img:/bin/busybox root.img:/bin/sh

The target of a symbolic link is a text, written without an image.

Exit status: 0 done; 2 failed, and nothing has changed, unless it was standard output that failed: \
-v speaks once the edit is made."
);

const CHMOD_EXAMPLES: &str = with_places!(
    "\
Examples:
  autoxen image chmod 0600 root.img:/etc/shadow
  autoxen image chmod -R u=rwX,go= root.img:/root

Where no class is named, as in `+w`, the umask counts as 022. -R follows no symbolic links.

Exit status: 0 done; 2 failed, and nothing has changed, unless it was standard output that failed: \
-v speaks once the edit is made."
);

const CHOWN_EXAMPLES: &str = with_places!(
    "\
Examples:
  autoxen image chown -R www-data:www-data root.img:/srv/www
  autoxen image chown 1000:1000 root.img:/home/user

Names are those of the image's own /etc/passwd and /etc/group. As the kernel does it, a file loses its set-user-ID and \
set-group-ID bits and its capabilities. -R follows no symbolic links, and changes those that it meets.

Exit status: 0 done; 2 failed, and nothing has changed, unless it was standard output that failed: \
-v speaks once the edit is made."
);

const DIFF_EXAMPLES: &str = with_places!(
    "\
Examples:
  autoxen image diff stock.img customised.img
  autoxen image diff --json stock.img#2:/etc root.img:/etc
  autoxen image diff root.img:/etc ./etc                       with a directory of the host

A line for each path: `-` only in the first, `+` only in the second, or what differs: `kind`, `content`, `target`, `mode`, \
`owner`, `xattrs`, `device`, `links` (which other names the file has), `times`. Times count with --times alone. What is below a directory that only one has is not listed.

JSON: one object a line with `path`, `path_pct` and `changes`, an array of those words or of `only in first` or `only in \
second`.

Exit status: 0 the same; 1 they differ; 2 trouble."
);

const EDIT_EXAMPLES: &str = with_places!(
    "\
Examples:
  autoxen image edit root.img < script
  autoxen image edit --dry-run root.img -f script
  cp stock.img job.img && autoxen image edit --no-sync job.img -f script

A script has one command a line: cp, mkdir, rm, mv, ln, chmod or chown with their flags, quoted as in a shell; `#` begins a \
comment. The image that is edited is not named: `:/PATH` is a place in it, and where no other could be meant, `/PATH` is too.

  mkdir -p /etc/xenjobs.d
  cp ./job :/etc/xenjobs.d/10-job     # from the host
  chmod 0755 /etc/xenjobs.d/10-job
  ln -sf ../usr/share/zoneinfo/UTC /etc/localtime

All of it is one transaction: every line has its effect, or none has, whatever ends the work. Files of the host are read \
and never written. With --dry-run the edit is made and then forgotten.

With --no-sync neither the journal nor an undo file guards the edit, and nothing waits until it is on the disk: it is over \
sooner, and until the host has synced the file a crash of the host or a kill in the middle leaves an image that is neither \
old nor new; so does an error of the host while it is written. An edit that is refused changes nothing, as ever.

Exit status: 0 done; 2 failed, and nothing has changed: the error names the line."
);

/// Verbs that read, and `edit`.
#[derive(Debug, Subcommand)]
pub enum ReadVerb {
    /// List what is in a directory of an image
    #[command(disable_help_flag = true)]
    Ls(Lazy<LsArgs>),
    /// Print files of an image
    Cat(Lazy<CatArgs>),
    /// Compare two images, or directories in them
    Diff(Lazy<DiffArgs>),
    /// Do what a script says in an image, all of it or nothing
    Edit(Lazy<EditArgs>),
}

/// Verbs that edit.
#[derive(Debug, Subcommand)]
pub enum EditVerb {
    /// Copy files into, out of or within images
    Cp(Lazy<CpArgs>),
    /// Make directories in an image
    Mkdir(Lazy<MkdirArgs>),
    /// Remove files in an image
    Rm(Lazy<RmArgs>),
    /// Move or rename files in an image
    Mv(Lazy<MvArgs>),
    /// Make links in an image
    Ln(Lazy<LnArgs>),
    /// Change the mode of files in an image
    Chmod(Lazy<ChmodArgs>),
    /// Change owner and group of files in an image
    #[command(disable_help_flag = true)]
    Chown(Lazy<ChownArgs>),
}

/// A line of a script.
#[derive(Debug, Parser)]
#[command(
    name = "",
    no_binary_name = true,
    disable_help_flag = true,
    disable_help_subcommand = true
)]
pub struct ScriptLine {
    /// What to do
    #[command(subcommand)]
    pub verb: EditVerb,
}

/// Arguments of `image ls`.
#[derive(Debug, Args)]
#[command(after_help = LS_EXAMPLES)]
pub struct LsArgs {
    /// What to list; an image alone stands for its root directory
    #[arg(required = true, value_name = "IMAGE[:PATH]")]
    pub places: Vec<OsString>,
    /// Show mode, links, owner, group, size and time
    #[arg(short = 'l')]
    pub long: bool,
    /// Show names that begin with a dot, `.` and `..` as well
    #[arg(short, long)]
    pub all: bool,
    /// Show names that begin with a dot
    #[arg(short = 'A', long)]
    pub almost_all: bool,
    /// List directories in directories, and so on
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Show directories themselves, not what is in them
    #[arg(short, long)]
    pub directory: bool,
    /// One name a line, as always
    #[arg(short = '1')]
    pub one: bool,
    /// Show the inode's number
    #[arg(short, long)]
    pub inode: bool,
    /// Show sizes as 1.5K, 234M, 2.0G
    #[arg(short = 'h', long)]
    pub human_readable: bool,
    /// Show owners and groups by number; implies -l
    #[arg(short, long)]
    pub numeric_uid_gid: bool,
    /// Newest first
    #[arg(short = 't')]
    pub by_time: bool,
    /// Largest first
    #[arg(short = 'S')]
    pub by_size: bool,
    /// The other way round
    #[arg(short, long)]
    pub reverse: bool,
    /// How times are written
    #[arg(long, value_enum, default_value_t, value_name = "STYLE")]
    pub time_style: TimeStyle,
    /// Print a JSON object a line, with all that is known
    #[arg(long)]
    pub json: bool,
    /// With --json, add the SHA-256 of each file
    #[arg(long, requires = "json")]
    pub sha256: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    pub help: Option<bool>,
}

/// How `ls` writes times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TimeStyle {
    /// 2026-11-23 12:45
    #[default]
    LongIso,
    /// 2026-11-23 12:45:08.000000000 +0000
    FullIso,
    /// Seconds since 1970
    Unix,
}

/// Arguments of `image cat`.
#[derive(Debug, Args)]
#[command(after_help = CAT_EXAMPLES)]
pub struct CatArgs {
    /// The files
    #[arg(required = true, value_name = "IMAGE:PATH")]
    pub places: Vec<OsString>,
}

/// Arguments of `image diff`.
#[derive(Debug, Args)]
#[command(after_help = DIFF_EXAMPLES)]
pub struct DiffArgs {
    /// The first image, a directory in it, or a directory of the host
    #[arg(value_name = "IMAGE[:PATH]")]
    pub first: OsString,
    /// The second
    #[arg(value_name = "IMAGE[:PATH]")]
    pub second: OsString,
    /// Compare times of last change, too
    #[arg(long)]
    pub times: bool,
    /// Do not list anything
    #[arg(short, long)]
    pub quiet: bool,
    /// Print a JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `image edit`.
#[derive(Debug, Args)]
#[command(after_help = EDIT_EXAMPLES)]
pub struct EditArgs {
    /// The image; raw, and in use by nobody
    #[arg(value_name = "IMAGE[#PARTITION]")]
    pub image: OsString,
    /// The script; without it, standard input
    #[arg(short, long, value_name = "SCRIPT")]
    pub file: Option<PathBuf>,
    /// Do all but write
    #[arg(long)]
    pub dry_run: bool,
    /// Write straight and do not wait for the disk: for a copy that can be made again
    #[arg(long)]
    pub no_sync: bool,
}

/// Arguments of `image cp`.
#[derive(Debug, Args)]
#[command(after_help = CP_EXAMPLES)]
pub struct CpArgs {
    /// What to copy, and behind it where to: a name, or a directory that is there
    #[arg(required = true, num_args = 2.., value_name = "PLACE")]
    pub places: Vec<OsString>,
    /// Copy directories with all that is in them
    #[arg(short, long, visible_short_alias = 'R')]
    pub recursive: bool,
    /// Keep mode, owner, times and ACLs
    #[arg(short)]
    pub preserve: bool,
    /// Keep all: as -r -p -P, with hard links and extended attributes
    #[arg(short, long)]
    pub archive: bool,
    /// Copy what symbolic links lead to
    #[arg(short = 'L', long, conflicts_with = "no_dereference")]
    pub dereference: bool,
    /// Copy symbolic links as such; with -r that is so but for links on the command line
    #[arg(short = 'P', long)]
    pub no_dereference: bool,
    /// Leave files that are there as they are
    #[arg(short, long)]
    pub no_clobber: bool,
    /// The last place is a name, never a directory to copy into
    #[arg(short = 'T', long)]
    pub no_target_directory: bool,
    /// Say what is copied
    #[arg(short, long)]
    pub verbose: bool,
}

/// Arguments of `image mkdir`.
#[derive(Debug, Args)]
#[command(after_help = MKDIR_EXAMPLES)]
pub struct MkdirArgs {
    /// The directories
    #[arg(required = true, value_name = "IMAGE:PATH")]
    pub places: Vec<OsString>,
    /// Make those above as well; one that is there is no error
    #[arg(short, long)]
    pub parents: bool,
    /// Their mode, as of chmod, in place of 0755
    #[arg(short, long, value_name = "MODE")]
    pub mode: Option<String>,
    /// Say what is made
    #[arg(short, long)]
    pub verbose: bool,
}

/// Arguments of `image rm`.
#[derive(Debug, Args)]
#[command(after_help = RM_EXAMPLES)]
pub struct RmArgs {
    /// What to remove
    #[arg(required = true, value_name = "IMAGE:PATH")]
    pub places: Vec<OsString>,
    /// Remove directories with all that is in them
    #[arg(short, long, visible_short_alias = 'R')]
    pub recursive: bool,
    /// What is not there is no error
    #[arg(short, long)]
    pub force: bool,
    /// Remove empty directories
    #[arg(short, long)]
    pub dir: bool,
    /// Say what is removed
    #[arg(short, long)]
    pub verbose: bool,
}

/// Arguments of `image mv`.
#[derive(Debug, Args)]
#[command(after_help = MV_EXAMPLES)]
pub struct MvArgs {
    /// What to move, and behind it where to: a name, or a directory that is there
    #[arg(required = true, num_args = 2.., value_name = "IMAGE:PATH")]
    pub places: Vec<OsString>,
    /// Leave files that are there as they are
    #[arg(short, long)]
    pub no_clobber: bool,
    /// The last place is a name, never a directory to move into
    #[arg(short = 'T', long)]
    pub no_target_directory: bool,
    /// No question is ever asked
    #[arg(short, long)]
    pub force: bool,
    /// Say what is moved
    #[arg(short, long)]
    pub verbose: bool,
}

/// Arguments of `image ln`.
#[derive(Debug, Args)]
#[command(after_help = LN_EXAMPLES)]
pub struct LnArgs {
    /// What to link to, and behind it the link's name, or a directory that is there
    #[arg(required = true, num_args = 2.., value_name = "PLACE")]
    pub places: Vec<OsString>,
    /// Make symbolic links
    #[arg(short, long)]
    pub symbolic: bool,
    /// Remove what has the link's name, unless it is a directory
    #[arg(short, long)]
    pub force: bool,
    /// A last place that is a symbolic link to a directory is the name of the link
    #[arg(short, long)]
    pub no_dereference: bool,
    /// The last place is a name, never a directory to link in
    #[arg(short = 'T', long)]
    pub no_target_directory: bool,
    /// Say what is linked
    #[arg(short, long)]
    pub verbose: bool,
}

/// Arguments of `image chmod`.
#[derive(Debug, Args)]
#[command(after_help = CHMOD_EXAMPLES)]
pub struct ChmodArgs {
    /// The mode: 0644, or u+x,go=r
    #[arg(value_name = "MODE", allow_hyphen_values = true)]
    pub mode: String,
    /// The files
    #[arg(required = true, value_name = "IMAGE:PATH")]
    pub places: Vec<OsString>,
    /// Change directories with all that is in them
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Say what is changed
    #[arg(short, long)]
    pub verbose: bool,
}

/// Arguments of `image chown`.
#[derive(Debug, Args)]
#[command(after_help = CHOWN_EXAMPLES)]
pub struct ChownArgs {
    /// The owner: USER, USER:GROUP, USER: (with its login group) or :GROUP
    #[arg(value_name = "OWNER")]
    pub owner: String,
    /// The files
    #[arg(required = true, value_name = "IMAGE:PATH")]
    pub places: Vec<OsString>,
    /// Change directories with all that is in them
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Change symbolic links, not what they lead to
    #[arg(short = 'h', long)]
    pub no_dereference: bool,
    /// Say what is changed
    #[arg(short, long)]
    pub verbose: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    pub help: Option<bool>,
}
