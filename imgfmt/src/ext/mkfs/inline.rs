//! Content in the inode itself (`inline_data`): of small files, and of small directories but the root.
//!
//! The first 60 bytes stand in the place of the map, the rest is the attribute `system.data`, which is there even when it
//! is empty. Attributes come first: content gets the room that they leave. A directory has the number of the one above,
//! then entries to byte 60, then more of them to the end of the attribute.
//!
//! ```text
//! 02 00 00 00 | 12 job 56 |                              60 bytes: `job` below the root
//! 02 00 00 00 | 12 job 56 | 13 fstab 68 |               128 bytes
//! ```

use crate::ext::feature::Incompat;
use crate::ext::geometry::Geometry;
use crate::ext::inode::Inode;
use crate::ext::mkfs::directory::{Named, Place};
use crate::ext::mkfs::inodes::Record;
use crate::ext::nr::InodeNr;
use crate::ext::ondisk::dirent::entry_len;
use crate::ext::ondisk::inode::{BASE_LEN, BLOCK_LEN, flag};
use crate::ext::ondisk::xattr::{ENTRY_LEN, INODE_HEADER_LEN};
use crate::ext::xattr::edit;
use crate::ext::xattr::{INDEX_SYSTEM, Xattr};

/// The name of the attribute, without `system.`.
const NAME: &[u8] = b"data";
/// Bytes of the number of the directory above.
const PARENT_LEN: usize = 4;

/// The most bytes of content that an inode has room for beside these attributes of its own. `None` where it has none.
pub(super) fn room(geometry: &Geometry, own: &[Xattr]) -> Option<usize> {
    if !geometry.features.incompat.contains(Incompat::INLINE_DATA) {
        return None;
    }
    let entry = |name: &[u8]| (ENTRY_LEN + name.len()).next_multiple_of(4);
    let others = own.iter().map(|xattr| entry(&xattr.name) + xattr.value.len().next_multiple_of(4));
    // Four zero bytes end the entries.
    let taken = BASE_LEN
        + usize::from(geometry.extra_isize)
        + INODE_HEADER_LEN
        + others.sum::<usize>()
        + entry(NAME)
        + 4;
    geometry.inode_size.checked_sub(taken).map(|left| BLOCK_LEN + left)
}

/// Put content into an inode that has these attributes, and no block yet. False, and nothing changed, where it does not
/// fit.
pub(super) fn store(
    geometry: &Geometry,
    record: &mut Record,
    own: &[Xattr],
    content: &[u8],
) -> bool {
    if room(geometry, own).is_none_or(|room| content.len() > room) {
        return false;
    }
    let (first, rest) = content.split_at(content.len().min(BLOCK_LEN));
    let mut all = own.to_vec();
    let (name, value) = (NAME.to_vec(), rest.to_vec());
    all.push(Xattr { index: INDEX_SYSTEM, name, value, has_inode: false });
    let Some(tail) = tail(geometry, &all) else { return false };
    record.tail = tail;
    record.flags |= flag::INLINE_DATA;
    record.block[..first.len()].copy_from_slice(first);
    record.size = content.len() as u64;
    true
}

/// What stands behind the fixed fields of an inode with these attributes. `None` where they do not fit.
pub(super) fn tail(geometry: &Geometry, xattrs: &[Xattr]) -> Option<Vec<u8>> {
    let mut inode = Inode::new(geometry, InodeNr(1));
    inode.set_extra_isize(geometry.extra_isize);
    let fits = edit::put_in_inode(&mut inode, xattrs);
    fits.then(|| inode.bytes()[BASE_LEN + usize::from(geometry.extra_isize)..].to_vec())
}

/// The content of a directory of these entries, in `room` bytes at most.
pub(super) fn directory(place: Place<'_>, entries: &[Named<'_>], room: usize) -> Option<Vec<u8>> {
    let (mut first, mut second): (Vec<Named<'_>>, Vec<Named<'_>>) = (Vec::new(), Vec::new());
    let (mut used, mut more) = (PARENT_LEN, BLOCK_LEN);
    for entry in entries {
        let len = entry_len(entry.name.len());
        // What is full stays so: an order that a reader can follow.
        if second.is_empty() && used + len <= BLOCK_LEN {
            used += len;
            first.push(*entry);
        } else {
            more += len;
            second.push(*entry);
        }
    }
    // All the room at once, as the kernel takes it: whole words.
    let len = if second.is_empty() { BLOCK_LEN } else { room & !3 };
    if len > room || more > len {
        return None;
    }
    let mut content = vec![0; len];
    content[..PARENT_LEN].copy_from_slice(&place.parent.to_le_bytes());
    place.fill(&mut content[PARENT_LEN..BLOCK_LEN], &first);
    if !second.is_empty() {
        place.fill(&mut content[BLOCK_LEN..], &second);
    }
    Some(content)
}
