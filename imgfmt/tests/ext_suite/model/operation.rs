//! An operation: what it does to the engine, and what it should do to the model.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use imgfmt::Result;
use imgfmt::ext::Transaction;
use proptest::prelude::*;

use super::posix::{Content, Model, Nr, Place, Refusal};
use crate::support::noise;

/// One step of a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// All since the last one is written.
    Commit,
    Write {
        path: String,
        seed: u64,
        len: usize,
    },
    CreateDir(String),
    CreateDirAll(String),
    Symlink {
        target: String,
        path: String,
    },
    Append {
        path: String,
        seed: u64,
        len: usize,
    },
    Truncate {
        path: String,
        len: u64,
    },
    HardLink {
        original: String,
        link: String,
    },
    Rename {
        from: String,
        to: String,
    },
    RemoveFile(String),
    RemoveDir(String),
    RemoveDirAll(String),
    SetTimes {
        path: String,
        atime: u32,
        mtime: u32,
    },
    SetXattr {
        path: String,
        name: &'static str,
        len: usize,
    },
    RemoveXattr {
        path: String,
        name: &'static str,
    },
    SetMode {
        path: String,
        mode: u16,
    },
    SetOwner {
        path: String,
        uid: u32,
        gid: u32,
    },
}

/// So many operations, with commits between them.
pub(super) fn operations(count: usize) -> impl Strategy<Value = Vec<Operation>> {
    proptest::collection::vec(operation(), count)
}

fn operation() -> impl Strategy<Value = Operation> {
    // Mostly small, some past the twelve direct blocks, a few past one indirect block of 1 KiB.
    let len =
        prop_oneof![5 => 0..3_000_usize, 3 => 3_000..20_000_usize, 1 => 20_000..300_000_usize];
    let end = prop_oneof![3 => 0..20_000_u64, 1 => 0..400_000_u64];
    // Past 2038 there is no room in an inode of 128 bytes.
    let time = || 0..0x7FFF_FFFF_u32;
    let value = prop_oneof![4 => 0..40_usize, 2 => 40..300_usize, 1 => 300..900_usize];
    let id = prop_oneof![0..3_u32, 65_530..65_540_u32, any::<u32>()];
    prop_oneof![
        1 => Just(Operation::Commit),
        12 => (path(), any::<u64>(), len.clone())
            .prop_map(|(path, seed, len)| Operation::Write { path, seed, len }),
        4 => (path(), any::<u64>(), len)
            .prop_map(|(path, seed, len)| Operation::Append { path, seed, len }),
        4 => (path(), end).prop_map(|(path, len)| Operation::Truncate { path, len }),
        3 => (path(), path()).prop_map(|(original, link)| Operation::HardLink { original, link }),
        6 => (path(), path()).prop_map(|(from, to)| Operation::Rename { from, to }),
        1 => path().prop_map(Operation::RemoveDirAll),
        2 => (path(), time(), time())
            .prop_map(|(path, atime, mtime)| Operation::SetTimes { path, atime, mtime }),
        4 => (path(), xattr(), value)
            .prop_map(|(path, name, len)| Operation::SetXattr { path, name, len }),
        2 => (path(), xattr()).prop_map(|(path, name)| Operation::RemoveXattr { path, name }),
        6 => path().prop_map(Operation::CreateDir),
        3 => path().prop_map(Operation::CreateDirAll),
        4 => (target(), path()).prop_map(|(target, path)| Operation::Symlink { target, path }),
        8 => path().prop_map(Operation::RemoveFile),
        4 => path().prop_map(Operation::RemoveDir),
        3 => (path(), 0..0o10000_u16).prop_map(|(path, mode)| Operation::SetMode { path, mode }),
        2 => (path(), id.clone(), id)
            .prop_map(|(path, uid, gid)| Operation::SetOwner { path, uid, gid }),
    ]
}

/// Few names, so that paths meet; some long ones, so that directories grow.
fn path() -> impl Strategy<Value = String> {
    let dir = prop_oneof![Just("a"), Just("b"), Just("c")];
    let name = prop_oneof![
        4 => "[a-e]",
        3 => "[f-z][0-9]",
        1 => ("[a-z]", 100..255_usize).prop_map(|(letter, len)| letter.repeat(len)),
    ];
    (proptest::collection::vec(dir, 0..4), name).prop_map(|(dirs, name)| {
        dirs.into_iter().map(|dir| format!("/{dir}")).collect::<String>() + "/" + &name
    })
}

