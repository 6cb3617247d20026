//! Entries in a block of a directory.
//!
//! Entries follow one another to the end of the block; a deleted one is joined to the one before it, or has inode 0. With
//! `metadata_csum` the last twelve bytes are an unused entry that holds the checksum.
//!
//! ```text
//! 2 . 12 | 2 .. 12 | 11 lost+found 4060 | (0 … 12 de checksum)        4096 bytes
//! ```

use zerocopy::{FromBytes, IntoBytes};

use crate::ext::checksum;
use crate::ext::nr::InodeNr;
use crate::ext::ondisk::dirent::{HEADER_LEN, Header, TAIL_LEN, Tail, entry_len};

/// An entry, used or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// Where it begins in the block.
    pub(crate) offset: usize,
    /// How long it is, in bytes; at least 8, so that whoever goes on gets on.
    pub(crate) rec_len: usize,
    /// The inode; `None` for an unused entry.
    pub(crate) inode: Option<InodeNr>,
    /// The name.
    pub(crate) name: &'a [u8],
    /// The type, or 0.
    pub(crate) file_type: u8,
}

/// The entries of a block. Ends behind the first that is not sound.
pub(crate) fn entries(
    bytes: &[u8],
    inode_count: u32,
) -> impl Iterator<Item = Result<Entry<'_>, String>> {
    let mut offset = 0;
    std::iter::from_fn(move || {
        if offset >= bytes.len() {
            return None;
        }
        let entry = parse(bytes, offset, inode_count);
        offset = entry.as_ref().map_or(bytes.len(), |entry| entry.offset + entry.rec_len);
        Some(entry)
    })
}

fn parse(bytes: &[u8], offset: usize, inode_count: u32) -> Result<Entry<'_>, String> {
    let at = |what: &str| format!("entry at {offset}: {what}");
    let (header, rest) =
        Header::ref_from_prefix(&bytes[offset..]).map_err(|_| at("too short for a header"))?;
    let rec_len = header.rec_len(bytes.len());
    let name_len = usize::from(header.name_len);
    if rec_len < HEADER_LEN || !rec_len.is_multiple_of(4) || rec_len > bytes.len() - offset {
        return Err(at(&format!("length is {rec_len}")));
    }
    let nr = header.inode.get();
    if nr == 0 {
        return Ok(Entry { offset, rec_len, inode: None, name: &[], file_type: 0 });
    }
    if nr > inode_count {
        return Err(at(&format!("inode {nr} does not exist (there are {inode_count})")));
    }
    if name_len == 0 || entry_len(name_len) > rec_len {
        return Err(at(&format!("{name_len} bytes of name in {rec_len}")));
    }
    let name = &rest[..name_len];
    if name.iter().any(|&byte| byte == 0 || byte == b'/') {
        return Err(at("a name with `/` or NUL"));
    }
    Ok(Entry { offset, rec_len, inode: Some(InodeNr(nr)), name, file_type: header.file_type })
}

/// Write an entry at `offset`, with room up to `rec_len`.
pub(crate) fn write(
    bytes: &mut [u8],
    offset: usize,
    rec_len: usize,
    nr: u32,
    name: &[u8],
    file_type: u8,
) {
    let name_len = u8::try_from(name.len()).expect("names are 255 bytes at most");
    let header = Header::new(nr, rec_len, name_len, file_type);
    bytes[offset..offset + HEADER_LEN].copy_from_slice(header.as_bytes());
    bytes[offset + HEADER_LEN..offset + HEADER_LEN + name.len()].copy_from_slice(name);
}

/// Change how long the entry at `offset` is.
pub(crate) fn set_rec_len(bytes: &mut [u8], offset: usize, rec_len: usize) {
    Header::mut_from_prefix(&mut bytes[offset..])
        .expect("entries() checked it")
        .0
        .set_rec_len(rec_len);
}

/// Where entries end: before the checksum, if there is one.
pub(crate) fn end(bytes: &[u8], has_csum: bool) -> usize {
    bytes.len() - if has_csum { TAIL_LEN } else { 0 }
}

/// A block of one unused entry, and the checksum's place.
pub(crate) fn empty(block_size: usize, has_csum: bool) -> Vec<u8> {
    let mut bytes = vec![0; block_size];
    let end = end(&bytes, has_csum);
    write(&mut bytes, 0, end, 0, &[], 0);
    if has_csum {
        bytes[end..].copy_from_slice(Tail::new().as_bytes());
    }
    bytes
}

/// Room for a name: an unused entry, or what an entry has left over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    offset: usize,
    used: usize,
    rec_len: usize,
}

/// The first room for a name of `name_len` bytes.
pub(crate) fn find_room(
    bytes: &[u8],
    inode_count: u32,
    name_len: usize,
) -> Result<Option<Room>, String> {
    let need = entry_len(name_len);
    let end = end(bytes, has_tail(bytes));
    for entry in entries(bytes, inode_count) {
        let Entry { offset, rec_len, inode, name, .. } = entry?;
        if offset + rec_len > end {
            break;
        }
        let used = if inode.is_some() { entry_len(name.len()) } else { 0 };
        if rec_len - used >= need {
            return Ok(Some(Room { offset, used, rec_len }));
        }
    }
    Ok(None)
}

