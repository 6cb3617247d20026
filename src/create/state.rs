//! The domains that were created here, on the disk, where only root writes:
//!
//! ```text
//! /var/lib/autoxen/lock               held while domains are counted and one is added
//! /var/lib/autoxen/domains/NAME/      0700
//!     record.json                     what it is, and whose
//!     lock                            held by the process that creates it, then by the xl that waits for its end
//!     domain.cfg  create.log          what xl was told, and what it said
//!     files/                          its kernel, ramdisk and disks
//! ```
//!
//! What is removed is given another name first, `.gone-…`, so that a domain's name is free at once and never half there.
//!
//! A domain is *starting* until xl was asked, *running* while xl lists its UUID or the lock is held (between two starts of a
//! guest that reboots xl lists nothing), and *ended* then, until it is taken home or thrown away. One whose process was killed
//! before xl was asked is neither: it is removed by the next that looks.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::walk;
use super::xl::Live;
use crate::domain::value::{FileName, Mac, Name};
use crate::failure::{Failure, Result, plain};
use crate::interrupt;
use crate::newfile::{Existing, Staged};
use crate::policy::{Refusal, Usage};

/// What the name of a directory begins with that is being removed.
const GONE: &str = ".gone-";

/// How long the site's lock is waited for. Who holds it asks xl once, or has xl end a domain.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often it is tried.
const INTERVAL: Duration = Duration::from_millis(20);

/// The longest record that is read, in bytes.
const RECORD_MAX: u64 = 1 << 20;

/// What is known of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub name: Name,
    /// Its UUID.
    pub uuid: Uuid,
    /// Number of the user whose it is.
    pub uid: u32,
    /// The user's name then.
    pub user: String,
    /// The bundle that it was made from.
    pub bundle: PathBuf,
    /// Bytes of memory.
    pub memory: u64,
    /// Virtual processors.
    pub vcpus: u32,
    /// Length of its disks, in bytes.
    pub disk: u64,
    /// Addresses of its cards.
    pub macs: Vec<Mac>,
    /// Disks that the guest may write to.
    pub writable: Vec<FileName>,
    /// The one that results are on.
    pub results: Option<FileName>,
    /// When it was created, in seconds since 1970.
    pub created: i64,
    /// Whether xl was asked.
    pub was_started: bool,
}

impl Record {
    /// What it takes while it is there; one that has ended takes its disks alone.
    pub fn usage(&self, state: State) -> Usage {
        let here = match state {
            State::Starting | State::Running => {
                Usage { memory: self.memory, vcpus: self.vcpus, ..Usage::default() }
            }
            State::Ended => Usage::default(),
        };
        Usage { domains: 1, disk: self.disk, ..here }
    }
}

/// How things stand with a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is being created.
    Starting,
    /// It is there.
    Running,
    /// It has gone, and its disks are still here.
    Ended,
}

/// The directory of all domains.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
}

/// All domains, counted under the lock, which ends with this.
#[derive(Debug)]
pub struct Counted {
    _lock: File,
    /// Each with its state.
    pub domains: Vec<(Record, State)>,
    /// What is in the store and cannot be read, in words. It counts for nothing, and is in nobody's way.
    pub broken: Vec<String>,
}

/// A domain that has ended, and that nobody else takes home or throws away meanwhile.
#[derive(Debug)]
pub struct Claim {
    _lock: File,
    path: PathBuf,
}

/// A domain that is being created.
#[derive(Debug)]
pub struct Place {
    lock: File,
    path: PathBuf,
}

