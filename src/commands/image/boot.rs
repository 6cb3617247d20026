//! Where a guest's kernels are: in `/boot` of its root, or in the partition of the same disk that its fstab mounts there;
//! and beside their modules in the root.

use std::path::{Path, PathBuf};

use imgfmt::Storage;
use imgfmt::table::Table;
use serde_json::{Value, json};

use super::select::select;
use super::session::within;
use crate::facts::choose::Candidates;
use crate::failure::Result;
use crate::guest::fstab::Device;
use crate::inside::address::ImageName;
use crate::inside::guest::{self, Found, Guest};
use crate::inside::loader;
use crate::inside::tree::Tree;
use crate::visible::visible;

/// Where kernels lie beside their modules; the second where `/lib` is no link to the first.
const MODULES: [&str; 2] = ["/usr/lib/modules", "/lib/modules"];

/// A directory with kernels.
pub(super) struct Boot<'t> {
    /// The partition that holds it, where that is not the root's own.
    pub(super) partition: Option<u32>,
    /// The file system that holds it.
    pub(super) tree: &'t dyn Tree,
    /// Where in it.
    pub(super) directory: PathBuf,
    /// What is there, the newest first.
    pub(super) kernels: Vec<Found>,
}

/// The partitions that an fstab in the image may mean, by a path that [`partition_of`] reads.
pub(super) fn devices(table: Option<&Table>, raw: &dyn Storage) -> imgfmt::Result<Vec<Device>> {
    let Some(table) = table else {
        let probe = imgfmt::probe::probe(raw)?;
        let (uuid, label) = probe.map(|probe| (probe.uuid, probe.label)).unwrap_or_default();
        return Ok(vec![Device { path: "0".into(), uuid, label, ..Device::default() }]);
    };
    let device = |candidate: &crate::facts::choose::Candidate<'_>| {
        let probe = candidate.probe.as_ref();
        Device {
            path: candidate.partition.number.to_string(),
            renamed_from: None,
            uuid: probe.and_then(|probe| probe.uuid.clone()),
            label: probe.and_then(|probe| probe.label.clone()),
            part_uuid: Some(candidate.partition.part_uuid.clone()),
            part_label: candidate.partition.label.clone(),
        }
    };
    Ok(Candidates::new(table, raw)?.iter().map(device).collect())
}

/// The partition of one of [`devices`]; 0 is an image without a table.
pub(super) fn partition_of(device: Option<&String>) -> Option<u32> {
    device.and_then(|path| path.parse().ok())
}

/// Do `act` with the places where kernels of `guest` are, whose root is `tree` in partition `own`: `/boot`, and the
/// directory of modules with those that `/boot` has not.
pub(super) fn with_boot<R>(
    name: &ImageName,
    raw: &dyn Storage,
    (tree, own): (&dyn Tree, Option<u32>),
    guest: &Guest,
    act: impl FnOnce(&[Boot<'_>; 2]) -> Result<R>,
) -> Result<R> {
    let mounted = guest.fstab.iter().find(|mount| mount.entry.target == b"/boot");
    let mounted = mounted.and_then(|mount| partition_of(mount.device.as_ref()));
    match mounted.filter(|number| *number != 0 && Some(*number) != own) {
        None => act(&places(tree, None, (tree, "/boot".as_ref()))?),
        Some(number) => {
            let partition = Some(number.to_string().into());
            let other = ImageName { file: name.file.clone(), partition };
            let selected = select(&other, raw)?;
            let root = tree;
            within(&other, selected, |tree| act(&places(root, Some(number), (tree, "/".as_ref()))?))
        }
    }
}

fn places<'t>(
    root: &'t dyn Tree,
    partition: Option<u32>,
    (tree, directory): (&'t dyn Tree, &Path),
) -> Result<[Boot<'t>; 2]> {
    let kernels = guest::kernels(tree, directory).map_err(|e| tree.failure(&e))?;
    let (modules, mut others) =
        guest::kernels_of_modules(root, &MODULES).map_err(|e| root.failure(&e))?;
    others.retain(|other| {
        let version = &other.kernel.version;
        !kernels.iter().any(|known| {
            known.kernel.version == *version || known.release.as_ref() == Some(version)
        })
    });
    Ok([
        Boot { partition, tree, directory: directory.to_owned(), kernels },
        Boot { partition: None, tree: root, directory: modules, kernels: others },
    ])
}

impl Boot<'_> {
    /// Where a file of this directory is, as the other verbs take it.
    pub(super) fn path(&self, file: &str) -> PathBuf {
        Path::new(&self.directory).join(file)
    }

    /// A kernel, for people: `6.1.0: partition 1, /vmlinuz-6.1.0, ramdisk initrd.img-6.1.0`.
    pub(super) fn line(&self, found: &Found) -> String {
        let kernel = &found.kernel;
        let version = match (&kernel.version[..], &found.release) {
            ("", Some(release)) => release,
            ("", None) => "no version",
            (version, _) => version,
        };
        let path = self.path(&kernel.file);
        let place = match self.partition {
            Some(number) => format!("partition {number}, {}", path.display()),
            None => path.display().to_string(),
        };
        let ramdisk = kernel.ramdisk.as_ref();
        let ramdisk = ramdisk.map_or("no ramdisk".into(), |file| format!("ramdisk {file}"));
        visible(&format!("{version}: {place}, {ramdisk}")).into_owned()
    }

    /// An entry of a boot loader, for people: ``Debian GNU/Linux` starts /vmlinuz-6.1.0 (/boot/grub/grub.cfg)`.
    pub(super) fn entry_line(&self, found: &loader::Found) -> String {
        let entry = &found.entry;
        let before = entry.hypervisor.as_ref();
        let before = before.map_or(String::new(), |first| format!("{first}, then "));
        let path = found.path.display();
        let place = match self.partition {
            Some(number) => format!("partition {number}, {path}"),
            None => path.to_string(),
        };
        let line = format!("`{}` starts {before}{} ({place})", entry.title, entry.kernel);
        visible(&line).into_owned()
    }

    /// An entry of a boot loader, for programs.
    pub(super) fn entry_json(&self, found: &loader::Found) -> Value {
        let entry = &found.entry;
        json!({
            "partition": self.partition,
            "path": found.path.to_string_lossy(),
            "title": entry.title,
            "hypervisor": entry.hypervisor,
            "kernel": entry.kernel,
            "ramdisks": entry.ramdisks,
            "options": entry.options,
        })
    }

    /// A kernel, for programs.
    pub(super) fn json(&self, found: &Found) -> Value {
        let path = |file: &String| self.path(file).to_string_lossy().into_owned();
        json!({
            "version": found.kernel.version,
            "release": found.release,
            "partition": self.partition,
            "path": path(&found.kernel.file),
            "bytes": found.len,
            "ramdisk": found.kernel.ramdisk.as_ref().map(path),
        })
    }
}
