//! Features: three words of bits in the superblock, by what ignorance of one of them forbids.
//!
//! Whoever does not know a bit of `compat` may read and write, of `ro_compat` only read, of `incompat` neither.
//! Names are those of e2fsprogs, which users type and `dumpe2fs` prints.

use crate::error::{Error, Result};
use crate::ext::ondisk::superblock::Superblock;

bitflags::bitflags! {
    /// `s_feature_compat`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Compat: u32 {
        const DIR_PREALLOC = 0x1;
        const IMAGIC_INODES = 0x2;
        const HAS_JOURNAL = 0x4;
        const EXT_ATTR = 0x8;
        const RESIZE_INODE = 0x10;
        const DIR_INDEX = 0x20;
        const LAZY_BG = 0x40;
        const SNAPSHOT_BITMAP = 0x100;
        const SPARSE_SUPER2 = 0x200;
        const FAST_COMMIT = 0x400;
        const STABLE_INODES = 0x800;
        const ORPHAN_FILE = 0x1000;
    }

    /// `s_feature_incompat`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Incompat: u32 {
        const COMPRESSION = 0x1;
        const FILETYPE = 0x2;
        const NEEDS_RECOVERY = 0x4;
        const JOURNAL_DEV = 0x8;
        const META_BG = 0x10;
        const EXTENT = 0x40;
        const WIDE = 0x80;
        const MMP = 0x100;
        const FLEX_BG = 0x200;
        const EA_INODE = 0x400;
        const DIRDATA = 0x1000;
        const METADATA_CSUM_SEED = 0x2000;
        const LARGE_DIR = 0x4000;
        const INLINE_DATA = 0x8000;
        const ENCRYPT = 0x1_0000;
        const CASEFOLD = 0x2_0000;
    }

    /// `s_feature_ro_compat`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct RoCompat: u32 {
        const SPARSE_SUPER = 0x1;
        const LARGE_FILE = 0x2;
        const BTREE_DIR = 0x4;
        const HUGE_FILE = 0x8;
        const UNINIT_BG = 0x10;
        const DIR_NLINK = 0x20;
        const EXTRA_ISIZE = 0x40;
        const SNAPSHOT = 0x80;
        const QUOTA = 0x100;
        const BIGALLOC = 0x200;
        const METADATA_CSUM = 0x400;
        const REPLICA = 0x800;
        const READ_ONLY = 0x1000;
        const PROJECT = 0x2000;
        const SHARED_BLOCKS = 0x4000;
        const VERITY = 0x8000;
        const ORPHAN_PRESENT = 0x1_0000;
    }
}

/// The three words of one file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Features {
    /// What anybody may ignore.
    pub(crate) compat: Compat,
    /// What a reader has to know.
    pub(crate) incompat: Incompat,
    /// What a writer has to know.
    pub(crate) ro_compat: RoCompat,
}

/// What the reader knows. `needs_recovery` has an error of its own.
const READABLE: Incompat = Incompat::all()
    .difference(Incompat::COMPRESSION)
    .difference(Incompat::JOURNAL_DEV)
    .difference(Incompat::DIRDATA);

/// What an edit keeps right. `encrypt`, `casefold` and `verity` are refused file by file.
const WRITABLE_INCOMPAT: Incompat =
    READABLE.difference(Incompat::MMP).difference(Incompat::EA_INODE);
const WRITABLE_RO_COMPAT: RoCompat = RoCompat::all()
    .difference(RoCompat::SNAPSHOT)
    .difference(RoCompat::QUOTA)
    .difference(RoCompat::BIGALLOC)
    .difference(RoCompat::REPLICA)
    .difference(RoCompat::READ_ONLY)
    .difference(RoCompat::SHARED_BLOCKS);
const WRITABLE_COMPAT: Compat =
    Compat::all().difference(Compat::LAZY_BG).difference(Compat::SNAPSHOT_BITMAP);

impl Features {
    /// The words of a superblock, with all their bits.
    pub(crate) fn new(superblock: &Superblock) -> Self {
        Self {
            compat: Compat::from_bits_retain(superblock.feature_compat.get()),
            incompat: Incompat::from_bits_retain(superblock.feature_incompat.get()),
            ro_compat: RoCompat::from_bits_retain(superblock.feature_ro_compat.get()),
        }
    }

    /// Refuse what cannot be read, by its name.
    pub(crate) fn check_readable(self) -> Result<()> {
        match names(self.incompat.difference(READABLE), 'I').as_slice() {
            [] => Ok(()),
            names => Err(unsupported("read", names)),
        }
    }

    /// Refuse what an edit would leave wrong, by its name.
    pub(crate) fn check_writable(self) -> Result<()> {
        let mut names = names(self.compat.difference(WRITABLE_COMPAT), 'C');
        names.extend(self::names(self.incompat.difference(WRITABLE_INCOMPAT), 'I'));
        names.extend(self::names(self.ro_compat.difference(WRITABLE_RO_COMPAT), 'R'));
        if names.is_empty() { Ok(()) } else { Err(unsupported("edited", &names)) }
    }

    /// Every feature that is on, by its name.
    pub(crate) fn names(self) -> Vec<String> {
        let mut all = names(self.compat, 'C');
        all.extend(names(self.incompat, 'I'));
        all.extend(names(self.ro_compat, 'R'));
        all
    }
}

fn unsupported(verb: &str, names: &[String]) -> Error {
    let plural = if names.len() == 1 { "feature" } else { "features" };
    Error::Unsupported(format!(
        "ext file systems with the {plural} `{}` cannot be {verb} yet",
        names.join("`, `")
    ))
}

/// Names of the bits; those without one are called as e2fsprogs does, `FEATURE_I31` being bit 31 of `incompat`.
fn names<F: bitflags::Flags<Bits = u32>>(flags: F, word: char) -> Vec<String> {
    let known = flags.iter_names().map(|(name, _)| match name {
        "WIDE" => "64bit".to_owned(),
        _ => name.to_ascii_lowercase(),
    });
    let unknown = flags.bits() & !F::all().bits();
    let unnamed = (0..u32::BITS)
        .filter(move |bit| unknown & 1 << bit != 0)
        .map(move |bit| format!("FEATURE_{word}{bit}"));
    known.chain(unnamed).collect()
}

#[cfg(test)]
mod tests {
    use super::{Compat, Features, Incompat, RoCompat};

    fn features(compat: u32, incompat: u32, ro_compat: u32) -> Features {
        Features {
            compat: Compat::from_bits_retain(compat),
            incompat: Incompat::from_bits_retain(incompat),
            ro_compat: RoCompat::from_bits_retain(ro_compat),
        }
    }

    #[test]
    fn each_unsupported_feature_is_named() {
        let refusal = features(0, 0x8000_0081, 0).check_readable().expect_err("two are unknown");
        assert_eq!(
            refusal.to_string(),
            "ext file systems with the features `compression`, `FEATURE_I31` cannot be read yet"
        );
        let refusal = features(0, 0x400, 0x100).check_writable().expect_err("neither is kept");
        assert_eq!(
            refusal.to_string(),
            "ext file systems with the features `ea_inode`, `quota` cannot be edited yet"
        );
    }

    #[test]
    fn what_mke2fs_makes_by_default_can_be_edited() {
        // has_journal ext_attr resize_inode dir_index orphan_file / filetype extent 64bit flex_bg metadata_csum_seed /
        // sparse_super large_file huge_file dir_nlink extra_isize metadata_csum
        features(0x103C, 0x22C2, 0x46B).check_writable().expect("mke2fs 1.47.1 makes this");
    }
}
