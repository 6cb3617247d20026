//! The bytes of a new table, of a [`Layout`].
//!
//! A GPT is written by the crate `gpt`, into a disk that has only the sectors that it writes; an MBR is a sector, and one
//! more for each logical partition.

use std::collections::BTreeMap;
use std::io;

use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;

use super::layout::{self, ALIGNMENT, Layout, signature};
use super::{Kind, Partition, PartitionType, mbr};
use crate::changes::Changes;
use crate::error::{Error, Result};

const SECTOR: usize = layout::SECTOR as usize;
/// Attribute bit 2: legacy BIOS bootable.
const LEGACY_BOOTABLE: u64 = 1 << 2;

impl Layout {
    /// What is to be written into a disk of `self.len` bytes, which may hold anything.
    ///
    /// # Errors
    /// [`Error::Io`] where the crate that writes a GPT says no.
    pub fn changes(&self) -> Result<Changes> {
        match self.table.kind {
            Kind::Mbr => Ok(self.mbr()),
            Kind::Gpt => self.gpt().map_err(|e| Error::io("GPT", io::Error::other(e))),
        }
    }

    fn gpt(&self) -> Result<Changes, gpt::GptError> {
        let sector_len = SECTOR as u64;
        let lb_size = LogicalBlockSize::Lb512;
        let mut sparse = Sparse { len: self.len, position: 0, sectors: BTreeMap::new() };
        let covered = u32::try_from(self.len / sector_len - 1).unwrap_or(u32::MAX);
        ProtectiveMBR::with_lb_size(covered)
            .overwrite_lba0(&mut sparse)
            .map_err(io::Error::other)?;
        let config = gpt::GptConfig::new().writable(true).logical_block_size(lb_size);
        let mut disk = config.create_from_device(sparse, Some(self.id))?;
        let mut entries = BTreeMap::new();
        for (partition, &part_guid) in self.table.partitions.iter().zip(&self.uuids) {
            let PartitionType::Gpt(guid) = partition.kind else { continue };
            let legacy = if partition.bootable { LEGACY_BOOTABLE } else { 0 };
            let part_type_guid = gpt::partition_types::Type {
                guid,
                os: gpt::partition_types::OperatingSystem::None,
            };
            entries.insert(
                partition.number,
                gpt::partition::Partition {
                    part_type_guid,
                    part_guid,
                    first_lba: partition.start / sector_len,
                    last_lba: (partition.start + partition.len) / sector_len - 1,
                    flags: legacy,
                    name: partition.label.clone().unwrap_or_default(),
                },
            );
        }
        disk.update_partitions(entries)?;
        Ok(disk.write()?.changes())
    }

    fn mbr(&self) -> Changes {
        let mut changes = Changes::new();
        let (mut first, mut logicals) = (Vec::new(), Vec::new());
        for partition in &self.table.partitions {
            let kept = if partition.number <= 4 { &mut first } else { &mut logicals };
            kept.push(partition);
        }
        let entries: Vec<_> = first.iter().map(|p| mbr_entry(p, 0)).collect();
        changes.insert(0, mbr::record(signature(self.id), &entries));
        let extended = first.iter().find(|partition| partition.is_extended());
        let start = extended.map_or(0, |extended| extended.start);
        for (index, partition) in logicals.iter().enumerate() {
            let at = partition.start - ALIGNMENT;
            let mut entries = vec![mbr_entry(partition, at)];
            if let Some(next) = logicals.get(index + 1) {
                let record = next.start - ALIGNMENT;
                entries.push((false, 0x05, record - start, next.start + next.len - record));
            }
            changes.insert(at, mbr::record(0, &entries));
        }
        changes
    }
}

/// Whether it is active, its type, its start counted from `from`, its length, both in bytes.
fn mbr_entry(partition: &Partition, from: u64) -> mbr::NewEntry {
    let PartitionType::Mbr(kind) = partition.kind else { unreachable!("lay_out() saw to it") };
    (partition.bootable, kind, partition.start - from, partition.len)
}

/// A disk of zeros, of which those sectors are held that were written.
#[derive(Debug)]
struct Sparse {
    len: u64,
    position: u64,
    sectors: BTreeMap<u64, Vec<u8>>,
}

impl Sparse {
    /// All sectors that were written.
    fn changes(self) -> Changes {
        let mut changes = Changes::new();
        for (nr, bytes) in self.sectors {
            changes.insert(nr * SECTOR as u64, bytes);
        }
        changes
    }

    /// The sector at the position, the byte therein, and how many of `len` bytes lie in it.
    fn place(&self, len: usize) -> (u64, usize, usize) {
        let within = usize::try_from(self.position % SECTOR as u64).expect("less than 512");
        let left = usize::try_from(self.len.saturating_sub(self.position)).unwrap_or(usize::MAX);
        (self.position / SECTOR as u64, within, len.min(SECTOR - within).min(left))
    }
}

impl io::Read for Sparse {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (nr, within, count) = self.place(buf.len());
        match self.sectors.get(&nr) {
            Some(sector) => buf[..count].copy_from_slice(&sector[within..within + count]),
            None => buf[..count].fill(0),
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl io::Write for Sparse {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let (nr, within, count) = self.place(buf.len());
        let sector = self.sectors.entry(nr).or_insert_with(|| vec![0; SECTOR]);
        sector[within..within + count].copy_from_slice(&buf[..count]);
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl io::Seek for Sparse {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let position = match to {
            io::SeekFrom::Start(position) => Some(position),
            io::SeekFrom::End(by) => self.len.checked_add_signed(by),
            io::SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
