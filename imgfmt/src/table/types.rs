//! Types of partitions by the names that people know: `esp`, `linux`, `root`, `swap`, `home`…
//!
//! A GPT has a GUID for each, of the UEFI specification and the Discoverable Partitions Specification, where a root has one
//! for each kind of processor; an MBR has a byte, and one for all that Linux mounts. Any other type is told as it stands in
//! the table: a GUID, or two hexadecimal digits.
//!
//! ```text
//! root   4f68bce3-e8cd-4db1-96e7-fbcaf984b709 (x86-64)   83
//! swap   0657fd6d-a4ab-43c4-84e5-0933c84b4f4f            82
//! ```

use gpt::partition_types as gpt_types;
use uuid::{Uuid, uuid};

use super::{Kind, PartitionType};

/// The root of the processors that this is compiled for; of others that of Linux as such.
const ROOT: Uuid = if cfg!(target_arch = "x86_64") {
    gpt_types::LINUX_ROOT_X64.guid
} else if cfg!(target_arch = "x86") {
    gpt_types::LINUX_ROOT_X86.guid
} else if cfg!(target_arch = "aarch64") {
    gpt_types::LINUX_ROOT_ARM_64.guid
} else if cfg!(target_arch = "arm") {
    gpt_types::LINUX_ROOT_ARM_32.guid
} else if cfg!(target_arch = "riscv64") {
    uuid!("72ec70a6-cf74-40e6-bd49-4bda08e8f224")
} else {
    gpt_types::LINUX_FS.guid
};

/// Name, GUID, byte. The first of two names for one type is the one that is shown.
const TYPES: &[(&str, Uuid, u8)] = &[
    ("linux", gpt_types::LINUX_FS.guid, 0x83),
    ("root", ROOT, 0x83),
    ("esp", gpt_types::EFI.guid, 0xef),
    ("efi", gpt_types::EFI.guid, 0xef),
    ("swap", gpt_types::LINUX_SWAP.guid, 0x82),
    ("home", gpt_types::LINUX_HOME.guid, 0x83),
    ("srv", gpt_types::LINUX_SRV.guid, 0x83),
    ("var", uuid!("4d21b016-b534-45c2-a9fb-5c16e091fd2d"), 0x83),
    ("boot", uuid!("bc13c2ff-59e6-4262-a352-b275fd6f7172"), 0x83),
    ("bios-boot", uuid!("21686148-6449-6e6f-744e-656564454649"), 0x83),
    ("fat", gpt_types::BASIC.guid, 0x0c),
    ("lvm", gpt_types::LINUX_LVM.guid, 0x8e),
    ("raid", gpt_types::LINUX_RAID.guid, 0xfd),
];

impl PartitionType {
    /// The type that `name` has in a table of this kind: a name from the list above, a GUID, or two hexadecimal digits.
    pub fn from_name(kind: Kind, name: &str) -> Option<Self> {
        let known = TYPES.iter().find(|(known, ..)| *known == name);
        match kind {
            Kind::Gpt => known
                .map(|&(_, guid, _)| guid)
                .or_else(|| Uuid::try_parse(name).ok())
                .map(Self::Gpt),
            Kind::Mbr => {
                let byte = || u8::from_str_radix(name, 16).ok().filter(|_| name.len() == 2);
                known.map(|&(.., byte)| byte).or_else(byte).map(Self::Mbr)
            }
        }
    }

    /// The names that [`from_name`](Self::from_name) knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        TYPES.iter().map(|(name, ..)| *name)
    }

    /// What people call it.
    pub fn name(&self) -> Option<&'static str> {
        let is_it = |&&(_, guid, byte): &&(&str, Uuid, u8)| match self {
            Self::Gpt(own) => *own == guid,
            Self::Mbr(own) => *own == byte,
        };
        TYPES.iter().find(is_it).map(|(name, ..)| *name)
    }

    /// Whether it says that it is the root of a Linux system for this machine's kind of processor. In an MBR none does.
    pub fn is_root(&self) -> bool {
        *self == Self::Gpt(ROOT) && ROOT != gpt_types::LINUX_FS.guid
    }
}
