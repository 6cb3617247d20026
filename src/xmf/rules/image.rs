//! `imagefile`: one disk, or one partition of it.

use super::value::{self, Bad};
use super::{Checker, key};
use crate::xmf::model::{Identify, ImageFile, MountPoint, Spanned};
use crate::xmf::suggest;
use crate::xmf::xml::{Element, chars};
use crate::xmf::xsd::integer;

/// What `mount -t` of a Linux guest commonly takes.
const FILESYSTEMS: [&str; 20] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "swap", "iso9660", "squashfs", "reiserfs",
    "jfs", "f2fs", "ntfs", "ntfs3", "exfat", "udf", "minix", "erofs", "msdos", "auto",
];

impl Checker<'_> {
    pub(super) fn image(&mut self, image: &Element) -> Option<ImageFile> {
        let filesystem = self.child(image, "filesystemtype", value::fstab_word);
        if let Some(filesystem) = &filesystem {
            self.known_filesystem(filesystem);
        }
        let kind =
            filesystem.as_ref().map_or("", |filesystem| filesystem.value.as_str()).to_owned();
        let mountpoint = self.child(image, "mountpoint", value::mount_point);
        let device = self.child(image, "blockdevice", value::block_device);
        let url = self.child(image, "url", value::url);
        let partition = self.partition(image, device.as_ref());
        let size = self.attribute(image, "size", value::size);
        let label = self.attribute(image, "label", |label| value::label(label, &kind));
        let options = self.attribute(image, "options", value::fstab_word);
        let sha256 = self.attribute(image, "sha256", value::sha256);
        let signedby = self.attribute(image, "signedby", value::signers);
        let identify = match attribute(image, "identify") {
            Some("uuid") => Identify::Uuid,
            Some("label") => Identify::Label,
            _ => Identify::Device,
        };
        if let Some(mountpoint) = &mountpoint {
            self.swap_is_not_mounted(&kind, mountpoint);
        }
        self.made_or_taken(image, &kind);
        if identify == Identify::Label && image.child("url").is_none() && label.is_none() {
            let message = "`identify=\"label\"` needs a `label`: this disk is made new";
            self.error(image.start_tag.clone(), message);
        }
        let root = mountpoint
            .as_ref()
            .is_some_and(|mountpoint| mountpoint.value == MountPoint::Path("/".into()));
        let files = self.files(image, root);
        let hostname = self.child(image, "hostname", value::hostname);
        let authorized_keys = image
            .named("authorizedkey")
            .filter_map(|line| self.text(line, key::authorized_key))
            .collect();
        self.contents_have_a_place(image, &kind, root);
        Some(ImageFile {
            span: image.start_tag.clone(),
            filesystem: filesystem?,
            mountpoint: mountpoint?,
            device: device?,
            url,
            read_only: attribute(image, "access") == Some("ro"),
            partition,
            options,
            identify,
            sha256,
            signedby,
            size,
            label,
            files,
            hostname,
            authorized_keys,
        })
    }

    fn known_filesystem(&mut self, filesystem: &Spanned<String>) {
        let known = filesystem.value.split(',').all(|one| FILESYSTEMS.contains(&one));
        if !known {
            let message =
                format!("file system `{}` is not known", suggest::shorten(&filesystem.value));
            let mut warning =
                crate::diagnostic::Diagnostic::warning(filesystem.span.clone(), message);
            warning.hint = suggest::did_you_mean(&filesystem.value, FILESYSTEMS);
            self.findings.push(warning);
        }
    }

    fn partition(
        &mut self,
        image: &Element,
        device: Option<&Spanned<crate::xmf::model::BlockDevice>>,
    ) -> Option<Spanned<u32>> {
        let attribute = image.attribute("partition")?;
        let number = integer(chars::trim(&attribute.value))?;
        let value = u32::try_from(number).ok().filter(|number| (1..=128).contains(number))?;
        if let Some(device) = device
            && device.partition.is_some_and(|other| other != value)
        {
            let name = format!("{}{}", device.disk, device.partition.unwrap_or_default());
            let message = format!("`partition` is {value}, but `blockdevice` is `{name}`");
            let hint = format!("the guest sees it as `{}{value}`", device.disk);
            let span = attribute.span.clone();
            self.findings.push(crate::diagnostic::Diagnostic::error(span, message).hint(hint));
        }
        Some(Spanned { value, span: attribute.span.clone() })
    }

    fn swap_is_not_mounted(&mut self, kind: &str, mountpoint: &Spanned<MountPoint>) {
        match (&mountpoint.value, kind) {
            (MountPoint::None, "swap" | "") => {}
            (MountPoint::None, _) => {
                let bad = Bad::new(format!("a `{kind}` file system needs a place"))
                    .expected("an absolute path; `none` and `swap` are for swap spaces");
                self.refuse(mountpoint.span.clone(), "mountpoint", bad);
            }
            (MountPoint::Path(_), "swap") => {
                let bad = Bad::new("a swap space is not mounted").expected("`none`");
                self.refuse(mountpoint.span.clone(), "mountpoint", bad);
            }
            (MountPoint::Path(_), _) => {}
        }
    }

    /// Exactly one of `url` and `size` says where the bytes come from.
    fn made_or_taken(&mut self, image: &Element, kind: &str) {
        let (url, size) = (image.child("url"), image.attribute("size"));
        match (url, size) {
            (Some(_), Some(size)) => {
                let message = "`size` together with `url` is not served by this version";
                self.error(size.name.span.clone(), message);
            }
            (None, None) => {
                let diagnostic = crate::diagnostic::Diagnostic::error(
                    image.start_tag.clone(),
                    "`imagefile` has neither `url` nor `size`",
                );
                let expected = "`url` of an image, or `size` of a new disk";
                self.findings.push(diagnostic.expected(expected));
            }
            (None, Some(size)) => {
                if !matches!(kind, "swap" | "vfat" | "") {
                    let kind = suggest::shorten(kind);
                    let message = format!("formatting `{kind}` is not served by this version");
                    let diagnostic =
                        crate::diagnostic::Diagnostic::error(size.name.span.clone(), message);
                    self.findings.push(diagnostic.expected("`swap` or `vfat`"));
                }
                for name in ["sha256", "signedby", "partition"] {
                    if let Some(attribute) = image.attribute(name) {
                        let message = format!("`{name}` needs a `url`: this disk is made new");
                        self.error(attribute.name.span.clone(), message);
                    }
                }
            }
            (Some(_), None) => {}
        }
    }

    fn contents_have_a_place(&mut self, image: &Element, kind: &str, root: bool) {
        for element in image.elements() {
            let name = element.name.local.as_str();
            let content = matches!(name, "file" | "hostname" | "authorizedkey");
            if content && kind == "swap" {
                let message = format!("`{name}` in a swap space, which holds no files");
                self.error(element.name.span.clone(), message);
            } else if matches!(name, "hostname" | "authorizedkey") && !root {
                let message = format!("`{name}` belongs to the image that is mounted at `/`");
                self.error(element.name.span.clone(), message);
            }
        }
    }
}

fn attribute<'a>(element: &'a Element, name: &str) -> Option<&'a str> {
    element.attribute(name).map(|attribute| chars::trim(&attribute.value))
}
