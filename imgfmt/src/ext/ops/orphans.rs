//! Orphans: what a mount does for files that were open when the machine stopped.
//!
//! The superblock names the first of a list, whose inodes each name the next one where others keep the time of their
//! deletion; with `orphan_file` a file names them all. One without names was deleted while somebody had it open, and is
//! freed. One that has a name was being made shorter, and loses what lies behind its end.
//!
//! ```text
//! s_last_orphan 14 → inode 14 (links 0, i_dtime 12) → inode 12 (links 1, i_dtime 0): 14 is freed, 12 is cut
//! ```

use std::collections::BTreeSet;

use super::remove::discard;
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::edit::transaction::Transaction;
use crate::ext::feature::RoCompat;
use crate::ext::file::is_fast_link;
use crate::ext::inline;
use crate::ext::inode::{self, FileType, Inode};
use crate::ext::map;
use crate::ext::nr::InodeNr;
use crate::ext::ondisk::inode::flag;
use crate::ext::orphan;
use crate::ext::space::bitmap;
use crate::ext::space::group;

/// The most orphans that are freed with an edit, which holds what it changes in memory.
const ORPHANS_MAX: usize = 10_000;

impl Transaction<'_> {
    /// Free the orphans, of the list and of the orphan file.
    ///
    /// # Errors
    /// [`Error::NotClean`] where the list is damaged or longer than any that a crash leaves.
    pub(crate) fn free_orphans(&mut self) -> Result<()> {
        let orphans = self.orphans()?;
        if orphans.is_empty() {
            return Ok(());
        }
        for nr in orphans {
            release(self, nr)?;
        }
        self.superblock_mut().last_orphan = 0.into();
        if has_file(self) { orphan::clear(self) } else { Ok(()) }
    }

    /// The orphans, each of them once: those of the list in its order, then those of the orphan file.
    ///
    /// # Errors
    /// Those of [`Transaction::free_orphans`].
    pub(crate) fn orphans(&self) -> Result<Vec<InodeNr>> {
        let mut seen = BTreeSet::new();
        let mut orphans = list(self, &mut seen)?;
        let in_file = if has_file(self) { orphan::entries(self, ORPHANS_MAX)? } else { Vec::new() };
        for &nr in &in_file {
            note(self, nr, &mut seen)?;
        }
        orphans.extend(in_file);
        Ok(orphans)
    }
}

fn has_file(tx: &Transaction<'_>) -> bool {
    tx.geometry().has(RoCompat::ORPHAN_PRESENT)
}

/// The orphans of the list, in its order.
fn list(tx: &Transaction<'_>, seen: &mut BTreeSet<InodeNr>) -> Result<Vec<InodeNr>> {
    let mut list = Vec::new();
    let mut next = tx.superblock().last_orphan.get();
    while next != 0 {
        let nr = InodeNr(next);
        note(tx, nr, seen)?;
        list.push(nr);
        next = inode::read_any(tx, nr)?.base().dtime.get();
    }
    Ok(list)
}

/// An orphan is an inode in use, not one of the file system's own, and named once.
fn note(tx: &Transaction<'_>, nr: InodeNr, seen: &mut BTreeSet<InodeNr>) -> Result<()> {
    let (geometry, refused) =
        (tx.geometry(), |what| Err(Error::not_clean(&format!("orphan inode {nr} {what}"))));
    if nr.0 < geometry.first_inode || nr.0 > geometry.inode_count {
        return refused("cannot be one");
    }
    let (group, index) = geometry.group_of_inode(nr)?;
    if !bitmap::get(&bitmap::inodes(tx, &group::read(tx, group)?)?, index) {
        return refused("is free");
    }
    if !seen.insert(nr) {
        return refused("is named twice");
    }
    if seen.len() > ORPHANS_MAX {
        return Err(Error::not_clean(&format!("there are more than {ORPHANS_MAX} orphan inodes")));
    }
    Ok(())
}

fn release(tx: &mut Transaction<'_>, nr: InodeNr) -> Result<()> {
    let inode = inode::read_any(tx, nr)?;
    if FileType::from_mode(inode.mode()).is_none() {
        return Err(Error::not_clean(&format!("orphan inode {nr} is no file")));
    }
    match inode.links_count() {
        0 => discard(tx, inode),
        _ => cut(tx, inode),
    }
}

/// Take away what lies behind the end of a file.
fn cut(tx: &mut Transaction<'_>, mut inode: Inode) -> Result<()> {
    let nr = inode.nr();
    for (bit, feature) in [(flag::VERITY, "verity"), (flag::EA_INODE, "ea_inode")] {
        if inode.has(bit) {
            return Err(Error::Unsupported(format!(
                "an orphan inode with the feature `{feature}` cannot be cut yet: inode {nr}"
            )));
        }
    }
    let maps = match inode.kind() {
        FileType::File | FileType::Directory => true,
        FileType::Symlink => !is_fast_link(tx, &inode),
        _ => return Err(Error::not_clean(&format!("orphan inode {nr} cannot be shorter"))),
    };
    if inode.has(flag::INLINE_DATA) {
        if inode.kind() == FileType::File {
            inline::cut(tx, &mut inode)?;
        }
    } else if maps {
        let block_size = tx.geometry().block_size as u64;
        let size = inode.size(tx.geometry());
        if let Ok(first) = u32::try_from(size.div_ceil(block_size)) {
            // Whoever has no key cannot tell what zeros are.
            if !inode.has(flag::ENCRYPT) {
                clear_end(tx, &inode, size)?;
            }
            map::edit::truncate(tx, &mut inode, first)?;
        }
        inode.set_flag(flag::EOFBLOCKS, false);
    }
    // Where the list goes on.
    inode.base_mut().dtime = 0.into();
    tx.put_inode(inode)
}

/// Clear the last block behind the end of the file, as a mount does: whoever makes the file longer expects zeros there.
fn clear_end(tx: &mut Transaction<'_>, inode: &Inode, size: u64) -> Result<()> {
    let block_size = tx.geometry().block_size as u64;
    let Ok(last) = u32::try_from(size / block_size) else { return Ok(()) };
    let end = usize::try_from(size % block_size).expect("less than a block");
    if end == 0 {
        return Ok(());
    }
    let Some(block) = map::lookup(tx, inode, last)?.start else { return Ok(()) };
    group::check_not_metadata(tx, block, 1)?;
    if tx.read_block(block)?[end..].iter().any(|&byte| byte != 0) {
        tx.edit_block(block, |bytes| bytes[end..].fill(0))?;
    }
    Ok(())
}
