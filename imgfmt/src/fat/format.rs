//! An empty FAT.
//!
//! The width follows from the length of the volume, as the crate `fatfs` chooses it: FAT12 below 4 MiB, FAT16 below
//! 512 MiB, then FAT32.

use std::io::{self, Seek, SeekFrom};

use fatfs::{FormatVolumeOptions, format_volume};

use super::disk::Overlay;
use super::geometry::Geometry;
use super::with_fatfs;
use crate::Volume;
use crate::changes::Changes;
use crate::error::{Error, Result};
use crate::storage::Storage;

/// The smallest volume that is formatted, in bytes: as mkfs.fat has it, room for a table, a root and some clusters.
const MIN_LEN: u64 = 64 << 10;

/// What makes an empty FAT of `volume`, named by `volume_id` (`1A2B-3C4D` in fstab is 0x1a2b3c4d) and by `label`.
///
/// # Errors
/// [`Error::Unsupported`] for a volume that is too small and for a label that FAT cannot have: more than 11 bytes, or
/// other than ASCII.
pub fn format(volume: Volume<'_>, volume_id: u32, label: Option<&str>) -> Result<Changes> {
    if volume.len() < MIN_LEN {
        let len = volume.len();
        return Err(Error::Unsupported(format!(
            "FAT in {len} bytes, at least {MIN_LEN} are needed"
        )));
    }
    let mut options = FormatVolumeOptions::new().volume_id(volume_id);
    if let Some(label) = label {
        options = options.volume_label(padded(label)?);
    }
    let mut overlay = Overlay::new(volume);
    let mut device = overlay.device();
    format_volume(&mut device, options).map_err(describe)?;
    // Counting what is free fills the sector that the crate leaves at "unknown".
    device.seek(SeekFrom::Start(0)).map_err(describe)?;
    with_fatfs(&mut device, |fs| fs.stats().map(drop)).map_err(describe)?;
    let written = device.into_written();
    overlay.keep(written);
    overlay.into_changes().map_err(describe)
}

/// How many bytes a cluster of a FAT of `len` bytes has, and how many clusters there are.
///
/// # Errors
/// As [`format()`].
pub fn clusters(len: u64) -> Result<(u32, u32)> {
    let changes = format(Volume::whole(&Zeros(len)), 0, None)?;
    let mut sector = [0; 512];
    changes.overlay(0, &mut sector);
    let geometry = Geometry::parse(&sector, len)?;
    Ok((geometry.cluster_len, geometry.cluster_count))
}

/// A volume of zeros.
struct Zeros(u64);

impl Storage for Zeros {
    fn len(&self) -> u64 {
        self.0
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        match offset.checked_add(buf.len() as u64) {
            Some(end) if end <= self.0 => buf.fill(0),
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }
}

fn padded(label: &str) -> Result<[u8; 11]> {
    let allowed = |byte: u8| (b' '..0x7f).contains(&byte) && !b"\"*+,./:;<=>?[\\]|".contains(&byte);
    let is_label = (1..=11).contains(&label.len())
        && label.bytes().all(allowed)
        && !label.starts_with(' ')
        && !label.ends_with(' ');
    if !is_label {
        return Err(Error::Unsupported(format!(
            "FAT label `{label}`: 1 to 11 letters, digits, blanks inside, and none of \"*+,./:;<=>?[\\]|"
        )));
    }
    let mut padded = [b' '; 11];
    padded[..label.len()].copy_from_slice(label.as_bytes());
    Ok(padded)
}

fn describe(error: io::Error) -> Error {
    match error.kind() {
        // The crate finds no layout for this length.
        io::ErrorKind::Other => Error::Unsupported(format!("FAT: {error}")),
        _ => Error::io("FAT", error),
    }
}
