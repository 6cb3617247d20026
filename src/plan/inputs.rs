//! `input` elements: what goes into the image that the guest has at that path, and what on a disk of its own.
//!
//! A copy of an image holds its changes in memory until it is written, so what is large goes on a new disk, which is
//! filled as the bytes come. The guest has that disk at [`settings::INPUTS`], and at the path that the document wants a
//! symbolic link to it:
//!
//! ```text
//! <input source="runs.tar.zst" path="/srv/runs" type="tar"/>     /srv/runs → /var/lib/autoxen/input/0
//! <input source="big.db" path="/srv/big.db"/>                    /srv/big.db → /var/lib/autoxen/input/1/big.db
//! ```

use super::extra::Extra;
use super::known::Known;
use super::{Action, Edit, Staged, mounts};
use crate::diagnostic::Diagnostic;
use crate::facts::InputFacts;
use crate::guest::settings;
use crate::xmf::model::{Input, InputKind, InputPlace};

/// What is larger goes on a disk of its own, where the document leaves it open; bytes.
const LARGE: u64 = 64 << 20;

/// Where a FAT with inputs is mounted.
const VFAT: &str = "/var/lib/autoxen/input-vfat";

/// The edits that put inputs into images, by the index of the image; disks for the others go to `extra`.
pub(super) fn place(
    known: &Known<'_>,
    extra: &mut Extra<'_>,
) -> Result<Vec<(usize, Edit)>, Vec<Diagnostic>> {
    let inputs = known.document.jobs.iter().flat_map(|job| &job.inputs);
    let mut placed = Placed::default();
    let mut errors = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for (input, facts) in inputs.clone().zip(&known.facts.inputs) {
        let path = input.path.value.as_str();
        // Several tars may be unpacked in one directory, one over the other.
        if input.kind != InputKind::Tar && seen.contains(&path) {
            let text = format!("two inputs at `{path}`");
            errors.push(Diagnostic::error(input.path.span.clone(), text));
            continue;
        }
        seen.push(path);
        if let Err(error) = placed.one(known, input, facts) {
            errors.push(error);
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let Placed { mut edits, ext, vfat, vfat_len } = placed;
    let span = inputs.clone().next().map_or(0..0, |input| input.span.clone());
    let no_device = |what: String| vec![Diagnostic::error(span.clone(), what)];
    if !ext.is_empty() {
        edits.push(mount_point(known, settings::INPUTS));
        extra.ext_inputs(ext).map_err(no_device)?;
    }
    if !vfat.is_empty() {
        edits.push(mount_point(known, VFAT));
        extra.vfat_inputs(vfat_size(vfat_len), VFAT, vfat).map_err(no_device)?;
    }
    Ok(edits)
}

#[derive(Default)]
struct Placed {
    edits: Vec<(usize, Edit)>,
    ext: Vec<Staged>,
    vfat: Vec<Edit>,
    vfat_len: u64,
}

impl Placed {
    fn one(
        &mut self,
        known: &Known<'_>,
        input: &Input,
        facts: &InputFacts,
    ) -> Result<(), Diagnostic> {
        let path = &input.path.value;
        let (image, inside) = mounts::locate(known.document, path);
        let is_there = known.facts.images[image].directories.contains(&inside);
        let takes_link = input.kind == InputKind::File || !is_there && path != "/";
        let place = match input.place {
            InputPlace::Auto if facts.len > LARGE && takes_link => InputPlace::Ext,
            InputPlace::Auto => InputPlace::Root,
            place => place,
        };
        let span = || input.path.span.clone();
        if !known.held[image].is_ext() {
            let text = format!(
                "`{path}` lies on {}, where no input can be put",
                known.held[image].filesystem
            );
            return Err(Diagnostic::error(span(), text).hint("choose a path of an ext image"));
        }
        let staged = |path: String| Staged {
            path,
            source: facts.path.clone(),
            kind: input.kind,
            sha256: input.sha256.as_ref().map(|digest| digest.value.clone()),
            mode: facts.mode,
        };
        let reason = "an input of a job".to_owned();
        if place == InputPlace::Root {
            let action = Action::Stage(staged(inside.clone()));
            self.edits.push((image, Edit { path: inside, action, reason }));
            return Ok(());
        }
        if !takes_link {
            let text = format!("`{path}` is a directory of the image: nothing can stand for it");
            return Err(Diagnostic::error(span(), text)
                .hint("leave `place` out, or choose a path that is not there yet"));
        }
        let (top, number) = match place {
            InputPlace::Vfat => (VFAT, self.vfat.len()),
            _ => (settings::INPUTS, self.ext.len()),
        };
        let name = path.rsplit('/').next().unwrap_or_default();
        let on_disk = match input.kind {
            InputKind::File => format!("/{number}/{name}"),
            InputKind::Directory | InputKind::Tar => format!("/{number}"),
        };
        let target = format!("{top}{on_disk}");
        let staged = staged(on_disk.clone());
        if place == InputPlace::Vfat {
            let action = Action::Stage(staged);
            self.vfat.push(Edit { path: on_disk, action, reason: reason.clone() });
            self.vfat_len = self.vfat_len.saturating_add(facts.len);
        } else {
            self.ext.push(staged);
        }
        self.edits.push((image, Edit { path: inside, action: Action::Symlink { target }, reason }));
        Ok(())
    }
}

/// The directory that a disk with inputs is mounted at.
fn mount_point(known: &Known<'_>, path: &str) -> (usize, Edit) {
    let (image, inside) = mounts::locate(known.document, path);
    let action = Action::CreateDir { mode: None, owner: None };
    (image, Edit { path: inside, action, reason: "a disk with inputs is mounted here".into() })
}

/// Bytes of a FAT for so many bytes of files: its tables, directories and the ends of clusters take their part.
fn vfat_size(len: u64) -> u64 {
    let mebibyte = 1 << 20;
    len.saturating_add(len / 8).saturating_add(8 * mebibyte).next_multiple_of(mebibyte)
}
