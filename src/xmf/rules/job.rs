//! `job`, `results` and `whendone`.

use std::collections::HashSet;

use super::Checker;
use super::value::{self, Bad};
use crate::xmf::model::{Job, Spanned};
use crate::xmf::xml::{Element, chars};

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
        let user = self.attribute(job, "user", user);
        if let Some(user) = user.filter(|user| user.value != "root") {
            self.not_served(user.span, "user");
        }
        if let Some(timeout) = job.attribute("timeout") {
            self.not_served(timeout.span.clone(), "timeout");
        }
        for input in job.named("input") {
            self.attribute(input, "source", value::host_path);
            self.attribute(input, "path", value::absolute_path);
            self.attribute(input, "sha256", value::sha256);
            self.not_served(input.name.span.clone(), "input");
        }
        for output in job.named("output") {
            self.attribute(output, "path", value::absolute_path);
            self.not_served(output.name.span.clone(), "output");
        }
        let span = job.start_tag.clone();
        Some(Job { span, command: command?, name, environment, workdir })
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

    /// What follows the jobs.
    pub(super) fn end(&mut self, root: &Element) {
        if let Some(results) = root.child("results") {
            self.attribute(results, "size", value::size);
            self.attribute(results, "blockdevice", value::block_device);
            self.not_served(results.name.span.clone(), "results");
        }
        if let Some(when_done) = root.child("whendone")
            && chars::trim(&when_done.text()) != "poweroff"
        {
            self.not_served(when_done.value_span(self.source), "whendone");
        }
    }
}

/// The name of a user of the guest.
fn user(value: &str) -> Result<String, Bad> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    if value.len() <= 32 && value.starts_with(first) && value.chars().all(allowed) {
        return Ok(value.to_owned());
    }
    let message = format!("`{}` is no name of a user", crate::xmf::suggest::shorten(value));
    Err(Bad::new(message).expected("up to 32 letters, digits, `_`, `-` and `.`"))
}
