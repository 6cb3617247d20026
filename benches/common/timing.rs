//! How long each bench runs, where the command line says nothing else: `tests/run --long` runs them all.

use std::time::Duration;

use criterion::Criterion;

/// The settings of all benches.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(2500))
}
