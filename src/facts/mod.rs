//! What there is: the images that a document names, looked at and described. The types are pure data, so that a plan
//! can be made (and tested) without an image.

pub mod choose;
pub mod form;
pub mod gather;
mod inputs;
mod inside;
pub mod known;
mod locate;
mod nodes_file;
pub mod remembered;
pub mod stock;
mod vouch;
pub mod words;

use std::path::PathBuf;

use crate::guest::init::Init;
use crate::xmf::model::ImageFile;

/// All that a plan has to know about the world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// One for each `imagefile`, in their order.
    pub images: Vec<ImageFacts>,
    /// Files of the host that the document names (`kernel`, `ramdisk`, `file source=`), by the path as written.
    pub host_files: Vec<HostFile>,
    /// What the `input` elements name, in the order of the document.
    pub inputs: Vec<InputFacts>,
}

/// What an `input` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputFacts {
    /// Absolute path on the host.
    pub path: PathBuf,
    /// Bytes that it takes in the guest, as far as can be told without reading it.
    pub len: u64,
    /// Permission bits, of a file.
    pub mode: u32,
}

/// What an `imagefile` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// Absolute path of the file that the URL names; `None` for a disk that is to be made.
    pub path: Option<PathBuf>,
    /// The form that the file's first bytes show, where it is not raw: `zstd`, `gzip`, `xz`, `qcow2`.
    pub form: Option<&'static str>,
    /// Who signed the file, where a signature was asked for.
    pub signer: Option<String>,
    /// Length of the raw image in bytes.
    pub len: u64,
    /// Partition table: `mbr` or `gpt`; `None` for a bare file system.
    pub table: Option<&'static str>,
    /// The partition with the root, for a root image of which the document names none; `None` where there is any doubt.
    pub chosen: Option<u32>,
    /// What the table lists, or the one bare content with number `None`.
    pub volumes: Vec<VolumeFacts>,
    /// The file system that the `imagefile` means is of the ext family and has a journal; known where it is to be edited.
    pub has_journal: bool,
    /// What stands in the file system that the `imagefile` means, where it holds a guest's root.
    pub root: Option<RootFacts>,
    /// Directories of that file system, as far as a plan wants to know: of the mount points and inputs that the document
    /// has below this one, those that are there. Absolute paths inside the file system.
    pub directories: Vec<String>,
    /// File names in its top directory, where it is mounted at `/boot`.
    pub boot: Vec<String>,
}

impl ImageFacts {
    /// The partition that `image`, whose facts these are, means.
    pub fn partition(&self, image: &ImageFile) -> Option<u32> {
        image.partition.as_ref().map(|number| number.value).or(self.chosen)
    }
}

/// One partition, or the whole of a bare image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeFacts {
    /// Partition number from 1 on; `None` for a bare image.
    pub partition: Option<u32>,
    /// What its magic says: `ext2`, `ext3`, `ext4`, `vfat`, `swap`, `xfs`, …; `None` where nothing is known.
    pub filesystem: Option<String>,
    /// UUID as fstab writes it.
    pub uuid: Option<String>,
    /// Label of the file system.
    pub label: Option<String>,
    /// `PARTUUID` as fstab writes it.
    pub part_uuid: Option<String>,
    /// `PARTLABEL` as fstab writes it.
    pub part_label: Option<String>,
}

/// What the root file system holds of that which a plan changes or reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootFacts {
    /// Bytes of `/etc/fstab`; `None` where there is none.
    pub fstab: Option<Vec<u8>>,
    /// Bytes of `/etc/hostname`; `None` where there is none.
    pub hostname: Option<Vec<u8>>,
    /// Bytes of `/etc/sysconfig/network`, where Red Hat up to release 6 keeps the host's name.
    pub sysconfig_network: Option<Vec<u8>>,
    /// Bytes of `/etc/HOSTNAME`, where SuSE up to 11 keeps the host's name.
    pub suse_hostname: Option<Vec<u8>>,
    /// Names in `/etc/xenjobs.d`; empty where there is no such directory.
    pub xenjobs: Vec<String>,
    /// Bytes of root's `authorized_keys`; `None` where there is none.
    pub authorized_keys: Option<Vec<u8>>,
    /// File names in `/boot`.
    pub boot: Vec<String>,
    /// Names in `/lib/modules`: the kernel versions that the image can run.
    pub modules: Vec<String>,
    /// What starts its services; the first one does today.
    pub inits: Vec<Init>,
    /// Bytes of `/etc/inittab`; `None` where there is none.
    pub inittab: Option<Vec<u8>>,
    /// Bytes of insserv's order of services; `None` where there is none.
    pub depend_start: Option<Vec<u8>>,
    /// Whether there is `/etc/init`.
    pub has_etc_init: bool,
    /// Whether cloud-init is installed.
    pub has_cloud_init: bool,
    /// The program of its own that runs the jobs in `/etc/xenjobs.d`.
    pub own_runner: Option<String>,
}

/// A file of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFile {
    /// As the document writes it.
    pub name: String,
    /// Absolute path.
    pub path: PathBuf,
    /// Length in bytes.
    pub len: u64,
}
