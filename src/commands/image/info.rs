//! `autoxen image info`: what an image is, and with `--deep` whether its file systems are whole.

use std::ops::ControlFlow;
use std::process::ExitCode;

use imgfmt::ext::Fs;
use imgfmt::ext::check::Report;
use imgfmt::probe::{self, Kind};
use imgfmt::qcow2::Layer;
use imgfmt::table::{self, Partition};
use imgfmt::{Error, Storage, Volume};

use super::about::{About, Qcow2About, VolumeAbout};
use super::open::{self, Opened};
use super::{select, shown};
use crate::cli::ImageInfoArgs;
use crate::facts::form::Form;
use crate::facts::words::hint;
use crate::failure::{Failure, Result};
use crate::inside::address::ImageName;
use crate::interrupt;
use crate::progress::Progress;
use crate::report::{self, Talk};

/// Say what the image is.
pub(super) fn run(args: &ImageInfoArgs, talk: Talk) -> Result<ExitCode> {
    let progress = Progress::new(args.quiet);
    let name = select::named(&args.image, args.partition.as_deref())?;
    let opened = open::open(&name.file, progress)?;
    let about = look(args, &name, &opened, progress)?;
    match args.json {
        true => report::print_json(&shown::json(&about))?,
        false => report::print(&shown::text(&about))?,
    }
    let changed = opened.raw.check_unchanged();
    changed.map_err(|e| open::failure(&name.file, &e))?;
    let is_dirty = |volume: &VolumeAbout| volume.ext.as_ref().is_some_and(|(_, dirty)| *dirty);
    if opened.form == Form::Raw && about.volumes.iter().any(is_dirty) {
        talk.note(
            "a journal has to be replayed: the next mount does that, or `autoxen image recover`",
        );
    }
    let errors: Vec<&Error> = about.volumes.iter().filter_map(|v| v.error.as_ref()).collect();
    for error in &errors {
        talk.failure(&Failure::new(error.to_string()).any_hint(hint(error)));
    }
    let is_clean = |volume: &VolumeAbout| volume.check.as_ref().is_none_or(Report::is_clean);
    Ok(match (errors.is_empty(), about.volumes.iter().all(is_clean)) {
        (false, _) => ExitCode::from(2),
        (true, false) => ExitCode::from(1),
        (true, true) => ExitCode::SUCCESS,
    })
}

fn look(
    args: &ImageInfoArgs,
    name: &ImageName,
    opened: &Opened,
    progress: Progress,
) -> Result<About> {
    let fail = |e| open::failure(&name.file, &e);
    let raw = &opened.raw;
    let table = table::read(raw).map_err(fail)?;
    let mut volumes = Vec::new();
    for (partition, window) in select::windows(name, table.as_ref(), raw)? {
        volumes.push(match window {
            Ok(window) => volume(args, name, window, partition, progress)?,
            Err(error) => VolumeAbout {
                len: partition.as_ref().map_or(0, |partition| partition.len),
                partition,
                error: Some(error),
                ..VolumeAbout::default()
            },
        });
    }
    Ok(About {
        name: name.file.display().to_string(),
        len: raw.len(),
        form: opened.form,
        qcow2: qcow2(raw),
        table,
        volumes,
    })
}

fn qcow2(disk: &Layer) -> Option<Qcow2About> {
    let Layer::Qcow2(qcow2) = disk else { return None };
    let (file, below) = disk.files().split_first().map(|(file, below)| (*file, below.to_vec()))?;
    Some(Qcow2About {
        header: qcow2.header().clone(),
        file_len: file.len(),
        below: below.into_iter().map(|file| file.path().to_path_buf()).collect(),
    })
}

fn volume(
    args: &ImageInfoArgs,
    name: &ImageName,
    window: Volume<'_>,
    partition: Option<Partition>,
    progress: Progress,
) -> Result<VolumeAbout> {
    let fail = |e| open::failure(&name.file, &e);
    let probe = probe::probe(&window).map_err(fail)?;
    let mut about = VolumeAbout { partition, len: window.len(), probe, ..VolumeAbout::default() };
    let kind = about.probe.as_ref().map(|probe| probe.kind);
    if !kind.is_some_and(Kind::is_ext) {
        return Ok(about);
    }
    let fs = match Fs::open(window) {
        Ok(fs) => fs,
        Err(error) => {
            about.error = Some(error);
            return Ok(about);
        }
    };
    about.ext = Some((fs.info(), fs.needs_recovery()));
    if args.deep {
        let bar = progress.bar("check");
        let report = fs.check(&mut |done, total| {
            bar.set(done, total);
            if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        interrupt::check()?;
        match report {
            Ok(report) => about.check = Some(report),
            Err(error) => about.error = Some(error),
        }
    }
    Ok(about)
}
