//! One file system, or swap space, that is to be made: bare, or in a partition.

use std::path::PathBuf;

use imgfmt::ext::mkfs;
use uuid::Uuid;

use super::owners::Owners;
use super::size::Size;

/// What a volume is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// ext2, ext3 or ext4.
    Ext(mkfs::Kind),
    /// FAT12, FAT16 or FAT32, by its size.
    Vfat,
    /// Swap space.
    Swap,
    /// The bytes of a file, or zeros: what a boot loader has in a partition of its own.
    Raw,
}

impl Type {
    /// The type of that name.
    ///
    /// # Errors
    /// Those that there are.
    pub fn parse(name: &str) -> Result<Self, String> {
        Ok(match name {
            "ext2" => Self::Ext(mkfs::Kind::Ext2),
            "ext3" => Self::Ext(mkfs::Kind::Ext3),
            "ext4" => Self::Ext(mkfs::Kind::Ext4),
            "vfat" | "fat" => Self::Vfat,
            "swap" => Self::Swap,
            _ => return Err("there are `ext2`, `ext3`, `ext4`, `vfat` and `swap`".into()),
        })
    }

    /// The same, for a partition.
    ///
    /// # Errors
    /// Those that there are.
    pub fn of_part(name: &str) -> Result<Self, String> {
        match name {
            "raw" | "none" => Ok(Self::Raw),
            _ => Self::parse(name)
                .map_err(|there| format!("no file system `{name}`: {there}, and `raw`")),
        }
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext(mkfs::Kind::Ext2) => "ext2",
            Self::Ext(mkfs::Kind::Ext3) => "ext3",
            Self::Ext(mkfs::Kind::Ext4) => "ext4",
            Self::Vfat => "vfat",
            Self::Swap => "swap",
            Self::Raw => "raw",
        }
    }
}

/// What a source is, where it is not told by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A tar archive, plain or packed with gzip, zstd or xz
    Tar,
    /// A directory
    Dir,
    /// A container image: an OCI layout or archive, or what `docker save` writes
    Oci,
}

/// One volume.
#[derive(Clone, Debug)]
pub struct Volume {
    /// What it holds.
    pub kind: Type,
    /// How large it is.
    pub size: Size,
    /// Its label.
    pub label: Option<String>,
    /// Its UUID; of a FAT its first four bytes are the volume's number.
    pub uuid: Option<Uuid>,
    /// Which of a disk's partitions it is: two of the same content are still two. 0 where it is bare.
    pub number: u32,
    /// What all that is left open is derived from; without one, the content.
    pub seed: Option<String>,
    /// Features in mke2fs's words.
    pub features: String,
    /// The guest that it is for.
    pub profile: Option<mkfs::Profile>,
    /// Bytes of a block.
    pub block_size: Option<u32>,
    /// Bytes of an inode.
    pub inode_size: Option<u16>,
    /// How many inodes.
    pub inodes: mkfs::Inodes,
    /// Bytes of the journal.
    pub journal_size: Option<u64>,
    /// Part that only root may take, in percent.
    pub reserved_percent: Option<u8>,
    /// Owners to be changed.
    pub owners: Owners,
    /// What goes into it, in this order.
    pub from: Vec<PathBuf>,
}

impl Volume {
    /// A volume of which only the type and the size are said.
    pub fn new(kind: Type, size: Size) -> Self {
        Self {
            kind,
            size,
            label: None,
            uuid: None,
            number: 0,
            seed: None,
            features: String::new(),
            profile: None,
            block_size: None,
            inode_size: None,
            inodes: mkfs::Inodes::Default,
            journal_size: None,
            reserved_percent: None,
            owners: Owners::default(),
            from: Vec::new(),
        }
    }

    /// Whether its content is looked at before it is made.
    pub fn is_looked_at_first(&self) -> bool {
        self.kind == Type::Vfat && matches!(self.size, Size::Auto(_))
    }

    /// What is said and means nothing for this type.
    ///
    /// # Errors
    /// Its name, and why.
    pub fn check(&self) -> Result<(), String> {
        let name = self.kind.name();
        if !matches!(self.kind, Type::Ext(_)) {
            let said = [
                ("features", !self.features.is_empty()),
                ("for", self.profile.is_some()),
                ("block-size", self.block_size.is_some()),
                ("inode-size", self.inode_size.is_some()),
                ("inodes", self.inodes != mkfs::Inodes::Default),
                ("journal-size", self.journal_size.is_some()),
                ("reserved", self.reserved_percent.is_some()),
            ];
            if let Some((option, _)) = said.into_iter().find(|(_, said)| *said) {
                return Err(format!("`{option}` is for ext file systems, not for {name}"));
            }
        }
        if self.kind == Type::Raw {
            if self.from.len() > 1 {
                return Err("raw bytes come from one file".into());
            }
            if self.label.is_some() || self.uuid.is_some() || !self.owners.is_empty() {
                return Err("raw bytes have neither label nor UUID nor owners".into());
            }
        }
        if self.kind == Type::Swap {
            if !self.from.is_empty() {
                return Err("swap holds no files: leave out its sources".into());
            }
            if matches!(self.size, Size::Auto(_)) {
                return Err("swap needs a size".into());
            }
        }
        Ok(())
    }
}

/// A UUID, or the number of a FAT (`1A2B-3C4D`) as the beginning of one.
///
/// # Errors
/// What would serve.
pub fn uuid(text: &str) -> Result<Uuid, String> {
    let short = text.split_once('-').filter(|(high, low)| high.len() == 4 && low.len() == 4);
    let number =
        short.and_then(|(high, low)| u32::from_str_radix(&format!("{high}{low}"), 16).ok());
    match number {
        Some(number) => Ok(Uuid::from_fields(number, 0, 0, &[0; 8])),
        None => {
            Uuid::parse_str(text).map_err(|_| "no UUID, nor eight digits of a FAT's".to_owned())
        }
    }
}
