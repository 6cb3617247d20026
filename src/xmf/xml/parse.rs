//! Text → tree, with every fault of well-formedness on the way.
//!
//! A fault inside one piece (an unknown entity, a bad attribute) does not end the reading: the rest is read as if that
//! piece had been right. A fault in the structure (tags that do not match, a piece that never ends) is reported, mended
//! as the writer most likely meant it, and marks the tree as unfit for comparison with a schema.

use std::ops::Range;
use std::rc::Rc;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::chars::{is_blank, is_char};
use super::pieces::{self, Blanks};
use super::tag::{self, Findings};
use super::tree::{Element, Node, Scope};
use crate::diagnostic::Diagnostic;
use crate::xmf::suggest;

/// How deep elements may nest. A job description nests four deep.
const MAX_DEPTH: usize = 32;

/// After so many faults a text is not read any further: it is no XML at all.
const MAX_FAULTS: usize = 100;

/// What came out of a text.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The root element, unless the structure is broken.
    pub root: Option<Element>,
    /// Why the text is not well-formed; empty if it is.
    pub faults: Vec<Diagnostic>,
    /// Why the document is refused although it is well-formed: DOCTYPE, depth, misuse of namespaces.
    pub refusals: Vec<Diagnostic>,
}

/// An element whose end tag has not been read yet.
struct Open {
    raw_name: String,
    element: Element,
}

impl Open {
    fn shown(&self) -> String {
        suggest::shorten(&self.raw_name)
    }
}

struct Builder<'a> {
    text: &'a str,
    findings: Findings,
    open: Vec<Open>,
    root: Option<Element>,
    /// A second root, tags that do not match: the tree is not what the text says.
    broken: bool,
    /// Too deep, too many faults: the rest was not read.
    stopped: bool,
}

/// Read a decoded text.
pub fn parse(text: &str) -> Parsed {
    let mut builder = Builder {
        text,
        findings: Findings::default(),
        open: Vec::new(),
        root: None,
        broken: false,
        stopped: false,
    };
    for (at, c) in text.char_indices().filter(|(_, c)| !is_char(*c)).take(20) {
        let message = format!("character {:#x} cannot stand in XML", u32::from(c));
        builder.findings.faults.push(Diagnostic::error(at..at + c.len_utf8(), message));
    }
    builder.read();
    builder.finish()
}

