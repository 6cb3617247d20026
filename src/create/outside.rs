//! What a domain names outside of its bundle: kernels, images, boot loaders of the host. They are handed over by their paths,
//! so that only root may be able to change anything on the way; and the caller must be able to read them, so that a guest
//! shows nobody what root has closed.

use std::fs::{self, File};
use std::path::Path;

use super::{Site, signature, walk};
use crate::domain::xl::{Boot, File as Target, Parts};
use crate::epoch;
use crate::failure::{Failure, Result, plain};
use crate::policy::{Passed, Refusal};

/// How long it is, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outside {
    /// Kernel and ramdisk together.
    pub(super) kernel: u64,
    /// All images together.
    pub(super) disks: u64,
}

/// Look at all of it.
///
/// # Errors
/// By the rules `kernels.trusted`, `images.trusted`, `guests.bootloaders_trusted`, `signatures.images`.
pub(super) fn outside(site: &Site, parts: &Parts, passed: &mut Vec<Passed>) -> Result<Outside> {
    let mut all = Outside::default();
    match &parts.boot {
        Boot::Kernel { kernel, ramdisk, .. } => {
            for file in std::iter::once(kernel).chain(ramdisk) {
                if let Target::Host(path) = file {
                    let (_, len) = regular(site, "kernels.trusted", path.as_str())?;
                    all.kernel = all.kernel.saturating_add(len);
                }
            }
        }
        Boot::Bootloader { program, .. } if program.as_str().starts_with('/') => {
            regular(site, "guests.bootloaders_trusted", program.as_str())?;
        }
        Boot::Bootloader { .. } | Boot::Firmware {} => {}
    }
    for disk in &parts.disks {
        if let Target::Host(path) = &disk.target {
            let (file, len) = regular(site, "images.trusted", path.as_str())?;
            let path = Path::new(path.as_str());
            signature::of_image(&site.policy, path, &file, epoch::clock()?, passed)?;
            all.disks = all.disks.saturating_add(len);
        }
    }
    Ok(all)
}

/// A regular file that only root can have put there and change, and that the caller can read.
fn regular(site: &Site, rule: &'static str, path: &str) -> Result<(File, u64)> {
    let place = Path::new(path);
    let (file, _) = walk::trusted(rule, place)?
        .ok_or_else(|| Refusal::new(rule, format!("there is no file `{path}`")))?;
    let found = file.metadata().map_err(|e| Failure::host("cannot read", place, &e))?;
    if !found.is_file() {
        return Err(Refusal::new(rule, format!("`{path}` is no regular file")).into());
    }
    // The path leads where it led: only root could have changed that.
    site.caller.with_rights(|| {
        fs::File::open(place).map_err(|e| {
            let why = format!("you may not read `{path}`: {}", plain(&e));
            Refusal::new(rule, why)
        })?;
        Ok(())
    })?;
    Ok((file, found.len()))
}
