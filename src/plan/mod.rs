//! What will be done: a value, made from a document and facts. A plan neither reads nor writes; it is printed
//! (`autoxen plan`) or applied (`autoxen prepare`).
//!
//! [`plan()`] makes it: `volume` says which file system each `imagefile` means, `boot` which kernel starts, `disks` what
//! the guest's devices are, `extra` what disks it gets beside those of the document, `root`, `files`, `inputs` and `jobs`
//! what is written into the images, `in_place` whether into the images themselves, `domain` what xl is told. [`text`] and [`json`] show it.

mod boot;
mod disks;
mod domain;
mod extra;
mod files;
mod in_place;
mod inputs;
mod jobs;
pub mod json;
mod known;
mod make;
mod mounts;
mod root;
pub mod text;
mod volume;

use std::path::PathBuf;

pub use make::plan;

use crate::domain::value::{FileName, Vdev};
use crate::domain::xl::{self, DiskFormat};
use crate::guest::init::Init;
use crate::xmf::model::InputKind;

/// What the command line says beside the document. What it says goes before what the document says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The domain's name where the document has none: the name of its file, without the ending.
    pub name_default: String,
    /// Kernel on the host, absolute.
    pub kernel: Option<PathBuf>,
    /// Ramdisk on the host, absolute.
    pub ramdisk: Option<PathBuf>,
    /// Command line of the kernel.
    pub cmdline: Option<String>,
    /// Leave `hda` and `sda` as the document writes them, whatever the guest's kernel is.
    pub keep_device_names: bool,
    /// Edit the images where they lie, and let the guest use them there.
    pub in_place: bool,
    /// Lay the disks over the images, in place of copies.
    pub overlay: bool,
    /// Which runner of jobs the guest gets.
    pub runner: Runner,
    /// How the jobs get into the guest.
    pub deliver: Deliver,
    /// What tells this preparation from all others, in hexadecimal digits.
    pub id: String,
}

/// Which runner of jobs the guest gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Runner {
    /// Ours, hooked into its init system, unless it has one of its own.
    #[default]
    Auto,
    /// None: the guest has one, or somebody starts the jobs by hand.
    None,
    /// Ours, hooked into this init system.
    For(Init),
}

/// How the jobs get into the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deliver {
    /// Into the root image.
    #[default]
    Image,
    /// On a seed disk that cloud-init reads.
    NoCloud,
}

/// All of a bundle, before a byte of it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The disks, in the order in which the guest gets them.
    pub disks: Vec<Disk>,
    /// Kernel and ramdisk, where the bundle holds them.
    pub boot_files: Vec<BootFile>,
    /// What xl is told, once [`xl::Domain::in_directory`] has said where the bundle is.
    pub domain: xl::Domain,
    /// What tells this preparation from all others, in hexadecimal digits.
    pub id: String,
    /// The jobs, in the order in which they run.
    pub jobs: Vec<PlannedJob>,
    /// Index into `disks` of the disk that results are written to.
    pub results: Option<usize>,
    /// What the user ought to know.
    pub notes: Vec<String>,
}

/// A job as the guest knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedJob {
    /// File name of its script: `10-fit`.
    pub name: String,
    /// What it stages out: absolute paths and patterns of the guest.
    pub outputs: Vec<String>,
}

/// One disk of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The guest's device: `xvda`, `xvda1`.
    pub vdev: Vdev,
    /// The guest cannot write to it.
    pub read_only: bool,
    /// Where the bytes come from.
    pub source: Source,
    /// File name in the bundle; `None` for an image that is used where it lies.
    pub file: Option<FileName>,
    /// What that file is.
    pub format: DiskFormat,
    /// For an image that is edited where it lies: what brings it back, should the edit be interrupted.
    pub guard: Option<Guard>,
    /// Indices (into `Facts::images` and `Document::images`) of the `imagefile` elements on this disk.
    pub images: Vec<usize>,
    /// The edits, by volume of the disk.
    pub edits: Vec<VolumeEdits>,
}

