//! What makes the guest run the jobs: their scripts, the runner with its settings, and what starts it.

use super::extra::Extra;
use super::known::Known;
use super::root::write;
use super::{Action, Content, Deliver, Edit, Options, PlannedJob, Runner, mounts};
use crate::diagnostic::Diagnostic;
use crate::facts::RootFacts;
use crate::guest::hook::{self, Piece, Stock};
use crate::guest::init::Init;
use crate::guest::{nocloud, runner, script, settings};
use crate::xmf::model::{Document, Job, OnFailure, WhenDone};

/// What root owns and anybody may run.
const PROGRAM: Option<(u32, (u32, u32))> = Some((0o755, (0, 0)));

/// What root owns and anybody may read.
const PLAIN: Option<(u32, (u32, u32))> = Some((0o644, (0, 0)));

/// The names of the jobs, in the order in which they run.
pub(super) fn names(document: &Document) -> Result<Vec<PlannedJob>, Diagnostic> {
    let named = document.jobs.iter().enumerate().map(|(index, job)| {
        let name = script::file_name(index, job).map_err(|error| refusal(job, &error))?;
        let outputs = job.outputs.iter().map(|output| output.value.clone()).collect();
        Ok(PlannedJob { name, outputs })
    });
    named.collect()
}

/// The edits of the root image that make the guest run its jobs. `results` is the device that they are written to.
pub(super) fn place(
    known: &Known<'_>,
    options: &Options,
    results: Option<&str>,
    extra: &mut Extra<'_>,
    notes: &mut Vec<String>,
) -> Result<Vec<Edit>, Vec<Diagnostic>> {
    let Some(stock) = &known.facts.images[known.root].root else { return Ok(Vec::new()) };
    let document = known.document;
    let mut scripts = scripts(document)?;
    let start = start(document, options, stock, notes)?;
    if start == Start::Nothing {
        tell_of_own(stock, &scripts, notes);
        return Ok(scripts);
    }
    let mut edits = settings_of(document, options, results)?;
    edits.push(write(hook::RUNNER, runner::TEXT.into(), PROGRAM, "it runs the jobs"));
    if start == Start::CloudInit {
        scripts.append(&mut edits);
        seed(known, options, &scripts, extra)?;
        scripts.clear();
    } else {
        tell_of_own(stock, &scripts, notes);
        scripts.append(&mut edits);
    }
    if results.is_some() {
        let (image, inside) = mounts::locate(document, settings::RESULTS);
        if image == known.root {
            let action = Action::CreateDir { mode: None, owner: None };
            let reason = "the disk for results is mounted here".into();
            scripts.push(Edit { path: inside, action, reason });
        }
    }
    if let Start::Init(init) = start {
        scripts.extend(hooked(init, stock, document)?);
    }
    Ok(scripts)
}

/// What starts the jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// Nothing of ours.
    Nothing,
    /// Our runner, started by this init system.
    Init(Init),
    /// Our runner, started by cloud-init.
    CloudInit,
}

fn start(
    document: &Document,
    options: &Options,
    stock: &RootFacts,
    notes: &mut Vec<String>,
) -> Result<Start, Vec<Diagnostic>> {
    if options.deliver == Deliver::NoCloud {
        if !stock.has_cloud_init {
            let span = document.jobs.first().map_or(0..0, |job| job.span.clone());
            return Err(vec![
                Diagnostic::error(
                    span,
                    "the image has no cloud-init, which `--deliver nocloud` needs",
                )
                .hint("leave `--deliver` out: then the jobs are put into the image"),
            ]);
        }
        return Ok(Start::CloudInit);
    }
    let why = match (options.runner, &stock.own_runner, stock.inits.first()) {
        (Runner::For(init), _, _) => return Ok(Start::Init(init)),
        (Runner::None, _, _) => "`--runner none` leaves out".to_owned(),
        (Runner::Auto, Some(own), _) => {
            notes.push(format!("the image runs its jobs itself, by {own}"));
            format!("the image runs its jobs itself, by {own}, without")
        }
        (Runner::Auto, None, Some(init)) if *init != Init::S6 => return Ok(Start::Init(*init)),
        (Runner::Auto, None, init) => {
            let what = match init {
                Some(init) => format!("no file can hook a runner into {}", init.name()),
                None => "no init system is known in the image".into(),
            };
            notes.push(format!(
                "{what}: nothing starts the jobs, unless the image does (`--runner NAME` says what could)"
            ));
            format!("{what}: there is no")
        }
    };
    let needs = needs(document);
    if needs.is_empty() {
        return Ok(Start::Nothing);
    }
    let refused = needs.into_iter().map(|(word, span)| {
        Diagnostic::error(span, format!("`{word}` needs AutoXen's runner: {why} it"))
            .hint("`--runner NAME` installs it for the init system of that name")
    });
    Err(refused.collect())
}

/// What only our runner does, with the place where the document asks for it.
fn needs(document: &Document) -> Vec<(&'static str, std::ops::Range<usize>)> {
    let mut needs = Vec::new();
    for job in &document.jobs {
        needs.extend(job.user.as_ref().map(|user| ("user", user.span.clone())));
        needs.extend(job.timeout.as_ref().map(|timeout| ("timeout", timeout.span.clone())));
        if job.on_failure == OnFailure::Stop {
            needs.push(("onfailure", job.span.clone()));
        }
        if job.again {
            needs.push(("again", job.span.clone()));
        }
    }
    needs.extend(document.results.as_ref().map(|results| ("results", results.span.clone())));
    needs.extend(document.general.limit.as_ref().map(|limit| ("limit", limit.span.clone())));
    if document.when_done != WhenDone::Poweroff {
        let span = document.jobs.last().map_or(0..0, |job| job.span.clone());
        needs.push(("whendone", span));
    }
    needs
}

