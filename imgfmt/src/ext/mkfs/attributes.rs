//! Extended attributes of new files: in the inode as far as they fit, the rest in a block, one for all who have the same.

use std::collections::BTreeMap;
use std::path::Path;

use zerocopy::FromBytes;

use crate::archive::{self, Warn};
use crate::error::{Error, Result};
use crate::ext::checksum;
use crate::ext::feature::Compat;
use crate::ext::geometry::Geometry;
use crate::ext::mkfs::inline;
use crate::ext::mkfs::space::Space;
use crate::ext::nr::BlockNr;
use crate::ext::ondisk::xattr::BlockHeader;
use crate::ext::xattr::acl;
use crate::ext::xattr::edit;
use crate::ext::xattr::{self, INDEX_ACL_ACCESS, INDEX_ACL_DEFAULT, Xattr};

/// The most inodes that share a block (`EXT4_XATTR_REFCOUNT_MAX`).
const SHARED_MAX: u32 = 1024;

/// A block of attributes.
struct Shared {
    block: u64,
    refcount: u32,
}

/// All blocks of attributes, by what is in them.
#[derive(Default)]
pub(super) struct Attributes {
    shared: BTreeMap<Vec<u8>, Shared>,
}

/// Where the attributes of one inode are.
#[derive(Default)]
pub(super) struct Placed {
    /// What stands behind the fixed fields of the inode.
    pub(super) tail: Vec<u8>,
    /// The same, before it was bytes.
    pub(super) own: Vec<Xattr>,
    /// A block with the rest: its number, and what it is known by.
    pub(super) shared: Option<(u64, Vec<u8>)>,
}

impl Attributes {
    /// Place the attributes of the file at `path`.
    pub(super) fn place(
        &mut self,
        geometry: &Geometry,
        path: &Path,
        xattrs: &[archive::Xattr],
        (space, warn): (&mut Space, &mut Warn<'_>),
    ) -> Result<Placed> {
        let mut all = Vec::new();
        for xattr in xattrs {
            match stored(path, xattr)? {
                Some(xattr) => all.push(xattr),
                None => warn(format!(
                    "`/{}`: the extended attribute `{}` is left out: ext has no such",
                    path.display(),
                    String::from_utf8_lossy(&xattr.name)
                )),
            }
        }
        if all.is_empty() {
            return Ok(Placed::default());
        }
        if !geometry.features.compat.contains(Compat::EXT_ATTR) {
            return Err(refusal(
                path,
                "has extended attributes, which need the feature `ext_attr`",
            ));
        }
        edit::sort(&mut all);
        let (mut own, mut tail, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for xattr in all {
            own.push(xattr);
            match inline::tail(geometry, &own) {
                Some(more) => tail = more,
                None => rest.extend(own.pop()),
            }
        }
        let shared =
            if rest.is_empty() { None } else { Some(self.share(geometry, path, &rest, space)?) };
        Ok(Placed { tail, own, shared })
    }

    fn share(
        &mut self,
        geometry: &Geometry,
        path: &Path,
        xattrs: &[Xattr],
        space: &mut Space,
    ) -> Result<(u64, Vec<u8>)> {
        let Some(mut key) = edit::new_block(geometry.block_size, xattrs, 1) else {
            let largest = xattrs.iter().max_by_key(|xattr| xattr.value.len());
            let largest = largest.expect("there are some that do not fit the inode");
            return Err(refusal(
                path,
                &format!(
                    "has extended attributes of more than a block, `{}` of {} bytes the largest (the feature `ea_inode` \
                     lifts that, and cannot be made)",
                    String::from_utf8_lossy(&largest.full_name()),
                    largest.value.len()
                ),
            ));
        };
        // Behind the block, a number of those that are full tells blocks of the same content apart.
        let len = key.len();
        for full in 0_u32.. {
            key.truncate(len);
            key.extend(full.to_le_bytes());
            match self.shared.get_mut(&key) {
                Some(shared) if shared.refcount >= SHARED_MAX => {}
                Some(shared) => {
                    shared.refcount += 1;
                    return Ok((shared.block, key));
                }
                None => break,
            }
        }
        let block = space.take_one()?;
        self.shared.insert(key.clone(), Shared { block, refcount: 1 });
        Ok((block, key))
    }

    /// An inode with such a block is gone. Returns the block where nobody has it any more.
    pub(super) fn release(&mut self, key: &[u8]) -> Option<u64> {
        let shared = self.shared.get_mut(key)?;
        shared.refcount -= 1;
        if shared.refcount > 0 {
            return None;
        }
        self.shared.remove(key).map(|shared| shared.block)
    }

    /// Every block, with its bytes.
    pub(super) fn blocks(&self, geometry: &Geometry) -> Vec<(u64, Vec<u8>)> {
        let finished = self.shared.iter().map(|(key, shared)| {
            let mut bytes = key[..geometry.block_size].to_vec();
            let set = |bytes: &mut [u8], change: &dyn Fn(&mut BlockHeader)| {
                change(BlockHeader::mut_from_prefix(bytes).expect("a block is longer").0);
            };
            set(&mut bytes, &|header| header.refcount = shared.refcount.into());
            if geometry.has_metadata_csum() {
                let crc = checksum::xattr_block(geometry.seed, BlockNr(shared.block), &bytes);
                set(&mut bytes, &|header| header.checksum = crc.into());
            }
            (shared.block, bytes)
        });
        let mut all: Vec<(u64, Vec<u8>)> = finished.collect();
        all.sort_unstable_by_key(|(block, _)| *block);
        all
    }
}

fn refusal(path: &Path, what: &str) -> Error {
    Error::WrongKind { path: path.to_owned(), what: what.to_owned() }
}

/// An attribute as ext stores it. `None` for one of a kind that other file systems have (`system.nfs4_acl`).
fn stored(path: &Path, xattr: &archive::Xattr) -> Result<Option<Xattr>> {
    let name = String::from_utf8_lossy(&xattr.name);
    let Some((index, rest)) = xattr::split_name(&xattr.name) else { return Ok(None) };
    if rest.len() > 255 {
        return Err(refusal(path, "has an extended attribute with a name of more than 255 bytes"));
    }
    let value = match index {
        INDEX_ACL_ACCESS | INDEX_ACL_DEFAULT => acl::from_kernel_or_disk(&xattr.value)
            .ok_or_else(|| refusal(path, &format!("has a `{name}` that is no ACL")))?,
        _ => xattr.value.clone(),
    };
    Ok(Some(Xattr { index, name: rest.to_vec(), value, has_inode: false }))
}
