//! An ext volume of an image.

use imgfmt::ext::mkfs::{Builder, Kind, Options, Room};
use uuid::Uuid;

use super::Work;
use super::made::{ExtMade, VolumeMade};
use super::output::{self, Output};
use crate::build::{Size, Type, Volume};
use crate::failure::{Failure, Result};

/// Make it where `output` stands.
pub(super) fn make(
    work: &mut Work<'_>,
    volume: &Volume,
    kind: Kind,
    output: &mut Output,
) -> Result<VolumeMade> {
    let (room, size) = match volume.size {
        Size::Bytes(size) => (Room::Fixed, size),
        Size::Auto(free) => (Room::Auto(free), 0),
        Size::Rest => unreachable!("it is settled before a volume is made"),
    };
    let seed = work.inputs.seed(volume);
    let options = Options {
        block_size: volume.block_size,
        inode_size: volume.inode_size,
        inodes: volume.inodes,
        label: volume.label.clone().unwrap_or_default(),
        uuid: volume.uuid.map(Uuid::into_bytes),
        seed,
        time: work.time.unwrap_or(0),
        features: volume.features.clone(),
        journal_size: volume.journal_size,
        profile: volume.profile,
        ..Options::new(kind, size)
    };
    let options = Options {
        reserved_percent: volume.reserved_percent.unwrap_or(options.reserved_percent),
        ..options
    };
    let start = output.start;
    let mut builder = Builder::new(&options, room, output).map_err(|e| refusal(&e))?;
    work.feed(volume, &mut builder)?;
    let layout = builder.finish().map_err(|e| output::failure(&e))?;
    Ok(VolumeMade {
        kind: Type::Ext(kind),
        partition: None,
        start,
        len: layout.len().max(size),
        uuid: Uuid::from_bytes(layout.uuid()).to_string(),
        label: volume.label.clone(),
        ext: Some(ExtMade {
            block_size: layout.block_size(),
            inodes: layout.inode_count(),
            features: layout.features(),
        }),
    })
}

/// Why there is no such file system.
fn refusal(error: &imgfmt::Error) -> Failure {
    match error {
        imgfmt::Error::NoSpace(_) | imgfmt::Error::Io { .. } => output::failure(error),
        _ => Failure::new(error.to_string()),
    }
}
