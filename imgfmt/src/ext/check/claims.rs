//! Which blocks belong to something: a set that grows with what is in use, and not with the volume.
//!
//! Blocks are counted in clusters, from the first data block on, in chunks of 32,768. A chunk is a list of runs as long
//! as there are few of them, and bits from then on:
//!
//! ```text
//! chunk 0: runs 0..70, 512..513    chunk 9: bits ff ff 03 …    chunk 131071: nothing
//! ```
//! A run of a list is paid for by an entry of a map on the volume, so that a small image cannot ask for much. Chunks have
//! nothing to do with block groups, which an image may make as small as it likes.

use std::collections::BTreeMap;

use crate::ext::space::bitmap;

/// Clusters of a chunk.
const CHUNK: u32 = 32768;
/// So many runs take as much room as bits.
const RUNS_MAX: usize = CHUNK as usize / 64;

/// Clusters that are in use.
#[derive(Default)]
pub(super) struct Claims {
    chunks: BTreeMap<u64, Units>,
}

/// The clusters of one chunk that are in use.
enum Units {
    /// Disjoint, ascending, no two of them touch: first and end.
    Runs(Vec<(u32, u32)>),
    /// Bit 0 is the lowest of the first byte.
    Bits(Box<[u8]>),
}

/// What a claim met: clusters that belong to something already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Overlap {
    /// The first one.
    pub(super) first: u64,
    /// How many.
    pub(super) count: u64,
}

impl Claims {
    /// `count` clusters from `first` on are in use.
    pub(super) fn claim(&mut self, first: u64, count: u64) -> Overlap {
        let mut overlap = Overlap::default();
        for (chunk, from, to) in pieces(first, count) {
            let units = self.chunks.entry(chunk).or_insert(Units::Runs(Vec::new()));
            if let Some((first, count)) = units.claim(from, to) {
                if overlap.count == 0 {
                    overlap.first = chunk * u64::from(CHUNK) + u64::from(first);
                }
                overlap.count += u64::from(count);
            }
        }
        overlap
    }

    /// Whether a cluster is in use.
    pub(super) fn contains(&self, unit: u64) -> bool {
        let within = u32::try_from(unit % u64::from(CHUNK)).expect("below a u32");
        self.chunks.get(&(unit / u64::from(CHUNK))).is_some_and(|units| match units {
            Units::Bits(bits) => bitmap::get(bits, within),
            Units::Runs(runs) => {
                let after = runs.partition_point(|&(from, _)| from <= within);
                after > 0 && runs[after - 1].1 > within
            }
        })
    }

    /// Set those of the first `count` bits of `to` whose clusters, counted from `first` on, are in use.
    pub(super) fn fill(&self, first: u64, count: u32, to: &mut [u8]) {
        for (chunk, from, end) in pieces(first, count.into()) {
            let Some(units) = self.chunks.get(&chunk) else { continue };
            let start = chunk * u64::from(CHUNK) + u64::from(from);
            let base = u32::try_from(start - first).expect("below `count`");
            match units {
                Units::Runs(runs) => {
                    for &(a, b) in runs {
                        (a.max(from)..b.min(end)).for_each(|i| bitmap::set(to, base + i - from));
                    }
                }
                Units::Bits(bits) if base % 8 == 0 && from % 8 == 0 && end % 8 == 0 => {
                    let bytes = &bits[from as usize / 8..end as usize / 8];
                    to[base as usize / 8..]
                        .iter_mut()
                        .zip(bytes)
                        .for_each(|(to, from)| *to |= from);
                }
                Units::Bits(bits) => (from..end)
                    .filter(|&index| bitmap::get(bits, index))
                    .for_each(|index| bitmap::set(to, base + index - from)),
            }
        }
    }
}

/// The pieces of a run in their chunks: the chunk, first and end therein.
fn pieces(first: u64, count: u64) -> impl Iterator<Item = (u64, u32, u32)> {
    let (size, end) = (u64::from(CHUNK), first.saturating_add(count));
    let within = move |at: u64, base: u64| u32::try_from(at - base).expect("within a chunk");
    (first / size..end.div_ceil(size)).filter(move |_| first < end).map(move |chunk| {
        let base = chunk * size;
        (chunk, within(first.max(base), base), within(end.min(base + size), base))
    })
}

