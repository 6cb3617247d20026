//! Which volume of an image is meant: the partition that was named, or the one that there can be no doubt about.
//!
//! Named by its number, its GPT name, its UUID, or the UUID or label of the file system in it. Without a name it is the
//! only file system that can be worked in; of several, the only one that holds a Linux root.

use std::ffi::OsStr;

use imgfmt::ext::{FileType, Fs};
use imgfmt::probe::{self, Kind, Probe};
use imgfmt::table::{self, Partition};
use imgfmt::{Storage, Volume};

use super::open;
use crate::failure::{Failure, Result};
use crate::inside::address::ImageName;

/// A volume to work in.
pub(super) struct Selected<'a> {
    /// Its bytes.
    pub(super) volume: Volume<'a>,
    /// It holds FAT; otherwise it is of the ext family.
    pub(super) is_fat: bool,
}

struct Candidate<'a> {
    partition: Partition,
    volume: imgfmt::Result<Volume<'a>>,
    probe: Option<Probe>,
}

/// The volume of `raw` that `name` means.
///
/// # Errors
/// Where there is none, or several; the error lists them.
pub(super) fn select<'a>(name: &ImageName, raw: &'a dyn Storage) -> Result<Selected<'a>> {
    let fail = |e| open::failure(&name.file, &e);
    let shown = name.file.display();
    let Some(table) = table::read(raw).map_err(fail)? else {
        if name.partition.is_some() {
            return Err(Failure::new(format!("image `{shown}` has no partition table"))
                .hint("leave out the `#` and what follows"));
        }
        let volume = Volume::whole(raw);
        let probe = probe::probe(&volume).map_err(fail)?;
        return workable(volume, probe.as_ref(), &format!("image `{shown}`"));
    };
    let mut all = Vec::new();
    for partition in table.partitions.iter().filter(|partition| !partition.is_extended()) {
        let volume = Volume::new(raw, partition.start, partition.len);
        let probe = match &volume {
            Ok(volume) => probe::probe(volume).map_err(fail)?,
            Err(_) => None,
        };
        all.push(Candidate { partition: partition.clone(), volume, probe });
    }
    let choices = choices(&all);
    let several = |what: String| Failure::new(what).hint(format!("write `IMAGE#N`: {choices}"));
    let chosen = match &name.partition {
        Some(wanted) => {
            let mut found: Vec<Candidate<'_>> =
                all.into_iter().filter(|candidate| candidate.is_called(wanted)).collect();
            match (found.pop(), found.is_empty()) {
                (Some(only), true) => only,
                (None, _) => {
                    let wanted = wanted.display();
                    return Err(several(format!("image `{shown}` has no partition `{wanted}`")));
                }
                (Some(_), false) => {
                    let wanted = wanted.display();
                    let what = format!("image `{shown}` has several partitions `{wanted}`");
                    return Err(several(what));
                }
            }
        }
        None => {
            let mut found: Vec<Candidate<'_>> =
                all.into_iter().filter(|c| is_workable(c.probe.as_ref())).collect();
            if found.len() > 1 && found.iter().any(Candidate::is_root) {
                found.retain(Candidate::is_root);
            }
            match (found.pop(), found.is_empty()) {
                (Some(only), true) => only,
                (None, _) => {
                    let what = format!("image `{shown}` has no partition with ext or FAT");
                    return Err(Failure::new(what).hint(choices));
                }
                (Some(_), false) => {
                    return Err(several(format!("image `{shown}` has several file systems")));
                }
            }
        }
    };
    let number = chosen.partition.number;
    let place = format!("image `{shown}`, partition {number}");
    // The table says it better than the window does.
    let volume = table.volume(number, raw).map_err(fail)?;
    workable(volume, chosen.probe.as_ref(), &place)
}

fn is_workable(probe: Option<&Probe>) -> bool {
    probe.is_some_and(|probe| {
        matches!(probe.kind, Kind::Ext2 | Kind::Ext3 | Kind::Ext4 | Kind::Vfat)
    })
}

fn workable<'a>(volume: Volume<'a>, probe: Option<&Probe>, place: &str) -> Result<Selected<'a>> {
    let holds = match probe {
        Some(probe) if is_workable(Some(probe)) => {
            return Ok(Selected { volume, is_fat: probe.kind == Kind::Vfat });
        }
        Some(probe) => probe.kind.name(),
        None => "nothing known",
    };
    let failure = Failure::new(format!("{place} holds {holds}: neither ext nor FAT"));
    Err(match probe.is_some_and(|probe| probe.kind.is_image_format()) {
        true => failure.hint("convert it to a raw image with `qemu-img convert -O raw`"),
        false => failure,
    })
}

impl Candidate<'_> {
    fn is_called(&self, wanted: &OsStr) -> bool {
        let Some(wanted) = wanted.to_str() else { return false };
        let Partition { number, label, part_uuid, .. } = &self.partition;
        let probe = self.probe.as_ref();
        let uuid = probe.and_then(|probe| probe.uuid.as_ref());
        *number.to_string() == *wanted
            || label.as_deref() == Some(wanted)
            || part_uuid.eq_ignore_ascii_case(wanted)
            || uuid.is_some_and(|uuid| uuid.eq_ignore_ascii_case(wanted))
            || probe.and_then(|probe| probe.label.as_deref()) == Some(wanted)
    }

    /// Whether a Linux system could start from it.
    fn is_root(&self) -> bool {
        let is_ext = |probe: &Probe| matches!(probe.kind, Kind::Ext2 | Kind::Ext3 | Kind::Ext4);
        let (Some(true), Ok(volume)) = (self.probe.as_ref().map(is_ext), &self.volume) else {
            return false;
        };
        let Ok(fs) = Fs::open(*volume) else { return false };
        let is_dir =
            |path: &str| fs.metadata(path).is_ok_and(|found| found.kind == FileType::Directory);
        is_dir("/etc") && ["/bin", "/usr/bin", "/sbin", "/usr/sbin"].into_iter().any(is_dir)
    }
}

/// ``1 (vfat, `EFI`), 2 (ext4)``
fn choices(all: &[Candidate<'_>]) -> String {
    let one = |candidate: &Candidate<'_>| {
        let holds = match (&candidate.volume, &candidate.probe) {
            (Err(_), _) => "past the end of the image",
            (_, None) => "nothing known",
            (_, Some(probe)) => probe.kind.name(),
        };
        let label = candidate.partition.label.as_ref();
        let label = label.or(candidate.probe.as_ref().and_then(|probe| probe.label.as_ref()));
        let label = label.map_or(String::new(), |label| format!(", `{label}`"));
        format!("{} ({holds}{label})", candidate.partition.number)
    };
    match all {
        [] => "the table is empty".into(),
        all => format!("the table has {}", all.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
}
