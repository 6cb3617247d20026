//! `mkdir`, `rm` and `mv`: names that come, go and move.

use std::collections::HashSet;
use std::path::Path;

use imgfmt::Error;

use super::places;
use super::target::{Target, is_fixed, without_slash};
use super::verbs::Said;
use crate::cli::{MkdirArgs, MvArgs, RmArgs};
use crate::failure::{Failure, Result};
use crate::inside::address::Naming;
use crate::inside::copy::just_made;
use crate::inside::glob;
use crate::inside::mode::ModeChange;
use crate::inside::tree::{Meta, Tree, TreeMut, found};
use crate::inside::walk::Walk;
use crate::interrupt;

/// Make directories.
pub(super) fn mkdir(
    args: &MkdirArgs,
    naming: Naming,
    tree: &mut dyn TreeMut,
    said: &mut Said,
) -> Result<()> {
    let mode = args.mode.as_deref().map(ModeChange::parse).transpose()?;
    for place in &args.places {
        let (_, path) = places::inside(place, naming)?;
        let path = without_slash(&path);
        let mut above: Vec<&Path> = match args.parents {
            true => path.ancestors().collect(),
            false => vec![&path],
        };
        above.reverse();
        let mut is_new = false;
        for directory in above {
            let there = found(tree.metadata(directory, true)).map_err(|e| tree.failure(&e))?;
            if args.parents && there.is_some_and(|there| there.is_dir()) {
                continue;
            }
            tree.create_dir(directory)
                .and_then(|()| open_up(tree, directory))
                .map_err(|e| tree.failure(&e))?;
            is_new = directory == path;
            if args.verbose {
                said.lines.push(format!("created {}", tree.shown(directory)));
            }
        }
        // A mode is for what was made, and that is the last one.
        if let Some(mode) = mode.as_ref().filter(|_| is_new) {
            let born = tree.metadata(&path, true).map_err(|e| tree.failure(&e))?.mode;
            let mode = mode.apply(0o777 | born & 0o2000, true);
            tree.set_mode(&path, mode).map_err(|e| tree.failure(&e))?;
        }
    }
    Ok(())
}

/// Where the directory above has a default ACL, that counts, and the umask does not.
fn open_up(tree: &mut dyn TreeMut, directory: &Path) -> imgfmt::Result<()> {
    let inherited = tree.xattrs(directory)?;
    match inherited.iter().find(|xattr| xattr.name == "system.posix_acl_default") {
        Some(acl) => tree.set_xattr(directory, "system.posix_acl_access".as_ref(), &acl.value),
        None => Ok(()),
    }
}

/// Remove.
pub(super) fn rm(
    args: &RmArgs,
    naming: Naming,
    tree: &mut dyn TreeMut,
    said: &mut Said,
) -> Result<()> {
    for place in &args.places {
        let (_, pattern) = places::inside(place, naming)?;
        let paths = match glob::expand(tree, &pattern)? {
            Err(Error::NotFound(_)) if args.force => continue,
            paths => paths.map_err(|e| tree.failure(&e))?,
        };
        for path in paths {
            remove(args, &path, tree, said)?;
        }
    }
    Ok(())
}

fn remove(args: &RmArgs, path: &Path, tree: &mut dyn TreeMut, said: &mut Said) -> Result<()> {
    let shown = tree.shown(path);
    if is_fixed(path) {
        return Err(Failure::new(format!("`{shown}` is never removed: name what is in it"))
            .hint("`*` stands for all names that do not begin with a dot"));
    }
    let ends_in_slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    let path = &without_slash(path);
    let meta = match tree.metadata(path, false) {
        Err(Error::NotFound(_) | Error::NotADirectory(_)) if args.force => return Ok(()),
        meta => meta.map_err(|e| tree.failure(&e))?,
    };
    if ends_in_slash && !meta.is_dir() {
        return Err(tree.failure(&Error::NotADirectory(path.clone())));
    }
    let removed = match (meta.is_dir(), args.recursive, args.dir) {
        (false, ..) => tree.remove_file(path),
        (true, true, _) => {
            if args.verbose {
                said_below(tree, path, &meta, said)?;
            }
            tree.remove_dir_all(path)
        }
        (true, false, true) => tree.remove_dir(path),
        (true, false, false) => {
            return Err(Failure::new(format!("`{shown}` is a directory"))
                .hint("-r removes it with all that is in it, -d where it is empty"));
        }
    };
    removed.map_err(|e| tree.failure(&e))?;
    if args.verbose {
        said.lines.push(format!("removed {shown}"));
    }
    Ok(())
}

/// What goes with a directory.
fn said_below(tree: &dyn Tree, top: &Path, meta: &Meta, said: &mut Said) -> Result<()> {
    let fail = |e| tree.failure(&e);
    let mut walk = Walk::default();
    let mut left = vec![(top.to_owned(), meta.clone())];
    let mut lines = Vec::new();
    while let Some((directory, meta)) = left.pop() {
        interrupt::check()?;
        walk.enter(tree, &directory, &meta).map_err(fail)?;
        for name in tree.read_dir(&directory).map_err(fail)? {
            let path = directory.join(name);
            lines.push(format!("removed {}", tree.shown(&path)));
            let meta = tree.metadata(&path, false).map_err(fail)?;
            if meta.is_dir() {
                left.push((path, meta));
            }
        }
    }
    lines.reverse();
    said.lines.extend(lines);
    Ok(())
}

/// Move.
pub(super) fn mv(
    args: &MvArgs,
    naming: Naming,
    tree: &mut dyn TreeMut,
    said: &mut Said,
) -> Result<()> {
    let (last, sources) = args.places.split_last().expect("clap wants two");
    let sources = places::expand(tree, sources, naming)?;
    let (_, to) = places::inside(last, naming)?;
    let target = Target::new(tree, &to, sources.len(), args.no_target_directory)?;
    let mut made = HashSet::new();
    for from in sources {
        if is_fixed(&from) {
            let what = format!("`{}` cannot be moved by this name", tree.shown(&from));
            return Err(Failure::new(what));
        }
        let from = without_slash(&from);
        let meta = tree.metadata(&from, false).map_err(|e| tree.failure(&e))?;
        let to = target.name_for(tree, &from, meta.is_dir())?;
        if let Some(there) = found(tree.metadata(&to, false)).map_err(|e| tree.failure(&e))? {
            if args.no_clobber {
                continue;
            }
            if made.contains(&tree.spelled(&to).map_err(|e| tree.failure(&e))?) {
                return Err(just_made(tree, &to));
            }
            let is_same = meta.id != (0, 0) && meta.id == there.id;
            if from == to || is_same && meta.is_dir() {
                return Err(Failure::new(format!("`{}` is the same place", tree.shown(&to))));
            }
            if is_same {
                // Two names of one file: rename(2) would leave both.
                tree.remove_file(&from).map_err(|e| tree.failure(&e))?;
                continue;
            }
        }
        tree.rename(&from, &to).map_err(|e| tree.failure(&e))?;
        made.insert(tree.spelled(&to).map_err(|e| tree.failure(&e))?);
        if args.verbose {
            said.lines.push(format!("{} -> {}", tree.shown(&from), tree.shown(&to)));
        }
    }
    Ok(())
}
