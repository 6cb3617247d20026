//! Writing extended attributes.
//!
//! A replaced file keeps its attributes, since its inode stays. A new attribute goes into the inode if it fits there, and
//! else into the block; those that are there stay where they are. A block that other inodes share is left to them, and a
//! changed copy takes its place.

use zerocopy::{FromBytes, IntoBytes};

use super::Xattr;
use super::acl;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::checksum;
use crate::ext::edit::transaction::Transaction;
use crate::ext::geometry::Geometry;
use crate::ext::inode::{Inode, corrupt};
use crate::ext::nr::BlockNr;
use crate::ext::ondisk::xattr::{
    BLOCK_HEADER_LEN, BlockHeader, ENTRY_LEN, Entry, INODE_HEADER_LEN, MAGIC,
};

/// Store the attributes of a new inode: in it if they all fit, else in a block.
pub(crate) fn store_new(
    tx: &mut Transaction<'_>,
    inode: &mut Inode,
    mut xattrs: Vec<Xattr>,
) -> Result<()> {
    if xattrs.is_empty() {
        return Ok(());
    }
    tx.note_xattrs();
    sort(&mut xattrs);
    match put_in_inode(inode, &xattrs) {
        true => Ok(()),
        false => put_in_block(tx, inode, &xattrs),
    }
}

/// The kernel searches the entries of a block in this order.
pub(crate) fn sort(xattrs: &mut [Xattr]) {
    xattrs.sort_by(|a, b| (a.index, a.name.len(), &a.name).cmp(&(b.index, b.name.len(), &b.name)));
}

/// Give an inode an attribute, or another value for one that it has: in the inode if it fits there, else in the block.
/// No attribute of it may have an inode of its own.
pub(crate) fn set(tx: &mut Transaction<'_>, inode: &mut Inode, xattr: Xattr) -> Result<()> {
    tx.note_xattrs();
    let mut others = Others::new(tx, inode, xattr.index, &xattr.name)?;
    let mut own = others.own.clone();
    own.push(xattr.clone());
    sort(&mut own);
    if put_in_inode(inode, &own) {
        others.from_inode = false;
        return others.store(tx, inode);
    }
    others.shared.push(xattr);
    sort(&mut others.shared);
    others.from_block = true;
    others.store(tx, inode)
}

/// Take an attribute from an inode. False where it has none of that name.
pub(crate) fn remove(
    tx: &mut Transaction<'_>,
    inode: &mut Inode,
    index: u8,
    name: &[u8],
) -> Result<bool> {
    let others = Others::new(tx, inode, index, name)?;
    let found = others.from_inode || others.from_block;
    others.store(tx, inode)?;
    Ok(found)
}

/// All attributes of an inode but one, and where that one was.
struct Others {
    own: Vec<Xattr>,
    shared: Vec<Xattr>,
    from_inode: bool,
    from_block: bool,
}

impl Others {
    fn new(tx: &Transaction<'_>, inode: &Inode, index: u8, name: &[u8]) -> Result<Self> {
        let is_other = |x: &Xattr| x.index != index || x.name != name;
        let mut own = super::read_in_inode(tx, inode)?;
        let mut shared = super::read_block(tx, inode)?;
        let before = (own.len(), shared.len());
        own.retain(is_other);
        shared.retain(is_other);
        let (from_inode, from_block) = (own.len() < before.0, shared.len() < before.1);
        Ok(Self { own, shared, from_inode, from_block })
    }

    /// Store them where they changed.
    fn store(self, tx: &mut Transaction<'_>, inode: &mut Inode) -> Result<()> {
        if self.from_inode && !put_in_inode(inode, &self.own) {
            return Err(corrupt(inode.nr(), "extended attributes do not fit where they were"));
        }
        if self.from_block {
            put_in_block(tx, inode, &self.shared)?;
        }
        Ok(())
    }
}

/// Make these the attributes in the inode. False, and nothing changed, where they do not fit.
pub(crate) fn put_in_inode(inode: &mut Inode, xattrs: &[Xattr]) -> bool {
    let Some(tail) = inode.tail_mut().filter(|tail| tail.len() > INODE_HEADER_LEN) else {
        return false;
    };
    let (magic, area) = tail.split_at_mut(INODE_HEADER_LEN);
    if !fits(area.len(), 0, xattrs) {
        return false;
    }
    // Without any, the kernel leaves no magic number either.
    magic.copy_from_slice(&if xattrs.is_empty() { [0; 4] } else { MAGIC.to_le_bytes() });
    area.fill(0);
    fill(area, 0, xattrs);
    true
}

