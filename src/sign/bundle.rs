//! The files of a bundle against the list of them in its `manifest.json`.
//!
//! ```json
//! "files": [ { "name": "domain.cfg", "len": 512, "digest": "tree-sha256:…" }, … ]
//! ```
//!
//! All files of the bundle but the manifest and its signatures are in it. A name is that of a file in the bundle's own
//! directory, and no link is followed.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Refusal;
use super::beside::Error;
use crate::digest::tree::{self, Digest, Step};

/// A file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleFile {
    /// Its name in the bundle.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
    /// Its digest.
    pub digest: Digest,
}

/// The list in the text of a manifest; `None` where it was made without digests.
///
/// # Errors
/// [`Refusal::Garbled`].
pub fn files(manifest: &[u8]) -> Result<Option<Vec<BundleFile>>, Refusal> {
    #[derive(Deserialize)]
    struct Manifest {
        files: Option<Vec<BundleFile>>,
    }
    let manifest: Manifest =
        serde_json::from_slice(manifest).map_err(|e| Refusal::garbled("manifest", e))?;
    for file in manifest.files.iter().flatten() {
        if file.name.is_empty() || file.name.contains(['/', '\0']) || file.name.starts_with('.') {
            let what = format!("`{}` is no file of a bundle", file.name.escape_debug());
            return Err(Refusal::garbled("manifest", what));
        }
    }
    Ok(manifest.files)
}

/// Whether the files in `directory` are those of the list. `step` is told the bytes done of all of them.
///
/// # Errors
/// [`Refusal::BundleFile`] with the first that is not; those of the host.
pub fn check(directory: &Path, files: &[BundleFile], step: &Step<'_>) -> Result<(), Error> {
    let mut before = 0_u64;
    for file in files {
        let path = directory.join(&file.name);
        let host = |source| Error::Host { path: path.clone(), source };
        let refuse = |what: &'static str| {
            Error::Refused(Refusal::BundleFile { name: file.name.clone(), what })
        };
        let opened = match open(&path) {
            Ok(opened) => opened,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(refuse("is missing")),
            Err(e) => return Err(host(e)),
        };
        let found = opened.metadata().map_err(host)?;
        if !found.is_file() || found.len() != file.len {
            return Err(refuse("is not as long as it was"));
        }
        let step = |done| step(before.saturating_add(done));
        if tree::of(&opened, file.len, &step).map_err(host)? != file.digest {
            return Err(refuse("is not what was signed"));
        }
        before = before.saturating_add(file.len);
    }
    Ok(())
}

/// Open a file of a bundle, without waiting and without following a link.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
    let flags = i32::try_from(flags.bits()).expect("small flags");
    File::options().read(true).custom_flags(flags).open(path)
}
