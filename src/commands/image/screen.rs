//! The terminal that standard output is.

use std::ffi::OsString;
use std::io::{self, IsTerminal};

/// Columns where it is no terminal.
const WIDTH: usize = 80;

/// Its columns.
pub(super) fn width() -> usize {
    let out = io::stdout();
    let size = out.is_terminal().then(|| rustix::termios::tcgetwinsize(&out).ok()).flatten();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(WIDTH)
}

/// Whether the locale says that it shows UTF-8.
pub(super) fn is_unicode() -> bool {
    is_utf8(|name| std::env::var_os(name))
}

/// As locale(7) has it: the first of these that is set and not empty counts.
fn is_utf8(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let mut values = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable);
    let value = values.find(|value| !value.is_empty()).unwrap_or_default();
    let value = value.to_string_lossy().to_ascii_lowercase();
    value.contains("utf-8") || value.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::is_utf8;

    #[test]
    fn the_first_variable_that_is_set_counts() {
        let told = |set: &[(&str, &str)]| {
            is_utf8(|name| {
                let found = set.iter().find(|(other, _)| *other == name);
                found.map(|(_, value)| (*value).into())
            })
        };
        assert!(told(&[("LANG", "de_DE.UTF-8")]));
        assert!(told(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8")]));
        assert!(!told(&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]));
        assert!(!told(&[]));
    }
}
