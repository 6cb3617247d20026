//! What the runner is told: `run.conf` for the guest, `NN-NAME.conf` for a job. Each line is a word and a value, which the
//! runner reads as data and never runs.
//!
//! ```text
//! /etc/autoxen/run.conf          /etc/autoxen/jobs/10-fit.conf
//! id 3f0c92d1e5a8b774            user alice
//! results AUTOXEN_RES            timeout 3600
//! device xvdb                    onfailure stop
//! whendone poweroff              output /home/alice/out/*.root
//! limit 86400                    output /home/alice/log
//! ```

use super::script::WRAPPED;
use crate::xmf::model::{Job, OnFailure, WhenDone};

/// Settings of the guest.
pub const RUN: &str = "/etc/autoxen/run.conf";

/// The label of the disk that results are written to.
pub const RESULTS_LABEL: &str = "AUTOXEN_RES";

/// Where the runner mounts that disk.
pub const RESULTS: &str = "/var/lib/autoxen/results";

/// The label of a disk with inputs.
pub const INPUTS_LABEL: &str = "AUTOXEN_IN";

/// Where that disk is mounted.
pub const INPUTS: &str = "/var/lib/autoxen/input";

/// What holds for all jobs of a guest.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// What tells this preparation from others, in hexadecimal: jobs of another one did not run yet.
    pub id: &'a str,
    /// The results disk as the guest names it, without `/dev/`.
    pub results: Option<&'a str>,
    /// What becomes of the guest at the end.
    pub when_done: WhenDone,
    /// The longest that it may run, in seconds.
    pub limit: Option<u32>,
}

/// The text of [`RUN`].
pub fn of_run(run: Run<'_>) -> String {
    let mut text = format!("id {}\n", run.id);
    if let Some(device) = run.results {
        text.push_str(&format!("results {RESULTS_LABEL}\ndevice {device}\n"));
    }
    let when_done = match run.when_done {
        WhenDone::Poweroff => "poweroff",
        WhenDone::Reboot => "reboot",
        WhenDone::Keep => "keep",
    };
    text.push_str(&format!("whendone {when_done}\n"));
    if let Some(limit) = run.limit {
        text.push_str(&format!("limit {limit}\n"));
    }
    text
}

/// Path and text of the settings of a job whose script is `file`; `None` where all is as without.
///
/// # Errors
/// A value that no line can hold.
pub fn of_job(file: &str, job: &Job) -> Result<Option<(String, String)>, String> {
    let mut text = String::new();
    let mut line = |word: &str, value: &str| {
        if value.contains(|c: char| c.is_control()) || value.trim_end() != value {
            return Err(format!("`{word}` cannot be `{}`", value.escape_debug()));
        }
        text.push_str(&format!("{word} {value}\n"));
        Ok(())
    };
    if let Some(user) = &job.user {
        line("user", user)?;
    }
    if let Some(timeout) = &job.timeout {
        line("timeout", &timeout.value.to_string())?;
    }
    if job.on_failure == OnFailure::Stop {
        line("onfailure", "stop")?;
    }
    if job.again {
        line("again", "yes")?;
    }
    job.outputs.iter().try_for_each(|output| line("output", output))?;
    Ok((!text.is_empty()).then(|| (format!("{WRAPPED}/{file}.conf"), text)))
}
