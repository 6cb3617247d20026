//! The master boot record, and the chain of logical partitions.
//!
//! An entry is 16 bytes; the CHS addresses in it mean nothing since the nineties:
//!
//! ```text
//! 80 | 20 21 00 | 83 | fe ff ff | 00 08 00 00 | 00 00 40 00
//! active  chs    type    chs      first 2048    count 4194304
//! ```
//!
//! One primary partition may be *extended*: it holds a chain of extended boot records, each a sector of the same shape
//! with one logical partition (counted from that record) and one link to the next (counted from the extended partition):
//!
//! ```text
//! extended at 6144:  record at 6144 { 83 +2048, link +8192 } → record at 14336 { 83 +2048 } → end
//! ```

use std::collections::BTreeSet;

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::grow::{Enlargement, GRAIN};
use super::{Kind, Partition, PartitionType, Table, read_at};
use crate::changes::Changes;
use crate::error::{Error, Result};
use crate::storage::Storage;

const SECTOR: u64 = 512;

/// A limit against chains without end, which nobody has reached by honest means.
const MAX_PARTITIONS: u32 = 128;

const PROTECTIVE: u8 = 0xee;

/// Whether an entry of this type holds a chain: by CHS, by LBA, and Linux's own.
pub(super) fn is_extended(kind: u8) -> bool {
    matches!(kind, 0x05 | 0x0f | 0x85)
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry {
    status: u8,
    chs_first: [u8; 3],
    kind: u8,
    chs_last: [u8; 3],
    first: U32,
    count: U32,
}

const _: () = assert!(size_of::<Entry>() == 16);

impl Entry {
    fn is_used(&self) -> bool {
        self.kind != 0 && self.count.get() != 0
    }

    fn first(&self) -> u64 {
        self.first.get().into()
    }

    fn count(&self) -> u64 {
        self.count.get().into()
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Sector {
    code: [u8; 440],
    disk_signature: U32,
    reserved: [u8; 2],
    entries: [Entry; 4],
    magic: [u8; 2],
}

const _: () = assert!(size_of::<Sector>() == 512);

/// Sector 0, where it has the shape of a master boot record.
pub(super) struct BootRecord {
    signature: u32,
    entries: [Entry; 4],
    /// Whether the first bytes are a jump, and a FAT, NTFS or exFAT parameter block follows.
    has_parameter_block: bool,
}

impl BootRecord {
    /// `None` where the magic is missing, or where what stands in the place of the entries is something else.
    pub(super) fn parse(bytes: &[u8; 512]) -> Option<Self> {
        let sector = Sector::ref_from_bytes(bytes).expect("both are 512 bytes");
        let entries = sector.entries;
        let plausible = entries.iter().all(|entry| matches!(entry.status, 0 | 0x80));
        (sector.magic == [0x55, 0xaa] && plausible).then(|| Self {
            signature: sector.disk_signature.get(),
            entries,
            has_parameter_block: has_parameter_block(bytes),
        })
    }

    /// Whether no entry is used.
    pub(super) fn is_empty(&self) -> bool {
        !self.entries.iter().any(Entry::is_used)
    }

    /// Whether an entry hands over to a GPT.
    pub(super) fn is_protective(&self) -> bool {
        self.entries.iter().any(|entry| entry.kind == PROTECTIVE)
    }

    /// Whether there are entries beside that one.
    pub(super) fn is_hybrid(&self) -> bool {
        self.entries.iter().any(|entry| entry.is_used() && entry.kind != PROTECTIVE)
    }

    /// Whether this is rather the first sector of a bare FAT, NTFS or exFAT, on a disk of `len` bytes. Boot loaders on
    /// partitioned disks carry a parameter block too: then the entries have to make sense.
    pub(super) fn is_boot_sector_of_a_file_system(&self, len: u64) -> bool {
        let sense = |entry: &Entry| {
            entry.first() > 0 && entry.first().checked_mul(SECTOR).is_some_and(|start| start < len)
        };
        let used: Vec<&Entry> = self.entries.iter().filter(|entry| entry.is_used()).collect();
        self.has_parameter_block && (used.is_empty() || !used.into_iter().all(sense))
    }
}

fn has_parameter_block(bytes: &[u8; 512]) -> bool {
    let jump = matches!(bytes[..3], [0xeb, _, 0x90] | [0xe9, _, _]);
    let name = &bytes[3..11];
    let sector_len = u16::from_le_bytes([bytes[11], bytes[12]]);
    let fat = matches!(sector_len, 512 | 1024 | 2048 | 4096)
        && bytes[13].is_power_of_two()
        && matches!(bytes[16], 1 | 2)
        && matches!(bytes[21], 0xf0 | 0xf8..);
    jump && (fat || name == b"NTFS    " || name == b"EXFAT   ")
}

/// Of a new entry whether it is active, its type, its start and its length, both in bytes.
pub(super) type NewEntry = (bool, u8, u64, u64);

/// A new record with these entries, of which it has four at most.
pub(super) fn record(signature: u32, entries: &[NewEntry]) -> Vec<u8> {
    let mut record = Sector::new_zeroed();
    record.disk_signature = signature.into();
    record.magic = [0x55, 0xaa];
    for (slot, &(is_active, kind, start, len)) in record.entries.iter_mut().zip(entries) {
        let number =
            |bytes: u64| u32::try_from(bytes / SECTOR).expect("lay_out() saw to it").into();
        // Behind the last cylinder that can be told: nobody looks at those.
        *slot = Entry {
            status: if is_active { 0x80 } else { 0 },
            chs_first: [0xfe, 0xff, 0xff],
            kind,
            chs_last: [0xfe, 0xff, 0xff],
            first: number(start),
            count: number(len),
        };
    }
    record.as_bytes().to_vec()
}

/// Let the protective entry of `record` cover a disk of `lbas` sectors. False where there are other entries.
pub(super) fn protect_all(record: &mut [u8; 512], lbas: u64) -> bool {
    let sector = Sector::mut_from_bytes(record).expect("both are 512 bytes");
    if sector.entries.iter().any(|entry| entry.is_used() && entry.kind != PROTECTIVE) {
        return false;
    }
    let count = u32::try_from(lbas.saturating_sub(1)).unwrap_or(u32::MAX);
    for entry in sector.entries.iter_mut().filter(|entry| entry.kind == PROTECTIVE) {
        entry.count = count.into();
    }
    true
}

/// Enlarge `partition`, behind which nothing lies, to the end of `storage`.
pub(super) fn enlarge(storage: &dyn Storage, partition: &Partition) -> Result<Option<Enlargement>> {
    let end = storage.len() / GRAIN * GRAIN / SECTOR;
    let first = partition.start / SECTOR;
    // The last sector must have a number, too: 2 TiB.
    if end > u64::from(u32::MAX) + 1 {
        return Err(Error::Unsupported(format!(
            "an MBR numbers {} bytes, and the image has {}; only a GPT reaches further",
            (u64::from(u32::MAX) + 1) * SECTOR,
            storage.len()
        )));
    }
    if end <= first + partition.len / SECTOR {
        return Ok(None);
    }
    let mut record = read_record(storage, 0)?;
    if partition.number <= 4 {
        let slot = usize::try_from(partition.number - 1).expect("four at most");
        record.entries[slot].reach(first, end);
        return Ok(Some(enlargement(partition, end, vec![vec![(0, record)]])));
    }
    let slot = record.entries.iter().position(|entry| entry.is_used() && is_extended(entry.kind));
    let slot = slot.expect("a logical partition was read from it");
    let extended = record.entries[slot].first();
    record.entries[slot].reach(extended, end);
    let (outer, inner) = logical(storage, extended, first, end)?;
    let mut before = vec![(0, record)];
    before.extend(outer);
    Ok(Some(enlargement(partition, end, vec![before, vec![inner]])))
}

/// A record, by its sector.
type Placed = (u64, Sector);

/// The record that leads to the one of the logical partition that begins in sector `first`, where there is one, and that
/// one itself, both up to `end`.
fn logical(
    storage: &dyn Storage,
    extended: u64,
    first: u64,
    end: u64,
) -> Result<(Option<Placed>, Placed)> {
    let (mut at, mut before) = (extended, None::<Placed>);
    // The chain was read whole before, so that it ends.
    for _ in 0..=MAX_PARTITIONS {
        let mut record = read_record(storage, at)?;
        let mut entries = record.entries.iter_mut().take(2);
        if let Some(own) =
            entries.find(|e| e.is_used() && !is_extended(e.kind) && at + e.first() == first)
        {
            own.reach(first, end);
            if let Some((_, outer)) = &mut before {
                let mut links = outer.entries.iter_mut().take(2);
                let link = links.find(|e| is_extended(e.kind)).expect("it led here");
                link.reach(at, end);
            }
            return Ok((before, (at, record)));
        }
        let Some(link) = record.entries[..2].iter().find(|e| e.is_used() && is_extended(e.kind))
        else {
            break;
        };
        let next = extended + link.first();
        before = Some((at, record));
        at = next;
    }
    Err(Error::corrupt("MBR: the chain of logical partitions changed while it was read"))
}

impl Entry {
    /// Let what begins in sector `first` of the disk reach up to `end`.
    fn reach(&mut self, first: u64, end: u64) {
        let count = end.saturating_sub(first);
        self.count = u32::try_from(count).expect("the end of the disk was checked").into();
        // Behind the last cylinder that can be told, as for every large disk.
        self.chs_last = [0xfe, 0xff, 0xff];
    }
}

fn enlargement(partition: &Partition, end: u64, steps: Vec<Vec<Placed>>) -> Enlargement {
    let steps = steps.into_iter().map(|records| {
        let mut changes = Changes::new();
        for (at, record) in records {
            changes.insert(at * SECTOR, record.as_bytes().to_vec());
        }
        changes
    });
    Enlargement::new(partition, end * SECTOR - partition.start, steps.collect())
}

fn read_record(storage: &dyn Storage, nr: u64) -> Result<Sector> {
    let mut bytes = [0; 512];
    read_at(storage, nr * SECTOR, &mut bytes)?;
    Ok(Sector::read_from_bytes(&bytes).expect("both are 512 bytes"))
}

/// The partitions that `boot_record` names, and the logical ones behind it.
pub(super) fn read(storage: &dyn Storage, boot_record: &BootRecord) -> Result<Table> {
    let id = format!("{:08x}", boot_record.signature);
    let mut partitions = Vec::new();
    let mut extended = None;
    for (number, entry) in (1..).zip(&boot_record.entries) {
        if !entry.is_used() {
            continue;
        }
        partitions.push(partition(&id, number, entry, entry.first()));
        if is_extended(entry.kind) && extended.replace((number, entry)).is_some() {
            return Err(Error::corrupt("MBR: more than one extended partition"));
        }
    }
    if let Some((number, entry)) = extended {
        let chain = Chain { storage, id: &id, number, first: entry.first(), count: entry.count() };
        partitions.extend(chain.read()?);
    }
    Ok(Table { kind: Kind::Mbr, id, sector_len: 512, partitions, warnings: Vec::new() })
}

fn partition(id: &str, number: u32, entry: &Entry, first: u64) -> Partition {
    Partition {
        number,
        // 32-bit sectors, and for a logical partition a sum of two such: far from 64 bits.
        start: first * SECTOR,
        len: entry.count() * SECTOR,
        kind: PartitionType::Mbr(entry.kind),
        part_uuid: format!("{id}-{number:02x}"),
        label: None,
        bootable: entry.status == 0x80,
    }
}

/// The chain in an extended partition; numbers are sectors.
struct Chain<'a> {
    storage: &'a dyn Storage,
    id: &'a str,
    number: u32,
    first: u64,
    count: u64,
}

impl Chain<'_> {
    fn read(&self) -> Result<Vec<Partition>> {
        let mut partitions = Vec::new();
        let mut seen = BTreeSet::new();
        let mut next = Some(self.first);
        while let Some(record) = next {
            if !seen.insert(record) {
                return Err(self.corrupt(format!("the chain comes back to sector {record}")));
            }
            next = None;
            for entry in self.record(record)? {
                if is_extended(entry.kind) && next.is_none() {
                    next = Some(self.link(record, &entry)?);
                } else if !is_extended(entry.kind) {
                    let number = 5 + u32::try_from(partitions.len()).expect("at most 124");
                    if number > MAX_PARTITIONS {
                        return Err(self.corrupt(format!("more than {MAX_PARTITIONS} partitions")));
                    }
                    partitions.push(self.logical(record, number, &entry)?);
                }
            }
            // A record need not hold a partition, so that the count above does not end every chain.
            if seen.len() > MAX_PARTITIONS as usize {
                return Err(self.corrupt(format!("more than {MAX_PARTITIONS} records")));
            }
        }
        Ok(partitions)
    }

    /// The used ones of the two entries of a record.
    fn record(&self, nr: u64) -> Result<impl Iterator<Item = Entry> + use<>> {
        let offset = nr * SECTOR;
        let mut bytes = [0; 512];
        if offset + SECTOR > self.storage.len() {
            return Err(
                self.corrupt(format!("the record in sector {nr} lies past the end of the image"))
            );
        }
        read_at(self.storage, offset, &mut bytes)?;
        let sector = Sector::ref_from_bytes(&bytes).expect("both are 512 bytes");
        if sector.magic != [0x55, 0xaa] {
            return Err(self.corrupt(format!("no boot record in sector {nr}")));
        }
        let [first, second, ..] = sector.entries;
        Ok([first, second].into_iter().filter(Entry::is_used))
    }

    fn link(&self, record: u64, entry: &Entry) -> Result<u64> {
        if entry.first() >= self.count {
            return Err(self.corrupt(format!("the link in sector {record} leads out of it")));
        }
        Ok(self.first + entry.first())
    }

    fn logical(&self, record: u64, number: u32, entry: &Entry) -> Result<Partition> {
        let first = record + entry.first();
        if entry.first() == 0 {
            return Err(self.corrupt(format!("logical partition {number} covers its own record")));
        }
        if first + entry.count() > self.first + self.count {
            return Err(self.corrupt(format!("logical partition {number} leads out of it")));
        }
        Ok(partition(self.id, number, entry, first))
    }

    fn corrupt(&self, what: String) -> Error {
        Error::corrupt(format!("MBR: extended partition {}: {what}", self.number))
    }
}
