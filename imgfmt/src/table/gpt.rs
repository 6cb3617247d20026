//! The GUID partition table, over the crate `gpt`.
//!
//! That crate decodes the entries. It trusts the header, though: it takes its numbers for lengths and panics on entries
//! that are not 128 bytes long. So both headers are checked here first, with their checksums, and the crate sees only an
//! array of entries that is known to be whole.
//!
//! ```text
//! sector 0        1        2…33            …       n-33…n-2        n-1
//! protective MBR  header   entries         …       entries copy    header copy
//!
//! header: "EFI PART" | revision 00 00 01 00 | header len 92 | CRC-32 of those 92 bytes with this field zero | …
//!         own sector | sector of the copy | first, last usable | disk GUID | entries: sector, count, length, CRC-32
//! ```

use std::io::Cursor;

use gpt::disk::LogicalBlockSize;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::grow::{Enlargement, GRAIN};
use super::{Kind, Partition, PartitionType, Table, mbr, read_at};
use crate::changes::Changes;
use crate::error::{Error, Result};
use crate::storage::Storage;

const MAGIC: [u8; 8] = *b"EFI PART";
const NO_MAGIC: &str = "no `EFI PART`";

/// The only length of an entry that is in use; the format allows 256, 512…
const ENTRY_LEN: u32 = 128;

/// Eight times what every tool writes.
const MAX_ENTRIES: u32 = 1024;

/// Attribute bit 2: legacy BIOS bootable.
const LEGACY_BOOTABLE: u64 = 1 << 2;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    revision: U32,
    len: U32,
    checksum: U32,
    reserved: U32,
    own_lba: U64,
    other_lba: U64,
    first_usable_lba: U64,
    last_usable_lba: U64,
    disk_guid: [u8; 16],
    entries_lba: U64,
    entry_count: U32,
    entry_len: U32,
    entries_checksum: U32,
}

const _: () = assert!(size_of::<Header>() == 92);

/// A header whose numbers are checked, and the array of entries that its checksum vouches for.
struct Copy {
    header: Header,
    sector_len: u64,
    entries: Vec<u8>,
}

/// Whether a header stands where it stands on a disk of 512-byte sectors.
pub(super) fn has_signature(storage: &dyn Storage) -> Result<bool> {
    let mut magic = [0; 8];
    if storage.len() < 1024 {
        return Ok(false);
    }
    read_at(storage, 512, &mut magic)?;
    Ok(magic == MAGIC)
}

/// The table behind a protective MBR.
pub(super) fn read(storage: &dyn Storage) -> Result<Table> {
    let mut warnings = Vec::new();
    let mut problems = Vec::new();
    for sector_len in [512, 4096] {
        let primary = match read_copy(storage, sector_len, 1)? {
            Ok(primary) => primary,
            Err(problem) => {
                problems.push(format!("header in sector 1 of {sector_len} bytes: {problem}"));
                continue;
            }
        };
        let backup_lba = primary.header.other_lba.get();
        match read_copy(storage, sector_len, backup_lba)? {
            Ok(backup) if !primary.agrees_with(&backup) => {
                warnings
                    .push(format!("the GPT copy in sector {backup_lba} differs from the first"));
            }
            Ok(_) => {}
            Err(problem) => {
                warnings.push(format!("the GPT copy in sector {backup_lba}: {problem}"))
            }
        }
        return primary.table(warnings);
    }
    for sector_len in [512, 4096] {
        let last_lba = (storage.len() / sector_len).saturating_sub(1);
        match read_copy(storage, sector_len, last_lba)? {
            Ok(backup) => {
                let first =
                    problems.get(usize::from(sector_len == 4096)).cloned().unwrap_or_default();
                warnings.push(format!("the GPT was read from its copy: {first}"));
                return backup.table(warnings);
            }
            Err(problem) => {
                problems
                    .push(format!("copy in sector {last_lba} of {sector_len} bytes: {problem}"));
            }
        }
    }
    // Of four places that were looked at, two cannot have a header.
    problems.retain(|problem| !problem.ends_with(NO_MAGIC));
    if problems.is_empty() {
        return Err(Error::corrupt(
            "the MBR announces a GPT, but there is neither header nor copy",
        ));
    }
    Err(Error::corrupt(format!("GPT: {}", problems.join("; "))))
}

