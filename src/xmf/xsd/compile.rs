//! Schema document → [`Schema`].

use std::ops::Range;

use super::datatype::{BuiltIn, SimpleType, integer};
use super::{AttributeDecl, Content, ElementDecl, Schema};
use crate::diagnostic::Diagnostic;
use crate::xmf::suggest;
use crate::xmf::xml::tree::XSD;
use crate::xmf::xml::{Element, Name, Node, chars};

/// Every element name of XML Schema 1.0, so that a misspelling is told from what is not served.
const CONSTRUCTS: [&str; 42] = [
    "schema",
    "element",
    "attribute",
    "complexType",
    "simpleType",
    "sequence",
    "choice",
    "all",
    "group",
    "attributeGroup",
    "any",
    "anyAttribute",
    "annotation",
    "documentation",
    "appinfo",
    "simpleContent",
    "complexContent",
    "restriction",
    "extension",
    "list",
    "union",
    "include",
    "import",
    "redefine",
    "notation",
    "key",
    "keyref",
    "unique",
    "selector",
    "field",
    "enumeration",
    "whiteSpace",
    "pattern",
    "length",
    "minLength",
    "maxLength",
    "minInclusive",
    "maxInclusive",
    "minExclusive",
    "maxExclusive",
    "totalDigits",
    "fractionDigits",
];

/// Compile a schema from the root element of its document; `source` is the text that it was read from.
///
/// # Errors
/// Every construct that is wrong or not served, each with its place.
pub fn compile(root: &Element, source: &str) -> Result<Schema, Vec<Diagnostic>> {
    let mut compiler = Compiler { source, findings: Vec::new() };
    let schema = compiler.schema(root);
    if compiler.findings.is_empty() { Ok(schema) } else { Err(compiler.findings) }
}

struct Compiler<'a> {
    source: &'a str,
    findings: Vec<Diagnostic>,
}

