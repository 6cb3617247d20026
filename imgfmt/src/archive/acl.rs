//! POSIX ACLs, between the forms in which they travel.
//!
//! ```text
//! text     user::rwx,user:joe:rw-:1000,group::r-x,mask::rwx,other::r--      one a line, or with commas (star, GNU tar)
//! kernel   02 00 00 00 | 01 00 07 00 ff ff ff ff | 02 00 06 00 e8 03 00 00 | …     version 2, eight bytes an entry
//! ext      01 00 00 00 | 01 00 07 00 | 02 00 06 00 e8 03 00 00 | …        version 1, a number only where somebody is named
//! ```
//! A stream of entries has the kernel's form alone. Names of users mean nothing outside the system where the archive was
//! made, so a named entry has to come with its number (in place of the name, or behind the permissions as star writes it), or with
//! a name that somebody knows: [`super::names`].

use super::names::Who;

/// `e_tag`, and the word for it; those of named users and groups are one more than these.
const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const OWNING_GROUP: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
/// `e_id` of an entry that names nobody.
const NOBODY: u32 = u32::MAX;
/// The most entries an attribute of 64 KiB has room for.
const ENTRIES_CAP: usize = 8191;

/// What an archive wrote as text, in the kernel's form. `known` has the numbers of names.
///
/// # Errors
/// What is wrong with it: a word or permission that is none, or somebody named whom nobody knows.
pub(super) fn from_text(
    text: &[u8],
    known: &dyn Fn(Who, &[u8]) -> Option<u32>,
) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "is not text".to_owned())?;
    let mut entries = Vec::new();
    for line in text.split(['\n', ',']) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        entries.push(entry(line, known)?);
        if entries.len() > ENTRIES_CAP {
            return Err(format!("has more than {ENTRIES_CAP} entries"));
        }
    }
    // The kernel wants them in this order.
    entries.sort_unstable_by_key(|&(tag, id, _)| (tag, id));
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        acl.extend(tag.to_le_bytes());
        acl.extend(permissions.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    Ok(acl)
}

fn entry(line: &str, known: &dyn Fn(Who, &[u8]) -> Option<u32>) -> Result<(u16, u32, u16), String> {
    let wrong = || format!("`{line}` is not an entry");
    let mut fields = line.split(':').map(str::trim);
    let word = fields.next().ok_or_else(wrong)?;
    let mut who = fields.next().ok_or_else(wrong)?;
    let mut permissions = fields.next();
    // `other:r--` and `mask:rwx` do without the empty field.
    if permissions.is_none() && matches!(word, "o" | "other" | "m" | "mask") {
        (who, permissions) = ("", Some(who));
    }
    let permissions = permissions.and_then(bits).ok_or_else(wrong)?;
    let number = fields.next();
    let named = !who.is_empty();
    let tag = match word {
        "u" | "user" if named => USER,
        "u" | "user" => OWNER,
        "g" | "group" if named => GROUP,
        "g" | "group" => OWNING_GROUP,
        "m" | "mask" if !named => MASK,
        "o" | "other" if !named => OTHER,
        _ => return Err(wrong()),
    };
    if !named {
        return Ok((tag, NOBODY, permissions));
    }
    let by_name = if tag == USER { Who::User } else { Who::Group };
    let id = number.unwrap_or(who).parse().ok().or_else(|| known(by_name, who.as_bytes()));
    match id {
        Some(id) => Ok((tag, id, permissions)),
        None => Err(format!("names the {word} `{who}` without a number")),
    }
}

/// `rw-` as bits; letters may come in any order.
fn bits(text: &str) -> Option<u16> {
    text.chars().try_fold(0, |bits, letter| match letter {
        'r' => Some(bits | 4),
        'w' => Some(bits | 2),
        'x' => Some(bits | 1),
        '-' => Some(bits),
        _ => None,
    })
}

/// An ACL in the kernel's form as the text that GNU tar and bsdtar read, in numbers. `None` where it is none.
pub(super) fn to_text(value: &[u8]) -> Option<String> {
    let list = value.strip_prefix(&2_u32.to_le_bytes())?;
    let (entries, []) = list.as_chunks::<8>() else { return None };
    let lines = entries.iter().map(|&[tag, tag_high, bits, _, a, b, c, d]| {
        let id = u32::from_le_bytes([a, b, c, d]);
        let who = match u16::from_le_bytes([tag, tag_high]) {
            OWNER => "user:".to_owned(),
            USER => format!("user:{id}"),
            OWNING_GROUP => "group:".to_owned(),
            GROUP => format!("group:{id}"),
            MASK => "mask:".to_owned(),
            OTHER => "other:".to_owned(),
            _ => return None,
        };
        let letter = |bit, letter| if bits & bit == 0 { '-' } else { letter };
        Some(format!("{who}:{}{}{}", letter(4, 'r'), letter(2, 'w'), letter(1, 'x')))
    });
    Some(lines.collect::<Option<Vec<_>>>()?.join(","))
}

