//! Extended attributes: entries within their area, no value on another, each with its hash, each block counted.
//!
//! A block may belong to many inodes and is read once; how many there are is compared with its count at the end, as it is
//! for values that are inodes of their own. Such a value counts in `i_blocks` of each inode that has it, and the hash of
//! the entry is over that of the value:
//!
//! ```text
//! entry `a` → inode 14:  i_ctime, i_version 2 references | i_atime crc32c of the value | e_hash over `a` and i_atime
//! Lustre once:           i_mtime 12, i_generation that of 12: inode 12 has it alone; nothing is counted or hashed
//! ```

use std::collections::btree_map::Entry as Slot;

use zerocopy::FromBytes;

use super::{FindingKind, Place, Step, Walk};
use crate::ext::blocks::Blocks;
use crate::ext::checksum;
use crate::ext::feature::Incompat;
use crate::ext::file;
use crate::ext::inode::Inode;
use crate::ext::nr::{BlockNr, InodeNr};
use crate::ext::ondisk::inode::flag;
use crate::ext::ondisk::xattr::{
    BLOCK_HEADER_LEN, BlockHeader, ENTRY_LEN, Entry, INODE_HEADER_LEN, MAGIC,
};
use crate::ext::xattr::edit::block_hash;

/// `name_index` of the attribute that says how a file is encrypted.
const INDEX_ENCRYPTION: u8 = 9;
/// The longest value, in bytes (`XATTR_SIZE_MAX`).
const VALUE_MAX: u32 = 65536;

/// A block of attributes.
pub(super) struct Shared {
    /// Inodes that lead to it.
    counted: u32,
    /// How many it says there are.
    refcount: u32,
    /// Sectors that values in inodes of their own take, for each inode that leads here; `None` where it is damaged.
    sectors: Option<u64>,
    /// Those inodes.
    values: Vec<u32>,
    /// Whether there is an attribute that says how the file is encrypted, and one that can be.
    encryption: Option<bool>,
}

/// Entries of one area.
struct Area {
    sectors: u64,
    values: Vec<u32>,
    encryption: Option<bool>,
    /// `h_hash` that goes with them.
    hash: u32,
}

/// What an inode is to the entry that leads to it.
enum Holder {
    /// Not its value.
    None,
    /// Its value, which counts its references.
    Counted,
    /// Its value as Lustre kept it: it says to whom it belongs, and counts nowhere.
    Lustre,
}

/// An inode that is a value.
pub(super) struct Value {
    /// References that it counts.
    refcount: u64,
    /// Whether both of its times are the same: Lustre kept times there, and no count and no hash.
    may_be_lustre: bool,
}

impl Walk<'_, '_> {
    /// The attributes of an inode: sectors that they take, `None` where that is not known.
    pub(super) fn xattrs(&mut self, inode: &Inode) -> Step<Option<u64>> {
        let place = Place::Inode(inode.nr());
        let mut sectors = Some(0);
        let mut encryption = None;
        if let Some(tail) = inode.tail().filter(|tail| tail.len() > INODE_HEADER_LEN)
            && tail[..INODE_HEADER_LEN] == MAGIC.to_le_bytes()
        {
            match self.area(inode, &tail[INODE_HEADER_LEN..], 0, true)? {
                Ok(area) => {
                    sectors = Some(area.sectors);
                    encryption = area.encryption;
                    for nr in area.values {
                        *self.value_refs.entry(nr).or_default() += 1;
                    }
                }
                Err(what) => {
                    self.add(FindingKind::Xattr, place, format!("attributes: {what}"))?;
                    sectors = None;
                }
            }
        }
        let block = inode.file_acl(self.geometry());
        if block.0 != 0 {
            let of_block = self.xattr_block(inode, block)?;
            sectors = sectors.zip(of_block).map(|(a, b)| a + b);
            encryption = encryption.or(self.xattr_blocks.get(&block.0).and_then(|b| b.encryption));
        }
        let what = match encryption {
            _ if !inode.has(flag::ENCRYPT) => return Ok(sectors),
            None => "encrypted, but no attribute says how",
            Some(false) => "encrypted, but the attribute that says how is damaged",
            Some(true) => return Ok(sectors),
        };
        self.add(FindingKind::Xattr, place, what)?;
        Ok(sectors)
    }

