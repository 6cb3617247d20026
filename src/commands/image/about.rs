//! What is known of an image: found by [`super::info`], shown by [`super::shown`].

use std::path::PathBuf;

use imgfmt::Error;
use imgfmt::ext::Info;
use imgfmt::ext::check::Report;
use imgfmt::probe::Probe;
use imgfmt::qcow2::Header;
use imgfmt::table::{Partition, Table};

use crate::facts::form::Form;

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
    /// Of an ext file system: what its superblock says, and whether its journal has to be replayed.
    pub(super) ext: Option<(Info, bool)>,
    /// What the check found.
    pub(super) check: Option<Report>,
    /// Why it cannot be read.
    pub(super) error: Option<Error>,
}
