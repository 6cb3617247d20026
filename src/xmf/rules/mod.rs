//! The rules that a schema cannot say, and the typed [`Document`].
//!
//! The rules look at a tree whether or not it passed the schema, so that all findings come in one run. What the schema
//! has reported already is passed over: an element that is missing, a number that is none.

mod disks;
mod file;
mod general;
mod image;
mod job;
mod key;
mod value;

#[cfg(test)]
mod tests;

use std::ops::Range;

use super::model::{Document, Spanned};
use super::xml::{Element, chars};
use crate::diagnostic::Diagnostic;
use value::Bad;

/// Check a tree against the rules; the document is whole only if there was no error in the tree at all.
pub(super) fn check(root: &Element, source: &str) -> (Option<Document>, Vec<Diagnostic>) {
    let mut checker = Checker { source, findings: Vec::new() };
    let general = root.child("general").and_then(|general| checker.general(general));
    let images: Vec<_> = root.named("imagefile").map(|image| checker.image(image)).collect();
    let whole: Option<Vec<_>> = images.iter().cloned().collect();
    checker.disks(root, &images.into_iter().flatten().collect::<Vec<_>>());
    let jobs = checker.jobs(root);
    let results = checker.results(root);
    checker.outputs_go_somewhere(root);
    let when_done = job::when_done(root);
    let document = general.zip(whole).zip(jobs).map(|((general, images), jobs)| Document {
        general,
        images,
        jobs,
        results,
        when_done,
    });
    (document, checker.findings)
}

struct Checker<'a> {
    source: &'a str,
    findings: Vec<Diagnostic>,
}

impl Checker<'_> {
    fn error(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.findings.push(Diagnostic::error(span, message));
    }

    fn refuse(&mut self, span: Range<usize>, what: &str, bad: Bad) {
        let mut diagnostic = Diagnostic::error(span, format!("`{what}`: {}", bad.message));
        diagnostic.expected = bad.expected;
        diagnostic.hint = bad.hint;
        self.findings.push(diagnostic);
    }

    /// The value of a child element, white space around it left out; `None` where it is absent or refused.
    fn child<T>(
        &mut self,
        parent: &Element,
        name: &str,
        rule: impl FnOnce(&str) -> Result<T, Bad>,
    ) -> Option<Spanned<T>> {
        let element = parent.child(name)?;
        self.text(element, rule)
    }

    /// The value of an element, white space around it left out.
    fn text<T>(
        &mut self,
        element: &Element,
        rule: impl FnOnce(&str) -> Result<T, Bad>,
    ) -> Option<Spanned<T>> {
        let text = element.text();
        let span = element.value_span(self.source);
        match rule(chars::trim(&text)) {
            Ok(value) => Some(Spanned { value, span }),
            Err(bad) => {
                self.refuse(span, &element.name.local, bad);
                None
            }
        }
    }

    /// The value of an attribute; `None` where it is absent or refused.
    fn attribute<T>(
        &mut self,
        element: &Element,
        name: &str,
        rule: impl FnOnce(&str) -> Result<T, Bad>,
    ) -> Option<Spanned<T>> {
        let attribute = element.attribute(name)?;
        let span = if attribute.span.is_empty() {
            attribute.name.span.clone()
        } else {
            attribute.span.clone()
        };
        match rule(chars::trim(&attribute.value)) {
            Ok(value) => Some(Spanned { value, span }),
            Err(bad) => {
                self.refuse(span, name, bad);
                None
            }
        }
    }
}