/// Whether an ACL in the kernel's form says no more than a mode can.
pub(super) fn is_plain(value: &[u8]) -> bool {
    value.len() == 4 + 3 * 8 && mode(value).is_some()
}

/// The permissions that a mode shows for an ACL in the kernel's form. `None` where it is none.
pub(super) fn mode(value: &[u8]) -> Option<u16> {
    let list = value.strip_prefix(&2_u32.to_le_bytes())?;
    let (entries, []) = list.as_chunks::<8>() else { return None };
    let class = |wanted: u16| {
        let found = entries.iter().find(|entry| entry[..2] == wanted.to_le_bytes())?;
        Some(u16::from(found[2] & 7))
    };
    let group = class(MASK).or_else(|| class(OWNING_GROUP))?;
    Some(class(OWNER)? << 6 | group << 3 | class(OTHER)?)
}

/// What ext stores, in the kernel's form. `None` where it is no ACL.
pub(super) fn from_ext(value: &[u8]) -> Option<Vec<u8>> {
    let mut rest = value.strip_prefix(&1_u32.to_le_bytes())?;
    let mut acl = 2_u32.to_le_bytes().to_vec();
    while let Some((head, after)) = rest.split_first_chunk::<4>() {
        acl.extend(head);
        rest = after;
        match u16::from_le_bytes([head[0], head[1]]) {
            USER | GROUP => {
                let (id, after) = rest.split_first_chunk::<4>()?;
                acl.extend(id);
                rest = after;
            }
            OWNER | OWNING_GROUP | MASK | OTHER => acl.extend(NOBODY.to_le_bytes()),
            _ => return None,
        }
    }
    rest.is_empty().then_some(acl)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_text(text: &[u8]) -> Result<Vec<u8>, String> {
        super::from_text(text, &|_, _| None)
    }

    // Owner rwx, user 1000 rw-, group r-x, mask rwx, other r--.
    const KERNEL: [u8; 44] = [
        2, 0, 0, 0, //
        1, 0, 7, 0, 255, 255, 255, 255, //
        2, 0, 6, 0, 0xE8, 3, 0, 0, //
        4, 0, 5, 0, 255, 255, 255, 255, //
        0x10, 0, 7, 0, 255, 255, 255, 255, //
        0x20, 0, 4, 0, 255, 255, 255, 255,
    ];

    #[test]
    fn the_texts_of_star_and_of_gnu_tar_are_one_acl() {
        for text in [
            "user::rwx,user:joe:rw-:1000,group::r-x,mask::rwx,other::r--",
            "user::rwx\nuser:1000:rw-\ngroup::r-x\nmask::rwx\nother::r--\n",
            "other:r--, mask:rwx, u:1000:rw-, u::rwx, g::r-x # a comment",
        ] {
            assert_eq!(from_text(text.as_bytes()).as_deref(), Ok(&KERNEL[..]), "{text}");
        }
    }

    #[test]
    fn somebody_named_without_a_number_is_refused() {
        let outcome = from_text(b"user::rwx,user:joe:rw-,group::r-x,mask::rwx,other::r--");
        assert_eq!(outcome, Err("names the user `joe` without a number".to_owned()));
        let known = |who, name: &[u8]| (who == Who::User && name == b"joe").then_some(1000);
        let text = b"user::rwx,user:joe:rw-,group::r-x,mask::rwx,other::r--";
        assert_eq!(super::from_text(text, &known).as_deref(), Ok(&KERNEL[..]));
        let text = b"user::rwx,group:joe:rw-,group::r-x,mask::rwx,other::r--";
        assert!(super::from_text(text, &known).is_err());
        for odd in ["user", "user::rwz", "mask:joe:rwx", "planet::rwx", "user:1:rwx:x"] {
            assert!(from_text(odd.as_bytes()).is_err(), "{odd}");
        }
    }

    #[test]
    fn what_ext_stores_becomes_what_the_kernel_hands_out() {
        let ext = [
            1, 0, 0, 0, 1, 0, 7, 0, 2, 0, 6, 0, 0xE8, 3, 0, 0, 4, 0, 5, 0, 0x10, 0, 7, 0, 0x20, 0,
            4, 0,
        ];
        assert_eq!(from_ext(&ext).as_deref(), Some(&KERNEL[..]));
        assert_eq!(mode(&KERNEL), Some(0o774));
        let text = "user::rwx,user:1000:rw-,group::r-x,mask::rwx,other::r--";
        assert_eq!(to_text(&KERNEL).as_deref(), Some(text));
        assert!(!is_plain(&KERNEL));
        assert!(is_plain(&from_text(b"user::rwx,group::r-x,other::r--").expect("an ACL")));
        assert_eq!(mode(&KERNEL[..43]), None);
        for len in [0, 3, 6, 15] {
            assert_eq!(from_ext(&ext[..len]), None, "{len}");
        }
    }
}
