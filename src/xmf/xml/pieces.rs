//! The small pieces of a document: references and character data, the XML declaration, comments and processing
//! instructions. Each is checked on its raw text; `at` is where that text begins in the document.

use std::ops::Range;

use super::chars::{is_blank, is_char, name_len};
use crate::diagnostic::Diagnostic;
use crate::xmf::suggest::shorten;

/// Whether white space is kept as it is, or each becomes a blank, as in attribute values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Blanks {
    Keep,
    Normalise,
}

/// Append what `raw` stands for to `out`: line ends become `\n`, references their characters.
pub(super) fn resolve(
    raw: &str,
    at: usize,
    blanks: Blanks,
    out: &mut String,
    faults: &mut Vec<Diagnostic>,
) {
    let mut rest = raw;
    while let Some(c) = rest.chars().next() {
        let here = at + (raw.len() - rest.len());
        let mut len = c.len_utf8();
        match c {
            '&' => {
                let (reference_len, resolved) = reference(rest);
                len = reference_len;
                match resolved {
                    Ok(resolved) => out.push(resolved),
                    Err(fault) => faults.push(fault.place(here..here + len)),
                }
            }
            '\r' => {
                // A CR before an LF belongs to it; alone it is a line end of its own.
                if !rest[1..].starts_with('\n') {
                    out.push(if blanks == Blanks::Keep { '\n' } else { ' ' });
                }
            }
            '\n' | '\t' if blanks == Blanks::Normalise => out.push(' '),
            c => out.push(c),
        }
        rest = &rest[len..];
    }
}

/// What is wrong with a reference.
struct BadReference {
    message: String,
    hint: Option<String>,
}

impl BadReference {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    fn place(self, span: Range<usize>) -> Diagnostic {
        let mut diagnostic = Diagnostic::error(span, self.message);
        diagnostic.hint = self.hint;
        diagnostic
    }
}

/// The reference that `text` begins with: its length, and the character it stands for.
fn reference(text: &str) -> (usize, Result<char, BadReference>) {
    let body = &text[1..];
    let name = match body.strip_prefix('#') {
        Some(digits) => {
            1 + digits.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(digits.len())
        }
        None => name_len(body),
    };
    if name == 0 || !body[name..].starts_with(';') {
        let written = if name == 0 { "&" } else { &text[..=name] };
        let bad = BadReference {
            message: format!("`{}` is no reference: a `;` is missing", shorten(written)),
            hint: Some("write `&amp;` for an ampersand".into()),
        };
        return (1 + name, Err(bad));
    }
    let len = 1 + name + 1;
    let name = &body[..name];
    let resolved = match name {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "apos" => Ok('\''),
        "quot" => Ok('"'),
        _ if name.starts_with('#') => character(&name[1..]),
        _ => Err(BadReference {
            message: format!("unknown entity `{}`", shorten(name)),
            hint: Some(
                "only lt, gt, amp, apos and quot exist: a job description has no DTD".into(),
            ),
        }),
    };
    (len, resolved)
}

/// The character of `&#digits;`.
fn character(digits: &str) -> Result<char, BadReference> {
    let (digits, radix) = match digits.strip_prefix('x') {
        Some(digits) => (digits, 16),
        None => (digits, 10),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(BadReference::new(
            "a character reference is `&#` and digits, or `&#x` and hexadecimal ones",
        ));
    }
    // Too large for u32 is too large for a character.
    let number = u32::from_str_radix(digits, radix).unwrap_or(u32::MAX);
    match char::from_u32(number).filter(|&c| is_char(c)) {
        Some(c) => Ok(c),
        None => Err(BadReference::new(format!("character {number:#x} cannot stand in XML"))),
    }
}

/// Check a comment, `<!--…-->`.
pub(super) fn comment(raw: &str, at: usize, faults: &mut Vec<Diagnostic>) {
    // `<!-->` and `<!--->` have no room for both ends.
    let inner = raw.strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->"));
    match inner {
        None => faults.push(Diagnostic::error(at..at + raw.len(), "a comment is never closed")),
        Some(inner) => {
            if let Some(dashes) = format!("{inner}-").find("--") {
                let here = at + 4 + dashes;
                faults.push(Diagnostic::error(here..here + 2, "`--` cannot stand in a comment"));
            }
        }
    }
}

/// Check a processing instruction, `<?target …?>`.
pub(super) fn instruction(raw: &str, at: usize, faults: &mut Vec<Diagnostic>) {
    let inner = raw.strip_prefix("<?").and_then(|rest| rest.strip_suffix("?>")).unwrap_or_default();
    let target = name_len(inner);
    let span = at + 2..at + 2 + target.max(1);
    if target == 0 {
        faults.push(Diagnostic::error(span, "a processing instruction begins with a name"));
    } else if inner[..target].eq_ignore_ascii_case("xml") {
        faults.push(Diagnostic::error(span, "the XML declaration stands at the very start, once"));
    } else if !inner[target..].is_empty() && !inner[target..].starts_with(is_blank) {
        let message = format!("a blank is missing after `{}`", shorten(&inner[..target]));
        faults.push(Diagnostic::error(span, message));
    }
}

