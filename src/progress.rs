//! How far long work has come: for people on a terminal, for programs as lines of JSON on standard error.
//!
//! ```json
//! {"what":"unpack","done":41943040,"total":268435456,"bytes_per_second":83886080,"seconds_left":3}
//! ```
//!
//! `done` and `total` are bytes, or bundles where `what` is `bundles`; `total`, `bytes_per_second` and `seconds_left` are
//! `null` while they are not known. There is a line when the work begins, one about every quarter of a second, and one where `done` reaches `total`. What fails
//! ends without that one; why is told by the `error:` line of every command.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::cli::ProgressFormat;
use crate::interrupt;
use crate::report;

/// How often a program is told.
const INTERVAL: Duration = Duration::from_millis(250);

/// There is one standard error, so that all work of a process is shown in one way.
static FORMAT: OnceLock<ProgressFormat> = OnceLock::new();

/// Show the progress of all work in this way. The first call counts.
pub fn install(format: ProgressFormat) {
    let _ = FORMAT.set(format);
}

/// Rate and time left.
const KNOWN_LEN: &str = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
/// Things, not bytes.
const COUNTED: &str = "{msg} {wide_bar} {pos}/{len} {per_sec} {eta}";
/// From a pipe: nobody knows how much is to come.
const UNKNOWN_LEN: &str = "{msg} {spinner} {bytes} {bytes_per_sec}";

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a literal")
}

/// Shows progress, or does not.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    way: Way,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Hidden,
    Terminal,
    Json,
}

impl Progress {
    /// Show progress as the command line wants it; without a word of it, on a terminal alone. `quiet` hides it.
    pub fn new(quiet: bool) -> Self {
        let format = FORMAT.get().copied().unwrap_or_default();
        Self {
            way: match format {
                _ if quiet => Way::Hidden,
                ProgressFormat::Json => Way::Json,
                ProgressFormat::Auto if std::io::stderr().is_terminal() => Way::Terminal,
                ProgressFormat::Auto => Way::Hidden,
            },
        }
    }

    /// A bar for bytes of work on `what`. It vanishes when it is dropped.
    pub fn bar(self, what: &str) -> Bar {
        self.of(what, Unit::Bytes)
    }

    /// The same for things that are counted.
    pub fn count(self, what: &str) -> Bar {
        self.of(what, Unit::Things)
    }

    fn of(self, what: &str, unit: Unit) -> Bar {
        let shown = match self.way {
            Way::Hidden => Shown::Nowhere,
            Way::Terminal => Shown::Terminal(terminal_bar(what, unit)),
            Way::Json => Shown::Json(Lines::new(what, unit)),
        };
        Bar { shown, unit }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Bytes,
    Things,
}

fn terminal_bar(what: &str, unit: Unit) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let template = if unit == Unit::Bytes { UNKNOWN_LEN } else { COUNTED };
    bar.set_style(style(template));
    bar.set_message(what.to_owned());
    bar
}

/// One bar.
#[derive(Debug)]
pub struct Bar {
    shown: Shown,
    unit: Unit,
}

#[derive(Debug)]
enum Shown {
    Nowhere,
    Terminal(ProgressBar),
    Json(Lines),
}

impl Bar {
    /// `done` of `total` (0: not known).
    pub fn set(&self, done: u64, total: u64) {
        match &self.shown {
            Shown::Nowhere => {}
            Shown::Terminal(bar) => {
                if total > 0 && bar.length() != Some(total) {
                    if self.unit == Unit::Bytes {
                        bar.set_style(style(KNOWN_LEN));
                    }
                    bar.set_length(total);
                }
                bar.set_position(done);
            }
            Shown::Json(lines) => lines.set(done, total),
        }
    }

