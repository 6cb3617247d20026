//! Symbolic links, and files without content: devices, pipes, sockets.

use super::{FindingKind, Place, Step, Walk};
use crate::ext::blocks::Blocks;
use crate::ext::file;
use crate::ext::inode::{FileType, Inode};
use crate::ext::map;
use crate::ext::ondisk::inode::flag;

impl Walk<'_, '_> {
    /// Flags that only files and directories have; a link's text; a device's numbers.
    pub(super) fn special(&mut self, inode: &Inode, kind: FileType) -> Step {
        let place = Place::Inode(inode.nr());
        if inode.has(flag::IMMUTABLE) || inode.has(flag::APPEND) {
            let what = "immutable or append-only, but no file or directory";
            self.add(FindingKind::Inode, place, what)?;
        }
        if kind == FileType::Symlink {
            return self.link_text(inode);
        }
        if inode.has(flag::EXTENTS) || inode.has(flag::INLINE_DATA) {
            self.add(FindingKind::Inode, place, "a file without content, but flagged as mapped")?;
        }
        // What stands behind a device's number was left there by older kernels, and means nothing.
        Ok(())
    }

    fn link_text(&mut self, inode: &Inode) -> Step {
        let place = Place::Inode(inode.nr());
        let geometry = self.geometry();
        let size = inode.size(geometry);
        if inode.has(flag::ENCRYPT) || inode.has(flag::INLINE_DATA) {
            // An encrypted text is any bytes; inline data is read with the attributes.
            return Ok(());
        }
        let len = usize::try_from(size).unwrap_or(usize::MAX);
        let bytes = if file::is_fast_link(self.fs, inode) {
            if inode.has(flag::EXTENTS) {
                self.add(FindingKind::Inode, place, "a short link, but flagged as mapped")?;
            }
            inode.base().block.to_vec()
        } else {
            let run = map::lookup(self.fs, inode, 0);
            let Some(run) = self.found(FindingKind::Map, place, run)? else { return Ok(()) };
            let Some(start) = run.start.filter(|&start| self.is_within(start, 1)) else {
                return self.add(FindingKind::Inode, place, "a symbolic link without a block");
            };
            self.fs.read_block(start)?.into_owned()
        };
        let text = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        if len == 0 || len >= bytes.len() || text != len {
            let what = format!("a symbolic link of {size} bytes, its text has {text}");
            self.add(FindingKind::Inode, place, what)?;
        }
        Ok(())
    }
}
