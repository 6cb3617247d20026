//! Mode, owner and times.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::protected;
use crate::error::{Error, Result};
use crate::ext::edit::transaction::Transaction;
use crate::ext::inode::Inode;
use crate::ext::path::find;
use crate::ext::xattr;

impl Transaction<'_> {
    /// Set the permissions of what is at `path`, behind any symbolic links: the lower twelve bits of `mode`. An ACL
    /// follows.
    pub fn set_mode(&mut self, path: impl AsRef<Path>, mode: u16) -> Result<()> {
        self.change(path.as_ref(), true, |tx, inode| {
            let kind = inode.mode() & 0o170_000;
            inode.base_mut().mode = (kind | mode & 0o7777).into();
            xattr::edit::set_acl_mode(tx, inode, mode)
        })
    }

    /// Set owner and group of what is at `path`, behind any symbolic links. The mode stays, unlike with `chown`, which
    /// takes set-user-ID and set-group-ID away: whoever brings files in from elsewhere sets both, in any order.
    pub fn set_owner(&mut self, path: impl AsRef<Path>, uid: u32, gid: u32) -> Result<()> {
        self.change(path.as_ref(), true, |_, inode| {
            inode.set_owner(uid, gid);
            Ok(())
        })
    }

    /// Set owner and group of what is at `path`, be it a symbolic link.
    pub fn set_symlink_owner(&mut self, path: impl AsRef<Path>, uid: u32, gid: u32) -> Result<()> {
        self.change(path.as_ref(), false, |_, inode| {
            inode.set_owner(uid, gid);
            Ok(())
        })
    }

    /// Set when what is at `path`, behind any symbolic links, was last read and last written.
    ///
    /// An inode of 128 bytes keeps whole seconds from 1901 to 2038, a larger one nanoseconds up to 2310.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where a time is out of that range.
    pub fn set_times(
        &mut self,
        path: impl AsRef<Path>,
        atime: SystemTime,
        mtime: SystemTime,
    ) -> Result<()> {
        let path = path.as_ref();
        self.change(path, true, |_, inode| set_times(inode, path, atime, mtime))
    }

    /// Set when what is at `path`, be it a symbolic link, was last read and last written.
    ///
    /// # Errors
    /// As of [`set_times`](Self::set_times).
    pub fn set_symlink_times(
        &mut self,
        path: impl AsRef<Path>,
        atime: SystemTime,
        mtime: SystemTime,
    ) -> Result<()> {
        let path = path.as_ref();
        self.change(path, false, |_, inode| set_times(inode, path, atime, mtime))
    }

    /// Change the inode at `path`, which no flag protects.
    pub(super) fn change(
        &mut self,
        path: &Path,
        follow: bool,
        f: impl FnOnce(&mut Self, &mut Inode) -> Result<()>,
    ) -> Result<()> {
        self.atomically(|tx| {
            let mut inode = find(tx, path, follow)?;
            protected::check_change(&inode, path)?;
            f(tx, &mut inode)?;
            inode.set_ctime(tx.now());
            tx.put_inode(inode)
        })
    }
}

fn set_times(inode: &mut Inode, path: &Path, atime: SystemTime, mtime: SystemTime) -> Result<()> {
    let (read, written) = (since_epoch(atime), since_epoch(mtime));
    let fits = match (read, written) {
        (Some(read), Some(written)) => inode.set_atime(read) && inode.set_mtime_exactly(written),
        _ => false,
    };
    if fits {
        return Ok(());
    }
    let end = if inode.keeps_nanoseconds() { 2310 } else { 2038 };
    Err(Error::Unsupported(format!(
        "`{}`: times are kept from 1901 to {end} in this file system, no others",
        path.display()
    )))
}

/// Seconds, rounded down, and nanoseconds.
fn since_epoch(time: SystemTime) -> Option<(i64, u32)> {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Some((i64::try_from(after.as_secs()).ok()?, after.subsec_nanos())),
        Err(before) => {
            let before = before.duration();
            let seconds = 0_i64.checked_sub_unsigned(before.as_secs())?;
            match before.subsec_nanos() {
                0 => Some((seconds, 0)),
                nanoseconds => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::since_epoch;

    #[test]
    fn half_a_second_before_1970_is_the_second_before_and_a_half() {
        assert_eq!(since_epoch(UNIX_EPOCH - Duration::from_millis(1500)), Some((-2, 500_000_000)));
        assert_eq!(since_epoch(UNIX_EPOCH - Duration::from_secs(1)), Some((-1, 0)));
        assert_eq!(since_epoch(UNIX_EPOCH + Duration::from_nanos(7)), Some((0, 7)));
    }
}
