//! What is known of stock images by their bytes, for as long as this process lives: thousands of bundles may be made from one
//! image, and it is hashed once.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};

use imgfmt::Image;

use super::remembered::{self, Remembered};
use crate::digest::tree::{Leaves, Step};

/// Leaves of images.
#[derive(Debug, Default)]
pub struct Known {
    images: Mutex<HashMap<Version, Slot>>,
    remembered: Option<Remembered>,
}

/// Leaves of one image, once somebody has made them.
#[derive(Clone, Debug, Default)]
pub struct Slot {
    leaves: Arc<Mutex<Option<Arc<Leaves>>>>,
    remembered: Option<(Remembered, Version)>,
}

/// A file with the bytes that it has now. Whoever writes to it changes `ctime`, which nobody can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Version {
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) len: u64,
    pub(super) mtime: (i64, i64),
    pub(super) ctime: (i64, i64),
}

impl Known {
    /// What this user has remembered, too.
    pub fn of_user() -> Self {
        Self { images: Mutex::default(), remembered: Remembered::of_user() }
    }

    /// Where the leaves of `image` are kept.
    ///
    /// # Errors
    /// Where the host says nothing of the file that is open.
    pub fn slot(&self, image: &Image) -> io::Result<Slot> {
        let found = image.metadata()?;
        let version = Version {
            dev: found.dev(),
            ino: found.ino(),
            len: found.len(),
            mtime: (found.mtime(), found.mtime_nsec()),
            ctime: (found.ctime(), found.ctime_nsec()),
        };
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = self.remembered.as_ref().filter(|_| remembered::serves(image));
        let slot = images.entry(version).or_insert_with(|| Slot {
            leaves: Arc::default(),
            remembered: remembered.cloned().map(|remembered| (remembered, version)),
        });
        Ok(slot.clone())
    }
}

impl Slot {
    /// The leaves of `image`, made now if nobody has made them. Who comes meanwhile waits.
    ///
    /// # Errors
    /// Those of [`Leaves::of`].
    pub fn leaves(&self, image: &Image, step: &Step<'_>) -> io::Result<Arc<Leaves>> {
        let mut kept = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaves) = &*kept {
            return Ok(Arc::clone(leaves));
        }
        let remembered = self.remembered.as_ref();
        let leaves = match remembered.and_then(|(all, version)| all.recall(version)) {
            Some(leaves) => leaves,
            None => {
                let leaves = Leaves::of(image, step)?;
                // Of an image that was written to meanwhile they are of two minds.
                if let Some((all, version)) = remembered.filter(|_| image.check_unchanged().is_ok())
                {
                    all.keep(version, &leaves);
                }
                leaves
            }
        };
        Ok(Arc::clone(kept.insert(Arc::new(leaves))))
    }

    /// Keep what was made elsewhere.
    pub fn keep(&self, leaves: Leaves) {
        *self.leaves.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(leaves));
    }
}
