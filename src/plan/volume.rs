//! Which file system an `imagefile` means, and whether it is what the document says.
//!
//! A bare image is one file system; of an image with a partition table, `partition` says which. `filesystemtype` is
//! what the guest's `mount -t` gets, so it is compared with what the driver of that name mounts, not with the name
//! alone: `ext4` mounts all three, `ext3` wants a journal and no extents, `ext2` leaves a clean journal unused.

use crate::diagnostic::Diagnostic;
use crate::facts::{ImageFacts, VolumeFacts};
use crate::xmf::model::{ImageFile, MountPoint};

/// The content of an `imagefile`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// What it holds, by the name of its magic: `ext3`, `vfat`, `swap`.
    pub(super) filesystem: String,
    /// What the volume says of itself; of a new disk, nothing yet.
    pub(super) volume: VolumeFacts,
    /// What the user ought to know.
    pub(super) note: Option<String>,
}

impl Held {
    /// Can we write into it?
    pub(super) fn is_editable(&self) -> bool {
        self.is_ext() || self.is_fat()
    }

    pub(super) fn is_ext(&self) -> bool {
        matches!(self.filesystem.as_str(), "ext2" | "ext3" | "ext4")
    }

    pub(super) fn is_fat(&self) -> bool {
        is_fat(&self.filesystem)
    }
}

fn is_fat(name: &str) -> bool {
    matches!(name, "vfat" | "msdos" | "fat" | "fat12" | "fat16" | "fat32")
}

/// What this `imagefile` holds.
pub(super) fn held(image: &ImageFile, facts: &ImageFacts) -> Result<Held, Diagnostic> {
    let wanted = image.filesystem.value.as_str();
    let is_swap = wanted == "swap";
    if is_swap && image.read_only {
        return Err(Diagnostic::error(image.span.clone(), "swap space cannot be read-only"));
    }
    if is_swap != (image.mountpoint.value == MountPoint::None) {
        let message = if is_swap { "swap space is not mounted" } else { "no mount point" };
        return Err(Diagnostic::error(image.mountpoint.span.clone(), message)
            .hint("`none` is the mount point of `swap`, and of nothing else"));
    }
    let held = if image.url.is_none() { new_disk(image)? } else { stock(image, facts)? };
    if let (Some(label), Some(_)) = (&image.label, &image.url)
        && held.volume.label.as_ref() != Some(&label.value)
    {
        let found = held.volume.label.as_deref().unwrap_or("");
        return Err(Diagnostic::error(
            label.span.clone(),
            format!("the label of the image is `{}`, not `{}`", found.escape_debug(), label.value),
        ));
    }
    Ok(held)
}

/// The largest FAT that is made here, in bytes: its allocation table is put together in memory.
const VFAT_MAX: u64 = 32 << 30;

fn new_disk(image: &ImageFile) -> Result<Held, Diagnostic> {
    let Some(size) = &image.size else {
        return Err(Diagnostic::error(
            image.span.clone(),
            "neither `url` nor `size`: no disk to attach",
        ));
    };
    if let Some(partition) = &image.partition {
        return Err(Diagnostic::error(partition.span.clone(), "a new disk has no partitions"));
    }
    let wanted = image.filesystem.value.as_str();
    if !matches!(wanted, "swap" | "vfat") {
        return Err(Diagnostic::error(
            image.filesystem.span.clone(),
            format!("a new disk can hold `swap` or `vfat`, not `{wanted}`"),
        )
        .hint("make the image with mke2fs or the like, and give its `url`"));
    }
    // A FAT below 64 KiB and a swap space below ten pages are refused by those who read them.
    if size.value < 64 * 1024 || size.value % 512 != 0 {
        return Err(Diagnostic::error(
            size.span.clone(),
            format!(
                "a new disk of {} bytes: at least 64 KiB, in whole sectors of 512 bytes",
                size.value
            ),
        ));
    }
    if wanted == "vfat" && size.value > VFAT_MAX {
        return Err(Diagnostic::error(size.span.clone(), "a new vfat disk of more than 32 GiB")
            .hint("make the image with mkfs.fat, and give its `url`"));
    }
    let limit = if wanted == "swap" { 15 } else { 11 };
    if let Some(label) = &image.label
        && (label.len() > limit || label.value.is_empty() || !label.bytes().all(is_label_byte))
    {
        return Err(Diagnostic::error(
            label.span.clone(),
            format!("a label of {wanted} is 1 to {limit} letters, digits, blanks, `-` or `_`"),
        ));
    }
    let volume = VolumeFacts { filesystem: Some(wanted.to_owned()), ..VolumeFacts::default() };
    Ok(Held { filesystem: wanted.to_owned(), volume, note: None })
}

fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" -_".contains(&byte)
}

