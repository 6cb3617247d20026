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

/// The root of each kind of processor, in the order of the Discoverable Partitions Specification.
const ROOTS: [Uuid; 21] = [
    uuid!("6523f8ae-3eb1-4e2a-a05a-18b695ae656f"), // alpha
    uuid!("d27f46ed-2919-4cb8-bd25-9531f3c16534"), // arc
    uuid!("69dad710-2ce4-4e3c-b16c-21a1d49abed3"), // arm
    uuid!("b921b045-1df0-41c3-af44-4c6f280d3fae"), // arm64
    uuid!("993d8d3d-f80e-4225-855a-9daf8ed7ea97"), // ia64
    uuid!("77055800-792c-4f94-b39a-98c91b762bb6"), // loongarch64
    uuid!("e9434544-6e2c-47cc-bae2-12d6deafb44c"), // mips
    uuid!("d113af76-80ef-41b4-bdb6-0cff4d3d4a25"), // mips64
    uuid!("37c58c8a-d913-4156-a25f-48b1b64e07f0"), // mips-le
    uuid!("700bda43-7a34-4507-b179-eeb93d7a7ca3"), // mips64-le
    uuid!("1aacdb3b-5444-4138-bd9e-e5c2239b2346"), // parisc
    uuid!("1de3f1ef-fa98-47b5-8dcd-4a860a654d78"), // ppc
    uuid!("912ade1d-a839-4913-8964-a10eee08fbd2"), // ppc64
    uuid!("c31c45e6-3f39-412e-80fb-4809c4980599"), // ppc64-le
    uuid!("60d5a7fe-8e7d-435c-b714-3dd8162144e1"), // riscv32
    uuid!("72ec70a6-cf74-40e6-bd49-4bda08e8f224"), // riscv64
    uuid!("08a7acea-624c-4a20-91e8-6e0fa67d23f9"), // s390
    uuid!("5eead9a9-fe09-4a1e-a1d7-520d00531306"), // s390x
    uuid!("c50cdd70-3862-4cc3-90e1-809a8c93ee2c"), // tilegx
    uuid!("44479540-f297-41b2-9af7-d131d5f0458a"), // x86
    uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"), // x86-64
];

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

    /// Whether it says that it is the root of a Linux system, for whatever kind of processor. In an MBR none does.
    pub fn is_root(&self) -> bool {
        matches!(self, Self::Gpt(own) if ROOTS.contains(own))
    }
}
