//! A new file that is no more open to others than the one that it is made from: an image holds password hashes and
//! keys, and whoever made it 0600 did not mean its copy to be 0644.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Create `path`, which must not exist, for reading and writing by us, and by others only where `original` is open to
/// them as well; the umask takes its share as ever.
pub fn create_like(path: &Path, original: &Path) -> io::Result<File> {
    let mode = fs::metadata(original)?.mode() & 0o666 | 0o600;
    File::options().read(true).write(true).create_new(true).mode(mode).open(path)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::create_like;

    #[test]
    fn a_copy_is_no_more_open_than_its_original() {
        let directory = tempfile::tempdir().unwrap();
        let original = directory.path().join("original");
        fs::write(&original, "").unwrap();
        for (mode, expected) in [(0o600, 0o600), (0o400, 0o600), (0o640, 0o640), (0o755, 0o644)] {
            fs::set_permissions(&original, Permissions::from_mode(mode)).unwrap();
            let copy = directory.path().join("copy");
            // The usual umask, 022, takes nothing from these.
            let made = create_like(&copy, &original).unwrap().metadata().unwrap();
            assert_eq!(made.permissions().mode() & 0o777, expected, "of {mode:o}");
            fs::remove_file(copy).unwrap();
        }
    }
}
