//! How far long work has come, shown on a terminal and nowhere else.

use std::cell::Cell;
use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Rate and time left.
const KNOWN_LEN: &str = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
/// From a pipe: nobody knows how much is to come.
const UNKNOWN_LEN: &str = "{msg} {spinner} {bytes} {bytes_per_sec}";

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a literal")
}

/// Shows progress, or does not.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    shown: bool,
}

impl Progress {
    /// Show progress on standard error where that is a terminal, unless `quiet`.
    pub fn new(quiet: bool) -> Self {
        Self { shown: !quiet && std::io::stderr().is_terminal() }
    }

    /// A bar for work on `what`. It vanishes when it is dropped.
    pub fn bar(self, what: &str) -> Bar {
        let target =
            if self.shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        bar.set_style(style(UNKNOWN_LEN));
        bar.set_message(what.to_owned());
        Bar { bar, has_len: Cell::new(false) }
    }
}

/// One bar.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    /// Whether the style is that of a known length.
    has_len: Cell<bool>,
}

impl Bar {
    /// `done` bytes of `total` (0: not known).
    pub fn set(&self, done: u64, total: u64) {
        if total > 0 {
            if !self.has_len.replace(true) {
                self.bar.set_style(style(KNOWN_LEN));
            }
            self.bar.set_length(total);
        }
        self.bar.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
