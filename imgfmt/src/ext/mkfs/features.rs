//! Features in `mke2fs`'s words: what a kind has by default, what is asked for, what goes together.
//!
//! ```text
//! ext4 + "^64bit,metadata_csum_seed"   →   the defaults without 64bit, with metadata_csum_seed
//! ext3 + "none,extent"                 →   extent alone
//! ```

use crate::error::{Error, Result};
use crate::ext::feature::{Compat, Features, Incompat, RoCompat};
use crate::ext::mkfs::options::{Kind, Options};

/// What `write` knows how to make.
const COMPAT: Compat = Compat::HAS_JOURNAL
    .union(Compat::EXT_ATTR)
    .union(Compat::RESIZE_INODE)
    .union(Compat::DIR_INDEX)
    .union(Compat::SPARSE_SUPER2)
    .union(Compat::FAST_COMMIT)
    .union(Compat::STABLE_INODES)
    .union(Compat::ORPHAN_FILE);
const INCOMPAT: Incompat = Incompat::FILETYPE
    .union(Incompat::META_BG)
    .union(Incompat::EXTENT)
    .union(Incompat::WIDE)
    .union(Incompat::FLEX_BG)
    .union(Incompat::METADATA_CSUM_SEED)
    .union(Incompat::LARGE_DIR)
    .union(Incompat::INLINE_DATA);
const RO_COMPAT: RoCompat = RoCompat::SPARSE_SUPER
    .union(RoCompat::LARGE_FILE)
    .union(RoCompat::HUGE_FILE)
    .union(RoCompat::UNINIT_BG)
    .union(RoCompat::DIR_NLINK)
    .union(RoCompat::EXTRA_ISIZE)
    .union(RoCompat::METADATA_CSUM)
    .union(RoCompat::PROJECT)
    .union(RoCompat::VERITY);

const NONE: Features =
    Features { compat: Compat::empty(), incompat: Incompat::empty(), ro_compat: RoCompat::empty() };

const BASE: &str = "sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr";
const EXT4: &str = "has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize";

/// What the options ask for, as far as it does not depend on the size.
pub(super) fn of(options: &Options) -> Result<Features> {
    let mut features = NONE;
    apply(&mut features, BASE)?;
    match options.kind {
        Kind::Ext2 => {}
        Kind::Ext3 => apply(&mut features, "has_journal")?,
        Kind::Ext4 => apply(&mut features, EXT4)?,
    }
    if let Some(profile) = &options.profile {
        if (options.kind as u8) > (profile.kind() as u8) {
            return Err(refusal(&format!(
                "an {} file system for `{}`: {}",
                name(options.kind),
                profile.name(),
                profile.reason()
            )));
        }
        let has_journal = features.compat.contains(Compat::HAS_JOURNAL);
        if options.kind == profile.kind() || profile.kind() == Kind::Ext3 {
            apply(&mut features, profile.features())?;
        }
        features.compat.set(Compat::HAS_JOURNAL, has_journal);
    }
    apply(&mut features, &options.features)?;
    if features.ro_compat.contains(RoCompat::METADATA_CSUM) {
        // It protects descriptors, too.
        features.ro_compat.remove(RoCompat::UNINIT_BG);
    }
    check(features)?;
    Ok(features)
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Ext2 => "ext2",
        Kind::Ext3 => "ext3",
        Kind::Ext4 => "ext4",
    }
}

fn refusal(what: &str) -> Error {
    Error::Unsupported(format!("cannot make {what}"))
}

fn apply(features: &mut Features, words: &str) -> Result<()> {
    for word in words.split([',', ' ']).filter(|word| !word.is_empty()) {
        if word == "none" {
            *features = NONE;
            continue;
        }
        let (word, on) = match word.strip_prefix('^') {
            Some(word) => (word, false),
            None => (word, true),
        };
        set(features, word, on)?;
    }
    Ok(())
}

fn set(features: &mut Features, word: &str, on: bool) -> Result<()> {
    let name = match word {
        "64bit" => "WIDE".to_owned(),
        "extents" => "EXTENT".to_owned(),
        "uninit_groups" => "UNINIT_BG".to_owned(),
        _ => word.to_ascii_uppercase(),
    };
    let refuse = || refusal(&format!("an ext file system with the feature `{word}`"));
    if let Some(bit) = Compat::from_name(&name) {
        // Whoever asks for its absence has it already.
        if on && !COMPAT.contains(bit) {
            return Err(refuse());
        }
        features.compat.set(bit, on);
    } else if let Some(bit) = Incompat::from_name(&name) {
        if on && !INCOMPAT.contains(bit) {
            return Err(refuse());
        }
        features.incompat.set(bit, on);
    } else if let Some(bit) = RoCompat::from_name(&name) {
        if on && !RO_COMPAT.contains(bit) {
            return Err(refuse());
        }
        features.ro_compat.set(bit, on);
    } else {
        return Err(Error::Unsupported(format!("no ext feature is called `{word}`")));
    }
    Ok(())
}

