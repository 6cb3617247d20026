//! `cp`: between host and image, image and image, and within one.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::places;
use super::session::{self, Write};
use super::target::Target;
use super::verbs::Said;
use crate::cli::CpArgs;
use crate::failure::{Failure, Result};
use crate::inside::address::{ImageName, Naming, Place};
use crate::inside::copy::{Copy, Follow, Options};
use crate::inside::glob;
use crate::inside::host::Host;
use crate::inside::host_target;
use crate::inside::tree::{Tree, TreeMut};
use crate::report::Talk;

/// Copy as the command line says.
pub(super) fn run(args: &CpArgs, talk: Talk) -> Result<ExitCode> {
    let (last, sources) = args.places.split_last().expect("clap wants two");
    let mut said = Said::default();
    match places::any(last, Naming::CommandLine)? {
        Place::Inside { image, .. } => {
            let image = image.expect("only a script leaves it out");
            session::edit(&image, Write::Commit, |tree| {
                apply(args, Naming::CommandLine, Some(&image), tree, &mut said)
            })?;
            said.print(talk)?;
            Ok(ExitCode::SUCCESS)
        }
        Place::Host(to) => {
            let faults = copy_out(args, sources, &to, &mut said)?;
            said.print(talk)?;
            faults.iter().for_each(|fault| talk.failure(fault));
            Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
        }
    }
}

fn options(args: &CpArgs, go_on: bool) -> Options {
    let recursive = args.recursive || args.archive;
    let follow = match (args.dereference, args.no_dereference || recursive) {
        (true, _) => Follow::Always,
        (false, true) => Follow::Never,
        (false, false) => Follow::Named,
    };
    Options {
        recursive,
        keep: args.preserve || args.archive,
        keep_all: args.archive,
        follow,
        no_clobber: args.no_clobber,
        go_on,
    }
}

/// Sources that are read from one tree.
enum Group {
    Host(Vec<PathBuf>),
    /// `None`: the image that is edited.
    Image(Option<ImageName>, Vec<PathBuf>),
}

/// The sources, those that follow one another in one image together.
fn groups(sources: &[OsString], naming: Naming, edited: Option<&ImageName>) -> Result<Vec<Group>> {
    let mut all = Vec::new();
    for text in sources {
        match (places::any(text, naming)?, all.last_mut()) {
            (Place::Host(path), Some(Group::Host(paths))) => paths.push(path),
            (Place::Host(path), _) => all.push(Group::Host(vec![path])),
            (Place::Inside { image, path }, last) => {
                let image = image.filter(|image| Some(image) != edited);
                match last {
                    Some(Group::Image(known, paths)) if *known == image => paths.push(path),
                    _ => all.push(Group::Image(image, vec![path])),
                }
            }
        }
    }
    Ok(all)
}

/// Copy into `tree`, which is of the image `edited`, or of that of a script.
pub(super) fn apply(
    args: &CpArgs,
    naming: Naming,
    edited: Option<&ImageName>,
    tree: &mut dyn TreeMut,
    said: &mut Said,
) -> Result<()> {
    let (last, sources) = args.places.split_last().expect("clap wants two");
    let Place::Inside { path: to, .. } = places::any(last, naming)? else {
        let what = format!("`{}` is of the host, where a script writes nothing", last.display());
        return Err(Failure::new(what).hint("write `:/PATH` for a place in the image"));
    };
    let groups = groups(sources, naming, edited)?;
    let mut count = 0;
    for group in &groups {
        count += match group {
            Group::Host(paths) => paths.len(),
            Group::Image(None, paths) => expand(tree, paths)?.len(),
            // What a pattern stands for in another image is counted when it is open.
            Group::Image(Some(_), paths) => paths.len(),
        };
    }
    let target = Target::new(tree, &to, count, args.no_target_directory)?;
    let mut into = Into { tree, target, made: HashSet::new() };
    for group in groups {
        match group {
            Group::Host(paths) => copy_all(args, Some(&Host), paths, &mut into, said)?,
            Group::Image(None, paths) => {
                let paths = expand(into.tree, &paths)?;
                copy_all(args, None, paths, &mut into, said)?;
            }
            Group::Image(Some(image), paths) => session::read(&image, |source| {
                let paths = expand(source, &paths)?;
                if paths.len() > 1 {
                    Target::new(into.tree, &to, paths.len(), args.no_target_directory)?;
                }
                copy_all(args, Some(source), paths, &mut into, said)
            })?,
        }
    }
    Ok(())
}

