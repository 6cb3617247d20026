//! The file of allowed signers, as ssh-keygen(1) has it under ALLOWED SIGNERS, and lines for keys of minisign.
//!
//! ```text
//! # principals      options                                               type         key
//! release@site      namespaces="autoxen-image",valid-before="20271231Z"   ssh-ed25519  AAAA…  a comment
//! *@site            cert-authority                                        ssh-ed25519  AAAA…
//! release@site                                                            minisign     RWQ…
//! ```
//!
//! `valid-after` and `valid-before` are the first and the last second in which the line counts. A line for a certificate
//! authority is understood and matches no key. ssh-keygen passes over lines that it cannot read; here each is an error with
//! its number, as is a line for a key of a kind that is not supported.

use jiff::tz::TimeZone;

use super::pattern::PatternList;
use super::public::PublicKey;
use super::time::{self, Moment};

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Who it is about.
    pub principals: PatternList,
    /// The key.
    pub key: PublicKey,
    /// A certificate authority, whose line matches no key.
    pub is_authority: bool,
    /// What the key may sign; all, where nothing is said.
    pub namespaces: Option<PatternList>,
    /// The first second in which the line counts.
    pub valid_after: Option<Moment>,
    /// The last one.
    pub valid_before: Option<Moment>,
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1 on.
    pub nr: usize,
    /// What is wrong with it: lower case.
    pub what: String,
}

/// All lines of a file. Times without `Z` are of `zone`.
///
/// # Errors
/// The first line that cannot be read.
pub fn parse(text: &[u8], zone: &TimeZone) -> Result<Vec<Line>, BadLine> {
    lines(text, |line| of_line(line, zone))
}

/// What `read` makes of the lines of a file, comments and empty lines left out.
pub(super) fn lines<T>(
    text: &[u8],
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, BadLine> {
    let mut found = Vec::new();
    for (nr, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let bad = |what: String| BadLine { nr: nr + 1, what };
        let line = std::str::from_utf8(line).map_err(|_| bad("it is not UTF-8".into()))?;
        let line = line.trim_matches(BLANKS);
        if line.contains(|c: char| c.is_ascii_control() && c != '\t') {
            return Err(bad("it has a control character".into()));
        }
        if !line.is_empty() && !line.starts_with('#') {
            found.push(read(line).map_err(bad)?);
        }
    }
    Ok(found)
}

/// What stands between fields; a carriage return is left at the end by editors of other systems.
const BLANKS: [char; 3] = [' ', '\t', '\r'];

fn of_line(line: &str, zone: &TimeZone) -> Result<Line, String> {
    let (principals, rest) = principals(line)?;
    let mut found = Line {
        principals: PatternList::new(principals),
        key: PublicKey::Ssh(ssh_key::public::Ed25519PublicKey([0; 32]).into()),
        is_authority: false,
        namespaces: None,
        valid_after: None,
        valid_before: None,
    };
    let (word, _) = field(rest);
    let keys = if is_key_type(word) { rest } else { options(rest, &mut found, zone)? };
    found.key = key(keys)?;
    if let (Some(after), Some(before)) = (found.valid_after, found.valid_before)
        && before <= after
    {
        return Err("`valid-before` is not after `valid-after`".into());
    }
    Ok(found)
}

/// The principals, which may stand in quotes, and what follows them.
fn principals(line: &str) -> Result<(&str, &str), String> {
    let (principals, rest) = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or("a quote that does not end")?,
        None => line.split_at(line.find(BLANKS).unwrap_or(line.len())),
    };
    if principals.is_empty() {
        return Err("no principals".into());
    }
    match rest.trim_start_matches(BLANKS) {
        "" => Err("no key".into()),
        rest => Ok((principals, rest)),
    }
}

/// The word that `text` begins with, and what follows it.
fn field(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_at(text.find(BLANKS).unwrap_or(text.len()));
    (word, rest.trim_start_matches(BLANKS))
}

fn is_key_type(word: &str) -> bool {
    let known = ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"];
    word == super::public::MINISIGN || known.iter().any(|prefix| word.starts_with(prefix))
}

/// A type, a key, and perhaps a comment.
pub(super) fn key(text: &str) -> Result<PublicKey, String> {
    let (kind, rest) = field(text);
    let (base64, _comment) = field(rest);
    if kind.is_empty() || base64.is_empty() {
        return Err("no key".into());
    }
    if !is_key_type(kind) {
        return Err("neither an option nor a type of key".into());
    }
    PublicKey::parse(kind, base64)
}

/// Read options into `line`; what follows them.
fn options<'a>(text: &'a str, line: &mut Line, zone: &TimeZone) -> Result<&'a str, String> {
    let mut rest = text;
    loop {
        let end = rest.find(['=', ',', ' ', '\t']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let name = name.to_ascii_lowercase();
        rest = match name.as_str() {
            "cert-authority" => {
                line.is_authority = true;
                after
            }
            "namespaces" | "valid-after" | "valid-before" => {
                let (value, after) = quoted(&name, after)?;
                set(line, &name, value, zone)?;
                after
            }
            _ => return Err(format!("unknown option `{name}`")),
        };
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None if rest.starts_with(BLANKS) => return Ok(rest.trim_start_matches(BLANKS)),
            None if rest.is_empty() => return Err("no key".into()),
            None => return Err(format!("text behind the option `{name}`")),
        }
    }
}

/// The value in `="…"`, its `\"` read as quotes, and what follows.
fn quoted<'a>(name: &str, text: &'a str) -> Result<(String, &'a str), String> {
    let inner =
        text.strip_prefix("=\"").ok_or_else(|| format!("`{name}` is not `{name}=\"…\"`"))?;
    let mut value = String::new();
    let mut letters = inner.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Ok((value, &inner[at + 1..])),
            '\\' if inner[at + 1..].starts_with('"') => {
                letters.next();
                value.push('"');
            }
            other => value.push(other),
        }
    }
    Err(format!("the quotes of `{name}` do not end"))
}

fn set(line: &mut Line, name: &str, value: String, zone: &TimeZone) -> Result<(), String> {
    let twice = || format!("`{name}` stands there twice");
    if name == "namespaces" {
        let before = line.namespaces.replace(PatternList::new(value));
        return if before.is_some() { Err(twice()) } else { Ok(()) };
    }
    let time = time::of_option(&value, zone).ok_or_else(|| format!("`{name}` is no time"))?;
    let field = match name {
        "valid-after" => &mut line.valid_after,
        _ => &mut line.valid_before,
    };
    if field.replace(time).is_some() { Err(twice()) } else { Ok(()) }
}
