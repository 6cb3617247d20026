//! A file whose lock ends with it.
//!
//! A lock of flock(2) belongs to the open file, not to the descriptor: it lasts until the last copy of the descriptor is
//! closed, and a process that forks leaves a copy in its child up to the child's exec, however soon the parent closes its
//! own. Giving the lock back by name ends it for all copies.

#![forbid(unsafe_code)]

use std::fs::File;
use std::ops::Deref;

/// An open file; the lock on it, if any, is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Locked(pub(crate) File);

impl Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Where it fails there was none; closing the file does the rest.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_descriptor_does_not_keep_the_lock() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let locked = Locked(file.reopen().expect("it is there"));
        locked.try_lock().expect("nobody else has it");
        let _of_a_child = locked.try_clone().expect("a descriptor");
        assert!(file.as_file().try_lock().is_err());
        drop(locked);
        file.as_file().try_lock().expect("it is given back");
    }
}
