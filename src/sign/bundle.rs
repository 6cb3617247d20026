//! The files of a bundle against the list of them in its `manifest.json`.
//!
//! ```json
//! "files": [ { "name": "domain.cfg", "len": 512, "digest": "tree-sha256:…" }, … ]
//! ```
//!
//! All files of the bundle but the manifest and its signatures are in it, and no others lie in its directory. A name is that
//! of a file there, and no link is followed. A disk without a file is an image that is used where it lies; one that is an
//! overlay lies over one:
//!
//! ```json
//! "format": 1, "disks": [ { "vdev": "xvda", "image": "/srv/root.img" },
//!                         { "vdev": "xvdb", "file": "xvdb.qcow2", "how": "overlay", "image": "/srv/data.img" }, … ]
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Refusal;
use super::beside::Error;
use crate::digest::tree::{self, Digest, Step};
use crate::domain::bundle::{MANIFEST, SIGNATURES};

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

/// What the text of a manifest says of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The list; `None` where it was made without digests.
    pub files: Option<Vec<BundleFile>>,
    /// Disks that lie elsewhere, or over an image that does: device and image. No digest of a file is of those bytes.
    pub outside: Vec<(String, String)>,
}

/// How the disk got into the bundle whose file is laid over an image outside of it.
const OVERLAY: &str = "overlay";

/// The format that is read.
const FORMAT: u32 = 1;

/// Read the text of a manifest.
///
/// # Errors
/// [`Refusal::Garbled`]; [`Refusal::Unsupported`] where it is of another format.
pub fn listed(manifest: &[u8]) -> Result<Listed, Refusal> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    #[derive(Deserialize)]
    struct Manifest {
        #[serde(default)]
        disks: Vec<Disk>,
        files: Option<Vec<BundleFile>>,
    }
    #[derive(Deserialize)]
    struct Disk {
        vdev: String,
        file: Option<String>,
        how: Option<String>,
        image: Option<String>,
    }
    let garbled = |e: serde_json::Error| Refusal::garbled("manifest", e);
    let Format { format } = serde_json::from_slice(manifest).map_err(garbled)?;
    if format != FORMAT {
        return Err(Refusal::Unsupported(format!("a manifest of format {format}")));
    }
    let manifest: Manifest = serde_json::from_slice(manifest).map_err(garbled)?;
    for file in manifest.files.iter().flatten() {
        if file.name.is_empty() || file.name.contains(['/', '\0']) || file.name.starts_with('.') {
            let what = format!("`{}` is no file of a bundle", file.name.escape_debug());
            return Err(Refusal::garbled("manifest", what));
        }
    }
    let lies_outside = |disk: &Disk| disk.file.is_none() || disk.how.as_deref() == Some(OVERLAY);
    let outside = manifest.disks.into_iter().filter(lies_outside);
    let outside = outside.map(|disk| (disk.vdev, disk.image.unwrap_or_default())).collect();
    Ok(Listed { files: manifest.files, outside })
}

/// Whether nothing but the files of the list, the manifest and its signatures lies in `directory`.
///
/// # Errors
/// [`Refusal::BundleFile`] with one that does; those of the host.
pub fn check_names(directory: &Path, files: &[BundleFile]) -> Result<(), Error> {
    let host = |source| Error::Host { path: directory.into(), source };
    let own = [MANIFEST].into_iter().chain(SIGNATURES);
    let known: BTreeSet<&str> = own.chain(files.iter().map(|file| file.name.as_str())).collect();
    for entry in fs::read_dir(directory).map_err(host)? {
        let name = entry.map_err(host)?.file_name();
        if !name.to_str().is_some_and(|name| known.contains(name)) {
            let name = name.to_string_lossy().into_owned();
            return Err(
                Refusal::BundleFile { name, what: "is none of those that were signed" }.into()
            );
        }
    }
    Ok(())
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