fn expand(tree: &dyn Tree, paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in paths {
        all.extend(glob::expand(tree, path)?.map_err(|e| tree.failure(&e))?);
    }
    Ok(all)
}

/// Where all sources of a command go, in an image.
struct Into<'t> {
    tree: &'t mut dyn TreeMut,
    target: Target,
    made: HashSet<PathBuf>,
}

fn copy_all(
    args: &CpArgs,
    source: Option<&dyn Tree>,
    paths: Vec<PathBuf>,
    into: &mut Into<'_>,
    said: &mut Said,
) -> Result<()> {
    let mut names = Vec::new();
    for from in paths {
        let is_dir = is_dir(source.unwrap_or(&*into.tree), &from);
        let name = into.target.name_for(into.tree, &from, is_dir)?;
        names.push((from, name));
    }
    let mut copy = Copy::new(source, into.tree, options(args, false), &mut into.made);
    for (from, to) in names {
        copy.copy(&from, &to)?;
    }
    take(args, copy, said);
    Ok(())
}

fn is_dir(tree: &dyn Tree, path: &Path) -> bool {
    tree.metadata(path, true).is_ok_and(|meta| meta.is_dir())
}

fn take(args: &CpArgs, copy: Copy<'_>, said: &mut Said) -> Vec<Failure> {
    if args.verbose {
        said.lines.extend(copy.said);
    }
    said.notes.extend(copy.notes);
    said.notes.extend(copy.lost.lines());
    copy.faults
}

/// Copy out of images to the host; what could not be copied.
fn copy_out(
    args: &CpArgs,
    sources: &[OsString],
    to: &Path,
    said: &mut Said,
) -> Result<Vec<Failure>> {
    let groups = groups(sources, Naming::CommandLine, None)?;
    let mut faults = Vec::new();
    let mut made = HashSet::new();
    let mut has_begun = false;
    for group in groups {
        let (image, paths) = match group {
            Group::Image(Some(image), paths) => (image, paths),
            Group::Image(None, _) => unreachable!("only a script leaves it out"),
            Group::Host(paths) => {
                let from = paths.first().map(|path| path.display().to_string()).unwrap_or_default();
                let what = format!("neither `{from}` nor `{}` is in an image", to.display());
                return Err(Failure::new(what).hint("write `IMAGE:/PATH`, or use `cp`"));
            }
        };
        let copied = session::read(&image, |source| {
            let paths = expand(source, &paths)?;
            let count = paths.len().max(sources.len());
            let target = Target::new(&Host, to, count, args.no_target_directory)?;
            // A directory is opened once; a name is looked for where it is, or will be.
            let (mut tree, top) = host_target::target(to).map_err(|e| Host.failure(&e))?;
            let mut names = Vec::new();
            for from in paths {
                target.check(&Host, is_dir(source, &from))?;
                let name = match target.is_dir() {
                    true => target.below(&from),
                    false => top.clone(),
                };
                names.push((from, name));
            }
            let mut copy = Copy::new(Some(source), &mut tree, options(args, true), &mut made);
            for (from, name) in names {
                let copied = copy.copy(&from, &name);
                has_begun |= !copy.said.is_empty();
                copied?;
            }
            Ok(take(args, copy, said))
        });
        faults.extend(copied.map_err(|failure| match failure {
            Failure::Interrupted { .. } if has_begun => {
                Failure::InterruptedCopy { to: to.to_owned() }
            }
            failure => failure,
        })?);
    }
    Ok(faults)
}