impl Store {
    /// The store at `path`, made where it is missing.
    ///
    /// # Errors
    /// By the rule `paths.state` where others than root may write to it, or to a directory above it.
    pub fn at(path: &Path) -> Result<Self> {
        let parent = path.parent().unwrap_or(path);
        if walk::trusted("paths.state", parent)?.is_none() {
            let why = format!("there is no directory `{}`", parent.display());
            return Err(Refusal::new("paths.state", why).into());
        }
        for directory in [path, &path.join("domains")] {
            match DirBuilder::new().mode(0o700).create(directory) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(Failure::host("cannot make", directory, &e));
                }
                _ => {}
            }
            walk::trusted("paths.state", directory)?;
        }
        Ok(Self { path: path.into() })
    }

    fn domains(&self) -> PathBuf {
        self.path.join("domains")
    }

    /// Whether there is no domain.
    pub fn is_empty(&self) -> bool {
        fs::read_dir(self.domains()).is_ok_and(|mut entries| entries.next().is_none())
    }

    /// Where the domain `name` is.
    pub fn directory(&self, name: &Name) -> PathBuf {
        self.domains().join(name.as_str())
    }

    /// Where the files of the domain `name` are.
    pub fn files(&self, name: &Name) -> PathBuf {
        self.directory(name).join("files")
    }

    /// Take the lock and look at all domains. `live` asks xl which are there, under the lock. What was left behind is removed.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn count(&self, live: impl FnOnce() -> Result<Vec<Live>>) -> Result<Counted> {
        let lock = self.lock()?;
        let live = live()?;
        let mut counted = Counted { _lock: lock, domains: Vec::new(), broken: Vec::new() };
        let fail = |e: &io::Error| Failure::host("cannot read", &self.domains(), e);
        for entry in fs::read_dir(self.domains()).map_err(|e| fail(&e))? {
            let entry = entry.map_err(|e| fail(&e))?;
            let directory = entry.path();
            if !entry.file_type().map_err(|e| fail(&e))?.is_dir() {
                counted.broken.push(format!("`{}` is no domain", directory.display()));
                continue;
            }
            if entry.file_name().as_encoded_bytes().starts_with(GONE.as_bytes()) {
                // Whoever began it was killed, or does it still: it can be done twice.
                let _ = fs::remove_dir_all(&directory);
                continue;
            }
            let is_held = is_locked(&directory);
            match read(&directory) {
                Err(what) => counted.broken.push(what.to_string()),
                Ok(None) if is_held => {}
                Ok(None) => self.discard(&directory)?,
                Ok(Some(record)) => {
                    let is_live = live.iter().any(|live| live.uuid == record.uuid);
                    let state = match (is_live, is_held, record.was_started) {
                        (true, _, _) | (false, true, true) => State::Running,
                        (false, true, false) => State::Starting,
                        (false, false, true) => State::Ended,
                        (false, false, false) => {
                            self.discard(&directory)?;
                            continue;
                        }
                    };
                    counted.domains.push((record, state));
                }
            }
        }
        counted.domains.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        Ok(counted)
    }

    /// The site's lock. Who holds it does so for a moment, or is stopped.
    fn lock(&self) -> Result<File> {
        let path = self.path.join("lock");
        let fail = |e: &io::Error| Failure::host("cannot lock", &path, e);
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| fail(&e))?;
        let begun = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(fs::TryLockError::Error(e)) => return Err(fail(&e)),
                Err(fs::TryLockError::WouldBlock) if begun.elapsed() > PATIENCE => {
                    let seconds = PATIENCE.as_secs();
                    return Err(Failure::new(format!(
                        "`{}` has been locked for {seconds} s by another autoxen",
                        path.display()
                    ))
                    .hint("`fuser` or `lslocks` tells root which one"));
                }
                Err(fs::TryLockError::WouldBlock) => {
                    interrupt::check()?;
                    std::thread::sleep(INTERVAL);
                }
            }
        }
    }

    /// Claim a domain that has ended, under the lock; `None` where somebody else has.
    ///
    /// # Errors
    /// Where its lock cannot be had.
    pub fn claim(&self, _counted: &Counted, record: &Record) -> Result<Option<Claim>> {
        let path = self.directory(&record.name);
        let fail = |e: &io::Error| Failure::host("cannot lock", &path, e);
        let lock = File::open(path.join("lock")).map_err(|e| fail(&e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Claim { _lock: lock, path })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(e)) => Err(fail(&e)),
        }
    }

    /// Throw away what was claimed.
    ///
    /// # Errors
    /// Where it cannot be removed.
    pub fn remove(&self, claim: Claim) -> Result<()> {
        self.discard(&claim.path)
    }

    /// Remove a domain's directory, which nobody else is at.
    fn discard(&self, directory: &Path) -> Result<()> {
        let fail = |e: &io::Error| Failure::host("cannot remove", directory, e);
        let gone = self.domains().join(format!("{GONE}{}", random_uuid()?));
        fs::rename(directory, &gone).map_err(|e| fail(&e))?;
        match fs::remove_dir_all(&gone) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(fail(&e)),
            _ => Ok(()),
        }
    }

    /// Make a place for a new domain, under the lock.
    ///
    /// # Errors
    /// By the rule `names.unique` where a domain of this name is there, or has not been taken home.
    pub fn add(&self, _counted: &Counted, record: &Record) -> Result<Place> {
        let path = self.directory(&record.name);
        let fail = |e: &io::Error| Failure::host("cannot make", &path, e);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let why =
                    format!("there is a domain `{}`, or one that was not taken home", record.name);
                let hint = "`autoxen list` shows yours; `--name` gives this one another name";
                return Err(Refusal::new("names.unique", why).hint(hint).into());
            }
            other => other.map_err(|e| fail(&e))?,
        }
        let made = (|| {
            let lock = File::create_new(path.join("lock")).map_err(|e| fail(&e))?;
            lock.try_lock().map_err(|e| fail(&e.into()))?;
            DirBuilder::new().mode(0o700).create(path.join("files")).map_err(|e| fail(&e))?;
            let place = Place { lock, path: path.clone() };
            place.write(record)?;
            Ok(place)
        })();
        if made.is_err() {
            self.discard(&path)?;
        }
        made
    }

    /// What was begun comes to nothing.
    ///
    /// # Errors
    /// Where it cannot be removed.
    pub fn abandon(&self, place: Place) -> Result<()> {
        self.discard(&place.path)
    }
}