    /// A block of attributes, when an inode leads to it.
    fn xattr_block(&mut self, inode: &Inode, block: BlockNr) -> Step<Option<u64>> {
        let geometry = self.geometry();
        let place = Place::Inode(inode.nr());
        if !self.is_within(block, 1) {
            let what = format!("attributes: block {block} does not exist");
            self.add(FindingKind::Xattr, place, what)?;
            return Ok(None);
        }
        if let Slot::Occupied(mut slot) = self.xattr_blocks.entry(block.0) {
            let shared = slot.get_mut();
            shared.counted += 1;
            for &nr in &shared.values {
                *self.value_refs.entry(nr).or_default() += 1;
            }
            return Ok(shared.sectors.map(|sectors| sectors + geometry.cluster_size / 512));
        }
        if !self.claim(place, self.unit(block.0), 1)? {
            return Ok(None);
        }
        let bytes = self.fs.read_block(block)?;
        let (header, _) = BlockHeader::ref_from_prefix(&bytes).expect("a block is longer");
        let mut shared = Shared {
            counted: 1,
            refcount: header.refcount.get(),
            sectors: None,
            values: Vec::new(),
            encryption: None,
        };
        let place = Place::Block(block.0);
        if header.magic.get() != MAGIC || header.blocks.get() != 1 {
            self.add(FindingKind::Xattr, place, "attributes: its header is wrong")?;
            // It counts nothing.
            shared.refcount = 0;
        } else {
            let crc = checksum::xattr_block(geometry.seed, block, &bytes);
            if geometry.has_metadata_csum() && header.checksum.get() != crc {
                self.add(FindingKind::Xattr, place, "attributes: checksum is wrong")?;
            }
            match self.area(inode, &bytes, BLOCK_HEADER_LEN, false)? {
                Ok(area) => {
                    // 0 says "never shared", and old tools left it there.
                    if ![0, area.hash].contains(&header.hash.get()) {
                        let what = "attributes: the hash of the block is wrong";
                        self.add(FindingKind::Xattr, place, what)?;
                    }
                    shared.sectors = Some(area.sectors);
                    shared.values = area.values;
                    shared.encryption = area.encryption;
                }
                Err(what) => {
                    self.add(FindingKind::Xattr, place, format!("attributes: {what}"))?;
                }
            }
        }
        for &nr in &shared.values {
            *self.value_refs.entry(nr).or_default() += 1;
        }
        let sectors = shared.sectors;
        self.xattr_blocks.insert(block.0, shared);
        Ok(sectors.map(|sectors| sectors + geometry.cluster_size / 512))
    }

