//! What a bundle's manifest says of its domain, for whoever wants to have it in another language.
//!
//! Only what is needed is read, and it is checked: [`Domain`] holds its values to the rules of the configuration.
//! Digests and signatures are not looked at: whoever starts a domain with a privilege reads the manifest another way.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::xl::Domain;
use crate::failure::{Failure, Result};

/// The longest manifest that is read, in bytes.
const MANIFEST_MAX: u64 = 16 << 20;

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
        let path = bundle.join("manifest.json");
        let hint = "name the directory that `autoxen prepare -o` has made";
        let cannot_read = |e| Failure::host("cannot read", &path, &e).hint(hint);
        let file = File::open(&path).map_err(cannot_read)?;
        let mut bytes = Vec::new();
        file.take(MANIFEST_MAX + 1).read_to_end(&mut bytes).map_err(cannot_read)?;
        let shown = path.display();
        if bytes.len() as u64 > MANIFEST_MAX {
            return Err(Failure::new(format!("`{shown}` is longer than 16 MiB")).hint(hint));
        }
        Self::parse(&bytes).map_err(|why| Failure::new(format!("`{shown}` {why}")).hint(hint))
    }
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