impl Place {
    /// Write the record, whole or not at all.
    pub fn write(&self, record: &Record) -> Result<()> {
        let mut staged = Staged::with_mode(&self.path.join("record.json"), 0o600)?;
        let bytes = serde_json::to_vec_pretty(record)
            .map_err(|e| Failure::new(format!("`{}` cannot be told: {e}", record.name)))?;
        if bytes.len() as u64 > RECORD_MAX {
            return Err(Failure::new(format!("`{}` takes too many words to tell", record.name)));
        }
        staged
            .write_all_at(&bytes, 0)
            .map_err(|e| Failure::host("cannot write", &self.path, &e))?;
        staged.publish(Existing::Replace)
    }

    /// What is locked while somebody is at work there.
    pub fn lock(&self) -> &File {
        &self.lock
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Make a new file below it.
    pub fn create(&self, name: &str) -> Result<File> {
        let path = self.path.join(name);
        File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|e| Failure::host("cannot make", &path, &e))
    }

    /// Write a new small file below it.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.path.join(name);
        let mut file = self.create(name)?;
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(|e| Failure::host("cannot write", &path, &e))?;
        Ok(path)
    }
}

/// Whether a process is at work there.
fn is_locked(directory: &Path) -> bool {
    let Ok(lock) = File::open(directory.join("lock")) else { return false };
    matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock))
}

fn read(directory: &Path) -> Result<Option<Record>> {
    let path = directory.join("record.json");
    let fail = |e: &io::Error| Failure::host("cannot read", &path, e);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(fail(&e)),
    };
    let mut bytes = Vec::new();
    file.take(RECORD_MAX).read_to_end(&mut bytes).map_err(|e| fail(&e))?;
    let read = serde_json::from_slice(&bytes);
    read.map(Some).map_err(|e| Failure::new(format!("`{}`: {e}", path.display())))
}

/// A UUID that nobody can know before.
pub(super) fn random_uuid() -> Result<Uuid> {
    let mut bytes = [0; 16];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| Failure::new(format!("no random numbers: {}", plain(&e.into()))))?;
    if filled < bytes.len() {
        return Err(Failure::new("no random numbers: too few bytes"));
    }
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}
