//! A new partition table: where each partition of a list goes. Nothing is written here.
//!
//! Partitions begin at whole mebibytes, in the order of the list, one behind the other; lengths are multiples of 4096 bytes.
//! One may take the *rest*, where the disk has a length; where it has none it gets as long as it has to be.
//!
//! ```text
//! GPT   | table, to 1 MiB | 1 | 2 | 3 …                                    | 16 KiB of entries, header
//! MBR   | table, to 1 MiB | 1 | 2 | 3 | record, 1 MiB | 5 | record, 1 MiB | 6 …   more than four: 4 is extended
//! ```
//! Identifiers that are not given come from a seed, so that the same list makes the same bytes.

use uuid::Uuid;

use super::grow::GRAIN;
use super::{Kind, Partition, PartitionType, Table, mbr};
use crate::error::{Error, Result};

/// Partitions begin at multiples of this.
pub(super) const ALIGNMENT: u64 = 1 << 20;
/// Bytes of a sector of a new table.
pub(super) const SECTOR: u32 = 512;
/// Entries of a new GPT.
pub(super) const GPT_ENTRIES: u64 = 128;
/// Letters of UTF-16 that a GPT's entry has room for.
const LABEL_MAX: usize = 36;
/// The extended partition, counted as modern tools do (`W95 Ext'd (LBA)`).
const EXTENDED: u8 = 0x0f;
/// The highest number of a partition in an MBR.
const MBR_MAX: usize = 60;

/// How much of a disk a partition takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// So many bytes, rounded up.
    Bytes(u64),
    /// What the others leave.
    Rest,
}

/// A partition that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How large.
    pub share: Share,
    /// Its type, of the kind of the table ([`PartitionType::from_name`]).
    pub kind: PartitionType,
    /// Its name. Only a GPT has names.
    pub label: Option<String>,
    /// Its GUID. Only a GPT has them; without one it comes from the seed.
    pub uuid: Option<Uuid>,
    /// The active flag of an MBR's entry, of which there is at most one; a GPT's legacy boot attribute.
    pub bootable: bool,
}

/// A disk that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Which table.
    pub kind: Kind,
    /// Its length in bytes; without one it is as long as it has to be.
    pub len: Option<u64>,
    /// The disk's GUID; of an MBR its first four bytes, as a big-endian number, are the disk's signature.
    pub id: Option<Uuid>,
    /// Where identifiers that are not given come from.
    pub seed: u64,
    /// The partitions in their order.
    pub partitions: Vec<Wanted>,
}

/// A table with a place for everything. [`Layout::changes`] are its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of the disk.
    pub len: u64,
    /// The table as it will be read.
    pub table: Table,
    pub(super) id: Uuid,
    /// Of each partition of the table.
    pub(super) uuids: Vec<Uuid>,
}

fn refused<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Unsupported(what.into()))
}

/// Find a place for each partition of `disk`.
///
/// # Errors
/// [`Error::Unsupported`] where it does not fit, with both numbers, or the table has no room for what is wanted.
pub fn lay_out(disk: &Disk) -> Result<Layout> {
    check(disk)?;
    let places = places(disk)?;
    let end = places.last().map_or(ALIGNMENT, |&(start, len)| start + len);
    let len = match disk.len {
        Some(len) => len,
        // Half of 64 bits is what places() takes.
        None => (end + tail(disk)).next_multiple_of(ALIGNMENT),
    };
    if disk.kind == Kind::Mbr && len / 512 > u64::from(u32::MAX) + 1 {
        return refused(format!("an MBR does not reach to the end of {len} bytes; a GPT does"));
    }
    let mut seed = Seed(disk.seed);
    let id = disk.id.unwrap_or_else(|| seed.next_uuid());
    let signature = signature(id);
    let (mut partitions, mut uuids) = (Vec::new(), Vec::new());
    for (index, (wanted, &(start, len))) in disk.partitions.iter().zip(&places).enumerate() {
        if disk.kind == Kind::Mbr && disk.partitions.len() > 4 && index == 3 {
            let start = start - ALIGNMENT;
            let kind = PartitionType::Mbr(EXTENDED);
            partitions.push(mbr_partition(signature, 4, (start, end - start), kind, false));
            uuids.push(Uuid::nil());
        }
        let number = u32::try_from(partitions.len() + 1).expect("they were counted");
        let uuid = wanted.uuid.unwrap_or_else(|| seed.next_uuid());
        partitions.push(match disk.kind {
            Kind::Mbr => {
                mbr_partition(signature, number, (start, len), wanted.kind, wanted.bootable)
            }
            Kind::Gpt => Partition {
                number,
                start,
                len,
                kind: wanted.kind,
                part_uuid: uuid.to_string(),
                label: wanted.label.clone().filter(|label| !label.is_empty()),
                bootable: wanted.bootable,
            },
        });
        uuids.push(uuid);
    }
    let shown = match disk.kind {
        Kind::Gpt => id.to_string(),
        Kind::Mbr => format!("{signature:08x}"),
    };
    let (kind, sector_len) = (disk.kind, SECTOR);
    let table = Table { kind, id: shown, sector_len, partitions, warnings: Vec::new() };
    Ok(Layout { len, table, id, uuids })
}

