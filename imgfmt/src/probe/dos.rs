//! FAT, exFAT and NTFS: a boot sector with a parameter block; the label is in a file or in a directory.
//!
//! The label that counts for FAT is the entry of the root directory with the attribute *volume*; the one in the boot
//! sector is a copy that many programs forget, and `NO NAME` there is none.

use std::io::Result;

use super::{Bytes, Kind, Probe, text, u16_at, u32_at, wide_text};

/// How many clusters of a root directory are looked at for its label, which is at the beginning.
const MAX_CLUSTERS: u32 = 100;

pub(super) fn probe(bytes: &Bytes<'_>) -> Result<Option<Probe>> {
    let Some(sector) = bytes.read::<512>(0)? else { return Ok(None) };
    match &sector[3..11] {
        b"NTFS    " => ntfs(bytes, &sector),
        b"EXFAT   " => exfat(bytes, &sector),
        _ => vfat(bytes, &sector),
    }
}

/// `1A2B-3C4D`.
fn serial(number: u32) -> Option<String> {
    (number != 0).then(|| format!("{:04X}-{:04X}", number >> 16, number & 0xffff))
}

fn vfat(bytes: &Bytes<'_>, sector: &[u8; 512]) -> Result<Option<Probe>> {
    let Some(layout) = Fat::new(sector, bytes.0.len()) else { return Ok(None) };
    // The extended part of the parameter block comes later in FAT32, where the table has a 32-bit length.
    let extended = if layout.is_fat32 { 64 } else { 36 };
    let has_serial = matches!(sector[extended + 2], 0x28 | 0x29);
    let has_label = sector[extended + 2] == 0x29;
    let boot_label = text(&sector[extended + 7..extended + 18]).filter(|label| label != "NO NAME");
    Ok(Some(Probe {
        uuid: has_serial.then(|| serial(u32_at(sector, extended + 3))).flatten(),
        label: layout.label(bytes)?.or(boot_label.filter(|_| has_label)),
        ..Probe::new(Kind::Vfat)
    }))
}

/// Where the parts of a FAT are, in bytes.
struct Fat {
    is_fat32: bool,
    table: u64,
    root: u64,
    root_entries: u64,
    root_cluster: u32,
    data: u64,
    cluster_len: u64,
}

impl Fat {
    fn new(sector: &[u8; 512], len: u64) -> Option<Self> {
        let jump = matches!(sector[0], 0xeb | 0xe9);
        let sector_len = u64::from(u16_at(sector, 11));
        let per_cluster = u64::from(sector[13]);
        let reserved = u64::from(u16_at(sector, 14));
        let tables = u64::from(sector[16]);
        let root_entries = u64::from(u16_at(sector, 17));
        let [short_count, short_len] = [19, 22].map(|at| u64::from(u16_at(sector, at)));
        let [long_count, long_len] = [32, 36].map(|at| u64::from(u32_at(sector, at)));
        let count = if short_count == 0 { long_count } else { short_count };
        let table_len = if short_len == 0 { long_len } else { short_len };
        let plausible = jump
            && sector[510..] == [0x55, 0xaa]
            && matches!(sector_len, 512 | 1024 | 2048 | 4096)
            && per_cluster.is_power_of_two()
            && reserved > 0
            && tables > 0
            && table_len > 0
            && matches!(sector[21], 0xf0 | 0xf8..)
            && (short_len == 0) == (root_entries == 0);
        // A count of a few sectors more than the file has is damage, not another format; none at all is.
        if !plausible || count == 0 || len < sector_len {
            return None;
        }
        let table = reserved * sector_len;
        let root = table + tables * table_len * sector_len;
        Some(Self {
            is_fat32: short_len == 0,
            table,
            root,
            root_entries,
            root_cluster: u32_at(sector, 44),
            data: root + (root_entries * 32).next_multiple_of(sector_len),
            cluster_len: per_cluster * sector_len,
        })
    }

    fn label(&self, bytes: &Bytes<'_>) -> Result<Option<String>> {
        if !self.is_fat32 {
            return Ok(label_in(bytes, self.root, self.root_entries)?.unwrap_or_default());
        }
        let mut cluster = self.root_cluster;
        for _ in 0..MAX_CLUSTERS {
            if !(2..0x0fff_fff0).contains(&cluster) {
                break;
            }
            let offset = self.data + u64::from(cluster - 2) * self.cluster_len;
            if let Some(label) = label_in(bytes, offset, self.cluster_len / 32)? {
                return Ok(label);
            }
            let Some(next) = bytes.read::<4>(self.table + u64::from(cluster) * 4)? else { break };
            cluster = u32_at(&next, 0) & 0x0fff_ffff;
        }
        Ok(None)
    }
}

