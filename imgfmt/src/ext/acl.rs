//! POSIX ACLs, as ext stores them: what a new file takes from its directory, and what a change of mode does to them.
//!
//! ```text
//! 01 00 00 00 | 01 00 06 00 | 02 00 07 00 e8 03 00 00 | 04 00 04 00 | 10 00 07 00 | 20 00 04 00
//! version 1     owner rw-     user 1000 rwx             group r--     mask rwx      other r--
//! ```
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
    use super::{inherit, set_mode};

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
    fn what_is_not_an_acl_is_left_alone() {
        for len in [0, 3, 4, 10, 27] {
            assert_eq!(inherit(&DEFAULT[..len], 0o644), None, "{len}");
        }
        let mut other = DEFAULT;
        other[0] = 2;
        assert!(!set_mode(&mut other, 0o644));
    }
}
