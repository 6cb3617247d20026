//! Operations of an edit, decided by an input.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use imgfmt::Result;
use imgfmt::ext::{FileType, Transaction};

use super::input::Input;

/// One call of a transaction.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Write(String, Content),
    WriteFrom(String, Content),
    Append(String, Content),
    Truncate(String, u64),
    CreateDir(String),
    CreateDirAll(String),
    CreateSpecial(String, FileType, u32, u32),
    Symlink(String, String),
    HardLink(String, String),
    Rename(String, String),
    RemoveFile(String),
    RemoveDir(String),
    RemoveDirAll(String),
    SetMode(String, u16),
    SetOwner(String, u32, u32),
    SetSymlinkOwner(String, u32, u32),
    SetTimes(String, SystemTime, SystemTime),
    SetXattr(String, &'static str, Value),
    RemoveXattr(String, &'static str),
}

/// So many bytes that begin with one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    len: usize,
    seed: u8,
}

impl Content {
    /// What `input` decides, of at most `most` bytes.
    fn new(most: usize, input: &mut Input<'_>) -> Self {
        Self { len: usize::from(input.short()).min(most), seed: input.byte() }
    }

    fn bytes(self) -> Vec<u8> {
        (0..self.len).map(|i| self.seed.wrapping_add((i / 7).to_le_bytes()[0])).collect()
    }
}

/// A value of an attribute.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    Any(Content),
    /// An ACL that grants a user something: permissions of all, and the user.
    Acl(u8, u8),
}

/// Longest content of a file: past 12 blocks and a few extents.
const CONTENT_MAX: usize = 70_000;
/// Longest value of an attribute: past an inode, and past a block of 4 KiB.
const VALUE_MAX: usize = 5_000;
/// Names of attributes: of all kinds, and those that the fixtures have.
const XATTRS: [&str; 8] = [
    "user.note",
    "user.long",
    "security.selinux",
    "security.capability",
    "trusted.x",
    "system.posix_acl_access",
    "system.posix_acl_default",
    "user.",
];
const KINDS: [FileType; 5] = [
    FileType::CharDevice,
    FileType::BlockDevice,
    FileType::Fifo,
    FileType::Socket,
    FileType::Directory,
];

impl Operation {
    /// What `input` decides, on `paths` that may be there and on new ones.
    pub(crate) fn new(paths: &[String], input: &mut Input<'_>) -> Self {
        let what = input.byte();
        let path = path(paths, input);
        match what % 24 {
            0..=2 => Self::Write(path, Content::new(CONTENT_MAX, input)),
            3 => Self::WriteFrom(path, Content::new(CONTENT_MAX, input)),
            4 | 5 => Self::Append(path, Content::new(CONTENT_MAX, input)),
            6 | 7 => Self::Truncate(path, len(input)),
            8 => Self::CreateDir(path),
            9 => Self::CreateDirAll(path),
            10 => {
                let kind = KINDS[input.below(KINDS.len())];
                let (major, minor) = (u32::from(input.short()), input.word() >> 8);
                Self::CreateSpecial(path, kind, major >> 3, minor)
            }
            11 => Self::Symlink("t".repeat(usize::from(input.byte()) + 1), path),
            12 => Self::HardLink(path, self::path(paths, input)),
            13 | 14 => Self::Rename(path, self::path(paths, input)),
            15 => Self::RemoveFile(path),
            16 => Self::RemoveDir(path),
            17 => Self::RemoveDirAll(path),
            18 => Self::SetMode(path, input.short()),
            19 => Self::SetOwner(path, input.word(), input.word()),
            20 => Self::SetSymlinkOwner(path, input.word(), input.word()),
            21 => Self::SetTimes(path, time(input), time(input)),
            22 => {
                let name = XATTRS[input.below(XATTRS.len())];
                Self::SetXattr(path, name, Value::new(name, input))
            }
            _ => Self::RemoveXattr(path, XATTRS[input.below(XATTRS.len())]),
        }
    }

