//! The parts of a bundle's manifest that say where results are. Whoever has the bundle may have changed it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::domain::bundle;
use crate::domain::value::FileName;
use crate::failure::{Failure, Result};

/// What a bundle says of its results.
#[derive(Clone, Debug, Deserialize)]
pub struct Bundle {
    format: u32,
    /// What tells this preparation from others.
    #[serde(default)]
    pub id: String,
    /// The jobs, in their order.
    #[serde(default)]
    pub jobs: Vec<NamedJob>,
    /// The disk, where there is one.
    results: Option<Results>,
    /// The domain.
    pub domain: Domain,
}

/// A job of the bundle.
#[derive(Clone, Debug, Deserialize)]
pub struct NamedJob {
    /// Its name: `10-fit`.
    pub name: String,
}

/// The domain of the bundle.
#[derive(Clone, Debug, Deserialize)]
pub struct Domain {
    /// Its name.
    pub name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Results {
    file: FileName,
}

impl Bundle {
    /// Read the manifest in this directory.
    ///
    /// # Errors
    /// Where there is none that this version reads.
    pub fn read(directory: &Path) -> Result<Self> {
        let no_bundle = "name the directory that `autoxen prepare -o` has made";
        let (path, bytes) = bundle::bytes_in(directory)?;
        let shown = path.display();
        let read: Self = serde_json::from_slice(&bytes).map_err(|e| {
            Failure::new(format!("`{shown}` is no manifest of a bundle: {e}")).hint(no_bundle)
        })?;
        if read.format != 1 {
            return Err(Failure::new(format!("`{shown}` has format {}, not 1", read.format))
                .hint("use the version of autoxen that made the bundle"));
        }
        if read.id.is_empty() {
            return Err(Failure::new(format!("`{shown}` was made before results were served"))
                .hint("prepare the job again"));
        }
        for job in &read.jobs {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if job.name.is_empty() || job.name.len() > 255 || !job.name.chars().all(fits) {
                let name = job.name.escape_debug();
                return Err(Failure::new(format!("`{shown}` names a job `{name}`")));
            }
        }
        Ok(read)
    }

    /// The results disk of the bundle in `bundle`.
    pub fn results(&self, bundle: &Path) -> Option<PathBuf> {
        self.results.as_ref().map(|results| bundle.join(results.file.as_str()))
    }
}