impl Compiler<'_> {
    fn report(&mut self, diagnostic: Diagnostic) {
        self.findings.push(diagnostic);
    }

    fn schema(&mut self, root: &Element) -> Schema {
        if !root.name.is_in(XSD, "schema") {
            let message = format!("`{}` is no schema", root.name.describe());
            let expected = format!("`schema` in the namespace {XSD}");
            self.report(Diagnostic::error(root.name.span.clone(), message).expected(expected));
            return Schema { roots: Vec::new() };
        }
        self.attributes(root, &[]);
        let mut roots: Vec<ElementDecl> = Vec::new();
        for child in self.children(root, &["element"]) {
            // How often it occurs is for those who refer to it, and nobody can here.
            if let Some(occurs) = child.attribute("minOccurs").or(child.attribute("maxOccurs")) {
                let message = format!("a global element has no `{}`", occurs.name.local);
                self.report(Diagnostic::error(occurs.name.span.clone(), message));
            }
            let decl = self.element(child);
            self.unique(&roots, &decl, &child.name);
            roots.push(decl);
        }
        if roots.is_empty() && self.findings.is_empty() {
            self.report(Diagnostic::error(
                root.start_tag.clone(),
                "the schema declares no element",
            ));
        }
        Schema { roots }
    }

    fn element(&mut self, source: &Element) -> ElementDecl {
        self.attributes(source, &["name", "type", "minOccurs", "maxOccurs"]);
        let (min, max) = self.occurs(source);
        let mut decl = ElementDecl {
            name: self.name(source),
            min,
            max,
            content: Content::Empty,
            attributes: Vec::new(),
        };
        let children = self.children(source, &["simpleType", "complexType"]);
        match (source.attribute("type"), children.as_slice()) {
            (Some(_), []) => decl.content = Content::Simple(self.type_of(source, "type")),
            (None, [child]) if child.name.local == "simpleType" => {
                decl.content = Content::Simple(self.simple_type(child));
            }
            (None, [child]) => (decl.content, decl.attributes) = self.complex_type(child),
            (None, []) => self.untyped(source),
            _ => self.typed_twice(source),
        }
        decl
    }

    fn complex_type(&mut self, source: &Element) -> (Content, Vec<AttributeDecl>) {
        self.attributes(source, &[]);
        let children = self.children(source, &["sequence", "simpleContent", "attribute"]);
        let (mut content, mut attributes) = (Content::Empty, Vec::new());
        for (index, child) in children.iter().enumerate() {
            match child.name.local.as_str() {
                "attribute" => self.attribute(child, &mut attributes),
                _ if index > 0 => {
                    let message = format!("`{}` stands first in its type", child.name.local);
                    self.report(Diagnostic::error(child.name.span.clone(), message));
                }
                "sequence" => content = self.sequence(child),
                _ => (content, attributes) = self.simple_content(child),
            }
            if child.name.local == "simpleContent" && children.len() > 1 {
                let message = "`simpleContent` stands alone; its attributes stand in the extension";
                self.report(Diagnostic::error(child.name.span.clone(), message));
            }
        }
        (content, attributes)
    }

    fn sequence(&mut self, source: &Element) -> Content {
        self.attributes(source, &[]);
        let mut particles: Vec<ElementDecl> = Vec::new();
        for child in self.children(source, &["element"]) {
            let decl = self.element(child);
            // A name that occurs once needs no look ahead: the standard's Unique Particle Attribution holds.
            self.unique(&particles, &decl, &child.name);
            particles.push(decl);
        }
        // An empty sequence is empty content.
        if particles.is_empty() { Content::Empty } else { Content::Sequence(particles) }
    }

    fn unique(&mut self, others: &[ElementDecl], decl: &ElementDecl, at: &Name) {
        if others.iter().any(|other| other.name == decl.name) {
            let message = format!("element `{}` is declared twice here", decl.name);
            self.report(Diagnostic::error(at.span.clone(), message));
        }
    }

    fn simple_content(&mut self, source: &Element) -> (Content, Vec<AttributeDecl>) {
        self.attributes(source, &[]);
        let mut attributes = Vec::new();
        let children = self.children(source, &["extension"]);
        let [extension] = children.as_slice() else {
            let message = "`simpleContent` holds one `extension`";
            self.report(Diagnostic::error(source.name.span.clone(), message));
            return (Content::Empty, attributes);
        };
        self.attributes(extension, &["base"]);
        let base = self.type_of(extension, "base");
        for child in self.children(extension, &["attribute"]) {
            self.attribute(child, &mut attributes);
        }
        (Content::Simple(base), attributes)
    }

    fn attribute(&mut self, source: &Element, attributes: &mut Vec<AttributeDecl>) {
        self.attributes(source, &["name", "type", "use"]);
        let required = match source.attribute("use") {
            None => false,
            Some(value) if value.value == "optional" => false,
            Some(value) if value.value == "required" => true,
            Some(value) => {
                let message = format!("`use=\"{}\"` is not supported", value.value);
                let diagnostic = Diagnostic::error(value.span.clone(), message);
                self.report(diagnostic.expected("`optional` or `required`"));
                false
            }
        };
        let name = self.name(source);
        let children = self.children(source, &["simpleType"]);
        let simple_type = match (source.attribute("type"), children.as_slice()) {
            (Some(_), []) => self.type_of(source, "type"),
            (None, [child]) => self.simple_type(child),
            (None, []) => {
                self.untyped(source);
                BuiltIn::String.into()
            }
            _ => {
                self.typed_twice(source);
                BuiltIn::String.into()
            }
        };
        if attributes.iter().any(|other| other.name == name) {
            let message = format!("attribute `{name}` is declared twice here");
            self.report(Diagnostic::error(source.name.span.clone(), message));
        }
        attributes.push(AttributeDecl { name, required, simple_type });
    }

    fn simple_type(&mut self, source: &Element) -> SimpleType {
        self.attributes(source, &[]);
        let children = self.children(source, &["restriction"]);
        let [restriction] = children.as_slice() else {
            let message = "`simpleType` holds one `restriction`";
            self.report(Diagnostic::error(source.name.span.clone(), message));
            return BuiltIn::String.into();
        };
        self.attributes(restriction, &["base"]);
        let mut kind = self.type_of(restriction, "base");
        kind.restricted = true;
        for facet in self.children(restriction, &["enumeration", "minInclusive", "maxInclusive"]) {
            self.attributes(facet, &["value"]);
            self.facet(facet, &mut kind);
        }
        kind
    }

    fn facet(&mut self, facet: &Element, kind: &mut SimpleType) {
        let Some(value) = facet.attribute("value") else {
            return self.missing(facet, "value");
        };
        let numeric = matches!(kind.base, BuiltIn::Integer(..));
        let name = facet.name.local.as_str();
        if numeric == (name == "enumeration") {
            let message = format!("`{name}` is not supported for `{}`", kind.base.name());
            return self.report(Diagnostic::error(facet.name.span.clone(), message));
        }
        let checked = match SimpleType::from(kind.base).check(&value.value) {
            Ok(checked) => checked,
            Err(bad) => {
                let diagnostic = Diagnostic::error(value.span.clone(), bad.message);
                return self.report(diagnostic.expected(bad.expected));
            }
        };
        let slot = match name {
            "enumeration" => return kind.enumeration.push(checked),
            "minInclusive" => &mut kind.min,
            _ => &mut kind.max,
        };
        if slot.is_some() {
            let message = format!("`{name}` is here twice");
            return self.report(Diagnostic::error(facet.name.span.clone(), message));
        }
        *slot = integer(&checked);
        if kind.min.zip(kind.max).is_some_and(|(min, max)| min > max) {
            let message = "no number is left between `minInclusive` and `maxInclusive`";
            self.report(Diagnostic::error(value.span.clone(), message));
        }
    }

    /// The built-in type that a QName in the attribute `attribute` means.
    fn type_of(&mut self, source: &Element, attribute: &str) -> SimpleType {
        let string = BuiltIn::String.into();
        let Some(value) = source.attribute(attribute) else {
            self.missing(source, attribute);
            return string;
        };
        let name = chars::trim(&value.value);
        let (prefix, local) = name.split_once(':').unwrap_or(("", name));
        let namespace = source.scope.resolve(prefix);
        if namespace.as_deref() != Some(XSD) {
            // The prefix that this very element is written with means XML Schema.
            let ours = self.prefixed(source, local);
            let hint = (BuiltIn::by_name(local).is_some() || BuiltIn::is_not_served(local))
                .then(|| format!("did you mean `{ours}`?"));
            let mut diagnostic =
                Diagnostic::error(value.span.clone(), format!("`{name}` is no type"))
                    .expected("a built-in type of XML Schema");
            diagnostic.hint = hint;
            self.report(diagnostic);
            return string;
        }
        if let Some(known) = BuiltIn::by_name(local) {
            return known.into();
        }
        let diagnostic = if BuiltIn::is_not_served(local) {
            Diagnostic::error(value.span.clone(), format!("type `{name}` is not supported"))
        } else {
            let mut diagnostic =
                Diagnostic::error(value.span.clone(), format!("`{name}` is no type"));
            diagnostic.hint = suggest::nearest(local, BuiltIn::names())
                .map(|near| format!("did you mean `{}`?", self.prefixed(source, near)));
            diagnostic
        };
        self.report(diagnostic);
        string
    }

    fn prefixed(&self, source: &Element, local: &str) -> String {
        let is_schema = |prefix: &&str| source.scope.resolve(prefix).as_deref() == Some(XSD);
        match ["xs", "xsd", ""].iter().find(|prefix| is_schema(prefix)) {
            Some(&"") => local.to_owned(),
            Some(prefix) => format!("{prefix}:{local}"),
            None => format!("xs:{local}"),
        }
    }

    fn occurs(&mut self, source: &Element) -> (u32, Option<u32>) {
        let mut number = |name: &str, unbounded: bool| -> Option<u32> {
            let attribute = source.attribute(name)?;
            let value = chars::trim(&attribute.value);
            if unbounded && value == "unbounded" {
                return None;
            }
            let number = integer(value).and_then(|number| u32::try_from(number).ok());
            if number.is_none() {
                let message = format!("`{}` is no number of times", suggest::shorten(value));
                self.report(Diagnostic::error(attribute.span.clone(), message));
            }
            number.or(Some(1))
        };
        let min = number("minOccurs", false).unwrap_or(1);
        let max = match source.attribute("maxOccurs") {
            Some(_) => number("maxOccurs", true),
            None => Some(1),
        };
        if max.is_some_and(|max| max < min || max == 0) {
            let message = "`maxOccurs` is less than `minOccurs`, or nothing at all";
            self.report(Diagnostic::error(source.start_tag.clone(), message));
        }
        (min, max)
    }

    fn name(&mut self, source: &Element) -> String {
        let Some(name) = source.attribute("name") else {
            self.missing(source, "name");
            return String::new();
        };
        let value = chars::trim(&name.value);
        if let Err(bad) = SimpleType::from(BuiltIn::NcName).check(value) {
            self.report(Diagnostic::error(name.span.clone(), bad.message).expected(bad.expected));
        }
        value.to_owned()
    }

    fn missing(&mut self, source: &Element, attribute: &str) {
        let message = format!("`{}` needs the attribute `{attribute}`", source.name.local);
        self.report(Diagnostic::error(source.start_tag.clone(), message));
    }

    fn untyped(&mut self, source: &Element) {
        let message = format!("`{}` without a type is not supported", source.name.local);
        self.report(Diagnostic::error(source.start_tag.clone(), message));
    }

    fn typed_twice(&mut self, source: &Element) {
        let message = format!("`{}` has more than one type", source.name.local);
        self.report(Diagnostic::error(source.start_tag.clone(), message));
    }

    /// Refuse every attribute but these.
    fn attributes(&mut self, source: &Element, supported: &[&str]) {
        for attribute in &source.attributes {
            if attribute.name.namespace.is_some()
                || !supported.contains(&attribute.name.local.as_str())
            {
                let message = format!(
                    "attribute `{}` of `{}` is not supported",
                    attribute.name.describe(),
                    source.name.local
                );
                let mut diagnostic = Diagnostic::error(attribute.name.span.clone(), message);
                diagnostic.hint =
                    suggest::did_you_mean(&attribute.name.local, supported.iter().copied());
                self.report(diagnostic);
            }
        }
    }

    /// The child elements; every one but these (and `annotation`) is refused, as is text.
    fn children<'a>(&mut self, source: &'a Element, supported: &[&str]) -> Vec<&'a Element> {
        let mut children = Vec::new();
        for node in &source.children {
            let child = match node {
                Node::Element(child) => child,
                Node::Text { text, span, .. } => {
                    if !text.chars().all(chars::is_blank) {
                        self.stray_text(source, span.clone());
                    }
                    continue;
                }
            };
            let ours = child.name.namespace.as_deref() == Some(XSD);
            let local = child.name.local.as_str();
            if ours && local == "annotation" {
                continue;
            }
            if ours && supported.contains(&local) {
                children.push(child);
                continue;
            }
            let span = child.name.span.clone();
            let parent = &source.name.local;
            let diagnostic = if ours && CONSTRUCTS.contains(&local) {
                Diagnostic::error(span, format!("`{local}` is not supported in `{parent}`"))
                    .expected(suggest::alternatives(supported.iter().copied()))
            } else {
                let message = format!("`{}` is no part of XML Schema", child.name.describe());
                let mut diagnostic = Diagnostic::error(span, message);
                diagnostic.hint = suggest::did_you_mean(local, supported.iter().copied());
                diagnostic
            };
            self.report(diagnostic);
        }
        children
    }

    fn stray_text(&mut self, source: &Element, span: Range<usize>) {
        let raw = self.source.get(span.clone()).unwrap_or_default();
        let trimmed = chars::trim(raw);
        let start = span.start + raw.find(trimmed).unwrap_or(0);
        let message = format!("text in `{}` means nothing", source.name.local);
        self.report(Diagnostic::error(start..start + trimmed.len(), message));
    }
}