    /// The entries from `first` on; values lie at offsets from the start of `bytes`.
    fn area(
        &self,
        owner: &Inode,
        bytes: &[u8],
        first: usize,
        in_inode: bool,
    ) -> Step<Result<Area, String>> {
        let mut area = Area { sectors: 0, values: Vec::new(), encryption: None, hash: 0 };
        let mut hashes = Vec::new();
        let mut values: Vec<(usize, usize)> = Vec::new();
        let mut at = first;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            match rest.first_chunk::<4>() {
                Some([0, 0, 0, 0]) => break,
                None if rest.is_empty() && at > first => break,
                None => return Ok(Err("they have no end".to_owned())),
                Some(_) => {}
            }
            let Ok((entry, rest)) = Entry::ref_from_prefix(rest) else {
                return Ok(Err("they have no end".to_owned()));
            };
            let Some(name) = rest.get(..entry.name_len.into()) else {
                return Ok(Err("a name is too long".to_owned()));
            };
            at += (ENTRY_LEN + name.len()).next_multiple_of(4);
            hashes.push(entry.hash.get());
            let len = entry.value_size.get();
            if len > VALUE_MAX {
                return Ok(Err(format!("a value of {len} bytes")));
            }
            let is_right = match entry.value_inum.get() {
                0 => {
                    let from = usize::from(entry.value_offs.get());
                    let Some(value) = bytes.get(from..).and_then(|b| b.get(..len as usize)) else {
                        return Ok(Err("a value lies outside".to_owned()));
                    };
                    if len > 0 {
                        values.push((from, from + (len as usize).next_multiple_of(4)));
                    }
                    if entry.name_index == INDEX_ENCRYPTION {
                        area.encryption = Some(is_encryption_context(value));
                    }
                    hash_is(entry, name, value, in_inode)
                }
                // An empty value needs no inode. If there is one, it is due no name.
                nr if len == 0 => {
                    area.values.push(nr);
                    true
                }
                nr => {
                    let holder = self.holder(owner, entry, name, nr)?;
                    area.values.push(nr);
                    if !matches!(holder, Holder::Lustre) {
                        let cluster = self.geometry().cluster_size;
                        area.sectors += u64::from(len).next_multiple_of(cluster) / 512;
                    }
                    !matches!(holder, Holder::None)
                }
            };
            if !is_right {
                let name = String::from_utf8_lossy(name).escape_debug().to_string();
                return Ok(Err(format!("the hash of `{name}` is wrong")));
            }
        }
        values.sort_unstable();
        let overlap = values.windows(2).any(|pair| pair[0].1 > pair[1].0);
        if overlap || values.first().is_some_and(|&(from, _)| from < at) {
            return Ok(Err("a value lies on another thing".to_owned()));
        }
        area.hash = block_hash(hashes.into_iter());
        Ok(Ok(area))
    }

    /// What inode `nr` is to an entry of `owner`.
    fn holder(&self, owner: &Inode, entry: &Entry, name: &[u8], nr: u32) -> Step<Holder> {
        if !self.geometry().features.incompat.contains(Incompat::EA_INODE) {
            return Ok(Holder::None);
        }
        let Some(inode) = self.raw_inode(nr)? else { return Ok(Holder::None) };
        let size = inode.size(self.geometry());
        if !inode.has(flag::EA_INODE) || size != u64::from(entry.value_size.get()) {
            return Ok(Holder::None);
        }
        let base = inode.base();
        Ok(match hash_is(entry, name, &base.atime.get().to_le_bytes(), false) {
            true => Holder::Counted,
            false
                if base.mtime.get() == owner.nr().0
                    && base.generation.get() == owner.base().generation.get() =>
            {
                Holder::Lustre
            }
            false => Holder::None,
        })
    }

    /// An inode that is a value: what it counts, and whether its content has the hash that it says.
    pub(super) fn value(&mut self, inode: &Inode) -> Step {
        let (nr, base, seed) = (inode.nr(), inode.base(), self.geometry().seed);
        let value = Value {
            refcount: u64::from(base.ctime.get()) << 32 | u64::from(base.version.get()),
            may_be_lustre: base.ctime.get() == base.atime.get(),
        };
        // Where it cannot be read, that is said of its map.
        if !value.may_be_lustre
            && let Ok(bytes) = file::read(self.fs, inode, VALUE_MAX.into())
            && checksum::crc32c(seed, &bytes) != base.atime.get()
        {
            let what = "the value of an attribute, whose hash is wrong";
            self.add(FindingKind::Xattr, Place::Inode(nr), what)?;
        }
        self.value_inodes.insert(nr.0, value);
        Ok(())
    }

    /// Compare counts of references.
    pub(super) fn xattr_refs(&mut self) -> Step {
        for (block, shared) in std::mem::take(&mut self.xattr_blocks) {
            if shared.refcount != 0 && shared.refcount != shared.counted {
                let (says, counted) = (shared.refcount, shared.counted);
                let what = format!("attributes: reference count is {says}, should be {counted}");
                self.add(FindingKind::Xattr, Place::Block(block), what)?;
            }
        }
        let counts = std::mem::take(&mut self.value_inodes);
        let refs = std::mem::take(&mut self.value_refs);
        for (&nr, &counted) in &refs {
            // One to which nothing leads is a file like any other.
            let Some(&Value { refcount, may_be_lustre }) = counts.get(&nr) else { continue };
            if let Some(seen) = self.seen(nr) {
                seen.is_nameless = true;
            }
            if refcount != counted && !(may_be_lustre && counted == 1) {
                let what = format!("reference count is {refcount}, should be {counted}");
                self.add(FindingKind::Xattr, Place::Inode(InodeNr(nr)), what)?;
            }
        }
        Ok(())
    }
}

/// Whether a value is `struct fscrypt_context`, of version 1 or 2.
fn is_encryption_context(value: &[u8]) -> bool {
    matches!((value.first(), value.len()), (Some(1), 28) | (Some(2), 40))
}

/// Whether `e_hash` is that of name and value. In an inode it may be left out; names past ASCII were once hashed with
/// signed bytes.
fn hash_is(entry: &Entry, name: &[u8], value: &[u8], in_inode: bool) -> bool {
    let of_name = |number: fn(u8) -> u32| {
        name.iter().fold(0_u32, |hash, &byte| hash.rotate_left(5) ^ number(byte))
    };
    let with_value = |hash: u32| {
        value.chunks(4).fold(hash, |hash, chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            hash.rotate_left(16) ^ u32::from_le_bytes(word)
        })
    };
    let hash = entry.hash.get();
    in_inode && hash == 0
        || hash == with_value(of_name(u32::from))
        || hash == with_value(of_name(|byte| i32::from(byte.cast_signed()).cast_unsigned()))
}
