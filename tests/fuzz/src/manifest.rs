//! A bundle's manifest, any bytes: it is refused in words of one line, or its domain can be written.

use std::path::Path;

use autoxen::create;
use autoxen::domain::bundle::Manifest;
use autoxen::visible::visible;

use crate::written;

/// Read `data` as a manifest, and look at what is written of its domain.
pub fn check(data: &[u8]) {
    asked_for(data);
    match Manifest::parse(data) {
        Ok(manifest) => written::check(&manifest.domain, Path::new("/srv/a \"bundle\"")),
        Err(why) => assert!(!visible(&why).contains(char::is_control), "{why:?}"),
    }
}

/// What `create` reads is no more than that.
fn asked_for(data: &[u8]) {
    let manifest = match create::manifest::Manifest::parse(data) {
        Ok(manifest) => manifest,
        Err(refusal) => {
            assert!(!refusal.to_string().contains(char::is_control), "{refusal}");
            return;
        }
    };
    if let Ok(other) = Manifest::parse(data) {
        assert_eq!(other.domain, manifest.domain);
    }
    let Ok(needed) = manifest.needed() else { return };
    for (nr, file) in needed.iter().enumerate() {
        // Each file once: a kernel that is a disk too could be written to while it is read.
        assert!(needed[..nr].iter().all(|other| other.name != file.name));
        assert!(file.is_disk || !file.is_writable);
    }
}
