//! The same operations by the kernel on a twin: each has the same outcome, and the trees are the same at the end.

use std::io;
use std::path::Path;

use imgfmt::Error;
use imgfmt::ext::{FileType, Transaction};
use rustix::fs::{CWD, FileType as Kind, Mode, XattrFlags};
use rustix::io::Errno;

use crate::edit::KINDS;
use crate::support::{Random, TestImage, noise};

/// What both do. Paths begin with `/`.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Give a file that content.
    Write(String, u64, usize),
    /// The same, read piece by piece.
    WriteFrom(String, u64, usize),
    /// More at the end.
    Append(String, u64, usize),
    /// Another length.
    Truncate(String, u64),
    /// Make a directory.
    Dir(String),
    /// Make a link with that text.
    Symlink(String, String),
    /// Move a name.
    Rename(String, String),
    /// One more name.
    Link(String, String),
    /// Take the name of anything but a directory.
    RemoveFile(String),
    /// Take an empty directory.
    RemoveDir(String),
    /// Take a directory and all below.
    RemoveAll(String),
    /// Make a device, a pipe or a socket.
    Special(String, FileType, u32, u32),
    /// Owner and group.
    Owner(String, u32, u32),
    /// Permissions.
    Mode(String, u16),
    /// An attribute of so many bytes.
    SetXattr(String, String, usize),
    /// No such attribute any longer.
    RemoveXattr(String, String),
}

impl Op {
    /// Do it with ours.
    pub(crate) fn ours(&self, tx: &mut Transaction<'_>) -> imgfmt::Result<()> {
        match self {
            Self::Write(path, seed, len) => tx.write(path, noise(*seed, *len)),
            Self::WriteFrom(path, seed, len) => {
                let written = tx.write_from(path, &mut &noise(*seed, *len)[..])?;
                assert_eq!(written, *len as u64);
                Ok(())
            }
            Self::Append(path, seed, len) => tx.append(path, noise(*seed, *len)),
            Self::Truncate(path, len) => tx.truncate(path, *len),
            Self::Dir(path) => tx.create_dir(path),
            Self::Symlink(target, path) => tx.symlink(target, path),
            Self::Rename(from, to) => tx.rename(from, to),
            Self::Link(original, link) => tx.hard_link(original, link),
            Self::RemoveFile(path) => tx.remove_file(path),
            Self::RemoveDir(path) => tx.remove_dir(path),
            Self::RemoveAll(path) => tx.remove_dir_all(path),
            Self::Special(path, kind, major, minor) => {
                tx.create_special(path, *kind, *major, *minor)
            }
            Self::Owner(path, uid, gid) => tx.set_symlink_owner(path, *uid, *gid),
            Self::Mode(path, mode) => tx.set_mode(path, *mode),
            Self::SetXattr(path, name, len) => tx.set_xattr(path, name, noise(9, *len)),
            Self::RemoveXattr(path, name) => tx.remove_xattr(path, name),
        }
    }

