//! A set of blocks, kept as runs: what is in use of a volume of any size, in memory that grows with the number of runs.
//!
//! ```text
//! insert 0..1, insert 2..5, insert 1..2   →   0..5
//! ```

use std::collections::BTreeMap;

/// Blocks side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The first one.
    pub(crate) start: u64,
    /// How many.
    pub(crate) len: u64,
}

impl Run {
    /// One past the last block.
    pub(crate) fn end(self) -> u64 {
        self.start + self.len
    }
}

/// Runs that neither overlap nor touch: start → end.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunSet(BTreeMap<u64, u64>);

impl RunSet {
    /// Add a run. It may overlap what is there.
    pub(crate) fn insert(&mut self, run: Run) {
        if run.len == 0 {
            return;
        }
        let (mut start, mut end) = (run.start, run.end());
        if let Some((&before, &before_end)) = self.0.range(..start).next_back()
            && before_end >= start
        {
            (start, end) = (before, end.max(before_end));
        }
        while let Some((&next, &next_end)) = self.0.range(start..=end).next() {
            self.0.remove(&next);
            end = end.max(next_end);
        }
        self.0.insert(start, end);
    }

    /// Take a run out. It may reach over what is not there.
    pub(crate) fn remove(&mut self, run: Run) {
        if run.len == 0 {
            return;
        }
        let (start, end) = (run.start, run.end());
        if let Some((&before, &before_end)) = self.0.range(..start).next_back()
            && before_end > start
        {
            self.0.insert(before, start);
            if before_end > end {
                self.0.insert(end, before_end);
            }
        }
        while let Some((&next, &next_end)) = self.0.range(start..end).next() {
            self.0.remove(&next);
            if next_end > end {
                self.0.insert(end, next_end);
            }
        }
    }

    /// Every run that has a block in `start..end`, cut to it.
    pub(crate) fn within(&self, start: u64, end: u64) -> impl Iterator<Item = Run> {
        let before =
            self.0.range(..start).next_back().filter(|(_, before_end)| **before_end > start);
        before.into_iter().chain(self.0.range(start..end)).map(move |(&from, &to)| {
            let from = from.max(start);
            Run { start: from, len: to.min(end) - from }
        })
    }

    /// How many blocks of `start..end` there are.
    pub(crate) fn count(&self, start: u64, end: u64) -> u64 {
        self.within(start, end).map(|run| run.len).sum()
    }

    /// The first run of `start..end` that is not there.
    pub(crate) fn gap(&self, start: u64, end: u64) -> Option<Run> {
        let mut from = start;
        if let Some((_, &before_end)) = self.0.range(..=from).next_back() {
            from = from.max(before_end);
        }
        if from >= end {
            return None;
        }
        let to = self.0.range(from..).next().map_or(end, |(&next, _)| next.min(end));
        Some(Run { start: from, len: to - from })
    }

    /// The first place in `start..end` where `len` blocks side by side are not there.
    pub(crate) fn gap_of(&self, len: u64, start: u64, end: u64) -> Option<u64> {
        let mut from = start;
        while let Some(gap) = self.gap(from, end) {
            if gap.len >= len {
                return Some(gap.start);
            }
            from = gap.end();
        }
        None
    }

    /// One past the last block; 0 where there is none.
    pub(crate) fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, &end)| end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Run, RunSet};

    #[test]
    fn a_set_of_runs_is_a_set_of_blocks() {
        let (mut runs, mut blocks) = (RunSet::default(), BTreeSet::new());
        let mut state = 1_u64;
        for _ in 0..if cfg!(miri) { 50 } else { 2000 } {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let run = Run { start: state >> 33 & 63, len: state >> 40 & 15 };
            if state >> 60 & 1 == 0 {
                runs.insert(run);
                blocks.extend(run.start..run.end());
            } else {
                runs.remove(run);
                blocks.retain(|block| !(run.start..run.end()).contains(block));
            }
            let listed: Vec<u64> =
                runs.within(0, 100).flat_map(|run| run.start..run.end()).collect();
            assert!(listed.iter().eq(&blocks), "{runs:?}");
            assert_eq!(runs.count(20, 40), blocks.range(20..40).count() as u64);
            let free = |&at: &u64| (at..at + 3).all(|block| !blocks.contains(&block));
            assert_eq!(runs.gap_of(3, 10, 70), (10..68).find(free));
            assert_eq!(runs.end(), blocks.last().map_or(0, |last| last + 1));
            let touching = runs.0.iter().zip(runs.0.iter().skip(1)).any(|(a, b)| a.1 >= b.0);
            assert!(!touching, "{runs:?}");
        }
    }
}
