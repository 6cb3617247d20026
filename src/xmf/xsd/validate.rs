//! Document × [`Schema`] → findings. All of them in one run: what is unknown is skipped, what is missing is reported
//! once, and the rest is looked at as if neither had been so.

use std::ops::Range;

use super::datatype::{BuiltIn, SimpleType};
use super::{AttributeDecl, Content, ElementDecl, Schema};
use crate::diagnostic::Diagnostic;
use crate::xmf::suggest;
use crate::xmf::xml::tree::{XSD, XSI};
use crate::xmf::xml::{Attribute, Element, Node, chars};

/// After so many findings the rest of a document is not looked at.
const MAX_FINDINGS: usize = 1000;

/// Compare a document with a schema; `source` is the text that the document was read from.
pub fn validate(schema: &Schema, root: &Element, source: &str) -> Vec<Diagnostic> {
    let mut validator = Validator { source, findings: Vec::new() };
    match schema.roots.iter().find(|decl| root.name.is_plain(&decl.name)) {
        Some(decl) => validator.element(root, decl),
        None => {
            let names: Vec<&str> = schema.roots.iter().map(|decl| decl.name.as_str()).collect();
            validator.unknown_element(root, "as the root", &names);
        }
    }
    validator.findings
}

struct Validator<'a> {
    source: &'a str,
    findings: Vec<Diagnostic>,
}