    /// Have the kernel do it below `root`.
    pub(crate) fn theirs(&self, root: &Path) -> io::Result<()> {
        let at = |path: &str| root.join(path.trim_start_matches('/'));
        match self {
            Self::Write(path, seed, len) | Self::WriteFrom(path, seed, len) => {
                std::fs::write(at(path), noise(*seed, *len))
            }
            Self::Append(path, seed, len) => {
                let mut file = std::fs::OpenOptions::new().append(true).open(at(path))?;
                io::Write::write_all(&mut file, &noise(*seed, *len))
            }
            Self::Truncate(path, len) => {
                std::fs::OpenOptions::new().write(true).open(at(path))?.set_len(*len)
            }
            Self::Dir(path) => std::fs::create_dir(at(path)),
            Self::Symlink(target, path) => std::os::unix::fs::symlink(target, at(path)),
            Self::Rename(from, to) => std::fs::rename(at(from), at(to)),
            Self::Link(original, link) => std::fs::hard_link(at(original), at(link)),
            Self::RemoveFile(path) => std::fs::remove_file(at(path)),
            Self::RemoveDir(path) => std::fs::remove_dir(at(path)),
            Self::RemoveAll(path) => std::fs::remove_dir_all(at(path)),
            Self::Special(path, kind, major, minor) => {
                let kind = match kind {
                    FileType::CharDevice => Kind::CharacterDevice,
                    FileType::BlockDevice => Kind::BlockDevice,
                    FileType::Fifo => Kind::Fifo,
                    _ => Kind::Socket,
                };
                let device = rustix::fs::makedev(*major, *minor);
                Ok(rustix::fs::mknodat(CWD, at(path), kind, Mode::from(0o644), device)?)
            }
            Self::Owner(path, uid, gid) => {
                let path = at(path);
                let mode = std::fs::symlink_metadata(&path)?.permissions();
                std::os::unix::fs::lchown(&path, Some(*uid), Some(*gid))?;
                if path.is_symlink() {
                    return Ok(());
                }
                // chown takes set-user-ID and set-group-ID away; ours leaves the mode to set_mode.
                std::fs::set_permissions(&path, mode)
            }
            Self::Mode(path, mode) => {
                use std::os::unix::fs::PermissionsExt;
                std::fs::set_permissions(at(path), PermissionsExt::from_mode((*mode).into()))
            }
            Self::SetXattr(path, name, len) => {
                let value = noise(9, *len);
                Ok(rustix::fs::lsetxattr(at(path), name, &value, XattrFlags::empty())?)
            }
            Self::RemoveXattr(path, name) => Ok(rustix::fs::lremovexattr(at(path), name)?),
        }
    }
}

/// Whether an error of ours says what the kernel's does.
pub(crate) fn says(error: &Error, errno: Errno) -> bool {
    match errno {
        Errno::NOENT => matches!(error, Error::NotFound(_)),
        Errno::NOTDIR => matches!(error, Error::NotADirectory(_)),
        Errno::ISDIR => matches!(error, Error::IsADirectory(_)),
        Errno::EXIST => matches!(error, Error::AlreadyExists(_)),
        Errno::NOTEMPTY => matches!(error, Error::WrongKind { .. }),
        Errno::INVAL => matches!(error, Error::InvalidPath { .. }),
        Errno::LOOP => matches!(error, Error::SymlinkLoop(_)),
        // A name of more than 255 bytes.
        Errno::RANGE => matches!(error, Error::InvalidPath { .. }),
        // ACLs of a link.
        Errno::OPNOTSUPP => matches!(error, Error::WrongKind { .. }),
        Errno::NODATA => matches!(error, Error::NoSuchXattr { .. }),
        // A directory that should have another name; a flag; a user's attribute of a link; a write to a socket.
        Errno::PERM => matches!(
            error,
            Error::IsADirectory(_) | Error::Protected { .. } | Error::WrongKind { .. }
        ),
        // A device that may not be opened; a socket.
        Errno::ACCESS | Errno::NXIO => matches!(error, Error::WrongKind { .. }),
        Errno::NOSPC => matches!(error, Error::NoSpace(_)),
        _ => false,
    }
}

/// Both do all of it, with the same outcome of each.
pub(crate) fn compare(name: &str, image: &TestImage, ops: &[Op]) {
    let twin = image.twin();
    let mut theirs = Vec::new();
    // Without `nodev`, a write to a device node that was made here would reach the device of this machine.
    twin.with_kernel_options("rw,nodev", |root| {
        theirs = ops.iter().map(|op| op.theirs(root)).collect();
    });
    let mut pairs = ops.iter().zip(&theirs).peekable();
    while pairs.peek().is_some() {
        image
            .edit(|tx| {
                for (op, theirs) in pairs.by_ref().take(7) {
                    let ours = op.ours(tx);
                    let same = match (&ours, theirs) {
                        (Ok(()), Ok(())) => true,
                        (Err(ours), Err(theirs)) => {
                            says(ours, Errno::from_io_error(theirs).expect("the kernel's answer"))
                        }
                        _ => false,
                    };
                    assert!(same, "{name}: {op:?}: {ours:?}, but the kernel: {theirs:?}");
                }
                Ok(())
            })
            .expect(name);
    }
    image.fsck();
    let (ours, theirs) = (image.kernel_tree(), twin.kernel_tree());
    assert_eq!(ours, image.tree(), "{name}");
    assert_eq!(ours, theirs, "{name}");
    // Only the kernel writes attributes: a new value has another block, and what was shared is not.
    let used = |image: &TestImage| image.with_fs(|fs| fs.info().free_inodes);
    assert_eq!(used(image), used(&twin), "{name}");
}

