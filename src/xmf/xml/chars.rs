//! Which characters XML 1.0 (fifth edition) allows where.

/// `Char`: what may stand in a document at all.
pub fn is_char(c: char) -> bool {
    // `char` has no surrogates, so that part of the production needs no check.
    matches!(c, '\t' | '\n' | '\r' | ' '..) && !matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// `S`: white space. No other blank of Unicode counts.
pub fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// `NameStartChar`.
pub fn is_name_start(c: char) -> bool {
    matches!(c,
        ':' | '_' | 'A'..='Z' | 'a'..='z'
        | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
        | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}'
        | '\u{2070}'..='\u{218f}' | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}'
        | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}' | '\u{10000}'..='\u{effff}')
}

/// `NameChar`.
pub fn is_name_char(c: char) -> bool {
    is_name_start(c)
        || matches!(c,
            '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

/// Length in bytes of the `Name` that `text` begins with; 0 where there is none.
pub fn name_len(text: &str) -> usize {
    if !text.starts_with(is_name_start) {
        return 0;
    }
    text.find(|c| !is_name_char(c)).unwrap_or(text.len())
}

/// The text without the white space around it.
pub fn trim(text: &str) -> &str {
    text.trim_matches(is_blank)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_noncharacters_are_no_xml() {
        for c in ['\0', '\u{1}', '\u{b}', '\u{1f}', '\u{fffe}', '\u{ffff}'] {
            assert!(!is_char(c), "{c:?}");
        }
        // DEL and the C1 controls are allowed in 1.0, unlike in 1.1.
        for c in ['\t', '\n', '\r', ' ', '\u{7f}', '\u{85}', '\u{d7ff}', '\u{fffd}', '\u{10ffff}'] {
            assert!(is_char(c), "{c:?}");
        }
    }

    #[test]
    fn a_name_ends_where_the_last_name_character_does() {
        assert_eq!(name_len("memory>"), 6);
        assert_eq!(name_len("a-b.c:d e"), 7);
        assert_eq!(name_len("é1="), 3);
        for none in ["", "1a", "-a", ".a", " a", "\u{b7}a", "×"] {
            assert_eq!(name_len(none), 0, "{none:?}");
        }
    }
}
