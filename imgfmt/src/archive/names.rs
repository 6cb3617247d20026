//! Numbers of users and groups by their names, for ACLs that an archive wrote with names.
//!
//! GNU tar writes ACLs as text with the names of the host it runs on, `--numeric-owner` or not. A name means what the first
//! of these says:
//!
//! 1. the headers of the archive so far, which have name and number of each owner side by side, from that same host;
//! 2. `etc/passwd` and `etc/group` of the archive, where they came before;
//! 3. the names that the caller gave, such as those of the image that is imported into.
//!
//! ```text
//! joe:x:1000:100:Joe:/home/joe:/bin/sh      passwd: name, password, number …       of two of a name the first counts
//! adm:x:4:joe                               group: the same
//! ```

use std::collections::HashMap;

/// The longest `etc/passwd` or `etc/group` of an archive that is looked at, in bytes.
pub(super) const TABLE_CAP: u64 = 4 << 20;
/// The most owners that are remembered from headers.
const OWNERS_CAP: usize = 1 << 16;

/// Users and groups by their names.
#[derive(Clone, Debug, Default)]
pub struct Names {
    users: HashMap<Vec<u8>, u32>,
    groups: HashMap<Vec<u8>, u32>,
}

/// Whom an entry of an ACL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    User,
    Group,
}

impl Names {
    /// Those of the text of `/etc/passwd` and of `/etc/group`. Lines that are none are passed over.
    pub fn new(passwd: &[u8], group: &[u8]) -> Self {
        Self { users: table(passwd), groups: table(group) }
    }

    fn get(&self, who: Who, name: &[u8]) -> Option<u32> {
        match who {
            Who::User => self.users.get(name).copied(),
            Who::Group => self.groups.get(name).copied(),
        }
    }
}

fn table(text: &[u8]) -> HashMap<Vec<u8>, u32> {
    let mut all = HashMap::new();
    for line in text.split(|&byte| byte == b'\n') {
        let mut fields = line.split(|&byte| byte == b':');
        let name = fields.next().unwrap_or_default();
        let number = fields.nth(1).and_then(super::tar::number);
        if let Some(number) = number.filter(|_| !name.is_empty() && name[0] != b'#') {
            all.entry(name.to_vec()).or_insert(number);
        }
    }
    all
}

/// What is known of names within one archive.
#[derive(Debug, Default)]
pub(super) struct Known {
    owners: Names,
    tables: Names,
    given: Names,
}

impl Known {
    /// Nothing but what the caller knows.
    pub(super) fn new(given: Names) -> Self {
        Self { given, ..Self::default() }
    }

    /// A header has this owner; of two of a name the last counts.
    pub(super) fn owner(&mut self, who: Who, name: &[u8], number: u32) {
        let all = match who {
            Who::User => &mut self.owners.users,
            Who::Group => &mut self.owners.groups,
        };
        if let Some(known) = all.get_mut(name) {
            *known = number;
        } else if !name.is_empty() && all.len() < OWNERS_CAP {
            all.insert(name.to_vec(), number);
        }
    }

    /// What the file at `path` of the archive is: one of the two tables, or neither.
    pub(super) fn table_at(path: &[u8]) -> Option<Who> {
        match path {
            b"etc/passwd" => Some(Who::User),
            b"etc/group" => Some(Who::Group),
            _ => None,
        }
    }

    /// Take in the text of a table, in the place of an earlier one.
    pub(super) fn set_table(&mut self, who: Who, text: &[u8]) {
        match who {
            Who::User => self.tables.users = table(text),
            Who::Group => self.tables.groups = table(text),
        }
    }

    /// The number that `name` stands for.
    pub(super) fn get(&self, who: Who, name: &[u8]) -> Option<u32> {
        [&self.owners, &self.tables, &self.given].into_iter().find_map(|names| names.get(who, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_the_archive_knows_a_name_before_its_files_and_the_caller() {
        let mut known = Known::new(Names::new(b"joe:x:1:1::/:\neve:x:2:2::/:\n", b"joe:x:7:\n"));
        assert_eq!(known.get(Who::User, b"joe"), Some(1));
        assert_eq!(known.get(Who::Group, b"joe"), Some(7));
        known.set_table(Who::User, b"joe:x:3:1::/:\n");
        assert_eq!(
            (known.get(Who::User, b"joe"), known.get(Who::User, b"eve")),
            (Some(3), Some(2))
        );
        known.owner(Who::User, b"joe", 4);
        known.owner(Who::User, b"joe", 5);
        assert_eq!(known.get(Who::User, b"joe"), Some(5));
        assert_eq!(known.get(Who::Group, b"joe"), Some(7));
        assert_eq!(known.get(Who::Group, b"eve"), None);
    }

    #[test]
    fn lines_that_are_no_entries_are_passed_over() {
        let text =
            b"# joe:x:9:\n:x:1:\njoe\njoe:x\njoe:x:-1:\njoe:x:4294967296:\njoe:x:5\njoe:x:6:\n";
        let names = Names::new(text, b"");
        assert_eq!(names.get(Who::User, b"joe"), Some(5));
        assert_eq!(names.users.len(), 1);
    }

    #[test]
    fn an_archive_cannot_fill_the_memory_with_owners() {
        let mut known = Known::default();
        for number in 0..=u32::try_from(OWNERS_CAP).expect("small") {
            known.owner(Who::User, &number.to_le_bytes(), number);
        }
        assert_eq!(known.owners.users.len(), OWNERS_CAP);
        known.owner(Who::User, &7_u32.to_le_bytes(), 70);
        assert_eq!(known.get(Who::User, &7_u32.to_le_bytes()), Some(70));
    }
}
