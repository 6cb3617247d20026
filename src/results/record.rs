//! The small files of the runner: `run.json`, `job.json`.

use std::path::Path;

use imgfmt::ext::{FileType, Fs};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::End;

/// The longest record, in bytes.
const RECORD_MAX: u64 = 1 << 20;

/// `run.json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Run {
    format: u32,
    /// Of which preparation it is.
    pub id: String,
    /// When the runner began.
    pub start: Option<i64>,
    /// When it ended.
    pub end: Option<i64>,
    /// It came to its end.
    pub finished: bool,
    /// Why early.
    pub reason: Option<String>,
}

/// `job.json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Record {
    format: u32,
    /// Who ran it.
    pub user: Option<String>,
    /// When it began.
    pub start: Option<i64>,
    /// When it ended.
    pub end: Option<i64>,
    exit: Option<u8>,
    signal: Option<u8>,
    timed_out: bool,
    finished: bool,
    /// Some of what it wrote did not fit.
    pub full: bool,
    /// Outputs that nothing matched.
    pub missing: Vec<String>,
}

impl Record {
    /// What became of the job.
    pub fn ended(&self) -> End {
        match (self.finished, self.timed_out, self.signal, self.exit) {
            (true, true, _, _) => End::TimedOut,
            (true, false, Some(signal), _) => End::Signal(signal),
            (true, false, None, Some(status)) => End::Exit(status),
            _ => End::Unfinished,
        }
    }

    /// How long it took, in seconds.
    pub fn seconds(&self) -> Option<i64> {
        self.end?.checked_sub(self.start?)
    }
}

/// Read `run.json`; `None` where there is none.
///
/// # Errors
/// What is wrong with it, in words.
pub fn run(fs: &Fs<'_>) -> Result<Option<Run>, String> {
    let run: Option<Run> = json(fs, Path::new("/run.json"))?;
    match run {
        Some(run) if run.format != 1 => Err(format!("/run.json has format {}, not 1", run.format)),
        run => Ok(run),
    }
}

/// Read the record of the job `name`; `None` where there is none.
///
/// # Errors
/// What is wrong with it, in words.
pub fn job(fs: &Fs<'_>, name: &str) -> Result<Option<Record>, String> {
    let path = Path::new("/").join(name).join("job.json");
    let record: Option<Record> = json(fs, &path)?;
    match record {
        Some(record) if record.format != 1 => {
            Err(format!("{} has format {}, not 1", path.display(), record.format))
        }
        record => Ok(record),
    }
}

/// A regular file that is JSON. No symbolic link stands for it.
fn json<T: DeserializeOwned>(fs: &Fs<'_>, path: &Path) -> Result<Option<T>, String> {
    let shown = path.display();
    match fs.symlink_metadata(path) {
        Ok(found) if found.kind == FileType::File => {}
        Ok(_) => return Err(format!("{shown} is no file")),
        Err(imgfmt::Error::NotFound(_) | imgfmt::Error::NotADirectory(_)) => return Ok(None),
        Err(error) => return Err(format!("{shown}: {error}")),
    }
    let bytes = fs.read_capped(path, RECORD_MAX).map_err(|error| format!("{shown}: {error}"))?;
    serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("{shown}: {error}"))
}
