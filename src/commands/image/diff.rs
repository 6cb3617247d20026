//! `autoxen image diff`: two images, or directories in them or of the host, side by side.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::{names, places, session};
use crate::cli::DiffArgs;
use crate::failure::Result;
use crate::inside::address::{ImageName, Naming, Place};
use crate::inside::compare::{Change, Side, compare};
use crate::inside::host::Host;
use crate::inside::tree::Tree;
use crate::report::unwritten;

/// Compare.
pub(super) fn run(args: &DiffArgs) -> Result<ExitCode> {
    let (first, second) = (place(&args.first)?, place(&args.second)?);
    let differ = with(&first.0, |a| {
        with(&second.0, |b| {
            let first = Side { tree: a, top: &first.1 };
            let second = Side { tree: b, top: &second.1 };
            print(args, first, second)
        })
    })?;
    Ok(if differ { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// An image, or the host, and the path there.
fn place(text: &OsStr) -> Result<(Option<ImageName>, PathBuf)> {
    if let Ok((image, path)) = places::image_or_inside(text) {
        return Ok((Some(image), path));
    }
    match places::any(text, Naming::CommandLine)? {
        Place::Host(path) => Ok((None, path)),
        Place::Inside { image, path } => Ok((image, path)),
    }
}

fn with<R>(image: &Option<ImageName>, act: impl FnOnce(&dyn Tree) -> Result<R>) -> Result<R> {
    match image {
        Some(image) => session::read(image, act),
        None => act(&Host),
    }
}

/// Whether they differ.
fn print(args: &DiffArgs, first: Side<'_>, second: Side<'_>) -> Result<bool> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let (mut differ, mut error) = (false, None);
    compare(first, second, args.times, &mut |path, changes| {
        differ = true;
        if args.quiet {
            return Ok(false);
        }
        match line(args, path, changes, &mut out) {
            Ok(()) => Ok(true),
            Err(failed) => {
                error = Some(failed);
                Ok(false)
            }
        }
    })?;
    match error.map_or_else(|| out.flush(), Err) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritten(&error)),
        _ => Ok(differ),
    }
}

fn line(args: &DiffArgs, path: &Path, changes: &[Change], out: &mut dyn Write) -> io::Result<()> {
    let path = Path::new("/").join(path);
    if args.json {
        let line = json!({
            "path": path.to_str(),
            "path_pct": names::percent(path.as_os_str()),
            "changes": changes.iter().map(|change| change.name()).collect::<Vec<_>>(),
        });
        return writeln!(out, "{line}");
    }
    let shown = names::shown(path.as_os_str());
    match changes {
        [Change::OnlyInFirst] => writeln!(out, "- {shown}"),
        [Change::OnlyInSecond] => writeln!(out, "+ {shown}"),
        changes => {
            let words: Vec<&str> = changes.iter().map(|change| change.name()).collect();
            writeln!(out, "{shown}: {}", words.join(", "))
        }
    }
}
