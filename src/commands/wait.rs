//! `autoxen wait`: until a domain has gone, and its results are home.

use std::path::Path;
use std::time::Duration;

use crate::cli::WaitArgs;
use crate::commands::create::site;
use crate::create::state::State;
use crate::create::{self, Site};
use crate::domain::value::Name;
use crate::failure::Result;
use crate::interrupt;
use crate::progress::Progress;
use crate::report::{self, Talk};
use crate::visible::visible;

/// How often it is looked whether the domain has gone. Each look starts xl once.
const INTERVAL: Duration = Duration::from_millis(500);

/// Wait for the domain's end.
pub fn run(args: &WaitArgs, talk: Talk) -> Result<()> {
    let to = args.to.as_deref().map(create::absolute).transpose()?;
    let site = site(&args.site)?;
    let progress = Progress::new(args.quiet);
    until_home(&site, &args.name, args.disks, to.as_deref(), progress, talk)
}

/// Wait for the end of the domain `name`, and bring home what it has written.
pub(super) fn until_home(
    site: &Site,
    name: &Name,
    all: bool,
    to: Option<&Path>,
    progress: Progress,
    talk: Talk,
) -> Result<()> {
    while site.state(name)? != State::Ended {
        interrupt::check()?;
        std::thread::sleep(INTERVAL);
    }
    let brought = site.take_home(name, all, to, progress)?;
    if brought.is_empty() {
        talk.note(&format!("`{name}` has gone; its guest could write to no disk"));
    }
    let lines = brought.iter().map(|path| format!("{}\n", visible(&path.to_string_lossy())));
    report::print(&lines.collect::<String>())
}
