//! Text of strangers, made fit for a terminal: file names, values of a document, lines of an image.
//!
//! What moves a cursor (control characters, the C1 set that stands for `ESC [` included), what turns the direction of
//! writing, and what cannot be seen is shown as an escape, so that one line stays one line and says what is there.

use std::borrow::Cow;

/// What is shown in place of a character where the width of the text must not change.
const STAND_IN: char = '\u{fffd}';

/// `text` with escapes in place of all that is not seen: `a\u{9b}31m`.
pub fn visible(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_seen) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_seen(letter) {
            shown.push(letter);
        } else {
            shown.extend(letter.escape_default());
        }
    }
    Cow::Owned(shown)
}

/// `text` with one sign for each character that is not seen. Tabs stay.
pub fn of_equal_width(text: &str) -> Cow<'_, str> {
    let fits = |letter: char| letter == '\t' || is_seen(letter);
    if text.chars().all(fits) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|letter| if fits(letter) { letter } else { STAND_IN }).collect())
}

/// Has this character a shape of its own, or is it a common blank?
pub fn is_seen(letter: char) -> bool {
    if letter.is_ascii() {
        return !letter.is_ascii_control();
    }
    // Behind another letter, a mark such as U+0301 is part of that letter; alone it would be escaped, too.
    let mut pair = [b'-'; 5];
    let end = 1 + letter.encode_utf8(&mut pair[1..]).len();
    let pair = std::str::from_utf8(&pair[..end]).expect("an ASCII byte and a character");
    // The standard library knows the categories of Unicode: control, format, private, unassigned, separators.
    pair.escape_debug().nth(1) == Some(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_hides_is_escaped() {
        for (text, shown) in [
            ("a\n\x1b[31mb", "a\\n\\u{1b}[31mb"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("user\u{202e}gpj.exe", "user\\u{202e}gpj.exe"),
            ("a\u{200b}b\u{feff}\u{2028}\u{e0041}", "a\\u{200b}b\\u{feff}\\u{2028}\\u{e0041}"),
            ("256\u{a0}", "256\\u{a0}"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn what_people_write_stays() {
        for text in ["it's \"C:\\x\"", "grüße, e\u{301}, 日本語, שלום, ≤ …", ""] {
            assert_eq!(visible(text), text);
            assert_eq!(of_equal_width(text), text);
        }
    }

    #[test]
    fn a_line_of_source_keeps_its_columns() {
        assert_eq!(of_equal_width("\ta\u{9b}é\u{202e}"), "\ta\u{fffd}é\u{fffd}");
    }
}
