//! Arguments of `run`.

use std::path::PathBuf;

use clap::Args;

use super::JobArgs;

/// Examples of `run`.
const EXAMPLES: &str = "\
Examples:
  autoxen run job.xml -o results                              prepare; sudo autoxen create, and wait; collect
  autoxen run job.xml -o results --launcher 'launch-domain'   start it some other way
  autoxen run job.xml -o results --bundle ready               keep the bundle
  autoxen run job.xml -o results --json | jq .exit

The one step that wants root is `autoxen create`, started by `sudo -n`, or at once where you are root: the site's policy says \
what may start (see `autoxen create --help`). A launcher is a shell command that gets the bundle's directory as its last \
argument, starts the domain that `domain.cfg` there describes, and returns when the domain has gone. When the document has a \
`limit`, a domain that lives two minutes longer is destroyed, and a launcher is sent SIGTERM. So it is when you interrupt.

Exit status: that of `collect` (see `autoxen collect --help`); 125 where the launcher failed and no job has run.";

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    /// The job
    #[command(flatten)]
    pub job: JobArgs,
    /// Where the results go; it must not exist yet
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Keep the bundle here; it must not exist yet (without this, it is removed once the results are home)
    #[arg(long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// The command that starts the domain and waits for its end
    #[arg(long, value_name = "CMD")]
    pub launcher: Option<String>,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}
