//! Which volume of an image a verb works in. How a partition is chosen is in [`crate::facts::choose`].

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use imgfmt::probe::{self, Kind, Probe};
use imgfmt::table::{self, Partition, Table};
use imgfmt::{Storage, Volume};

use super::{open, places};
use crate::facts::choose::{Candidates, is_workable};
use crate::failure::{Failure, Result};
use crate::inside::address::ImageName;

/// A volume to work in.
pub(super) struct Selected<'a> {
    /// Its entry in the table, where there is one.
    pub(super) partition: Option<Partition>,
    /// Its bytes.
    pub(super) volume: Volume<'a>,
    /// It holds FAT; otherwise it is of the ext family.
    pub(super) is_fat: bool,
}

/// The volume of `raw` that `name` means.
///
/// # Errors
/// Where there is none, or several; the error lists them.
pub(super) fn select<'a>(name: &ImageName, raw: &'a dyn Storage) -> Result<Selected<'a>> {
    let path = &name.file;
    let fail = |e| open::failure(path, &e);
    let shown = path.display();
    let Some(table) = table::read(raw).map_err(fail)? else {
        if name.partition.is_some() {
            return Err(no_table(path));
        }
        let volume = Volume::whole(raw);
        let probe = probe::probe(&volume).map_err(fail)?;
        return workable(None, volume, probe.as_ref(), &format!("image `{shown}`"));
    };
    let all = Candidates::new(&table, raw).map_err(fail)?;
    let chosen = match &name.partition {
        Some(name) => all.named(name),
        None => all.to_work_in(),
    };
    let chosen = chosen.map_err(|doubt| doubt.of(path))?;
    let number = chosen.partition.number;
    let place = format!("image `{shown}`, partition {number}");
    let volume = table.volume(number, raw).map_err(fail)?;
    workable(Some(chosen.partition.clone()), volume, chosen.probe.as_ref(), &place)
}

fn workable<'a>(
    partition: Option<Partition>,
    volume: Volume<'a>,
    probe: Option<&Probe>,
    place: &str,
) -> Result<Selected<'a>> {
    let holds = match probe {
        Some(probe) if is_workable(Some(probe)) => {
            return Ok(Selected { partition, volume, is_fat: probe.kind == Kind::Vfat });
        }
        Some(probe) if probe.kind == Kind::Jbd => "the journal of another file system (jbd)",
        Some(probe) => probe.kind.name(),
        None => "nothing known",
    };
    let failure = Failure::new(format!("{place} holds {holds}: neither ext nor FAT"));
    Err(match probe.is_some_and(|probe| probe.kind.is_image_format()) {
        true => failure.hint("convert it to a raw image with `qemu-img convert -O raw`"),
        false => failure,
    })
}

/// An entry of a table, none without one, and its window of the image.
pub(super) type Window<'a> = (Option<Partition>, imgfmt::Result<Volume<'a>>);

/// The volumes of the image that `name` means: all, or that of the partition that it names.
///
/// # Errors
/// Where there is no such partition.
pub(super) fn windows<'a>(
    name: &ImageName,
    table: Option<&Table>,
    raw: &'a dyn Storage,
) -> Result<Vec<Window<'a>>> {
    let path = &name.file;
    let fail = |e| open::failure(path, &e);
    match (table, &name.partition) {
        (None, Some(_)) => Err(no_table(path)),
        (None, None) => Ok(vec![(None, Ok(Volume::whole(raw)))]),
        (Some(table), Some(wanted)) => {
            let all = Candidates::new(table, raw).map_err(fail)?;
            let chosen = all.named(wanted).map_err(|doubt| doubt.of(path))?;
            let volume = table.volume(chosen.partition.number, raw).map_err(fail)?;
            Ok(vec![(Some(chosen.partition.clone()), Ok(volume))])
        }
        (Some(table), None) => {
            let partitions = table.partitions.iter().filter(|partition| !partition.is_extended());
            Ok(partitions.map(|p| (Some(p.clone()), table.volume(p.number, raw))).collect())
        }
    }
}

/// An image without a partition table, of which a partition was named.
pub(super) fn no_table(path: &Path) -> Failure {
    Failure::new(format!("image `{}` has no partition table", path.display()))
        .hint("name no partition of it")
}

/// What an argument `IMAGE[#PARTITION]` names, beside the flag `--partition`.
///
/// # Errors
/// Where both name a partition.
pub(super) fn named(image: &OsStr, partition: Option<&OsStr>) -> Result<ImageName> {
    let name = places::image(image)
        .unwrap_or_else(|| ImageName { file: PathBuf::from(image), partition: None });
    match (name.partition, partition) {
        (Some(_), Some(_)) => Err(Failure::new("the partition is named twice")
            .hint("leave out `--partition`, or the `#` and what follows")),
        (of_image, of_flag) => {
            let partition = of_image.or_else(|| of_flag.map(OsStr::to_owned));
            Ok(ImageName { partition, ..name })
        }
    }
}
