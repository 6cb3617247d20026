//! The guest's disks: which images make one disk, what the guest calls it, and what fstab calls what is on it.
//!
//! An image with a partition table is attached whole, and its partitions come with it; `imagefile` elements with the
//! same image and the same disk name are one disk. A bare image is attached under the name that the document gives it,
//! be it that of a partition: Xen can attach `hda1` and `hda2` from two files.
//!
//! Linux from 3.0 on calls every disk of Xen `xvdX`, so for pv and pvh a disk that the document calls `hdX` or `sdX` is
//! attached as `xvdX`, and fstab follows; older kernels took the name that the configuration gave. An emulated machine
//! (hvm) names its disks by its own rules: the document knows them.

use sha2::{Digest, Sha256};

use super::volume::{Held, device_path};
use super::{Format, Source};
use crate::diagnostic::Diagnostic;
use crate::domain::value::Vdev;
use crate::facts::Facts;
use crate::guest::fstab;
use crate::xmf::model::{Document, Identify, ImageFile, MountPoint};

/// The disks and what is on them.
pub(super) struct Layout {
    pub(super) disks: Vec<DiskLayout>,
    /// One for each `imagefile`, in their order.
    pub(super) slots: Vec<Slot>,
    /// All block devices of the guest.
    pub(super) devices: Vec<fstab::Device>,
    pub(super) notes: Vec<String>,
}

/// One disk.
pub(super) struct DiskLayout {
    pub(super) vdev: Vdev,
    pub(super) source: Source,
    pub(super) read_only: bool,
    /// Indices of the `imagefile` elements on it, at least one.
    pub(super) images: Vec<usize>,
}

/// Where an `imagefile` is.
pub(super) struct Slot {
    /// Index of its disk.
    pub(super) disk: usize,
    /// Its partition there.
    pub(super) partition: Option<u32>,
    /// The guest's path: `/dev/xvda1`.
    pub(super) device: String,
    /// How fstab names it.
    pub(super) source: String,
}