/// Refuse what does not go together.
fn check(features: Features) -> Result<()> {
    let Features { compat, incompat, ro_compat } = features;
    let journal = compat.contains(Compat::HAS_JOURNAL);
    let needs = [
        (compat.contains(Compat::FAST_COMMIT), "fast_commit", journal, "has_journal"),
        (compat.contains(Compat::ORPHAN_FILE), "orphan_file", journal, "has_journal"),
        (
            incompat.contains(Incompat::METADATA_CSUM_SEED),
            "metadata_csum_seed",
            ro_compat.contains(RoCompat::METADATA_CSUM),
            "metadata_csum",
        ),
        (incompat.contains(Incompat::WIDE), "64bit", incompat.contains(Incompat::EXTENT), "extent"),
        (
            incompat.contains(Incompat::INLINE_DATA),
            "inline_data",
            compat.contains(Compat::EXT_ATTR),
            "ext_attr",
        ),
        (
            ro_compat.contains(RoCompat::VERITY),
            "verity",
            incompat.contains(Incompat::EXTENT),
            "extent",
        ),
    ];
    for (has, feature, has_needed, needed) in needs {
        if has && !has_needed {
            return Err(refusal(&format!(
                "an ext file system with the feature `{feature}` and without `{needed}`, which it needs"
            )));
        }
    }
    if compat.contains(Compat::RESIZE_INODE)
        && !ro_compat.contains(RoCompat::SPARSE_SUPER)
        && !compat.contains(Compat::SPARSE_SUPER2)
    {
        return Err(refusal(
            "an ext file system with the feature `resize_inode` and without `sparse_super`, which it needs \
             (`^resize_inode` turns the first one off)",
        ));
    }
    if compat.contains(Compat::RESIZE_INODE) && incompat.contains(Incompat::META_BG) {
        return Err(refusal(
            "an ext file system with both `resize_inode` and `meta_bg`: two ways to grow exclude each other \
             (`^resize_inode` turns the first one off)",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::of;
    use crate::ext::mkfs::options::{Kind, Options};
    use crate::ext::mkfs::profile::Profile;

    fn names(kind: Kind, features: &str) -> Result<String, String> {
        let options = Options { features: features.into(), ..Options::new(kind, 0) };
        of(&options).map(|features| features.names().join(" ")).map_err(|e| e.to_string())
    }

    #[test]
    fn words_add_and_take_away() {
        assert_eq!(
            names(Kind::Ext2, "^resize_inode,^dir_index").expect("known words"),
            "ext_attr filetype sparse_super large_file"
        );
        assert_eq!(names(Kind::Ext4, "none,extents").expect("known words"), "extent");
        let csum = names(Kind::Ext4, "uninit_bg").expect("known words");
        assert!(csum.contains("metadata_csum") && !csum.contains("uninit_bg"), "{csum}");
    }

    #[test]
    fn what_cannot_be_made_is_refused_by_its_name() {
        for (kind, features, expected) in [
            (Kind::Ext4, "bigalloc", "cannot make an ext file system with the feature `bigalloc`"),
            (Kind::Ext4, "quota", "cannot make an ext file system with the feature `quota`"),
            (Kind::Ext4, "casefold", "cannot make an ext file system with the feature `casefold`"),
            (Kind::Ext4, "encrypt", "cannot make an ext file system with the feature `encrypt`"),
            (Kind::Ext4, "mmp", "cannot make an ext file system with the feature `mmp`"),
            (Kind::Ext4, "ea_inode", "cannot make an ext file system with the feature `ea_inode`"),
            (Kind::Ext4, "spares_super", "no ext feature is called `spares_super`"),
            (
                Kind::Ext2,
                "fast_commit",
                "cannot make an ext file system with the feature `fast_commit` and without `has_journal`, which it needs",
            ),
            (
                Kind::Ext4,
                "^extent",
                "cannot make an ext file system with the feature `64bit` and without `extent`, which it needs",
            ),
            (
                Kind::Ext4,
                "^sparse_super",
                "cannot make an ext file system with the feature `resize_inode` and without `sparse_super`, which it needs \
                 (`^resize_inode` turns the first one off)",
            ),
            (
                Kind::Ext4,
                "meta_bg",
                "cannot make an ext file system with both `resize_inode` and `meta_bg`: two ways to grow exclude \
                 each other (`^resize_inode` turns the first one off)",
            ),
        ] {
            assert_eq!(names(kind, features), Err(expected.into()));
        }
    }

    #[test]
    fn an_old_guest_gets_what_it_knows() {
        let rhel3 = Profile::named("rhel3").expect("a profile");
        let options = Options { profile: Some(rhel3), ..Options::new(Kind::Ext3, 0) };
        assert_eq!(
            of(&options).expect("ext3").names().join(" "),
            "has_journal ext_attr filetype sparse_super large_file"
        );
        let options = Options { profile: Some(rhel3), ..Options::new(Kind::Ext4, 0) };
        let refusal = of(&options).expect_err("2.4 has no ext4").to_string();
        assert!(refusal.starts_with("cannot make an ext4 file system for `rhel3`: Linux 2.4.21"));
        let options = Options { profile: Some(rhel3), ..Options::new(Kind::Ext2, 0) };
        assert!(!of(&options).expect("ext2").names().contains(&"has_journal".to_owned()));
    }
}