fn scripts(document: &Document) -> Result<Vec<Edit>, Vec<Diagnostic>> {
    let mut edits = Vec::new();
    let mut errors = Vec::new();
    for (index, job) in document.jobs.iter().enumerate() {
        let reason = match &job.name {
            Some(name) => format!("the job `{}`", name.value),
            None => "the job".to_owned(),
        };
        match script::scripts(index, job) {
            Ok(scripts) => edits.extend(
                scripts
                    .into_iter()
                    .map(|script| write(&script.path, script.text.into_bytes(), PROGRAM, &reason)),
            ),
            Err(error) => errors.push(refusal(job, &error)),
        }
    }
    if errors.is_empty() { Ok(edits) } else { Err(errors) }
}

/// Why a job has no script, where the document says what stands in the way.
fn refusal(job: &Job, error: &script::Error) -> Diagnostic {
    let span = match error {
        script::Error::Name(_) => job.name.as_ref().map(|name| &name.span),
        script::Error::Empty | script::Error::Nul(_) => Some(&job.command.span),
        script::Error::Workdir(_) => job.workdir.as_ref().map(|workdir| &workdir.span),
        _ => None,
    };
    Diagnostic::error(span.unwrap_or(&job.span).clone(), error.to_string())
}

/// Tell of jobs that the image has already.
fn tell_of_own(stock: &RootFacts, scripts: &[Edit], notes: &mut Vec<String>) {
    let ours = |name: &str| {
        let path = format!("{}/{name}", script::DIRECTORY);
        scripts.iter().any(|edit| edit.path == path)
    };
    for name in &stock.xenjobs {
        let shown = name.escape_debug();
        notes.push(if ours(name) {
            format!("{}/{shown} of the image is replaced", script::DIRECTORY)
        } else {
            format!(
                "the image brings a job of its own, which runs as well: {}/{shown}",
                script::DIRECTORY
            )
        });
    }
}

fn settings_of(
    document: &Document,
    options: &Options,
    results: Option<&str>,
) -> Result<Vec<Edit>, Vec<Diagnostic>> {
    let limit = document.general.limit.as_ref().map(|limit| limit.value);
    let run = settings::Run { id: &options.id, results, when_done: document.when_done, limit };
    let text = settings::of_run(run).into_bytes();
    let mut edits = vec![write(settings::RUN, text, PLAIN, "the runner reads it")];
    let mut errors = Vec::new();
    for (index, job) in document.jobs.iter().enumerate() {
        let file = script::file_name(index, job).map_err(|error| vec![refusal(job, &error)])?;
        match settings::of_job(&file, job) {
            Ok(text) => edits.extend(text.map(|(path, text)| {
                write(&path, text.into_bytes(), PLAIN, "what the runner has to know of the job")
            })),
            Err(what) => errors.push(Diagnostic::error(job.span.clone(), what)),
        }
    }
    if errors.is_empty() { Ok(edits) } else { Err(errors) }
}

/// The hook that starts the runner.
fn hooked(
    init: Init,
    stock: &RootFacts,
    document: &Document,
) -> Result<Vec<Edit>, Vec<Diagnostic>> {
    let known = Stock {
        inittab: stock.inittab.as_deref(),
        depend_start: stock.depend_start.as_deref(),
        has_etc_init: stock.has_etc_init,
    };
    let pieces = hook::pieces(init, known).map_err(|error| {
        let span = document.jobs.first().map_or(0..0, |job| job.span.clone());
        vec![Diagnostic::error(span, error.to_string())]
    })?;
    let reason = format!("{} starts the runner", init.name());
    let edit = |piece| match piece {
        Piece::File { path, bytes, mode } => {
            write(&path, bytes, mode.map(|mode| (mode, (0, 0))), &reason)
        }
        Piece::Link { path, target } => {
            Edit { path, action: Action::Symlink { target }, reason: reason.clone() }
        }
    };
    Ok(pieces.into_iter().map(edit).collect())
}

/// Put `files` on a seed disk for cloud-init.
fn seed(
    known: &Known<'_>,
    options: &Options,
    files: &[Edit],
    extra: &mut Extra<'_>,
) -> Result<(), Vec<Diagnostic>> {
    let files: Vec<_> = files
        .iter()
        .filter_map(|edit| match &edit.action {
            Action::Write { content: Content::Bytes(bytes), mode, .. } => Some(nocloud::File {
                path: edit.path.clone(),
                mode: mode.unwrap_or(0o644),
                text: String::from_utf8_lossy(bytes).into_owned(),
            }),
            _ => None,
        })
        .collect();
    let hostname = known.document.images[known.root].hostname.as_ref();
    let meta = nocloud::meta_data(&options.id, hostname.map(|name| name.value.as_str()));
    let user = nocloud::user_data(&files, hook::RUNNER);
    let len = (user.len() as u64).saturating_mul(2).next_multiple_of(1 << 20).max(2 << 20);
    let edits = [("/meta-data", meta), ("/user-data", user)]
        .map(|(path, text)| write(path, text.into_bytes(), None, "cloud-init reads it"));
    extra.seed(len, edits.into()).map_err(|what| {
        let span = known.document.jobs.first().map_or(0..0, |job| job.span.clone());
        vec![Diagnostic::error(span, what)]
    })
}
