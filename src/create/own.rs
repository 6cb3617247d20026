//! One's own domains: seen, waited for, ended, taken home. A domain is its UUID; another's of the same name is not it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Site;
use super::caller::Caller;
use super::home;
use super::state::{Counted, Record, State, Store};
use super::xl::{Live, Xl};
use crate::domain::value::{FileName, Name};
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::progress::Progress;

/// How long the xl that waits for a domain's end may take to see that it was destroyed.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked.
const INTERVAL: Duration = Duration::from_millis(200);

/// What the caller sees of the store.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Domains, each with its state.
    pub domains: Vec<(Record, State)>,
    /// What is there and cannot be read, in words; root alone is told.
    pub broken: Vec<String>,
}

/// A domain of the caller's, found under the lock.
struct Own {
    store: Store,
    counted: Counted,
    record: Record,
    state: State,
    /// As xl lists it.
    live: Option<Live>,
}

impl Site {
    /// The caller's domains.
    ///
    /// # Errors
    /// Where the store cannot be read, or xl fails.
    pub fn list(&self) -> Result<Listed> {
        let (_, counted) = self.count()?;
        let mut domains = counted.domains;
        domains.retain(|(record, _)| self.owns(record));
        let broken = if self.caller.is_root() { counted.broken } else { Vec::new() };
        Ok(Listed { domains, broken })
    }

    /// How things stand with the caller's domain `name`.
    ///
    /// # Errors
    /// Where there is none.
    pub fn state(&self, name: &Name) -> Result<State> {
        Ok(self.own(name)?.state)
    }

    /// Whether a domain is the caller's. Root's are all.
    fn owns(&self, record: &Record) -> bool {
        self.caller.is_root() || record.uid == self.caller.user.uid
    }

    fn own(&self, name: &Name) -> Result<Own> {
        let store = self.store()?;
        let xl = Xl::at(&self.policy.xl)?;
        let mut found = Vec::new();
        let mut counted = store.count(|| {
            found = xl.list()?;
            Ok(found.clone())
        })?;
        let at = counted.domains.iter().position(|(one, _)| one.name == *name && self.owns(one));
        let Some(at) = at else {
            return Err(Failure::new(format!("you have no domain `{name}`"))
                .hint("`sudo autoxen list` shows those that you have"));
        };
        let (record, state) = counted.domains.swap_remove(at);
        let live = found.into_iter().find(|live| live.uuid == record.uuid);
        Ok(Own { store, counted, record, state, live })
    }

    /// End the caller's domain `name` at once. Its disks stay until they are taken home, or thrown away by `discard`.
    /// Whether it was there.
    ///
    /// # Errors
    /// Where there is none, where it is being created, and where xl fails.
    pub fn destroy(&self, name: &Name, discard: bool) -> Result<bool> {
        let Own { live, state, counted, record, .. } = self.own(name)?;
        match (live, state) {
            // Under the lock, so that the number is still the domain's.
            (Some(live), _) => Xl::at(&self.policy.xl)?.destroy(live)?,
            (None, State::Running) => {
                return Err(Failure::new(format!("`{name}` is between two starts"))
                    .hint("try again in some seconds"));
            }
            (None, State::Starting) => {
                return Err(Failure::new(format!("`{name}` is being created"))
                    .hint("interrupt the command that does it"));
            }
            (None, State::Ended) => {}
        }
        drop(counted);
        let begun = Instant::now();
        while live.is_some() && self.is_there(&record)? {
            if begun.elapsed() > PATIENCE {
                return Err(Failure::new(format!("`{name}` was destroyed, and is there still"))
                    .hint("do it again"));
            }
            interrupt::check()?;
            std::thread::sleep(INTERVAL);
        }
        if discard {
            let Own { store, counted, record, .. } = self.ended(name, &record)?;
            if let Some(claim) = store.claim(&counted, &record)? {
                store.remove(claim)?;
            }
        }
        Ok(live.is_some())
    }

    /// Whether this very domain has not ended.
    fn is_there(&self, record: &Record) -> Result<bool> {
        let own = self.own(&record.name)?;
        Ok(own.record.uuid == record.uuid && own.state != State::Ended)
    }

    /// This very domain, which has ended.
    fn ended(&self, name: &Name, record: &Record) -> Result<Own> {
        let own = self.own(name)?;
        if own.record.uuid != record.uuid || own.state != State::Ended {
            return Err(Failure::new(format!("`{name}` is another domain by now")));
        }
        Ok(own)
    }

    /// Bring home what the caller's domain `name`, which has ended, has written: its results, or `all` disks that it could
    /// write to; into `to`, or into its bundle. Then it is forgotten.
    ///
    /// # Errors
    /// Where the user cannot write there; the domain's disks are kept then. Where somebody else does the same.
    pub fn take_home(
        &self,
        name: &Name,
        all: bool,
        to: Option<&Path>,
        progress: Progress,
    ) -> Result<Vec<PathBuf>> {
        let Own { store, counted, record, state, .. } = self.own(name)?;
        if state != State::Ended {
            return Err(Failure::new(format!("`{name}` has not ended")));
        }
        let claim = store.claim(&counted, &record)?;
        let claim = claim.ok_or_else(|| {
            Failure::new(format!("`{name}` is being taken home by another autoxen"))
        })?;
        // From here on it is nobody else's, and the others need not wait.
        drop(counted);
        let names: Vec<FileName> = match &record.results {
            Some(results) if !all => vec![results.clone()],
            _ => record.writable.clone(),
        };
        let to = to.unwrap_or(&record.bundle);
        // Whose it was when it was created, also where root acts.
        let whose = match self.caller.user.uid == record.uid {
            true => self.caller.clone(),
            false => Caller::numbered(record.uid)?,
        };
        let brought =
            home::bring(&store.files(name), &names, to, &whose, progress).map_err(|failure| {
                failure.hint(format!(
                    "its disks are kept: `autoxen wait {name} --to DIR` brings them elsewhere, `autoxen destroy {name} --discard` throws them away"
                ))
            })?;
        store.remove(claim)?;
        Ok(brought)
    }
}
