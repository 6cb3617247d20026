//! `autoxen prepare`: from a job description to a bundle that Xen can start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::apply::{boot, disks, manifest};
use crate::bundle::Staging;
use crate::cli::PrepareArgs;
use crate::commands::job::Job;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::progress::Progress;
use crate::report::{self, Talk};

/// Make the bundle.
pub fn run(args: &PrepareArgs, talk: Talk) -> Result<()> {
    let now = now()?;
    let job = Job::load(&args.job, talk)?;
    let progress = Progress::new(args.quiet);
    let staging = Staging::beside(&args.output)?;
    // Inside the bundle in the making, so that an unpacked image is renamed and not copied.
    let scratch = tempfile::tempdir_in(staging.path())
        .map_err(|e| Failure::host("cannot write to", staging.target(), &e))?;
    let gathered = job.gather(scratch.path(), progress)?;
    gathered.warnings.iter().for_each(|what| talk.warning(what));
    let plan = job.plan(&gathered.facts)?;
    // Before anything is copied: a path that xl cannot be told is refused now.
    let domain = plan.domain.in_directory(staging.target()).map_err(|e| {
        Failure::new(format!("xl cannot be told this bundle's path: {e}"))
            .hint("choose another name with `-o`")
    })?;
    boot::take(&plan, &gathered, &staging)?;
    let digests: BTreeMap<PathBuf, String> = gathered
        .stock
        .iter()
        .filter_map(|(path, stock)| Some((path.clone(), stock.sha256.clone()?)))
        .collect();
    let made = disks::make(&plan, gathered, &staging, now, progress)?;
    scratch.close().map_err(|e| Failure::host("cannot write to", staging.target(), &e))?;
    staging.write("domain.cfg", domain.to_string().as_bytes())?;
    let manifest = manifest::of(&args.job.file, &job.bytes, &plan, &made, &digests);
    staging.write("manifest.json", &manifest.to_bytes())?;
    interrupt::check()?;
    let bundle = staging.publish()?;
    for note in &plan.notes {
        talk.note(note);
    }
    let told = if args.json {
        report::print_json(&manifest)
    } else {
        report::print(&manifest.summary(&bundle))
    };
    told.map_err(|failure| failure.hint(format!("the bundle is whole: `{}`", bundle.display())))
}

/// The last second that ext4 can hold, in the year 2446.
const EPOCH_MAX: i64 = (3 << 32) + 0x7fff_ffff;

/// The time of every edit, in seconds since 1970: `SOURCE_DATE_EPOCH`, or the clock.
fn now() -> Result<i64> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => match text.parse() {
            Ok(seconds @ 0..=EPOCH_MAX) => Ok(seconds),
            _ => Err(Failure::new(format!("SOURCE_DATE_EPOCH is no time that serves: `{text}`"))
                .hint(format!("a number of seconds since 1970, from 0 to {EPOCH_MAX}"))),
        },
        Err(std::env::VarError::NotPresent) => {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            Ok(since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)))
        }
        Err(error) => Err(Failure::new(format!("SOURCE_DATE_EPOCH: {error}"))),
    }
}
