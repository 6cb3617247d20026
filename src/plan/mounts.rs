//! What the guest mounts where: which image holds a path of the guest, and what a mount hides.

use crate::xmf::model::{Document, MountPoint};

/// The `imagefile` that holds this absolute path of the guest, and the path there. Without a root image it is the
/// first one.
pub(super) fn locate(document: &Document, path: &str) -> (usize, String) {
    let holders = document.images.iter().enumerate().filter_map(|(index, image)| {
        match &image.mountpoint.value {
            MountPoint::Path(top) => Some((index, top.as_str(), below(top, path)?)),
            MountPoint::None => None,
        }
    });
    match holders.max_by_key(|(_, top, _)| top.len()) {
        Some((index, _, rest)) => (index, rest),
        None => (0, path.to_owned()),
    }
}

/// The image, other than `image`, whose mount hides `path` of that image's file system, and its mount point.
pub(super) fn hidden_by<'a>(document: &'a Document, image: usize, path: &str) -> Option<&'a str> {
    let MountPoint::Path(top) = &document.images.get(image)?.mountpoint.value else { return None };
    let full = if top == "/" { path.to_owned() } else { format!("{top}{path}") };
    let (holder, _) = locate(document, &full);
    match &document.images.get(holder)?.mountpoint.value {
        MountPoint::Path(other) if holder != image => Some(other),
        _ => None,
    }
}

/// The part of `path` below `top`, with its slash; `/` for `top` itself.
fn below(top: &str, path: &str) -> Option<String> {
    if top == "/" {
        return Some(path.to_owned());
    }
    match path.strip_prefix(top)? {
        "" => Some("/".to_owned()),
        rest if rest.starts_with('/') => Some(rest.to_owned()),
        _ => None,
    }
}
