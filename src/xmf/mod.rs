//! The Xen Metaconfiguration File: text → [`Document`] and diagnostics. No files are opened here.
//!
//! ```text
//! bytes ─xml::decode─▶ text ─xml::parse─▶ tree ─xsd::validate─▶ ─rules::check─▶ Document
//! ```
//!
//! The schemas are those that the project ships, compiled in as they are: what `xmllint --schema schema/xmf.xsd` says of
//! a document, [`validate_schema`] says too.

pub mod model;
mod rules;
mod suggest;
pub mod xml;
pub mod xsd;

use std::sync::LazyLock;

use crate::diagnostic::{Diagnostic, Severity};
use model::Document;
use xsd::Schema;

/// The text of today's schema.
pub const XMF_XSD: &str = include_str!("../../schema/xmf.xsd");
/// The text of the schema of 2007.
pub const XMF_1_0_XSD: &str = include_str!("../../schema/xmf-1.0.xsd");

/// The largest job description, in bytes. What is larger belongs into a file that it names.
pub const MAX_LEN: usize = 1 << 20;

/// After so many findings the rest is only counted.
const MAX_FINDINGS: usize = 200;

static XMF: LazyLock<Schema> =
    LazyLock::new(|| read_schema(XMF_XSD).expect("the shipped schema is tested to compile"));

/// What a check found.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The decoded text, which all spans count in.
    pub text: String,
    /// The document, if there is no error.
    pub document: Option<Document>,
    /// All findings, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// Check a job description: its XML, the schema, the rules. All findings come in one run.
pub fn check(bytes: &[u8]) -> Checked {
    let mut checked = Checked { text: String::new(), document: None, diagnostics: Vec::new() };
    if bytes.len() > MAX_LEN {
        let message = "the file is too long";
        let diagnostic = Diagnostic::error(0..0, message)
            .expected(format!("at most {MAX_LEN} bytes"))
            .hint("large files are named by `source`, not written into the job description");
        checked.diagnostics.push(diagnostic);
        return checked;
    }
    match xml::decode(bytes) {
        Ok(text) => checked.text = text,
        Err((text, diagnostic)) => {
            checked.text = text;
            checked.diagnostics.push(diagnostic);
            return checked;
        }
    }
    let parsed = xml::parse(&checked.text);
    checked.diagnostics.extend(parsed.faults);
    checked.diagnostics.extend(parsed.refusals);
    let mut document = None;
    if let Some(root) = &parsed.root {
        checked.diagnostics.extend(xsd::validate(&XMF, root, &checked.text));
        // The rules know the elements of a job description; of another document they know nothing.
        if root.name.is_plain("xenmetaconfig") {
            let (found, findings) = rules::check(root, &checked.text);
            document = found;
            checked.diagnostics.extend(findings);
        }
    }
    checked.diagnostics.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
    let refused = checked.diagnostics.iter().any(|found| found.severity == Severity::Error);
    checked.document = document.filter(|_| !refused);
    if checked.diagnostics.len() > MAX_FINDINGS {
        let more = checked.diagnostics.len() - MAX_FINDINGS;
        // Errors first: what is cut off must not be the reason of the refusal.
        checked.diagnostics.sort_by_key(|found| std::cmp::Reverse(found.severity));
        checked.diagnostics.truncate(MAX_FINDINGS);
        let end = checked.text.len();
        let message = format!("{more} more findings are not shown");
        checked.diagnostics.push(Diagnostic::warning(end..end, message));
    }
    checked
}

/// Whether a document is well-formed and valid against a schema, and nothing else: no rules, no caps, and what
/// [`check`] refuses on its own (a DOCTYPE, misused prefixes) is not looked at.
///
/// # Errors
/// Every fault. An empty list cannot be one.
pub fn validate_schema(schema: &Schema, bytes: &[u8]) -> Result<(), Vec<Diagnostic>> {
    let text = xml::decode(bytes).map_err(|(_, diagnostic)| vec![diagnostic])?;
    let parsed = xml::parse(&text);
    let mut findings = parsed.faults;
    match &parsed.root {
        Some(root) => findings.extend(xsd::validate(schema, root, &text)),
        None => findings.extend(parsed.refusals),
    }
    if findings.is_empty() { Ok(()) } else { Err(findings) }
}

/// Read a schema.
///
/// # Errors
/// Every construct that is wrong, or that is not served, each with its place.
pub fn read_schema(text: &str) -> Result<Schema, Vec<Diagnostic>> {
    let parsed = xml::parse(text);
    let findings: Vec<_> = parsed.faults.into_iter().chain(parsed.refusals).collect();
    match &parsed.root {
        Some(root) if findings.is_empty() => xsd::compile(root, text),
        _ => Err(findings),
    }
}
