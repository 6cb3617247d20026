//! `--in-place`: what keeps the edit of an image whole where it lies, what cannot be had that way, and what the user ought
//! to know of it.

use std::path::{Path, PathBuf};

use super::{Disk, Guard, Source};
use crate::diagnostic::Diagnostic;
use crate::facts::Facts;
use crate::xmf::model::Document;

/// What keeps the edits of the image at `path` whole; `edited` are the `imagefile` elements on it that have edits.
///
/// One journal guards one file system. Where there is none, or where two file systems of one image are edited, an undo
/// file guards all of the image.
pub(super) fn guard(path: &Path, edited: &[usize], facts: &Facts) -> Option<Guard> {
    match edited {
        [] => None,
        [one] if facts.images[*one].has_journal => Some(Guard::Journal),
        _ => Some(Guard::Undo(undo_file(path))),
    }
}

/// The undo file that the library keeps beside an image.
fn undo_file(image: &Path) -> PathBuf {
    let mut name = image.as_os_str().to_owned();
    name.push(".autoxen-undo");
    name.into()
}

/// A copy each would be two disks; the image itself is one, and two file systems on top of it would destroy it.
///
/// # Errors
/// Where one image is behind two disks, unless it is only read.
pub(super) fn check(document: &Document, disks: &[Disk]) -> Result<(), Vec<Diagnostic>> {
    let mut errors = Vec::new();
    for (nr, disk) in disks.iter().enumerate() {
        let Source::Image(path) = &disk.source else { continue };
        let same = |other: &&Disk| other.source == disk.source;
        let Some(other) = disks[..nr].iter().find(same) else { continue };
        let is_read = |disk: &Disk| disk.read_only && disk.edits.is_empty();
        if is_read(disk) && is_read(other) {
            continue;
        }
        let image = &document.images[disk.images[0]];
        let span = image.url.as_ref().map_or(image.span.clone(), |url| url.span.clone());
        let text = format!("{} and {} are both `{}` itself", other.vdev, disk.vdev, path.display());
        errors.push(
            Diagnostic::error(span, text)
                .hint("leave out --in-place: then each disk is a copy of its own"),
        );
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// What an edit in place brings with it.
pub(super) fn note(document: &Document, facts: &Facts, disks: &[Disk], notes: &mut Vec<String>) {
    let edited: Vec<&Disk> = disks.iter().filter(|disk| disk.guard.is_some()).collect();
    if edited.len() > 1 {
        notes.push(format!(
            "{} images are edited one after another, each whole or not at all; after an interruption the same command \
             finishes the work",
            edited.len()
        ));
    }
    for disk in edited {
        let Source::Image(path) = &disk.source else { continue };
        if disk.images.iter().any(|&image| document.images[image].sha256.is_some()) {
            notes.push(format!(
                "`{}` is another file once it is edited: its sha256 in the job description will not fit any more",
                path.display()
            ));
        }
        if disk.images.iter().any(|&image| facts.images[image].signer.is_some()) {
            notes.push(format!(
                "`{}` is another file once it is edited: its signature will not fit any more",
                path.display()
            ));
        }
    }
}
