//! What will be done: a value, made from a document and facts. A plan neither reads nor writes; it is printed
//! (`autoxen plan`) or applied (`autoxen prepare`).

use std::path::PathBuf;

use crate::domain::xl;

/// All of a bundle, before a byte of it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The disks, in the order in which the guest gets them.
    pub disks: Vec<Disk>,
    /// Kernel and ramdisk, where the bundle holds them.
    pub boot_files: Vec<BootFile>,
    /// What xl is told. Its disk targets and boot files are names inside the bundle until
    /// [`xl::Domain::in_directory`] makes them absolute.
    pub domain: xl::Domain,
    /// What the user ought to know.
    pub notes: Vec<String>,
}

/// One disk of the guest.
#[derive(Clone, Debug, PartialEq)]
pub struct Disk {
    /// Name of the guest's device: `xvda`, `xvda1`.
    pub vdev: String,
    /// Where the bytes come from.
    pub source: Source,
    /// File name in the bundle; `None` for a read-only image that is used where it lies.
    pub file: Option<String>,
    /// Indices (into `Facts::images` and `Document::images`) of the `imagefile` elements on this disk.
    pub images: Vec<usize>,
    /// The edits, by volume of the disk.
    pub edits: Vec<VolumeEdits>,
}

/// Where a disk's bytes come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A copy of a stock image (unpacked, where it is compressed).
    Image(PathBuf),
    /// A new disk of `len` bytes, formatted as `format` says.
    Blank {
        /// Length in bytes.
        len: u64,
        /// What it holds.
        format: Format,
    },
}

/// What a new disk holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// A swap space.
    Swap {
        /// Its UUID.
        uuid: uuid::Uuid,
        /// Its label, at most 15 bytes.
        label: Option<String>,
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
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeEdits {
    /// Partition number; `None` for a bare image.
    pub partition: Option<u32>,
    /// In the order in which they are made; all of them or none.
    pub edits: Vec<Edit>,
}

/// One edit of a file system.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// Absolute path inside the image.
    pub path: String,
    /// What is done there.
    pub action: Action,
    /// Why, for people.
    pub reason: String,
}

/// What an edit does.
#[derive(Clone, Debug, PartialEq)]
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
}

/// The content of a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A file of the host, read when the plan is applied.
    Host(PathBuf),
}

/// Kernel or ramdisk of the bundle.
#[derive(Clone, Debug, PartialEq)]
pub struct BootFile {
    /// File name in the bundle.
    pub file: String,
    /// Where it comes from.
    pub from: BootSource,
}

/// Where a boot file comes from.
#[derive(Clone, Debug, PartialEq)]
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
