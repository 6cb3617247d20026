//! Where blocks come from: the file system as it is, or a transaction that sees its own edits.
//!
//! Every reader is written once, against [`Blocks`].

use std::borrow::Cow;
use std::ops::Range;

use crate::error::Result;
use crate::ext::geometry::Geometry;
use crate::ext::nr::BlockNr;
use crate::ext::ondisk::superblock::Superblock;
use crate::ext::recall::Recall;

/// Blocks of one file system.
pub(crate) trait Blocks {
    /// Its shape.
    fn geometry(&self) -> &Geometry;

    /// Its superblock, with the counts as they are now.
    fn superblock(&self) -> &Superblock;

    /// One block, whole. Any block of the volume may be asked for, whatever it is used for.
    fn read_block(&self, block: BlockNr) -> Result<Cow<'_, [u8]>>;

    /// Fill `buf`, whole blocks, from `first` on.
    fn read_run(&self, first: BlockNr, buf: &mut [u8]) -> Result<()>;

    /// Some bytes of a block of group descriptors or inodes.
    fn read_part(&self, block: BlockNr, part: Range<usize>) -> Result<Vec<u8>> {
        Ok(self.read_block(block)?[part].to_vec())
    }

    /// What was seen, where nothing changes.
    fn recall(&self) -> Option<&Recall> {
        None
    }
}