/// One of the two copies; the inner error says what is wrong with it.
fn read_copy(storage: &dyn Storage, sector_len: u64, lba: u64) -> Result<Result<Copy, String>> {
    let Some(offset) = within(storage, sector_len, lba, sector_len) else {
        return Ok(Err("it lies past the end of the image".into()));
    };
    let mut sector = vec![0; usize::try_from(sector_len).expect("at most 4096")];
    read_at(storage, offset, &mut sector)?;
    let header = match checked_header(&sector, lba) {
        Ok(header) => header,
        Err(problem) => return Ok(Err(problem)),
    };
    let len = u64::from(header.entry_count.get()) * u64::from(header.entry_len.get());
    let Some(offset) = within(storage, sector_len, header.entries_lba.get(), len) else {
        return Ok(Err("its entries lie past the end of the image".into()));
    };
    let mut entries = vec![0; usize::try_from(len).expect("at most 128 KiB")];
    read_at(storage, offset, &mut entries)?;
    if crc32fast::hash(&entries) != header.entries_checksum.get() {
        return Ok(Err("the checksum of its entries does not match".into()));
    }
    Ok(Ok(Copy { header, sector_len, entries }))
}

/// Where `len` bytes from sector `lba` on begin, if they lie within `storage`.
fn within(storage: &dyn Storage, sector_len: u64, lba: u64, len: u64) -> Option<u64> {
    let offset = lba.checked_mul(sector_len)?;
    (offset.checked_add(len)? <= storage.len()).then_some(offset)
}

fn checked_header(sector: &[u8], lba: u64) -> Result<Header, String> {
    let (header, _) = Header::read_from_prefix(sector).expect("a sector is longer");
    if header.magic != MAGIC {
        return Err(NO_MAGIC.into());
    }
    let len = usize::try_from(header.len.get()).unwrap_or(usize::MAX);
    if len < size_of::<Header>() || len > sector.len() {
        return Err(format!("header of {len} bytes"));
    }
    let mut bytes = sector[..len].to_vec();
    bytes[16..20].fill(0);
    if crc32fast::hash(&bytes) != header.checksum.get() {
        return Err("the checksum does not match".into());
    }
    let (entry_count, entry_len) = (header.entry_count.get(), header.entry_len.get());
    if header.revision.get() >> 16 != 1 {
        Err(format!("revision {:#010x}", header.revision.get()))
    } else if header.own_lba.get() != lba {
        Err(format!("it says that it stands in sector {}", header.own_lba.get()))
    } else if entry_len != ENTRY_LEN {
        Err(format!("entries of {entry_len} bytes, only {ENTRY_LEN} are read"))
    } else if entry_count == 0 || entry_count > MAX_ENTRIES {
        Err(format!("{entry_count} entries, only 1 to {MAX_ENTRIES} are read"))
    } else if header.first_usable_lba.get() > header.last_usable_lba.get() {
        Err("its first usable sector lies behind the last".into())
    } else {
        Ok(header)
    }
}

/// Enlarge `partition`, behind which nothing lies, and move the copy to the end of `storage`.
pub(super) fn enlarge(
    storage: &dyn Storage,
    table: &Table,
    partition: &Partition,
) -> Result<Option<Enlargement>> {
    let refused = |what: &str| Err(Error::Unsupported(format!("the GPT cannot be edited: {what}")));
    let sector_len = u64::from(table.sector_len);
    let primary = match read_copy(storage, sector_len, 1)? {
        Ok(primary) => primary,
        Err(problem) => return refused(&format!("header in sector 1: {problem}")),
    };
    let mut record = [0; 512];
    read_at(storage, 0, &mut record)?;
    let lbas = storage.len() / sector_len;
    if !mbr::protect_all(&mut record, lbas) {
        return refused("the MBR has entries of its own beside it (hybrid)");
    }
    let entries_len = (primary.entries.len() as u64).div_ceil(sector_len);
    // Behind the last usable sector: entries, header.
    let Some(end) = lbas.checked_sub(1 + entries_len) else { return Ok(None) };
    let grain = (GRAIN / sector_len).max(1);
    let new_end = end / grain * grain;
    let len = (new_end * sector_len).saturating_sub(partition.start);
    if len <= partition.len {
        return Ok(None);
    }
    let (primary, backup) = primary.enlarged(partition.number, new_end - 1, lbas);
    let mut steps = vec![backup.changes(storage)?, primary.changes(storage)?];
    let mut old = [0; 512];
    read_at(storage, 0, &mut old)?;
    if old != record {
        steps[1].insert(0, record.to_vec());
    }
    Ok(Some(Enlargement::new(partition, len, steps)))
}

