//! Device nodes, named pipes and sockets.
//!
//! None of them has content: where a file has its map, a device has its number. Small numbers stand in the first word as
//! they always did, larger ones in the second as Linux 2.6 brought them:
//!
//! ```text
//! 8:1       01 08 00 00 | 00 00 00 00       minor, major
//! 259:300   00 00 00 00 | 2c 03 11 00       minor & 0xff, major << 8, (minor & ~0xff) << 12
//! ```

use std::path::Path;

use super::create::new_inode;
use super::name::free_name;
use crate::error::{Error, Result};
use crate::ext::dir;
use crate::ext::edit::transaction::Transaction;
use crate::ext::inode::FileType;
use crate::ext::ondisk::inode::flag;

/// Numbers that fit the old form end here.
const OLD_END: u32 = 1 << 8;
const MAJOR_END: u32 = 1 << 12;
const MINOR_END: u32 = 1 << 20;

impl Transaction<'_> {
    /// Make a device node, a named pipe or a socket, 0644, owned by root. Pipes and sockets have no number: both are 0.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] where something is there, [`Error::WrongKind`] where `kind` is another, or has no such
    /// number: a major one has twelve bits, a minor one twenty.
    pub fn create_special(
        &mut self,
        path: impl AsRef<Path>,
        kind: FileType,
        major: u32,
        minor: u32,
    ) -> Result<()> {
        let path = path.as_ref();
        let wrong = |what: String| Err(Error::WrongKind { path: path.to_owned(), what });
        let ends = match kind {
            FileType::CharDevice | FileType::BlockDevice => (MAJOR_END, MINOR_END),
            FileType::Fifo | FileType::Socket => (1, 1),
            FileType::File | FileType::Directory | FileType::Symlink => {
                return wrong("only devices, pipes and sockets are special files".to_owned());
            }
        };
        if major >= ends.0 || minor >= ends.1 {
            return wrong(format!("cannot have the number {major}:{minor}"));
        }
        self.atomically(|tx| {
            let (parent, name) = free_name(tx, path, kind)?;
            let mut inode = new_inode(tx, parent, kind, 0o644)?;
            let nr = inode.nr();
            inode.set_flag(flag::EXTENTS, false);
            let block = &mut inode.base_mut().block;
            block.fill(0);
            block[..8].copy_from_slice(&device_words(major, minor));
            tx.put_inode(inode)?;
            dir::edit::insert(tx, parent, &name, nr, kind)
        })
    }
}

/// The first words of `i_block` of a device.
pub(crate) fn device_words(major: u32, minor: u32) -> [u8; 8] {
    let (old, new) = if major < OLD_END && minor < OLD_END {
        (major << 8 | minor, 0)
    } else {
        (0, minor & 0xFF | major << 8 | (minor & !0xFF) << 12)
    };
    let mut words = [0; 8];
    words[..4].copy_from_slice(&old.to_le_bytes());
    words[4..].copy_from_slice(&new.to_le_bytes());
    words
}

#[cfg(test)]
mod tests {
    use super::device_words;

    #[test]
    fn large_numbers_of_devices_stand_in_the_second_word() {
        assert_eq!(device_words(8, 1), [1, 8, 0, 0, 0, 0, 0, 0]);
        // 300 = 0x12c: 2c, then the major number 259 = 0x103, then 1 from bit 20 on.
        assert_eq!(device_words(259, 300), [0, 0, 0, 0, 0x2C, 0x03, 0x11, 0]);
        assert_eq!(device_words(4095, 0xF_FFFF), [0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
    }
}
