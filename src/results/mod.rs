//! What the jobs of a guest have left: read from the results disk of a bundle, without a mount.
//!
//! ```text
//! /run.json               {"format":1,"id":"3f0c…","start":S,"end":S|null,"finished":true,"reason":null|"limit"|…}
//! /10-fit/job.json        {"format":1,"name":"10-fit",…,"exit":N|null,"signal":N|null,"timed_out":false,"finished":true,…}
//! /10-fit/stdout, stderr
//! /10-fit/outputs/…       what the job stages out, below its path in the guest
//! ```
//!
//! A stranger's program wrote the disk: nothing on it is trusted. [`record`] reads the small files up to a length, [`take`]
//! copies the rest into a directory of the host and never out of it, [`console`] knows what a console shows of the same.

pub mod bundle;
pub mod console;
pub mod record;
pub mod shown;
pub mod take;

use serde::Serialize;

use self::take::Taken;

/// The exit status of `collect` where there is no whole result.
pub const NO_RESULT: u8 = 125;

/// How things stand with a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its runner has written nothing.
    NeverRan,
    /// Its disk is attached somewhere on this host.
    Running,
    /// It was ended, or has ended, before its jobs had.
    Unfinished,
    /// The runner has come to its end.
    Finished,
}

/// Everything that `collect` knows in the end.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The domain.
    pub domain: String,
    /// What tells this preparation from others.
    pub id: String,
    /// How things stand.
    pub state: State,
    /// Why the runner has ended early: `limit`, `failed job`, `disk full`.
    pub reason: Option<String>,
    /// When the runner began, in Unix seconds of the guest's clock.
    pub start: Option<i64>,
    /// When it ended.
    pub end: Option<i64>,
    /// What the exit status of `collect` is.
    pub exit: u8,
    /// The jobs in their order; those that the image brought follow.
    pub jobs: Vec<Job>,
    /// What is odd, in words.
    pub warnings: Vec<String>,
}

/// A job's outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Job {
    /// Its name: `10-fit`.
    pub name: String,
    /// What became of it.
    pub end: End,
    /// When it began, in Unix seconds of the guest's clock.
    pub started: Option<i64>,
    /// How long it took, in seconds.
    pub seconds: Option<i64>,
    /// Who ran it.
    pub user: Option<String>,
    /// Some of what it wrote did not fit on the disk.
    pub full: bool,
    /// Outputs that nothing matched.
    pub missing: Vec<String>,
    /// What was copied.
    pub taken: Taken,
}

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "status")]
pub enum End {
    /// It never began.
    NotRun,
    /// It began, and nobody saw its end.
    Unfinished,
    /// It was ended for the time that it took.
    TimedOut,
    /// A signal has ended it.
    Signal(u8),
    /// It exited so.
    Exit(u8),
}

impl End {
    /// The status that a shell would show of it; `None` where it has none.
    pub fn status(self) -> Option<u8> {
        match self {
            Self::NotRun | Self::Unfinished => None,
            Self::TimedOut => Some(124),
            Self::Signal(signal) => Some(signal.saturating_add(128)),
            Self::Exit(status) => Some(status),
        }
    }
}

/// The exit status for what became of `jobs`: that of the first one that failed.
pub fn exit_status(state: State, jobs: &[Job]) -> u8 {
    if state != State::Finished {
        return NO_RESULT;
    }
    let failed = jobs.iter().filter_map(|job| job.end.status()).find(|status| *status != 0);
    let is_whole = jobs.iter().all(|job| job.end.status().is_some());
    failed.unwrap_or(if is_whole { 0 } else { NO_RESULT })
}