/// The signature of an MBR. 0 means none.
pub(super) fn signature(id: Uuid) -> u32 {
    let bytes = id.into_bytes();
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).max(1)
}

fn mbr_partition(
    signature: u32,
    number: u32,
    (start, len): (u64, u64),
    kind: PartitionType,
    bootable: bool,
) -> Partition {
    let part_uuid = format!("{signature:08x}-{number:02x}");
    Partition { number, start, len, kind, part_uuid, label: None, bootable }
}

/// What the table has no room for.
fn check(disk: &Disk) -> Result<()> {
    let count = disk.partitions.len();
    let most = if disk.kind == Kind::Gpt { GPT_ENTRIES as usize } else { MBR_MAX - 1 };
    if count > most {
        return refused(format!("{count} partitions; the table has room for {most}"));
    }
    if disk.partitions.iter().filter(|wanted| wanted.share == Share::Rest).count() > 1 {
        return refused("two partitions that take the rest of the disk");
    }
    for (number, wanted) in (1..).zip(&disk.partitions) {
        check_one(disk, wanted).map_err(|what| {
            Error::Unsupported(format!("partition {number} of the list: {what}"))
        })?;
    }
    let active = disk.partitions.iter().filter(|wanted| wanted.bootable).count();
    if disk.kind == Kind::Mbr && active > 1 {
        return refused(format!("{active} active partitions; an MBR has one at most"));
    }
    let mut uuids: Vec<Uuid> = disk.partitions.iter().filter_map(|wanted| wanted.uuid).collect();
    uuids.sort_unstable();
    if let Some(twice) = uuids.windows(2).find(|pair| pair[0] == pair[1]) {
        return refused(format!("two partitions with the UUID {}", twice[0]));
    }
    Ok(())
}

fn check_one(disk: &Disk, wanted: &Wanted) -> Result<(), &'static str> {
    let is_gpt = disk.kind == Kind::Gpt;
    let label = wanted.label.as_deref().unwrap_or_default();
    if wanted.share == Share::Bytes(0) {
        Err("it has no length")
    } else if wanted.share == Share::Rest && disk.len.is_none() {
        Err("it takes the rest of a disk that has no length")
    } else if is_gpt != matches!(wanted.kind, PartitionType::Gpt(_)) {
        Err("its type is one of another kind of table")
    } else if !is_gpt && (!label.is_empty() || wanted.uuid.is_some()) {
        Err("names and UUIDs need a GPT")
    } else if label.encode_utf16().count() > LABEL_MAX || label.contains('\0') {
        Err("its name has more than 36 letters, or a zero in it")
    } else if matches!(wanted.kind, PartitionType::Mbr(kind) if kind == 0 || kind == 0xee || mbr::is_extended(kind))
        || wanted.kind == PartitionType::Gpt(Uuid::nil())
    {
        Err("its type means that it is none")
    } else {
        Ok(())
    }
}

/// Bytes behind the last partition that the table takes.
fn tail(disk: &Disk) -> u64 {
    match disk.kind {
        Kind::Mbr => 0,
        Kind::Gpt => GPT_ENTRIES * 128 + u64::from(SECTOR),
    }
}

/// Start and length of each partition.
fn places(disk: &Disk) -> Result<Vec<(u64, u64)>> {
    let rest = disk.partitions.iter().position(|wanted| wanted.share == Share::Rest);
    let Some(len) = disk.len else { return placed(disk, 0).ok_or_else(too_large) };
    // With nothing for the rest it is seen what the others leave.
    let places = placed(disk, 0).ok_or_else(too_large)?;
    let end = places.last().map_or(ALIGNMENT, |&(start, len)| start + len);
    let needed = end.saturating_add(tail(disk));
    let left = len.checked_sub(needed);
    let too_short = || {
        Error::Unsupported(format!("partitions that need {needed} bytes, on a disk of {len} bytes"))
    };
    let left = left.ok_or_else(too_short)?;
    let Some(rest) = rest else { return Ok(places) };
    let grain = if rest + 1 == disk.partitions.len() { GRAIN } else { ALIGNMENT };
    match left / grain * grain {
        0 => {
            refused(format!("nothing is left of {len} bytes for the partition that takes the rest"))
        }
        share => placed(disk, share).ok_or_else(too_large),
    }
}

fn too_large() -> Error {
    Error::Unsupported("partitions that no disk is large enough for".into())
}

fn placed(disk: &Disk, rest: u64) -> Option<Vec<(u64, u64)>> {
    let has_records = disk.kind == Kind::Mbr && disk.partitions.len() > 4;
    let mut end = ALIGNMENT;
    let mut places = Vec::new();
    for (index, wanted) in disk.partitions.iter().enumerate() {
        let mut start = end.checked_next_multiple_of(ALIGNMENT)?;
        if has_records && index >= 3 {
            start = start.checked_add(ALIGNMENT)?;
        }
        let len = match wanted.share {
            Share::Bytes(len) => len.checked_next_multiple_of(GRAIN)?,
            Share::Rest => rest,
        };
        end = start.checked_add(len)?;
        i64::try_from(end).ok()?;
        places.push((start, len));
    }
    Some(places)
}

/// Identifiers without chance (splitmix64).
struct Seed(u64);

impl Seed {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn next_uuid(&mut self) -> Uuid {
        let bytes = (u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes();
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}
