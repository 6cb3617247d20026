//! Trees of stock images, remembered from one process to the next: most images are used many times, and to hash one takes
//! far longer than to lay an edit over it.
//!
//! In `$XDG_CACHE_HOME/autoxen/trees` (or `~/.cache/…`), which only its user may read or write, there is a file for each
//! image, by device and inode; `nodes_file` says what is in it.
//!
//! It serves the manifest of a bundle, and never a signature: what is verified is hashed. An image counts as the same where
//! length and times are the same; who writes to a file changes its `ctime`, which nobody can set, but its clock ticks slowly, and
//! a page of a map that is dirty may be written again unnoticed. So an image that was changed in the last minute is not
//! remembered, and none on a file system that is not known to note what is written through a map: tmpfs does not. What cannot
//! be read, or written, is no error: the image is hashed then.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Metadata, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use imgfmt::Image;
use rustix::fs::OFlags;

use super::known::Version;
use super::nodes_file::{self, NodesFile};
use crate::digest::nodes::Tree;

/// How long an image must not have been changed, in seconds.
const QUIET: u64 = 60;
/// How many images are remembered, and in how many bytes of the host's.
const IMAGES_MAX: usize = 256;
const BYTES_MAX: u64 = 1 << 30;

/// Where they are kept.
#[derive(Clone, Debug)]
pub struct Remembered {
    directory: PathBuf,
}

impl Remembered {
    /// Where this user's are; nowhere for who has no home.
    pub fn of_user() -> Option<Self> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let caches =
            absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
        // Root by sudo, with a user's variables, keeps out: that user says what lies there.
        let held = caches.ancestors().take(2).find_map(|directory| fs::metadata(directory).ok())?;
        is_of_user(&held).then(|| Self { directory: caches.join("autoxen/trees") })
    }

    /// Those in a directory of a test's.
    #[cfg(test)]
    pub(super) fn at(directory: &Path) -> Self {
        Self { directory: directory.into() }
    }

    /// Whether both directories are there, ours alone, and no links.
    fn is_own(&self) -> bool {
        let mut found = self.directory.ancestors().take(2).map(fs::symlink_metadata);
        found.all(|found| found.is_ok_and(|found| found.is_dir() && is_of_user(&found)))
    }

    /// The tree of an image as it is now, if it was kept.
    pub(super) fn recall(&self, version: &Version) -> Option<NodesFile> {
        if !is_quiet(version) || !self.is_own() {
            return None;
        }
        let nofollow = OFlags::NOFOLLOW.bits().cast_signed();
        let file =
            OpenOptions::new().read(true).custom_flags(nofollow).open(self.file(version)).ok()?;
        let found = file.metadata().ok()?;
        if !found.is_file() || !is_of_user(&found) {
            return None;
        }
        NodesFile::open(file, version)
    }

    /// Keep the tree of an image as it is now.
    pub(super) fn keep(&self, version: &Version, tree: &Tree) {
        if is_quiet(version) {
            // To be slow the next time is all that comes of it.
            let _ = self.write(version, tree);
        }
    }

    fn file(&self, version: &Version) -> PathBuf {
        self.directory.join(format!("{:x}-{:x}", version.dev, version.ino))
    }

    fn write(&self, version: &Version, tree: &Tree) -> std::io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        if !self.is_own() {
            return Ok(());
        }
        let file = tempfile::Builder::new()
            .prefix(".new-")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(&self.directory)?;
        if !nodes_file::write(file.as_file(), version, tree)? {
            return Ok(());
        }
        file.persist(self.file(version))?;
        forget_old(&self.directory)
    }
}

/// Whether `image` lies on a file system that notes each write in `ctime`, those through a map as well.
pub(super) fn serves(image: &Image) -> bool {
    // f_type of ext2, ext3 and ext4, of xfs and of btrfs.
    const KNOWN: [u64; 3] = [0xef53, 0x5846_5342, 0x9123_683e];
    image.file_system().is_some_and(|kind| KNOWN.contains(&kind))
}

/// Whether nobody has changed the image for a while.
fn is_quiet(version: &Version) -> bool {
    let changed = u64::try_from(version.ctime.0.max(version.mtime.0));
    let changed = changed.ok().and_then(|s| UNIX_EPOCH.checked_add(Duration::from_secs(s)));
    let age = changed.and_then(|changed| SystemTime::now().duration_since(changed).ok());
    age.is_some_and(|age| age.as_secs() > QUIET)
}

/// Whether it belongs to this user, and nobody else may write to it.
fn is_of_user(found: &Metadata) -> bool {
    found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0
}

