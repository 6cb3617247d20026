//! A bundle's manifest: where it lies, and what it says of the domain, for whoever wants to have that in another language.
//!
//! Only what is needed is read, and it is checked: [`Domain`] holds its values to the rules of the configuration.
//! Digests and signatures are not looked at: whoever starts a domain with a privilege reads the manifest another way.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::xl::Domain;
use crate::failure::{Failure, Result};

/// Its name in a bundle.
pub const MANIFEST: &str = "manifest.json";

/// Its signatures, of OpenSSH and of minisign.
pub const SIGNATURES: [&str; 2] = ["manifest.json.sig", "manifest.json.minisig"];

/// The longest manifest that is read, in bytes.
pub const MANIFEST_MAX: u64 = 16 << 20;

/// The way out for whoever has named something else.
const NO_BUNDLE: &str = "name the directory that `autoxen prepare -o` has made";

/// The format that this version reads.
const FORMAT: u32 = 1;

/// The domain of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Manifest {
    format: u32,
    /// What tells this preparation from others; empty in the oldest bundles.
    #[serde(default)]
    pub id: String,
    /// The domain, with files that have no directory yet.
    pub domain: Domain,
}

impl Manifest {
    /// Read the text of a manifest.
    ///
    /// # Errors
    /// Why it is none that this version reads, without its place.
    pub fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        let read: Self = serde_json::from_slice(bytes)
            .map_err(|e| format!("is no manifest of a bundle: {e}"))?;
        if read.format != FORMAT {
            return Err(format!("has format {}, not {FORMAT}", read.format));
        }
        Ok(read)
    }

    /// Read the manifest in the directory `bundle`.
    ///
    /// # Errors
    /// Where there is none that this version reads.
    pub fn read(bundle: &Path) -> Result<Self> {
        let (path, bytes) = bytes_in(bundle)?;
        let refused = |why| Failure::new(format!("`{}` {why}", path.display())).hint(NO_BUNDLE);
        Self::parse(&bytes).map_err(refused)
    }
}

/// The path and the bytes of the manifest in the directory `bundle`.
///
/// # Errors
/// Where there is none, or it is too long.
pub fn bytes_in(bundle: &Path) -> Result<(PathBuf, Vec<u8>)> {
    let path = bundle.join(MANIFEST);
    let cannot_read = |e| Failure::host("cannot read", &path, &e).hint(NO_BUNDLE);
    let file = File::open(&path).map_err(cannot_read)?;
    let mut bytes = Vec::new();
    file.take(MANIFEST_MAX + 1).read_to_end(&mut bytes).map_err(cannot_read)?;
    if bytes.len() as u64 > MANIFEST_MAX {
        let why = format!("`{}` is longer than 16 MiB", path.display());
        return Err(Failure::new(why).hint(NO_BUNDLE));
    }
    Ok((path, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"format": 1, "id": "abc", "autoxen": "0.1.0", "jobs": [], "domain": {
        "name": "job", "guest_type": "hvm", "memory_mib": 64, "vcpus": 1,
        "boot": {"firmware": {}}, "disks": [], "networks": []}}"#;

    #[test]
    fn the_domain_is_read_and_the_rest_is_passed_over() {
        let read = Manifest::parse(TEXT.as_bytes()).expect("a manifest");
        assert_eq!((read.id.as_str(), read.domain.parts().name.as_str()), ("abc", "job"));
    }

    #[test]
    fn a_manifest_that_breaks_a_rule_is_refused() {
        for (old, new, why) in [
            ("\"format\": 1", "\"format\": 2", "has format 2, not 1"),
            ("\"job\"", "\"a\\nb\"", "the domain name must be"),
            ("\"hvm\"", "\"pv\"", "a guest of type pv cannot start from firmware"),
            ("\"vcpus\": 1,", "", "missing field `vcpus`"),
            ("{\"firmware\": {}}", "{\"firmware\": {}, \"kernel\": 1}", "is no manifest"),
        ] {
            let text = TEXT.replace(old, new);
            assert_ne!(text, TEXT);
            let refused = Manifest::parse(text.as_bytes()).expect_err(new);
            assert!(refused.contains(why), "{refused}");
        }
        let deep = "[".repeat(1 << 20);
        assert!(Manifest::parse(deep.as_bytes()).is_err());
    }
}
