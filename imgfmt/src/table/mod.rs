//! Partition tables: where the volumes of a disk image lie.
//!
//! Sector 0 decides. It is a master boot record when it ends in `55 aa` and its four entries look like entries; an entry
//! of type `ee` in it hands over to the GPT that starts in sector 1. A bare file system is no table: FAT, NTFS and exFAT
//! boot sectors end in `55 aa` too, and a boot loader may have put its code before an ext superblock.
//!
//! ```text
//! byte 0                446              510
//! | boot code           | 4 × 16 entries | 55 aa |  then for a GPT: sector 1 header, sectors 2… entries
//! ```
//!
//! Tables are read by [`read`]; [`enlarge`] makes the last partition longer, [`lay_out`] makes new ones. Sectors of 512 bytes; a GPT may have 4096.

#![forbid(unsafe_code)]

use uuid::Uuid;

use crate::Volume;
use crate::error::{Error, Result};
use crate::probe;
use crate::storage::Storage;

mod gpt;
mod grow;
mod layout;
mod mbr;
mod types;
mod write;

pub use grow::{Enlargement, enlarge};
pub use layout::{Disk, Layout, Share, Wanted, lay_out};

/// The two kinds of table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A master boot record, with logical partitions from number 5 on.
    Mbr,
    /// A GUID partition table.
    Gpt,
}

/// What a partition says that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionType {
    /// The type byte of an MBR entry: 0x83 is Linux.
    Mbr(u8),
    /// The type GUID of a GPT entry.
    Gpt(Uuid),
}

/// One entry of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// From 1, as in `/dev/sda1`; logical partitions from 5.
    pub number: u32,
    /// First byte, from the start of the image.
    pub start: u64,
    /// Length in bytes; the image may be shorter.
    pub len: u64,
    /// What it says that it holds.
    pub kind: PartitionType,
    /// As fstab's `PARTUUID=` has it: a GUID in lower case, or `8b1a2c3d-01`.
    pub part_uuid: String,
    /// The name in a GPT entry; an MBR has none.
    pub label: Option<String>,
    /// The active flag of an MBR entry, the legacy boot attribute of a GPT entry.
    pub bootable: bool,
}

impl Partition {
    /// Whether it only holds the chain of logical partitions.
    pub fn is_extended(&self) -> bool {
        matches!(self.kind, PartitionType::Mbr(kind) if mbr::is_extended(kind))
    }

    /// Behind its last byte.
    fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }
}

/// A partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// MBR or GPT.
    pub kind: Kind,
    /// The disk's identifier: a GUID in lower case, or the MBR's signature in eight hexadecimal digits.
    pub id: String,
    /// The logical sector that the table counts in, in bytes.
    pub sector_len: u32,
    /// By number.
    pub partitions: Vec<Partition>,
    /// What is wrong with the table and does not keep it from being read, in sentences.
    pub warnings: Vec<String>,
}

/// The table in the first sectors of `storage`; `None` for a bare file system, and for all else that is no table.
///
/// # Errors
/// [`Error::Corrupt`] for a table that contradicts itself, and for a GPT of which both copies are bad.
pub fn read(storage: &dyn Storage) -> Result<Option<Table>> {
    let mut sector = [0; 512];
    if storage.len() < sector.len() as u64 {
        return Ok(None);
    }
    read_at(storage, 0, &mut sector)?;
    let Some(boot_record) = mbr::BootRecord::parse(&sector) else { return Ok(None) };
    if boot_record.is_empty() && probe::probe(storage)?.is_some() {
        return Ok(None);
    }
    if boot_record.is_boot_sector_of_a_file_system(storage.len()) {
        return Ok(None);
    }
    let mut table = if boot_record.is_protective() {
        let mut table = gpt::read(storage)?;
        if boot_record.is_hybrid() {
            let what = "the MBR has entries of its own beside the GPT (hybrid); the GPT counts";
            table.warnings.push(what.into());
        }
        table
    } else {
        let mut table = mbr::read(storage, &boot_record)?;
        if gpt::has_signature(storage)? {
            let what = "there is a GPT header, but the MBR does not announce it; the MBR counts";
            table.warnings.push(what.into());
        }
        table
    };
    table.warn_of_overlaps();
    Ok(Some(table))
}

impl Table {
    /// The bytes of partition `number`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with the partitions that are there, where this one is not; [`Error::Corrupt`] where it
    /// reaches past the end of the image.
    pub fn volume<'a>(&self, number: u32, storage: &'a dyn Storage) -> Result<Volume<'a>> {
        let found = self.partitions.iter().find(|partition| partition.number == number);
        let Some(partition) = found.filter(|partition| !partition.is_extended()) else {
            let what = if found.is_some() { "is an extended partition" } else { "does not exist" };
            return Err(Error::Unsupported(format!(
                "partition {number} {what}; {}",
                self.there_are()
            )));
        };
        Volume::new(storage, partition.start, partition.len).map_err(|_| {
            Error::corrupt(format!(
                "partition {number} ends at byte {}, past the end of the image ({} bytes)",
                partition.end(),
                storage.len()
            ))
        })
    }

    /// `the table has 1, 2 and 5`, for messages.
    fn there_are(&self) -> String {
        let numbers: Vec<String> = self
            .partitions
            .iter()
            .filter(|partition| !partition.is_extended())
            .map(|partition| partition.number.to_string())
            .collect();
        match numbers.split_last() {
            None => "the table is empty".into(),
            Some((only, [])) => format!("the table has only {only}"),
            Some((last, others)) => format!("the table has {} and {last}", others.join(", ")),
        }
    }

    /// Images of CDs overlap on purpose, so that it is no error.
    fn warn_of_overlaps(&mut self) {
        let mut by_start: Vec<&Partition> =
            self.partitions.iter().filter(|partition| !partition.is_extended()).collect();
        by_start.sort_by_key(|partition| partition.start);
        let mut warnings = Vec::new();
        let mut furthest: Option<&Partition> = None;
        for partition in by_start {
            if let Some(before) = furthest.filter(|before| before.end() > partition.start) {
                warnings
                    .push(format!("partitions {} and {} overlap", before.number, partition.number));
            }
            furthest = match furthest {
                Some(before) if before.end() >= partition.end() => Some(before),
                _ => Some(partition),
            };
        }
        self.warnings.extend(warnings);
    }
}

fn read_at(storage: &dyn Storage, offset: u64, buf: &mut [u8]) -> Result<()> {
    storage
        .read_at(offset, buf)
        .map_err(|e| Error::io(format!("partition table at byte {offset}"), e))
}
