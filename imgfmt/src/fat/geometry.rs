//! The boot sector of a FAT: where its parts lie, checked.
//!
//! ```text
//! | reserved sectors | table | copies of the table | root (FAT12, FAT16) | cluster 2 | cluster 3 | …
//!   0: boot sector                                                        ↑ first data sector
//! ```
//!
//! How wide an entry of the table is follows from the count of clusters and from nothing else: below 4085 twelve bits,
//! below 65525 sixteen, then thirty-two, of which four are reserved.

use crate::error::{Error, Result};
use crate::storage::Storage;

/// A limit on the bitmap that a check needs: 2^26 clusters are 8 MiB of it, and 2 TiB of data in clusters of 32 KiB.
const MAX_CLUSTERS: u32 = 1 << 26;

/// The widths of an entry of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Fat12,
    Fat16,
    Fat32,
}

/// Where the parts lie, in bytes from the start of the volume; all of it within the volume.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    pub(super) width: Width,
    pub(super) cluster_len: u32,
    /// Clusters are numbered from 2 to one more than their count.
    pub(super) cluster_count: u32,
    pub(super) table: u64,
    pub(super) data: u64,
    pub(super) root: Root,
    /// Whether the last user did not say goodbye.
    pub(super) is_dirty: bool,
}

/// Where the root directory is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Root {
    /// In a place of its own.
    Fixed { offset: u64, len: u64 },
    /// In a chain, as any directory.
    Cluster(u32),
}

impl Geometry {
    pub(super) fn read(volume: &dyn Storage) -> Result<Self> {
        let mut sector = [0; 512];
        volume.read_at(0, &mut sector).map_err(|e| Error::io("FAT boot sector", e))?;
        Self::parse(&sector, volume.len())
    }

    pub(super) fn parse(sector: &[u8; 512], len: u64) -> Result<Self> {
        let byte = |at: usize| u32::from(sector[at]);
        let short = |at: usize| byte(at) | byte(at + 1) << 8;
        let long = |at: usize| short(at) | short(at + 2) << 16;
        let check = |holds: bool, what: &str, value: u32| {
            if holds {
                Ok(())
            } else {
                Err(Error::corrupt(format!("FAT boot sector: {what} {value}")))
            }
        };

        check(sector[510..] == [0x55, 0xaa], "magic", short(510))?;
        let sector_len = short(11);
        check(matches!(sector_len, 512 | 1024 | 2048 | 4096), "sector length", sector_len)?;
        let per_cluster = byte(13);
        check(per_cluster.is_power_of_two(), "sectors per cluster", per_cluster)?;
        let reserved = short(14);
        check(reserved > 0, "reserved sectors", reserved)?;
        let tables = byte(16);
        check(matches!(tables, 1 | 2), "count of tables", tables)?;
        let is_fat32 = short(22) == 0;
        let root_entries = short(17);
        check((root_entries == 0) == is_fat32, "entries of the root directory", root_entries)?;
        check(root_entries * 32 % sector_len == 0, "entries of the root directory", root_entries)?;
        let (short_count, long_count) = (short(19), long(32));
        check((short_count == 0) != (long_count == 0), "count of sectors", short_count)?;
        check(!(is_fat32 && short_count != 0), "count of sectors", short_count)?;
        let count = if short_count == 0 { long_count } else { short_count };
        check(u64::from(count) * u64::from(sector_len) <= len, "count of sectors", count)?;
        let table_sectors = if is_fat32 { long(36) } else { short(22) };
        // 256 MiB are enough for 2^26 clusters.
        let table_len = u64::from(table_sectors) * u64::from(sector_len);
        check((1..=1 << 28).contains(&table_len), "sectors of a table", table_sectors)?;

        let root_sectors = root_entries * 32 / sector_len;
        let first_data = reserved + tables * table_sectors + root_sectors;
        check(first_data < count, "count of sectors", count)?;
        let cluster_count = (count - first_data) / per_cluster;
        let (width, bits) = match cluster_count {
            0..4085 => (Width::Fat12, 12),
            4085..65_525 => (Width::Fat16, 16),
            _ => (Width::Fat32, 32),
        };
        check(cluster_count > 0, "count of clusters", cluster_count)?;
        check((width == Width::Fat32) == is_fat32, "count of clusters", cluster_count)?;
        if cluster_count > MAX_CLUSTERS {
            let what = format!("FAT with {cluster_count} clusters, more than {MAX_CLUSTERS}");
            return Err(Error::Unsupported(what));
        }
        let entries = table_len * 8 / bits;
        check(entries >= u64::from(cluster_count) + 2, "sectors of a table", table_sectors)?;

        let offset = |sectors: u32| u64::from(sectors) * u64::from(sector_len);
        let root = if is_fat32 {
            check(short(42) == 0, "version", short(42))?;
            check((1..reserved).contains(&short(48)), "FSInfo sector", short(48))?;
            check(short(50) < reserved, "backup boot sector", short(50))?;
            if short(40) & 0x80 != 0 {
                return Err(Error::Unsupported("FAT32 whose tables are not mirrored".into()));
            }
            let cluster = long(44);
            check((2..cluster_count + 2).contains(&cluster), "cluster of the root", cluster)?;
            Root::Cluster(cluster)
        } else {
            let root = reserved + tables * table_sectors;
            Root::Fixed { offset: offset(root), len: offset(root_sectors) }
        };
        // The byte that DOS reserved and NT took for its state.
        let state = sector[if is_fat32 { 65 } else { 37 }];
        Ok(Self {
            width,
            cluster_len: per_cluster * sector_len,
            cluster_count,
            table: offset(reserved),
            data: offset(first_data),
            root,
            is_dirty: state & 1 != 0,
        })
    }

    /// Where `cluster` lies; it has to be one of this volume.
    pub(super) fn offset_from_cluster(&self, cluster: u32) -> u64 {
        self.data + u64::from(cluster - 2) * u64::from(self.cluster_len)
    }

    /// The clusters that begin in `len` bytes at `offset`.
    pub(super) fn clusters_in(&self, offset: u64, len: u64) -> impl Iterator<Item = u32> + use<> {
        let cluster_len = u64::from(self.cluster_len);
        let index = |at: u64| {
            let index = at.saturating_sub(self.data).div_ceil(cluster_len);
            u32::try_from(index).map_or(self.cluster_count, |index| index.min(self.cluster_count))
        };
        index(offset) + 2..index(offset + len) + 2
    }

    /// The number in the table for `cluster`; `read` fills a buffer from a place in the table.
    pub(super) fn link<E>(
        &self,
        cluster: u32,
        mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<u32, E> {
        let nr = u64::from(cluster);
        let (mut short, mut long) = ([0; 2], [0; 4]);
        match self.width {
            Width::Fat12 => {
                read(nr + nr / 2, &mut short)?;
                let packed = u32::from(u16::from_le_bytes(short));
                Ok(if cluster.is_multiple_of(2) { packed & 0xfff } else { packed >> 4 })
            }
            Width::Fat16 => {
                read(nr * 2, &mut short)?;
                Ok(u16::from_le_bytes(short).into())
            }
            Width::Fat32 => {
                read(nr * 4, &mut long)?;
                Ok(u32::from_le_bytes(long) & 0x0fff_ffff)
            }
        }
    }

    pub(super) fn has_cluster(&self, cluster: u32) -> bool {
        (2..self.cluster_count + 2).contains(&cluster)
    }
}
