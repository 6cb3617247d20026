//! Manifests and signatures as they lie beside what they are about. Lengths are limited before anything is read.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::manifest;
use super::signers::SIGNATURE_MAX;
use super::{Namespace, Refusal, Signer, Signers};
use crate::domain::bundle::{MANIFEST, MANIFEST_MAX};
use crate::failure::{Failure, plain};

/// What is signed, and the signatures of it.
#[derive(Clone, Debug)]
pub struct Signed {
    /// What it is about.
    pub namespace: Namespace,
    /// The signed bytes.
    pub message: Vec<u8>,
    /// An SSH signature and one of minisign, as many as there are.
    pub signatures: Vec<Vec<u8>>,
}

/// Why there is nothing to verify.
#[derive(Debug)]
pub enum Error {
    /// Nothing, or nothing that counts.
    Refused(Refusal),
    /// The host.
    Host {
        /// Which file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Error {
    /// As a failure of a command, about the image or bundle at `path`.
    pub fn about(self, path: &Path) -> Failure {
        match self {
            Self::Refused(refusal) => {
                Failure::new(format!("`{}`: {refusal}", path.display())).any_hint(refusal.hint())
            }
            Self::Host { path, source } => {
                Failure::new(format!("cannot read `{}`: {}", path.display(), plain(&source)))
            }
        }
    }
}

/// Where the manifest of the image `path` lies.
pub fn manifest_of(path: &Path) -> PathBuf {
    with(path, ".manifest")
}

/// Where the SSH signature of the file `path` lies.
pub fn ssh_signature_of(path: &Path) -> PathBuf {
    with(path, ".sig")
}

/// Where the signature that minisign makes of the file `path` lies.
pub fn minisign_signature_of(path: &Path) -> PathBuf {
    with(path, ".minisig")
}

/// `path` with more behind its name.
pub fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

impl Signed {
    /// What lies beside the image `path`.
    ///
    /// # Errors
    /// [`Refusal::Unsigned`] where there is none.
    pub fn of_image(path: &Path) -> Result<Self, Error> {
        Self::read(Namespace::Image, &manifest_of(path), manifest::MAX_LEN)
    }

    /// What lies in the bundle `path`.
    ///
    /// # Errors
    /// [`Refusal::Unsigned`] where there is none.
    pub fn of_bundle(path: &Path) -> Result<Self, Error> {
        Self::read(Namespace::Bundle, &path.join(MANIFEST), MANIFEST_MAX)
    }

    fn read(namespace: Namespace, path: &Path, limit: u64) -> Result<Self, Error> {
        let none = |path: &Path| {
            Refusal::Unsigned(format!("`{}`", path.file_name().unwrap_or_default().display()))
        };
        let message = read(path, limit, "manifest")?.ok_or_else(|| none(path))?;
        let mut signatures = Vec::new();
        for path in [ssh_signature_of(path), minisign_signature_of(path)] {
            signatures.extend(read(&path, SIGNATURE_MAX, "signature")?);
        }
        if signatures.is_empty() {
            return Err(none(&ssh_signature_of(path)).into());
        }
        Ok(Self { namespace, message, signatures })
    }

    /// Whose signature it is. Where there are two, one that counts is enough; the refusal is the first one's.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn verify(&self, signers: &Signers, now: i64) -> Result<Signer, Refusal> {
        let mut refusal = None;
        for signature in &self.signatures {
            match signers.verify(self.namespace, &self.message, signature, now) {
                Ok(signer) => return Ok(signer),
                Err(other) => refusal = refusal.or(Some(other)),
            }
        }
        Err(refusal.unwrap_or_else(|| Refusal::Unsigned("signature".into())))
    }
}

/// The `manifest.json` of the bundle `path`.
///
/// # Errors
/// [`Refusal::Unsigned`] where there is none.
pub fn read_bundle_manifest(path: &Path) -> Result<Vec<u8>, Error> {
    let path = path.join(MANIFEST);
    let none = || Refusal::Unsigned(format!("`{}`", path.display()));
    Ok(read(&path, MANIFEST_MAX, "manifest")?.ok_or_else(none)?)
}

/// The bytes of the file `path`; `None` where there is none.
fn read(path: &Path, limit: u64, what: &'static str) -> Result<Option<Vec<u8>>, Error> {
    let host = |source| Error::Host { path: path.into(), source };
    // A FIFO of that name does not keep us waiting.
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("a small flag");
    let file = match File::options().read(true).custom_flags(nonblock).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(host(e)),
    };
    if !file.metadata().map_err(host)?.is_file() {
        return Err(Refusal::garbled(what, "it is not a regular file").into());
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(host)?;
    if bytes.len() as u64 > limit {
        return Err(Refusal::garbled(what, format!("more than {limit} bytes")).into());
    }
    Ok(Some(bytes))
}