/// Kinds that the kernel mounts here.
pub(crate) fn mountable() -> impl Iterator<Item = (&'static str, &'static str, u64, u64)> {
    KINDS.iter().copied().filter(|(_, args, ..)| !args.contains("65536") && !args.contains("16384"))
}

fn some_path(random: &mut Random) -> String {
    let name = |random: &mut Random| {
        ["a", "b", "c", "d", "a-name-that-is-a-good-deal-longer-than-the-others"]
            [usize::try_from(random.below(5)).expect("small")]
    };
    let mut path = String::new();
    for _ in 0..=random.below(3) {
        path = format!("{path}/{}", name(random));
    }
    path
}

fn some_op(random: &mut Random) -> Op {
    let path = some_path(random);
    let other = some_path(random);
    let xattr = ["user.a", "user.bc", "user.long-name", "trusted.x", "security.y"]
        [usize::try_from(random.below(5)).expect("small")];
    match random.below(20) {
        0..=2 => Op::Dir(path),
        3 | 4 => {
            Op::Write(path, random.next(), usize::try_from(random.below(30_000)).expect("small"))
        }
        5 if random.below(2) == 0 => {
            Op::Append(path, random.next(), usize::try_from(random.below(9_000)).expect("small"))
        }
        6 if random.below(2) == 0 => Op::Truncate(path, random.below(40_000)),
        5 => Op::Symlink(other.trim_start_matches('/').to_owned(), path),
        6..=10 => Op::Rename(path, other),
        11 | 12 => Op::Link(path, other),
        13 => Op::RemoveFile(path),
        14 => Op::RemoveDir(path),
        15 if random.below(3) == 0 => Op::RemoveAll(path),
        16 => {
            let kind = [FileType::CharDevice, FileType::BlockDevice]
                [usize::try_from(random.below(2)).expect("small")];
            let number = |random: &mut Random, bits| {
                let end = 1 << random.below(bits);
                u32::try_from(random.below(end)).expect("few bits")
            };
            Op::Special(path, kind, number(random, 13), number(random, 21))
        }
        17 => Op::Owner(path, 70_000, 5),
        18 => Op::RemoveXattr(path, xattr.to_owned()),
        _ => {
            // Four of them fit a block of 1 KiB.
            let len = usize::try_from(random.below(120)).expect("small");
            Op::SetXattr(path, xattr.to_owned(), len)
        }
    }
}

/// The kernel says "not empty" of each directory above, whatever should replace it.
fn is_odd(op: &Op) -> bool {
    matches!(op, Op::Rename(from, to) if from.starts_with(&format!("{to}/")))
}

#[test]
fn random_operations_end_as_the_kernels_do() {
    let long = std::env::var_os("AUTOXEN_LONG").is_some();
    for (seed, (name, args, kib, start)) in (1_u64..).zip(mountable()) {
        for seed in (0..if long { 40 } else { 1 }).map(|round| seed + 100 * round) {
            let image = TestImage::new(args, kib, start);
            let mut random = Random(seed * 7919);
            let ops: Vec<Op> = std::iter::repeat_with(|| some_op(&mut random))
                .filter(|op| !is_odd(op))
                .take(300)
                .collect();
            compare(name, &image, &ops);
        }
    }
}