/// Check the XML declaration, `<?xml version="1.0" encoding="…" standalone="…"?>`.
pub(super) fn declaration(raw: &str, at: usize, faults: &mut Vec<Diagnostic>) {
    let inner = raw.strip_prefix("<?xml").and_then(|rest| rest.strip_suffix("?>"));
    let inner = inner.unwrap_or_default();
    let mut rest = inner;
    let fault = |rest: &str, message: String| {
        let here = at + 5 + (inner.len() - rest.len());
        Diagnostic::error(here..at + raw.len(), message)
            .expected("<?xml version=\"1.0\" encoding=\"UTF-8\"?>")
    };
    let mut first = true;
    for (name, valid) in [
        ("version", is_version as fn(&str) -> bool),
        ("encoding", is_encoding),
        ("standalone", |value| matches!(value, "yes" | "no")),
    ] {
        match pseudo_attribute(rest, name) {
            Some((value, after)) if valid(value) => rest = after,
            Some((value, _)) => {
                let message = format!("`{}` is no {name} of an XML declaration", shorten(value));
                return faults.push(fault(rest, message));
            }
            None if first => {
                return faults.push(fault(rest, "the XML declaration needs a version".into()));
            }
            None => {}
        }
        first = false;
    }
    if !rest.chars().all(is_blank) {
        faults.push(fault(rest, "the XML declaration does not end here".into()));
    }
}

/// `S name S? = S? "value"`: the value, and what follows.
fn pseudo_attribute<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let after_blank = text.trim_start_matches(is_blank);
    if after_blank.len() == text.len() {
        return None;
    }
    let rest = after_blank.strip_prefix(name)?.trim_start_matches(is_blank);
    let rest = rest.strip_prefix('=')?.trim_start_matches(is_blank);
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    rest[1..].split_once(quote)
}

/// `1.` and digits: a reader of 1.0 reads any 1.x as 1.0.
fn is_version(value: &str) -> bool {
    value.strip_prefix("1.").is_some_and(|minor| minor.chars().all(|c| c.is_ascii_digit()))
}

fn is_encoding(value: &str) -> bool {
    value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(raw: &str, blanks: Blanks) -> Result<String, String> {
        let (mut out, mut faults) = (String::new(), Vec::new());
        resolve(raw, 0, blanks, &mut out, &mut faults);
        faults.pop().map_or(Ok(out), |fault| Err(fault.message))
    }

    #[test]
    fn references_become_their_characters() {
        let text = "a&lt;&gt;&amp;&apos;&quot;&#65;&#x42;&#13;";
        assert_eq!(resolved(text, Blanks::Keep).unwrap(), "a<>&'\"AB\r");
    }

    #[test]
    fn line_ends_are_one_and_attributes_hold_blanks() {
        assert_eq!(resolved("a\r\nb\rc\td", Blanks::Keep).unwrap(), "a\nb\nc\td");
        // A referenced line end is meant, and stays.
        assert_eq!(resolved("a\r\nb\rc\td&#10;", Blanks::Normalise).unwrap(), "a b c d\n");
    }

    #[test]
    fn a_bad_reference_is_named() {
        for (raw, message) in [
            ("&", "`&` is no reference: a `;` is missing"),
            ("& b;", "`&` is no reference: a `;` is missing"),
            ("&amp", "`&amp` is no reference: a `;` is missing"),
            ("&foo;", "unknown entity `foo`"),
            ("&#0;", "character 0x0 cannot stand in XML"),
            ("&#xD800;", "character 0xd800 cannot stand in XML"),
            ("&#99999999999999999999;", "character 0xffffffff cannot stand in XML"),
            ("&#X41;", "a character reference is `&#` and digits, or `&#x` and hexadecimal ones"),
            ("&#;", "a character reference is `&#` and digits, or `&#x` and hexadecimal ones"),
        ] {
            assert_eq!(resolved(raw, Blanks::Keep).unwrap_err(), message, "{raw}");
        }
    }

    #[test]
    fn the_declaration_has_its_parts_in_order() {
        let check = |raw| {
            let mut faults = Vec::new();
            declaration(raw, 0, &mut faults);
            faults.is_empty()
        };
        for good in [
            "<?xml version='1.0'?>",
            "<?xml version = \"1.1\" ?>",
            "<?xml version=\"1.0\" encoding='UTF-8' standalone=\"yes\"?>",
            "<?xml version=\"1.0\" standalone='no'?>",
        ] {
            assert!(check(good), "{good}");
        }
        for bad in [
            "<?xml ?>",
            "<?xml encoding='UTF-8'?>",
            "<?xml version='2.0'?>",
            "<?xml version='1.0'encoding='UTF-8'?>",
            "<?xml version='1.0' standalone='yes' encoding='UTF-8'?>",
            "<?xml version='1.0' encoding='8bit'?>",
            "<?xml version='1.0' standalone='maybe'?>",
            "<?xml version='1.0'? >",
        ] {
            assert!(!check(bad), "{bad}");
        }
    }

    #[test]
    fn a_comment_holds_no_double_hyphen() {
        for (raw, good) in [
            ("<!---->", true),
            ("<!-- a-b -->", true),
            ("<!-- a--b -->", false),
            ("<!-- a--->", false),
            ("<!-->", false),
        ] {
            let mut faults = Vec::new();
            comment(raw, 0, &mut faults);
            assert_eq!(faults.is_empty(), good, "{raw}");
        }
    }
}
