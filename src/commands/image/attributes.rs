//! `chmod` and `chown`, of files and of all that is below a directory.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use imgfmt::Error;
use imgfmt::ext::FileType;

use super::ls::accounts;
use super::places;
use super::verbs::Said;
use crate::cli::{ChmodArgs, ChownArgs};
use crate::failure::Result;
use crate::inside::address::Naming;
use crate::inside::mode::ModeChange;
use crate::inside::owner::OwnerChange;
use crate::inside::tree::{Meta, TreeMut, resolved};
use crate::inside::walk::Walk;
use crate::interrupt;

/// Change modes.
pub(super) fn chmod(
    args: &ChmodArgs,
    naming: Naming,
    tree: &mut dyn TreeMut,
    said: &mut Said,
) -> Result<()> {
    let change = ModeChange::parse(&args.mode)?;
    let reach = Reach { recursive: args.recursive, enter_named: true };
    each(&args.places, naming, reach, tree, &mut |tree, path, meta, is_named| {
        let meta = match (meta.kind, is_named) {
            (FileType::Symlink, true) => tree.metadata(path, true)?,
            (FileType::Symlink, false) => return Ok(()),
            _ => meta.clone(),
        };
        let mode = change.apply(meta.mode, meta.is_dir());
        tree.set_mode(path, mode)?;
        if args.verbose {
            said.lines.push(format!("{}: {:04o} -> {mode:04o}", tree.shown(path), meta.mode));
        }
        Ok(())
    })
}

/// Change owners.
pub(super) fn chown(
    args: &ChownArgs,
    naming: Naming,
    tree: &mut dyn TreeMut,
    said: &mut Said,
) -> Result<()> {
    let change = accounts(tree).owner(&args.owner)?;
    let reach = Reach { recursive: args.recursive, enter_named: false };
    each(&args.places, naming, reach, tree, &mut |tree, path, meta, is_named| {
        let is_followed = is_named && !args.no_dereference && !args.recursive;
        let follow = is_followed && meta.kind == FileType::Symlink;
        let (path, meta) = match follow {
            true => (resolved(tree, path)?, tree.metadata(path, true)?),
            false => (path.to_owned(), meta.clone()),
        };
        set_owner(tree, &path, &meta, change)?;
        if args.verbose {
            let (uid, gid) = (change.uid.unwrap_or(meta.uid), change.gid.unwrap_or(meta.gid));
            let was = format!("{}:{}", meta.uid, meta.gid);
            said.lines.push(format!("{}: {was} -> {uid}:{gid}", tree.shown(&path)));
        }
        Ok(())
    })
}

/// What the kernel does beside: who gets a program shall not get its powers with it.
fn set_owner(
    tree: &mut dyn TreeMut,
    path: &Path,
    meta: &Meta,
    change: OwnerChange,
) -> imgfmt::Result<()> {
    if change == OwnerChange::default() {
        return Ok(());
    }
    let (uid, gid) = (change.uid.unwrap_or(meta.uid), change.gid.unwrap_or(meta.gid));
    tree.set_owner(path, uid, gid)?;
    if meta.is_dir() || meta.kind == FileType::Symlink {
        return Ok(());
    }
    // Set-group-ID without the right to execute marks a file for mandatory locks, and is none.
    let taken = 0o4000 | if meta.mode & 0o010 != 0 { 0o2000 } else { 0 };
    if meta.mode & taken != 0 {
        tree.set_mode(path, meta.mode & !taken)?;
    }
    match tree.remove_xattr(path, "security.capability".as_ref()) {
        Ok(()) | Err(Error::NoSuchXattr { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

type Change<'c> = dyn FnMut(&mut dyn TreeMut, &Path, &Meta, bool) -> imgfmt::Result<()> + 'c;

/// How far a change goes.
#[derive(Clone, Copy)]
struct Reach {
    /// All that is below.
    recursive: bool,
    /// Also below a directory that a link leads to, where that link was named.
    enter_named: bool,
}

/// `change` what `texts` name, directories before what is in them.
fn each(
    texts: &[OsString],
    naming: Naming,
    Reach { recursive, enter_named }: Reach,
    tree: &mut dyn TreeMut,
    change: &mut Change<'_>,
) -> Result<()> {
    for path in places::expand(tree, texts, naming)? {
        let mut walk = Walk::default();
        let mut left = vec![(path, true)];
        while let Some((path, is_named)) = left.pop() {
            interrupt::check()?;
            let mut step = |tree: &mut dyn TreeMut| {
                let meta = tree.metadata(&path, false)?;
                change(tree, &path, &meta, is_named)?;
                if !recursive {
                    return Ok(Vec::new());
                }
                let entered = match is_named && enter_named {
                    true => tree.metadata(&path, true)?,
                    false => meta,
                };
                if !entered.is_dir() {
                    return Ok(Vec::new());
                }
                walk.enter(tree, &path, &entered)?;
                let mut names = tree.read_dir(&path)?;
                names.sort();
                Ok(names.into_iter().map(|name| path.join(name)).collect())
            };
            let below: Vec<PathBuf> = step(&mut *tree).map_err(|e| tree.failure(&e))?;
            left.extend(below.into_iter().rev().map(|path| (path, false)));
        }
    }
    Ok(())
}
