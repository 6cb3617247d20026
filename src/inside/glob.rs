//! Patterns in paths of an image: `*`, `?`, `[…]`, and `**` for directories of any depth.
//!
//! A path that exists as it is written is no pattern, whatever signs it holds. As in a shell, a name that begins with a dot
//! is matched by a dot alone, names come sorted, and a backslash takes a sign's meaning away. `**` follows no symbolic
//! links. Braces mean nothing.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use imgfmt::{Error, Result};

use super::tree::{Tree, found};
use super::walk::Walk;
use crate::failure::Failure;
use crate::interrupt;

/// The most that one pattern may stand for.
const MATCHES_MAX: usize = 1 << 20;

/// What `path` stands for: itself where it exists or is no pattern, else all that match.
///
/// # Errors
/// The inner one: [`Error::NotFound`] where nothing matches, [`Error::InvalidPath`] where too much does. The outer one
/// where we were asked to stop.
pub fn expand(tree: &dyn Tree, path: &Path) -> Result<Result<Vec<PathBuf>>, Failure> {
    let found = search(tree, path);
    interrupt::check()?;
    Ok(found)
}

/// Once we are asked to stop, what is found does not matter.
fn search(tree: &dyn Tree, path: &Path) -> Result<Vec<PathBuf>> {
    if !is_pattern(path.as_os_str()) || exists(tree, path)? {
        return Ok(vec![path.to_owned()]);
    }
    let bytes = path.as_os_str().as_bytes();
    let parts: Vec<&[u8]> =
        bytes.split(|&byte| byte == b'/').filter(|part| !part.is_empty()).collect();
    let mut matches = vec![PathBuf::from("/")];
    for (index, part) in parts.iter().enumerate() {
        let is_last = index + 1 == parts.len();
        let mut next = Vec::new();
        for above in matches {
            if *part == b"**" {
                below(tree, path, above, is_last, &mut next)?;
            } else {
                step(tree, &above, part, is_last, &mut next)?;
            }
            if interrupt::asked() {
                return Ok(Vec::new());
            }
            check_count(path, &next)?;
        }
        matches = next;
    }
    matches.sort();
    matches.dedup();
    if matches.is_empty() {
        return Err(Error::NotFound(path.to_owned()));
    }
    if bytes.ends_with(b"/") {
        // A name that ends so has to be a directory, which whoever uses it sees.
        matches.iter_mut().for_each(|path| path.push(""));
    }
    Ok(matches)
}

fn check_count(path: &Path, matches: &[PathBuf]) -> Result<()> {
    if matches.len() > MATCHES_MAX {
        return Err(Error::InvalidPath { path: path.to_owned(), what: "matches too much" });
    }
    Ok(())
}

fn is_pattern(text: &OsStr) -> bool {
    text.as_bytes().iter().any(|byte| b"*?[\\".contains(byte))
}

fn exists(tree: &dyn Tree, path: &Path) -> Result<bool> {
    match found(tree.metadata(path, false)) {
        Ok(meta) => Ok(meta.is_some()),
        Err(Error::NotADirectory(_) | Error::InvalidPath { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The names in `above` that match `part`.
fn step(
    tree: &dyn Tree,
    above: &Path,
    part: &[u8],
    is_last: bool,
    into: &mut Vec<PathBuf>,
) -> Result<()> {
    if !is_pattern(OsStr::from_bytes(part)) {
        let path = above.join(OsStr::from_bytes(part));
        if exists(tree, &path)? {
            into.push(path);
        }
        return Ok(());
    }
    let pattern = literal_braces(part);
    for name in names(tree, above)? {
        let bytes = name.as_bytes();
        let is_hidden =
            bytes.starts_with(b".") && !part.starts_with(b".") && !part.starts_with(b"\\.");
        if is_hidden || !fast_glob::glob_match(&pattern, bytes) {
            continue;
        }
        let path = above.join(name);
        // On the way down only what holds names serves.
        if is_last || tree.metadata(&path, true).is_ok_and(|meta| meta.is_dir()) {
            into.push(path);
        }
    }
    Ok(())
}

/// `above` and all directories below it; where the pattern ends here, all files as well.
fn below(
    tree: &dyn Tree,
    pattern: &Path,
    above: PathBuf,
    is_last: bool,
    into: &mut Vec<PathBuf>,
) -> Result<()> {
    let mut walk = Walk::default();
    let mut left = vec![above];
    while let Some(directory) = left.pop() {
        if interrupt::asked() {
            return Ok(());
        }
        if let Some(meta) = found(tree.metadata(&directory, true))? {
            walk.enter(tree, &directory, &meta)?;
        }
        for name in names(tree, &directory)? {
            if name.as_bytes().starts_with(b".") {
                continue;
            }
            let path = directory.join(&name);
            if tree.metadata(&path, false)?.is_dir() {
                left.push(path);
            } else if is_last {
                into.push(path);
            }
        }
        into.push(directory);
        check_count(pattern, into)?;
    }
    Ok(())
}

fn names(tree: &dyn Tree, directory: &Path) -> Result<Vec<OsString>> {
    match tree.read_dir(directory) {
        Err(Error::NotADirectory(_) | Error::NotFound(_)) => Ok(Vec::new()),
        other => other,
    }
}

/// The crate gives braces, and a `!` in front, a meaning that a shell's pattern has not.
fn literal_braces(part: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(part.len());
    let (mut is_escaped, mut is_class) = (false, false);
    for (index, &byte) in part.iter().enumerate() {
        let is_meant = match byte {
            b'{' | b'}' => is_escaped || is_class,
            b'!' => is_escaped || index > 0,
            // Only what is closed is a class.
            b'[' => {
                is_escaped || is_class || part[index + 1..].iter().skip(1).any(|&byte| byte == b']')
            }
            _ => true,
        };
        if !is_meant {
            pattern.push(b'\\');
        }
        match byte {
            _ if is_escaped => {}
            b'[' if is_meant => is_class = true,
            b']' => is_class = false,
            _ => {}
        }
        is_escaped = byte == b'\\' && !is_escaped;
        pattern.push(byte);
    }
    if is_escaped {
        pattern.push(b'\\');
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::literal_braces;

    fn matches(pattern: &str, name: &str) -> bool {
        fast_glob::glob_match(literal_braces(pattern.as_bytes()), name)
    }

    #[test]
    fn patterns_mean_what_a_shell_makes_of_them() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.d", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("{a,b}", "a", false),
            ("{a,b}*", "{a,b}c", true),
            ("!a*", "!ab", true),
            ("!a*", "b", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("[{]x", "{x", true),
            ("a[*", "a[b", true),
            ("a*\\", "ab\\", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        // Names are bytes.
        assert!(fast_glob::glob_match(literal_braces(b"a*\xff"), b"a\xfe\xff"));
    }
}
