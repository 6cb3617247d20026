//! Start and end tags, from their raw text.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::rc::Rc;

use super::chars::{is_blank, name_len};
use super::pieces::{Blanks, resolve};
use super::tree::{Attribute, Element, Name, Scope, XML};
use crate::diagnostic::Diagnostic;
use crate::xmf::suggest::shorten;

/// The namespace of `xmlns` itself, which nothing may be bound to.
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// What is wrong with a document.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// It is not well-formed.
    pub(super) faults: Vec<Diagnostic>,
    /// It is well-formed, and yet refused.
    pub(super) refusals: Vec<Diagnostic>,
}

/// An attribute as it is written.
struct RawAttribute<'a> {
    name: &'a str,
    name_span: Range<usize>,
    value: String,
    span: Range<usize>,
}

/// Read `<name attribute="value" …>` or `<name …/>`. The element's content is still empty, just behind the tag.
///
/// A fault ends the reading of this tag: what was read of it until then is returned, if only its name was.
pub(super) fn start_tag(
    raw: &str,
    at: usize,
    around: &Rc<Scope>,
    findings: &mut Findings,
) -> (String, Element) {
    let inner = raw.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or_default();
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let name = name_len(inner);
    let raw_name = &inner[..name];
    if name == 0 {
        let message = "`<` begins no tag here: a name must follow at once";
        let hint = "write `&lt;` for a less-than sign";
        findings.faults.push(Diagnostic::error(at..at + 1, message).hint(hint));
    }
    let raw_attributes =
        if name == 0 { Vec::new() } else { attributes(&inner[name..], at + 1 + name, findings) };

    let scope = scope(&raw_attributes, around, findings);
    let mut seen = HashSet::new();
    let mut attributes = Vec::new();
    for raw in raw_attributes {
        if raw.name == "xmlns" || raw.name.starts_with("xmlns:") && raw.name.len() > 6 {
            continue;
        }
        let name = qualified(raw.name, raw.name_span, &scope, false);
        if !seen.insert((name.namespace.clone(), name.local.clone())) {
            let message = format!("attribute `{}` is here twice", shorten(&name.describe()));
            findings.refusals.push(Diagnostic::error(name.span.clone(), message));
        }
        attributes.push(Attribute { name, value: raw.value, span: raw.span });
    }
    let end = at + raw.len();
    let content = if raw.ends_with("/>") { end - 2..end - 2 } else { end..end };
    let element = Element {
        name: qualified(raw_name, at + 1..at + 1 + name, &scope, true),
        start_tag: at..end,
        content,
        attributes,
        children: Vec::new(),
        scope,
    };
    (raw_name.to_owned(), element)
}

/// Read an end tag, `</name>`: the name.
pub(super) fn end_tag<'a>(raw: &'a str, at: usize, findings: &mut Findings) -> &'a str {
    let inner = raw.strip_prefix("</").and_then(|rest| rest.strip_suffix('>')).unwrap_or_default();
    let name = name_len(inner);
    if name == 0 || !inner[name..].chars().all(is_blank) {
        let message = "an end tag is `</`, a name and `>`";
        findings.faults.push(Diagnostic::error(at..at + raw.len(), message));
    }
    &inner[..name]
}

