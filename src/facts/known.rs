//! What is known of stock images by their bytes, for as long as this process lives: thousands of bundles may be made from one
//! image, and it is hashed once.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};

use imgfmt::{Image, Storage};

use super::remembered::{self, Remembered};
use crate::digest::nodes::{self, Nodes, Tree};
use crate::digest::tree::{Digest, Step};
use crate::interrupt;

/// Trees of images.
#[derive(Debug, Default)]
pub struct Known {
    images: Mutex<HashMap<Version, Slot>>,
    remembered: Option<Remembered>,
}

/// The tree of one image, once somebody has made it.
#[derive(Clone, Debug, Default)]
pub struct Slot {
    tree: Arc<Mutex<Option<Arc<dyn Nodes>>>>,
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

    /// Where the tree of `image` is kept.
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
            tree: Arc::default(),
            remembered: remembered.cloned().map(|remembered| (remembered, version)),
        });
        Ok(slot.clone())
    }
}

impl Slot {
    /// The tree of `image`, made now if nobody has made it. Who comes meanwhile waits.
    ///
    /// # Errors
    /// Those of [`Tree::of`].
    pub fn tree(&self, image: &Image, step: &Step<'_>) -> io::Result<Arc<dyn Nodes>> {
        let mut kept = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = &*kept {
            return Ok(Arc::clone(tree));
        }
        let remembered = self.remembered.as_ref();
        let tree: Arc<dyn Nodes> = match remembered.and_then(|(all, version)| all.recall(version)) {
            Some(nodes) => Arc::new(nodes),
            None => Arc::new(self.made(image, step)?),
        };
        Ok(Arc::clone(kept.insert(tree)))
    }

    /// The digest of `copy`, which is `image` but for what lies in `changed` (offset and length in bytes).
    ///
    /// # Errors
    /// Those of [`Tree::of`].
    pub fn of_copy<S: Storage + Sync>(
        &self,
        image: &Image,
        copy: &S,
        changed: &[(u64, u64)],
    ) -> io::Result<Digest> {
        let step = |_| interrupt::check_io();
        let tree = self.tree(image, &step)?;
        match nodes::of_copy(&*tree, copy, changed) {
            // What was remembered has been damaged since.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let tree = self.made(image, &step)?;
                let digest = nodes::of_copy(&tree, copy, changed);
                self.keep(tree);
                digest
            }
            outcome => outcome,
        }
    }

    fn made(&self, image: &Image, step: &Step<'_>) -> io::Result<Tree> {
        let tree = Tree::of(image, step)?;
        // Of an image that was written to meanwhile it is of two minds.
        if let Some((all, version)) =
            self.remembered.as_ref().filter(|_| image.check_unchanged().is_ok())
        {
            all.keep(version, &tree);
        }
        Ok(tree)
    }

    /// Keep what was made elsewhere.
    pub fn keep(&self, tree: Tree) {
        *self.tree.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(tree));
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::digest::tree;

    #[test]
    fn what_was_remembered_and_damaged_since_is_made_anew() {
        const MIB: u64 = 1 << 20;
        let home = tempfile::tempdir().unwrap();
        let (path, trees) = (home.path().join("a.img"), home.path().join("trees"));
        let file = File::create(&path).unwrap();
        file.set_len(40 * MIB).unwrap();
        file.write_all_at(b"x", 30 * MIB).unwrap();
        let image = Image::open(&path).unwrap();
        // Long ago, so that it is remembered.
        let (dev, ino, len) = (1, 2, image.len());
        let version = Version { dev, ino, len, mtime: (1000, 0), ctime: (1000, 0) };
        let slot =
            || Slot { tree: Arc::default(), remembered: Some((Remembered::at(&trees), version)) };
        let step = |_| Ok(());
        let first = slot().tree(&image, &step).unwrap().digest();
        let kept = fs::read_dir(&trees).unwrap().next().unwrap().unwrap().path();
        let whole = fs::read(&kept).unwrap();
        let mut copy = vec![0; 40 << 20];
        (copy[30 << 20], copy[39 << 20]) = (b'x', b'y');
        let expected = tree::of_storage(&copy, &step).unwrap();
        let cut = (0..=whole.len()).step_by(1000).map(|end| whole[..end].to_vec());
        // The hash of the piece that has data, in the fourth group below the highest level.
        let data = 4096 * 5 + 30 * 16 % 128 * 32;
        let flipped =
            whole.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == data)).collect();
        for damaged in cut.chain([flipped]) {
            fs::write(&kept, &damaged).unwrap();
            let slot = slot();
            assert_eq!(slot.tree(&image, &step).unwrap().digest(), first);
            assert_eq!(slot.of_copy(&image, &copy, &[(39 * MIB, 1)]).unwrap(), expected);
            // Whatever was read of it is as it was, or made anew.
            let read = slot.of_copy(&image, &copy, &[(39 * MIB, 1), (30 * MIB, 1)]).unwrap();
            assert_eq!(read, expected);
        }
    }
}
