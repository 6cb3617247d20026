//! A swap space of an image: a header, and zeros.

use imgfmt::ext::mkfs::Target;
use uuid::Uuid;

use super::Work;
use super::made::VolumeMade;
use super::output::{self, Output};
use crate::build::{Size, Type, Volume};
use crate::failure::{Failure, Result};

/// Make it where `output` stands.
pub(super) fn make(
    work: &mut Work<'_>,
    volume: &Volume,
    output: &mut Output,
) -> Result<VolumeMade> {
    let Size::Bytes(len) = volume.size else { return Err(Failure::new("swap needs a size")) };
    let uuid = volume.uuid.unwrap_or_else(|| {
        let seed = work.inputs.seed(volume);
        let mut bytes = [0; 16];
        for (byte, from) in bytes.iter_mut().zip(super::digest(b"swap space", &seed)) {
            *byte = from;
        }
        *uuid::Builder::from_custom_bytes(bytes).as_uuid()
    });
    let header = imgfmt::swap::header(len, uuid, volume.label.as_deref());
    let header = header.map_err(|e| output::failure(&e))?;
    let start = output.start;
    output.reach(len)?;
    output
        .write_at(0, &header)
        .map_err(|e| output::failure(&imgfmt::Error::io("writing the header", e)))?;
    Ok(VolumeMade {
        kind: Type::Swap,
        partition: None,
        start,
        len,
        uuid: Uuid::to_string(&uuid),
        label: volume.label.clone(),
        ext: None,
    })
}