/// Names of attributes that a link can have too, and that nothing inherits.
fn xattr() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("security.ima"), Just("trusted.a"), Just("trusted.longer-name")]
}

/// What links say: to what may be there, up and down, and nowhere. 60 bytes do not fit an inode.
fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => path(),
        2 => path().prop_map(|path| path[1..].to_owned()),
        1 => path().prop_map(|path| format!("..{path}")),
        1 => (58..62_usize).prop_map(|len| "t".repeat(len)),
    ]
}

impl Operation {
    /// Do it to the engine.
    pub(super) fn apply(&self, tx: &mut Transaction<'_>) -> Result<()> {
        match self {
            Self::Commit => Ok(()),
            Self::Write { path, seed, len } => tx.write(path, noise(*seed, *len)),
            Self::CreateDir(path) => tx.create_dir(path),
            Self::CreateDirAll(path) => tx.create_dir_all(path),
            Self::Symlink { target, path } => tx.symlink(target, path),
            Self::Append { path, seed, len } => tx.append(path, noise(*seed, *len)),
            Self::Truncate { path, len } => tx.truncate(path, *len),
            Self::HardLink { original, link } => tx.hard_link(original, link),
            Self::Rename { from, to } => tx.rename(from, to),
            Self::RemoveFile(path) => tx.remove_file(path),
            Self::RemoveDir(path) => tx.remove_dir(path),
            Self::RemoveDirAll(path) => tx.remove_dir_all(path),
            Self::SetTimes { path, atime, mtime } => {
                let at = |seconds: u32| UNIX_EPOCH + Duration::from_secs(seconds.into());
                tx.set_times(path, at(*atime), at(*mtime))
            }
            Self::SetXattr { path, name, len } => tx.set_xattr(path, name, value(*len)),
            Self::RemoveXattr { path, name } => tx.remove_xattr(path, name),
            Self::SetMode { path, mode } => tx.set_mode(path, *mode),
            Self::SetOwner { path, uid, gid } => tx.set_owner(path, *uid, *gid),
        }
    }

    /// Do it to the model, which may be left in the middle where it is refused.
    pub(super) fn apply_to_model(
        &self,
        model: &mut Model,
        now: i64,
    ) -> std::result::Result<(), Refusal> {
        match self {
            Self::Commit => {}
            Self::Write { path, seed, len } => {
                let empty = || Content::File(Arc::default());
                let nr = match model.resolve(path, true)? {
                    Place::There(nr, _) => nr,
                    Place::Free(dir, name) => model.make(dir, name, empty(), now),
                };
                let node = model.node_mut(nr);
                match &mut node.content {
                    Content::File(bytes) => *bytes = Arc::new(noise(*seed, *len)),
                    Content::Dir(_) => return Err(Refusal::IsADirectory),
                    Content::Link(_) => return Err(Refusal::WrongKind),
                }
                (node.mtime, node.ctime) = (now, now);
            }
            Self::CreateDir(path) => {
                let (dir, name) = free(model, path)?;
                model.make(dir, name, Content::Dir(BTreeMap::new()), now);
            }
            Self::CreateDirAll(path) => {
                for (at, _) in path.match_indices('/').skip(1).chain([(path.len(), "")]) {
                    match model.resolve(&path[..at], true)? {
                        Place::There(nr, _) if model.names(nr).is_some() => {}
                        Place::There(..) => return Err(Refusal::NotADirectory),
                        Place::Free(dir, name) => {
                            model.make(dir, name, Content::Dir(BTreeMap::new()), now);
                        }
                    }
                }
            }
            Self::Symlink { target, path } => {
                let (dir, name) = free(model, path)?;
                model.make(dir, name, Content::Link(target.clone()), now);
            }
            Self::Append { path, seed, len } => {
                let nr = model.find(path, true)?;
                let bytes = content(model, nr)?;
                if *len > 0 {
                    bytes.extend(noise(*seed, *len));
                    let node = model.node_mut(nr);
                    (node.mtime, node.ctime) = (now, now);
                }
            }
            Self::Truncate { path, len } => {
                let nr = model.find(path, true)?;
                content(model, nr)?.resize(usize::try_from(*len).expect("small"), 0);
                let node = model.node_mut(nr);
                (node.mtime, node.ctime) = (now, now);
            }
            Self::HardLink { original, link } => {
                let nr = model.find(original, false)?;
                let (dir, name) = free(model, link)?;
                if model.names(nr).is_some() {
                    return Err(Refusal::IsADirectory);
                }
                model.enter(dir, name, nr, now);
                model.node_mut(nr).ctime = now;
            }
            Self::Rename { from, to } => rename(model, from, to, now)?,
            Self::RemoveDirAll(path) => {
                let (nr, dir, name) = model.named(path)?;
                if matches!(model.node(nr).content, Content::File(_)) {
                    return Err(Refusal::NotADirectory);
                }
                model.leave(dir, &name, now);
            }
            Self::SetTimes { path, atime, mtime } => {
                let nr = model.find(path, true)?;
                let node = model.node_mut(nr);
                (node.atime, node.mtime, node.ctime) = ((*atime).into(), (*mtime).into(), now);
            }
            Self::SetXattr { path, name, len } => {
                let nr = model.find(path, false)?;
                let node = model.node_mut(nr);
                node.xattrs.insert(name, value(*len));
                node.ctime = now;
            }
            Self::RemoveXattr { path, name } => {
                let nr = model.find(path, false)?;
                let node = model.node_mut(nr);
                node.xattrs.remove(name).ok_or(Refusal::NoSuchXattr)?;
                node.ctime = now;
            }
            Self::RemoveFile(path) => {
                let (nr, dir, name) = model.named(path)?;
                if model.names(nr).is_some() {
                    return Err(Refusal::IsADirectory);
                }
                model.leave(dir, &name, now);
            }
            Self::RemoveDir(path) => {
                let (nr, dir, name) = model.named(path)?;
                let names = model.names(nr).ok_or(Refusal::NotADirectory)?;
                if !names.is_empty() {
                    return Err(Refusal::WrongKind);
                }
                model.leave(dir, &name, now);
            }
            Self::SetMode { path, mode } => {
                let nr = model.find(path, true)?;
                let node = model.node_mut(nr);
                (node.mode, node.ctime) = (*mode, now);
            }
            Self::SetOwner { path, uid, gid } => {
                let nr = model.find(path, true)?;
                let node = model.node_mut(nr);
                (node.uid, node.gid, node.ctime) = (*uid, *gid, now);
            }
        }
        Ok(())
    }
}

