//! The records of PAX headers, and what they say about an entry.
//!
//! Known are those of POSIX, and what star (`SCHILY.`), libarchive (`LIBARCHIVE.`), GNU tar (`GNU.`) and Red Hat (`RHT.`)
//! added for attributes, ACLs and sparse files. All others mean nothing here.

use super::sparse::Hints;
use crate::archive::acl;
use crate::archive::entry::{Time, Xattr};
use crate::archive::names::Known;

/// The longest PAX header that is read, in bytes.
pub(super) const CAP: u64 = 16 << 20;
/// The longest global one: it is kept for every entry that follows, and says little (of `git archive`, the commit).
pub(super) const GLOBAL_CAP: u64 = 64 << 10;
/// The longest value of an attribute, in bytes (`XATTR_SIZE_MAX`).
const VALUE_CAP: usize = 64 << 10;
/// The longest name of an attribute, in bytes (`XATTR_NAME_MAX`).
const NAME_CAP: usize = 255;
/// How many attributes an entry may have: far more than any file system keeps.
const XATTRS_CAP: usize = 1024;
/// What is left out of an ACL that no file system of Linux keeps.
const NFS4_ACL: &str = "an ACL of NFSv4";
/// GNU tar 1.34 writes names into this text even with `--numeric-owner`.
const ACL_HINT: &str = "; `tar --xattrs --xattrs-include='*'` and `bsdtar --acls` pack numbers";

/// What headers before an entry say about it; `None` where they say nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Extra {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    /// Names of the owner.
    pub(super) user: Option<Vec<u8>>,
    pub(super) group: Option<Vec<u8>>,
    pub(super) mtime: Option<Time>,
    pub(super) atime: Option<Time>,
    pub(super) ctime: Option<Time>,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) xattrs: Vec<Xattr>,
    /// The same attributes in weaker forms, which a stronger one of the name outdoes.
    weak: Vec<Xattr>,
    /// ACLs as text, weaker still: names of users may be in them.
    acls: Vec<Acl>,
    pub(super) sparse: Hints,
    /// Records that were left out, by their keys.
    pub(super) dropped: Vec<&'static str>,
}

/// An ACL as text.
#[derive(Clone, Debug)]
struct Acl {
    key: &'static str,
    name: &'static [u8],
    text: Vec<u8>,
}

impl Extra {
    /// Take in the records of one header.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(&mut self, mut records: &[u8]) -> Result<(), String> {
        while !records.is_empty() {
            let (record, rest) = split(records).ok_or("PAX header is not made of records")?;
            let equals = record.iter().position(|&byte| byte == b'=');
            let equals = equals.ok_or("PAX record has no `=`")?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            self.set(key, value).map_err(|what| {
                format!("PAX record `{}` {what}", String::from_utf8_lossy(shortened(key)))
            })?;
            records = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        match key {
            b"path" => self.path = some(value),
            b"linkpath" => self.link = some(value),
            b"size" => self.size = parsed(value, number)?,
            b"uid" => self.uid = parsed(value, number)?,
            b"gid" => self.gid = parsed(value, number)?,
            b"uname" => self.user = some(value),
            b"gname" => self.group = some(value),
            b"mtime" => self.mtime = parsed(value, time)?,
            b"atime" => self.atime = parsed(value, time)?,
            b"ctime" => self.ctime = parsed(value, time)?,
            b"SCHILY.devmajor" => self.major = parsed(value, number)?,
            b"SCHILY.devminor" => self.minor = parsed(value, number)?,
            b"SCHILY.acl.access" => {
                self.acl("SCHILY.acl.access", b"system.posix_acl_access", value);
            }
            b"SCHILY.acl.default" => {
                self.acl("SCHILY.acl.default", b"system.posix_acl_default", value);
            }
            b"SCHILY.acl.ace" if self.dropped.is_empty() => self.dropped.push(NFS4_ACL),
            b"SCHILY.acl.ace" => {}
            b"RHT.security.selinux" => {
                // The kernel keeps labels with the NUL behind them, the archive does not.
                let label = [text(value), b"\0"].concat();
                put(&mut self.weak, b"security.selinux", label)?;
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    put(&mut self.xattrs, &unescaped(name), value.to_vec())?;
                } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                    let name = percent_decoded(name).ok_or("has a name that is not encoded")?;
                    let value = base64_decoded(value).ok_or("is not base64")?;
                    put(&mut self.weak, &name, value)?;
                } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.set(key, value)?;
                }
            }
        }
        Ok(())
    }

    /// Forget what belongs to one file alone, and so can stand in no header for all that follow.
    ///
    /// Returns whether there was any.
    pub(super) fn forget_own(&mut self) -> bool {
        let xattrs = std::mem::take(&mut self.xattrs).len() + std::mem::take(&mut self.weak).len();
        let acls = std::mem::take(&mut self.acls).len();
        let sparse = std::mem::take(&mut self.sparse);
        let dropped = std::mem::take(&mut self.dropped);
        xattrs + acls > 0 || sparse != Hints::default() || !dropped.is_empty()
    }

    fn acl(&mut self, key: &'static str, name: &'static [u8], text: &[u8]) {
        self.acls.retain(|acl| acl.key != key);
        if !text.is_empty() {
            self.acls.push(Acl { key, name, text: text.to_vec() });
        }
    }

    /// All attributes, each once. Of an ACL that is there as an attribute the text is not looked at.
    ///
    /// # Errors
    /// What is wrong with an ACL, such as a name that nobody knows.
    pub(super) fn take_xattrs(&mut self, known: &Known) -> Result<Vec<Xattr>, String> {
        let mut all = std::mem::take(&mut self.xattrs);
        for weak in std::mem::take(&mut self.weak) {
            if !all.iter().any(|strong| strong.name == weak.name) {
                all.push(weak);
            }
        }
        for Acl { key, name, text } in std::mem::take(&mut self.acls) {
            if all.iter().any(|strong| strong.name == name) {
                continue;
            }
            let value = acl::from_text(&text, &|who, name| known.get(who, name));
            let value = value.map_err(|what| match what.ends_with("number") {
                true => format!("PAX record `{key}` {what}{ACL_HINT}"),
                false => format!("PAX record `{key}` {what}"),
            })?;
            put(&mut all, name, value).map_err(|what| format!("PAX record `{key}` {what}"))?;
        }
        Ok(all)
    }
}

