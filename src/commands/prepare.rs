//! `autoxen prepare`: from a job description to a bundle that Xen can start.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::apply::{boot, disks, edits, in_place, manifest};
use crate::bundle::Staging;
use crate::cli::PrepareArgs;
use crate::commands::job::{Intent, Job};
use crate::epoch;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::progress::Progress;
use crate::report::{self, Talk};

/// Make the bundle.
pub fn run(args: &PrepareArgs, talk: Talk) -> Result<()> {
    let now = epoch::now()?;
    let job = Job::load(&args.job, talk)?;
    let progress = Progress::new(args.quiet);
    let staging = Staging::beside(&args.output)?;
    // Inside the bundle in the making, so that an unpacked image is renamed and not copied.
    let scratch = tempfile::tempdir_in(staging.path())
        .map_err(|e| Failure::host("cannot write to", staging.target(), &e))?;
    let mut gathered = job.gather(scratch.path(), progress, Intent::Prepare)?;
    gathered.warnings.iter().for_each(|what| talk.warning(what));
    let plan = job.plan(&gathered.facts)?;
    // Before anything is copied: a path that xl cannot be told is refused now.
    let domain = plan.domain.in_directory(staging.target()).map_err(|e| {
        Failure::new(format!("xl cannot be told this bundle's path: {e}"))
            .hint("choose another name with `-o`")
    })?;
    let edits = edits::make(&plan, &gathered, now)?;
    boot::take(&plan, &edits, &gathered, &staging)?;
    let digests: BTreeMap<PathBuf, String> = gathered
        .stock
        .iter()
        .filter_map(|(path, stock)| Some((path.clone(), stock.sha256.clone()?)))
        .collect();
    let made = disks::make(&plan, &edits, &mut gathered, &staging, now, progress)?;
    scratch.close().map_err(|e| Failure::host("cannot write to", staging.target(), &e))?;
    staging.write("domain.cfg", domain.to_string().as_bytes())?;
    let manifest = manifest::of(&args.job.file, &job.bytes, &plan, &made, &digests);
    staging.write("manifest.json", &manifest.to_bytes())?;
    interrupt::check()?;
    let edited = in_place::commit(&plan, &edits, &mut gathered)?;
    let bundle = staging.publish().map_err(|failure| failure.after_edits(&edited))?;
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
