//! `autoxen image build`: a new image from archives, directories and container images.
//!
//! ```text
//! sources ─▶ entries ─▶ filter (owners, times, interrupt) ─▶ ext, FAT ─▶ file under a temporary name ─▶ sync, rename
//! ```

mod disk;
mod ext;
mod fat;
mod fat_size;
pub(super) mod filter;
pub(super) mod input;
mod made;
mod output;
mod raw;
mod swap;

use std::process::ExitCode;

use self::filter::Filter;
use self::input::{Input, Inputs, Reading};
use self::made::{Made, VolumeMade};
use self::output::Output;
use crate::build::{Type, Volume};
use crate::cli::ImageBuildArgs;
use crate::epoch;
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::report::{self, Talk};

/// The most warnings that are told one by one.
const WARNINGS_TOLD: usize = 20;

/// Make the image.
pub(super) fn run(args: &ImageBuildArgs, talk: Talk) -> Result<ExitCode> {
    let text = args.layout.as_ref().map(|path| {
        std::fs::read_to_string(path).map_err(|e| Failure::host("cannot read", path, &e))
    });
    let named = |what: String| match &args.layout {
        Some(path) => Failure::new(format!("`{}`: {what}", path.display())),
        None => Failure::new(what),
    };
    let disk = args.disk(text.transpose()?.as_deref()).map_err(named)?;
    let volumes = match &disk {
        Some(disk) => disk.parts.iter().map(|part| part.volume.clone()).collect(),
        None => vec![args.volume().map_err(Failure::new)?],
    };
    let time = match args.time {
        Some(time) => Some(time),
        None => epoch::given()?,
    };
    let place = Output::beside(&args.output, args.force)?;
    let reading = Reading { format: args.format, platform: args.platform.clone() };
    let inputs = Inputs::open_all(&volumes, &reading, place.directory())?;
    for input in inputs.iter().flat_map(|inputs| &inputs.all) {
        input.check_apart(place.directory())?;
    }
    let mode = inputs.iter().fold(0o666, |mode, inputs| mode & inputs.mode());
    let mut output = place.create(mode)?;
    let bar = Progress::new(args.quiet).bar("build");
    let (warnings, entries) = (Vec::new(), 0);
    let mut work = Work { inputs: &inputs[0], time, bar: &bar, warnings, entries };
    let (len, table, made) = match &disk {
        Some(disk) => {
            let (layout, made) = disk::make(&mut work, disk, &inputs, &mut output)?;
            (layout.len, Some(layout.table), made)
        }
        None => {
            let made = work.volume(&volumes[0], &mut output)?;
            (made.len, None, vec![made])
        }
    };
    let Work { warnings, entries, .. } = work;
    let made = Made { len, table, entries, volumes: made };
    output.publish(len)?;
    drop(bar);
    tell(&warnings, talk);
    match args.json {
        true => report::print_json(&made.json(&args.output, &warnings))?,
        false => report::print(&made.text(&args.output))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Tell of warnings, the first ones one by one.
pub(super) fn tell(warnings: &[String], talk: Talk) {
    for warning in warnings.iter().take(WARNINGS_TOLD) {
        talk.warning(warning);
    }
    if let Some(more) = warnings.len().checked_sub(WARNINGS_TOLD).filter(|more| *more > 0) {
        talk.warning(&format!("and {more} more warnings; `--json` has them all"));
    }
}

/// What the making of a volume needs beside its description.
struct Work<'a> {
    inputs: &'a Inputs,
    /// Of what no source gives a time.
    time: Option<i64>,
    bar: &'a crate::progress::Bar,
    warnings: Vec<String>,
    entries: u64,
}

impl Work<'_> {
    /// Make one volume.
    fn volume(&mut self, volume: &Volume, output: &mut Output) -> Result<VolumeMade> {
        match volume.kind {
            Type::Ext(kind) => ext::make(self, volume, kind, output),
            Type::Vfat => fat::make(self, volume, output),
            Type::Swap => swap::make(self, volume, output),
            Type::Raw => raw::make(self, volume, output),
        }
    }

    /// Look at all sources before they are fed.
    fn look(&mut self, volume: &Volume, sink: &mut dyn imgfmt::archive::Sink) -> Result<()> {
        for input in &self.inputs.all {
            let mut filter = Filter::new(sink, input, &volume.owners, self.time, self.bar);
            // What is to be warned of is told when they are fed.
            let fed = input.feed(&mut filter, self.bar, &mut |_| {});
            fed.map_err(|error| failure(input, &error))?;
        }
        Ok(())
    }

    /// Feed all sources to `sink`.
    fn feed(&mut self, volume: &Volume, sink: &mut dyn imgfmt::archive::Sink) -> Result<()> {
        for input in &self.inputs.all {
            let mut filter = Filter::new(sink, input, &volume.owners, self.time, self.bar);
            let fed = input.feed(&mut filter, self.bar, &mut |warning| {
                self.warnings.push(format!("{}: {warning}", input.name()));
            });
            self.entries += filter.entries();
            fed.map_err(|error| failure(input, &error))?;
        }
        Ok(())
    }
}

/// What went wrong while a source was read, or what is in it written.
fn failure(input: &Input, error: &imgfmt::Error) -> Failure {
    use imgfmt::Error as E;
    match error {
        E::Stopped => Failure::Interrupted { edited: Vec::new() },
        E::NoSpace(_) => output::failure(error),
        E::Io { what, .. } if what.starts_with("writing") => output::failure(error),
        E::Archive(what) => Failure::new(format!("{}: {what}", input.name())),
        _ => Failure::new(format!("{}: {error}", input.name())),
    }
}

/// Bytes that follow from a purpose and a seed.
fn digest(purpose: &[u8], seed: &[u8]) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::new().chain_update(purpose).chain_update([0]).chain_update(seed).finalize().into()
}
