//! What is known of an image: found by [`super::info`], shown by [`super::shown`].

use std::path::PathBuf;

use imgfmt::Error;
use imgfmt::ext::check::Report;
use imgfmt::ext::{Info, Pending};
use imgfmt::fat::Space;
use imgfmt::probe::Probe;
use imgfmt::qcow2::Header;
use imgfmt::table::{Partition, Table};

use crate::facts::form::Form;
use crate::inside::guest::Guest;

/// All that is said of an image.
pub(super) struct About {
    /// As the user named it.
    pub(super) name: String,
    /// Bytes of the disk.
    pub(super) len: u64,
    /// In which form the file holds it.
    pub(super) form: Form,
    /// The file, where it is qcow2.
    pub(super) qcow2: Option<Qcow2About>,
    /// Its partition table.
    pub(super) table: Option<Table>,
    /// Its volumes, one without a table.
    pub(super) volumes: Vec<VolumeAbout>,
}

/// All that is said of a qcow2 file.
pub(super) struct Qcow2About {
    /// What its header says.
    pub(super) header: Header,
    /// Bytes of the file.
    pub(super) file_len: u64,
    /// The files that it is laid over, the nearest first.
    pub(super) below: Vec<PathBuf>,
}

/// All that is said of a volume.
#[derive(Default)]
pub(super) struct VolumeAbout {
    /// Its entry in the table.
    pub(super) partition: Option<Partition>,
    /// Bytes.
    pub(super) len: u64,
    /// What it holds.
    pub(super) probe: Option<Probe>,
    /// What is known of an ext file system.
    pub(super) ext: Option<ExtAbout>,
    /// The room of a FAT.
    pub(super) fat: Option<Space>,
    /// What lives in it.
    pub(super) guest: Option<GuestAbout>,
    /// Its block groups, drawn.
    pub(super) map: Option<String>,
    /// What the check found.
    pub(super) check: Option<Report>,
    /// Why it cannot be read.
    pub(super) error: Option<Error>,
}

/// All that is said of an ext file system.
pub(super) struct ExtAbout {
    /// What its superblock says; where it was not unmounted, with the free blocks and inodes of its descriptors.
    pub(super) info: Info,
    /// Whether its journal has to be replayed.
    pub(super) needs_recovery: bool,
    /// What a mount would do first, or why that cannot be told.
    pub(super) pending: Result<Pending, String>,
}

/// All that is said of what lives in a root.
#[derive(Default)]
pub(super) struct GuestAbout {
    /// What its files say.
    pub(super) guest: Guest,
    /// Its kernels, for people.
    pub(super) kernels: Vec<String>,
    /// The same, for programs.
    pub(super) kernels_json: Vec<serde_json::Value>,
    /// The entries of its boot loader, for people.
    pub(super) entries: Vec<String>,
    /// The same, for programs.
    pub(super) entries_json: Vec<serde_json::Value>,
}