/// One record and what follows it: the length counts its own digits, the blank and the newline.
fn split(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = records.iter().take(20).position(|&byte| byte == b' ')?;
    let len: usize = number(&records[..blank])?;
    let record = records.get(..len)?.get(blank + 1..)?.strip_suffix(b"\n")?;
    Some((record, &records[len..]))
}

fn shortened(key: &[u8]) -> &[u8] {
    &key[..key.len().min(80)]
}

/// An empty value takes back what an earlier header said.
fn some(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty()).then(|| value.to_vec())
}

fn parsed<T>(value: &[u8], parse: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>, String> {
    match value {
        b"" => Ok(None),
        _ => parse(value).map(Some).ok_or_else(|| {
            format!("is not a number: `{}`", String::from_utf8_lossy(shortened(value)))
        }),
    }
}

/// A decimal number without sign.
pub(in crate::archive) fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    let digits = text.iter().all(u8::is_ascii_digit).then_some(text)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Seconds with a fraction; what is finer than nanoseconds is cut off, towards the past.
fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |&byte| byte == b'.');
    let secs: i64 = number(parts.next()?)?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let (kept, cut) = fraction.split_at(fraction.len().min(9));
    let digits = kept.iter().chain(std::iter::repeat(&b'0')).take(9);
    let mut nanos = digits.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
    if !negative {
        return Some(Time { secs, nanos });
    }
    nanos += u32::from(cut.iter().any(|&digit| digit != b'0'));
    let back = i128::from(secs) * 1_000_000_000 + i128::from(nanos);
    Some(Time {
        secs: i64::try_from((-back).div_euclid(1_000_000_000)).ok()?,
        nanos: u32::try_from((-back).rem_euclid(1_000_000_000)).expect("below a second"),
    })
}

/// Bytes before a NUL, which some writers leave at the end.
fn text(value: &[u8]) -> &[u8] {
    super::field::text(value)
}

fn put(all: &mut Vec<Xattr>, name: &[u8], value: Vec<u8>) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_CAP || name.contains(&0) {
        return Err("has a name that no attribute can have".into());
    }
    if value.len() > VALUE_CAP {
        return Err(format!("has {} bytes, an attribute at most {VALUE_CAP}", value.len()));
    }
    let is_full = all.len() == XATTRS_CAP;
    match all.iter_mut().find(|xattr| xattr.name == name) {
        Some(xattr) => xattr.value = value,
        None if is_full => return Err(format!("is one of more than {XATTRS_CAP} attributes")),
        None => all.push(Xattr { name: name.to_vec(), value }),
    }
    Ok(())
}

/// The name in a `SCHILY.xattr.` record: GNU tar and libarchive write `=` as `%3D` and `%` as `%25`, and nothing else so.
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, after)) = rest.split_first() {
        let byte;
        (byte, rest) = match rest {
            [b'%', b'3', b'D', after @ ..] => (b'=', after),
            [b'%', b'2', b'5', after @ ..] => (b'%', after),
            _ => (first, after),
        };
        plain.push(byte);
    }
    plain
}

