//! `autoxen policy`: look at a site's policy.

use std::path::Path;

use crate::cli::{PolicyArgs, PolicyCommand};
use crate::create;
use crate::failure::{Failure, Result};
use crate::policy;
use crate::report::{self, Talk};

/// Do what is asked.
pub fn run(args: &PolicyArgs, talk: Talk) -> Result<()> {
    match &args.command {
        PolicyCommand::Default => report::print(policy::DEFAULT),
        PolicyCommand::Check { file, json } => check(file.as_deref(), *json, talk),
    }
}

fn check(file: Option<&Path>, json: bool, talk: Talk) -> Result<()> {
    let path = create::absolute(file.unwrap_or(Path::new(policy::PATH)))?;
    let shown = path.display();
    let read = create::read_policy(&path)?;
    let policy = read.ok_or_else(|| {
        Failure::new(format!("there is no policy `{shown}`"))
            .hint("`autoxen policy default` prints one to begin with")
    })?;
    let missing = create::missing(&policy)?;
    missing.iter().for_each(|what| talk.warning(what));
    if policy.allow.is_empty() {
        talk.warning("nobody but root may create domains: `users.allow` is empty");
    }
    if json {
        return report::print_json(&policy);
    }
    report::print(&format!("{shown}: right; root alone can have written it\n"))
}