/// What keeps an edit in place whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The journal of the file system.
    Journal,
    /// A file with what the bytes were, there while the edit lasts.
    Undo(PathBuf),
}

/// Where a disk's bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A stock image: its copy (unpacked, where it is compressed), or itself.
    Image(PathBuf),
    /// A new disk of `len` bytes, formatted as `format` says.
    Blank {
        /// Length in bytes.
        len: u64,
        /// What it holds.
        format: Format,
    },
    /// A new disk with an ext file system, as long as its content needs.
    Inputs {
        /// Its UUID.
        uuid: uuid::Uuid,
        /// The guest's kernel is older than Linux 3.0.
        is_legacy: bool,
        /// What is in it.
        staged: Vec<Staged>,
    },
}

/// Files of the host that go into the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// Where in the file system: of a file its own path, of all others that of the directory which they fill.
    pub path: String,
    /// Where on the host: absolute.
    pub source: PathBuf,
    /// What is there.
    pub kind: InputKind,
    /// SHA-256 that the file has to have.
    pub sha256: Option<String>,
    /// Permission bits of a file.
    pub mode: u32,
}

impl Staged {
    /// The action, for programs.
    fn action(&self) -> &'static str {
        match self.kind {
            InputKind::File => "stage_file",
            InputKind::Directory => "stage_directory",
            InputKind::Tar => "stage_tar",
        }
    }

    /// The action, for people.
    fn verb(&self) -> &'static str {
        match self.kind {
            InputKind::File => "put a file at",
            InputKind::Directory => "put a directory at",
            InputKind::Tar => "unpack a tar in",
        }
    }
}

/// What a new disk holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// A swap space.
    Swap {
        /// Its UUID.
        uuid: uuid::Uuid,
        /// Its label, at most 15 bytes.
        label: Option<String>,
    },
    /// An ext3 file system, as empty as it is made.
    Ext {
        /// Its UUID.
        uuid: uuid::Uuid,
        /// Its label, at most 16 bytes.
        label: String,
        /// The guest's kernel is older than Linux 3.0.
        is_legacy: bool,
    },
    /// A FAT file system.
    Vfat {
        /// Its serial number.
        volume_id: u32,
        /// Its label, at most 11 bytes.
        label: Option<String>,
    },
}

/// Edits of one file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeEdits {
    /// Partition number; `None` for a bare image.
    pub partition: Option<u32>,
    /// In the order in which they are made; all of them or none.
    pub edits: Vec<Edit>,
}

/// One edit of a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Absolute path inside the image.
    pub path: String,
    /// What is done there.
    pub action: Action,
    /// Why, for people; one line for each reason.
    pub reason: String,
}

/// What an edit does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Create the file or replace its content; missing parents are created (0755, root).
    Write {
        /// The content.
        content: Content,
        /// Permission bits; without it, what it replaces keeps its own and a new file gets 0644.
        mode: Option<u32>,
        /// User and group; without it, what it replaces keeps its own and a new file is root's.
        owner: Option<(u32, u32)>,
    },
    /// Create the directory, if it is not there, with its parents.
    CreateDir {
        /// Permission bits; 0755 without it.
        mode: Option<u32>,
        /// User and group; root without it.
        owner: Option<(u32, u32)>,
    },
    /// Create the symbolic link, or replace what is there (but not a directory).
    Symlink {
        /// Where it points, as written.
        target: String,
    },
    /// Put files of the host here; what is in the way is replaced, but directories stay.
    Stage(Staged),
}

/// The content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A file of the host, read when the plan is applied.
    Host(PathBuf),
}

/// Kernel or ramdisk of the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootFile {
    /// File name in the bundle.
    pub file: FileName,
    /// Where it comes from.
    pub from: BootSource,
}

/// Where a boot file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootSource {
    /// A file of the host.
    Host(PathBuf),
    /// A file inside a disk of this plan.
    Image {
        /// Index into [`Plan::disks`].
        disk: usize,
        /// Partition number; `None` for a bare image.
        partition: Option<u32>,
        /// Absolute path inside the file system.
        path: String,
    },
}
