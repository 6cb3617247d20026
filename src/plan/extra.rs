//! Disks that no `imagefile` asks for: for results, for inputs, for cloud-init. They come behind all others, so that what
//! boots from the first disk still does.

use sha2::{Digest, Sha256};

use super::known::Known;
use super::make::file_of;
use super::{Disk, Edit, Format, Source, Staged, VolumeEdits, disks};
use crate::diagnostic::Diagnostic;
use crate::domain::value::Vdev;
use crate::domain::xl::DiskFormat;
use crate::guest::{fstab, nocloud, settings};
use crate::xmf::model::{BlockDevice, GuestType};

/// The disks, as far as there are any yet.
pub(super) struct Extra<'k> {
    known: &'k Known<'k>,
    domain_name: &'k str,
    /// The guest's kernel is older than Linux 3.0.
    is_legacy: bool,
    /// The guest calls its disks `xvdX`, whatever the document does.
    rename: bool,
    pub(super) disks: Vec<Disk>,
    /// Those that fstab mounts, and how.
    pub(super) devices: Vec<fstab::Device>,
    pub(super) entries: Vec<fstab::Entry>,
}

impl<'k> Extra<'k> {
    pub(super) fn new(
        known: &'k Known<'k>,
        domain_name: &'k str,
        is_legacy: bool,
        rename: bool,
    ) -> Self {
        let (disks, devices, entries) = (Vec::new(), Vec::new(), Vec::new());
        Self { known, domain_name, is_legacy, rename, disks, devices, entries }
    }

    /// Add the disk for results, where the document has one; its index.
    pub(super) fn results(&mut self) -> Result<Option<usize>, Vec<Diagnostic>> {
        let Some(results) = &self.known.document.results else { return Ok(None) };
        let vdev = match &results.device {
            Some(device) => {
                let vdev = self.written(&device.value);
                vdev.map_err(|what| vec![Diagnostic::error(device.span.clone(), what)])?
            }
            None => self.free().map_err(|what| {
                vec![
                    Diagnostic::error(results.span.clone(), what)
                        .hint("give it a `blockdevice`, such as `xvdz`"),
                ]
            })?,
        };
        let uuid = uuid::Builder::from_custom_bytes(self.bytes(&vdev)).into_uuid();
        let label = settings::RESULTS_LABEL.to_owned();
        let format = Format::Ext { uuid, label, is_legacy: self.is_legacy };
        let source = Source::Blank { len: results.size.value, format };
        self.disks.push(disk(vdev, source, false, Vec::new()));
        Ok(Some(self.disks.len() - 1))
    }

    /// Add an ext disk with inputs, which fstab mounts.
    pub(super) fn ext_inputs(&mut self, staged: Vec<Staged>) -> Result<(), String> {
        let vdev = self.free()?;
        let uuid = uuid::Builder::from_custom_bytes(self.bytes(&vdev)).into_uuid();
        let source = Source::Inputs { uuid, is_legacy: self.is_legacy, staged };
        self.mount(&vdev, "ext3", settings::INPUTS, settings::INPUTS_LABEL);
        self.disks.push(disk(vdev, source, true, Vec::new()));
        Ok(())
    }

    /// Add a FAT of `len` bytes with inputs, which fstab mounts at `place`.
    pub(super) fn vfat_inputs(
        &mut self,
        len: u64,
        place: &str,
        edits: Vec<Edit>,
    ) -> Result<(), String> {
        let vdev = self.free()?;
        let source = self.vfat(&vdev, len, "AUTOXEN_FAT");
        self.mount(&vdev, "vfat", place, "AUTOXEN_FAT");
        self.disks.push(disk(vdev, source, true, edits));
        Ok(())
    }

    /// Add cloud-init's seed.
    pub(super) fn seed(&mut self, len: u64, edits: Vec<Edit>) -> Result<(), String> {
        let vdev = self.free()?;
        let source = self.vfat(&vdev, len, nocloud::LABEL);
        self.disks.push(disk(vdev, source, true, edits));
        Ok(())
    }

    fn vfat(&self, vdev: &Vdev, len: u64, label: &str) -> Source {
        let [a, b, c, d, ..] = self.bytes(vdev);
        let volume_id = u32::from_le_bytes([a, b, c, d]);
        Source::Blank { len, format: Format::Vfat { volume_id, label: Some(label.to_owned()) } }
    }

    /// Bytes that are this disk's own, and the same each time that this document is prepared.
    fn bytes(&self, vdev: &Vdev) -> [u8; 16] {
        let name = self.domain_name;
        let digest = Sha256::digest(format!("autoxen extra disk\0{name}\0{vdev}"));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        bytes
    }

    fn mount(&mut self, vdev: &Vdev, fstype: &str, target: &str, label: &str) {
        let path = format!("/dev/{vdev}");
        // An emulated machine names its disks by rules of its own.
        let general = &self.known.document.general;
        let is_hvm = general.guest_type.as_ref().is_some_and(|kind| kind.value == GuestType::Hvm);
        let source = if is_hvm { format!("LABEL={label}") } else { path.clone() };
        self.entries.push(fstab::Entry {
            source: source.into(),
            target: target.into(),
            fstype: fstype.into(),
            options: b"ro,nosuid,nodev".to_vec(),
            freq: 0,
            passno: 0,
        });
        self.devices.push(fstab::Device {
            path,
            renamed_from: None,
            uuid: None,
            label: Some(label.to_owned()),
            part_uuid: None,
            part_label: None,
        });
    }

    fn taken(&self) -> impl Iterator<Item = &Vdev> {
        let planned = self.known.layout.disks.iter().map(|disk| &disk.vdev);
        planned.chain(self.disks.iter().map(|disk| &disk.vdev))
    }

    /// The device that the document writes.
    fn written(&self, device: &BlockDevice) -> Result<Vdev, String> {
        let number = device.partition.map(|number| number.to_string()).unwrap_or_default();
        let name = format!("{}{number}", disks::guest_disk(&device.disk, self.rename));
        let vdev = Vdev::new(name).map_err(|error| error.to_string())?;
        match self.taken().find(|other| clash(other, &vdev)) {
            Some(other) => Err(format!("`blockdevice`: an image is /dev/{other} in the guest")),
            None => Ok(vdev),
        }
    }

    /// The first disk of the root's kind that is free; the guest has drivers for that one.
    fn free(&self) -> Result<Vdev, String> {
        let root = &self.known.layout.disks[self.known.layout.slots[self.known.root].disk].vdev;
        let kind = ["hd", "sd"].into_iter().find(|kind| root.as_str().starts_with(kind));
        let kinds = kind.into_iter().chain(["xvd"]);
        let free = kinds
            .flat_map(|kind| ('a'..='z').map(move |letter| format!("{kind}{letter}")))
            .filter_map(|name| Vdev::new(name).ok())
            .find(|vdev| !self.taken().any(|other| other.disk() == vdev.disk()));
        free.ok_or_else(|| "the guest has no device left for one more disk".into())
    }
}

/// Whether both cannot be attached to one guest.
fn clash(a: &Vdev, b: &Vdev) -> bool {
    a.disk() == b.disk() && (a == b || a.is_partition() != b.is_partition())
}

fn disk(vdev: Vdev, source: Source, read_only: bool, edits: Vec<Edit>) -> Disk {
    let edits =
        if edits.is_empty() { Vec::new() } else { vec![VolumeEdits { partition: None, edits }] };
    let format = DiskFormat::Raw;
    let file = Some(file_of(&vdev, format));
    let (guard, images) = (None, Vec::new());
    Disk { vdev, read_only, source, file, format, guard, images, edits }
}
