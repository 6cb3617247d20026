//! From a bundle that passed every rule to a domain that is there; or to nothing at all.

use super::check::Checked;
use super::state::{Place, Record, Store};
use super::take;
use super::xl::Xl;
use crate::domain::xl::Config;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::policy::{Passed, Policy};
use crate::progress::Progress;

impl Checked {
    /// Compare the files with their digests where they lie, as [`Self::start`] does with its copies: the configuration, and each
    /// rule that holds.
    ///
    /// # Errors
    /// By the rule `bundle.digest`.
    pub fn compare(self, progress: Progress) -> Result<(Config, Vec<Passed>)> {
        let Self { config, passed, files, counted, .. } = self;
        // A file may lie where reading it takes as long as its owner likes.
        drop(counted);
        for open in &files {
            if let Some((_, said)) = open.needed.said {
                take::compare(open.needed.name.as_str(), &open.file, open.len, said, progress)?;
            }
        }
        Ok((config, passed))
    }

    /// Start the domain; what xl is told lies in the domain's directory.
    ///
    /// # Errors
    /// Where a file is not what the manifest says, there is no room, or xl fails; nothing is left then.
    pub fn start(self, policy: &Policy, progress: Progress) -> Result<Record> {
        let Self { mut record, config, files, store, counted, .. } = self;
        let xl = Xl::at(&policy.xl)?;
        let place = store.add(&counted, &record)?;
        // Others may be counted and added while this one is copied.
        drop(counted);
        let taken = (|| {
            for open in files {
                take::take(open, &place, progress)?;
            }
            let path = place.put("domain.cfg", config.to_string().as_bytes())?;
            interrupt::check()?;
            record.was_started = true;
            place.write(&record)?;
            Ok(path)
        })();
        let path = match taken {
            Ok(path) => path,
            Err(failure) => {
                store.abandon(place)?;
                return Err(failure);
            }
        };
        match xl.create(&path, &place.path().join("create.log"), place.lock()) {
            Ok(()) => Ok(record),
            Err(failure) => Err(undone(&xl, &store, place, &record, failure)),
        }
    }
}

/// xl has failed. It may have made a domain all the same, as where it was killed: that is ended first, and what it is made of is
/// removed only when it has surely gone.
fn undone(xl: &Xl, store: &Store, place: Place, record: &Record, failure: Failure) -> Failure {
    let gone =
        xl.list().and_then(|found| match found.into_iter().find(|live| live.uuid == record.uuid) {
            None => Ok(true),
            Some(live) => {
                xl.destroy(live)?;
                Ok(xl.list()?.iter().all(|live| live.uuid != record.uuid))
            }
        });
    match gone {
        Ok(true) => store.abandon(place).err().unwrap_or(failure),
        Ok(false) | Err(_) => failure.hint(format!(
            "a part of it may be there still: `autoxen list`, `autoxen destroy {} --discard`",
            record.name
        )),
    }
}
