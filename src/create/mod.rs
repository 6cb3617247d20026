//! `autoxen create`: the one privileged step. Root starts a domain from a bundle that a stranger wrote and can still write
//! to; nothing of it is trusted.
//!
//! ```text
//! caller      who asks                                     sudo's, doas's or pkexec's user, never an argument
//! tidy        umask, limits, directory                     not the caller's
//! policy      read where only root writes                  walk::trusted
//! bundle      opened, no link followed                     walk::straight, with the caller's rights
//! signature   of the manifest's bytes, as they were read   before one of them is parsed
//! manifest    typed values                                 no text of it reaches xl but through domain::xl
//! rules       each held against a value                    policy::rules
//! store       counted, and a place taken, under a lock     two at once cannot both have the last place
//! take        copied where only root writes, then hashed   what was hashed is what starts
//! xl          a configuration of our own, an environment of our own
//! ```
//!
//! What the bundle's owner can do between the check and the start, and why it does not matter:
//!
//! * **Swap, rename or link a name**: files are opened once, below a directory that is open; a name is not looked up again.
//!   xl is given names in root's own directory.
//! * **Rewrite or truncate a file**: while it is copied, the copy's digest differs, and it is refused. After that nobody
//!   reads it. Where a policy lets files have no digest, the copy is whatever it is, and root's policy said so.
//! * **Rewrite the manifest**: it is read once, into memory; signature, digests, rules and configuration come from these
//!   bytes.
//! * **Name what the caller may not read** (hard links, links above the bundle, a group's files): it is opened with the
//!   caller's own rights, and a file with a second name is refused.
//! * **Fill the host**: lengths are counted before a byte is copied, what has grown since is refused, and a copy that fails is
//!   removed.
//! * **Stop the process**, or starve it: its threads are root's to signal, ^Z is not heard, and the lock that others wait for
//!   is not held while a file of a stranger's is read.
//!
//! What a guest reads where it lies (`images.directories`) is handed over by its path, so every directory of that path must
//! be root's alone. Nothing of a guest's disks is parsed here; `bring home` copies bytes.

mod account;
pub mod bundle;
pub mod caller;
mod check;
mod home;
pub mod manifest;
mod outside;
mod own;
mod signature;
mod start;
pub mod state;
mod take;
mod tidy;
pub mod walk;
pub mod xl;

use std::path::{Path, PathBuf};

use self::caller::Caller;
use self::state::{Counted, Store};
use self::xl::Xl;
use crate::failure::{Failure, Result, plain};
use crate::policy::{self, Policy, Refusal};

pub use self::check::{Ask, Checked};
pub use self::own::Listed;
pub use self::tidy::tidy;

/// The longest policy that is read, in bytes.
const POLICY_MAX: u64 = 1 << 20;

/// Who asks, and under which policy.
#[derive(Debug)]
pub struct Site {
    /// Who asks.
    pub caller: Caller,
    /// The site's policy.
    pub policy: Policy,
}

impl Site {
    /// Find out who asks, and read the policy at `path`, or the site's own. `user` acts for somebody else; both are for
    /// root itself alone.
    ///
    /// # Errors
    /// Where this is not root; by the rule `policy.trusted` where others may write to the policy, and where it is missing or
    /// wrong.
    pub fn find(path: Option<&Path>, user: Option<&str>) -> Result<Self> {
        let mut caller = Caller::find(|name| std::env::var(name).ok())?;
        if !caller.is_root() && (path.is_some() || user.is_some()) {
            let option = if path.is_some() { "--policy" } else { "--as" };
            let refusal = Refusal::new("policy.root", format!("{option} is for root alone"));
            let hint = "you act as root for yourself; from a shell of root's own it is allowed";
            return Err(refusal.hint(hint).into());
        }
        if let Some(user) = user {
            caller = Caller::named(user)?;
        }
        let place = path.unwrap_or(Path::new(policy::PATH));
        let place = absolute(place)?;
        let policy = match read_policy(&place)? {
            Some(policy) => policy,
            None if path.is_none() && caller.is_root() => Policy::of_root(),
            None => {
                return Err(Failure::new(format!("there is no policy `{}`", place.display()))
                    .hint("root writes one: `autoxen policy default > /etc/autoxen/policy.toml`, then edits it"));
            }
        };
        Ok(Self { caller, policy })
    }

    fn store(&self) -> Result<Store> {
        Store::at(&self.policy.state)
    }

    /// All domains, under the lock. xl is asked where there is any.
    fn count(&self) -> Result<(Store, Counted)> {
        let store = self.store()?;
        let counted = store.count(|| match Xl::at(&self.policy.xl) {
            Ok(xl) => xl.list(),
            Err(_) if store.is_empty() => Ok(Vec::new()),
            Err(failure) => Err(failure),
        })?;
        Ok((store, counted))
    }
}

/// A policy that only root can have written; `None` where there is no file.
///
/// # Errors
/// By the rule `policy.trusted`; with line and column where it is no policy.
pub fn read_policy(path: &Path) -> Result<Option<Policy>> {
    let Some(bytes) = walk::trusted_bytes("policy.trusted", path, POLICY_MAX)? else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::new(format!("{}: it is not UTF-8", path.display())))?;
    let policy = Policy::parse(&text);
    policy.map(Some).map_err(|e| Failure::new(format!("{}: {e}", path.display())))
}

/// What a policy names and is not there, in words. What others than root may write to is an error.
///
/// # Errors
/// By the rule that wants it to be root's.
pub fn missing(policy: &Policy) -> Result<Vec<String>> {
    let signatures = &policy.signatures;
    let mut named =
        vec![("paths.xl", &policy.xl), ("signatures.trusted", &signatures.allowed_signers)];
    named.extend(policy.images.directories.iter().map(|path| ("images.trusted", path)));
    named.extend(policy.kernels.directories.iter().map(|path| ("kernels.trusted", path)));
    named.push(("signatures.trusted", &signatures.revoked_signers));
    let mut missing = Vec::new();
    for (rule, path) in named {
        let is_there = walk::trusted(rule, path)?.is_some();
        let is_optional = path == &signatures.revoked_signers
            || path == &signatures.allowed_signers && !signatures.are_asked_for();
        if !is_there && !is_optional {
            missing.push(format!("{rule}: there is no `{}`", path.display()));
        }
    }
    Ok(missing)
}

/// `path` from the root on. It is not resolved: a link in it is to be seen.
///
/// # Errors
/// Where nobody knows what the current directory is.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    let directory = std::env::current_dir()
        .map_err(|e| Failure::new(format!("no current directory: {}", plain(&e))))?;
    Ok(directory.join(path))
}
