//! Names in messages: the one that was probably meant, lists of those that are allowed.

use crate::visible::of_equal_width;

/// A hint with the name that is nearest to `written`, if one is near enough to be what was meant.
pub(super) fn did_you_mean<'a>(
    written: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(written, names).map(|name| format!("did you mean `{name}`?"))
}

/// The name that is nearest to `written`, if one is near enough to be what was meant.
pub(super) fn nearest<'a>(
    written: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // What is much longer than any name is no misspelling, and comparing it is work for nothing.
    if written.chars().take(41).count() > 40 {
        return None;
    }
    let lower = written.to_lowercase();
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        // A third of the letters may be wrong; a name of two letters needs one right.
        .filter(|(distance, name)| *distance <= (name.chars().count() / 3).max(1))
        .filter(|(distance, name)| *distance < name.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// "`a`, `b` or `c`".
pub(super) fn alternatives<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.pop() {
        None => String::new(),
        Some(last) if names.is_empty() => last,
        Some(last) => format!("{} or {last}", names.join(", ")),
    }
}

/// A value in a message: on one line, nothing that moves the terminal's cursor, at most 40 characters long.
pub(super) fn shorten(value: &str) -> String {
    let start = value.char_indices().nth(40).map_or(value, |(end, _)| &value[..end]);
    let mut shown = of_equal_width(start).replace('\t', "\u{fffd}");
    if value.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_suggested() {
        let names = ["memory", "name", "vcpus", "pv"];
        assert_eq!(nearest("memry", names), Some("memory"));
        assert_eq!(nearest("Memory", names), Some("memory"));
        assert_eq!(nearest("nmae", names), Some("name"));
        assert_eq!(nearest("pg", names), Some("pv"));
        assert_eq!(nearest("disk", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest(&"m".repeat(1 << 20), names), None);
    }

    #[test]
    fn a_value_in_a_message_stays_on_its_line() {
        assert_eq!(shorten("a\nb\u{1b}[31m"), "a\u{fffd}b\u{fffd}[31m");
        assert_eq!(shorten("a\u{202e}b"), "a\u{fffd}b");
        assert_eq!(shorten(&"x".repeat(50)), format!("{}…", "x".repeat(40)));
    }
}
