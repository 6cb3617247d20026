//! Extended attributes: in what is left of a large inode, and in a block that several inodes may share.
//!
//! Names are kept as a number for their prefix and the rest: `6 selinux` is `security.selinux`. A value too large for
//! either place is an inode of its own (`ea_inode`). The content of a small file is the attribute `system.data`.
//!
//! This reads; [`edit`] writes. What an ACL says is known to [`acl`] alone.

pub(crate) mod acl;
pub(crate) mod edit;

use std::collections::BTreeSet;

use zerocopy::FromBytes;

use crate::error::Result;
use crate::ext::blocks::Blocks;
use crate::ext::checksum;
use crate::ext::inode::{self, Inode, corrupt};
use crate::ext::map::content;
use crate::ext::nr::InodeNr;
use crate::ext::ondisk::inode::flag;
use crate::ext::ondisk::xattr::{
    BLOCK_HEADER_LEN, BlockHeader, ENTRY_LEN, Entry, INODE_HEADER_LEN, MAGIC,
};

/// `name_index` of `user.`.
pub(crate) const INDEX_USER: u8 = 1;
/// `name_index` of `system.posix_acl_access`.
pub(crate) const INDEX_ACL_ACCESS: u8 = 2;
/// `name_index` of `system.posix_acl_default`.
pub(crate) const INDEX_ACL_DEFAULT: u8 = 3;
/// `name_index` of `trusted.`.
const INDEX_TRUSTED: u8 = 4;
/// `name_index` of `security.`.
pub(crate) const INDEX_SECURITY: u8 = 6;
/// `name_index` of `system.`.
pub(crate) const INDEX_SYSTEM: u8 = 7;
/// The longest value, in bytes (`XATTR_SIZE_MAX`).
const VALUE_MAX: u32 = 65536;

/// An attribute as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Xattr {
    /// What the name begins with.
    pub(crate) index: u8,
    /// The rest of the name.
    pub(crate) name: Vec<u8>,
    /// The value.
    pub(crate) value: Vec<u8>,
    /// Whether an inode of its own holds the value.
    pub(crate) has_inode: bool,
}

impl Xattr {
    /// The name as `getfattr` prints it.
    pub(crate) fn full_name(&self) -> Vec<u8> {
        let prefix: &[u8] = match self.index {
            INDEX_USER => b"user.",
            INDEX_ACL_ACCESS => b"system.posix_acl_access",
            INDEX_ACL_DEFAULT => b"system.posix_acl_default",
            INDEX_TRUSTED => b"trusted.",
            INDEX_SECURITY => b"security.",
            INDEX_SYSTEM => b"system.",
            8 => b"system.richacl",
            9 => b"encryption.",
            _ => b"",
        };
        [prefix, &self.name].concat()
    }
}

/// The number for the prefix of a name that users and their tools may give, and the rest; `None` for any other.
pub(crate) fn split_name(full: &[u8]) -> Option<(u8, &[u8])> {
    match full {
        b"system.posix_acl_access" => return Some((INDEX_ACL_ACCESS, b"")),
        b"system.posix_acl_default" => return Some((INDEX_ACL_DEFAULT, b"")),
        _ => {}
    }
    let prefixes: [(u8, &[u8]); 3] =
        [(INDEX_USER, b"user."), (INDEX_TRUSTED, b"trusted."), (INDEX_SECURITY, b"security.")];
    prefixes.into_iter().find_map(|(index, prefix)| {
        let name = full.strip_prefix(prefix).filter(|name| !name.is_empty())?;
        Some((index, name))
    })
}

/// Where entries lie and what their offsets count from.
struct Area<'a> {
    bytes: &'a [u8],
    first: usize,
}

/// All attributes of an inode, without the content of the file.
pub(crate) fn read(blocks: &impl Blocks, inode: &Inode) -> Result<Vec<Xattr>> {
    let mut all = read_in_inode(blocks, inode)?;
    all.retain(|xattr| !is_content(xattr));
    all.extend(read_block(blocks, inode)?);
    Ok(all)
}

/// Whether this is what lies in the inode of the file itself.
pub(crate) fn is_content(xattr: &Xattr) -> bool {
    xattr.index == INDEX_SYSTEM && xattr.name == b"data"
}

/// The content of a file or directory that lies in its inode. It may be shorter than the length says.
pub(crate) fn inline_data(blocks: &impl Blocks, inode: &Inode) -> Result<Vec<u8>> {
    let mut bytes = inode.base().block.to_vec();
    if let Some(rest) = read_in_inode(blocks, inode)?.into_iter().find(is_content) {
        bytes.extend(rest.value);
    }
    let size = usize::try_from(inode.size(blocks.geometry())).unwrap_or(usize::MAX);
    bytes.truncate(size);
    Ok(bytes)
}

