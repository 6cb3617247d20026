//! What is known of an image: found by [`super::info`], shown by [`super::shown`].

use imgfmt::Error;
use imgfmt::ext::Info;
use imgfmt::ext::check::Report;
use imgfmt::probe::Probe;
use imgfmt::table::{Partition, Table};

/// All that is said of an image.
pub(super) struct About {
    /// As the user named it.
    pub(super) name: String,
    /// Bytes of the raw image.
    pub(super) len: u64,
    /// How it is compressed.
    pub(super) compression: Option<&'static str>,
    /// Its partition table.
    pub(super) table: Option<Table>,
    /// Its volumes, one without a table.
    pub(super) volumes: Vec<VolumeAbout>,
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
