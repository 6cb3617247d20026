//! Where several sources go: a name, or a directory that is there.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use imgfmt::Error;

use crate::failure::{Failure, Result};
use crate::inside::tree::{Tree, found};

/// The last place of a command.
#[derive(Debug)]
pub(super) struct Target {
    path: PathBuf,
    is_dir: bool,
}

impl Target {
    /// `path` in `tree`, to which `count` sources go; `is_name` where it is never a directory to go into.
    ///
    /// # Errors
    /// Where several sources would go to one name.
    pub(super) fn new(tree: &dyn Tree, path: &Path, count: usize, is_name: bool) -> Result<Self> {
        let there = found(tree.metadata(path, true)).map_err(|e| tree.failure(&e))?;
        let is_dir = !is_name && there.is_some_and(|there| there.is_dir());
        if count > 1 && !is_dir {
            let what = format!("`{}` is no directory", tree.shown(path));
            return Err(Failure::new(what).hint("several go to a directory that is there"));
        }
        Ok(Self { path: path.to_owned(), is_dir })
    }

    /// Where `source`, which is a directory if `is_dir`, goes. What has no name (`dir/.`, the root) goes into the directory
    /// itself, with all that is in it.
    ///
    /// # Errors
    /// As of [`check`](Self::check).
    pub(super) fn name_for(&self, tree: &dyn Tree, source: &Path, is_dir: bool) -> Result<PathBuf> {
        self.check(tree, is_dir)?;
        Ok(match (self.is_dir, last_name(source)) {
            (true, Some(name)) => self.path.join(name),
            // The directory, be it behind a symbolic link.
            (true, None) => self.path.join("."),
            (false, _) => without_slash(&self.path),
        })
    }

    /// A name that ends in `/` is that of a directory, if not now, then once one has it.
    ///
    /// # Errors
    /// Where anything but a directory would get it.
    pub(super) fn check(&self, tree: &dyn Tree, is_dir: bool) -> Result<()> {
        let path = self.path.as_os_str().as_bytes();
        if !is_dir && !self.is_dir && path.ends_with(b"/") && path != b"/" {
            return Err(tree.failure(&Error::NotADirectory(self.path.clone())));
        }
        Ok(())
    }

    /// The same below the directory, as seen from there.
    pub(super) fn below(&self, source: &Path) -> PathBuf {
        last_name(source).map_or("/".into(), |name| Path::new("/").join(name))
    }

    /// Whether `source` has a name that it could have there.
    pub(super) fn takes(&self, source: &Path) -> bool {
        !self.is_dir || last_name(source).is_some()
    }

    /// Whether sources go into it.
    pub(super) fn is_dir(&self) -> bool {
        self.is_dir
    }
}

/// `None` of `/`, of `.` and of `..`.
fn last_name(path: &Path) -> Option<&OsStr> {
    let bytes = path.as_os_str().as_bytes();
    let end = bytes.iter().rposition(|&byte| byte != b'/')? + 1;
    let start = bytes[..end].iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let name = OsStr::from_bytes(&bytes[start..end]);
    (name != "." && name != "..").then_some(name)
}

/// The same path without slashes at its end.
pub(super) fn without_slash(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    match bytes.iter().rposition(|&byte| byte != b'/') {
        Some(last) => OsStr::from_bytes(&bytes[..=last]).into(),
        None => path.to_owned(),
    }
}

/// Whether `path` names what no verb takes away: the root, `.` or `..`.
pub(super) fn is_fixed(path: &Path) -> bool {
    let is_root = !path.components().any(|part| matches!(part, Component::Normal(_)));
    is_root || last_name(path).is_none()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{is_fixed, last_name};

    #[test]
    fn dots_are_no_names() {
        for (path, name) in [
            ("/a/b", Some("b")),
            ("/a/b//", Some("b")),
            ("b", Some("b")),
            ("/a/.", None),
            ("/a/..", None),
            ("/", None),
            ("/a/...", Some("...")),
        ] {
            assert_eq!(last_name(Path::new(path)).and_then(|name| name.to_str()), name, "{path}");
            assert_eq!(is_fixed(Path::new(path)), name.is_none(), "{path}");
        }
    }
}
