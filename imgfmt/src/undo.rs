//! What an undo file says: the bytes that an edit is about to change, as they are before it.
//!
//! Numbers are little-endian, in bytes but for the count of runs. Each run covers whole sectors of 512 bytes of the image
//! (the last sector may be cut short by the image's end), so that each of them can be told apart:
//!
//! ```text
//! 0x00  "AutoXen undo 1\n\0"    0x10  length of the image    0x18  count of runs
//! each run:  offset:8  length:8  the old bytes  a digest:8 of the new bytes of each sector
//! at the end: a digest:8 of all before it
//! ```
//! A sector of the image that holds neither its old nor its new bytes was written by somebody else since: then nothing
//! is rolled back at all. That is also how the image is known again: a copy of it, or the image under another name, has
//! the same sectors; an older or newer one has others, or needs no rollback.
//!
//! Digests are CRC-64: they find accidents, not forgeries. Who may leave an undo file is for the reader of the file to
//! check ([`crate::undo_file`]).

#![forbid(unsafe_code)]

use crate::Storage;
use crate::changes::Changes;
use crate::error::{Error, Result};
use crate::reserve::page_runs;

/// How an undo file begins.
pub(crate) const MAGIC: &[u8; 16] = b"AutoXen undo 1\n\0";
const SECTOR: usize = 512;
/// Bytes of the largest undo file. It is held in memory.
pub(crate) const LEN_MAX: u64 = 1 << 30;

/// What an undo file says, its digest checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Undo {
    image_len: u64,
    runs: Vec<Run>,
}

#[derive(Debug, PartialEq, Eq)]
struct Run {
    offset: u64,
    old: Vec<u8>,
    /// One for each sector of `old`.
    new: Vec<u64>,
}

fn digest(bytes: &[u8]) -> u64 {
    const CRC64: crc::Crc<u64> = crc::Crc::<u64>::new(&crc::CRC_64_XZ);
    CRC64.checksum(bytes)
}

/// An undo file for all of `changes`, which lie within `image`; no two change the same bytes.
pub(crate) fn encode(image: &dyn Storage, changes: &[Changes]) -> Result<Vec<u8>> {
    let runs = page_runs(changes.iter().flat_map(Changes::ranges), SECTOR as u64, image.len());
    let len: u64 = runs.iter().map(|run| run.end - run.start).sum();
    if len > LEN_MAX / 2 {
        return Err(Error::Unsupported(format!(
            "an edit in place of {len} bytes without a journal (at most {} bytes)",
            LEN_MAX / 2
        )));
    }
    let mut file = MAGIC.to_vec();
    file.extend(image.len().to_le_bytes());
    file.extend((runs.len() as u64).to_le_bytes());
    for run in runs {
        let mut bytes = vec![0; usize::try_from(run.end - run.start).expect("it was bounded")];
        let read = image.read_at(run.start, &mut bytes);
        read.map_err(|e| Error::io(format!("image at byte {}", run.start), e))?;
        file.extend(run.start.to_le_bytes());
        file.extend((bytes.len() as u64).to_le_bytes());
        file.extend(&bytes);
        for changes in changes {
            changes.overlay(run.start, &mut bytes);
        }
        file.extend(bytes.chunks(SECTOR).flat_map(|sector| digest(sector).to_le_bytes()));
    }
    file.extend(digest(&file).to_le_bytes());
    Ok(file)
}

impl Undo {
    /// Read an undo file. An error says what is wrong with it.
    pub(crate) fn decode(file: &[u8]) -> Result<Self, &'static str> {
        let mut rest = file.strip_prefix(MAGIC).ok_or("it does not begin as one does")?;
        let (body, end) = file.split_last_chunk().ok_or("it is too short")?;
        if digest(body) != u64::from_le_bytes(*end) {
            return Err("its digest is wrong");
        }
        rest = &rest[..rest.len().checked_sub(8).ok_or("it is too short")?];
        let image_len = number(&mut rest)?;
        let count = number(&mut rest)?;
        let (mut runs, mut from) = (Vec::new(), 0);
        for _ in 0..count {
            let (offset, len) = (number(&mut rest)?, number(&mut rest)?);
            let end = offset.checked_add(len).filter(|&end| end <= image_len);
            let end = end.ok_or("a run lies past the end of the image")?;
            let is_whole = offset % SECTOR as u64 == 0
                && (len % SECTOR as u64 == 0 || end == image_len)
                && len > 0;
            if !is_whole || offset < from {
                return Err("its runs are not sectors in order");
            }
            from = end;
            let old = take(&mut rest, len)?.to_vec();
            let sectors = old.len().div_ceil(SECTOR);
            let new = (0..sectors).map(|_| number(&mut rest)).collect::<Result<_, _>>()?;
            runs.push(Run { offset, old, new });
        }
        if !rest.is_empty() {
            return Err("something follows its last run");
        }
        Ok(Self { image_len, runs })
    }

    /// What has to be written into `image` to have it as it was. An error says why that cannot be.
    pub(crate) fn roll_back(&self, image: &dyn Storage) -> Result<Changes, String> {
        if image.len() != self.image_len {
            return Err(format!("it is for {} bytes, not {}", self.image_len, image.len()));
        }
        let mut changes = Changes::new();
        for run in &self.runs {
            let mut bytes = vec![0; run.old.len()];
            let read = image.read_at(run.offset, &mut bytes);
            read.map_err(|e| format!("image at byte {}: {e}", run.offset))?;
            let sectors = bytes.chunks(SECTOR).zip(run.old.chunks(SECTOR)).zip(&run.new);
            for (at, ((found, old), &new)) in (run.offset..).step_by(SECTOR).zip(sectors) {
                if found == old {
                    continue;
                }
                if digest(found) != new {
                    return Err(format!("byte {at} of the image was changed since"));
                }
                changes.insert(at, old.to_vec());
            }
        }
        Ok(changes)
    }
}

