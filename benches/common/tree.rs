//! The tree that most images get.

use std::fs;
use std::path::{Path, PathBuf};

/// A tree in `directory` that has an `/etc/fstab`.
pub(crate) fn with_fstab(directory: &Path) -> PathBuf {
    let tree = directory.join("tree");
    fs::create_dir_all(tree.join("etc")).expect("a directory");
    fs::write(tree.join("etc/fstab"), "proc /proc proc defaults 0 0\n").expect("a file");
    tree
}