/// The attributes in an inode, the content of the file among them.
pub(crate) fn read_in_inode(blocks: &impl Blocks, inode: &Inode) -> Result<Vec<Xattr>> {
    let Some(tail) = inode.tail().filter(|tail| tail.len() > INODE_HEADER_LEN) else {
        return Ok(Vec::new());
    };
    let (magic, bytes) = tail.split_at(INODE_HEADER_LEN);
    if magic != MAGIC.to_le_bytes() {
        return Ok(Vec::new());
    }
    read_area(blocks, inode, &Area { bytes, first: 0 })
}

/// The attributes in the block of an inode, which may have none.
pub(crate) fn read_block(blocks: &impl Blocks, inode: &Inode) -> Result<Vec<Xattr>> {
    let geometry = blocks.geometry();
    let block = inode.file_acl(geometry);
    if block.0 == 0 {
        return Ok(Vec::new());
    }
    let wrong = |what: &str| corrupt(inode.nr(), &format!("xattr block {block}: {what}"));
    geometry.check_data(block, 1).map_err(|e| wrong(&e.to_string()))?;
    let bytes = blocks.read_block(block)?;
    let (header, _) = BlockHeader::ref_from_prefix(&bytes).expect("a block is longer");
    if header.magic.get() != MAGIC || header.blocks.get() != 1 || header.refcount.get() == 0 {
        return Err(wrong("header is wrong"));
    }
    if geometry.has_metadata_csum()
        && header.checksum.get() != checksum::xattr_block(geometry.seed, block, &bytes)
    {
        return Err(wrong("checksum is wrong"));
    }
    read_area(blocks, inode, &Area { bytes: &bytes, first: BLOCK_HEADER_LEN })
}

fn read_area(blocks: &impl Blocks, inode: &Inode, area: &Area<'_>) -> Result<Vec<Xattr>> {
    let wrong = |what: &str| corrupt(inode.nr(), &format!("extended attributes: {what}"));
    let mut all = Vec::new();
    let mut names = BTreeSet::new();
    let mut at = area.first;
    loop {
        let rest = area.bytes.get(at..).unwrap_or_default();
        match rest.first_chunk::<4>() {
            Some([0, 0, 0, 0]) => return Ok(all),
            None if rest.is_empty() && at > area.first => return Ok(all),
            None => return Err(wrong("no end")),
            Some(_) => {}
        }
        let (entry, rest) = Entry::ref_from_prefix(rest).map_err(|_| wrong("no end"))?;
        let name =
            rest.get(..entry.name_len.into()).ok_or_else(|| wrong("name too long"))?.to_vec();
        at += (ENTRY_LEN + name.len()).next_multiple_of(4);
        let len = entry.value_size.get();
        if len > VALUE_MAX {
            return Err(wrong(&format!("value of {len} bytes")));
        }
        let value = match entry.value_inum.get() {
            0 => {
                let from = usize::from(entry.value_offs.get());
                let value = area.bytes.get(from..).and_then(|bytes| bytes.get(..len as usize));
                value
                    .filter(|v| v.is_empty() || from >= at)
                    .ok_or_else(|| wrong("value outside"))?
                    .to_vec()
            }
            // An empty value needs no inode, whatever the entry says.
            _ if len == 0 => Vec::new(),
            nr => read_value_inode(blocks, inode, InodeNr(nr), len)?,
        };
        if !names.insert((entry.name_index, name.clone())) {
            return Err(wrong("a name twice"));
        }
        let has_inode = entry.value_inum.get() != 0;
        all.push(Xattr { index: entry.name_index, name, value, has_inode });
    }
}

fn read_value_inode(blocks: &impl Blocks, inode: &Inode, nr: InodeNr, len: u32) -> Result<Vec<u8>> {
    let holder = inode::read(blocks, nr)?;
    // A value in the inode would be an attribute itself, of which nobody says where that ends.
    if !holder.has(flag::EA_INODE)
        || holder.has(flag::INLINE_DATA)
        || holder.size(blocks.geometry()) != u64::from(len)
    {
        return Err(corrupt(inode.nr(), &format!("inode {nr} does not hold an attribute")));
    }
    let mut value = Vec::new();
    content::copy(blocks, &holder, &mut value)?;
    Ok(value)
}