fn take<'a>(rest: &mut &'a [u8], len: u64) -> Result<&'a [u8], &'static str> {
    let (bytes, behind) = usize::try_from(len)
        .ok()
        .and_then(|len| rest.split_at_checked(len))
        .ok_or("it ends too early")?;
    *rest = behind;
    Ok(bytes)
}

fn number(rest: &mut &[u8]) -> Result<u64, &'static str> {
    Ok(u64::from_le_bytes(take(rest, 8)?.try_into().expect("eight bytes")))
}

#[cfg(test)]
mod tests {
    use super::{MAGIC, Undo, digest, encode};
    use crate::changes::Changes;

    fn changes(all: &[(u64, &[u8])]) -> Changes {
        let mut changes = Changes::new();
        for &(offset, bytes) in all {
            changes.insert(offset, bytes.to_vec());
        }
        changes
    }

    /// 2,000 bytes, the last sector of which is short, and an edit of three of its four sectors.
    fn edit() -> (Vec<u8>, Changes) {
        let image = (0..2000_u32).map(|i| (i % 251) as u8).collect();
        (image, changes(&[(510, b"abcd"), (1999, b"e")]))
    }

    fn write(image: &mut [u8], changes: &Changes) {
        for (offset, bytes) in changes.iter() {
            let at = usize::try_from(offset).expect("small");
            image[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    #[test]
    fn every_mix_of_old_and_new_sectors_is_rolled_back() {
        let (before, changes) = edit();
        let file = encode(&before, std::slice::from_ref(&changes)).expect("it fits");
        let undo = Undo::decode(&file).expect("it is sound");
        let mut after = before.clone();
        write(&mut after, &changes);
        for mask in 0..16 {
            let sectors = before.chunks(512).zip(after.chunks(512)).enumerate();
            let mut torn: Vec<u8> = sectors
                .flat_map(|(i, (old, new))| if mask >> i & 1 == 0 { old } else { new })
                .copied()
                .collect();
            let back = undo.roll_back(&torn).expect("each sector is old or new");
            write(&mut torn, &back);
            assert!(torn == before, "{mask:04b}");
        }
    }

    #[test]
    fn a_sector_of_somebody_else_stops_all_of_it() {
        let (mut image, changes) = edit();
        let undo = Undo::decode(&encode(&image, std::slice::from_ref(&changes)).expect("it fits"))
            .expect("sound");
        image[600] ^= 1;
        let refused = Err("byte 512 of the image was changed since".to_owned());
        assert_eq!(undo.roll_back(&image), refused);
        image.push(0);
        let refused = Err("it is for 2000 bytes, not 2001".to_owned());
        assert_eq!(undo.roll_back(&image), refused);
    }

    #[test]
    fn every_part_of_an_undo_file_and_every_wrong_bit_is_refused() {
        let (image, changes) = edit();
        let file = encode(&image, std::slice::from_ref(&changes)).expect("it fits");
        // 32 of the header, two runs of 16 and 1,024 and 464 bytes, a digest for each of 3 sectors, and that of all.
        assert_eq!(file.len(), 32 + 2 * 16 + 1024 + 464 + 3 * 8 + 8);
        for len in 0..file.len() {
            assert!(Undo::decode(&file[..len]).is_err(), "{len}");
        }
        for at in 0..file.len() {
            let mut wrong = file.clone();
            wrong[at] ^= 0x10;
            assert!(Undo::decode(&wrong).is_err(), "{at}");
        }
    }

    #[test]
    fn lies_under_a_right_digest_are_refused() {
        let (image, changes) = edit();
        let file = encode(&image, std::slice::from_ref(&changes)).expect("it fits");
        assert!(file.starts_with(MAGIC));
        for (at, lie, expected) in [
            (0x10, 1999, "a run lies past the end of the image"),
            (0x18, 1, "something follows its last run"),
            (0x18, u64::MAX, "it ends too early"),
            (0x20, 1, "its runs are not sectors in order"),
            (0x20, 1024, "a run lies past the end of the image"),
            (0x440, 512, "its runs are not sectors in order"),
            (0x28, 0, "its runs are not sectors in order"),
            (0x28, u64::MAX, "a run lies past the end of the image"),
        ] {
            let mut wrong = file.clone();
            wrong[at..at + 8].copy_from_slice(&u64::to_le_bytes(lie));
            let end = wrong.len() - 8;
            let crc = digest(&wrong[..end]);
            wrong[end..].copy_from_slice(&crc.to_le_bytes());
            assert_eq!(Undo::decode(&wrong), Err(expected), "{at:#x} {lie}");
        }
    }
}
