//! Which blocks are taken, and which to take next: in order, so that what is written in order lies in order.

use crate::error::{Error, Result};
use crate::ext::mkfs::runs::{Run, RunSet};

/// Blocks of a file system that is being made.
#[derive(Clone, Debug)]
pub(super) struct Space {
    used: RunSet,
    /// Where the search goes on.
    cursor: u64,
    /// One past the last block.
    end: u64,
    /// How many are free.
    free: u64,
}

impl Space {
    /// All but `used` of the blocks below `end` are free.
    pub(super) fn new(used: RunSet, end: u64) -> Self {
        let free = end - used.count(0, end);
        Self { used, cursor: 0, end, free }
    }

    /// What is taken.
    pub(super) fn used(&self) -> &RunSet {
        &self.used
    }

    /// Free blocks; block 0 of 1 KiB blocks is no block of the file system, and the caller marked it.
    pub(super) fn free(&self) -> u64 {
        self.free
    }

    /// Take blocks, all of which are free.
    fn mark(&mut self, run: Run) {
        self.used.insert(run);
        self.free -= run.len;
    }

    /// The next free blocks, `most` at most, at least one.
    pub(super) fn take(&mut self, most: u64) -> Result<Run> {
        let gap = self.used.gap(self.cursor, self.end);
        let gap = gap.or_else(|| self.used.gap(0, self.end)).ok_or_else(|| self.full(most))?;
        let run = Run { start: gap.start, len: gap.len.min(most) };
        self.mark(run);
        self.cursor = run.end();
        Ok(run)
    }

    /// One block.
    pub(super) fn take_one(&mut self) -> Result<u64> {
        Ok(self.take(1)?.start)
    }

    /// These blocks are free again, and the next to be taken.
    pub(super) fn give_back(&mut self, run: Run) {
        self.free += self.used.count(run.start, run.end());
        self.used.remove(run);
        self.cursor = self.cursor.min(run.start);
    }

    /// `len` blocks in as few runs as their order allows.
    pub(super) fn take_all(&mut self, len: u64) -> Result<Vec<Run>> {
        if self.free() < len {
            return Err(self.full(len));
        }
        let (mut left, mut runs) = (len, Vec::new());
        while left > 0 {
            let run = self.take(left)?;
            left -= run.len;
            runs.push(run);
        }
        Ok(runs)
    }

    /// `len` blocks side by side, from `goal` on if there are any; else wherever they are, else in several runs.
    pub(super) fn take_near(&mut self, len: u64, goal: u64) -> Result<Vec<Run>> {
        let found = self.used.gap_of(len, goal, self.end);
        if let Some(start) = found.or_else(|| self.used.gap_of(len, 0, self.end)) {
            let run = Run { start, len };
            self.mark(run);
            return Ok(vec![run]);
        }
        self.take_all(len)
    }

    /// There is not as much.
    pub(super) fn full(&self, wanted: u64) -> Error {
        Error::NoSpace(format!("{wanted} blocks are wanted, {} are free", self.free()))
    }
}

#[cfg(test)]
mod tests {
    use super::Space;
    use crate::ext::mkfs::runs::{Run, RunSet};

    #[test]
    fn what_is_free_is_what_is_not_taken() {
        let mut used = RunSet::default();
        used.insert(Run { start: 4, len: 4 });
        let mut space = Space::new(used, 20);
        let counted = |space: &Space| 20 - space.used().count(0, 20);
        assert_eq!(space.free(), 16);
        assert_eq!(space.take(10).expect("a run"), Run { start: 0, len: 4 });
        assert_eq!(space.take_near(3, 15).expect("a run"), [Run { start: 15, len: 3 }]);
        assert_eq!((space.free(), counted(&space)), (9, 9));
        // Half of it is free already.
        space.give_back(Run { start: 6, len: 4 });
        assert_eq!((space.free(), counted(&space)), (11, 11));
        assert_eq!(space.take_all(11).expect("the rest").len(), 2);
        assert_eq!((space.free(), counted(&space)), (0, 0));
        let full = space.take_one().expect_err("nothing is left").to_string();
        assert!(full.ends_with("1 blocks are wanted, 0 are free"), "{full}");
    }
}
