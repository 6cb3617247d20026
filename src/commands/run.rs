//! `autoxen run`: prepare, start, wait, collect.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::cli::{CollectArgs, RunArgs};
use crate::commands::job::Job;
use crate::commands::{collect, prepare};
use crate::domain::launch::{Ended, GRACE, Launcher, launch};
use crate::facts::known::Known;
use crate::failure::{Failure, Result, plain};
use crate::newfile::there;
use crate::progress::Progress;
use crate::report::{self, Talk};
use crate::results::shown;

/// Run the job.
pub fn run(args: &RunArgs, talk: Talk) -> Result<ExitCode> {
    // Known before an hour's work is done for nothing.
    if std::fs::symlink_metadata(&args.output).is_ok() {
        return Err(there(&args.output));
    }
    if args.job.options.overlay && args.launcher.is_none() {
        let what = "`autoxen create`, which is to start the guest, refuses overlays";
        return Err(Failure::new(what).hint("leave out --overlay, or start it by a `--launcher`"));
    }
    let launcher = match &args.launcher {
        Some(command) => Launcher::Command(command),
        None => Launcher::Create {
            program: std::env::current_exe()
                .map_err(|e| Failure::new(format!("where is this program? {}", plain(&e))))?,
            by_sudo: !rustix::process::geteuid().is_root(),
        },
    };
    let scratch = match &args.bundle {
        Some(_) => None,
        None => Some(scratch(args)?),
    };
    let place = match (&args.bundle, &scratch) {
        (Some(bundle), _) => bundle.clone(),
        (None, Some(scratch)) => scratch.path().join("bundle"),
        (None, None) => unreachable!("one of them is there"),
    };
    let job = Job::load(&args.job.file, &args.job.options, talk)?;
    let progress = Progress::new(args.quiet);
    let prepared = prepare::prepare(&job, &args.job.options, &place, &Known::of_user(), progress)?;
    prepared.tell(talk);
    if prepared.plan.results.is_none() {
        talk.warning(
            "no results will come home: the job description has no `<results size=\"64M\"/>`",
        );
    }
    let limit = prepared.limit.map(|seconds| Duration::from_secs(seconds.into()) + GRACE);
    let ended = launch(&launcher, &prepared.bundle, limit)?;
    match &ended {
        Ended::Gone => {}
        Ended::Failed(how) => talk.warning(&format!("the launcher failed: {how}")),
        Ended::Late => talk.warning("the guest lived longer than its limit, and was ended"),
        Ended::Interrupted => talk.warning("the guest was ended, for you asked us to stop"),
    }
    if prepared.plan.results.is_none() {
        let code = if ended == Ended::Gone { 0 } else { crate::results::NO_RESULT };
        return Ok(ExitCode::from(code));
    }
    let collect = CollectArgs {
        bundle: prepared.bundle.clone(),
        output: args.output.clone(),
        console: None,
        keep_owner: false,
        json: args.json,
    };
    if ended == Ended::Interrupted {
        let kept = keep(scratch, &prepared.bundle);
        talk.warning(&format!("`autoxen collect {}` takes what there is", kept.display()));
        return Err(Failure::Interrupted { edited: Vec::new() });
    }
    let outcome = match collect::collect(&collect) {
        Ok(outcome) => outcome,
        Err(failure) => {
            // The only copy of the results is in the bundle.
            let kept = keep(scratch, &prepared.bundle);
            return Err(failure.hint(format!("the bundle is kept: `{}`", kept.display())));
        }
    };
    collect::warn(&outcome, talk);
    match args.json {
        true => report::print_json(&outcome)?,
        false => report::print(&shown::text(&outcome))?,
    }
    Ok(ExitCode::from(outcome.exit))
}

/// Keep a bundle that would be removed.
fn keep(scratch: Option<tempfile::TempDir>, bundle: &Path) -> PathBuf {
    if let Some(scratch) = scratch {
        let _ = scratch.keep();
    }
    bundle.to_owned()
}

/// A directory for the bundle, beside the results: there is the room for both.
fn scratch(args: &RunArgs) -> Result<tempfile::TempDir> {
    let beside = crate::newfile::directory_of(&args.output);
    tempfile::Builder::new()
        .prefix(".autoxen-run.")
        .tempdir_in(beside)
        .map_err(|e| Failure::host("cannot write to", beside, &e))
}