    /// The same, and whether the work is to go on: not where we were asked to stop.
    pub fn step(&self, done: u64, total: u64) -> ControlFlow<()> {
        self.set(done, total);
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Shown::Terminal(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

/// Lines for programs.
#[derive(Debug)]
struct Lines {
    what: String,
    unit: Unit,
    begun: Instant,
    /// What was told last, and when: a [`Bar`] is shared by the steps of its work, which may be threads.
    told: Mutex<Option<(u64, Duration)>>,
}

impl Lines {
    fn new(what: &str, unit: Unit) -> Self {
        Self { what: what.to_owned(), unit, begun: Instant::now(), told: Mutex::new(None) }
    }

    fn set(&self, done: u64, total: u64) {
        let elapsed = self.begun.elapsed();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if is_due(*told, done, total, elapsed) {
            *told = Some((done, elapsed));
            report::tell(&line(&self.what, self.unit, done, total, elapsed));
        }
    }
}

/// Whether it is time for another line, after the one that `told` stands for.
fn is_due(told: Option<(u64, Duration)>, done: u64, total: u64, elapsed: Duration) -> bool {
    match told {
        None => true,
        Some((last, _)) if done == last => false,
        Some((_, at)) => done == total || elapsed.saturating_sub(at) >= INTERVAL,
    }
}

/// One line, its newline left out.
fn line(what: &str, unit: Unit, done: u64, total: u64, elapsed: Duration) -> String {
    let total = (total > 0).then_some(total);
    let millis = elapsed.as_millis();
    let whole = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
    let rate = (u128::from(done) * 1000).checked_div(millis).filter(|rate| *rate > 0);
    let left = total.map(|total| u128::from(total.saturating_sub(done)));
    let seconds_left = match (left, rate) {
        (Some(0), _) => Some(0),
        (Some(left), Some(rate)) => Some(left.div_ceil(rate)),
        _ => None,
    };
    let line = Line {
        what,
        done,
        total,
        bytes_per_second: rate.filter(|_| unit == Unit::Bytes).map(whole),
        seconds_left: seconds_left.map(whole),
    };
    serde_json::to_string(&line).expect("a string and numbers always serialise")
}

#[derive(Serialize)]
struct Line<'a> {
    what: &'a str,
    done: u64,
    total: Option<u64>,
    bytes_per_second: Option<u64>,
    seconds_left: Option<u64>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Unit, is_due, line};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_line_tells_rate_and_time_left_once_they_are_known() {
        let rest = |done, total, elapsed| {
            let found: serde_json::Value =
                serde_json::from_str(&line("x", Unit::Bytes, done, total, elapsed)).unwrap();
            assert_eq!((&found["what"], &found["done"]), (&"x".into(), &done.into()));
            ["total", "bytes_per_second", "seconds_left"].map(|key| found[key].as_u64())
        };
        assert_eq!(rest(0, 100, Duration::ZERO), [Some(100), None, None]);
        assert_eq!(rest(0, 100, SECOND), [Some(100), None, None]);
        // 80 bytes left at 10 a second; 81 take a ninth second.
        assert_eq!(rest(20, 100, 2 * SECOND), [Some(100), Some(10), Some(8)]);
        assert_eq!(rest(20, 101, 2 * SECOND), [Some(101), Some(10), Some(9)]);
        assert_eq!(rest(100, 100, 4 * SECOND), [Some(100), Some(25), Some(0)]);
        assert_eq!(rest(50, 0, SECOND), [None, Some(50), None]);
        assert_eq!(rest(u64::MAX, 1, Duration::from_millis(1)), [Some(1), Some(u64::MAX), Some(0)]);
    }

    #[test]
    fn lines_come_first_and_last_and_four_times_a_second() {
        let ms = Duration::from_millis;
        assert!(is_due(None, 0, 100, ms(0)));
        assert!(!is_due(Some((0, ms(0))), 10, 100, ms(249)));
        assert!(is_due(Some((0, ms(0))), 10, 100, ms(250)));
        assert!(is_due(Some((0, ms(0))), 100, 100, ms(1)));
        assert!(!is_due(Some((100, ms(1))), 100, 100, ms(900)), "the last line comes once");
    }
}