fn stock(image: &ImageFile, facts: &ImageFacts) -> Result<Held, Diagnostic> {
    if let Some(size) = &image.size {
        return Err(Diagnostic::error(
            size.span.clone(),
            "`size` makes a new disk, but this one has a `url`",
        ));
    }
    let chosen = facts
        .chosen
        .and_then(|number| facts.volumes.iter().find(|volume| volume.partition == Some(number)));
    let volume = match (facts.table, &image.partition) {
        (Some(_), None) if chosen.is_some() => chosen.expect("asked for"),
        (Some(table), None) => {
            let text =
                format!("the image has a partition table ({table}) with {}", list(&facts.volumes));
            let like = facts.volumes.iter().find(|volume| {
                volume
                    .filesystem
                    .as_ref()
                    .is_some_and(|held| compare(&image.filesystem, held).is_ok())
            });
            let finding =
                Diagnostic::error(image.span.clone(), text).expected("the attribute `partition`");
            let nr = like.or(facts.volumes.first()).and_then(|volume| volume.partition);
            return Err(match nr {
                Some(nr) => finding.hint(format!("set partition=\"{nr}\"")),
                None => finding,
            });
        }
        (None, Some(partition)) => {
            let what = facts.volumes.first().and_then(|volume| volume.filesystem.as_deref());
            let text = format!(
                "the image has no partition table; it holds {}",
                what.unwrap_or("nothing known")
            );
            return Err(
                Diagnostic::error(partition.span.clone(), text).hint("leave `partition` out")
            );
        }
        (Some(_), Some(partition)) => {
            let found =
                facts.volumes.iter().find(|volume| volume.partition == Some(partition.value));
            found.ok_or_else(|| {
                let text = format!(
                    "no partition {}: the image has {}",
                    partition.value,
                    list(&facts.volumes)
                );
                Diagnostic::error(partition.span.clone(), text)
            })?
        }
        (None, None) => facts.volumes.first().ok_or_else(|| unknown(image))?,
    };
    let name = volume.filesystem.as_deref().ok_or_else(|| unknown(image))?;
    match compare(&image.filesystem, name) {
        Ok(note) => {
            let root = chosen.and_then(|volume| volume.partition);
            let root = root.map(|number| format!("partition {number} holds the root"));
            let notes: Vec<String> = root.into_iter().chain(note).collect();
            let note = (!notes.is_empty())
                .then(|| format!("{}: {}", device_path(image), notes.join("; ")));
            Ok(Held { filesystem: name.to_owned(), volume: volume.clone(), note })
        }
        Err(hint) => {
            let text = format!("the image holds `{name}`, not `{}`", image.filesystem.value);
            let finding = Diagnostic::error(image.filesystem.span.clone(), text);
            Err(match hint {
                Some(hint) => finding.hint(hint),
                None => finding.hint(format!("set filesystemtype to `{name}`")),
            })
        }
    }
}

fn unknown(image: &ImageFile) -> Diagnostic {
    let span = image.url.as_ref().map_or(image.span.clone(), |url| url.span.clone());
    Diagnostic::error(
        span,
        format!("the image holds nothing that is known, not `{}`", image.filesystem.value),
    )
    .hint("is it a raw image, and whole?")
}

/// What the driver `wanted` does with a file system that is `held`: mount it, perhaps with a remark, or not, perhaps
/// with a way out.
fn compare(wanted: &str, held: &str) -> Result<Option<String>, Option<String>> {
    let lower = held.to_ascii_lowercase();
    if ["qcow", "vmdk", "vdi", "vhd"].iter().any(|format| lower.starts_with(format)) {
        return Err(Some(format!(
            "{held} is not raw: convert it with `qemu-img convert -O raw IN OUT`"
        )));
    }
    if lower.contains("luks") {
        return Err(Some("it is encrypted: give an image that is not".into()));
    }
    if lower.contains("lvm") {
        return Err(Some(
            "logical volumes are not looked into: copy the volume to an image of its own".into(),
        ));
    }
    if lower.contains("raid") {
        return Err(Some(
            "arrays are not looked into: copy the array to an image of its own".into(),
        ));
    }
    match (wanted, held) {
        (wanted, held) if wanted == held && wanted != "fat" => Ok(None),
        ("auto", held) if held != "swap" => Ok(None),
        ("ext4", "ext2" | "ext3") => Ok(Some(format!("the driver ext4 mounts what is {held}"))),
        ("ext2", "ext3") => Ok(Some("the driver ext2 does not use the journal of what is ext3".into())),
        ("ext3", "ext2") => Err(Some("the driver ext3 wants a journal: set filesystemtype to `ext2`, or add one with `tune2fs -j`".into())),
        ("vfat" | "msdos", held) if is_fat(held) => Ok(None),
        ("fat", held) if is_fat(held) => Err(Some("Linux calls it `vfat`".into())),
        ("swap", _) => Err(Some("make swap space with `mkswap`, or leave `url` out and set `size`".into())),
        _ => Err(None),
    }
}

/// `partitions 1 (vfat), 2 (ext4)`.
fn list(volumes: &[VolumeFacts]) -> String {
    let names: Vec<String> = volumes
        .iter()
        .filter_map(|volume| {
            let nr = volume.partition?;
            Some(format!("{nr} ({})", volume.filesystem.as_deref().unwrap_or("unknown")))
        })
        .collect();
    match names.as_slice() {
        [] => "no partitions".into(),
        [one] => format!("partition {one}"),
        many => format!("partitions {}", many.join(", ")),
    }
}

/// The device's path as the document writes it.
pub(super) fn device_path(image: &ImageFile) -> String {
    let nr = image.device.partition.map(|nr| nr.to_string()).unwrap_or_default();
    format!("/dev/{}{nr}", image.device.disk)
}