impl Units {
    /// Claim `from..to`; the first that was in use and how many were.
    fn claim(&mut self, from: u32, to: u32) -> Option<(u32, u32)> {
        match self {
            Self::Bits(bits) => claim_bits(bits, from, to),
            Self::Runs(runs) => {
                let met = claim_run(runs, from, to);
                if runs.len() > RUNS_MAX {
                    let mut bits = vec![0; CHUNK as usize / 8];
                    for &(from, to) in runs.iter() {
                        claim_bits(&mut bits, from, to);
                    }
                    *self = Self::Bits(bits.into());
                }
                met
            }
        }
    }
}

fn claim_run(runs: &mut Vec<(u32, u32)>, from: u32, to: u32) -> Option<(u32, u32)> {
    // Those that touch the new one become one with it.
    let first = runs.partition_point(|&(_, end)| end < from);
    let last = runs.partition_point(|&(start, _)| start <= to);
    let (mut met, mut start, mut end) = (None, from, to);
    for &(a, b) in &runs[first..last] {
        let (low, high) = (a.max(from), b.min(to));
        if low < high {
            let (first, count) = met.unwrap_or((low, 0));
            met = Some((first, count + high - low));
        }
        (start, end) = (start.min(a), end.max(b));
    }
    runs.splice(first..last, [(start, end)]);
    met
}

fn claim_bits(bits: &mut [u8], from: u32, to: u32) -> Option<(u32, u32)> {
    let mut met = None;
    let mut at = from;
    while at < to {
        let stop = to.min((at / 8 + 1) * 8);
        let mask = (0xFF_u8 >> (8 - (stop - at))) << (at % 8);
        let byte = &mut bits[at as usize / 8];
        let taken = *byte & mask;
        if taken != 0 {
            let (first, count) = met.unwrap_or((at / 8 * 8 + taken.trailing_zeros(), 0));
            met = Some((first, count + taken.count_ones()));
        }
        *byte |= mask;
        at = stop;
    }
    met
}

#[cfg(test)]
mod tests {
    use super::{CHUNK, Claims, Overlap, Units};

    #[test]
    fn runs_that_touch_become_one() {
        let mut claims = Claims::default();
        for (first, count) in [(10, 5), (20, 5), (15, 5), (32767, 2), (0, 1)] {
            assert_eq!(claims.claim(first, count), Overlap::default(), "{first}");
        }
        let Some(Units::Runs(runs)) = claims.chunks.get(&0) else { panic!("few runs") };
        assert_eq!(*runs, [(0, 1), (10, 25), (32767, 32768)]);
        let Some(Units::Runs(runs)) = claims.chunks.get(&1) else { panic!("few runs") };
        assert_eq!(*runs, [(0, 1)]);
        // 4 of 9..14 are taken, from 10 on, and 2 of 32766..32770, from 32767 on.
        assert_eq!(claims.claim(9, 5), Overlap { first: 10, count: 4 });
        assert_eq!(claims.claim(32766, 4), Overlap { first: 32767, count: 2 });
        assert_eq!(claims.claim(5, 0), Overlap::default());
        assert!(!claims.contains(5));
    }

    #[test]
    fn many_runs_become_bits_and_say_the_same() {
        let mut claims = Claims::default();
        for unit in (0..3000).step_by(3) {
            assert_eq!(claims.claim(unit, 1), Overlap::default());
        }
        assert!(matches!(claims.chunks.get(&0), Some(Units::Bits(_))));
        assert!(claims.contains(63) && !claims.contains(64) && !claims.contains(3000));
        // 63, 66 … 129.
        assert_eq!(claims.claim(62, 70), Overlap { first: 63, count: 23 });
        // Multiples of 3 from 600 to 1,199, aligned to bytes and not.
        for (first, expected) in [(600, 200), (601, 199)] {
            let mut bits = [0; 75];
            claims.fill(first, 599, &mut bits);
            assert_eq!(bits.iter().map(|byte| byte.count_ones()).sum::<u32>(), expected);
            assert_eq!(bits[0] & 1 == 1, first == 600);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "a hundred thousand chunks, which the interpreter takes an hour for")]
    fn what_is_free_takes_no_room() {
        let mut claims = Claims::default();
        claims.claim(0, 1 << 32);
        assert_eq!(claims.chunks.len() as u64, (1 << 32) / u64::from(CHUNK));
        assert!(claims.chunks.values().all(|u| matches!(u, Units::Runs(r) if r.len() == 1)));
    }
}
