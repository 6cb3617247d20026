//! Growing a map of block numbers at its end.

use super::indirect::{number, path};
use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::edit::transaction::Transaction;
use crate::ext::inode::Inode;
use crate::ext::nr::BlockNr;

/// Map `count` blocks from `start` on at `lblk`. Returns how many blocks of numbers were added.
pub(crate) fn append(
    tx: &mut Transaction<'_>,
    inode: &mut Inode,
    lblk: u32,
    start: BlockNr,
    count: u32,
) -> Result<u64> {
    let mut grown = 0;
    for i in 0..u64::from(count) {
        let number = u32::try_from(start.0 + i).map_err(|_| {
            Error::NoSpace("a file without extents cannot reach past block 2^32".to_owned())
        })?;
        grown += set(tx, inode, u64::from(lblk) + i, number)?;
    }
    Ok(grown)
}

fn set(tx: &mut Transaction<'_>, inode: &mut Inode, lblk: u64, value: u32) -> Result<u64> {
    let path = path(tx.geometry().block_size, lblk)
        .ok_or_else(|| Error::NoSpace("a file without extents cannot be that large".to_owned()))?;
    let mut grown = 0;
    // Where the number stands that leads on: in the inode, then in a block.
    let (mut holder, mut at) = (None, path.slot);
    for index in path.indexes {
        let next = match holder {
            None => number(&inode.base().block, at),
            Some(block) => number(&tx.read_block(block)?, at),
        };
        let block = match next {
            0 => {
                let block = new_block(tx, inode, value)?;
                let nr = u32::try_from(block.0).expect("new_block looked");
                put(tx, inode, holder, at, nr)?;
                grown += 1;
                block
            }
            _ => {
                let block = BlockNr(next.into());
                tx.geometry().check_data(block, 1)?;
                block
            }
        };
        (holder, at) = (Some(block), index);
    }
    put(tx, inode, holder, at, value)?;
    Ok(grown)
}

fn new_block(tx: &mut Transaction<'_>, inode: &Inode, near: u32) -> Result<BlockNr> {
    let goal = if near == 0 { tx.inode_goal(inode.nr())? } else { BlockNr(near.into()) };
    let block = tx.alloc_meta(goal)?;
    if u32::try_from(block.0).is_err() {
        return Err(Error::NoSpace(
            "a file without extents cannot reach past block 2^32".to_owned(),
        ));
    }
    tx.put_block(block, vec![0; tx.geometry().block_size]);
    Ok(block)
}

fn put(
    tx: &mut Transaction<'_>,
    inode: &mut Inode,
    holder: Option<BlockNr>,
    index: usize,
    value: u32,
) -> Result<()> {
    let bytes = value.to_le_bytes();
    let range = index * 4..index * 4 + 4;
    match holder {
        None => inode.base_mut().block[range].copy_from_slice(&bytes),
        Some(block) => tx.edit_block(block, |array| array[range].copy_from_slice(&bytes))?,
    }
    Ok(())
}
