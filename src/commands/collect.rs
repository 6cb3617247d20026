//! `autoxen collect`: the results of a guest, out of its bundle.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use imgfmt::ext::{FileType, Fs};
use imgfmt::{Error, Image, Storage, Volume};

use crate::bundle::Staging;
use crate::cli::CollectArgs;
use crate::facts::words::about;
use crate::failure::{Failure, Result};
use crate::inside::host_target::HostTarget;
use crate::report::{self, Talk};
use crate::results::bundle::Bundle;
use crate::results::console::{self, Console};
use crate::results::record::{self, Record};
use crate::results::take::{Take, Taken};
use crate::results::{self, End, Job, Outcome, State, exit_status, shown};

/// The longest log of a console that is read, in bytes.
const CONSOLE_MAX: u64 = 256 << 20;

/// The most warnings that are told one by one.
const WARNINGS_TOLD: usize = 20;

/// Jobs that an image may bring beside those of the bundle.
const OTHER_JOBS_MAX: usize = 1000;

/// Collect the results.
pub fn run(args: &CollectArgs, talk: Talk) -> Result<ExitCode> {
    let outcome = collect(args)?;
    warn(&outcome, talk);
    match args.json {
        true => report::print_json(&outcome)?,
        false => report::print(&shown::text(&outcome))?,
    }
    Ok(ExitCode::from(outcome.exit))
}

/// Tell of what is odd, the first of it one by one.
pub(super) fn warn(outcome: &Outcome, talk: Talk) {
    for warning in outcome.warnings.iter().take(WARNINGS_TOLD) {
        talk.warning(warning);
    }
    if outcome.warnings.len() > WARNINGS_TOLD {
        talk.warning(&format!(
            "and {} more warnings; `results.json` has them all",
            outcome.warnings.len() - WARNINGS_TOLD
        ));
    }
}

/// Copy what there is to the output, and say how things stand.
///
/// # Errors
/// Where the bundle cannot be read, or the output not written.
pub fn collect(args: &CollectArgs) -> Result<Outcome> {
    let bundle = Bundle::read(&args.bundle)?;
    let console = args.console.as_deref().map(read_console).transpose()?;
    let disk = bundle.results(&args.bundle);
    if disk.is_none() && console.is_none() {
        return Err(Failure::new("the bundle has no disk for results").hint(
            "`<results size=\"64M\"/>` in the job description makes one; `--console FILE` reads exit statuses from a log",
        ));
    }
    let staging = Staging::beside(&args.output)?;
    let mut outcome = Outcome {
        domain: bundle.domain.name.clone(),
        id: bundle.id.clone(),
        state: State::NeverRan,
        reason: None,
        start: None,
        end: None,
        exit: results::NO_RESULT,
        jobs: bundle.jobs.iter().map(|job| not_run(&job.name)).collect(),
        warnings: Vec::new(),
    };
    if let Some(disk) = disk {
        match Image::open(&disk) {
            Ok(image) => from_disk(&image, &staging, args.keep_owner, &mut outcome)?,
            Err(Error::Busy(_)) => outcome.state = State::Running,
            Err(Error::Io { source, .. }) if console.is_some() => {
                let (disk, source) = (disk.display(), crate::failure::plain(&source));
                outcome.warnings.push(format!("`{disk}`: {source}"));
            }
            Err(error) => return Err(Failure::new(about(&disk, &error))),
        }
    }
    if let Some(console) = console {
        from_console(&console, &mut outcome);
    }
    outcome.exit = exit_status(outcome.state, &outcome.jobs);
    let mut json = serde_json::to_vec_pretty(&outcome).expect("all keys are strings");
    json.push(b'\n');
    staging.write("results.json", &json)?;
    staging.publish()?;
    Ok(outcome)
}

fn not_run(name: &str) -> Job {
    Job {
        name: name.to_owned(),
        end: End::NotRun,
        started: None,
        seconds: None,
        user: None,
        full: false,
        missing: Vec::new(),
        taken: Taken::default(),
    }
}

fn read_console(path: &Path) -> Result<Console> {
    let fail = |e| Failure::host("cannot read", path, &e);
    let mut log = Vec::new();
    File::open(path).and_then(|file| file.take(CONSOLE_MAX).read_to_end(&mut log)).map_err(fail)?;
    Ok(console::read(&log))
}

/// What the results disk has.
fn from_disk(
    image: &Image,
    staging: &Staging,
    keep_owner: bool,
    outcome: &mut Outcome,
) -> Result<()> {
    let path = image.path();
    let fail = |error: &Error| {
        Failure::new(about(path, error))
            .hint("`--console FILE` reads exit statuses from the log of the guest's console")
    };
    let fs = Fs::open(Volume::whole(image)).map_err(|e| fail(&e))?;
    let Some(run) = record::run(&fs).unwrap_or_else(|what| {
        outcome.warnings.push(what);
        Some(record::Run::default())
    }) else {
        return Ok(());
    };
    if !run.id.is_empty() && run.id != outcome.id {
        return Err(Failure::new(format!(
            "`{}` has the results of another preparation: {}, not {}",
            path.display(),
            run.id.escape_debug(),
            outcome.id
        ))
        .hint("put the disk back that belongs to this bundle"));
    }
    outcome.state = if run.finished { State::Finished } else { State::Unfinished };
    (outcome.reason, outcome.start, outcome.end) = (run.reason, run.start, run.end);
    let known: Vec<String> = outcome.jobs.iter().map(|job| job.name.clone()).collect();
    outcome.jobs.extend(others(&fs, &known).iter().map(|name| not_run(name)));
    let mut to = HostTarget::open(staging.path())
        .map_err(|error| Failure::new(format!("cannot write results: {error}")))?;
    let mut take = Take::new(&fs, image.len(), &mut to, keep_owner);
    for job in &mut outcome.jobs {
        job.taken = take.job(&job.name)?;
        match record::job(&fs, &job.name) {
            Ok(Some(record)) => fill(job, record),
            Ok(None) => {}
            Err(what) => {
                take.warnings.push(what);
                job.end = End::Unfinished;
            }
        }
    }
    outcome.warnings.extend(take.into_warnings());
    image.check_unchanged().map_err(|e| fail(&e))
}

fn fill(job: &mut Job, record: Record) {
    job.end = record.ended();
    job.started = record.start;
    job.seconds = record.seconds();
    job.full = record.full;
    job.user = record.user;
    job.missing = record.missing;
}

/// The jobs on the disk that the bundle does not know: those that the image brought.
fn others(fs: &Fs<'_>, known: &[String]) -> Vec<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let names = fs.read_dir("/").unwrap_or_default().into_iter();
    let mut names: Vec<String> = names
        .filter(|entry| entry.kind == FileType::Directory)
        .filter_map(|entry| entry.name.into_string().ok())
        .filter(|name| name.chars().all(fits) && !known.contains(name))
        .filter(|name| matches!(record::job(fs, name), Ok(Some(_))))
        .collect();
    names.sort();
    names.dedup();
    names.truncate(OTHER_JOBS_MAX);
    names
}

/// What the console says of jobs of which the disk says nothing.
fn from_console(console: &Console, outcome: &mut Outcome) {
    if outcome.state == State::Finished {
        return;
    }
    for job in &mut outcome.jobs {
        if let Some(end) = console.jobs.get(&job.name)
            && job.end.status().is_none()
        {
            job.end = *end;
        }
    }
    if console.exit.is_some() {
        outcome.state = State::Finished;
    } else if !console.jobs.is_empty() && outcome.state == State::NeverRan {
        outcome.state = State::Unfinished;
    }
}
