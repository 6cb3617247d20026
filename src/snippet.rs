//! A [`Diagnostic`] for people and for programs.
//!
//! ```text
//! error: job.xml:4:10: unknown element `memry` in `general`
//!   |
//! 4 |         <memry>512</memry>
//!   |          ^^^^^ expected `memory`
//! hint: did you mean `memory`?
//! ```
//!
//! Lines and columns count from 1, columns in characters. Pure text: nothing is read or printed here.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::diagnostic::{Diagnostic, Severity};
use crate::visible::{of_equal_width, visible};

/// Bytes of a long line that are shown on each side of the place.
const WINDOW: usize = 80;

/// A place in a text, from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// The place of a byte offset; one past the end, or inside a character, counts as the character before it.
pub fn position(text: &str, offset: usize) -> Position {
    let before = &text[..text.floor_char_boundary(offset)];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Position {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}

/// The finding for a terminal, with its line of source; ends in a newline.
pub fn render(file_name: &str, text: &str, diagnostic: &Diagnostic, color: bool) -> String {
    let (word, level, style) = match diagnostic.severity {
        Severity::Error => ("error", Level::ERROR, "\x1b[1;91m"),
        Severity::Warning => ("warning", Level::WARNING, "\x1b[1;93m"),
    };
    let (style, bold, reset) = if color { (style, "\x1b[1m", "\x1b[0m") } else { ("", "", "") };
    let Position { line, column } = position(text, diagnostic.span.start);
    let (file_name, message) = (visible(file_name), visible(&diagnostic.message));
    let mut out =
        format!("{style}{word}{reset}{bold}: {file_name}:{line}:{column}: {message}{reset}\n");
    if let Some(shown) = shown_line(text, diagnostic) {
        let expected = diagnostic.expected.as_deref();
        let label = expected.map(|expected| format!("expected {}", visible(expected)));
        let annotation = AnnotationKind::Primary.span(shown.span).label(label);
        let snippet = Snippet::source(&*shown.source).line_start(line).annotation(annotation);
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        out.push_str(&renderer.render(&[Group::with_level(level).element(snippet)]));
        out.push('\n');
    } else if let Some(expected) = &diagnostic.expected {
        out.push_str(&format!("expected {}\n", visible(expected)));
    }
    if let Some(hint) = &diagnostic.hint {
        out.push_str(&format!("{bold}hint{reset}: {}\n", visible(hint)));
    }
    out
}

/// The finding for a program.
pub fn to_json(file_name: &str, text: &str, diagnostic: &Diagnostic) -> serde_json::Value {
    let start = position(text, diagnostic.span.start);
    let end = position(text, diagnostic.span.end);
    serde_json::json!({
        "file": file_name,
        "line": start.line,
        "column": start.column,
        "end_line": end.line,
        "end_column": end.column,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "expected": diagnostic.expected,
        "hint": diagnostic.hint,
    })
}

/// A part of one line, and what is underlined in it.
struct Shown {
    source: String,
    span: std::ops::Range<usize>,
}

/// The first line that the finding is about, cut where it is very long.
fn shown_line(text: &str, diagnostic: &Diagnostic) -> Option<Shown> {
    let start = text.floor_char_boundary(diagnostic.span.start);
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let line = text[..line_end].trim_end_matches('\r').len().max(start);
    let end = text.floor_char_boundary(diagnostic.span.end).clamp(start, line);
    let from = text.floor_char_boundary(start.saturating_sub(WINDOW)).max(line_start);
    let from = if start - line_start <= WINDOW { line_start } else { from };
    let end = end.min(text.ceil_char_boundary(start + 2 * WINDOW));
    let to = text.ceil_char_boundary(end + WINDOW).min(line);
    // Piece by piece: a stand-in may take more bytes or fewer than what it stands for.
    let mut source = of_equal_width(text.get(from..start)?).into_owned();
    let first = source.len();
    source.push_str(&of_equal_width(text.get(start..end)?));
    let last = source.len();
    source.push_str(&of_equal_width(text.get(end..to)?));
    (!source.is_empty()).then_some(Shown { source, span: first..last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_shows_its_line_and_a_way_out() {
        let text = "<general>\n    <memry>512</memry>\n</general>\n";
        let diagnostic = Diagnostic::error(15..20, "unknown element `memry` in `general`")
            .expected("`memory`")
            .hint("did you mean `memory`?");
        assert_eq!(
            render("job.xml", text, &diagnostic, false),
            "error: job.xml:2:6: unknown element `memry` in `general`
  |
2 |     <memry>512</memry>
  |      ^^^^^ expected `memory`
hint: did you mean `memory`?
"
        );
    }

    #[test]
    fn a_finding_steers_no_terminal() {
        // U+009B begins a control sequence as ESC [ does; U+202E turns the direction of writing.
        let text = "<a\u{202e}>\u{9b}31m</a>";
        let diagnostic =
            Diagnostic::error(6..11, "`\u{9b}31m`\nis odd").expected("\u{7f}").hint("\r");
        assert_eq!(
            render("\x1b[31m.xml", text, &diagnostic, false),
            "error: \\u{1b}[31m.xml:1:5: `\\u{9b}31m`\\nis odd
  |
1 | <a\u{fffd}>\u{fffd}31m</a>
  |     ^^^^ expected \\u{7f}
hint: \\r
"
        );
    }

    #[test]
    fn columns_count_characters_and_a_long_span_is_its_first_line() {
        let text = "<a>é<b\nc>x</b></a>";
        let diagnostic = Diagnostic::warning(5..9, "odd");
        assert_eq!(
            render("j", text, &diagnostic, false),
            "warning: j:1:5: odd\n  |\n1 | <a>é<b\n  |     ^^\n"
        );
        let json = to_json("j", text, &diagnostic);
        assert_eq!(
            json.to_string(),
            "{\"column\":5,\"end_column\":2,\"end_line\":2,\"expected\":null,\"file\":\"j\",\
             \"hint\":null,\"line\":1,\"message\":\"odd\",\"severity\":\"warning\"}"
        );
    }

    #[test]
    fn an_empty_text_and_a_very_long_line_can_be_shown() {
        let diagnostic = Diagnostic::error(0..0, "there is no element at all").expected("one");
        assert_eq!(
            render("j", "", &diagnostic, false),
            "error: j:1:1: there is no element at all\nexpected one\n"
        );
        let text = "é".repeat(300_000);
        let shown = render("j", &text, &Diagnostic::error(300_001..400_000, "long"), false);
        assert!(shown.starts_with("error: j:1:150001: long\n"), "{shown}");
        assert!(shown.len() < 2000, "{}", shown.len());
    }
}
