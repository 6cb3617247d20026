//! Which partition a name means.
//!
//! A name is a number, a GPT's partition name, a partition's UUID (`PARTUUID=` in fstab), or the UUID or label of the file
//! system in it. A number counts before all else: a partition whose label is `2` is told by its UUID.

use std::path::Path;

use imgfmt::probe::{self, Kind, Probe};
use imgfmt::table::{Partition, Table};
use imgfmt::{Storage, Volume};

use super::shown::size;
use crate::failure::{Failure, Result};

/// The partition of `table` that `name` names.
///
/// # Errors
/// Where none has that name, or several have: the hint lists all there are.
pub(super) fn named<'t>(
    path: &Path,
    table: &'t Table,
    name: &str,
    raw: &dyn Storage,
) -> Result<&'t Partition> {
    if let Ok(number) = name.parse::<u32>()
        && let Some(partition) = all(table).find(|partition| partition.number == number)
    {
        return Ok(partition);
    }
    let found = all(table).filter(|partition| is_called(partition, name, raw)).collect::<Vec<_>>();
    let shown = path.display();
    let what = match found[..] {
        [only] => return Ok(only),
        [] => format!("image `{shown}` has no partition `{name}`"),
        _ => format!("image `{shown}` has several partitions `{name}`"),
    };
    Err(Failure::new(what).hint(choices(table, raw)))
}

fn all(table: &Table) -> impl Iterator<Item = &Partition> {
    table.partitions.iter().filter(|partition| !partition.is_extended())
}

/// What stands in a partition, as far as it can be read.
fn look<'a>(partition: &Partition, raw: &'a dyn Storage) -> Option<(Volume<'a>, Option<Probe>)> {
    let volume = Volume::new(raw, partition.start, partition.len).ok()?;
    let probe = probe::probe(&volume).ok().flatten();
    Some((volume, probe))
}

fn is_called(partition: &Partition, name: &str, raw: &dyn Storage) -> bool {
    let probe = look(partition, raw).and_then(|(_, probe)| probe);
    let uuids = [Some(&partition.part_uuid), probe.as_ref().and_then(|p| p.uuid.as_ref())];
    let labels = [partition.label.as_ref(), probe.as_ref().and_then(|p| p.label.as_ref())];
    uuids.into_iter().flatten().any(|uuid| uuid.eq_ignore_ascii_case(name))
        || labels.into_iter().flatten().any(|label| label == name)
}

/// Whether it is of the ext family.
pub(super) fn is_ext(kind: Kind) -> bool {
    matches!(kind, Kind::Ext2 | Kind::Ext3 | Kind::Ext4)
}

/// ``there are 1 (`EFI`, 64.0 MiB, vfat) and 2 (2.0 GiB, ext4 `root`)``
fn choices(table: &Table, raw: &dyn Storage) -> String {
    let one = |partition: &Partition| {
        let name = partition.label.as_ref().map_or(String::new(), |name| format!("`{name}`, "));
        let holds = match look(partition, raw) {
            None => "past the end of the image".to_owned(),
            Some((_, None)) => "nothing known".to_owned(),
            Some((_, Some(probe))) => {
                let label = probe.label.map_or(String::new(), |label| format!(" `{label}`"));
                format!("{}{label}", probe.kind.name())
            }
        };
        format!("{} ({name}{}, {holds})", partition.number, size(partition.len))
    };
    let all: Vec<String> = all(table).map(one).collect();
    match all.split_last() {
        None => "the table is empty".into(),
        Some((only, [])) => format!("there is only {only}"),
        Some((last, others)) => format!("there are {} and {last}", others.join(", ")),
    }
}
