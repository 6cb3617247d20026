//! A disk: its partitions are made one behind the other in the file, then the table. One of size `auto` is as long as it
//! has become when the next one is placed; the one that takes the rest comes when all before it are known.

use imgfmt::ext::mkfs::Target;
use imgfmt::table::{self, Layout, Share, Wanted};

use super::input::Inputs;
use super::made::VolumeMade;
use super::output::{self, Output};
use super::{Work, digest};
use crate::build::{Disk, Size, Volume};
use crate::failure::{Failure, Result};

/// What stands for a length that is not known yet.
const UNKNOWN: u64 = 4096;

/// Make the disk, `inputs` into each partition. Returns its table, too.
pub(super) fn make<'a>(
    work: &mut Work<'a>,
    disk: &Disk,
    inputs: &'a [Inputs],
    output: &mut Output,
) -> Result<(Layout, Vec<VolumeMade>)> {
    let mut seed = disk.seed.clone().unwrap_or_default().into_bytes();
    for (part, inputs) in disk.parts.iter().zip(inputs) {
        seed.extend(inputs.seed(&part.volume));
    }
    let start = digest(b"partition table", &seed);
    let seed = u64::from_le_bytes(*start.first_chunk().expect("a digest has 32 bytes"));
    let mut lens: Vec<Option<u64>> = disk
        .parts
        .iter()
        .map(|part| match part.volume.size {
            Size::Bytes(len) => Some(len),
            _ => None,
        })
        .collect();
    let mut volumes = Vec::new();
    for (index, part) in disk.parts.iter().enumerate() {
        // What is wrong with the table is told here, before anything is made.
        let layout = place(disk, &lens, seed)?;
        let mut partitions = layout.table.partitions.iter().filter(|p| !p.is_extended());
        let partition = partitions.nth(index).expect("there is one for each part");
        output.start = partition.start;
        let size = match part.volume.size {
            Size::Rest => Size::Bytes(partition.len),
            size => size,
        };
        work.inputs = &inputs[index];
        let made = work.volume(&Volume { size, ..part.volume.clone() }, output);
        let made = made.map_err(|failure| in_part(failure, partition.number))?;
        if part.volume.size != Size::Rest {
            lens[index] = Some(made.len);
        }
        volumes.push(VolumeMade { partition: Some(partition.number), ..made });
    }
    output.start = 0;
    let layout = place(disk, &lens, seed)?;
    let fail = |error: imgfmt::Error| output::failure(&error);
    for (offset, bytes) in layout.changes().map_err(fail)?.iter() {
        let written = output.write_at(offset, bytes);
        written.map_err(|e| fail(imgfmt::Error::io("writing the partition table", e)))?;
    }
    Ok((layout, volumes))
}

/// Where everything goes, as far as lengths are known. The rest is taken once nothing else is unknown.
fn place(disk: &Disk, lens: &[Option<u64>], seed: u64) -> Result<Layout> {
    let is_open = |(part, len): (&crate::build::Part, &Option<u64>)| {
        part.volume.size != Size::Rest && len.is_none()
    };
    let is_open = disk.parts.iter().zip(lens).any(is_open);
    let partitions = disk.parts.iter().zip(lens).map(|(part, len)| Wanted {
        share: match (part.volume.size, len) {
            (Size::Rest, _) if !is_open => Share::Rest,
            (_, len) => Share::Bytes(len.unwrap_or(UNKNOWN)),
        },
        kind: part.kind,
        label: part.name.clone(),
        uuid: part.uuid,
        bootable: part.bootable,
    });
    let wanted = table::Disk {
        kind: disk.kind,
        len: disk.len,
        id: disk.id,
        seed,
        partitions: partitions.collect(),
    };
    table::lay_out(&wanted).map_err(|error| {
        Failure::new(error.to_string())
            .hint("`--size` is that of the disk, `size=` in a part that of the partition")
    })
}

/// The same failure, with the partition that it is about.
fn in_part(failure: Failure, number: u32) -> Failure {
    match failure {
        Failure::Plain { message, hint } => {
            Failure::Plain { message: format!("partition {number}: {message}"), hint }
        }
        other => other,
    }
}