/// Put a name where [`find_room`] found room for it.
pub(crate) fn insert(bytes: &mut [u8], room: Room, nr: InodeNr, name: &[u8], file_type: u8) {
    let Room { offset, used, rec_len } = room;
    if used > 0 {
        set_rec_len(bytes, offset, used);
    }
    write(bytes, offset + used, rec_len - used, nr.0, name, file_type);
}

/// Take a name away. False where it is not here.
pub(crate) fn remove(bytes: &mut [u8], inode_count: u32, name: &[u8]) -> Result<bool, String> {
    let mut before: Option<(usize, usize)> = None;
    let mut found = None;
    for entry in entries(bytes, inode_count) {
        let entry = entry?;
        if entry.inode.is_some() && entry.name == name {
            found = Some((entry.offset, entry.rec_len));
            break;
        }
        before = Some((entry.offset, entry.rec_len));
    }
    match (found, before) {
        (None, _) => return Ok(false),
        (Some((_, len)), Some((before, before_len))) => {
            set_rec_len(bytes, before, before_len + len)
        }
        (Some((offset, len)), None) => write(bytes, offset, len, 0, &[], 0),
    }
    Ok(true)
}

/// Whether the block ends in a place for a checksum.
pub(crate) fn has_tail(bytes: &[u8]) -> bool {
    let tail = bytes.last_chunk::<TAIL_LEN>();
    tail.is_some_and(|tail| Tail::ref_from_bytes(tail).is_ok_and(Tail::is_valid))
}

/// Whether the checksum is there and right.
pub(crate) fn checksum_holds(bytes: &[u8], seed: u32) -> bool {
    Tail::ref_from_bytes(&bytes[bytes.len() - TAIL_LEN..])
        .is_ok_and(|tail| tail.is_valid() && tail.checksum == checksum::dir_leaf(seed, bytes))
}

/// Fill the checksum.
pub(crate) fn seal(bytes: &mut [u8], seed: u32) {
    let crc = checksum::dir_leaf(seed, bytes);
    let at = bytes.len() - TAIL_LEN;
    let tail = Tail::mut_from_bytes(&mut bytes[at..]).expect("twelve bytes");
    tail.checksum = crc.into();
}

#[cfg(test)]
mod tests {
    use super::{empty, entries, find_room, remove};
    use crate::ext::nr::InodeNr;

    fn insert(bytes: &mut [u8], nr: u32, name: &[u8]) -> bool {
        let room = find_room(bytes, 99, name.len()).expect("a sound block");
        if let Some(room) = room {
            super::insert(bytes, room, InodeNr(nr), name, 1);
        }
        room.is_some()
    }

    fn dump(bytes: &[u8]) -> String {
        let line = |e: Result<super::Entry<'_>, String>| match e {
            Err(what) => what,
            Ok(e) => {
                let nr = e.inode.map_or(0, InodeNr::get);
                format!("{nr} {} {}", String::from_utf8_lossy(e.name), e.rec_len)
            }
        };
        entries(bytes, 99).map(line).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_name_goes_into_the_slack_of_another_and_comes_out_again() {
        let mut bytes = empty(1024, true);
        // 1012 = 1024 - 12 for the checksum.
        assert_eq!(dump(&bytes), "0  1012, 0  12");
        assert!(insert(&mut bytes, 12, b"job"));
        assert!(insert(&mut bytes, 13, b"fstab"));
        assert_eq!(dump(&bytes), "12 job 12, 13 fstab 1000, 0  12");
        assert_eq!(remove(&mut bytes, 99, b"fstab"), Ok(true));
        assert_eq!(dump(&bytes), "12 job 1012, 0  12");
        assert_eq!(remove(&mut bytes, 99, b"job"), Ok(true));
        assert_eq!(dump(&bytes), "0  1012, 0  12");
        assert_eq!(remove(&mut bytes, 99, b"job"), Ok(false));
    }

    #[test]
    fn a_full_block_takes_no_more() {
        let mut bytes = empty(1024, false);
        // 1024 / 16: names of eight bytes take sixteen.
        for nr in 1..=64 {
            assert!(insert(&mut bytes, nr, b"eight--8"), "{nr}");
        }
        assert!(!insert(&mut bytes, 65, b"x"));
    }

    #[test]
    fn an_entry_that_leads_nowhere_ends_the_block() {
        for (at, value, expected) in [
            (4, 0, "entry at 0: length is 0"),
            (4, 6, "entry at 0: length is 6"),
            (4, 13, "entry at 0: length is 13"),
            (5, 8, "entry at 0: length is 2060"),
            (0, 100, "entry at 0: inode 100 does not exist (there are 99)"),
            (6, 0, "entry at 0: 0 bytes of name in 12"),
            (6, 5, "entry at 0: 5 bytes of name in 12"),
            (8, b'/', "entry at 0: a name with `/` or NUL"),
            (9, 0, "entry at 0: a name with `/` or NUL"),
        ] {
            let mut bytes = empty(1024, false);
            assert!(insert(&mut bytes, 12, b"job"));
            assert!(insert(&mut bytes, 13, b"b"));
            bytes[at] = value;
            assert_eq!(dump(&bytes), expected);
        }
    }
}