/// Make these the attributes in the block of an inode. Others who share it keep theirs.
fn put_in_block(tx: &mut Transaction<'_>, inode: &mut Inode, xattrs: &[Xattr]) -> Result<()> {
    let block_size = tx.geometry().block_size;
    if !fits_block(block_size, xattrs) {
        return Err(Error::NoSpace(format!(
            "extended attributes of inode {} need more than a block (the feature `ea_inode` lifts that, and is not \
             written yet)",
            inode.nr()
        )));
    }
    let old = inode.file_acl(tx.geometry());
    let is_shared = old.0 != 0 && refcount(tx, old)? > 1;
    let own_sectors = if old.0 == 0 { 0 } else { block_size as u64 / 512 };
    let sectors = inode.sectors(tx.geometry()).checked_sub(own_sectors);
    let sectors = sectors.ok_or_else(|| corrupt(inode.nr(), "space taken is too small"))?;
    if is_shared || xattrs.is_empty() {
        release_block(tx, inode)?;
    }
    let block = match (xattrs.is_empty(), old.0) {
        (true, _) => BlockNr(0),
        (false, 0) => tx.alloc_meta(tx.inode_goal(inode.nr())?)?,
        (false, _) if is_shared => tx.alloc_meta(old)?,
        (false, _) => old,
    };
    inode.set_file_acl(tx.geometry(), block);
    let sectors = sectors + u64::from(block.0 != 0) * (block_size as u64 / 512);
    if !inode.set_sectors(tx.geometry(), sectors) {
        return Err(corrupt(inode.nr(), "space taken does not fit the inode"));
    }
    if block.0 == 0 {
        return Ok(());
    }
    let mut bytes = new_block(block_size, xattrs, 1);
    seal(tx.geometry(), block, &mut bytes);
    tx.put_block(block, bytes);
    Ok(())
}

/// Whether a block has room for these attributes.
pub(crate) fn fits_block(block_size: usize, xattrs: &[Xattr]) -> bool {
    fits(block_size, BLOCK_HEADER_LEN, xattrs)
}

/// A new block of attributes, which [fit](fits_block), but for its checksum.
pub(crate) fn new_block(block_size: usize, xattrs: &[Xattr], refcount: u32) -> Vec<u8> {
    let mut bytes = vec![0; block_size];
    fill(&mut bytes, BLOCK_HEADER_LEN, xattrs);
    let header = BlockHeader::mut_from_prefix(&mut bytes).expect("a block is longer").0;
    header.magic = MAGIC.into();
    header.refcount = refcount.into();
    header.blocks = 1.into();
    header.hash = block_hash(xattrs.iter().map(entry_hash)).into();
    bytes
}

/// Inodes that share a block of attributes, which [`super::read_block`] found sound.
fn refcount(tx: &Transaction<'_>, block: BlockNr) -> Result<u32> {
    let bytes = tx.read_block(block)?;
    Ok(BlockHeader::ref_from_prefix(&bytes).expect("a block is longer").0.refcount.get())
}

/// An inode goes: its block of attributes too, or one of those who share it.
pub(crate) fn release_block(tx: &mut Transaction<'_>, inode: &Inode) -> Result<()> {
    let block = inode.file_acl(tx.geometry());
    if block.0 == 0 {
        return Ok(());
    }
    // Checked, so that a wrong number frees nothing.
    super::read_block(tx, inode)?;
    let mut bytes = tx.read_block(block)?.into_owned();
    let header = BlockHeader::mut_from_prefix(&mut bytes).expect("a block is longer").0;
    match header.refcount.get() {
        0 | 1 => tx.free_run(block, 1),
        count => {
            header.refcount = (count - 1).into();
            seal(tx.geometry(), block, &mut bytes);
            tx.put_block(block, bytes);
            Ok(())
        }
    }
}

/// The mode of an inode has changed: so does its ACL, if it has one.
pub(crate) fn set_acl_mode(tx: &mut Transaction<'_>, inode: &mut Inode, mode: u16) -> Result<()> {
    let all = super::read(tx, inode)?;
    let Some(mut acl) = all.into_iter().find(|x| x.index == super::INDEX_ACL_ACCESS) else {
        return Ok(());
    };
    if acl.has_inode {
        return Err(Error::Unsupported(format!(
            "an ACL as `ea_inode` keeps it cannot be edited yet: inode {}",
            inode.nr()
        )));
    }
    if !acl::set_mode(&mut acl.value, mode) {
        return Err(corrupt(inode.nr(), "ACL is not an ACL"));
    }
    if let Some(tail) = inode.tail_mut().filter(|tail| tail.starts_with(&MAGIC.to_le_bytes()))
        && rewrite(&mut tail[INODE_HEADER_LEN..], 0, &acl)
    {
        return Ok(());
    }
    let old = inode.file_acl(tx.geometry());
    let mut bytes = tx.read_block(old)?.into_owned();
    if !rewrite(&mut bytes, BLOCK_HEADER_LEN, &acl) {
        return Err(corrupt(inode.nr(), "ACL does not lie beside its name"));
    }
    let hashes = entries(&bytes, BLOCK_HEADER_LEN).map(|(_, entry)| entry.hash.get());
    let hash = block_hash(hashes);
    let header = BlockHeader::mut_from_prefix(&mut bytes).expect("a block is longer").0;
    header.hash = hash.into();
    let mut block = old;
    if header.refcount.get() > 1 {
        // Others keep theirs.
        header.refcount = 1.into();
        release_block(tx, inode)?;
        block = tx.alloc_meta(old)?;
        inode.set_file_acl(tx.geometry(), block);
    }
    seal(tx.geometry(), block, &mut bytes);
    tx.put_block(block, bytes);
    Ok(())
}