/// Remove those that were kept first, where there are too many, or too long ones.
fn forget_old(directory: &Path) -> std::io::Result<()> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if is_ours(&entry.file_name()) {
            let found = entry.metadata()?;
            kept.push((found.modified()?, found.blocks() * 512, entry.path()));
        }
    }
    kept.sort();
    let (mut count, mut bytes) = (0, 0);
    kept.iter().rev().try_for_each(|(_, len, path)| {
        (count, bytes) = (count + 1, bytes + len);
        if count > IMAGES_MAX || bytes > BYTES_MAX { fs::remove_file(path) } else { Ok(()) }
    })
}

/// Whether we give files such a name: two numbers in hexadecimal digits.
fn is_ours(name: &OsStr) -> bool {
    let is_number = |text: &str| u64::from_str_radix(text, 16).is_ok();
    let numbers = name.to_str().and_then(|name| name.split_once('-'));
    numbers.is_some_and(|(dev, ino)| is_number(dev) && is_number(ino))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::digest::nodes::Nodes;
    use crate::digest::tree::Digest;

    fn version(len: u64) -> Version {
        Version { dev: 1, ino: 2, len, mtime: (1000, 5), ctime: (1001, 6) }
    }

    fn tree() -> Tree {
        let mut bytes = vec![0; 3 << 20];
        bytes[0] = 1;
        bytes[2 << 20] = 2;
        Tree::of(&bytes, &|_| Ok(())).unwrap()
    }

    fn recalled(remembered: &Remembered, version: &Version) -> Option<Digest> {
        remembered.recall(version).map(|nodes| nodes.digest())
    }

    #[test]
    fn a_tree_is_remembered_for_the_same_image_alone() {
        let home = tempfile::tempdir().unwrap();
        let remembered = Remembered { directory: home.path().join("autoxen/trees") };
        let (version, tree) = (version(3 << 20), tree());
        let digest = Some(tree.digest());
        assert_eq!(recalled(&remembered, &version), None);
        remembered.keep(&version, &tree);
        assert_eq!(recalled(&remembered, &version), digest);
        for other in [
            Version { dev: 2, ..version },
            Version { ino: 3, ..version },
            Version { len: (3 << 20) - 1, ..version },
            Version { mtime: (1000, 6), ..version },
            Version { ctime: (1002, 6), ..version },
        ] {
            assert_eq!(recalled(&remembered, &other), None, "{other:?}");
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let young = Version { ctime: (i64::try_from(now).unwrap(), 0), ..version };
        remembered.keep(&young, &tree);
        assert_eq!(recalled(&remembered, &young), None);
        assert_eq!(recalled(&remembered, &version), digest);
    }

    #[test]
    fn what_was_damaged_or_is_open_to_others_is_not_believed() {
        let home = tempfile::tempdir().unwrap();
        let remembered = Remembered { directory: home.path().join("trees") };
        DirBuilder::new().mode(0o700).create(home.path().join("trees")).unwrap();
        let (version, tree) = (version(3 << 20), tree());
        let digest = Some(tree.digest());
        remembered.keep(&version, &tree);
        let path = remembered.file(&version);
        let whole = fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        damaged[0] ^= 1;
        fs::write(&path, &damaged).unwrap();
        assert_eq!(recalled(&remembered, &version), None);
        fs::write(&path, &whole).unwrap();
        assert_eq!(recalled(&remembered, &version), digest);
        fs::set_permissions(&path, Permissions::from_mode(0o620)).unwrap();
        assert_eq!(recalled(&remembered, &version), None);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        fs::rename(&path, home.path().join("trees/elsewhere")).unwrap();
        symlink("elsewhere", &path).unwrap();
        assert_eq!(recalled(&remembered, &version), None);
        // Nor is a directory that is a link, or that others may write to.
        let linked = Remembered { directory: home.path().join("linked") };
        fs::write(&path, &whole).unwrap_or_default();
        symlink("trees", &linked.directory).unwrap();
        linked.keep(&version, &self::tree());
        assert_eq!(recalled(&linked, &version), None);
        fs::set_permissions(&remembered.directory, Permissions::from_mode(0o770)).unwrap();
        assert_eq!(recalled(&remembered, &version), None);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let remembered = Remembered { directory: home.path().join("trees") };
        DirBuilder::new().mode(0o700).create(home.path().join("trees")).unwrap();
        let trees = home.path().join("trees");
        File::create(trees.join("notes")).unwrap().set_modified(UNIX_EPOCH).unwrap();
        for nr in 0..IMAGES_MAX as u64 + 3 {
            let path = trees.join(format!("a-{nr:x}"));
            let file = File::create(path).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(nr)).unwrap();
        }
        remembered.keep(&version(3 << 20), &tree());
        let names: Vec<_> = fs::read_dir(&trees).unwrap().collect();
        // And what is not ours.
        assert_eq!(names.len(), IMAGES_MAX + 1);
        assert!(!trees.join("a-3").exists() && trees.join("a-4").exists());
    }
}
