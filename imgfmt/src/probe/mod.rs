//! What a volume holds, by its magic, with the names that fstab knows it by.
//!
//! Kinds, UUIDs and labels are spelled as blkid spells them. The order decides where two magics are there: an ext
//! superblock is never left over, since all other formats overwrite it; a swap header may be.
//!
//! ```text
//! kind        magic                       at               UUID
//! ext2…jbd    53 ef                       1080             1064+40…, as a GUID
//! xfs         XFSB                        0                32
//! btrfs       _BHRfS_M                    65600            65568
//! swap        SWAPSPACE2                  page end - 10    1036
//! vfat        55 aa, parameter block      510, 11          serial number `1A2B-3C4D`
//! ```
//!
//! A probe reads some sectors and nothing more; whether the file system is whole is not its business. Nothing read is
//! trusted: what does not fit the format is not of that kind.

#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use crate::storage::Storage;

mod container;
mod dos;
mod linux;

/// What a volume can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is the name of a format, and `name` spells it out")]
pub enum Kind {
    Ext2,
    Ext3,
    Ext4,
    /// An external journal of ext3 or ext4.
    Jbd,
    Xfs,
    Btrfs,
    F2fs,
    Erofs,
    Squashfs,
    Iso9660,
    Vfat,
    Exfat,
    Ntfs,
    Swap,
    /// Swap that holds a hibernated system.
    Suspended,
    Lvm2,
    Luks,
    Qcow2,
    Vmdk,
    Vhd,
    Vhdx,
    Vdi,
}

impl Kind {
    /// As blkid and fstab spell it; image formats, which blkid does not know, as qemu-img does.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
            Self::Jbd => "jbd",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::F2fs => "f2fs",
            Self::Erofs => "erofs",
            Self::Squashfs => "squashfs",
            Self::Iso9660 => "iso9660",
            Self::Vfat => "vfat",
            Self::Exfat => "exfat",
            Self::Ntfs => "ntfs",
            Self::Swap => "swap",
            Self::Suspended => "swsuspend",
            Self::Lvm2 => "LVM2_member",
            Self::Luks => "crypto_LUKS",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Vhd => "vpc",
            Self::Vhdx => "vhdx",
            Self::Vdi => "vdi",
        }
    }

    /// Whether it is of the ext family, which [`crate::ext`] reads.
    pub fn is_ext(self) -> bool {
        matches!(self, Self::Ext2 | Self::Ext3 | Self::Ext4)
    }

    /// Whether it is an image format, which has to be converted to a raw image first.
    pub fn is_image_format(self) -> bool {
        matches!(self, Self::Qcow2 | Self::Vmdk | Self::Vhd | Self::Vhdx | Self::Vdi)
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Which format.
    pub kind: Kind,
    /// As fstab's `UUID=` has it.
    pub uuid: Option<String>,
    /// As fstab's `LABEL=` has it.
    pub label: Option<String>,
    /// Whether the superblock says that a journal has to be replayed. Only the ext family says so.
    pub needs_recovery: bool,
}

impl Probe {
    fn new(kind: Kind) -> Self {
        Self { kind, uuid: None, label: None, needs_recovery: false }
    }

    fn with_uuid(self, uuid: [u8; 16]) -> Self {
        // A UUID of zeros is one that was never set.
        let uuid = (uuid != [0; 16]).then(|| uuid::Uuid::from_bytes(uuid).to_string());
        Self { uuid, ..self }
    }

    fn with_label(self, label: &[u8]) -> Self {
        Self { label: text(label), ..self }
    }
}

/// What `storage` holds; `None` where no magic is known.
///
/// # Errors
/// [`Error::Io`] where it cannot be read.
pub fn probe(storage: &dyn Storage) -> Result<Option<Probe>> {
    let bytes = Bytes(storage);
    for probe in [container::probe, linux::probe, dos::probe] {
        match probe(&bytes) {
            Ok(Some(found)) => return Ok(Some(found)),
            Ok(None) => {}
            Err(error) => return Err(Error::io("probe", error)),
        }
    }
    Ok(None)
}

/// A storage, read a few bytes at a time.
struct Bytes<'a>(&'a dyn Storage);

impl Bytes<'_> {
    /// `None` where the range is not within the storage: then it is not of the format that has something there.
    fn read<const N: usize>(&self, offset: u64) -> std::io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        match offset.checked_add(N as u64) {
            Some(end) if end <= self.0.len() => {}
            _ => return Ok(None),
        }
        self.0.read_at(offset, &mut bytes)?;
        Ok(Some(bytes))
    }

    fn has(&self, offset: u64, magic: &[u8]) -> std::io::Result<bool> {
        let mut bytes = vec![0; magic.len()];
        match offset.checked_add(magic.len() as u64) {
            Some(end) if end <= self.0.len() => self.0.read_at(offset, &mut bytes)?,
            _ => return Ok(false),
        }
        Ok(bytes == magic)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the range has N bytes")
}

/// A label of bytes, up to the first zero, without the blanks at its end; `None` where nothing is left.
fn text(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end();
    (!text.is_empty()).then(|| text.to_string())
}

/// A label in UTF-16, little endian.
fn wide_text(bytes: &[u8]) -> Option<String> {
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .take_while(|unit| *unit != 0)
        .collect();
    text(String::from_utf16_lossy(&units).as_bytes())
}
