//! POSIX ACLs, as ext stores them: what a new file takes from its directory, what a change of mode does to them, and
//! what a mode an ACL is.
//!
//! ```text
//! 01 00 00 00 | 01 00 06 00 | 02 00 07 00 e8 03 00 00 | 04 00 04 00 | 10 00 07 00 | 20 00 04 00
//! version 1     owner rw-     user 1000 rwx             group r--     mask rwx      other r--
//! ```
//! `setxattr` takes version 2, in which every entry has a number of four bytes, all ones where it means nothing.
//!
//! Only entries of named users and groups have a number. The mask, where there is one, is what the mode shows as the
//! permissions of the group.

/// `e_tag`.
const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const OWNING_GROUP: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Tag of each entry, and where its permissions stand; `None` where the value is not an ACL.
fn entries(value: &[u8]) -> Option<Vec<(u16, usize)>> {
    if value.get(..4)? != [1, 0, 0, 0] {
        return None;
    }
    let (mut at, mut all) = (4, Vec::new());
    while at < value.len() {
        let entry = value.get(at..at + 4)?;
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        all.push((tag, at + 2));
        at += match tag {
            USER | GROUP => 8,
            OWNER | OWNING_GROUP | MASK | OTHER => 4,
            _ => return None,
        };
    }
    let has = |wanted| all.iter().any(|&(tag, _)| tag == wanted);
    (at == value.len() && has(OWNER) && has(OWNING_GROUP) && has(OTHER)).then_some(all)
}

/// Where the three classes of the mode stand: owner, group (the mask if there is one), other.
fn classes(entries: &[(u16, usize)]) -> Option<[(usize, u32); 3]> {
    let place = |wanted| entries.iter().find(|&&(tag, _)| tag == wanted).map(|&(_, at)| at);
    let group = place(MASK).or_else(|| place(OWNING_GROUP))?;
    Some([(place(OWNER)?, 6), (group, 3), (place(OTHER)?, 0)])
}

/// A new file of `mode` takes this default ACL of its directory: its own, if that says more than a mode can, and its
/// mode. `None` where the value is not an ACL.
pub(crate) fn inherit(default: &[u8], mode: u16) -> Option<(Option<Vec<u8>>, u16)> {
    let entries = entries(default)?;
    let (mut own, mut mode) = (default.to_vec(), mode);
    for (at, shift) in classes(&entries)? {
        let both = u16::from(own[at] & 7) & mode >> shift;
        own[at] = both.to_le_bytes()[0];
        mode = mode & !(7 << shift) | both << shift;
    }
    Some(((entries.len() > 3).then_some(own), mode))
}

/// The permissions that a mode shows for this ACL. `None` where the value is not one, or has no entries.
pub(crate) fn mode(acl: &[u8]) -> Option<u16> {
    let places = classes(&entries(acl)?)?;
    Some(places.iter().fold(0, |mode, &(at, shift)| mode | u16::from(acl[at] & 7) << shift))
}

/// Whether an ACL says no more than a mode can.
pub(crate) fn is_plain(acl: &[u8]) -> bool {
    entries(acl).is_some_and(|entries| entries.len() == 3)
}

/// Version 1 or 2 as version 1: sound, as the kernel wants it, or without entries. `None` for anything else.
pub(crate) fn from_kernel_or_disk(value: &[u8]) -> Option<Vec<u8>> {
    let (version, rest) = value.split_first_chunk()?;
    let acl = match u32::from_le_bytes(*version) {
        1 => value.to_vec(),
        2 => from_kernel(rest)?,
        _ => return None,
    };
    (acl.len() == 4 || is_sound(&acl)).then_some(acl)
}

fn from_kernel(list: &[u8]) -> Option<Vec<u8>> {
    let mut acl = vec![1, 0, 0, 0];
    let whole = list.chunks_exact(8);
    if !whole.remainder().is_empty() {
        return None;
    }
    for entry in whole {
        let is_named = matches!(u16::from_le_bytes([entry[0], entry[1]]), USER | GROUP);
        acl.extend(&entry[..if is_named { 8 } else { 4 }]);
    }
    Some(acl)
}

/// An ACL as ext stores it, which is what [`Fs::xattrs`](crate::ext::Fs::xattrs) returns, as `setxattr` takes it (`struct
/// posix_acl_xattr_header`, version 2). `None` where the value is not an ACL.
pub fn acl_to_kernel(value: &[u8]) -> Option<Vec<u8>> {
    let acl = from_kernel_or_disk(value).filter(|acl| acl.len() > 4)?;
    let mut list = vec![2, 0, 0, 0];
    for (tag, at) in entries(&acl)? {
        list.extend(tag.to_le_bytes());
        list.extend(acl.get(at..at + 2)?);
        match matches!(tag, USER | GROUP) {
            true => list.extend(acl.get(at + 2..at + 6)?),
            false => list.extend([0xFF; 4]),
        }
    }
    Some(list)
}