/// Lay out the disks; `held` has one for each `imagefile`, `rename` says whether the guest calls its disks `xvdX`.
pub(super) fn lay_out(
    document: &Document,
    facts: &Facts,
    held: &[Held],
    rename: bool,
    domain_name: &str,
) -> Result<Layout, Vec<Diagnostic>> {
    let mut layout =
        Layout { disks: Vec::new(), slots: Vec::new(), devices: Vec::new(), notes: Vec::new() };
    let mut errors = Vec::new();
    for (index, image) in document.images.iter().enumerate() {
        match layout.place(index, document, facts, rename, domain_name) {
            Ok(slot) => layout.slots.push(slot),
            Err(error) => {
                errors.push(error);
                continue;
            }
        }
        if rename && guest_disk(&image.device.disk, rename) != image.device.disk {
            let now = &layout.slots[layout.slots.len() - 1].device;
            layout.notes.push(format!(
                "{} is {now} in the guest: Linux calls the disks of Xen so",
                device_path(image)
            ));
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    layout.list_devices(document, facts, held, rename);
    for (index, image) in document.images.iter().enumerate() {
        match layout.identify(index, image) {
            Ok(source) => layout.slots[index].source = source,
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(layout) } else { Err(errors) }
}

impl Layout {
    /// Put the image on the disk that it belongs to, perhaps a new one.
    fn place(
        &mut self,
        index: usize,
        document: &Document,
        facts: &Facts,
        rename: bool,
        domain_name: &str,
    ) -> Result<Slot, Diagnostic> {
        let image = &document.images[index];
        let span = &image.device.span;
        let disk_name = guest_disk(&image.device.disk, rename);
        let partition = facts.images[index].partition(image);
        let name = match (partition, image.device.partition) {
            (Some(nr), Some(written)) if nr != written => {
                return Err(Diagnostic::error(
                    span.clone(),
                    format!(
                        "partition {} of this disk is /dev/{}{} in the guest",
                        nr, image.device.disk, nr
                    ),
                )
                .hint("the number in `blockdevice` is that of `partition`"));
            }
            (Some(_), _) | (None, None) => disk_name.clone(),
            (None, Some(written)) => format!("{disk_name}{written}"),
        };
        let device = match partition {
            Some(nr) => format!("/dev/{name}{nr}"),
            None => format!("/dev/{name}"),
        };
        let vdev =
            Vdev::new(name).map_err(|error| Diagnostic::error(span.clone(), error.to_string()))?;
        let slot = |disk| Slot { disk, partition, device, source: String::new() };

        for (nr, disk) in self.disks.iter_mut().enumerate() {
            let first = &document.images[disk.images[0]];
            let of_first = facts.images[disk.images[0]].partition(first);
            let same_file = match &disk.source {
                Source::Image(path) => facts.images[index].path.as_ref() == Some(path),
                Source::Blank { .. } | Source::Inputs { .. } => false,
            };
            if partition.is_some()
                && of_first.is_some()
                && same_file
                && first.device.disk == image.device.disk
            {
                disk.read_only &= image.read_only;
                disk.images.push(index);
                return Ok(slot(nr));
            }
            let whole_and_part = disk.vdev.is_partition() != vdev.is_partition();
            if disk.vdev == vdev || (disk.vdev.disk() == vdev.disk() && whole_and_part) {
                return Err(clash(first, image, &vdev, whole_and_part));
            }
        }
        self.disks.push(DiskLayout {
            source: source_of(image, facts, index, &vdev, domain_name)?,
            vdev,
            read_only: image.read_only,
            images: vec![index],
        });
        Ok(slot(self.disks.len().saturating_sub(1)))
    }

    /// All devices with the names by which fstab may mean them.
    fn list_devices(&mut self, document: &Document, facts: &Facts, held: &[Held], rename: bool) {
        for disk in &self.disks {
            let index = disk.images[0];
            let image = &document.images[index];
            let renamed = rename && guest_disk(&image.device.disk, rename) != image.device.disk;
            let device = |nr: Option<u32>, volume: &crate::facts::VolumeFacts| {
                let nr = nr.map(|nr| nr.to_string()).unwrap_or_default();
                fstab::Device {
                    path: format!("/dev/{}{nr}", guest_disk(&image.device.disk, rename)),
                    renamed_from: renamed.then(|| format!("/dev/{}{nr}", image.device.disk)),
                    uuid: volume.uuid.clone(),
                    label: volume.label.clone(),
                    part_uuid: volume.part_uuid.clone(),
                    part_label: volume.part_label.clone(),
                }
            };
            if facts.images[index].partition(image).is_some() {
                let volumes = facts.images[index].volumes.iter();
                self.devices.extend(volumes.map(|volume| device(volume.partition, volume)));
                continue;
            }
            let mut only = device(image.device.partition, &held[index].volume);
            if let Source::Blank { format, .. } = &disk.source {
                (only.uuid, only.label) = match format {
                    Format::Swap { uuid, label } => (Some(uuid.to_string()), label.clone()),
                    Format::Ext { uuid, label, .. } => {
                        (Some(uuid.to_string()), Some(label.clone()))
                    }
                    Format::Vfat { volume_id, label } => (
                        Some(format!("{:04X}-{:04X}", volume_id >> 16, volume_id & 0xffff)),
                        label.clone(),
                    ),
                };
            }
            self.devices.push(only);
        }
    }

    /// How fstab names this image.
    fn identify(&self, index: usize, image: &ImageFile) -> Result<String, Diagnostic> {
        let path = &self.slots[index].device;
        let own = self.devices.iter().find(|device| device.path == *path);
        let (word, tag): (_, fn(&fstab::Device) -> Option<&String>) = match image.identify {
            Identify::Device => return Ok(path.clone()),
            Identify::Uuid => ("UUID", |device| device.uuid.as_ref()),
            Identify::Label => ("LABEL", |device| device.label.as_ref()),
        };
        let Some(value) = own.and_then(tag).filter(|value| !value.is_empty()) else {
            return Err(Diagnostic::error(
                image.span.clone(),
                format!("{} has no {word} to be named by", device_path(image)),
            )
            .hint("leave `identify` out: fstab then names the device"));
        };
        // A tag in quotes or with control characters would be read as another by some reader of fstab.
        if value.chars().any(|c| c.is_control() || c == '"' || c == '\'') {
            let text = format!("fstab cannot name a disk by its {word} `{}`", value.escape_debug());
            return Err(Diagnostic::error(image.span.clone(), text).hint("leave `identify` out"));
        }
        let same = |device: &&fstab::Device| {
            tag(device).is_some_and(|other| other.eq_ignore_ascii_case(value))
        };
        if let Some(other) = self.devices.iter().filter(same).find(|device| device.path != *path) {
            let text = format!("{path} and {} have the same {word}: {value}", other.path);
            return Err(Diagnostic::error(image.span.clone(), text).hint("leave `identify` out"));
        }
        Ok(format!("{word}={value}"))
    }
}

/// What the guest calls this disk.
pub(super) fn guest_disk(disk: &str, rename: bool) -> String {
    match disk.strip_prefix("hd").or_else(|| disk.strip_prefix("sd")) {
        Some(letters) if rename => format!("xvd{letters}"),
        _ => disk.to_owned(),
    }
}

fn clash(first: &ImageFile, second: &ImageFile, vdev: &Vdev, whole_and_part: bool) -> Diagnostic {
    let (a, b) = (device_path(first), device_path(second));
    let span = second.device.span.clone();
    if whole_and_part {
        return Diagnostic::error(
            span,
            format!("{a} and {b}: `{}` is attached whole and by partitions", vdev.disk()),
        )
        .hint("give one of the two another disk, such as `xvdb`");
    }
    let finding =
        Diagnostic::error(span, format!("{a} and {b} would both be /dev/{vdev} in the guest"));
    if first.device.disk == second.device.disk {
        finding.hint("the images of one disk have the same `url`, and each its `partition`")
    } else {
        finding.hint("give one of the two another disk, such as `xvdb`, or keep the names with --keep-device-names")
    }
}

fn source_of(
    image: &ImageFile,
    facts: &Facts,
    index: usize,
    vdev: &Vdev,
    domain_name: &str,
) -> Result<Source, Diagnostic> {
    let Some(size) = &image.size else {
        let path = facts.images[index].path.clone();
        return path
            .map(Source::Image)
            .ok_or_else(|| Diagnostic::error(image.span.clone(), "there is no image"));
    };
    // The same document gives the same bundle: what has to be unique is drawn from the names, not from chance.
    let digest: [u8; 32] =
        Sha256::digest(format!("autoxen disk\0{domain_name}\0{vdev}\0{}", size.value)).into();
    let label = image.label.as_ref().map(|label| label.value.clone());
    let format = if image.mountpoint.value == MountPoint::None {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Format::Swap { uuid: uuid::Builder::from_custom_bytes(bytes).into_uuid(), label }
    } else {
        let volume_id = u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]);
        Format::Vfat { volume_id, label }
    };
    Ok(Source::Blank { len: size.value, format })
}
