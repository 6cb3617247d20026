//! Names and paths of an image, which are bytes, as text: for people, for a terminal, for JSON.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::visible::visible;

/// A name fit for a terminal: what is no text is shown as `\xff`.
pub(super) fn shown(name: &OsStr) -> String {
    let mut text = String::new();
    for chunk in name.as_bytes().utf8_chunks() {
        text += &visible(chunk.valid());
        for byte in chunk.invalid() {
            text += &format!("\\x{byte:02x}");
        }
    }
    text
}

/// `%XX` in place of bytes other than 0x21 to 0x7E, and of `%`.
pub(super) fn percent(name: &OsStr) -> String {
    let is_plain = |byte| matches!(byte, 0x21..=0x7E) && byte != b'%';
    let mut text = String::new();
    for &byte in name.as_bytes() {
        match is_plain(byte) {
            true => text.push(char::from(byte)),
            false => text += &format!("%{byte:02X}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::{percent, shown};

    #[test]
    fn names_that_are_no_text_are_shown_all_the_same() {
        let name = OsStr::from_bytes(b"a b%\xff\n\xc3\xa4");
        assert_eq!(shown(name), "a b%\\xff\\nä");
        assert_eq!(percent(name), "a%20b%25%FF%0A%C3%A4");
    }
}
