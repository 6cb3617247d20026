//! What a check found, and what it did not look at.

use std::fmt;

use crate::ext::nr::InodeNr;

/// Findings that are kept; all of them are counted.
pub const FINDINGS_KEPT: usize = 1000;
/// After so many findings the walk ends.
pub(super) const FINDINGS_MAX: u64 = 100_000;

/// What kind of damage a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// A field of the superblock (`struct ext4_super_block`) contradicts another.
    Superblock,
    /// A group descriptor (`struct ext4_group_desc`): its checksum, its flags, the places it names.
    Descriptor,
    /// A bitmap: its checksum, the bits behind its end, or it differs from what is in use.
    Bitmap,
    /// A number of free blocks, free inodes or directories is wrong.
    Count,
    /// A field of an inode (`struct ext4_inode`).
    Inode,
    /// The map from a file's blocks to the volume's: an extent tree or lists of block numbers.
    Map,
    /// A block belongs to two things.
    Shared,
    /// Extended attributes.
    Xattr,
    /// A block of directory entries (`struct ext4_dir_entry_2`), or an entry.
    Directory,
    /// The hash tree of a directory (`struct dx_root`).
    HashTree,
    /// A file has more or fewer names than it says, or none; a directory hangs nowhere.
    Links,
    /// Files that are still to be freed or cut (`s_last_orphan`, the orphan file).
    Orphan,
    /// The journal.
    Journal,
    /// The blocks kept for more group descriptors (`resize_inode`).
    Resize,
    /// The block that guards against two mounts (`struct mmp_struct`).
    Mmp,
}

impl FindingKind {
    /// One word for programs: `bitmap`, `hash_tree`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Superblock => "superblock",
            Self::Descriptor => "descriptor",
            Self::Bitmap => "bitmap",
            Self::Count => "count",
            Self::Inode => "inode",
            Self::Map => "map",
            Self::Shared => "shared",
            Self::Xattr => "xattr",
            Self::Directory => "directory",
            Self::HashTree => "hash_tree",
            Self::Links => "links",
            Self::Orphan => "orphan",
            Self::Journal => "journal",
            Self::Resize => "resize",
            Self::Mmp => "mmp",
        }
    }
}

/// Where a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Place {
    /// The superblock.
    Superblock,
    /// A block group, counted from 0.
    Group(u32),
    /// An inode.
    Inode(InodeNr),
    /// The entries of a directory, by its inode.
    Directory(InodeNr),
    /// A block of the volume.
    Block(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superblock => f.write_str("superblock"),
            Self::Group(group) => write!(f, "group {group}"),
            Self::Inode(nr) => write!(f, "inode {nr}"),
            Self::Directory(nr) => write!(f, "directory {nr}"),
            Self::Block(block) => write!(f, "block {block}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Of what kind.
    pub kind: FindingKind,
    /// Where.
    pub place: Place,
    /// What is wrong there, in lower case; names from the image are escaped.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The first [`FINDINGS_KEPT`] findings.
    pub findings: Vec<Finding>,
    /// How many there were.
    pub total: u64,
    /// What was not looked at and why, in sentences.
    pub not_checked: Vec<String>,
    /// Inodes in use, the reserved ones too.
    pub inodes: u64,
    /// Directories among them.
    pub directories: u64,
    /// Blocks in use, those of the file system's own tables too.
    pub blocks: u64,
}

impl Report {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.total == 0
    }

    pub(super) fn add(&mut self, kind: FindingKind, place: Place, what: impl Into<String>) {
        self.total += 1;
        if self.findings.len() < FINDINGS_KEPT {
            self.findings.push(Finding { kind, place, what: what.into() });
        }
    }

    pub(super) fn skip(&mut self, what: impl Into<String>) {
        let what = what.into();
        if self.not_checked.len() < FINDINGS_KEPT && !self.not_checked.contains(&what) {
            self.not_checked.push(what);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        match self.total - self.findings.len() as u64 {
            0 => {}
            more => writeln!(f, "and {more} more")?,
        }
        for what in &self.not_checked {
            writeln!(f, "not checked: {what}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{FINDINGS_KEPT, FindingKind, Place, Report};

    #[test]
    fn all_findings_are_counted_and_the_first_are_kept() {
        let mut report = Report::default();
        for group in 0..FINDINGS_KEPT as u32 + 5 {
            report.add(FindingKind::Count, Place::Group(group), "free blocks is 1, should be 2");
        }
        assert_eq!((report.total, report.findings.len()), (1005, 1000));
        let text = report.to_string();
        assert!(text.starts_with("group 0: free blocks is 1, should be 2\n"), "{text}");
        assert!(text.ends_with("and 5 more\n"), "{text}");
    }
}