/// The label among `count` entries at `offset`. `None` where the search goes on, `Some(None)` where the directory ends.
fn label_in(bytes: &Bytes<'_>, offset: u64, count: u64) -> Result<Option<Option<String>>> {
    const VOLUME: u8 = 0x08;
    const LONG_NAME: u8 = 0x0f;
    for index in 0..count {
        let Some(entry) = bytes.read::<32>(offset + index * 32)? else { return Ok(Some(None)) };
        match (entry[0], entry[11]) {
            (0, _) => return Ok(Some(None)),
            (0xe5, _) | (_, LONG_NAME) => {}
            (_, attributes) if attributes & 0x18 == VOLUME => return Ok(Some(text(&entry[..11]))),
            _ => {}
        }
    }
    Ok(None)
}

/// exFAT's root directory has the label as an entry of type 0x83: a count of UTF-16 units, then the units.
fn exfat(bytes: &Bytes<'_>, sector: &[u8; 512]) -> Result<Option<Probe>> {
    let [heap, root, volume_serial] = [0x58, 0x60, 0x64].map(|at| u32_at(sector, at));
    let (sector_shift, cluster_shift) = (u32::from(sector[0x6c]), u32::from(sector[0x6d]));
    // Sectors of 512 to 4096 bytes, clusters of at most 32 MiB.
    if !(9..=12).contains(&sector_shift) || sector_shift + cluster_shift > 25 || root < 2 {
        return Ok(None);
    }
    let offset =
        (u64::from(heap) << sector_shift) + (u64::from(root - 2) << (sector_shift + cluster_shift));
    let mut label = None;
    // The label comes before all files; a cluster has 16 entries at least.
    for index in 0..16 {
        let Some(entry) = bytes.read::<32>(offset + index * 32)? else { break };
        match entry[0] {
            0x83 => {
                let len = 2 * usize::from(entry[1].min(11));
                label = wide_text(&entry[2..2 + len]);
                break;
            }
            0 => break,
            _ => {}
        }
    }
    Ok(Some(Probe { uuid: serial(volume_serial), label, ..Probe::new(Kind::Exfat) }))
}

/// NTFS keeps the label in the file `$Volume`, record 3 of the master file table, in an attribute of type 0x60.
fn ntfs(bytes: &Bytes<'_>, sector: &[u8; 512]) -> Result<Option<Probe>> {
    let sector_len = u64::from(u16_at(sector, 11));
    let per_cluster = u64::from(sector[13]);
    let volume_serial = u64::from(u32_at(sector, 0x48)) | u64::from(u32_at(sector, 0x4c)) << 32;
    let mft = u64::from(u32_at(sector, 0x30)) | u64::from(u32_at(sector, 0x34)) << 32;
    if !matches!(sector_len, 256..=4096) || !per_cluster.is_power_of_two() {
        return Ok(None);
    }
    // A negative count of clusters is the power of two of a count of bytes.
    let record_len = match sector[0x40].cast_signed() {
        clusters @ 1.. => u64::from(clusters.unsigned_abs()) * per_cluster * sector_len,
        power @ -31..=-1 => 1 << power.unsigned_abs(),
        _ => 0,
    };
    let record = mft
        .checked_mul(per_cluster * sector_len)
        .and_then(|start| start.checked_add(3 * record_len))
        .filter(|_| (512..=65_536).contains(&record_len));
    let label = match record {
        Some(offset) => bytes.read::<512>(offset)?.and_then(|record| volume_name(&record)),
        None => None,
    };
    let uuid = Some(format!("{volume_serial:016X}"));
    Ok(Some(Probe { uuid, label, ..Probe::new(Kind::Ntfs) }))
}

/// The value of the resident attribute `$VOLUME_NAME` in the first sector of a file record.
fn volume_name(record: &[u8; 512]) -> Option<String> {
    const VOLUME_NAME: u32 = 0x60;
    const END: u32 = 0xffff_ffff;
    if !record.starts_with(b"FILE") {
        return None;
    }
    let mut at = usize::from(u16_at(record, 20));
    loop {
        let attribute = record.get(at..)?;
        let header = attribute.get(..24)?;
        let len = usize::try_from(u32_at(header, 4)).ok()?;
        match u32_at(header, 0) {
            END => return None,
            VOLUME_NAME if header[8] == 0 => {
                let start = usize::from(u16_at(header, 20));
                let len = usize::try_from(u32_at(header, 16)).ok()?;
                return wide_text(attribute.get(start..start.checked_add(len)?)?);
            }
            // An attribute is never shorter than its header, so that the loop moves on.
            _ if len >= 24 => at = at.checked_add(len)?,
            _ => return None,
        }
    }
}
