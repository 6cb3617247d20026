//! Owners as `chown` takes them (`user`, `user:group`, `user:`, `:group`), by the names that the image itself knows.
//!
//! Names are looked up in the image's `/etc/passwd` and `/etc/group`, never on the host. A number needs no entry; where
//! a name is all digits, the entry counts, and `+1000` is the number in any case.
//!
//! ```text
//! root:x:0:0:root:/root:/bin/bash      name:password:uid:gid:…
//! adm:x:4:daemon                       name:password:gid:members
//! ```

use std::collections::HashMap;

use crate::failure::{Failure, Result};

/// The users and groups of an image.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    users: HashMap<Vec<u8>, (u32, u32)>,
    groups: HashMap<Vec<u8>, u32>,
    user_names: HashMap<u32, String>,
    group_names: HashMap<u32, String>,
}

/// What becomes of an owner; `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnerChange {
    /// The user.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
}

impl Accounts {
    /// Read `/etc/passwd` and `/etc/group`. Lines that are none are passed over; of two entries the first counts.
    pub fn parse(passwd: &[u8], group: &[u8]) -> Self {
        let mut all = Self::default();
        for fields in entries(passwd) {
            let (Some(uid), Some(gid)) = (number(&fields, 2), number(&fields, 3)) else { continue };
            all.users.entry(fields[0].to_vec()).or_insert((uid, gid));
            all.user_names.entry(uid).or_insert_with(|| text(fields[0]));
        }
        for fields in entries(group) {
            let Some(gid) = number(&fields, 2) else { continue };
            all.groups.entry(fields[0].to_vec()).or_insert(gid);
            all.group_names.entry(gid).or_insert_with(|| text(fields[0]));
        }
        all
    }

    /// The name of a user, where there is one.
    pub fn user_name(&self, uid: u32) -> Option<&str> {
        self.user_names.get(&uid).map(String::as_str)
    }

    /// The name of a group, where there is one.
    pub fn group_name(&self, gid: u32) -> Option<&str> {
        self.group_names.get(&gid).map(String::as_str)
    }

    /// Read an owner as `chown` does.
    ///
    /// # Errors
    /// Where the image does not know a name.
    pub fn owner(&self, text: &str) -> Result<OwnerChange> {
        let Some((user, group)) = text.split_once(':') else {
            return Ok(OwnerChange { uid: Some(self.user(text)?.0), gid: None });
        };
        let (uid, login_group) = match user {
            "" => (None, None),
            user => self.user(user).map(|(uid, gid)| (Some(uid), gid))?,
        };
        let gid = match group {
            "" if user.is_empty() => None,
            "" => Some(login_group.ok_or_else(|| {
                Failure::new(format!(
                    "`{text}`: the image has no user `{user}`, whose group it would be"
                ))
                .hint("name the group, too")
            })?),
            group => Some(self.group(group)?),
        };
        Ok(OwnerChange { uid, gid })
    }

    /// The number of a user, and that of its group where the image knows it.
    fn user(&self, text: &str) -> Result<(u32, Option<u32>)> {
        if let Some(&(uid, gid)) = self.users.get(text.as_bytes()) {
            return Ok((uid, Some(gid)));
        }
        let uid = plain_number(text).ok_or_else(|| {
            Failure::new(format!("the image has no user `{text}`"))
                .hint("name one of its /etc/passwd, or give a number")
        })?;
        let known = self.user_names.get(&uid).and_then(|name| self.users.get(name.as_bytes()));
        Ok((uid, known.map(|&(_, gid)| gid)))
    }

    fn group(&self, text: &str) -> Result<u32> {
        let known = self.groups.get(text.as_bytes()).copied();
        known.or_else(|| plain_number(text)).ok_or_else(|| {
            Failure::new(format!("the image has no group `{text}`"))
                .hint("name one of its /etc/group, or give a number")
        })
    }
}

/// The largest number means *no change* to the kernel.
fn plain_number(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|&number| is_number && number != u32::MAX)
}

fn entries(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let lines = text.split(|&byte| byte == b'\n');
    lines
        .map(|line| line.split(|&byte| byte == b':').collect::<Vec<_>>())
        .filter(|fields| !fields[0].is_empty() && !fields[0].starts_with(b"#"))
}

fn number(fields: &[&[u8]], index: usize) -> Option<u32> {
    std::str::from_utf8(fields.get(index)?).ok()?.parse().ok()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Accounts, OwnerChange};

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n# note\nweb:x:33:34::/:\nbroken:x\n1000:x:7:8::/:\n+::::::\nweb:x:99:99::/:\n";
    const GROUP: &[u8] = b"root:x:0:\nadm:x:4:web,root\nwww:x:34:\n";

    #[test]
    fn owners_are_read_by_the_names_of_the_image() {
        let accounts = Accounts::parse(PASSWD, GROUP);
        for (text, uid, gid) in [
            ("web", Some(33), None),
            ("web:adm", Some(33), Some(4)),
            ("web:", Some(33), Some(34)),
            (":adm", None, Some(4)),
            ("33:", Some(33), Some(34)),
            ("12:34", Some(12), Some(34)),
            ("1000", Some(7), None),
            ("+1000", Some(1000), None),
            (":", None, None),
            ("4294967294", Some(4_294_967_294), None),
        ] {
            assert_eq!(accounts.owner(text).unwrap(), OwnerChange { uid, gid }, "{text}");
        }
        for (text, error) in [
            ("nobody", "the image has no user `nobody`"),
            ("web:nobody", "the image has no group `nobody`"),
            ("", "the image has no user ``"),
            ("4294967295", "the image has no user `4294967295`"),
            ("broken", "the image has no user `broken`"),
            ("-1", "the image has no user `-1`"),
            ("12:", "`12:`: the image has no user `12`, whose group it would be"),
        ] {
            assert_eq!(accounts.owner(text).unwrap_err().to_string(), error);
        }
        assert_eq!((accounts.user_name(33), accounts.group_name(34)), (Some("web"), Some("www")));
        assert_eq!((accounts.user_name(1), accounts.group_name(1)), (None, None));
    }
}
