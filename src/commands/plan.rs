//! `autoxen plan`: what would be done, as text or JSON; writes nothing.

use crate::apply::edits;
use crate::cli::PlanArgs;
use crate::commands::job::{Intent, Job};
use crate::epoch;
use crate::facts::known::Known;
use crate::failure::{Failure, Result, plain};
use crate::plan;
use crate::progress::Progress;
use crate::report::{self, Talk};

/// Show the plan.
pub fn run(args: &PlanArgs, talk: Talk) -> Result<()> {
    let job = Job::load(&args.job.file, &args.job.options, talk)?;
    // A compressed or qcow2 image is unpacked here to be looked at; dropping the directory removes it.
    let scratch = tempfile::tempdir().map_err(|e| {
        let directory = std::env::temp_dir();
        Failure::new(format!("cannot write to `{}`: {}", directory.display(), plain(&e)))
            .hint("let TMPDIR name a directory with room for the unpacked image")
    })?;
    let gathered =
        job.gather(scratch.path(), &Known::default(), Progress::new(false), Intent::Plan)?;
    gathered.warnings.iter().for_each(|what| talk.warning(what));
    let plan = job.plan(&gathered.facts)?;
    // What `prepare` would refuse is refused here, too.
    let _unwritten = edits::make(&plan, &gathered, epoch::now()?)?;
    if args.json {
        report::print(&plan::json::render(&plan, &job.document, &gathered.facts))
    } else {
        report::print(&plan::text::render(&plan, &job.document, &gathered.facts))
    }
}