impl Copy {
    /// Both copies on a disk of `lbas` sectors, with partition `number` up to sector `last`.
    fn enlarged(mut self, number: u32, last: u64, lbas: u64) -> (Self, Self) {
        const LAST_LBA: std::ops::Range<usize> = 40..48;
        let at = (number as usize - 1) * ENTRY_LEN as usize;
        self.entries[at..at + ENTRY_LEN as usize][LAST_LBA].copy_from_slice(&last.to_le_bytes());
        let entries_len = (self.entries.len() as u64).div_ceil(self.sector_len);
        self.header.last_usable_lba = (lbas - 2 - entries_len).into();
        self.header.other_lba = (lbas - 1).into();
        self.header.entries_checksum = crc32fast::hash(&self.entries).into();
        let mut backup = Self { entries: self.entries.clone(), ..self };
        backup.header.own_lba = (lbas - 1).into();
        backup.header.other_lba = 1.into();
        backup.header.entries_lba = (lbas - 1 - entries_len).into();
        (self, backup)
    }

    /// Its header and its entries, to be written. What the header has behind its 92 bytes stays as it is in sector 1.
    fn changes(&self, storage: &dyn Storage) -> Result<Changes> {
        let mut sector = vec![0; usize::try_from(self.sector_len).expect("at most 4096")];
        read_at(storage, self.sector_len, &mut sector)?;
        let mut header = self.header;
        header.checksum = 0.into();
        sector[..size_of::<Header>()].copy_from_slice(header.as_bytes());
        let len = usize::try_from(header.len.get()).expect("checked to be within a sector");
        let crc = crc32fast::hash(&sector[..len]);
        sector[16..20].copy_from_slice(&crc.to_le_bytes());
        let mut changes = Changes::new();
        changes.insert(header.own_lba.get() * self.sector_len, sector);
        changes.insert(header.entries_lba.get() * self.sector_len, self.entries.clone());
        Ok(changes)
    }

    fn agrees_with(&self, other: &Self) -> bool {
        self.entries == other.entries && self.header.disk_guid == other.header.disk_guid
    }

    fn table(&self, warnings: Vec<String>) -> Result<Table> {
        let guid = uuid::Uuid::from_bytes_le(self.header.disk_guid);
        let header = gpt::header::Header {
            signature: "EFI PART".into(),
            revision: (1, 0),
            header_size_le: self.header.len.get(),
            crc32: self.header.checksum.get(),
            reserved: 0,
            current_lba: self.header.own_lba.get(),
            backup_lba: self.header.other_lba.get(),
            first_usable: self.header.first_usable_lba.get(),
            last_usable: self.header.last_usable_lba.get(),
            disk_guid: guid,
            // The entries are all that the crate gets to see.
            part_start: 0,
            num_parts: self.header.entry_count.get(),
            part_size: self.header.entry_len.get(),
            crc32_parts: self.header.entries_checksum.get(),
        };
        let mut device = Cursor::new(&self.entries);
        let entries =
            gpt::partition::file_read_partitions(&mut device, &header, LogicalBlockSize::Lb512)
                .map_err(|e| Error::corrupt(format!("GPT: {e}")))?;
        let partitions: Result<Vec<Partition>> = entries
            .into_iter()
            .filter(|(_, entry)| entry.is_used())
            .map(|(number, entry)| self.partition(number, &entry))
            .collect();
        Ok(Table {
            kind: Kind::Gpt,
            id: guid.to_string(),
            sector_len: u32::try_from(self.sector_len).expect("at most 4096"),
            partitions: partitions?,
            warnings,
        })
    }

    fn partition(&self, number: u32, entry: &gpt::partition::Partition) -> Result<Partition> {
        let range = || {
            let start = entry.first_lba.checked_mul(self.sector_len)?;
            let count = entry.last_lba.checked_sub(entry.first_lba)?.checked_add(1)?;
            let len = count.checked_mul(self.sector_len)?;
            start.checked_add(len)?;
            Some((start, len))
        };
        let (start, len) = range().ok_or_else(|| {
            Error::corrupt(format!(
                "GPT: partition {number} from sector {} to {}",
                entry.first_lba, entry.last_lba
            ))
        })?;
        Ok(Partition {
            number,
            start,
            len,
            kind: PartitionType::Gpt(entry.part_type_guid.guid),
            part_uuid: entry.part_guid.to_string(),
            label: (!entry.name.is_empty()).then(|| entry.name.clone()),
            bootable: entry.flags & LEGACY_BOOTABLE != 0,
        })
    }
}