/// What [`unescaped`] reads.
pub(super) fn escaped(name: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'=' => escaped.extend(b"%3D"),
            b'%' => escaped.extend(b"%25"),
            _ => escaped.push(*byte),
        }
    }
    escaped
}

/// `%3D` is `=`, and so with all other bytes: libarchive's own records.
fn percent_decoded(name: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            decoded.push(first);
            continue;
        }
        let (hex, after) = rest.split_first_chunk::<2>()?;
        let hex = std::str::from_utf8(hex).ok()?;
        decoded.push(u8::from_str_radix(hex, 16).ok()?);
        rest = after;
    }
    Some(decoded)
}

/// The alphabet with `+` and `/`; libarchive leaves the `=` at the end out.
fn base64_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for &letter in &text[..end] {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'\n' => continue,
            _ => return None,
        };
        bits = bits << 6 & 0xFFFF | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push((bits >> count).to_le_bytes()[0]);
        }
    }
    // One letter alone is six bits of a byte.
    (count < 6).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(records: &[u8]) -> Result<Extra, String> {
        let mut extra = Extra::default();
        extra.read(records).map(|()| extra)
    }

    fn xattr(name: &[u8], value: &[u8]) -> Xattr {
        Xattr { name: name.into(), value: value.into() }
    }

    #[test]
    fn a_value_may_have_newlines_and_equal_signs_in_it() {
        let records = b"31 SCHILY.xattr.user.x=a\nb=c\n\0\n12 path=a/b\n";
        let mut extra = read(records).expect("records");
        assert_eq!(extra.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!(
            extra.take_xattrs(&Known::default()).expect("numbers"),
            [xattr(b"user.x", b"a\nb=c\n\0")]
        );
    }

    #[test]
    fn a_time_before_1970_is_a_second_down_and_a_fraction_up() {
        for (text, secs, nanos) in [
            ("1767225600.123456789", 1_767_225_600, 123_456_789),
            ("5.5", 5, 500_000_000),
            ("5.", 5, 0),
            ("0.0000000019", 0, 1),
            ("-1", -1, 0),
            ("-1.5", -2, 500_000_000),
            ("-0.25", -1, 750_000_000),
            ("-0.0000000001", -1, 999_999_999),
            ("-1.9999999999", -2, 0),
        ] {
            assert_eq!(time(text.as_bytes()), Some(Time { secs, nanos }), "{text}");
        }
        for odd in ["", "-", "x", "1,5", "1.-5", "99999999999999999999", "--1"] {
            assert_eq!(time(odd.as_bytes()), None, "{odd}");
        }
    }

    #[test]
    fn the_attribute_of_star_outdoes_those_of_others() {
        let records = b"38 LIBARCHIVE.xattr.user.%3D=AGJj/w==\n";
        let mut extra = read(records).expect("records");
        assert_eq!(
            extra.take_xattrs(&Known::default()).expect("numbers"),
            [xattr(b"user.=", b"\0bc\xFF")]
        );
        let records = b"30 LIBARCHIVE.xattr.user.x=YQ\n25 SCHILY.xattr.user.x=b\n";
        let mut extra = read(records).expect("records");
        assert_eq!(
            extra.take_xattrs(&Known::default()).expect("numbers"),
            [xattr(b"user.x", b"b")]
        );
    }

    #[test]
    fn names_of_attributes_are_escaped_as_gnu_tar_does() {
        let records = b"35 SCHILY.xattr.user.a%3Db%25%41=v\n";
        let mut extra = read(records).expect("records");
        let all = extra.take_xattrs(&Known::default()).expect("numbers");
        assert_eq!(all, [xattr(b"user.a=b%%41", b"v")]);
        assert_eq!(escaped(b"user.a=b%%41"), b"user.a%3Db%25%2541");
    }

    #[test]
    fn more_attributes_than_a_file_has_are_refused() {
        let mut extra = Extra::default();
        let record = |nr: usize| format!("28 SCHILY.xattr.user.{nr:04}=v\n");
        for nr in 0..XATTRS_CAP {
            extra.read(record(nr).as_bytes()).expect("one more");
        }
        extra.read(record(0).as_bytes()).expect("the same once more");
        let error = extra.read(record(XATTRS_CAP).as_bytes()).expect_err("too many");
        assert!(error.ends_with("is one of more than 1024 attributes"), "{error}");
    }

    #[test]
    fn records_that_lie_about_their_length_are_refused() {
        for odd in [
            &b"13 path=a/b\n"[..],
            b"11 path=a/b\n",
            b"0 path=a/b\n",
            b"2 \n",
            b"99999999999999999999999 path=a\n",
            b"-12 path=a/b\n",
            b" path=a\n",
            b"8 pathx\n",
            b"\0\0\0",
        ] {
            assert!(read(odd).is_err(), "{odd:?}");
        }
    }
}
