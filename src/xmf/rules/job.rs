//! `job`, `results` and `whendone`.

use std::collections::HashSet;

use super::Checker;
use super::value::{self, Bad};
use crate::xmf::model::{Input, InputKind, InputPlace, Job, OnFailure, Results, Spanned, WhenDone};
use crate::xmf::xml::{Element, chars};
use crate::xmf::xsd::integer;

/// Scripts are numbered from 10 to 99.
const MAX_JOBS: usize = 90;

impl Checker<'_> {
    pub(super) fn jobs(&mut self, root: &Element) -> Option<Vec<Job>> {
        let jobs: Vec<Option<Job>> = root.named("job").map(|job| self.job(job)).collect();
        if let Some(extra) = root.named("job").nth(MAX_JOBS) {
            self.error(extra.name.span.clone(), format!("more than {MAX_JOBS} jobs"));
        }
        jobs.into_iter().collect()
    }

    fn job(&mut self, job: &Element) -> Option<Job> {
        let command = job.child("command").and_then(|command| self.command(command));
        let name = self.attribute(job, "name", value::job_name);
        let workdir = self.attribute(job, "workdir", value::absolute_path);
        let environment = self.environment(job);
        let user = self.attribute(job, "user", value::user).filter(|user| user.value != "root");
        let timeout = self.timeout(job);
        let said = |name: &str, word: &str| {
            job.attribute(name).is_some_and(|found| chars::trim(&found.value) == word)
        };
        let on_failure =
            if said("onfailure", "stop") { OnFailure::Stop } else { OnFailure::Continue };
        let again = said("again", "yes");
        let inputs: Option<Vec<_>> = job.named("input").map(|input| self.input(input)).collect();
        let outputs = job
            .named("output")
            .map(|output| self.attribute(output, "path", value::output_path))
            .collect::<Option<Vec<_>>>();
        let span = job.start_tag.clone();
        Some(Job {
            span,
            command: command?,
            name,
            environment,
            workdir,
            user,
            timeout,
            on_failure,
            again,
            inputs: inputs?,
            outputs: outputs?,
        })
    }

    fn timeout(&mut self, job: &Element) -> Option<Spanned<u32>> {
        let number = integer(chars::trim(&job.attribute("timeout")?.value))?;
        self.attribute(job, "timeout", |_| value::seconds(number))
    }

    fn input(&mut self, input: &Element) -> Option<Input> {
        let source = self.attribute(input, "source", value::host_path);
        let path = self.attribute(input, "path", value::absolute_path);
        let has_digest = input.attribute("sha256").is_some();
        let sha256 = self.attribute(input, "sha256", value::sha256);
        let word = |name: &str| input.attribute(name).map(|found| chars::trim(&found.value));
        let kind = match word("type") {
            Some("directory") => InputKind::Directory,
            Some("tar") => InputKind::Tar,
            _ => InputKind::File,
        };
        let place = match word("place") {
            Some("root") => InputPlace::Root,
            Some("ext") => InputPlace::Ext,
            Some("vfat") => InputPlace::Vfat,
            _ => InputPlace::Auto,
        };
        if kind == InputKind::Directory
            && let Some(digest) = input.attribute("sha256")
        {
            let bad = Bad::new("a directory has no digest").hint("make it a tar to have one");
            self.refuse(digest.name.span.clone(), "sha256", bad);
            return None;
        }
        if let Some(path) = &path
            && path.value == "/"
            && kind != InputKind::Tar
        {
            let bad = Bad::new("nothing but a tar is unpacked in `/`");
            self.refuse(path.span.clone(), "path", bad);
            return None;
        }
        if has_digest && sha256.is_none() {
            return None;
        }
        let span = input.start_tag.clone();
        Some(Input { span, source: source?, path: path?, kind, sha256, place })
    }

    fn command(&mut self, command: &Element) -> Option<Spanned<String>> {
        // A command keeps its text, blanks and all: it may be a script.
        let value = command.text();
        let span = command.value_span(self.source);
        if chars::trim(&value).is_empty() {
            let bad = Bad::new("there is nothing to run").expected("a shell command, or a script");
            self.refuse(span, "command", bad);
            return None;
        }
        Some(Spanned { value, span })
    }

    fn environment(&mut self, job: &Element) -> Vec<(String, String)> {
        let mut seen = HashSet::new();
        let mut variables = Vec::new();
        for variable in job.named("environment") {
            let Some(name) = self.attribute(variable, "name", value::variable_name) else {
                continue;
            };
            if !seen.insert(name.value.clone()) {
                self.error(name.span, format!("variable `{}` is here twice", name.value));
                continue;
            }
            variables.push((name.value, variable.text()));
        }
        variables
    }

    /// The disk for results.
    pub(super) fn results(&mut self, root: &Element) -> Option<Results> {
        let results = root.child("results")?;
        let device = self.attribute(results, "blockdevice", value::block_device);
        let size = self.attribute(results, "size", value::results_size)?;
        Some(Results { span: results.start_tag.clone(), size, device })
    }

    /// What is to be staged out needs a disk.
    pub(super) fn outputs_go_somewhere(&mut self, root: &Element) {
        if root.child("results").is_some() {
            return;
        }
        if let Some(output) = root.named("job").find_map(|job| job.named("output").next()) {
            let bad = Bad::new("there is no disk that carries it home")
                .hint("put `<results size=\"64M\"/>` behind the last job");
            self.refuse(output.name.span.clone(), "output", bad);
        }
    }
}

/// What becomes of the guest when its jobs have ended.
pub(super) fn when_done(root: &Element) -> WhenDone {
    let text = root.child("whendone").map(Element::text);
    match text.as_deref().map(chars::trim) {
        Some("reboot") => WhenDone::Reboot,
        Some("keep") => WhenDone::Keep,
        _ => WhenDone::Poweroff,
    }
}
