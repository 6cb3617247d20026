//! Extended attributes of new files: in the inode as far as they fit, the rest in a block, one for all who have the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use crate::archive::{self, Warn};
use crate::error::{Error, Result};
use crate::ext::feature::Compat;
use crate::ext::geometry::Geometry;
use crate::ext::mkfs::inline;
use crate::ext::mkfs::space::Space;
use crate::ext::nr::BlockNr;
use crate::ext::xattr::acl;
use crate::ext::xattr::edit;
use crate::ext::xattr::{self, INDEX_ACL_ACCESS, INDEX_ACL_DEFAULT, Xattr};

/// The most inodes that share a block (`EXT4_XATTR_REFCOUNT_MAX`).
const SHARED_MAX: u32 = 1024;

/// A block of attributes, as what will be in it: mostly a small part of a block.
struct Shared {
    xattrs: Rc<[Xattr]>,
    refcount: u32,
}

/// All blocks of attributes.
#[derive(Default)]
pub(super) struct Attributes {
    blocks: BTreeMap<u64, Shared>,
    /// The last block of each content.
    by_content: BTreeMap<Rc<[Xattr]>, u64>,
}

/// Where the attributes of one inode are.
#[derive(Default)]
pub(super) struct Placed {
    /// What stands behind the fixed fields of the inode.
    pub(super) tail: Vec<u8>,
    /// The same, before it was bytes.
    pub(super) own: Vec<Xattr>,
    /// A block with the rest.
    pub(super) shared: Option<u64>,
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
            if rest.is_empty() { None } else { Some(self.share(geometry, path, rest, space)?) };
        Ok(Placed { tail, own, shared })
    }

    /// A block with these attributes: one that is there and has room for one more inode, or a new one.
    fn share(
        &mut self,
        geometry: &Geometry,
        path: &Path,
        xattrs: Vec<Xattr>,
        space: &mut Space,
    ) -> Result<u64> {
        if let Some(&block) = self.by_content.get(&xattrs[..])
            && let Some(shared) = self.blocks.get_mut(&block)
            && shared.refcount < SHARED_MAX
        {
            shared.refcount += 1;
            return Ok(block);
        }
        if !edit::fits_block(geometry.block_size, &xattrs) {
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
        }
        let block = space.take_one()?;
        let xattrs: Rc<[Xattr]> = match self.by_content.get_key_value(&xattrs[..]) {
            Some((known, _)) => Rc::clone(known),
            None => xattrs.into(),
        };
        self.by_content.insert(Rc::clone(&xattrs), block);
        self.blocks.insert(block, Shared { xattrs, refcount: 1 });
        Ok(block)
    }

    /// An inode with such a block is gone. True where nobody has it any more.
    pub(super) fn release(&mut self, block: u64) -> bool {
        let Some(shared) = self.blocks.get_mut(&block) else { return false };
        shared.refcount -= 1;
        if shared.refcount > 0 {
            return false;
        }
        if let Some(shared) = self.blocks.remove(&block)
            && self.by_content.get(&shared.xattrs) == Some(&block)
        {
            self.by_content.remove(&shared.xattrs);
        }
        true
    }

    /// Every block with its bytes, in order.
    pub(super) fn blocks(&self, geometry: &Geometry) -> impl Iterator<Item = (u64, Vec<u8>)> {
        self.blocks.iter().map(|(&block, shared)| {
            let mut bytes = edit::new_block(geometry.block_size, &shared.xattrs, shared.refcount);
            edit::seal(geometry, BlockNr(block), &mut bytes);
            (block, bytes)
        })
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
