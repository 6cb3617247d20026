//! Edits of images where they lie, the last step before a bundle gets its name: all images are locked for it, then each is
//! edited whole or not at all, one after another.
//!
//! An image was looked at under a shared lock, and has to be the same file with the same bytes once the exclusive one is
//! had; else nothing is written.

use std::path::{Path, PathBuf};

use imgfmt::{ImageMut, InPlace};

use super::edits::{DiskEdits, Write};
use super::obstacle::refused;
use crate::facts::gather::Gathered;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::plan::{Plan, Source};

/// Edit all images that are edited where they lie; their paths. Long work is behind us: what is left takes moments.
///
/// # Errors
/// Where an image cannot be locked or is not as it was looked at, before anything is written. Later ones say which images
/// are edited already.
pub fn commit(
    plan: &Plan,
    edits: &[DiskEdits<'_>],
    gathered: &mut Gathered,
) -> Result<Vec<PathBuf>> {
    let mut locked: Vec<(&Path, ImageMut, &InPlace)> = Vec::new();
    for (disk, edits) in plan.disks.iter().zip(edits) {
        let (Source::Image(path), Some(changes)) = (&disk.source, &edits.changes) else { continue };
        let Write::InPlace(edit) = &*changes.write else { continue };
        let stock = gathered.stock.remove(path).expect("no image is edited for two disks");
        let image = stock.into_raw().into_mut().map_err(|e| refused(path, &e))?;
        locked.push((path, image, edit));
    }
    interrupt::check()?;
    let mut done: Vec<PathBuf> = Vec::new();
    for (path, mut image, edit) in locked {
        if !done.is_empty() && interrupt::asked() {
            return Err(Failure::Interrupted { edited: done });
        }
        image.commit_in_place(edit).map_err(|e| refused(path, &e).after_edits(&done))?;
        done.push(path.to_owned());
    }
    Ok(done)
}
