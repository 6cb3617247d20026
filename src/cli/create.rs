//! Arguments of `create`, `wait`, `list`, `destroy` and `policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::domain::value::Name;

/// Examples of `create`.
const CREATE_EXAMPLES: &str = "\
Examples:
  sudo autoxen create ready                    start the guest of the bundle `ready`
  sudo autoxen create ready --dry-run          would it be started? prints the configuration, and each rule that it passed
  sudo autoxen create ready --name alice-fit   under another name
  sudo autoxen create ready --wait             and wait for its end; then bring its results back into the bundle
  autoxen create ready --as alice --dry-run    what alice would get (root alone)

The one step that wants root, made to be allowed to users by a line in /etc/sudoers:
  %xen ALL=(root) NOPASSWD: /usr/bin/autoxen create *, /usr/bin/autoxen wait *, \
/usr/bin/autoxen list, /usr/bin/autoxen list *, /usr/bin/autoxen destroy *

Nothing in the bundle is trusted. Its files are opened with the rights of whoever asks, copied to where only root writes, \
and compared with the manifest's digests there; the site's policy, /etc/autoxen/policy.toml, says what may start; the \
configuration is made anew from the manifest's data. Prints the domain's name.

Exit status: 0 done; 2 refused, or failed: the line says by which rule; 130 interrupted.";

/// Examples of `wait`.
const WAIT_EXAMPLES: &str = "\
Examples:
  sudo autoxen wait alice-fit && autoxen collect ready -o results
  sudo autoxen wait alice-fit --disks           every disk that the guest could write to, not its results alone
  sudo autoxen wait alice-fit --to elsewhere    the bundle is gone

Returns when the domain has gone. Its results disk is then in its bundle again, and the domain is forgotten; a domain \
without one brings every disk that its guest could write to.";

/// Examples of `list`.
const LIST_EXAMPLES: &str = "\
Examples:
  sudo autoxen list
  sudo autoxen list --json | jq '.[] | select(.state == \"ended\") | .name'

Shows the domains that you have created and not taken home yet; root sees everybody's. A domain is `starting`, `running` or \
`ended`.";

/// Examples of `destroy`.
const DESTROY_EXAMPLES: &str = "\
Examples:
  sudo autoxen destroy alice-fit               end it at once; `wait` brings home what it has written
  sudo autoxen destroy alice-fit --discard     and throw away what it has written";

/// Examples of `policy`.
const POLICY_EXAMPLES: &str = "\
Examples:
  autoxen policy default > /etc/autoxen/policy.toml    begin with what holds anyway, key by key, explained
  autoxen policy check                                 is the site's policy right, and can nobody else write to it?
  autoxen policy check policy.toml --json              what does this file say, with its defaults?

Exit status: 0 it is right; 2 it is not.";

/// Under which policy, and for whom.
#[derive(Debug, Args)]
pub struct SiteArgs {
    /// Another policy than the site's own (root alone)
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Act for this user (root alone)
    #[arg(long = "as", value_name = "USER")]
    pub user: Option<String>,
}

/// Arguments of `create`.
#[derive(Debug, Args)]
#[command(after_help = CREATE_EXAMPLES)]
pub struct CreateArgs {
    /// The directory that `prepare` made
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
    /// The domain's name, in place of the job description's
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub name: Option<Name>,
    /// Put the prefix that your domains must have in front of a name that lacks it
    #[arg(long)]
    pub prefix: bool,
    /// Print the configuration and each rule that holds; start nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Wait for the domain's end, and bring its results back into the bundle
    #[arg(long, conflicts_with = "dry_run")]
    pub wait: bool,
    /// The site
    #[command(flatten)]
    pub site: SiteArgs,
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// Arguments of `wait`.
#[derive(Debug, Args)]
#[command(after_help = WAIT_EXAMPLES)]
pub struct WaitArgs {
    /// The domain
    #[arg(value_name = "NAME", value_parser = name)]
    pub name: Name,
    /// Bring every disk that the guest could write to, not its results alone
    #[arg(long)]
    pub disks: bool,
    /// Bring them into this directory, not into the bundle
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// The site
    #[command(flatten)]
    pub site: SiteArgs,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// Arguments of `list`.
#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub struct ListArgs {
    /// The site
    #[command(flatten)]
    pub site: SiteArgs,
    /// Print them as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `destroy`.
#[derive(Debug, Args)]
#[command(after_help = DESTROY_EXAMPLES)]
pub struct DestroyArgs {
    /// The domain
    #[arg(value_name = "NAME", value_parser = name)]
    pub name: Name,
    /// Throw away what it has written
    #[arg(long)]
    pub discard: bool,
    /// The site
    #[command(flatten)]
    pub site: SiteArgs,
}

/// Arguments of `policy`.
#[derive(Debug, Args)]
#[command(after_help = POLICY_EXAMPLES)]
pub struct PolicyArgs {
    /// What to do with it
    #[command(subcommand)]
    pub command: PolicyCommand,
}

/// A verb of `policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Read a policy as `create` does, and say what is wrong
    Check {
        /// The policy; without one, the site's own, /etc/autoxen/policy.toml
        file: Option<PathBuf>,
        /// Print all that it says, defaults included, as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the default, with each key explained
    Default,
}

fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|e| e.to_string())
}
