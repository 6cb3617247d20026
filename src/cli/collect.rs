//! Arguments of `collect`.

use std::path::PathBuf;

use clap::Args;

/// Examples of `collect`.
const EXAMPLES: &str = "\
Examples:
  autoxen collect ready -o results
  autoxen collect ready -o results --json | jq '.jobs[] | {name, end}'
  autoxen collect ready -o results --console guest.log     the results disk is lost

Results are in results/NN-NAME/: stdout, stderr, job.json, and outputs/ with what the job staged out below its path in the \
guest; results/results.json has what --json prints. Nothing on the disk is trusted: no link of it is followed, no device is \
made, and nothing is written outside of the directory.

Exit status:
  0    all jobs exited with 0
  N    that of the first job that failed; 124 it took too long, 128 and the number of a signal
  125  there is no whole result: the guest never ran, still runs, or ended before its jobs did
  2    failed (or a job exited so: `--json` tells them apart)";

/// Arguments of `collect`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CollectArgs {
    /// The bundle that `prepare` made
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
    /// Where the results go; it must not exist yet
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Read exit statuses from this log of the guest's console, where the disk has none
    #[arg(long, value_name = "FILE")]
    pub console: Option<PathBuf>,
    /// Give files the owners that they have in the guest (as root)
    #[arg(long)]
    pub keep_owner: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}
