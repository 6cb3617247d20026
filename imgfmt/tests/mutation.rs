//! Thousands of fixtures that lie, from one seed: no panic, no endless work, bounded memory, and no trace of what was
//! refused. The fuzz targets (`fuzz/`) do the same with inputs of their own choice.

mod mutants;

use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use mutants::{drive, seal_all_changes_nothing};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Bytes that one run may take, at most.
const MEMORY_MAX: usize = 64 << 20;
/// CPU time of one run. Reading is counted and not timed; this is for loops that read nothing.
const CPU_MAX: Duration = Duration::from_secs(2);
/// Wall time after which a run is given up: an endless loop would otherwise end with the patience of who waits.
const PATIENCE: Duration = Duration::from_secs(120);

/// A generator (SplitMix64): its bytes are the input of a run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn input(&mut self) -> Vec<u8> {
        let words = 2 + self.next() % 14;
        (0..words).flat_map(|_| self.next().to_le_bytes()).collect()
    }
}

fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).expect("not negative"),
        u32::try_from(now.tv_nsec).expect("below a second"),
    )
}

/// Run `f` on `count` inputs. A run that does not end ends the process.
fn many(seed: u64, count: u64, f: fn(&[u8])) {
    let (beat, beats) = mpsc::channel::<u64>();
    let watch = std::thread::spawn(move || {
        let mut last = 0;
        loop {
            match beats.recv_timeout(PATIENCE) {
                Ok(run) => last = run,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let message = format!("run {last} of seed {seed} does not end\n");
                    let _ = std::io::stderr().write_all(message.as_bytes());
                    std::process::abort();
                }
            }
        }
    });
    let mut random = Random(seed);
    for run in 0..count {
        beat.send(run).expect("the watch lives as long as this");
        let input = random.input();
        let (before, since) = (MEMORY.current_usage(), cpu_time());
        MEMORY.reset_peak_usage();
        let outcome = std::panic::catch_unwind(|| f(&input));
        let (taken, spent) = (MEMORY.peak_usage() - before, cpu_time() - since);
        assert!(outcome.is_ok(), "run {run} of seed {seed} panicked: {input:02x?}");
        assert!(taken <= MEMORY_MAX, "run {run} of seed {seed} took {taken} bytes: {input:02x?}");
        assert!(spent <= CPU_MAX, "run {run} of seed {seed} took {spent:?}: {input:02x?}");
    }
    drop(beat);
    watch.join().expect("it ends with us");
}

/// One test and no more: memory is counted for the whole process.
#[test]
fn twenty_thousand_lies_are_errors_and_nothing_worse() {
    seal_all_changes_nothing();
    let times = if std::env::var_os("AUTOXEN_LONG").is_some() { 10 } else { 1 };
    many(1, 8_000 * times, drive::open_and_walk);
    many(2, 4_000 * times, drive::replay);
    many(3, 8_000 * times, drive::edit_then_check);
}
