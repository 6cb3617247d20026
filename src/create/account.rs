//! Who the users and groups of this host are, as the host itself says: by its programs `getent` and `id`, which ask whatever
//! the host keeps them in (files, LDAP, SSSD). The C library's own functions would load that at run time, which a program
//! that has its C library within cannot.

use std::io;
use std::process::{Command, Output};

use super::xl::clean;
use crate::failure::{Failure, Result, plain};

const GETENT: &str = "/usr/bin/getent";
const ID: &str = "/usr/bin/id";

/// An entry of the host's accounts (passwd(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    /// The login group.
    pub(super) gid: u32,
}

impl Account {
    /// That of the user of this number.
    ///
    /// # Errors
    /// Where the host cannot be asked.
    pub(super) fn numbered(uid: u32) -> Result<Option<Self>> {
        let found = Self::look_up(&uid.to_string())?;
        Ok(found.filter(|account| account.uid == uid))
    }

    /// That of the user called `name`.
    ///
    /// # Errors
    /// Where the host cannot be asked.
    pub(super) fn named(name: &str) -> Result<Option<Self>> {
        // Digits would be looked up as a number, and a dash would be read as a flag.
        if name.is_empty() || name.starts_with('-') || name.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(None);
        }
        let found = Self::look_up(name)?;
        Ok(found.filter(|account| account.name == name))
    }

    fn look_up(key: &str) -> Result<Option<Self>> {
        // 2: the key is not there.
        let said = ask(GETENT, &["passwd", key], &[0, 2])?;
        Ok(said.lines().find_map(Self::parse))
    }

    /// `name:password:uid:gid:…`
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(':');
        // A name of digits alone would be taken for a number by the next program that is asked.
        let is_name = |name: &&str| !name.bytes().all(|byte| byte.is_ascii_digit());
        let name = fields.next().filter(is_name)?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Self { name, uid, gid })
    }

    /// The groups that the user is in, the login group among them.
    ///
    /// # Errors
    /// Where the host cannot be asked.
    pub(super) fn groups(&self) -> Result<Vec<u32>> {
        let said = ask(ID, &["-G", "--", &self.name], &[0])?;
        let mut groups: Vec<u32> = said
            .split_ascii_whitespace()
            .map(|word| word.parse().map_err(|_| odd(ID, &said)))
            .collect::<Result<_>>()?;
        if !groups.contains(&self.gid) {
            groups.push(self.gid);
        }
        Ok(groups)
    }
}

/// The names of those `groups` that have one.
///
/// # Errors
/// Where the host cannot be asked.
pub(super) fn names_of(groups: &[u32]) -> Result<Vec<String>> {
    let numbers: Vec<String> = groups.iter().map(u32::to_string).collect();
    let mut arguments = vec!["group"];
    arguments.extend(numbers.iter().map(String::as_str));
    let said = ask(GETENT, &arguments, &[0, 2])?;
    let name = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        groups.contains(&gid).then(|| name.to_owned())
    };
    Ok(said.lines().filter_map(name).collect())
}

/// What `program` says, where it ends with one of `statuses`.
fn ask(program: &str, arguments: &[&str], statuses: &[i32]) -> Result<String> {
    let fail = |e: io::Error| {
        Failure::new(format!("cannot ask this host for its users: `{program}`: {}", plain(&e)))
    };
    let Output { status, stdout, stderr } =
        clean(&mut Command::new(program)).args(arguments).output().map_err(fail)?;
    if !status.code().is_some_and(|code| statuses.contains(&code)) {
        let said = String::from_utf8_lossy(&stderr);
        let why = said.lines().next().unwrap_or("it says nothing").to_owned();
        let what = format!("cannot ask this host for its users: `{program}` failed ({status})");
        return Err(Failure::new(format!("{what}: {why}")));
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

fn odd(program: &str, said: &str) -> Failure {
    Failure::new(format!("`{program}` says of a user: `{}`", said.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::{Account, names_of};

    #[test]
    fn the_host_knows_its_own_users() {
        let games = Account { name: "games".into(), uid: 5, gid: 60 };
        assert_eq!(Account::numbered(5).unwrap(), Some(games.clone()));
        assert_eq!(Account::named("games").unwrap(), Some(games.clone()));
        assert_eq!(games.groups().unwrap(), [60]);
        assert_eq!(names_of(&[60, 4_000_000_000, 0]).unwrap(), ["games", "root"]);
        assert_eq!(names_of(&[4_000_000_000]).unwrap(), [""; 0]);
        for nobody in ["", "5", "no such", "-h", "--help", "games:x", "root\ngames"] {
            assert_eq!(Account::named(nobody).unwrap(), None, "{nobody:?}");
        }
        assert_eq!(Account::numbered(4_000_000_000).unwrap(), None);
    }

    #[test]
    fn an_entry_that_is_cut_short_is_none() {
        let root = Account { name: "root".into(), uid: 0, gid: 0 };
        assert_eq!(Account::parse("root:x:0:0:root:/root:/bin/sh"), Some(root.clone()));
        assert_eq!(Account::parse("root:x:0:0"), Some(root));
        for odd in [
            "",
            "root",
            "root:x",
            "root:x:0",
            ":x:0:0::/:",
            "root:x:-1:0:",
            "root:x::0:",
            "7:x:7:7::/:",
        ] {
            assert_eq!(Account::parse(odd), None, "{odd:?}");
        }
    }
}