impl Validator<'_> {
    fn element(&mut self, element: &Element, decl: &ElementDecl) {
        self.attributes(element, &decl.attributes);
        match &decl.content {
            Content::Empty => self.empty(element),
            Content::Simple(declared) => self.simple(element, declared),
            Content::Sequence(particles) => self.sequence(element, particles),
        }
        if !matches!(decl.content, Content::Simple(_)) || !decl.attributes.is_empty() {
            // A complex type without a name: no type is derived from it, so none can stand in for it.
            if let Some(attribute) = xsi(element, "type") {
                self.bad_type(attribute, element);
            }
        }
    }

    fn attributes(&mut self, element: &Element, decls: &[AttributeDecl]) {
        for attribute in &element.attributes {
            if self.findings.len() >= MAX_FINDINGS {
                return;
            }
            if attribute.name.namespace.as_deref() == Some(XSI) {
                match attribute.name.local.as_str() {
                    // Where a schema lies is no news: the one that applies is built in.
                    "schemaLocation" | "noNamespaceSchemaLocation" | "type" => {}
                    "nil" => {
                        let message = format!("`{}` cannot be nil", element.name.local);
                        self.error(attribute.name.span.clone(), message);
                    }
                    _ => self.unknown_attribute(attribute, element, decls),
                }
                continue;
            }
            let decl = decls.iter().find(|decl| attribute.name.is_plain(&decl.name));
            let Some(decl) = decl else {
                self.unknown_attribute(attribute, element, decls);
                continue;
            };
            if let Err(bad) = decl.simple_type.check(&attribute.value) {
                let message = format!("`{}`: {}", decl.name, bad.message);
                let span = nonempty(&attribute.span, &attribute.name.span);
                let mut diagnostic = Diagnostic::error(span, message).expected(bad.expected);
                diagnostic.hint = bad.hint;
                self.findings.push(diagnostic);
            }
        }
        for decl in decls.iter().filter(|decl| decl.required) {
            if element.attribute(&decl.name).is_none() {
                let message =
                    format!("`{}` needs the attribute `{}`", element.name.local, decl.name);
                let diagnostic = Diagnostic::error(element.start_tag.clone(), message);
                self.findings.push(diagnostic.expected(format!("{}=\"…\"", decl.name)));
            }
        }
    }

    fn unknown_attribute(
        &mut self,
        attribute: &Attribute,
        element: &Element,
        decls: &[AttributeDecl],
    ) {
        let names: Vec<&str> = decls.iter().map(|decl| decl.name.as_str()).collect();
        let name = suggest::shorten(&attribute.name.describe());
        let message = format!("unknown attribute `{name}` of `{}`", element.name.local);
        let expected = match names.as_slice() {
            [] => "no attribute".to_owned(),
            names => suggest::alternatives(names.iter().copied()),
        };
        let mut diagnostic =
            Diagnostic::error(attribute.name.span.clone(), message).expected(expected);
        diagnostic.hint = suggest::did_you_mean(&attribute.name.local, names);
        self.findings.push(diagnostic);
    }

    fn empty(&mut self, element: &Element) {
        for node in element.children.iter().take(MAX_FINDINGS) {
            let span = match node {
                Node::Element(child) => child.start_tag.clone(),
                // Not even white space: an empty type is empty.
                Node::Text { span, .. } => span.clone(),
            };
            let message = format!("`{}` holds nothing", element.name.local);
            let hint = format!("write `<{} …/>`", element.name.local);
            self.findings.push(Diagnostic::error(span, message).expected("nothing").hint(hint));
        }
    }

    fn simple(&mut self, element: &Element, declared: &SimpleType) {
        for child in element.elements().take(MAX_FINDINGS) {
            let message = format!("`{}` holds text, no elements", element.name.local);
            let expected = declared.base.describe();
            self.findings
                .push(Diagnostic::error(child.start_tag.clone(), message).expected(expected));
        }
        let named;
        let mut simple_type = declared;
        if let Some(attribute) = xsi(element, "type") {
            match named_type(attribute, element) {
                Some(base) if !declared.restricted && base.derives_from(declared.base) => {
                    named = SimpleType::from(base);
                    simple_type = &named;
                }
                _ => self.bad_type(attribute, element),
            }
        }
        if let Err(bad) = simple_type.check(&element.text()) {
            let message = format!("`{}`: {}", element.name.local, bad.message);
            let span = element.value_span(self.source);
            let mut diagnostic = Diagnostic::error(span, message).expected(bad.expected);
            diagnostic.hint = bad.hint;
            self.findings.push(diagnostic);
        }
    }

    fn bad_type(&mut self, attribute: &Attribute, element: &Element) {
        let value = suggest::shorten(&attribute.value);
        let message = format!("`{value}` cannot be the type of `{}`", element.name.local);
        let span = nonempty(&attribute.span, &attribute.name.span);
        self.findings.push(Diagnostic::error(span, message).hint("leave `xsi:type` out"));
    }

    fn sequence(&mut self, element: &Element, particles: &[ElementDecl]) {
        for node in &element.children {
            let Node::Text { text, span, cdata } = node else { continue };
            // A CDATA section is text even where it holds white space or nothing.
            let full = self.findings.len() >= MAX_FINDINGS;
            if !full && (*cdata || !text.chars().all(chars::is_blank)) {
                let message = format!("text in `{}` means nothing", element.name.local);
                let expected = names(particles);
                let span = self.trimmed(span);
                self.findings.push(Diagnostic::error(span, message).expected(expected));
            }
        }
        let mut run = Run { particles, index: 0, count: 0 };
        for child in element.elements() {
            if self.findings.len() >= MAX_FINDINGS {
                return;
            }
            self.child(element, child, &mut run);
        }
        self.skip(element, &mut run, particles.len(), None);
    }

    /// Place one child in the sequence.
    fn child(&mut self, parent: &Element, child: &Element, run: &mut Run<'_>) {
        let particles = run.particles;
        let own = |decl: &ElementDecl| child.name.is_plain(&decl.name);
        let found = particles.iter().position(own);
        let Some(index) = found else {
            return self.unknown_child(parent, child, run);
        };
        let decl = &particles[index];
        if index < run.index {
            let after = &particles[run.index.min(particles.len() - 1)].name;
            let message = format!("`{}` stands in the wrong place", decl.name);
            let expected = format!("`{}` before `{after}`", decl.name);
            let span = child.name.span.clone();
            self.findings.push(Diagnostic::error(span, message).expected(expected));
        } else {
            if index > run.index {
                self.skip(parent, run, index, Some(child));
            }
            run.count = run.count.saturating_add(1);
            if decl.max.is_some_and(|max| run.count > max) {
                let message = match decl.max {
                    Some(1) => format!("a second `{}` in `{}`", decl.name, parent.name.local),
                    max => format!("`{}` more than {} times", decl.name, max.unwrap_or_default()),
                };
                self.error(child.name.span.clone(), message);
            }
        }
        self.element(child, decl);
    }

    fn unknown_child(&mut self, parent: &Element, child: &Element, run: &mut Run<'_>) {
        let place = format!("in `{}`", parent.name.local);
        let names: Vec<&str> = run.particles.iter().map(|decl| decl.name.as_str()).collect();
        let expected = suggest::alternatives(run.next().map(|decl| decl.name.as_str()));
        self.unknown_element(child, &place, &names);
        if let Some(diagnostic) = self.findings.last_mut() {
            diagnostic.expected = (!expected.is_empty()).then_some(expected);
        }
        // A misspelling stands for what it meant, so that the name is not missing as well.
        let meant = suggest::nearest(&child.name.local, names);
        let index = run.particles.iter().position(|decl| Some(decl.name.as_str()) == meant);
        if let Some(index) = index.filter(|index| *index >= run.index) {
            self.skip(parent, run, index, Some(child));
            run.count = run.count.saturating_add(1);
        }
    }

    /// Go on to the particle `to`: whatever is required before it is missing, unless it stands further down, where
    /// it will be out of place.
    fn skip(&mut self, parent: &Element, run: &mut Run<'_>, to: usize, before: Option<&Element>) {
        for index in run.index..to {
            let decl = &run.particles[index];
            let count = if index == run.index { run.count } else { 0 };
            let elsewhere = count == 0 && parent.child(&decl.name).is_some();
            if count < decl.min && !elsewhere {
                let message = match decl.min {
                    1 => format!("`{}` is missing in `{}`", decl.name, parent.name.local),
                    min => format!("`{}` is here {count} times of {min}", decl.name),
                };
                let (span, expected) = match before {
                    Some(child) => {
                        let expected = format!("`{}` before this", decl.name);
                        (child.name.span.clone(), expected)
                    }
                    None => (parent.name.span.clone(), format!("`{}` in here", decl.name)),
                };
                self.findings.push(Diagnostic::error(span, message).expected(expected));
            }
        }
        (run.index, run.count) = (to, 0);
    }

    fn unknown_element(&mut self, element: &Element, place: &str, names: &[&str]) {
        let span = element.name.span.clone();
        let local = suggest::shorten(&element.name.local);
        let (message, hint) = match &element.name.namespace {
            Some(namespace) => (
                format!(
                    "unknown element `{local}` {place}: it is in the namespace `{}`",
                    suggest::shorten(namespace)
                ),
                Some(
                    "elements of a job description are in no namespace: remove `xmlns`".to_owned(),
                ),
            ),
            None => (
                format!("unknown element `{local}` {place}"),
                suggest::did_you_mean(&element.name.local, names.iter().copied()),
            ),
        };
        let mut diagnostic =
            Diagnostic::error(span, message).expected(suggest::alternatives(names.iter().copied()));
        diagnostic.hint = hint;
        self.findings.push(diagnostic);
    }

    fn error(&mut self, span: Range<usize>, message: String) {
        self.findings.push(Diagnostic::error(span, message));
    }

    fn trimmed(&self, span: &Range<usize>) -> Range<usize> {
        let raw = self.source.get(span.clone()).unwrap_or_default();
        let trimmed = chars::trim(raw);
        let start = span.start + raw.find(trimmed).unwrap_or(0);
        start..start + trimmed.len()
    }
}

