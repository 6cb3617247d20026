//! An outcome for people.
//!
//! ```text
//! night-fit: finished in 1m 12s, exit status 7
//!   job     end        took    stdout   stderr  outputs
//!   10-fit  exit 7      3s     12 B      0 B       2
//!   11-sum  timed out   1m 5s  0 B       0 B       0
//! ```

use super::{End, Job, NO_RESULT, Outcome, State};
use crate::visible::visible;

/// The outcome as text, each line with its newline.
pub fn text(outcome: &Outcome) -> String {
    let mut text = format!("{}: {}\n", visible(&outcome.domain), stands(outcome));
    let mut rows = vec![["job", "end", "took", "stdout", "stderr", "outputs"].map(str::to_owned)];
    rows.extend(outcome.jobs.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..6).map(|column| width(column).unwrap_or(0)).collect();
    for row in &rows {
        let mut line = String::from(" ");
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!(" {cell:<width$} "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// How things stand, in a line.
fn stands(outcome: &Outcome) -> String {
    let took = match (outcome.start, outcome.end) {
        (Some(start), Some(end)) => format!(" in {}", duration(end.saturating_sub(start))),
        _ => String::new(),
    };
    match outcome.state {
        State::NeverRan => {
            "its jobs never ran: the guest was not started, or did not come up".into()
        }
        State::Running => "it still runs, or somebody else uses its results disk".into(),
        State::Unfinished => {
            "it ended before its jobs did: destroyed, crashed, or still running elsewhere".into()
        }
        State::Finished => {
            let reason = match outcome.reason.as_deref() {
                Some("limit") => ": its limit of time was reached".to_owned(),
                Some("failed job") => ": a job failed, and those behind it did not run".to_owned(),
                Some("disk full") => ": the results disk is full, results are cut".to_owned(),
                Some(other) => format!(": {}", visible(other)),
                None => String::new(),
            };
            match outcome.exit {
                NO_RESULT => format!("finished{took}{reason}"),
                status => format!("finished{took}, exit status {status}{reason}"),
            }
        }
    }
}

fn row(job: &Job) -> [String; 6] {
    let end = match job.end {
        End::NotRun => "did not run".to_owned(),
        End::Unfinished => "unfinished".to_owned(),
        End::TimedOut => "timed out".to_owned(),
        End::Signal(signal) => format!("signal {signal}"),
        End::Exit(status) => format!("exit {status}"),
    };
    let bytes = |len: Option<u64>| {
        len.map_or("-".to_owned(), |len| indicatif::BinaryBytes(len).to_string())
    };
    let missing = match job.missing.len() {
        0 => String::new(),
        count => format!(" ({count} missing)"),
    };
    let full = if job.full { " (disk full)" } else { "" };
    [
        visible(&job.name).into_owned(),
        end,
        job.seconds.map_or("-".to_owned(), duration),
        bytes(job.taken.stdout),
        bytes(job.taken.stderr),
        format!("{}{missing}{full}", job.taken.outputs.len()),
    ]
}

/// `1h 2m`, `3m 4s`, `5s`.
fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}
