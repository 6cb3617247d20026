//! What holds between images: one root, no device and no mount point claimed twice.

use std::collections::HashMap;

use super::Checker;
use crate::xmf::model::{ImageFile, MountPoint};
use crate::xmf::xml::Element;

impl Checker<'_> {
    /// `images` are those whose own values are in order.
    pub(super) fn disks(&mut self, root: &Element, images: &[ImageFile]) {
        self.mount_points(root, images);
        for (index, image) in images.iter().enumerate() {
            let clash = images[..index].iter().find(|other| clash(other, image));
            if let Some(other) = clash {
                let name = |image: &ImageFile| {
                    let number = image.device.partition.map(|number| number.to_string());
                    format!("{}{}", image.device.disk, number.unwrap_or_default())
                };
                let (mine, theirs) = (name(image), name(other));
                let message = if mine == theirs {
                    format!("`blockdevice`: two images claim `{mine}`")
                } else {
                    format!("`blockdevice`: `{mine}` is claimed already, as `{theirs}`")
                };
                self.error(image.device.span.clone(), message);
            }
        }
    }

    fn mount_points(&mut self, root: &Element, images: &[ImageFile]) {
        let mut seen = HashMap::new();
        for image in images {
            let MountPoint::Path(path) = &image.mountpoint.value else { continue };
            if seen.insert(path.as_str(), ()).is_some() {
                let message = format!("`mountpoint`: two images are mounted at `{path}`");
                self.error(image.mountpoint.span.clone(), message);
            }
        }
        // An image that was refused may have been the root: nothing is said until all are in order.
        let all = root.named("imagefile").count() == images.len() && !images.is_empty();
        if all && !seen.contains_key("/") {
            self.error(root.name.span.clone(), "no image is mounted at `/`");
        }
    }
}

/// Whether two images claim one device. An image with `partition` is a whole disk with a partition table: it is
/// attached once, however many `imagefile` elements name its partitions.
fn clash(a: &ImageFile, b: &ImageFile) -> bool {
    if a.device.disk != b.device.disk {
        return false;
    }
    let url = |image: &ImageFile| image.url.as_ref().map(|url| url.value.clone());
    match (&a.partition, &b.partition) {
        (Some(one), Some(other)) if url(a) == url(b) => one.value == other.value,
        (None, None) => match (a.device.partition, b.device.partition) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        },
        _ => true,
    }
}