/// How far a sequence has been matched.
struct Run<'a> {
    particles: &'a [ElementDecl],
    /// The particle at hand.
    index: usize,
    /// How many elements it has taken.
    count: u32,
}

impl<'a> Run<'a> {
    /// What may come next: all up to the first that must.
    fn next(&self) -> impl Iterator<Item = &'a ElementDecl> {
        let open = move |decl: &ElementDecl, count: u32| decl.max.is_none_or(|max| count < max);
        let (here, rest) = match self.particles.get(self.index..) {
            Some([here, rest @ ..]) => (Some(here), rest),
            _ => (None, Default::default()),
        };
        let satisfied = here.is_none_or(|decl| self.count >= decl.min);
        let last = rest.iter().position(|decl| decl.min > 0).map_or(rest.len(), |last| last + 1);
        let after = if satisfied { &rest[..last] } else { Default::default() };
        let count = self.count;
        here.filter(|decl| open(decl, count)).into_iter().chain(after)
    }
}

fn xsi<'a>(element: &'a Element, local: &str) -> Option<&'a Attribute> {
    element.attributes.iter().find(|attribute| attribute.name.is_in(XSI, local))
}

/// The built-in type that `xsi:type` names.
fn named_type(attribute: &Attribute, element: &Element) -> Option<BuiltIn> {
    // No blanks around it: libxml2 takes the value as it is.
    let (prefix, local) = attribute.value.split_once(':').unwrap_or(("", &attribute.value));
    let namespace = element.scope.resolve(prefix);
    BuiltIn::by_name(local).filter(|_| namespace.as_deref() == Some(XSD))
}

fn names(particles: &[ElementDecl]) -> String {
    suggest::alternatives(particles.iter().map(|decl| decl.name.as_str()))
}

fn nonempty(span: &Range<usize>, other: &Range<usize>) -> Range<usize> {
    if span.is_empty() { other.clone() } else { span.clone() }
}
