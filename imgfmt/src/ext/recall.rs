//! What a file system that is only read has been seen to hold: an image does not change while it is open, and whoever walks
//! through a tree by paths asks for the same directories over and over.
//!
//! Kept are inodes, the names of directories that were listed, and a few blocks that were read last: of group descriptors and
//! inode tables, and those that an edit asks for and has not changed. Nothing is kept of what an edit changes.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use crate::error::Result;
use crate::ext::dir::Place;
use crate::ext::inode::Inode;
use crate::ext::nr::{BlockNr, InodeNr};

/// Inodes that are kept: one megabyte of them or two.
const INODES_MAX: usize = 4096;
/// Names that are kept, of all directories together: some megabytes.
const NAMES_MAX: usize = 1 << 16;
/// Blocks that are kept: neighbours in a table are asked for one after another, and an edit walks the same directories.
const BLOCKS_MAX: usize = 32;

/// The names of a directory, and where each stands.
type Names = HashMap<Vec<u8>, Place>;

/// A block, by its number.
type Held = (BlockNr, Rc<[u8]>);

/// What was seen.
#[derive(Default)]
pub(crate) struct Recall {
    inodes: RefCell<HashMap<InodeNr, Inode>>,
    names: RefCell<HashMap<InodeNr, Names>>,
    blocks: RefCell<VecDeque<Held>>,
}

impl Recall {
    /// An inode that was read and found sound.
    pub(crate) fn inode(&self, nr: InodeNr) -> Option<Inode> {
        self.inodes.borrow().get(&nr).cloned()
    }

    /// Keep one.
    pub(crate) fn keep_inode(&self, inode: &Inode) {
        let mut inodes = self.inodes.borrow_mut();
        if inodes.len() >= INODES_MAX {
            inodes.clear();
        }
        inodes.insert(inode.nr(), inode.clone());
    }

    /// Where `name` stands in the directory `dir`, if that was listed: within it, `None` where it is not there.
    pub(crate) fn name(&self, dir: InodeNr, name: &[u8]) -> Option<Option<Place>> {
        Some(self.names.borrow().get(&dir)?.get(name).copied())
    }

    /// Keep all names of a directory.
    pub(crate) fn keep_names<'n>(
        &self,
        dir: InodeNr,
        listed: impl ExactSizeIterator<Item = (&'n [u8], Place)>,
    ) {
        let mut names = self.names.borrow_mut();
        let kept: usize = names.values().map(HashMap::len).sum();
        if kept + listed.len() > NAMES_MAX {
            names.clear();
        }
        if listed.len() > NAMES_MAX {
            return;
        }
        let of_dir = names.entry(dir).or_default();
        for (name, place) in listed {
            // Of a name that stands there twice, the first counts.
            of_dir.entry(name.to_vec()).or_insert(place);
        }
    }

    /// The bytes of a block, read by `read` where they are not at hand.
    pub(crate) fn block(
        &self,
        block: BlockNr,
        read: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Rc<[u8]>> {
        if let Some((_, bytes)) = self.blocks.borrow().iter().find(|(held, _)| *held == block) {
            return Ok(Rc::clone(bytes));
        }
        let bytes: Rc<[u8]> = read()?.into();
        let mut blocks = self.blocks.borrow_mut();
        if blocks.len() >= BLOCKS_MAX {
            blocks.pop_front();
        }
        blocks.push_back((block, Rc::clone(&bytes)));
        Ok(bytes)
    }
}
