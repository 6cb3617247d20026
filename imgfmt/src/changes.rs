//! What an edit will write: a value, made without touching the image.
//!
//! A transaction ends in [`Changes`]; only [`ImageMut::commit`](crate::ImageMut::commit) writes them. Dropping them is
//! the rollback.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

/// Bytes to be written into an image, keyed by their offset in the image (not in the volume), in bytes.
///
/// Two ranges never overlap, and two that touch are not joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    writes: BTreeMap<u64, Vec<u8>>,
}

impl Changes {
    /// Nothing to write.
    pub fn new() -> Self {
        Self::default()
    }

    /// Write `bytes` at `offset`.
    ///
    /// # Panics
    /// Where the range overlaps one that is there already: a defect of the caller, never of an image.
    pub fn insert(&mut self, offset: u64, bytes: Vec<u8>) {
        let end = offset + bytes.len() as u64;
        let before = self.writes.range(..end).next_back();
        let overlaps = before.is_some_and(|(&start, held)| start + held.len() as u64 > offset);
        assert!(!overlaps, "two changes overlap at byte {offset}");
        if !bytes.is_empty() {
            self.writes.insert(offset, bytes);
        }
    }

    /// Add all of `other`, which must not overlap.
    pub fn extend(&mut self, other: Self) {
        for (offset, bytes) in other.writes {
            self.insert(offset, bytes);
        }
    }

    /// (offset in bytes, bytes), in rising order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.writes.iter().map(|(&offset, bytes)| (offset, bytes.as_slice()))
    }

    /// (offset, how many), both in bytes, in rising order.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        self.iter().map(|(offset, bytes)| (offset, bytes.len() as u64))
    }

    /// Change `bytes`, which lie at `offset`, where they are to be changed.
    pub fn overlay(&self, offset: u64, bytes: &mut [u8]) {
        let end = offset + bytes.len() as u64;
        // The last range that begins before `offset` may reach into it.
        let first = self.writes.range(..=offset).next_back().map_or(offset, |(&at, _)| at);
        for (&at, new) in self.writes.range(first..end) {
            let from = at.max(offset);
            let to = (at + new.len() as u64).min(end);
            if from >= to {
                continue;
            }
            let into = |at: u64, start: u64| usize::try_from(at - start).expect("within a slice");
            bytes[into(from, offset)..into(to, offset)]
                .copy_from_slice(&new[into(from, at)..into(to, at)]);
        }
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// How many bytes will be written.
    pub fn len(&self) -> u64 {
        self.writes.values().map(|bytes| bytes.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Changes;

    #[test]
    #[should_panic(expected = "overlap")]
    fn an_overlap_is_refused() {
        let mut changes = Changes::new();
        changes.insert(4096, vec![0; 1024]);
        changes.insert(5119, vec![1]);
    }

    #[test]
    fn touching_ranges_stay_apart() {
        let mut changes = Changes::new();
        changes.insert(1024, vec![2; 1024]);
        changes.insert(0, vec![1; 1024]);
        assert_eq!(
            changes.iter().map(|(at, b)| (at, b.len())).collect::<Vec<_>>(),
            [(0, 1024), (1024, 1024)]
        );
    }
}
