//! How large a FAT has to be: its content is looked at once before it is made.
//!
//! A file takes whole clusters, a directory 32 bytes for each name and as many again for each thirteen letters of it. How
//! long a cluster is depends on the length of the volume, so that length is looked for in rounds.

use std::collections::BTreeMap;

use imgfmt::archive::{Content, Entry, Kind, Sink, Warn};
use imgfmt::ext::mkfs::Free;
use imgfmt::{Result as FormatResult, fat};

use super::{Work, fat as filler};
use crate::build::{Size, Volume};
use crate::failure::{Failure, Result};

/// Lengths are multiples of it.
const GRAIN: u64 = 4096;
/// The shortest FAT that is made.
const LEN_MIN: u64 = 64 << 10;
/// Entries that the root of a small FAT has room for.
const ROOT_SLOTS: u64 = 512;
/// From this length on the root grows as other directories do (FAT32).
const FAT32_LEN: u64 = 513 << 20;
/// Rounds until a length is found.
const ROUNDS: u32 = 100;

/// The number of a FAT whose UUID is not given.
pub(super) fn id(seed: &[u8]) -> u32 {
    let digest = super::digest(b"fat volume", seed);
    u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// Bytes of the volume.
pub(super) fn settle(work: &mut Work<'_>, volume: &Volume) -> Result<u64> {
    let free = match volume.size {
        Size::Bytes(len) => return Ok(len),
        Size::Auto(free) => free,
        Size::Rest => unreachable!("it is settled before a volume is made"),
    };
    let mut tree = Tree::default();
    work.look(volume, &mut tree)?;
    let mut len = LEN_MIN.max(tree.clusters(512) * 512);
    if tree.slots(b"") > ROOT_SLOTS {
        len = len.max(FAT32_LEN);
    }
    for _ in 0..ROUNDS {
        len = len.next_multiple_of(GRAIN);
        let (cluster_len, count) = fat::clusters(len).map_err(|e| filler::refusal(&e))?;
        let cluster_len = u64::from(cluster_len);
        let wanted = tree.clusters(cluster_len) + spare(free, len).div_ceil(cluster_len);
        match wanted.checked_sub(count.into()) {
            None | Some(0) => return Ok(len),
            // Of what is added a share stays free, of 90 percent at most.
            Some(missing) => {
                let more = (missing * cluster_len).saturating_mul(100);
                len = len.saturating_add(more / (100 - u64::from(free.percent)));
            }
        }
    }
    Err(Failure::new("no length of a FAT serves for what goes into it")
        .hint("give it one with `--size`"))
}

fn spare(free: Free, len: u64) -> u64 {
    free.bytes.saturating_add(len / 100 * u64::from(free.percent))
}

/// What will be there: the length of each file, `None` of a directory, by path in lower case.
#[derive(Default)]
struct Tree(BTreeMap<Vec<u8>, Option<u64>>);

impl Tree {
    fn slots(&self, dir: &[u8]) -> u64 {
        let names = self.0.keys().map(|path| split(path)).filter(|(above, _)| *above == dir);
        names.map(|(_, name)| slots(name)).sum()
    }

    fn clusters(&self, len: u64) -> u64 {
        let mut dirs: BTreeMap<&[u8], u64> = BTreeMap::from([(&b""[..], 2)]);
        let mut clusters: u64 = 0;
        for (path, file) in &self.0 {
            let (above, name) = split(path);
            *dirs.entry(above).or_insert(2) += slots(name);
            match file {
                Some(file) => clusters = clusters.saturating_add(file.div_ceil(len)),
                None => drop(dirs.entry(path).or_insert(2)),
            }
        }
        dirs.values().fold(clusters, |all, slots| all.saturating_add((slots * 32).div_ceil(len)))
    }

    fn remove(&mut self, path: &[u8], keep: bool) {
        let below = [path, b"/"].concat();
        let is_root = path.is_empty();
        self.0.retain(|other, _| {
            !(is_root || other.starts_with(&below)) && (keep || other.as_slice() != path)
        });
    }
}

/// Entries of 32 bytes that a name takes.
fn slots(name: &[u8]) -> u64 {
    1 + String::from_utf8_lossy(name).encode_utf16().count().div_ceil(13) as u64
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

impl Sink for Tree {
    fn entry(&mut self, entry: &Entry, _: &mut Content<'_>, _: &mut Warn<'_>) -> FormatResult<()> {
        let path = entry.path.as_bytes();
        let lower = String::from_utf8_lossy(path).to_lowercase().into_bytes();
        let len = match &entry.kind {
            Kind::File { len, .. } => Some(*len),
            Kind::Dir => None,
            Kind::HardLink(to) => {
                let to = String::from_utf8_lossy(to.as_bytes()).to_lowercase().into_bytes();
                match self.0.get(&to) {
                    Some(Some(len)) => Some(*len),
                    _ => return Ok(()),
                }
            }
            Kind::Whiteout => {
                self.remove(&lower, false);
                return Ok(());
            }
            Kind::Opaque => {
                self.remove(&lower, true);
                return Ok(());
            }
            _ => return Ok(()),
        };
        if !lower.is_empty() {
            // Archives need not name the directories above; those of what is there are there.
            let mut above = split(&lower).0;
            while !above.is_empty() && !self.0.contains_key(above) {
                self.0.insert(above.to_vec(), None);
                above = split(above).0;
            }
            self.0.insert(lower, len);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Tree;

    #[test]
    fn a_tree_takes_clusters_for_content_and_names() {
        let mut tree = Tree::default();
        tree.0.insert(b"efi".to_vec(), None);
        tree.0.insert(b"efi/a name of twenty-6 letters".to_vec(), Some(1025));
        // Root: dots are counted, `efi` takes 2 entries; `efi`: dots, and 1 + 3 for 26 letters and the end of 39.
        assert_eq!(tree.clusters(512), 3 + 1 + 1);
        assert_eq!(tree.slots(b""), 2);
        tree.remove(b"efi", true);
        assert_eq!(tree.clusters(512), 2);
        tree.remove(b"efi", false);
        assert!(tree.0.is_empty());
    }
}
