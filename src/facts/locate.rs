//! From a URL or a path in an XMF to a path of the host.

use std::path::{Path, PathBuf};

/// The path that `url` names: `file:///…` is absolute, any other text is a path, relative to `base`, the directory of
/// the XMF. The URL's escapes were decoded by the XMF's reader.
pub(super) fn path(url: &str, base: &Path) -> PathBuf {
    let text = url.strip_prefix("file://").unwrap_or(url);
    base.join(text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::path;

    #[test]
    fn a_relative_path_starts_at_the_document() {
        let base = Path::new("/jobs/a");
        assert_eq!(path("root.img", base), Path::new("/jobs/a/root.img"));
        assert_eq!(path("/srv/root.img", base), Path::new("/srv/root.img"));
        assert_eq!(path("file:///srv/root.img", base), Path::new("/srv/root.img"));
    }
}