fn attributes<'a>(inner: &'a str, at: usize, findings: &mut Findings) -> Vec<RawAttribute<'a>> {
    let mut attributes: Vec<RawAttribute<'a>> = Vec::new();
    let mut names = HashSet::new();
    let mut rest = inner;
    loop {
        let here = |rest: &str| at + (inner.len() - rest.len());
        let trimmed = rest.trim_start_matches(is_blank);
        if trimmed.is_empty() {
            return attributes;
        }
        let mut fault = |rest: &str, message: String| {
            let start = here(rest);
            let len = rest.find(is_blank).unwrap_or(rest.len()).max(1);
            findings
                .faults
                .push(Diagnostic::error(start..start + len, message).expected("name=\"value\""));
        };
        if trimmed.len() == rest.len() {
            fault(rest, "a blank is missing before this".into());
            return attributes;
        }
        rest = trimmed;
        let name = name_len(rest);
        if name == 0 {
            fault(rest, "an attribute begins with a name".into());
            return attributes;
        }
        let (name_span, name) = (here(rest)..here(rest) + name, &rest[..name]);
        let after = rest[name.len()..].trim_start_matches(is_blank);
        let Some(after) = after.strip_prefix('=') else {
            fault(rest, format!("attribute `{}` has no value", shorten(name)));
            return attributes;
        };
        let after = after.trim_start_matches(is_blank);
        let quoted = after
            .chars()
            .next()
            .filter(|c| matches!(c, '"' | '\''))
            .and_then(|quote| after[1..].split_once(quote));
        let Some((raw, remaining)) = quoted else {
            fault(rest, format!("the value of attribute `{}` stands in no quotes", shorten(name)));
            return attributes;
        };
        let start = here(after) + 1;
        let span = start..start + raw.len();
        rest = remaining;
        if let Some(less) = raw.find('<') {
            let message = format!("`<` cannot stand in the value of attribute `{}`", shorten(name));
            let span = start + less..start + less + 1;
            findings.faults.push(Diagnostic::error(span, message).hint("write `&lt;`"));
        }
        let mut value = String::new();
        resolve(raw, start, Blanks::Normalise, &mut value, &mut findings.faults);
        if !names.insert(name) {
            let message = format!("attribute `{}` is here twice", shorten(name));
            findings.faults.push(Diagnostic::error(name_span, message));
            continue;
        }
        attributes.push(RawAttribute { name, name_span, value, span });
    }
}

/// The scope inside a tag with these attributes.
fn scope(
    attributes: &[RawAttribute<'_>],
    around: &Rc<Scope>,
    findings: &mut Findings,
) -> Rc<Scope> {
    let mut declared = HashMap::new();
    for attribute in attributes {
        let prefix = match attribute.name.strip_prefix("xmlns") {
            Some("") => "",
            Some(rest) if rest.starts_with(':') && rest.len() > 1 => &rest[1..],
            _ => continue,
        };
        let uri = attribute.value.as_str();
        // Namespaces in XML 1.0, section 3. A general reader warns and goes on; here it is a mistake.
        let wrong = match (prefix, uri) {
            ("xml", XML) => continue,
            ("xml", _) => Some("prefix `xml` cannot be bound anew"),
            ("xmlns", _) => Some("prefix `xmlns` cannot be declared"),
            (_, XML | XMLNS) => Some("this namespace cannot be bound to another prefix"),
            ("", _) => None,
            (_, "") => Some("a prefix cannot be bound to nothing"),
            _ => None,
        };
        match wrong {
            Some(message) => {
                findings.refusals.push(Diagnostic::error(attribute.name_span.clone(), message));
            }
            None => {
                declared.insert(prefix.to_owned(), Rc::from(uri));
            }
        }
    }
    if declared.is_empty() {
        return around.clone();
    }
    Rc::new(Scope { declared, parent: Some(around.clone()) })
}

/// The name that `raw` is, in a scope. Only elements are in the default namespace.
fn qualified(raw: &str, span: Range<usize>, scope: &Scope, element: bool) -> Name {
    let (prefix, local) = match raw.split_once(':') {
        Some((prefix, local))
            if !prefix.is_empty() && name_len(local) > 0 && !local.contains(':') =>
        {
            (prefix, local)
        }
        _ => ("", raw),
    };
    let namespace = if element || !prefix.is_empty() { scope.resolve(prefix) } else { None };
    // A prefix that is bound to nothing stays part of the name, which then is none of ours.
    let local = if namespace.is_none() { raw } else { local };
    Name { namespace, local: local.to_owned(), span }
}
