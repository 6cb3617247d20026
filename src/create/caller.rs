//! Who asks: the user who started `sudo`, `doas` or `pkexec`, and root itself where nobody did.
//!
//! Each of the three sets a variable that its user cannot set: `SUDO_UID`, `DOAS_USER`, `PKEXEC_UID`. A user may bring the
//! variables of the other two along where an environment is kept, so that they count for nothing where they say root, and
//! where two of them name two users nobody is believed.
//!
//! What is opened for the user is opened with the user's own rights ([`Caller::with_rights`]): root's would turn a link, a
//! name or a group's right into a way to read what others have closed.

use nix::unistd;
use rustix::process::Gid;
use rustix::thread::set_thread_groups;

use super::account::{Account, names_of};
use crate::failure::{Failure, Result};
use crate::policy::User;

/// A user, with the rights that reading on the user's behalf takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What the policy asks about.
    pub user: User,
    gid: u32,
    groups: Vec<u32>,
}

impl Caller {
    /// Who has started this process. `variable` looks up a variable of the environment.
    ///
    /// # Errors
    /// Where this process is not root's, or nobody knows the user.
    pub fn find(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Err(Failure::new("only root may act on domains")
                .hint("start it by sudo, as your administrator allows it: `sudo autoxen …`"));
        }
        let mut asking: Vec<Account> = Vec::new();
        for (name, is_number) in [("SUDO_UID", true), ("PKEXEC_UID", true), ("DOAS_USER", false)] {
            let Some(value) = variable(name) else { continue };
            let user = if is_number { by_number(&value)? } else { Account::named(&value)? };
            let user = user.ok_or_else(|| unknown(name, &value))?;
            if user.uid != 0 && asking.iter().all(|other| other.uid != user.uid) {
                asking.push(user);
            }
        }
        match asking.as_slice() {
            [] => Self::numbered(rustix::process::getuid().as_raw()),
            [user] => Self::of(user.clone()),
            [first, second, ..] => Err(Failure::new(format!(
                "who asks? the environment names both `{}` and `{}`",
                first.name, second.name
            ))),
        }
    }

    /// The user called `name`.
    ///
    /// # Errors
    /// Where there is none.
    pub fn named(name: &str) -> Result<Self> {
        Self::of(Account::named(name)?.ok_or_else(|| unknown("user", name))?)
    }

    /// The user of this number.
    ///
    /// # Errors
    /// Where there is none.
    pub fn numbered(uid: u32) -> Result<Self> {
        let account = Account::numbered(uid)?;
        Self::of(account.ok_or_else(|| unknown("uid", &uid.to_string()))?)
    }

    fn of(account: Account) -> Result<Self> {
        let groups = account.groups()?;
        // A group that has no name cannot be in a policy either.
        let names = names_of(&groups)?;
        let Account { name, uid, gid } = account;
        Ok(Self { user: User { uid, name, groups: names }, gid, groups })
    }

    /// Whether it is root itself.
    pub fn is_root(&self) -> bool {
        self.user.uid == 0
    }

    /// Do `work` with the user's rights to files and no others.
    ///
    /// It runs in a thread that takes the user's groups and file system ids ([setfsuid(2)]); with those the kernel takes away
    /// root's rights to pass over modes and owners. Only those: were the thread the user's in every way, the user could
    /// stop it by a signal, and the process with it. It ends with the work, so that no thread has to become root again.
    ///
    /// [setfsuid(2)]: https://man7.org/linux/man-pages/man2/setfsuid.2.html
    ///
    /// # Errors
    /// Where the rights cannot be taken; those of `work`.
    pub fn with_rights<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        if self.is_root() {
            return work();
        }
        let bounded = || {
            let groups: Vec<Gid> = self.groups.iter().map(|one| Gid::from_raw(*one)).collect();
            let (gid, uid) =
                (unistd::Gid::from_raw(self.gid), unistd::Uid::from_raw(self.user.uid));
            let are_set = set_thread_groups(&groups).is_ok() && {
                unistd::setfsgid(gid);
                unistd::setfsuid(uid);
                // Both say what held before, whether or not they changed it: asked twice, they say whether they did.
                unistd::setfsgid(gid) == gid && unistd::setfsuid(uid) == uid
            };
            if !are_set {
                let name = &self.user.name;
                return Err(Failure::new(format!("cannot take the rights of `{name}`")));
            }
            work()
        };
        std::thread::scope(|scope| {
            let done = scope.spawn(bounded).join();
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// The name of user `uid`, or the number where nobody has it.
pub fn name_of(uid: u32) -> String {
    let account = Account::numbered(uid).ok().flatten();
    account.map_or_else(|| uid.to_string(), |account| account.name)
}

fn by_number(text: &str) -> Result<Option<Account>> {
    text.parse().ok().map_or(Ok(None), Account::numbered)
}

fn unknown(what: &str, value: &str) -> Failure {
    Failure::new(format!("{what}: this host knows no user `{}`", value.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(variables: &[(&str, &str)]) -> Result<String, String> {
        let look = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        Caller::find(look).map(|caller| caller.user.name).map_err(|e| e.to_string())
    }

    #[test]
    fn the_caller_is_whom_sudo_names_and_nobody_can_lie_twice() {
        assert!(rustix::process::geteuid().is_root(), "this test wants to be root");
        // Debian's own users: 1 is daemon, 5 is games.
        assert_eq!(find(&[]).as_deref(), Ok("root"));
        assert_eq!(find(&[("SUDO_UID", "0")]).as_deref(), Ok("root"));
        assert_eq!(find(&[("SUDO_UID", "5")]).as_deref(), Ok("games"));
        assert_eq!(find(&[("PKEXEC_UID", "5"), ("SUDO_UID", "0")]).as_deref(), Ok("games"));
        assert_eq!(find(&[("DOAS_USER", "games"), ("SUDO_UID", "5")]).as_deref(), Ok("games"));
        let both = find(&[("DOAS_USER", "daemon"), ("SUDO_UID", "5")]).expect_err("two users");
        assert_eq!(both, "who asks? the environment names both `games` and `daemon`");
        for wrong in ["", "-1", "5 ", "4294967295", "99999999999", "games"] {
            assert!(find(&[("SUDO_UID", wrong)]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn work_with_rights_has_the_users_and_the_process_keeps_its_own() {
        let games = Caller::named("games").expect("Debian has it");
        let read = || {
            // Real, effective and saved id are root's: a user may signal a thread that has one of the user's.
            let status = std::fs::read_to_string("/proc/thread-self/status").expect("a status");
            assert!(status.contains("\nUid:\t0\t0\t0\t5\n"), "{status}");
            Ok(std::fs::read("/etc/shadow").map_err(|e| e.kind()))
        };
        let inside = games.with_rights(read).expect("the rights are given up");
        assert_eq!(inside.expect_err("closed"), std::io::ErrorKind::PermissionDenied);
        assert!(std::fs::read("/etc/shadow").is_ok());
    }
}
