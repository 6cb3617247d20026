//! `ln`: hard and symbolic links.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::places;
use super::target::Target;
use super::verbs::Said;
use crate::cli::LnArgs;
use crate::failure::{Failure, Result};
use crate::inside::address::Naming;
use crate::inside::copy::just_made;
use crate::inside::tree::{TreeMut, found};

/// Make links.
pub(super) fn ln(
    args: &LnArgs,
    naming: Naming,
    tree: &mut dyn TreeMut,
    said: &mut Said,
) -> Result<()> {
    let (last, originals) = args.places.split_last().expect("clap wants two");
    let originals: Vec<PathBuf> = match args.symbolic {
        true => originals.iter().map(PathBuf::from).collect(),
        false => places::expand(tree, originals, naming)?,
    };
    let (_, to) = places::inside(last, naming)?;
    let is_link =
        tree.metadata(&to, false).is_ok_and(|there| there.kind == imgfmt::ext::FileType::Symlink);
    let is_name = args.no_target_directory || (args.no_dereference && is_link);
    let target = Target::new(tree, &to, originals.len(), is_name)?;
    let mut made = HashSet::new();
    for original in originals {
        if !target.takes(&original) {
            let what = format!("`{}` has no name for a link to it", original.display());
            return Err(Failure::new(what).hint("name the link itself"));
        }
        // A link is never a directory.
        let link = target.name_for(tree, &original, false)?;
        let there = found(tree.metadata(&link, false)).map_err(|e| tree.failure(&e))?;
        if there.is_some() && made.contains(&link) {
            return Err(just_made(tree, &link));
        }
        make(args, &original, &link, tree)?;
        made.insert(link.clone());
        if args.verbose {
            let sign = if args.symbolic { "->" } else { "=>" };
            said.lines.push(format!("{} {sign} {}", tree.shown(&link), original.display()));
        }
    }
    Ok(())
}

fn make(args: &LnArgs, original: &Path, link: &Path, tree: &mut dyn TreeMut) -> Result<()> {
    if !args.symbolic {
        let meta = tree.metadata(original, false).map_err(|e| tree.failure(&e))?;
        if meta.is_dir() {
            let what = format!("`{}` is a directory: it has one name", tree.shown(original));
            return Err(Failure::new(what).hint("-s makes a symbolic link"));
        }
        let there = found(tree.metadata(link, false)).map_err(|e| tree.failure(&e))?;
        if there.is_some_and(|there| there.id == meta.id && meta.id != (0, 0)) && args.force {
            return Ok(());
        }
    }
    if args.force {
        let there = found(tree.metadata(link, false)).map_err(|e| tree.failure(&e))?;
        if there.is_some_and(|there| !there.is_dir()) {
            tree.remove_file(link).map_err(|e| tree.failure(&e))?;
        }
    }
    let made = match args.symbolic {
        true => tree.symlink(original, link),
        false => tree.hard_link(original, link),
    };
    made.map_err(|e| tree.failure(&e))
}