    /// Do it.
    pub(crate) fn apply(&self, tx: &mut Transaction<'_>) -> Result<()> {
        match self {
            Self::Write(path, content) => tx.write(path, content.bytes()),
            Self::WriteFrom(path, content) => {
                tx.write_from(path, &mut &content.bytes()[..]).map(drop)
            }
            Self::Append(path, content) => tx.append(path, content.bytes()),
            Self::Truncate(path, len) => tx.truncate(path, *len),
            Self::CreateDir(path) => tx.create_dir(path),
            Self::CreateDirAll(path) => tx.create_dir_all(path),
            Self::CreateSpecial(path, kind, major, minor) => {
                tx.create_special(path, *kind, *major, *minor)
            }
            Self::Symlink(target, path) => tx.symlink(target, path),
            Self::HardLink(original, link) => tx.hard_link(original, link),
            Self::Rename(from, to) => tx.rename(from, to),
            Self::RemoveFile(path) => tx.remove_file(path),
            Self::RemoveDir(path) => tx.remove_dir(path),
            Self::RemoveDirAll(path) => tx.remove_dir_all(path),
            Self::SetMode(path, mode) => tx.set_mode(path, *mode),
            Self::SetOwner(path, uid, gid) => tx.set_owner(path, *uid, *gid),
            Self::SetSymlinkOwner(path, uid, gid) => tx.set_symlink_owner(path, *uid, *gid),
            Self::SetTimes(path, atime, mtime) => tx.set_times(path, *atime, *mtime),
            Self::SetXattr(path, name, value) => tx.set_xattr(path, name, value.bytes()),
            Self::RemoveXattr(path, name) => tx.remove_xattr(path, name),
        }
    }
}

/// One that is there, or a new name beside or below it.
fn path(paths: &[String], input: &mut Input<'_>) -> String {
    let known = &paths[input.below(paths.len())];
    match input.byte() {
        0..=127 => known.clone(),
        nth @ 128..=191 => format!("{}/new-{nth}", known.trim_end_matches('/')),
        nth => {
            let above = known.rfind('/').map_or("", |at| &known[..at]);
            // Long names fill directories.
            let rest = "n".repeat(usize::from(nth - 192) * 3 + 1);
            format!("{above}/{}", &rest[..rest.len().min(250)])
        }
    }
}

/// Lengths of files: mostly near their content, some past all that a map can name.
fn len(input: &mut Input<'_>) -> u64 {
    let (shift, len) = (input.byte() % 48, u64::from(input.short()));
    if shift < 32 { len } else { len << shift }
}

/// Times that an inode keeps, and some that it does not.
fn time(input: &mut Input<'_>) -> SystemTime {
    let (seconds, after) = (u64::from(input.word()), input.byte());
    let since = Duration::new(seconds << (after % 4), u32::from(after) * 3_000_000);
    if after & 0x80 == 0 { UNIX_EPOCH + since } else { UNIX_EPOCH - since }
}

impl Value {
    fn new(name: &str, input: &mut Input<'_>) -> Self {
        if !name.starts_with("system.") || input.byte() & 1 != 0 {
            return Self::Any(Content::new(VALUE_MAX, input));
        }
        Self::Acl(input.byte() & 7, input.byte())
    }

    fn bytes(self) -> Vec<u8> {
        let (permissions, user) = match self {
            Self::Any(content) => return content.bytes(),
            Self::Acl(permissions, user) => (permissions, user),
        };
        let mut acl = 2_u32.to_le_bytes().to_vec();
        // Tag, permissions, and an id that only the named user has.
        for (tag, id) in [(1_u16, !0), (2, user.into()), (4, !0), (0x10, !0), (0x20, !0_u32)] {
            acl.extend(tag.to_le_bytes());
            acl.extend(u16::from(permissions).to_le_bytes());
            acl.extend(id.to_le_bytes());
        }
        acl
    }
}