impl Builder<'_> {
    fn read(&mut self) {
        let mut reader = Reader::from_str(self.text);
        let config = reader.config_mut();
        config.check_end_names = false;
        config.allow_unmatched_ends = true;
        config.allow_dangling_amp = true;
        let mut start = 0;
        loop {
            let event = reader.read_event();
            let end = usize::try_from(reader.buffer_position()).unwrap_or(self.text.len());
            let raw = self.text.get(start..end).unwrap_or_default();
            match event {
                Ok(Event::Eof) => return,
                Ok(event) => self.piece(&event, raw, start),
                Err(_) => return self.unfinished(start),
            }
            self.stopped |= self.findings.faults.len() >= MAX_FAULTS;
            if self.stopped {
                return;
            }
            start = end;
        }
    }

    /// The reader found no end for what begins at `at`, or does not know it at all.
    fn unfinished(&mut self, at: usize) {
        let rest = self.text.get(at..).unwrap_or_default();
        let (what, len) = match rest {
            _ if rest.starts_with("<!--") => ("a comment is never closed", 4),
            _ if rest.starts_with("<![CDATA[") => ("a CDATA section is never closed", 9),
            _ if rest.starts_with("<?") => ("a processing instruction is never closed", 2),
            _ if rest.starts_with("<!DOCTYPE") => ("the DOCTYPE is never closed", 9),
            _ if rest.starts_with("<!") => ("`<!` begins nothing that is known here", 2),
            _ if rest.starts_with('<') => ("a tag is never closed", 1),
            _ => ("the text ends in the middle", 0),
        };
        self.broken = true;
        self.findings.faults.push(Diagnostic::error(at..at + len, what));
    }

    fn piece(&mut self, event: &Event<'_>, raw: &str, at: usize) {
        let span = at..at + raw.len();
        match event {
            Event::Start(_) | Event::Empty(_) => self.start(raw, at),
            Event::End(_) => self.end(raw, at),
            Event::Text(_) | Event::GeneralRef(_) => self.characters(raw, at),
            Event::CData(_) => {
                let inner = raw.strip_prefix("<![CDATA[").and_then(|rest| rest.strip_suffix("]]>"));
                let mut text = String::new();
                let lines = inner.unwrap_or_default().replace("\r\n", "\n").replace('\r', "\n");
                text.push_str(&lines);
                self.push(Node::Text { text, span, cdata: true });
            }
            Event::Comment(_) => pieces::comment(raw, at, &mut self.findings.faults),
            Event::PI(_) => pieces::instruction(raw, at, &mut self.findings.faults),
            Event::Decl(_) if at == 0 => {
                pieces::declaration(raw, at, &mut self.findings.faults);
            }
            Event::Decl(_) => {
                let message = "the XML declaration stands at the very start, once";
                let hint = (self.text[..at].chars().all(is_blank))
                    .then_some("remove the blank lines before it");
                let mut diagnostic = Diagnostic::error(span, message);
                diagnostic.hint = hint.map(str::to_owned);
                self.findings.faults.push(diagnostic);
            }
            Event::DocType(_) => {
                let diagnostic = Diagnostic::error(span, "a DOCTYPE is not served")
                    .expected("the root element")
                    .hint("remove it: entities are never expanded, and nothing is fetched");
                self.findings.refusals.push(diagnostic);
            }
            Event::Eof => {}
        }
    }

    fn start(&mut self, raw: &str, at: usize) {
        let scope = self.open.last().map_or_else(Rc::default, |open| open.element.scope.clone());
        let scope: Rc<Scope> = scope;
        let (raw_name, element) = tag::start_tag(raw, at, &scope, &mut self.findings);
        if self.open.is_empty() && self.root.is_some() {
            self.broken = true;
            let message = format!("a second root element, `{}`", suggest::shorten(&raw_name));
            let span = element.name.span.clone();
            self.findings.faults.push(Diagnostic::error(span, message));
        }
        if self.open.len() == MAX_DEPTH {
            let message = format!("elements nest more than {MAX_DEPTH} deep");
            self.findings.refusals.push(Diagnostic::error(element.name.span.clone(), message));
            self.stopped = true;
        }
        self.open.push(Open { raw_name, element });
        if raw.ends_with("/>") {
            self.close();
        }
    }

    fn end(&mut self, raw: &str, at: usize) {
        let span = at..at + raw.len();
        let name = tag::end_tag(raw, at, &mut self.findings);
        let shown = suggest::shorten(name);
        let Some(depth) = self.open.iter().rposition(|open| open.raw_name == name) else {
            return self.unmatched(name, at, span);
        };
        while self.open.len() > depth + 1 {
            self.broken = true;
            let Some(open) = self.open.last() else { break };
            let message =
                format!("end tag `{shown}` stands where `{}` is still open", open.shown());
            let expected = format!("</{}>", open.shown());
            let hint = format!("`{}` was opened at line {}", open.shown(), self.line(open));
            let diagnostic = Diagnostic::error(span.clone(), message).expected(expected).hint(hint);
            self.findings.faults.push(diagnostic);
            self.close();
        }
        if let Some(open) = self.open.last_mut() {
            open.element.content.end = at;
        }
        self.close();
    }

    /// An end tag whose name is not open at all.
    fn unmatched(&mut self, name: &str, at: usize, span: Range<usize>) {
        self.broken = true;
        let diagnostic =
            Diagnostic::error(span, format!("end tag `{}` closes nothing", suggest::shorten(name)));
        let Some(open) = self.open.last_mut() else {
            return self.findings.faults.push(diagnostic);
        };
        let meant = suggest::nearest(name, [open.raw_name.as_str()]).is_some();
        let diagnostic = diagnostic.expected(format!("</{}>", open.shown()));
        self.findings.faults.push(diagnostic);
        // A misspelling closes what it meant, so that it is one fault and not two.
        if meant {
            open.element.content.end = at;
            self.close();
        }
    }

    fn line(&self, open: &Open) -> usize {
        let before = self.text.get(..open.element.start_tag.start).unwrap_or_default();
        before.matches('\n').count() + 1
    }

    /// The innermost open element is complete.
    fn close(&mut self) {
        let Some(Open { mut element, .. }) = self.open.pop() else { return };
        element.content.end = element.content.end.max(element.content.start);
        if !self.open.is_empty() {
            self.push(Node::Element(element));
        } else if self.root.is_none() {
            self.root = Some(element);
        }
    }

    fn characters(&mut self, raw: &str, at: usize) {
        let faults = &mut self.findings.faults;
        if let Some(end) = raw.find("]]>") {
            let span = at + end..at + end + 3;
            let message = "`]]>` cannot stand in text";
            faults.push(Diagnostic::error(span, message).hint("write `]]&gt;`"));
        }
        let mut text = String::new();
        pieces::resolve(raw, at, Blanks::Keep, &mut text, faults);
        self.push(Node::Text { text, span: at..at + raw.len(), cdata: false });
    }

    fn push(&mut self, node: Node) {
        if matches!(&node, Node::Text { text, cdata: false, .. } if text.is_empty()) {
            return;
        }
        if let Some(open) = self.open.last_mut() {
            open.element.children.push(node);
            return;
        }
        let Node::Text { span, .. } = node else { return };
        let raw = self.text.get(span.clone()).unwrap_or_default();
        let trimmed = super::chars::trim(raw);
        if !trimmed.is_empty() {
            let start = span.start + raw.find(trimmed).unwrap_or(0);
            let span = start..start + trimmed.len();
            self.findings.faults.push(Diagnostic::error(span, "text outside the root element"));
        }
    }

    fn finish(mut self) -> Parsed {
        if self.stopped {
            return Parsed {
                root: None,
                faults: self.findings.faults,
                refusals: self.findings.refusals,
            };
        }
        while let Some(open) = self.open.last() {
            self.broken = true;
            let message = format!("`{}` is never closed", open.shown());
            let expected = format!("</{}> further down", open.shown());
            let span = open.element.start_tag.clone();
            self.findings.faults.push(Diagnostic::error(span, message).expected(expected));
            self.close();
        }
        if self.root.is_none() && self.findings.faults.is_empty() {
            let end = self.text.len();
            self.findings.faults.push(Diagnostic::error(end..end, "there is no element at all"));
        }
        let root = self.root.filter(|_| !self.broken);
        Parsed { root, faults: self.findings.faults, refusals: self.findings.refusals }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        parse(text).faults.into_iter().map(|fault| fault.message).collect()
    }

    fn refusals(text: &str) -> Vec<String> {
        parse(text).refusals.into_iter().map(|fault| fault.message).collect()
    }

    #[test]
    fn every_part_knows_its_place() {
        let text = "<?xml version='1.0'?>\n<a x='1&amp;2'><b>t&lt;</b><c/></a>\n";
        let root = parse(text).root.unwrap();
        assert_eq!(&text[root.start_tag.clone()], "<a x='1&amp;2'>");
        assert_eq!(&text[root.content.clone()], "<b>t&lt;</b><c/>");
        assert_eq!(&text[root.attributes[0].span.clone()], "1&amp;2");
        assert_eq!(root.attributes[0].value, "1&2");
        let b = root.child("b").unwrap();
        assert_eq!(&text[b.content.clone()], "t&lt;");
        assert_eq!(b.text(), "t<");
        assert!(root.child("c").unwrap().content.is_empty());
    }

    #[test]
    fn names_are_resolved_in_their_scope() {
        let root =
            parse("<a xmlns:p='u'><p:b p:x='' x=''/><c xmlns='d' y=''/><q:d/></a>").root.unwrap();
        let names: Vec<_> = root.elements().map(|element| element.name.describe()).collect();
        assert_eq!(names, ["{u}b", "{d}c", "q:d"]);
        let b = root.elements().next().unwrap();
        assert_eq!(b.attributes[0].name.describe(), "{u}x");
        assert_eq!(b.attributes[1].name.describe(), "x");
    }

    #[test]
    fn one_broken_piece_does_not_hide_the_next() {
        assert_eq!(
            faults("<a b=1><c>&foo;</c><!-- -- --><d e='<'/></a>"),
            [
                "the value of attribute `b` stands in no quotes",
                "unknown entity `foo`",
                "`--` cannot stand in a comment",
                "`<` cannot stand in the value of attribute `e`",
            ]
        );
    }

    #[test]
    fn tags_that_do_not_match_are_told_apart() {
        assert_eq!(faults("<a><b></a>"), ["end tag `a` stands where `b` is still open"]);
        assert_eq!(faults("<a></b></a>"), ["end tag `b` closes nothing"]);
        assert_eq!(faults("<a><job></jop></a>"), ["end tag `jop` closes nothing"]);
        assert_eq!(faults("<a>"), ["`a` is never closed"]);
        assert_eq!(faults("<a/><b/>"), ["a second root element, `b`"]);
        assert_eq!(faults("<a"), ["a tag is never closed"]);
        assert_eq!(faults(""), ["there is no element at all"]);
        assert_eq!(faults("<a/>x"), ["text outside the root element"]);
    }

    #[test]
    fn a_doctype_is_refused_and_nothing_is_expanded() {
        let laughs = "<!DOCTYPE a [<!ENTITY x 'ha'><!ENTITY y '&x;&x;&x;'>]><a>&y;</a>";
        assert_eq!(refusals(laughs), ["a DOCTYPE is not served"]);
        assert_eq!(faults(laughs), ["unknown entity `y`"]);
        let outside = "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>";
        assert_eq!(refusals(outside), ["a DOCTYPE is not served"]);
    }

    #[test]
    fn depth_is_capped() {
        let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert!(refusals(&nested(MAX_DEPTH)).is_empty());
        assert_eq!(refusals(&nested(MAX_DEPTH + 1)), ["elements nest more than 32 deep"]);
        // Deeper still is one refusal, and neither a deep tree nor a deep recursion.
        assert_eq!(refusals(&nested(100_000)).len(), 1);
    }

    #[test]
    fn namespaces_are_not_misused() {
        for text in [
            "<a xmlns:p=''/>",
            "<a xmlns:xml='u'/>",
            "<a xmlns:xmlns='u'/>",
            "<a xmlns:p='http://www.w3.org/2000/xmlns/'/>",
            "<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
            "<a xmlns:p='u' xmlns:q='u' p:x='' q:x=''/>",
        ] {
            assert_eq!(refusals(text).len(), 1, "{text}");
            assert_eq!(faults(text), [""; 0], "{text}");
        }
    }
}
