//! Many bundles by one process: what is known of an image serves all that are made from it, and while one bundle waits for
//! the disk others are made. A job that cannot be prepared is told of, and keeps no other from being prepared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{Prepared, Staged, stage};
use crate::cli::PrepareArgs;
use crate::commands::job::Job;
use crate::descriptors;
use crate::facts::known::Known;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::newfile::{directory_of, sync_directory};
use crate::progress::{Bar, Progress};
use crate::report::{self, Talk};

/// Most of a small bundle's time is spent waiting for the disk.
const PER_CORE: usize = 2;

/// How many bundles a worker has written out together: a sync of the disk costs as much for many as for one.
const TOGETHER: usize = 16;

/// Make a bundle of each job description.
pub(super) fn run(args: &PrepareArgs, talk: Talk) -> Result<()> {
    let into = args.into.as_deref().expect("clap wants one of the two");
    let work = targets(&args.files, into)?;
    match fs::create_dir(into) {
        Ok(()) => sync_directory(directory_of(into))?,
        Err(e) if e.kind() != ErrorKind::AlreadyExists => {
            return Err(Failure::host("cannot create", into, &e));
        }
        Err(_) if !into.is_dir() => {
            let what = format!("`{}` is not a directory", into.display());
            return Err(Failure::new(what).hint("`--into` names the directory of the bundles"));
        }
        Err(_) => {}
    }
    descriptors::raise();
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    let workers = args.parallel.map_or(PER_CORE * cores, |wanted| wanted.get()).min(work.len());
    let many = Many {
        args,
        talk,
        work: &work,
        workers,
        known: Known::of_user(),
        next: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        failed: AtomicUsize::new(0),
        told: Mutex::default(),
        bar: Progress::new(args.quiet).count("bundles"),
    };
    many.bar.set(0, work.len() as u64);
    thread::scope(|scope| {
        for _ in 1..workers {
            // Where the host gives no more threads, those that there are do it.
            let _ = thread::Builder::new().spawn_scoped(scope, || many.work());
        }
        many.work();
    });
    let Many { done, failed, told, bar, .. } = many;
    drop(bar);
    let (done, failed) = (done.into_inner(), failed.into_inner());
    if interrupt::asked() && done + failed < work.len() {
        return Err(Failure::InterruptedBundles { whole: done, into: into.to_owned() });
    }
    let told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
    told.unwritten.map_err(|failure| {
        failure.hint(format!("bundles that are whole, in `{}`: {done}", into.display()))
    })?;
    let all = work.len();
    if failed > 0 {
        let failure = Failure::new(format!("{failed} of {all} job descriptions were not prepared"));
        return Err(match done {
            0 => failure,
            _ => failure.hint(format!("bundles that are whole, in `{}`: {done}", into.display())),
        });
    }
    match args.json {
        true => Ok(()),
        false => report::print(&format!("{}: {all} bundles\n", into.display())),
    }
}

/// The job descriptions, each with the bundle that it makes.
fn targets(files: &[PathBuf], into: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut first: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    let mut work = Vec::new();
    for file in files {
        let stem = match file.extension() {
            Some(ending) if ending.eq_ignore_ascii_case("xml") => file.file_stem(),
            _ => file.file_name(),
        };
        let Some(stem) = stem.filter(|stem| *stem != ".") else {
            return Err(Failure::new(format!("`{}` names no bundle", file.display()))
                .hint("prepare it by itself, with `-o`"));
        };
        let target = into.join(stem);
        if let Some(other) = first.insert(target.clone(), file) {
            return Err(Failure::new(format!(
                "`{}` and `{}` would both become `{}`",
                other.display(),
                file.display(),
                target.display()
            ))
            .hint("give them names of their own, or prepare them into two directories"));
        }
        work.push((file.clone(), target));
    }
    Ok(work)
}

/// What the workers share.
struct Many<'a> {
    args: &'a PrepareArgs,
    talk: Talk,
    work: &'a [(PathBuf, PathBuf)],
    workers: usize,
    known: Known,
    next: AtomicUsize,
    done: AtomicUsize,
    failed: AtomicUsize,
    told: Mutex<Told>,
    bar: Bar,
}

/// What was said so far: a thousand jobs from one image have the same to say.
struct Told {
    texts: BTreeSet<String>,
    unwritten: Result<()>,
}

impl Default for Told {
    fn default() -> Self {
        Self { texts: BTreeSet::new(), unwritten: Ok(()) }
    }
}

impl Many<'_> {
    /// Prepare some after others, until there are none.
    fn work(&self) {
        let some = self.work.len().div_ceil(self.workers).min(TOGETHER);
        loop {
            let first = self.next.fetch_add(some, Ordering::Relaxed).min(self.work.len());
            let end = (first + some).min(self.work.len());
            if first == end || interrupt::asked() {
                return;
            }
            self.some(&self.work[first..end]);
        }
    }

    /// Prepare these, and have the host write them out together.
    fn some(&self, work: &[(PathBuf, PathBuf)]) {
        let options = &self.args.options;
        let mut staged = Vec::new();
        for (file, target) in work {
            let made = Job::load(file, options, self.talk).and_then(|job| {
                let quiet = Progress::new(true);
                stage(&job, options, target, &self.known, quiet, &mut |_, _, _, _| {
                    interrupt::check()
                })
            });
            match made {
                Ok(made) => staged.push((file, made)),
                Err(_) if interrupt::asked() => return,
                Err(failure) => self.failed(file, failure),
            }
        }
        if let [(_, first), _, ..] = &staged[..] {
            first.staging.write_out();
        }
        let mut placed = Vec::new();
        for (file, Staged { staging, prepared }) in staged {
            match staging.sync().and_then(|()| interrupt::check()).and_then(|()| staging.place()) {
                Ok(_) => placed.push((file, prepared)),
                Err(_) if interrupt::asked() => break,
                Err(failure) => self.failed(file, failure),
            }
        }
        let named = placed.first().and_then(|(_, prepared)| prepared.bundle.parent());
        let synced = named.map_or(Ok(()), sync_directory);
        for (file, prepared) in &placed {
            match &synced {
                Ok(()) => self.tell(file, prepared),
                Err(failure) => self.failed(file, Failure::new(failure.to_string())),
            }
        }
    }

    fn failed(&self, file: &Path, failure: Failure) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.talk.failure(&failure.of_job(file));
        self.show();
    }

    fn show(&self) {
        let over = self.done.load(Ordering::Relaxed) + self.failed.load(Ordering::Relaxed);
        self.bar.set(over as u64, self.work.len() as u64);
    }

    fn tell(&self, file: &Path, prepared: &Prepared) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.show();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut say = |text: &String, say: &dyn Fn(&str)| {
            if told.texts.insert(text.clone()) {
                say(&format!("{}: {text}", file.display()));
            }
        };
        prepared.warnings.iter().for_each(|text| say(text, &|line| self.talk.warning(line)));
        prepared.plan.notes.iter().for_each(|text| say(text, &|line| self.talk.note(line)));
        if self.args.json {
            let printed = report::print_json_line(&prepared.manifest);
            if told.unwritten.is_ok() {
                told.unwritten = printed;
            }
        }
    }
}
