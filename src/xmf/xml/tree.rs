//! A document as a tree. Every part knows where it stands in the decoded text, in bytes.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

/// The namespace of XML Schema itself.
pub const XSD: &str = "http://www.w3.org/2001/XMLSchema";
/// The namespace of the attributes that XML Schema puts into documents.
pub const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";
/// The namespace that `xml:` always means.
pub const XML: &str = "http://www.w3.org/XML/1998/namespace";

/// A name: what it is, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// URI of the namespace, if it has one.
    pub namespace: Option<Rc<str>>,
    /// The part after the prefix. A name whose prefix is bound to nothing keeps it here, as libxml2 does.
    pub local: String,
    /// Where the whole name stands.
    pub span: Range<usize>,
}

impl Name {
    /// Whether this is `local` in no namespace.
    pub fn is_plain(&self, local: &str) -> bool {
        self.namespace.is_none() && self.local == local
    }

    /// Whether this is `local` in `namespace`.
    pub fn is_in(&self, namespace: &str, local: &str) -> bool {
        self.namespace.as_deref() == Some(namespace) && self.local == local
    }

    /// For people: the local name, with the usual prefix, or with `{namespace}` where there is none.
    pub fn describe(&self) -> String {
        let local = &self.local;
        match self.namespace.as_deref() {
            None => local.clone(),
            Some(XSD) => format!("xs:{local}"),
            Some(XSI) => format!("xsi:{local}"),
            Some(XML) => format!("xml:{local}"),
            Some(namespace) => format!("{{{namespace}}}{local}"),
        }
    }
}

/// An attribute that is no namespace declaration.
#[derive(Clone, Debug)]
pub struct Attribute {
    /// Its name.
    pub name: Name,
    /// Its value, references resolved, white space normalised as for CDATA.
    pub value: String,
    /// Where the value stands, without the quotes.
    pub span: Range<usize>,
}

/// An element.
#[derive(Clone, Debug)]
pub struct Element {
    /// Its name.
    pub name: Name,
    /// Its start tag: `<…>`.
    pub start_tag: Range<usize>,
    /// What lies between its tags; for `<a/>`, empty and just before the `/>`.
    pub content: Range<usize>,
    /// Its attributes, in the order of the text.
    pub attributes: Vec<Attribute>,
    /// What is in it. Comments and processing instructions are not kept.
    pub children: Vec<Node>,
    /// The prefixes that are bound here.
    pub scope: Rc<Scope>,
}

/// A child of an element.
#[derive(Clone, Debug)]
pub enum Node {
    /// An element.
    Element(Element),
    /// Character data, references resolved, line ends normalised. Neighbouring pieces are not joined.
    Text {
        /// The characters.
        text: String,
        /// Where they stand.
        span: Range<usize>,
        /// Whether they stand in a CDATA section.
        cdata: bool,
    },
}

impl Element {
    /// The child elements, in order.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text { .. } => None,
        })
    }

    /// The child elements in no namespace with this name.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Element> {
        self.elements().filter(move |element| element.name.is_plain(name))
    }

    /// The first child element in no namespace with this name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.elements().find(|element| element.name.is_plain(name))
    }

    /// The attribute in no namespace with this name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name.is_plain(name))
    }

    /// All character data directly in this element, as one string.
    pub fn text(&self) -> String {
        self.children
            .iter()
            .filter_map(|node| match node {
                Node::Text { text, .. } => Some(text.as_str()),
                Node::Element(_) => None,
            })
            .collect()
    }

    /// Where a remark on the element's value belongs: the content without the white space around it, or the start
    /// tag where there is none.
    pub fn value_span(&self, source: &str) -> Range<usize> {
        let content = source.get(self.content.clone()).unwrap_or_default();
        let trimmed = super::chars::trim(content);
        if trimmed.is_empty() {
            return self.start_tag.clone();
        }
        let lead = content.len() - content.trim_start_matches(super::chars::is_blank).len();
        let start = self.content.start + lead;
        start..start + trimmed.len()
    }
}

/// The namespace prefixes that are bound at an element: those of its own tag, then those of its parents.
#[derive(Debug, Default)]
pub struct Scope {
    /// Declared here; the empty prefix is the default namespace, an empty URI takes it away.
    pub declared: HashMap<String, Rc<str>>,
    /// The scope around.
    pub parent: Option<Rc<Scope>>,
}

impl Scope {
    /// The URI that a prefix is bound to (`""` asks for the default namespace).
    pub fn resolve(&self, prefix: &str) -> Option<Rc<str>> {
        if prefix == "xml" {
            return Some(XML.into());
        }
        let mut scope = Some(self);
        while let Some(here) = scope {
            if let Some(uri) = here.declared.get(prefix) {
                return (!uri.is_empty()).then(|| uri.clone());
            }
            scope = here.parent.as_deref();
        }
        None
    }
}
