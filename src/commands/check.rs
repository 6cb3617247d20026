//! `autoxen check`: are these job descriptions right?

use std::process::ExitCode;

use crate::cli::CheckArgs;
use crate::commands::job;
use crate::diagnostic::Severity;
use crate::failure::Result;
use crate::report::{self, Talk};
use crate::snippet;
use crate::visible::visible;
use crate::xmf::{self, Checked};

/// Check each file; all of them, whatever is found.
pub fn run(args: &CheckArgs, talk: Talk) -> Result<ExitCode> {
    let mut documents = Vec::new();
    let (mut refused, mut warned) = (false, false);
    for path in &args.files {
        let name = path.display().to_string();
        match job::read(path) {
            Ok(bytes) => {
                let checked = xmf::check(&bytes);
                refused |= checked.diagnostics.iter().any(|d| d.severity == Severity::Error);
                warned |= checked.diagnostics.iter().any(|d| d.severity == Severity::Warning);
                if args.json {
                    documents.push(json(&name, &checked));
                } else {
                    talk.findings(&name, &checked.text, &checked.diagnostics);
                    say(&name, &checked)?;
                }
            }
            Err(failure) => {
                refused = true;
                if args.json {
                    documents.push(serde_json::json!({
                        "file": name, "valid": false, "error": failure.to_string(), "findings": [],
                    }));
                } else {
                    talk.failure(&failure);
                }
            }
        }
    }
    if args.json {
        report::print_json(&documents)?;
    }
    Ok(match (refused, warned && args.strict) {
        (true, _) => ExitCode::from(2),
        (false, true) => ExitCode::from(1),
        (false, false) => ExitCode::SUCCESS,
    })
}

/// One document's findings for programs.
fn json(name: &str, checked: &Checked) -> serde_json::Value {
    let findings: Vec<_> = checked
        .diagnostics
        .iter()
        .map(|finding| snippet::to_json(name, &checked.text, finding))
        .collect();
    serde_json::json!({
        "file": name,
        "valid": checked.document.is_some(),
        "findings": findings,
    })
}

/// One document's verdict for people.
fn say(name: &str, checked: &Checked) -> Result<()> {
    let count = |severity| checked.diagnostics.iter().filter(|d| d.severity == severity).count();
    let plural = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    };
    let warnings = match count(Severity::Warning) {
        0 => String::new(),
        count => format!(", {}", plural(count, "warning")),
    };
    let verdict = match (&checked.document, count(Severity::Error)) {
        (Some(_), _) => format!("valid{warnings}"),
        (None, errors) => format!("refused, {}{warnings}", plural(errors, "error")),
    };
    report::print(&format!("{}: {verdict}\n", visible(name)))
}
