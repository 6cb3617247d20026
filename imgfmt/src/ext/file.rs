//! The content of a file, be it mapped or in the inode, and the text of a symbolic link.

use std::io::Write;

use crate::error::{Error, Result};
use crate::ext::blocks::Blocks;
use crate::ext::inode::{FileType, Inode, corrupt};
use crate::ext::map::content::{self, CHUNK};
use crate::ext::map::{self, Mapping};
use crate::ext::ondisk::inode::flag;
use crate::ext::xattr;

/// Write all of a file's content to `out`. Returns its length in bytes.
pub(crate) fn copy(blocks: &impl Blocks, inode: &Inode, out: &mut dyn Write) -> Result<u64> {
    match inode.has(flag::INLINE_DATA) {
        true => copy_inline(blocks, inode, out),
        false => content::copy(blocks, inode, out),
    }
}

fn copy_inline(blocks: &impl Blocks, inode: &Inode, out: &mut dyn Write) -> Result<u64> {
    let geometry = blocks.geometry();
    let (size, block_size) = (inode.size(geometry), geometry.block_size as u64);
    let bytes = xattr::inline_data(blocks, inode)?;
    content::write(inode, out, &bytes)?;
    let mut left = size - bytes.len() as u64;
    // mke2fs makes such files of long ones that are all holes, and the kernel reads zeros.
    if left > 0 && (inode.kind() != FileType::File || u32::try_from(size / block_size).is_err()) {
        return Err(corrupt(inode.nr(), "inline data is shorter than the file"));
    }
    let zeros = vec![0; CHUNK];
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        content::write(inode, out, &zeros[..len])?;
        left -= len as u64;
    }
    Ok(size)
}

/// The first bytes at `offset` or behind it that are not in a hole: where they lie, and at most `cap` of them.
pub(crate) fn next_data(
    blocks: &impl Blocks,
    inode: &Inode,
    offset: u64,
    cap: usize,
) -> Result<Option<(u64, Vec<u8>)>> {
    let geometry = blocks.geometry();
    let (size, block_size) = (inode.size(geometry), geometry.block_size);
    let cap = cap.max(1);
    if inode.has(flag::INLINE_DATA) {
        let bytes = xattr::inline_data(blocks, inode)?;
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
        let rest = rest.filter(|rest| !rest.is_empty());
        return Ok(rest.map(|rest| (offset, rest[..rest.len().min(cap)].to_vec())));
    }
    let mut at = offset - offset % block_size as u64;
    while at < size {
        let lblk = u32::try_from(at / block_size as u64)
            .map_err(|_| corrupt(inode.nr(), &format!("length is {size} bytes")))?;
        let run = map::lookup(blocks, inode, lblk)?;
        let end = at.saturating_add(run.count.saturating_mul(block_size as u64)).min(size);
        let from = offset.max(at);
        let Some(start) = run.start.filter(|_| from < end) else {
            at = end.next_multiple_of(block_size as u64);
            continue;
        };
        let skipped = usize::try_from(from - at).expect("less than a block");
        let len = usize::try_from(end - from).unwrap_or(cap).min(cap);
        let mut bytes = vec![0; (skipped + len).next_multiple_of(block_size)];
        blocks.read_run(start, &mut bytes)?;
        bytes.truncate(skipped + len);
        bytes.drain(..skipped);
        return Ok(Some((from, bytes)));
    }
    Ok(None)
}

/// All of a file's content, which must not be longer than `cap` bytes.
pub(crate) fn read(blocks: &impl Blocks, inode: &Inode, cap: u64) -> Result<Vec<u8>> {
    let size = inode.size(blocks.geometry());
    if size > cap {
        return Err(Error::Unsupported(format!(
            "a file of {size} bytes is not read at once (inode {}, at most {cap})",
            inode.nr()
        )));
    }
    let mut bytes = Vec::new();
    copy(blocks, inode, &mut bytes)?;
    Ok(bytes)
}

/// What a symbolic link leads to. Short ones lie in the inode, where block numbers would be.
pub(crate) fn read_link(blocks: &impl Blocks, inode: &Inode) -> Result<Vec<u8>> {
    let geometry = blocks.geometry();
    let size = inode.size(geometry);
    let len = usize::try_from(size).unwrap_or(usize::MAX);
    if len == 0 || len > geometry.block_size.min(4096) {
        return Err(corrupt(inode.nr(), &format!("symbolic link of {size} bytes")));
    }
    if is_fast_link(blocks, inode) {
        return inode
            .base()
            .block
            .get(..len)
            .map(<[u8]>::to_vec)
            .ok_or_else(|| corrupt(inode.nr(), &format!("symbolic link of {size} bytes")));
    }
    read(blocks, inode, size)
}

/// Whether the inode maps no blocks, since a link's text stands in their place.
pub(crate) fn is_fast_link(blocks: &impl Blocks, inode: &Inode) -> bool {
    let geometry = blocks.geometry();
    let xattrs = if inode.file_acl(geometry).0 == 0 { 0 } else { geometry.cluster_size / 512 };
    !inode.has(flag::INLINE_DATA) && !inode.has(flag::EXTENTS) && inode.sectors(geometry) <= xattrs
}

/// What an inode maps; inline data, short links, devices and the like map nothing.
pub(crate) fn mapping(blocks: &impl Blocks, inode: &Inode) -> Result<Mapping> {
    match inode.kind() {
        _ if inode.has(flag::INLINE_DATA) => Ok(Mapping::default()),
        FileType::File | FileType::Directory => map::walk(blocks, inode),
        FileType::Symlink if !is_fast_link(blocks, inode) => map::walk(blocks, inode),
        _ => Ok(Mapping::default()),
    }
}