/// Each class once, in order, and a mask wherever somebody is named.
fn is_sound(acl: &[u8]) -> bool {
    let Some(entries) = entries(acl) else { return false };
    let tags: Vec<u16> = entries.iter().map(|&(tag, _)| tag).collect();
    let count = |wanted| tags.iter().filter(|&&tag| tag == wanted).count();
    let is_named = count(USER) + count(GROUP) > 0;
    // Their numbers rise in the order that the kernel wants.
    tags.is_sorted()
        && [OWNER, OWNING_GROUP, OTHER].into_iter().all(|tag| count(tag) == 1)
        && count(MASK) <= 1
        && (count(MASK) == 1 || !is_named)
        && entries.iter().all(|&(_, at)| acl[at] <= 7 && acl[at + 1] == 0)
}

/// Give an ACL the permissions of a new mode. False, and nothing changed, where the value is not an ACL.
pub(crate) fn set_mode(acl: &mut [u8], mode: u16) -> bool {
    let Some(classes) = entries(acl).and_then(|entries| classes(&entries)) else { return false };
    for (at, shift) in classes {
        acl[at] = (mode >> shift & 7).to_le_bytes()[0];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{acl_to_kernel, from_kernel_or_disk, inherit, is_plain, mode, set_mode};

    // Owner rwx, user 1000 rwx, group r-x, mask rwx, other r-x.
    const DEFAULT: [u8; 28] = [
        1, 0, 0, 0, 1, 0, 7, 0, 2, 0, 7, 0, 0xE8, 3, 0, 0, 4, 0, 5, 0, 0x10, 0, 7, 0, 0x20, 0, 5, 0,
    ];

    #[test]
    fn a_new_file_gets_what_both_the_acl_and_its_mode_allow() {
        let (own, mode) = inherit(&DEFAULT, 0o10_0640).expect("an ACL");
        assert_eq!(mode, 0o10_0640);
        let own = own.expect("a user is named");
        // Owner rw-, group unchanged, mask r--, other ---.
        assert_eq!((own[6], own[18], own[22], own[26]), (6, 5, 4, 0));
    }

    #[test]
    fn three_entries_are_no_more_than_a_mode() {
        let plain = [1, 0, 0, 0, 1, 0, 7, 0, 4, 0, 0, 0, 0x20, 0, 0, 0];
        assert_eq!(inherit(&plain, 0o644), Some((None, 0o600)));
    }

    #[test]
    fn a_change_of_mode_changes_the_mask_and_not_the_group() {
        let mut acl = DEFAULT;
        assert!(set_mode(&mut acl, 0o751));
        assert_eq!((acl[6], acl[18], acl[22], acl[26]), (7, 5, 5, 1));
    }

    #[test]
    fn what_setxattr_takes_is_stored_without_the_numbers_that_mean_nothing() {
        let entry = |tag: u8, permissions: u8, id: u32| {
            [&[tag, 0, permissions, 0][..], &id.to_le_bytes()].concat()
        };
        let none = u32::MAX;
        let list = [
            vec![2, 0, 0, 0],
            entry(1, 7, none),
            entry(2, 7, 1000),
            entry(4, 5, none),
            entry(0x10, 7, none),
            entry(0x20, 5, none),
        ];
        assert_eq!(from_kernel_or_disk(&list.concat()).expect("an ACL"), DEFAULT);
        assert_eq!(from_kernel_or_disk(&DEFAULT).expect("an ACL"), DEFAULT);
        assert_eq!(mode(&DEFAULT), Some(0o775));
        assert!(!is_plain(&DEFAULT));
        assert_eq!(from_kernel_or_disk(&[2, 0, 0, 0]), Some(vec![1, 0, 0, 0]));
        // The owner behind the user, no mask for the user, a permission that is none, two bytes too many.
        let [start, owner, user, group, mask, other] = list;
        for odd in [
            [&start[..], &user, &owner, &group, &mask, &other].concat(),
            [&start[..], &owner, &user, &group, &other].concat(),
            [&start[..], &owner, &user, &group, &entry(0x10, 8, none), &other].concat(),
            [&start[..], &owner, &user, &group, &mask, &other, &[0, 0]].concat(),
        ] {
            assert_eq!(from_kernel_or_disk(&odd), None);
        }
    }

    #[test]
    fn what_setxattr_takes_comes_back_as_it_was_given() {
        let kernel = acl_to_kernel(&DEFAULT).expect("an ACL");
        // Five entries of eight bytes behind the version.
        assert_eq!(
            (kernel.len(), &kernel[..12]),
            (44, &[2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255][..])
        );
        assert_eq!(from_kernel_or_disk(&kernel).as_deref(), Some(&DEFAULT[..]));
        assert_eq!(acl_to_kernel(&kernel).as_deref(), Some(&kernel[..]));
        assert_eq!(acl_to_kernel(&DEFAULT[..27]), None);
    }

    #[test]
    fn what_is_not_an_acl_is_left_alone() {
        for len in [0, 3, 4, 10, 27] {
            assert_eq!(inherit(&DEFAULT[..len], 0o644), None, "{len}");
        }
        let mut other = DEFAULT;
        other[0] = 2;
        assert!(!set_mode(&mut other, 0o644));
    }
}
