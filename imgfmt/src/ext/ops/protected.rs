//! What `chattr +i` and `chattr +a` forbid, to root as to anybody.
//!
//! An immutable inode is neither changed nor given, stripped of or moved to another name; an append-only file may grow
//! and nothing else. In a directory, the one forbids every change of names and the other lets them be added.

use std::path::Path;

use crate::error::{Error, Result};
use crate::ext::inode::Inode;
use crate::ext::ondisk::inode::flag;

const IMMUTABLE: &str = "is immutable (`chattr -i` lifts that)";
const APPEND: &str = "is append-only (`chattr -a` lifts that)";
const IN_IMMUTABLE: &str = "lies in an immutable directory (`chattr -i` lifts that)";
const IN_APPEND: &str = "lies in an append-only directory (`chattr -a` lifts that)";

fn check(inode: &Inode, path: &Path, flags: &[(u32, &'static str)]) -> Result<()> {
    match flags.iter().find(|&&(bit, _)| inode.has(bit)) {
        Some(&(_, what)) => Err(Error::Protected { path: path.to_owned(), what }),
        None => Ok(()),
    }
}

/// Content, owner, times, attributes and names may change.
pub(super) fn check_change(inode: &Inode, path: &Path) -> Result<()> {
    check(inode, path, &[(flag::IMMUTABLE, IMMUTABLE), (flag::APPEND, APPEND)])
}

/// Content may grow.
pub(super) fn check_append(inode: &Inode, path: &Path) -> Result<()> {
    check(inode, path, &[(flag::IMMUTABLE, IMMUTABLE)])
}

/// `dir` may be given the name `path`.
pub(super) fn check_insert(dir: &Inode, path: &Path) -> Result<()> {
    check(dir, path, &[(flag::IMMUTABLE, IN_IMMUTABLE)])
}

/// The name `path` may be taken from `dir`.
pub(super) fn check_remove(dir: &Inode, inode: &Inode, path: &Path) -> Result<()> {
    check(dir, path, &[(flag::IMMUTABLE, IN_IMMUTABLE), (flag::APPEND, IN_APPEND)])?;
    check_change(inode, path)
}
