//! The lines of an edit script as words: quoted as in a shell, `#` begins a comment.
//!
//! ```text
//! mkdir -p "/srv/my files"    # made first
//! ```
//! A command is one line, and a quote ends on the line where it began. Nothing is expanded: `$HOME` is five letters.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::failure::{Failure, Result};

/// A command: the number of its line, from 1, and its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// From 1.
    pub number: usize,
    /// At least one.
    pub words: Vec<OsString>,
}

/// The commands of `script`, which is called `name` in errors.
///
/// # Errors
/// Where a quote is not closed, or a line has a NUL.
pub fn lines(script: &[u8], name: &str) -> Result<Vec<Line>> {
    let mut all = Vec::new();
    for (index, line) in script.split(|&byte| byte == b'\n').enumerate() {
        let number = index + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.contains(&0) {
            return Err(Failure::new(format!("{name}:{number}: a NUL, which no script has")));
        }
        let Some(words) = shlex::bytes::split(line) else {
            return Err(Failure::new(format!("{name}:{number}: a quote is not closed"))
                .hint("a command is one line; `\\` in front of a quote takes its meaning away"));
        };
        if !words.is_empty() {
            let words = words.into_iter().map(OsString::from_vec).collect();
            all.push(Line { number, words });
        }
    }
    Ok(all)
}

/// `failure`, with its place in a script.
pub fn at_line(failure: Failure, name: &str, number: usize) -> Failure {
    match failure {
        Failure::Plain { message, hint } => {
            Failure::Plain { message: format!("{name}:{number}: {message}"), hint }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn lines_become_words_as_in_a_shell() {
        let script =
            b"# first\n\n  mkdir '/a b' /c\\ d \"/e'f\" # rest\r\nrm /x#y ''\n\tln -s $HOME /h";
        let found: Vec<(usize, Vec<String>)> = lines(script, "s")
            .unwrap()
            .into_iter()
            .map(|line| {
                let words = line.words.into_iter().map(|word| word.into_string().unwrap());
                (line.number, words.collect())
            })
            .collect();
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(
            found,
            [
                (3, owned(&["mkdir", "/a b", "/c d", "/e'f"])),
                (4, owned(&["rm", "/x#y", ""])),
                (5, owned(&["ln", "-s", "$HOME", "/h"])),
            ]
        );
    }

    #[test]
    fn what_is_no_line_is_refused_at_its_place() {
        for (script, error) in [
            (&b"rm /a\nrm '/b\n"[..], "s:2: a quote is not closed"),
            (b"rm /a\\", "s:1: a quote is not closed"),
            (b"rm /a\0b", "s:1: a NUL, which no script has"),
        ] {
            assert_eq!(lines(script, "s").unwrap_err().to_string(), error);
        }
    }
}
