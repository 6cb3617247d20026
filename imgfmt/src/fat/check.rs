//! A look at every chain and every directory, before the crate `fatfs` is let in.
//!
//! That crate follows chains as it finds them: a circle is a loop without end for it, and a number out of range a panic.
//! So each chain is walked here once. Each of its links is a cluster of the volume, no cluster is in two chains or twice
//! in one, and each chain is as long as its file says; `.` and `..` lead where they have to. What passes is a tree, and
//! walking a tree ends.

use std::path::{Path, PathBuf};

use super::geometry::{Geometry, Root, Width};
use crate::error::{Error, Result};
use crate::storage::Storage;

/// No directory is longer: 65536 entries of 32 bytes.
const MAX_DIRECTORY: u64 = 2 << 20;

/// How much of the table is held at a time, in bytes. Chains are mostly near one another.
const PAGE: usize = 4096;

/// Walk all of `volume`.
///
/// # Errors
/// [`Error::Corrupt`] with the path and the cluster.
pub(super) fn check(volume: &dyn Storage, geometry: &Geometry) -> Result<()> {
    let bits = usize::try_from(geometry.cluster_count).expect("at most 2^26") + 2;
    let mut walk = Walk {
        volume,
        geometry,
        used: vec![0; bits.div_ceil(64)],
        page: vec![0; PAGE],
        page_at: None,
        pending: Vec::new(),
    };
    match geometry.root {
        Root::Fixed { offset, len } => {
            let root = Directory { path: "/".into(), first: 0, parent: None };
            walk.entries(&root, offset, len)?;
        }
        Root::Cluster(first) => {
            walk.directory(&Directory { path: "/".into(), first, parent: None })?;
        }
    }
    while let Some(directory) = walk.pending.pop() {
        walk.directory(&directory)?;
    }
    Ok(())
}

struct Directory {
    path: PathBuf,
    /// Its first cluster; 0 for a root in a place of its own.
    first: u32,
    /// The first cluster of the directory that it is in; the root is in none.
    parent: Option<u32>,
}

struct Walk<'a> {
    volume: &'a dyn Storage,
    geometry: &'a Geometry,
    /// A bit a cluster.
    used: Vec<u64>,
    page: Vec<u8>,
    page_at: Option<u64>,
    /// Directories that were seen and not read yet.
    pending: Vec<Directory>,
}

