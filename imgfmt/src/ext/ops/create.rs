//! New inodes: what they are born with.

use std::path::Path;

use super::name::{add_subdir, free_name};
use super::protected;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::checksum;
use crate::ext::dir;
use crate::ext::edit::transaction::Transaction;
use crate::ext::feature::Incompat;
use crate::ext::inode::{self, FileType, Inode};
use crate::ext::map;
use crate::ext::nr::InodeNr;
use crate::ext::ondisk::inode::flag;
use crate::ext::path::{Target, resolve};
use crate::ext::xattr::{self, Xattr, acl};

const SET_GID: u16 = 0o2000;

impl Transaction<'_> {
    /// Make a directory, 0755, owned by root, in one that is there.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] where something is there, [`Error::NotFound`] where the directory above is not.
    pub fn create_dir(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.atomically(|tx| {
            let (parent, name) = free_name(tx, path, FileType::Directory)?;
            make_dir(tx, parent, &name)
        })
    }

    /// Make a directory and those above it that are missing. One that is there stays as it is.
    ///
    /// # Errors
    /// [`Error::NotADirectory`] where something else is in the way.
    pub fn create_dir_all(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.atomically(|tx| {
            // Without `/` and `.` at the end: what they ask for is not there yet.
            let mut above: Vec<&Path> = path.components().as_path().ancestors().collect();
            above.retain(|path| !path.as_os_str().is_empty());
            for path in above.into_iter().rev() {
                match resolve(tx, path, true)? {
                    Target::Found { nr, .. } if inode::read(tx, nr)?.is_dir() => {}
                    Target::Found { .. } => return Err(Error::NotADirectory(path.to_owned())),
                    Target::Missing { parent, name } => {
                        protected::check_insert(&inode::read(tx, parent)?, path)?;
                        make_dir(tx, parent, &name)?;
                    }
                }
            }
            Ok(())
        })
    }

    /// Make a symbolic link at `path` that says `target`, whatever that leads to.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] where something is there, [`Error::InvalidPath`] where `target` is empty or too long.
    pub fn symlink(&mut self, target: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<()> {
        use std::os::unix::ffi::OsStrExt;
        let (target, path) = (target.as_ref(), path.as_ref());
        let bytes = target.as_os_str().as_bytes();
        // One byte is left for the NUL that the kernel puts behind it.
        let room = self.geometry().block_size.min(4096) - 1;
        if bytes.is_empty() || bytes.len() > room || bytes.contains(&0) {
            let what = "not a text that a symbolic link can have";
            return Err(Error::InvalidPath { path: target.to_owned(), what });
        }
        self.atomically(|tx| {
            let (parent, name) = free_name(tx, path, FileType::Symlink)?;
            make_link(tx, parent, &name, bytes)
        })
    }
}

/// Make a regular file without content.
pub(super) fn make_file(tx: &mut Transaction<'_>, parent: InodeNr, name: &[u8]) -> Result<InodeNr> {
    let inode = new_inode(tx, parent, FileType::File, 0o644)?;
    let nr = inode.nr();
    tx.put_inode(inode)?;
    dir::edit::insert(tx, parent, name, nr, FileType::File)?;
    Ok(nr)
}

fn make_dir(tx: &mut Transaction<'_>, parent: InodeNr, name: &[u8]) -> Result<()> {
    add_subdir(tx, parent)?;
    let mut inode = new_inode(tx, parent, FileType::Directory, 0o755)?;
    inode.base_mut().links_count = 2.into();
    let nr = inode.nr();
    dir::edit::make_empty(tx, &mut inode, parent)?;
    tx.put_inode(inode)?;
    dir::edit::insert(tx, parent, name, nr, FileType::Directory)
}

