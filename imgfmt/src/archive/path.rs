//! Where an entry stands in its tree.
//!
//! ```text
//! ""          the root itself
//! etc/fstab   two components, no `/` at either end, neither `.` nor `..` among them, no NUL
//! ```
//! A path is checked once, where it is made; whoever is given one need not look again. It is not resolved: a component
//! may turn out to be a symbolic link, which is for the sink to follow inside its tree.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The longest path, in bytes: what the kernel takes in one call (`PATH_MAX`) many times over.
pub const PATH_CAP: usize = 64 << 10;

/// A path below the root of a tree, normal: components between single slashes. Empty for the root itself.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// The path of the root: no component at all.
    pub fn root() -> Self {
        Self::default()
    }

    /// From what people and archives write: slashes at the start, double ones and `.` are taken out.
    ///
    /// # Errors
    /// What is wrong with it: a `..`, which would climb out; a NUL; more than [`PATH_CAP`] bytes.
    pub fn new(path: &[u8]) -> Result<Self, &'static str> {
        if path.len() > PATH_CAP {
            return Err("is longer than 64 KiB");
        }
        if path.contains(&0) {
            return Err("has a NUL in it");
        }
        let mut normal = Vec::with_capacity(path.len());
        for component in path.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err("has a `..` in it, which may climb out of the tree"),
                _ => {}
            }
            if !normal.is_empty() {
                normal.push(b'/');
            }
            normal.extend_from_slice(component);
        }
        Ok(Self(normal))
    }

    /// The path of `name` in this directory. `None` where `name` is no name: empty, `.`, `..`, with a slash or NUL in it.
    pub fn join(&self, name: &[u8]) -> Option<Self> {
        if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') || name.contains(&0) {
            return None;
        }
        let mut path = Vec::with_capacity(self.0.len() + 1 + name.len());
        path.extend_from_slice(&self.0);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        Some(Self(path))
    }

    /// Its bytes: `etc/fstab`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same as a path of the standard library, without a slash before it.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Whether it is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Its components, from the root down. None of them is empty.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/').filter(|component| !component.is_empty())
    }

    /// The bytes of the path of its directory (empty for the root), and its name. `None` for the root.
    pub fn split(&self) -> Option<(&[u8], &[u8])> {
        match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(at) => Some((&self.0[..at], &self.0[at + 1..])),
            None if self.0.is_empty() => None,
            None => Some((&[], &self.0)),
        }
    }
}

/// As people write it: `/etc/fstab`, and `/` for the root.
impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.as_path().display())
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_made_normal_or_refused() {
        for (given, normal) in [
            (&b""[..], ""),
            (b".", ""),
            (b"./", ""),
            (b"///", ""),
            (b"./etc//fstab", "etc/fstab"),
            (b"/etc/./fstab/", "etc/fstab"),
            (b"..a/.../b..", "..a/.../b.."),
        ] {
            assert_eq!(TreePath::new(given).map(|path| path.0), Ok(normal.into()), "{given:?}");
        }
        for odd in [&b".."[..], b"a/../b", b"/..", b"a/..", b"a\0b"] {
            assert!(TreePath::new(odd).is_err(), "{odd:?}");
        }
        assert!(TreePath::new(&vec![b'a'; PATH_CAP]).is_ok());
        assert!(TreePath::new(&vec![b'a'; PATH_CAP + 1]).is_err());
    }

    #[test]
    fn a_name_is_joined_and_split_off_again() {
        let etc = TreePath::root().join(b"etc").expect("a name");
        let fstab = etc.join(b"fstab").expect("a name");
        assert_eq!(fstab.to_string(), "/etc/fstab");
        assert_eq!(fstab.split(), Some((&b"etc"[..], &b"fstab"[..])));
        assert_eq!(etc.split(), Some((&b""[..], &b"etc"[..])));
        assert_eq!(TreePath::root().split(), None);
        assert_eq!(TreePath::root().components().count(), 0);
        for odd in [&b""[..], b".", b"..", b"a/b", b"a\0"] {
            assert_eq!(etc.join(odd), None, "{odd:?}");
        }
    }
}