impl Walk<'_> {
    fn directory(&mut self, directory: &Directory) -> Result<()> {
        let cluster_len = u64::from(self.geometry.cluster_len);
        let mut clusters = Vec::new();
        self.chain(&directory.path, directory.first, |cluster| {
            clusters.push(cluster);
            clusters.len() as u64 * cluster_len <= MAX_DIRECTORY
        })?;
        for cluster in clusters {
            let offset = self.geometry.offset_from_cluster(cluster);
            if self.entries(directory, offset, cluster_len)? {
                break;
            }
        }
        Ok(())
    }

    /// The entries in `len` bytes at `offset`; whether the directory ends there.
    fn entries(&mut self, directory: &Directory, offset: u64, len: u64) -> Result<bool> {
        const VOLUME: u8 = 0x08;
        const DIRECTORY: u8 = 0x10;
        const LONG_NAME: u8 = 0x0f;
        let mut bytes = vec![0; usize::try_from(len).expect("at most 2 MiB")];
        self.read(offset, &mut bytes)?;
        let (entries, _) = bytes.as_chunks::<32>();
        for entry in entries {
            let attributes = entry[11];
            match entry[0] {
                0 => return Ok(true),
                0xe5 => continue,
                _ if attributes & LONG_NAME == LONG_NAME || attributes & VOLUME != 0 => continue,
                _ => {}
            }
            let low = u32::from(u16::from_le_bytes([entry[26], entry[27]]));
            let high = u32::from(u16::from_le_bytes([entry[20], entry[21]]));
            let is_fat32 = self.geometry.width == Width::Fat32;
            let first = if is_fat32 { low | high << 16 } else { low };
            let is_directory = attributes & DIRECTORY != 0;
            if is_directory && self.is_dot(directory, entry, first)? {
                continue;
            }
            let name = String::from_utf8_lossy(&entry[..11]).trim_end().to_string();
            let path = directory.path.join(name);
            let size = u32::from_le_bytes([entry[28], entry[29], entry[30], entry[31]]);
            if is_directory {
                self.pending.push(Directory { path, first, parent: Some(directory.first) });
            } else {
                self.file(&path, first, size)?;
            }
        }
        Ok(false)
    }

    /// Whether it is `.` or `..`, which no root has, and which have to lead where those lead.
    fn is_dot(&self, directory: &Directory, entry: &[u8; 32], first: u32) -> Result<bool> {
        let Some(parent) = directory.parent else { return Ok(false) };
        let expected = match &entry[..11] {
            b".          " => directory.first,
            b"..         " => parent,
            _ => return Ok(false),
        };
        // The root is 0 for its children, also where it has a cluster.
        let is_root = matches!(self.geometry.root, Root::Cluster(root) if root == expected);
        if first == expected || (is_root && first == 0) {
            return Ok(true);
        }
        let name = String::from_utf8_lossy(&entry[..2]).trim_end().to_string();
        Err(corrupt(
            &directory.path,
            &format!("`{name}` leads to cluster {first}, not to {expected}"),
        ))
    }

    fn file(&mut self, path: &Path, first: u32, size: u32) -> Result<()> {
        let mut count = 0;
        if first != 0 {
            self.chain(path, first, |_| {
                count += 1;
                true
            })?;
        }
        let needed = size.div_ceil(self.geometry.cluster_len);
        if count < needed {
            let what = format!("{size} bytes in {count} clusters, not in {needed}");
            return Err(corrupt(path, &what));
        }
        Ok(())
    }

    /// Tell `visit` of each cluster of the chain; it says whether there may be more.
    fn chain(&mut self, path: &Path, first: u32, mut visit: impl FnMut(u32) -> bool) -> Result<()> {
        let mut next = Some(first);
        while let Some(cluster) = next {
            if !self.geometry.has_cluster(cluster) {
                return Err(corrupt(path, &format!("cluster {cluster} is none of the volume")));
            }
            let nr = usize::try_from(cluster).expect("at most 2^26");
            let bit = 1 << (nr % 64);
            if self.used[nr / 64] & bit != 0 {
                return Err(corrupt(path, &format!("cluster {cluster} is in use already")));
            }
            self.used[nr / 64] |= bit;
            if !visit(cluster) {
                return Err(corrupt(path, "a directory of more than 2 MiB"));
            }
            next = self.link(path, cluster)?;
        }
        Ok(())
    }

    /// What follows `cluster`.
    fn link(&mut self, path: &Path, cluster: u32) -> Result<Option<u32>> {
        let end = match self.geometry.width {
            Width::Fat12 => 0xff8,
            Width::Fat16 => 0xfff8,
            Width::Fat32 => 0x0fff_fff8,
        };
        let geometry = self.geometry;
        let value = geometry.link(cluster, |at, buf| self.table(at, buf))?;
        match value {
            0 => Err(corrupt(path, &format!("cluster {cluster} is marked as free"))),
            value if value >= end => Ok(None),
            value => Ok(Some(value)),
        }
    }

    /// Bytes of the table; an entry of twelve bits may lie across two pages.
    fn table(&mut self, at: u64, buf: &mut [u8]) -> Result<()> {
        let page_len = PAGE as u64;
        for (at, byte) in (at..).zip(buf) {
            let start = at / page_len * page_len;
            if self.page_at != Some(start) {
                let offset = self.geometry.table + start;
                let left = self.volume.len() - offset;
                let len = usize::try_from(left).map_or(PAGE, |left| left.min(PAGE));
                let mut page = std::mem::take(&mut self.page);
                let outcome = self.read(offset, &mut page[..len]);
                self.page = page;
                outcome?;
                self.page_at = Some(start);
            }
            *byte = self.page[usize::try_from(at - start).expect("less than a page")];
        }
        Ok(())
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let outcome = self.volume.read_at(offset, buf);
        outcome.map_err(|e| Error::io(format!("FAT at byte {offset}"), e))
    }
}

fn corrupt(path: &Path, what: &str) -> Error {
    Error::corrupt(format!("FAT: `{}`: {what}", path.display()))
}