fn make_link(tx: &mut Transaction<'_>, parent: InodeNr, name: &[u8], target: &[u8]) -> Result<()> {
    let mut inode = new_inode(tx, parent, FileType::Symlink, 0o777)?;
    let nr = inode.nr();
    inode.set_size(target.len() as u64);
    if target.len() < inode.base().block.len() {
        inode.set_flag(flag::EXTENTS, false);
        let block = &mut inode.base_mut().block;
        block.fill(0);
        block[..target.len()].copy_from_slice(target);
    } else {
        let (block, _) = tx.alloc_run(tx.inode_goal(nr)?, 1)?;
        // A link's text is metadata to the kernel: it goes through the journal.
        let mut bytes = target.to_vec();
        bytes.resize(tx.geometry().block_size, 0);
        tx.put_block(block, bytes);
        let grown = 1 + map::edit::append(tx, &mut inode, 0, block, 1)?;
        let sectors = inode.sectors(tx.geometry());
        let sectors = sectors + grown * (tx.geometry().block_size as u64 / 512);
        if !inode.set_sectors(tx.geometry(), sectors) {
            return Err(inode::corrupt(nr, "space taken does not fit the inode"));
        }
    }
    tx.put_inode(inode)?;
    dir::edit::insert(tx, parent, name, nr, FileType::Symlink)
}

/// An inode with one link, no content, and what it inherits. It is still to be stored.
pub(super) fn new_inode(
    tx: &mut Transaction<'_>,
    parent: InodeNr,
    kind: FileType,
    permissions: u16,
) -> Result<Inode> {
    let dir = inode::read(tx, parent)?;
    let nr = tx.alloc_inode(parent, kind == FileType::Directory)?;
    let geometry = tx.geometry();
    let mut inode = Inode::new(geometry, nr);
    inode.set_extra_isize(geometry.extra_isize);
    let mut mode = kind.mode_bits() | permissions;
    let mut gid = 0;
    if dir.mode() & SET_GID != 0 {
        gid = dir.gid();
        if kind == FileType::Directory {
            mode |= SET_GID;
        }
    }
    let inherited = match kind {
        FileType::Directory => flag::INHERITED_BY_DIRS,
        FileType::File => flag::INHERITED_BY_FILES,
        _ => flag::INHERITED_BY_OTHERS,
    };
    let flags = dir.base().flags.get() & inherited;
    let base = inode.base_mut();
    base.mode = mode.into();
    base.links_count = 1.into();
    base.flags = flags.into();
    // Not random, so that the same edit gives the same bytes; different for each file and each time of edit.
    let seed = checksum::crc32c(!0, &geometry.uuid);
    let seed = checksum::crc32c(seed, &tx.now().to_le_bytes());
    inode.base_mut().generation = checksum::crc32c(seed, &nr.get().to_le_bytes()).into();
    inode.set_owner(0, gid);
    inode.set_born(tx.now());
    if let Some(projid) = dir.projid().filter(|_| dir.has(flag::PROJINHERIT)) {
        inode.set_projid(projid);
    }
    inode.set_flag(flag::EXTENTS, geometry.features.incompat.contains(Incompat::EXTENT));
    map::edit::clear(&mut inode);
    let xattrs = inherited_xattrs(tx, &dir, &mut inode)?;
    xattr::edit::store_new(tx, &mut inode, xattrs)?;
    Ok(inode)
}

/// The SELinux label of the directory, and its default ACL, which may narrow the mode.
fn inherited_xattrs(tx: &Transaction<'_>, dir: &Inode, inode: &mut Inode) -> Result<Vec<Xattr>> {
    let mut born_with = Vec::new();
    for xattr in xattr::read(tx, dir)? {
        if xattr.index == xattr::INDEX_SECURITY && xattr.name == b"selinux" {
            born_with.push(xattr);
        } else if xattr.index == xattr::INDEX_ACL_DEFAULT && inode.kind() != FileType::Symlink {
            let (own, mode) = acl::inherit(&xattr.value, inode.mode())
                .ok_or_else(|| inode::corrupt(dir.nr(), "default ACL is not an ACL"))?;
            inode.base_mut().mode = mode.into();
            let access = |value| Xattr {
                index: xattr::INDEX_ACL_ACCESS,
                name: Vec::new(),
                value,
                has_inode: false,
            };
            born_with.extend(own.map(access));
            if inode.is_dir() {
                born_with.push(xattr);
            }
        }
    }
    Ok(born_with)
}
