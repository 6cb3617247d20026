//! `autoxen image recover`: an image after a crash, brought to what the next mount would make of it.
//!
//! First the undo file of an edit in place that was interrupted, then the journals. All is looked at before a journal is
//! written to. An image with nothing to do is opened for reading only, and may be read-only.

use std::path::Path;
use std::process::ExitCode;

use imgfmt::ext::{Fs, Pending};
use imgfmt::{Error, Image, ImageMut, InPlace, Recovered, Storage, probe, table};
use serde_json::{Value, json};

use super::{open, select};
use crate::apply::obstacle::Obstacle;
use crate::cli::ImageRecoverArgs;
use crate::epoch;
use crate::facts::words::{about, hint};
use crate::failure::{Failure, Result};
use crate::inside::address::ImageName;
use crate::interrupt;
use crate::report::{self, Talk};
use crate::visible::visible;

/// An ext file system, and what is to be done to it.
struct Work {
    /// Its entry in the partition table.
    partition: Option<u32>,
    pending: Pending,
    edit: InPlace,
}

/// What was done.
struct Done {
    /// As the user named it.
    image: String,
    /// Bytes that an undo file put back, where there was one.
    undone: Option<u64>,
    volumes: Vec<(Option<u32>, Pending)>,
}

/// Bring the image back.
pub(super) fn run(args: &ImageRecoverArgs, talk: Talk) -> Result<ExitCode> {
    let now = epoch::now()?;
    let name = select::named(&args.image, args.partition.as_deref())?;
    let path = &name.file;
    let fail = |e| open::failure(path, &e);
    let (undone, work) = match Image::open(path) {
        Ok(image) => {
            open::refuse_packed(path, &image, "write to", "recover that")?;
            let work = look(&name, &image, now)?;
            if work.iter().any(|work| !work.edit.is_empty()) {
                check_writable(path, "recover")?;
                interrupt::check()?;
                write(path, &mut image.into_mut().map_err(fail)?, &work)?;
            }
            (None, work)
        }
        Err(Error::Interrupted(_)) => {
            check_writable(path, "recover")?;
            let (mut image, recovered) = ImageMut::open_recovered(path).map_err(fail)?;
            let undone = match recovered {
                // Somebody else was faster.
                Recovered::Nothing => None,
                Recovered::RolledBack { bytes } => Some(bytes),
            };
            let rest = look(&name, &image, now).and_then(|work| {
                write(path, &mut image, &work)?;
                Ok(work)
            });
            if rest.is_err() && undone.is_some() {
                talk.note(&format!("image `{}`: {}", path.display(), UNDONE));
            }
            (undone, rest?)
        }
        Err(error) => return Err(fail(error)),
    };
    let volumes = work.iter().map(|work| (work.partition, work.pending)).collect();
    let done = Done { image: path.display().to_string(), undone, volumes };
    match args.json {
        true => report::print_json(&done.json())?,
        false => report::print(&done.text())?,
    }
    Ok(ExitCode::SUCCESS)
}

const UNDONE: &str = "an edit of it was interrupted, and is undone now";

/// What is to be done to each ext file system.
fn look(name: &ImageName, raw: &dyn Storage, now: i64) -> Result<Vec<Work>> {
    let path = &name.file;
    let table = table::read(raw).map_err(|e| open::failure(path, &e))?;
    let mut all = Vec::new();
    for (partition, window) in select::windows(name, table.as_ref(), raw)? {
        let number = partition.map(|partition| partition.number);
        let fail = |e| refused(path, number, &e);
        let window = window.map_err(fail)?;
        let probe = probe::probe(&window).map_err(fail)?;
        if !probe.is_some_and(|probe| probe.kind.is_ext()) {
            continue;
        }
        let fs = Fs::open(window).map_err(fail)?;
        let pending = fs.pending().map_err(fail)?;
        let edit = match pending.is_nothing() {
            true => InPlace::undo(imgfmt::Changes::new()),
            false => fs.recover(now).map_err(fail)?,
        };
        all.push(Work { partition: number, pending, edit });
    }
    Ok(all)
}

fn write(path: &Path, image: &mut ImageMut, work: &[Work]) -> Result<()> {
    for work in work {
        image.commit_in_place(&work.edit).map_err(|e| refused(path, work.partition, &e))?;
    }
    Ok(())
}

/// Why a file system cannot be recovered, and the way out.
fn refused(path: &Path, partition: Option<u32>, error: &Error) -> Failure {
    let what = about(path, error);
    let failure = Failure::new(match partition {
        Some(number) => format!("partition {number}: {what}"),
        None => what,
    });
    match error {
        Error::Unsupported(_) | Error::NoSpace(_) | Error::NeedsRecovery(_) => {
            failure.hint("`e2fsck -p` or a mount recovers it")
        }
        Error::HostFull(_) => failure.hint("make room there"),
        Error::Io { .. } => failure.hint("once the cause is gone, the same command goes on"),
        _ => failure.any_hint(hint(error)),
    }
}

/// Nothing is opened for it; `verb` is what would be done.
pub(super) fn check_writable(path: &Path, verb: &str) -> Result<()> {
    let Some(obstacle) = Obstacle::to_writing(path) else { return Ok(()) };
    let ed = if verb.ends_with('e') { "d" } else { "ed" };
    let what = format!("image `{}` cannot be {verb}{ed}: {obstacle}", path.display());
    Err(Failure::new(what).hint(match obstacle {
        Obstacle::ReadOnly => format!("`chmod u+w` it, or {verb} a copy"),
        _ => format!("{verb} a copy"),
    }))
}

impl Done {
    fn text(&self) -> String {
        let name = visible(&self.image);
        let mut text = String::new();
        if let Some(bytes) = self.undone {
            text += &format!("{name}: {UNDONE} ({bytes} bytes put back)\n");
        }
        for (partition, pending) in self.volumes.iter().filter(|(_, p)| !p.is_nothing()) {
            let place = match partition {
                Some(number) => format!("{name}, partition {number}"),
                None => name.to_string(),
            };
            text += &match (pending.has_log, pending.is_marked) {
                (true, _) => format!("{place}: the journal is replayed\n"),
                (false, true) => format!("{place}: the journal is empty, and is marked so now\n"),
                (false, false) => String::new(),
            };
            match pending.orphans {
                0 => {}
                1 => text += &format!("{place}: 1 orphan inode is freed or cut\n"),
                count => text += &format!("{place}: {count} orphan inodes are freed or cut\n"),
            }
        }
        if text.is_empty() {
            text = format!("{name}: nothing to do\n");
        }
        text
    }

    fn json(&self) -> Value {
        let volume = |(partition, pending): &(Option<u32>, Pending)| {
            json!({
                "partition": partition,
                "journal": match (pending.has_log, pending.is_marked) {
                    (true, _) => Some("replayed"),
                    (false, true) => Some("empty"),
                    (false, false) => None,
                },
                "orphans": pending.orphans,
            })
        };
        json!({
            "image": self.image,
            "undone_bytes": self.undone,
            "volumes": self.volumes.iter().map(volume).collect::<Vec<_>>(),
        })
    }
}
