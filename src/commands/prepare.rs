//! `autoxen prepare`: from a job description to a bundle that Xen can start.

use std::path::{Path, PathBuf};

use crate::apply::manifest::Manifest;
use crate::apply::{boot, disks, edits, in_place, manifest, provenance};
use crate::bundle::Staging;
use crate::cli::{JobArgs, PrepareArgs};
use crate::commands::job::{Intent, Job};
use crate::domain::bundle::MANIFEST;
use crate::epoch;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::report::{self, Talk};

/// Make the bundle, and tell of it.
pub fn run(args: &PrepareArgs, talk: Talk) -> Result<()> {
    let prepared = prepare(&args.job, &args.output, args.quiet, talk)?;
    prepared.tell(talk);
    let Prepared { manifest, bundle, .. } = &prepared;
    let told = if args.json {
        report::print_json(manifest)
    } else {
        report::print(&manifest.summary(bundle))
    };
    told.map_err(|failure| failure.hint(format!("the bundle is whole: `{}`", bundle.display())))
}

/// A bundle that is there.
#[derive(Debug)]
pub(super) struct Prepared {
    /// What was done.
    pub(super) plan: Plan,
    /// What the bundle says of itself.
    pub(super) manifest: Manifest,
    /// Where it is: absolute.
    pub(super) bundle: PathBuf,
    /// The longest that the guest may run, in seconds.
    pub(super) limit: Option<u32>,
}

impl Prepared {
    /// Tell what the user ought to know.
    pub(super) fn tell(&self, talk: Talk) {
        self.plan.notes.iter().for_each(|note| talk.note(note));
    }
}

/// Make a bundle.
pub(super) fn prepare(args: &JobArgs, output: &Path, quiet: bool, talk: Talk) -> Result<Prepared> {
    let now = epoch::now()?;
    let job = Job::load(args, talk)?;
    let progress = Progress::new(quiet);
    let staging = Staging::beside(output)?;
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
    let origins = provenance::origins(&gathered, !args.no_digests, progress)?;
    let made = disks::make(&plan, &edits, &mut gathered, &staging, now, progress)?;
    scratch.close().map_err(|e| Failure::host("cannot write to", staging.target(), &e))?;
    staging.write("domain.cfg", domain.to_string().as_bytes())?;
    let manifest = manifest::of(&args.file, &job.bytes, &plan, &made, &origins);
    let manifest = match args.no_digests {
        true => manifest,
        false => manifest.with_files(provenance::files(&staging, progress)?),
    };
    staging.write(MANIFEST, &manifest.to_bytes())?;
    interrupt::check()?;
    let edited = in_place::commit(&plan, &edits, &mut gathered)?;
    let bundle = staging.publish().map_err(|failure| failure.after_edits(&edited))?;
    for warning in edits.iter().flat_map(edits::DiskEdits::warnings) {
        talk.warning(&warning);
    }
    let limit = job.document.general.limit.as_ref().map(|limit| limit.value);
    Ok(Prepared { plan: plan.clone(), manifest, bundle, limit })
}
