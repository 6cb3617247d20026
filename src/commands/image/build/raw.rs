//! A volume of bytes that nobody here looks into: those of a file, or zeros.

use std::io::Read;

use imgfmt::Error;
use imgfmt::ext::mkfs::Target;

use super::Work;
use super::made::VolumeMade;
use super::output::{self, Output};
use crate::build::{Size, Type, Volume};
use crate::failure::{Failure, Result};
use crate::interrupt;

/// Bytes that are copied at once.
const PIECE_LEN: usize = 256 << 10;

/// Make it where `output` stands.
pub(super) fn make(
    work: &mut Work<'_>,
    volume: &Volume,
    output: &mut Output,
) -> Result<VolumeMade> {
    let start = output.start;
    let mut end = 0;
    if let Some(input) = work.inputs.all.first() {
        let mut from = input.raw()?;
        let mut piece = vec![0; PIECE_LEN];
        loop {
            let count = from
                .read(&mut piece)
                .map_err(|e| super::failure(input, &Error::io("read it", e)))?;
            if count == 0 {
                break;
            }
            interrupt::check()?;
            if let Size::Bytes(len) = volume.size
                && end + count as u64 > len
            {
                return Err(Failure::new(format!("{} is longer than {len} bytes", input.name())));
            }
            // Holes stay holes.
            if piece[..count].iter().any(|&byte| byte != 0) {
                let written = output.write_at(end, &piece[..count]);
                written.map_err(|e| output::failure(&Error::io("writing it", e)))?;
            }
            end += count as u64;
        }
    }
    let len = match volume.size {
        Size::Bytes(len) => len,
        _ => end,
    };
    if len == 0 {
        return Err(Failure::new("raw bytes without a size, and from no file"));
    }
    output.reach(len)?;
    let uuid = String::new();
    Ok(VolumeMade { kind: Type::Raw, partition: None, start, len, uuid, label: None, ext: None })
}
