//! What keeps a walk through the directories of an image short.
//!
//! A directory has one name. An image may say otherwise: that a directory lies in itself, or that forty of them lie in one
//! another by two names each, which is 2^40 ways. Each is entered once, and the second time is an error.

use std::collections::HashSet;
use std::path::Path;

use imgfmt::{Error, Result};

use super::tree::{Meta, Tree};

/// The longest path to a directory that is entered, in bytes: `PATH_MAX` of the kernel. Each takes its length of memory.
const PATH_MAX: usize = 4096;

/// A walk through a tree, from one top.
#[derive(Debug, Default)]
pub struct Walk {
    entered: HashSet<(u64, u64)>,
}

impl Walk {
    /// Enter the directory at `path`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the walk was there before, [`Error::Unsupported`] where the path is too long.
    pub fn enter(&mut self, tree: &dyn Tree, path: &Path, directory: &Meta) -> Result<()> {
        let shown = path.display();
        if path.as_os_str().len() > PATH_MAX {
            let what = format!("directory `{shown}`: a path of more than {PATH_MAX} bytes");
            return Err(Error::Unsupported(what));
        }
        // On the host, one may be mounted in several places; a FAT, which has no numbers, is checked when it is opened.
        if tree.is_host() || directory.id == (0, 0) || self.entered.insert(directory.id) {
            return Ok(());
        }
        Err(Error::corrupt(format!("directory `{shown}` lies in two places, or in itself")))
    }
}
