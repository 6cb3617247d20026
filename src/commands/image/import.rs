//! `autoxen image import`: an archive, a directory or a container image into a directory of an image, as one edit.
//!
//! ```text
//! source ─▶ entries ─▶ filter (owners, interrupt) ─▶ transaction ─▶ journal, or an undo file
//! ```

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use imgfmt::archive::{ExtSink, Names};
use imgfmt::ext::Transaction;
use imgfmt::in_place::Guard;
use imgfmt::{Error, Result as FormatResult};
use serde_json::json;

use super::build::filter::Filter;
use super::build::input::{Input, Reading};
use super::build::tell;
use super::places;
use super::session::{self, Edited, Write};
use crate::build::Owners;
use crate::cli::ImageImportArgs;
use crate::failure::{Failure, Result, plain};
use crate::inside::entries::TreeSink;
use crate::inside::tree::Tree;
use crate::progress::{Bar, Progress};
use crate::report::{self, Talk};

/// Import as the command line says.
pub(super) fn run(args: &ImageImportArgs, talk: Talk) -> Result<ExitCode> {
    let (image, path) = places::image_or_inside(&args.place)?;
    let owners = Owners::parse(args.owner.iter().map(String::as_str)).map_err(Failure::new)?;
    let source = args.source.as_deref().unwrap_or(Path::new("-"));
    if source == Path::new("-") && io::stdin().is_terminal() {
        let what = "standard input is a terminal, and no archive";
        return Err(Failure::new(what).hint("name an archive or a directory behind the image"));
    }
    let reading = Reading { format: args.format, platform: args.platform.clone() };
    let input = Input::open(source, &reading, &std::env::temp_dir())?;
    let bar = Progress::new(args.quiet).bar("import");
    let mut work = Work { input, owners, bar, warnings: Vec::new(), entries: 0 };
    let ((), guard) = session::edit_volume(&image, Write::CommitLarge, |edited| match edited {
        Edited::Ext(tree) => {
            let outcome = work.feed_ext(&mut tree.fs, &path);
            outcome.map_err(|e| work.failure(tree, &path, &e))
        }
        Edited::Fat(tree) => {
            let outcome = TreeSink::new(tree, &path).and_then(|mut sink| {
                work.feed(Names::default(), &mut sink)?;
                work.warnings.extend(sink.lost.lines());
                Ok(())
            });
            outcome.map_err(|e| work.failure(tree, &path, &e))
        }
    })?;
    let Work { bar, warnings, entries, .. } = work;
    drop(bar);
    tell(&warnings, talk);
    if args.json {
        report::print_json(&json!({
            "image": image.file.display().to_string(),
            "path": path.display().to_string(),
            "entries": entries,
            "guard": guard.map(|guard| match guard { Guard::Journal => "journal", Guard::Undo => "undo" }),
            "warnings": warnings,
        }))?;
    }
    Ok(ExitCode::SUCCESS)
}

struct Work {
    input: Input,
    owners: Owners,
    bar: Bar,
    warnings: Vec<String>,
    entries: u64,
}

impl Work {
    fn feed_ext(&mut self, tx: &mut Transaction<'_>, path: &Path) -> FormatResult<()> {
        // What cannot be read has no names.
        let table = |path: &str| tx.read(path).unwrap_or_default();
        let names = Names::new(&table("/etc/passwd"), &table("/etc/group"));
        let mut sink = ExtSink::at(tx, path)?;
        self.feed(names, &mut sink)?;
        sink.finish(&mut |warning| self.warnings.push(warning))
    }

    fn feed(&mut self, names: Names, sink: &mut dyn imgfmt::archive::Sink) -> FormatResult<()> {
        let Self { input, owners, bar, warnings, entries } = self;
        let mut filter = Filter::new(sink, input, owners, None, bar);
        let name = input.name();
        let fed = input.feed_knowing(names, &mut filter, bar, &mut |warning| {
            warnings.push(format!("{name}: {warning}"));
        });
        *entries += filter.entries();
        fed
    }

    /// What went wrong with the source or with the image.
    fn failure(&self, tree: &dyn Tree, path: &Path, error: &Error) -> Failure {
        let name = self.input.name();
        match error {
            Error::Stopped => Failure::Interrupted { edited: Vec::new() },
            Error::Archive(what) => Failure::new(format!("{name}: {what}")),
            Error::Io { what, source } => {
                Failure::new(format!("{name}: {what}: {}", plain(source)))
            }
            Error::NotFound(missing) if missing == path => tree
                .failure(error)
                .hint("make it with `autoxen image mkdir -p`, or choose one that is there"),
            _ => tree.failure(error),
        }
    }
}