/// A name that nothing has yet, and its directory.
fn free(model: &Model, path: &str) -> std::result::Result<(Nr, String), Refusal> {
    match model.resolve(path, false)? {
        Place::There(..) => Err(Refusal::AlreadyExists),
        Place::Free(dir, name) => Ok((dir, name)),
    }
}

/// What a file holds, to be changed.
fn content(model: &mut Model, nr: Nr) -> std::result::Result<&mut Vec<u8>, Refusal> {
    match &mut model.node_mut(nr).content {
        Content::File(bytes) => Ok(Arc::make_mut(bytes)),
        Content::Dir(_) => Err(Refusal::IsADirectory),
        Content::Link(_) => Err(Refusal::WrongKind),
    }
}

/// The value of an attribute: text, so that a dump of a tree shows it.
fn value(len: usize) -> Vec<u8> {
    (0..len).map(|i| b'a' + u8::try_from(i % 23).expect("a letter")).collect()
}

fn rename(model: &mut Model, from: &str, to: &str, now: i64) -> std::result::Result<(), Refusal> {
    model.resolve(from, false)?;
    let target = model.resolve(to, false)?;
    let (nr, old_dir, old_name) = model.named(from)?;
    let (dir, name, replaced) = match target {
        Place::There(other, _) if other == nr => return Ok(()),
        // Up from somewhere else: no name that could be given.
        Place::There(_, None) => return Err(Refusal::WrongKind),
        Place::There(other, Some((dir, name))) => (dir, name, Some(other)),
        Place::Free(dir, name) => (dir, name, None),
    };
    if model.names(nr).is_some() && model.is_within(dir, nr) {
        return Err(Refusal::InItself);
    }
    if let Some(other) = replaced {
        match (model.names(nr).is_some(), model.names(other)) {
            (true, None) => return Err(Refusal::NotADirectory),
            (false, Some(_)) => return Err(Refusal::IsADirectory),
            (true, Some(names)) if !names.is_empty() => return Err(Refusal::WrongKind),
            _ => model.leave(dir, &name, now),
        }
    }
    model.take(old_dir, &old_name, now);
    model.enter(dir, name, nr, now);
    model.node_mut(nr).ctime = now;
    Ok(())
}
