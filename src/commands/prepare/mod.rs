//! `autoxen prepare`: from a job description to a bundle that Xen can start, or from many to as many.

mod many;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::apply::disks::Made;
use crate::apply::edits::DiskEdits;
use crate::apply::manifest::Manifest;
use crate::apply::{boot, disks, edits, in_place, manifest, provenance};
use crate::bundle::Staging;
use crate::cli::{JobOptions, PrepareArgs};
use crate::commands::job::{Intent, Job};
use crate::digest::tree::Digest;
use crate::domain::bundle::MANIFEST;
use crate::epoch;
use crate::facts::gather::Gathered;
use crate::facts::known::Known;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::report::{self, Talk};

/// Make the bundle, or all of them, and tell of it.
pub fn run(args: &PrepareArgs, talk: Talk) -> Result<()> {
    match (&args.output, args.files.as_slice()) {
        (Some(output), [file]) => one(args, file, output, talk),
        (Some(_), _) => {
            let what = "`-o` names one bundle, and there are several job descriptions";
            Err(Failure::new(what).hint("`--into DIR` makes a bundle of each in DIR"))
        }
        (None, _) => many::run(args, talk),
    }
}

fn one(args: &PrepareArgs, file: &Path, output: &Path, talk: Talk) -> Result<()> {
    let progress = Progress::new(args.quiet);
    let job = Job::load(file, &args.options, talk)?;
    let prepared = prepare(&job, &args.options, output, &Known::of_user(), progress)?;
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
    /// What was odd about the images and what was put into them.
    warnings: Vec<String>,
}

impl Prepared {
    /// Tell what the user ought to know.
    pub(super) fn tell(&self, talk: Talk) {
        self.warnings.iter().for_each(|warning| talk.warning(warning));
        self.plan.notes.iter().for_each(|note| talk.note(note));
    }
}

/// A bundle that has all its files, and not its name.
#[derive(Debug)]
struct Staged {
    staging: Staging,
    prepared: Prepared,
}

/// Make a bundle of `job`. `known` is what this process knows of images from bundles that it made before.
pub(super) fn prepare(
    job: &Job,
    options: &JobOptions,
    output: &Path,
    known: &Known,
    progress: Progress,
) -> Result<Prepared> {
    let mut edited = Vec::new();
    let Staged { staging, mut prepared } =
        stage(job, options, output, known, progress, &mut |plan, edits, gathered, staging| {
            staging.sync()?;
            interrupt::check()?;
            edited = in_place::commit(plan, edits, gathered)?;
            Ok(())
        })?;
    prepared.bundle = staging.publish().map_err(|failure| failure.after_edits(&edited))?;
    Ok(prepared)
}

/// Make all files of the bundle of `job`, and do `last` while the images are open.
fn stage(
    job: &Job,
    options: &JobOptions,
    output: &Path,
    known: &Known,
    progress: Progress,
    last: &mut Last<'_>,
) -> Result<Staged> {
    let now = epoch::now()?;
    let staging = Staging::beside(output)?;
    // Inside the bundle in the making, so that an unpacked image is renamed and not copied.
    let scratch = tempfile::tempdir_in(staging.path())
        .map_err(|e| Failure::host("cannot write to", staging.target(), &e))?;
    let mut gathered = job.gather(scratch.path(), known, progress, Intent::Prepare)?;
    let mut warnings = std::mem::take(&mut gathered.warnings);
    let plan = job.plan(&gathered.facts)?;
    // Before anything is copied: a path that xl cannot be told is refused now.
    let domain = plan.domain.in_directory(staging.target()).map_err(|e| {
        Failure::new(format!("xl cannot be told this bundle's path: {e}"))
            .hint("choose another name with `-o`")
    })?;
    let edits = edits::make(&plan, &gathered, now)?;
    boot::take(&plan, &edits, &gathered, &staging)?;
    let digests = !options.no_digests;
    let mut origins = provenance::origins(&gathered, digests, progress)?;
    let made = disks::make(&plan, &edits, &mut gathered, &staging, now, digests, progress)?;
    provenance::complete(&mut origins, &gathered, digests, progress)?;
    disks::check_paths(&plan, &gathered)?;
    scratch.close().map_err(|e| Failure::host("cannot write to", staging.target(), &e))?;
    staging.write("domain.cfg", domain.to_string().as_bytes())?;
    let manifest = manifest::of(Path::new(&job.name), &job.bytes, &plan, &made, &origins);
    let manifest = match digests {
        true => {
            manifest.with_files(provenance::files(&staging, &digests_of(&plan, &made), progress)?)
        }
        false => manifest,
    };
    staging.write(MANIFEST, &manifest.to_bytes())?;
    last(&plan, &edits, &mut gathered, &staging)?;
    warnings.extend(edits.iter().flat_map(DiskEdits::warnings));
    let limit = job.document.general.limit.as_ref().map(|limit| limit.value);
    let bundle = staging.target().to_owned();
    let prepared = Prepared { plan: plan.clone(), manifest, bundle, limit, warnings };
    Ok(Staged { staging, prepared })
}

/// What is done before a bundle gets its name.
type Last<'a> = dyn FnMut(&Plan, &[DiskEdits<'_>], &mut Gathered, &Staging) -> Result<()> + 'a;

/// The digests of disks that were made with them, by their names in the bundle.
fn digests_of(plan: &Plan, made: &[Made]) -> BTreeMap<String, Digest> {
    let disks = plan.disks.iter().zip(made);
    disks
        .filter_map(|(disk, made)| Some((disk.file.as_ref()?.as_str().to_owned(), made.digest?)))
        .collect()
}
