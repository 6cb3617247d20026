//! Changing files that are there: content, mode, owner.

use std::path::Path;

use super::create::make_file;
use super::read::check_file;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::file::is_fast_link;
use crate::ext::inline;
use crate::ext::inode::{self, FileType, Inode};
use crate::ext::map::{self, Mapping};
use crate::ext::nr::{BlockNr, InodeNr};
use crate::ext::ondisk::inode::flag;
use crate::ext::path::{Target, find, resolve};
use crate::ext::transaction::Transaction;
use crate::ext::xattr;
use crate::ext::xattr_edit;

impl Transaction<'_> {
    /// Give the file at `path`, behind any symbolic links, the content `bytes`.
    ///
    /// A file that is there keeps its inode: owner, mode, extended attributes, other names, time of creation. A new one
    /// is 0644, owned by root; a symbolic link that leads to a missing name makes that.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the directory is missing, [`Error::NoSpace`] where the new content does not fit beside
    /// the old, which is freed only when the edit is done.
    pub fn write(&mut self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<()> {
        let (path, bytes) = (path.as_ref(), bytes.as_ref());
        self.atomically(|tx| {
            let nr = match resolve(tx, path, true)? {
                Target::Found { nr, .. } => nr,
                Target::Missing { parent, name } => make_file(tx, parent, &name)?,
            };
            let inode = inode::read(tx, nr)?;
            check_file(&inode, path)?;
            check_editable(tx, &inode)?;
            replace(tx, inode, bytes)
        })
    }

    /// Set the permissions of what is at `path`, behind any symbolic links: the lower twelve bits of `mode`. An ACL
    /// follows.
    pub fn set_mode(&mut self, path: impl AsRef<Path>, mode: u16) -> Result<()> {
        let path = path.as_ref();
        self.atomically(|tx| {
            let mut inode = find(tx, path, true)?;
            let kind = inode.mode() & 0o170_000;
            inode.base_mut().mode = (kind | mode & 0o7777).into();
            inode.set_ctime(tx.now());
            xattr_edit::set_acl_mode(tx, &mut inode, mode)?;
            tx.put_inode(inode)
        })
    }

    /// Set owner and group of what is at `path`, behind any symbolic links. The mode stays, unlike with `chown`, which
    /// takes set-user-ID and set-group-ID away.
    pub fn set_owner(&mut self, path: impl AsRef<Path>, uid: u32, gid: u32) -> Result<()> {
        let path = path.as_ref();
        self.atomically(|tx| {
            let inode = find(tx, path, true)?;
            let now = tx.now();
            tx.edit_inode(inode.nr(), |inode| {
                inode.set_owner(uid, gid);
                inode.set_ctime(now);
            })
        })
    }
}

/// Files whose content follows other rules are left alone.
pub(super) fn check_editable(tx: &Transaction<'_>, inode: &Inode) -> Result<()> {
    if inode.nr().0 < tx.geometry().first_inode {
        return Err(inode::corrupt(inode.nr(), "is reserved, but named"));
    }
    check_attributes(tx, inode)?;
    for (bit, feature) in
        [(flag::ENCRYPT, "encrypt"), (flag::VERITY, "verity"), (flag::EA_INODE, "ea_inode")]
    {
        if inode.has(bit) {
            return Err(Error::Unsupported(format!(
                "a file with the feature `{feature}` cannot be edited yet: inode {}",
                inode.nr()
            )));
        }
    }
    inline::check_editable(tx, inode)
}

/// Inodes that hold attributes count in `i_blocks`, and go with the file: even where the feature was forgotten.
pub(super) fn check_attributes(tx: &Transaction<'_>, inode: &Inode) -> Result<()> {
    if xattr::read(tx, inode)?.iter().any(|xattr| xattr.has_inode) {
        return Err(Error::Unsupported(format!(
            "a file with an attribute as `ea_inode` keeps it cannot be edited yet: inode {}",
            inode.nr()
        )));
    }
    Ok(())
}

/// What an inode maps; short links, devices and the like map nothing.
pub(super) fn mapping(tx: &Transaction<'_>, inode: &Inode) -> Result<Mapping> {
    match inode.kind() {
        _ if inode.has(flag::INLINE_DATA) => Ok(Mapping::default()),
        FileType::File | FileType::Directory => map::walk(tx, inode),
        FileType::Symlink if !is_fast_link(tx, inode) => map::walk(tx, inode),
        _ => Ok(Mapping::default()),
    }
}

/// Free all that an inode mapped.
pub(super) fn free_mapping(tx: &mut Transaction<'_>, mapping: Mapping) -> Result<()> {
    for (start, count) in mapping.data {
        tx.free_run(start, count)?;
    }
    for block in mapping.own {
        tx.free_run(block, 1)?;
    }
    Ok(())
}

fn replace(tx: &mut Transaction<'_>, mut inode: Inode, bytes: &[u8]) -> Result<()> {
    let geometry = tx.geometry();
    let block_size = geometry.block_size;
    let len = bytes.len() as u64;
    let old = mapping(tx, &inode)?;
    // An empty file is born without inline data.
    let is_inline = len > 0 && inline::store(tx, &mut inode, bytes)?;
    let count = if is_inline { 0 } else { len.div_ceil(block_size as u64) };
    let free = tx.superblock().free_blocks_count(geometry.is_wide());
    if count > free {
        return Err(Error::NoSpace(format!("blocks needed: {count}, free: {free}")));
    }
    let xattr_blocks = u64::from(inode.file_acl(tx.geometry()).0 != 0);

    let mut grown = 0;
    if !is_inline {
        inline::clear(tx, &mut inode)?;
        grown = fill(tx, &mut inode, bytes)?;
    }
    let sectors = (count + grown + xattr_blocks) * (block_size as u64 / 512);
    if !inode.set_sectors(tx.geometry(), sectors) {
        return Err(Error::NoSpace("a file of 2 TiB".to_owned()));
    }
    inode.set_size(len);
    if len > 0x7FFF_FFFF {
        tx.note_large_file()?;
    }
    inode.set_mtime(tx.now());
    inode.set_ctime(tx.now());
    tx.put_inode(inode)?;
    free_mapping(tx, old)
}

/// Allocate and map blocks for `bytes`. Returns how many blocks the map itself takes.
fn fill(tx: &mut Transaction<'_>, inode: &mut Inode, bytes: &[u8]) -> Result<u64> {
    let block_size = tx.geometry().block_size;
    let mut goal = tx.inode_goal(inode.nr())?;
    let (mut lblk, mut grown, mut rest) = (0_u32, 0, bytes);
    while !rest.is_empty() {
        let want = u32::try_from(rest.len().div_ceil(block_size)).unwrap_or(u32::MAX);
        let (start, count) = tx.alloc_run(goal, want)?;
        let (run, after) = rest.split_at(rest.len().min(count as usize * block_size));
        tx.put_data(start, run);
        grown += map::append(tx, inode, lblk, start, count)?;
        rest = after;
        goal = BlockNr(start.0 + u64::from(count));
        lblk = lblk.checked_add(count).ok_or_else(|| too_long(inode.nr()))?;
    }
    Ok(grown)
}

fn too_long(nr: InodeNr) -> Error {
    Error::NoSpace(format!("inode {nr} cannot have more blocks"))
}
