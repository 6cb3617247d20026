//! Guests that are old: what their kernel mounts read-write, and what their own tools know.
//!
//! Three things bound an old guest: its kernel refuses `incompat` bits that it does not know; its `e2fsck` stops the boot
//! at any bit that it does not know; and GRUB 0.9x reads inodes of 128 bytes alone, unless patched.
//!
//! | profile | kernel | e2fsprogs | file system | inode |
//! | --- | --- | --- | --- | --- |
//! | `rhel3` | 2.4.21 | 1.32 | ext3 | 128 |
//! | `rhel4` | 2.6.9 | 1.35 | ext3, `dir_index` | 128 |
//! | `rhel5` | 2.6.18 | 1.39 | ext3, `dir_index`, `resize_inode` | 128 |
//! | `rhel6` | 2.6.32 | 1.41 | ext4, no `64bit`, no `metadata_csum` | 256 |
//! | `rhel7` | 3.10 | 1.42 | ext4, no `metadata_csum` | 256 |
//! | `rhel8` | 4.18 | 1.44 | ext4, no `orphan_file`, no `metadata_csum_seed` | 256 |
//! | `debian-sarge` | 2.4.27, 2.6.8 | 1.37 | ext3 | 128 |
//! | `debian-etch` | 2.6.18 | 1.40 | ext3, `dir_index`, `resize_inode` | 128 |
//! | `debian-lenny` | 2.6.26 | 1.41 | ext3, `dir_index`, `resize_inode` | 256 |
//! | `debian-squeeze` | 2.6.32 | 1.41 | as `rhel6` | 256 |
//! | `debian-wheezy`, `debian-jessie` | 3.2, 3.16 | 1.42 | as `rhel7` | 256 |

use crate::error::{Error, Result};
use crate::ext::mkfs::options::Kind;

/// A guest that bounds what a file system may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    name: &'static str,
    kind: Kind,
    features: &'static str,
    inode_size: u16,
    reason: &'static str,
}

const EXT3_PLAIN: &str = "none,has_journal,ext_attr,filetype,sparse_super,large_file";
const EXT3_INDEXED: &str = "none,has_journal,ext_attr,filetype,sparse_super,large_file,dir_index";
const EXT3_RESIZED: &str =
    "none,has_journal,ext_attr,filetype,sparse_super,large_file,dir_index,resize_inode";
const EXT4_EARLY: &str = "^64bit,^metadata_csum,^metadata_csum_seed,^orphan_file,uninit_bg";
const EXT4_CRC16: &str = "^metadata_csum,^metadata_csum_seed,^orphan_file,uninit_bg";
const EXT4_CSUM: &str = "^metadata_csum_seed,^orphan_file";

const ALL: [Profile; 12] = [
    Profile {
        name: "rhel3",
        kind: Kind::Ext3,
        features: EXT3_PLAIN,
        inode_size: 128,
        reason: "Linux 2.4.21 has no ext4, no hash trees and no attributes in inodes; GRUB 0.93 reads inodes of 128 bytes",
    },
    Profile {
        name: "rhel4",
        kind: Kind::Ext3,
        features: EXT3_INDEXED,
        inode_size: 128,
        reason: "Linux 2.6.9 has no ext4 and no attributes in inodes; GRUB 0.95 reads inodes of 128 bytes",
    },
    Profile {
        name: "rhel5",
        kind: Kind::Ext3,
        features: EXT3_RESIZED,
        inode_size: 128,
        reason: "Linux 2.6.18 has no ext4; GRUB 0.97 reads inodes of 128 bytes",
    },
    Profile {
        name: "rhel6",
        kind: Kind::Ext4,
        features: EXT4_EARLY,
        inode_size: 256,
        reason: "e2fsprogs 1.41 knows neither `64bit` nor `metadata_csum`, and its e2fsck stops the boot",
    },
    Profile {
        name: "rhel7",
        kind: Kind::Ext4,
        features: EXT4_CRC16,
        inode_size: 256,
        reason: "e2fsprogs 1.42 does not know `metadata_csum`, and its e2fsck stops the boot",
    },
    Profile {
        name: "rhel8",
        kind: Kind::Ext4,
        features: EXT4_CSUM,
        inode_size: 256,
        reason: "Linux 4.18 does not know `orphan_file`, GRUB 2.02 no `metadata_csum_seed`",
    },
    Profile {
        name: "debian-sarge",
        kind: Kind::Ext3,
        features: EXT3_PLAIN,
        inode_size: 128,
        reason: "Linux 2.4.27 and 2.6.8 have no ext4 and no attributes in inodes; GRUB 0.95 reads inodes of 128 bytes",
    },
    Profile {
        name: "debian-etch",
        kind: Kind::Ext3,
        features: EXT3_RESIZED,
        inode_size: 128,
        reason: "Linux 2.6.18 has no ext4; GRUB 0.97 reads inodes of 128 bytes",
    },
    Profile {
        name: "debian-lenny",
        kind: Kind::Ext3,
        features: EXT3_RESIZED,
        inode_size: 256,
        reason: "Linux 2.6.26 has an ext4 that was still a draft",
    },
    Profile {
        name: "debian-squeeze",
        kind: Kind::Ext4,
        features: EXT4_EARLY,
        inode_size: 256,
        reason: "e2fsprogs 1.41 knows neither `64bit` nor `metadata_csum`, and its e2fsck stops the boot",
    },
    Profile {
        name: "debian-wheezy",
        kind: Kind::Ext4,
        features: EXT4_CRC16,
        inode_size: 256,
        reason: "e2fsprogs 1.42 does not know `metadata_csum`, and its e2fsck stops the boot",
    },
    Profile {
        name: "debian-jessie",
        kind: Kind::Ext4,
        features: EXT4_CRC16,
        inode_size: 256,
        reason: "e2fsprogs 1.42 does not know `metadata_csum`, and its e2fsck stops the boot",
    },
];

impl Profile {
    /// The profile of that name.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where there is none; it lists those that there are.
    pub fn named(name: &str) -> Result<Self> {
        ALL.into_iter().find(|profile| profile.name == name).ok_or_else(|| {
            let names = ALL.map(|profile| profile.name).join("`, `");
            Error::Unsupported(format!("no profile `{name}`: there are `{names}`"))
        })
    }

    /// Every profile.
    pub fn all() -> impl Iterator<Item = Self> {
        ALL.into_iter()
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The newest kind that the guest mounts.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Why it is as it is, in a sentence.
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// Features in `mke2fs`'s words.
    pub(super) fn features(&self) -> &'static str {
        self.features
    }

    /// Bytes of an inode.
    pub(super) fn inode_size(&self) -> u16 {
        self.inode_size
    }
}
