//! `autoxen image info`: what an image is, and with `--deep` whether its file systems are whole.

use std::ops::ControlFlow;
use std::process::ExitCode;

use imgfmt::ext::Fs;
use imgfmt::ext::check::Report;
use imgfmt::probe::{self, Kind};
use imgfmt::qcow2::Layer;
use imgfmt::table::{self, Partition};
use imgfmt::{Error, Storage, Volume, fat};

use super::about::{About, ExtAbout, GuestAbout, Qcow2About, VolumeAbout};
use super::map::Map;
use super::open::{self, Opened};
use super::{boot, screen, select, shown};
use crate::cli::ImageInfoArgs;
use crate::facts::choose;
use crate::facts::form::Form;
use crate::facts::words::hint;
use crate::failure::{Failure, Result};
use crate::guest::fstab::Device;
use crate::inside::address::ImageName;
use crate::inside::ext::Ext;
use crate::inside::{guest, loader};
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
    let is_dirty = |volume: &VolumeAbout| volume.ext.as_ref().is_some_and(|ext| ext.needs_recovery);
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
    let devices = boot::devices(table.as_ref(), raw).map_err(fail)?;
    let mut volumes = Vec::new();
    let view = View { args, name, raw, devices: &devices, progress };
    for (partition, window) in select::windows(name, table.as_ref(), raw)? {
        volumes.push(match window {
            Ok(window) => view.volume(window, partition)?,
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

/// What is looked at, and for what.
struct View<'a> {
    args: &'a ImageInfoArgs,
    name: &'a ImageName,
    raw: &'a Layer,
    devices: &'a [Device],
    progress: Progress,
}

impl View<'_> {
    fn volume(&self, window: Volume<'_>, partition: Option<Partition>) -> Result<VolumeAbout> {
        let fail = |e| open::failure(&self.name.file, &e);
        let probe = probe::probe(&window).map_err(fail)?;
        let number = partition.as_ref().map(|partition| partition.number);
        let len = window.len();
        let mut about = VolumeAbout { partition, len, probe, ..VolumeAbout::default() };
        let kind = about.probe.as_ref().map(|probe| probe.kind);
        if kind == Some(Kind::Vfat) {
            match fat::space(&window) {
                Ok(space) => about.fat = Some(space),
                Err(error) => about.error = Some(error),
            }
        }
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
        about.ext = Some(ext(&fs));
        if self.args.map {
            match Map::of(&fs, screen::width()) {
                Ok(map) => about.map = Some(map.text(screen::width(), screen::is_unicode())),
                Err(error) => about.error = Some(error),
            }
        }
        if self.args.deep {
            match self.check(&fs)? {
                Ok(report) => about.check = Some(report),
                Err(error) => about.error = Some(error),
            }
        }
        if choose::is_root(&fs) {
            about.guest = Some(self.guest(fs, number));
        }
        Ok(about)
    }

    fn check(&self, fs: &Fs<'_>) -> Result<imgfmt::Result<Report>> {
        let bar = self.progress.bar("check");
        let report = fs.check(&mut |done, total| {
            bar.set(done, total);
            if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        interrupt::check()?;
        Ok(report)
    }

    /// What lives in a root; what cannot be read is among its warnings.
    fn guest(&self, fs: Fs<'_>, own: Option<u32>) -> GuestAbout {
        let shown = match own {
            Some(number) => format!("{}#{number}", self.name.file.display()),
            None => self.name.file.display().to_string(),
        };
        let tree = Ext { file: &self.name.file, name: &shown, fs };
        let mut guest = guest::look(&tree, self.devices);
        let listed = boot::with_boot(self.name, self.raw, (&tree, own), &guest, |places| {
            let mut about = GuestAbout::default();
            for (boot, found) in
                places.iter().flat_map(|boot| boot.kernels.iter().map(move |found| (boot, found)))
            {
                about.kernels.push(boot.line(found));
                about.kernels_json.push(boot.json(found));
            }
            let [boot, _] = places;
            let (entries, warnings) = loader::entries(boot.tree, &boot.directory);
            about.entries = entries.iter().map(|found| boot.entry_line(found)).collect();
            about.entries_json = entries.iter().map(|found| boot.entry_json(found)).collect();
            about.guest.warnings = warnings;
            Ok(about)
        });
        let mut about = listed.unwrap_or_else(|failure| {
            let mut about = GuestAbout::default();
            about.guest.warnings.push(failure.to_string());
            about
        });
        guest.warnings.append(&mut about.guest.warnings);
        GuestAbout { guest, ..about }
    }
}

fn ext(fs: &Fs<'_>) -> ExtAbout {
    let mut info = fs.info();
    let needs_recovery = fs.needs_recovery();
    let pending = fs.pending().map_err(|e| e.to_string());
    let is_marked = needs_recovery || pending.as_ref().is_ok_and(|pending| pending.is_marked);
    // The kernel counts in the descriptors, and tells the superblock when it unmounts.
    if (is_marked || !info.is_unmounted)
        && let Ok((blocks, inodes)) = fs.count_free()
    {
        info.free_blocks = blocks;
        info.free_inodes = u32::try_from(inodes).unwrap_or(u32::MAX);
    }
    ExtAbout { info, needs_recovery, pending }
}