/// Give an attribute that is there another value of the same length. False where it is not there, or lies elsewhere.
fn rewrite(area: &mut [u8], first: usize, xattr: &Xattr) -> bool {
    let found = entries(area, first).find(|&(at, entry)| {
        let name = &area[at + ENTRY_LEN..];
        entry.name_index == xattr.index
            && entry.value_inum.get() == 0
            && entry.value_size.get() as usize == xattr.value.len()
            && usize::from(entry.name_len) == xattr.name.len()
            && name.starts_with(&xattr.name)
    });
    let Some((at, entry)) = found else { return false };
    let from = usize::from(entry.value_offs.get());
    let Some(value) = area.get_mut(from..from + xattr.value.len()) else { return false };
    value.copy_from_slice(&xattr.value);
    let (entry, _) = Entry::mut_from_prefix(&mut area[at..]).expect("entries() read it");
    entry.hash = entry_hash(xattr).into();
    true
}

/// Entries and where they lie, of an area that [`super::read`] found sound.
fn entries(area: &[u8], first: usize) -> impl Iterator<Item = (usize, &Entry)> {
    let mut at = first;
    std::iter::from_fn(move || {
        let rest = area.get(at..).filter(|rest| !rest.starts_with(&[0; 4]))?;
        let (entry, _) = Entry::ref_from_prefix(rest).ok()?;
        let found = (at, entry);
        at += (ENTRY_LEN + usize::from(entry.name_len)).next_multiple_of(4);
        Some(found)
    })
}

/// Fill in the checksum of a block of attributes, where there is one.
pub(crate) fn seal(geometry: &Geometry, block: BlockNr, bytes: &mut [u8]) {
    if geometry.has_metadata_csum() {
        let crc = checksum::xattr_block(geometry.seed, block, bytes);
        BlockHeader::mut_from_prefix(bytes).expect("a block is longer").0.checksum = crc.into();
    }
}

/// Whether entries from `first` on and values from the end leave four zero bytes between them.
fn fits(len: usize, first: usize, xattrs: &[Xattr]) -> bool {
    let entries: usize =
        xattrs.iter().map(|x| (ENTRY_LEN + x.name.len()).next_multiple_of(4)).sum();
    let values: usize = xattrs.iter().map(|x| x.value.len().next_multiple_of(4)).sum();
    first + entries + 4 + values <= len
}

/// Write entries from `first` on and values from the end. They must fit.
fn fill(area: &mut [u8], first: usize, xattrs: &[Xattr]) {
    let (mut at, mut end) = (first, area.len());
    for xattr in xattrs {
        end -= xattr.value.len().next_multiple_of(4);
        area[end..end + xattr.value.len()].copy_from_slice(&xattr.value);
        let entry = Entry {
            name_len: u8::try_from(xattr.name.len()).expect("255 bytes at most"),
            name_index: xattr.index,
            // Only where nothing was written yet is the end of an area of 64 KiB beyond sixteen bits.
            value_offs: u16::try_from(end).unwrap_or(0).into(),
            value_inum: 0.into(),
            value_size: u32::try_from(xattr.value.len()).expect("fits the area").into(),
            hash: entry_hash(xattr).into(),
        };
        area[at..at + ENTRY_LEN].copy_from_slice(entry.as_bytes());
        let name = at + ENTRY_LEN;
        area[name..name + xattr.name.len()].copy_from_slice(&xattr.name);
        at += (ENTRY_LEN + xattr.name.len()).next_multiple_of(4);
    }
}

/// `e_hash`: over the name and the value in words.
pub(crate) fn entry_hash(xattr: &Xattr) -> u32 {
    if super::is_content(xattr) {
        // The kernel changes content in place, and a hash of what was there would be wrong from then on.
        return 0;
    }
    let hash = xattr.name.iter().fold(0_u32, |hash, &byte| hash.rotate_left(5) ^ u32::from(byte));
    xattr.value.chunks(4).fold(hash, |hash, chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        hash.rotate_left(16) ^ u32::from_le_bytes(word)
    })
}

/// `h_hash`: over the hashes of the entries; 0, "never shared", as soon as one of them is 0.
pub(crate) fn block_hash(hashes: impl Iterator<Item = u32>) -> u32 {
    let mut sum = 0_u32;
    for hash in hashes {
        if hash == 0 {
            return 0;
        }
        sum = sum.rotate_left(16) ^ hash;
    }
    sum
}
