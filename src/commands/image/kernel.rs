//! `autoxen image kernel`: the kernels of a guest, and one of them with its ramdisk as files of the host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use imgfmt::table;
use serde_json::{Value, json};

use super::boot::{self, Boot};
use super::open;
use super::select::{named, select};
use super::session::{shown, within};
use super::watched::Watched;
use crate::cli::ImageKernelArgs;
use crate::failure::{Failure, Result};
use crate::inside::guest::{self, Found};
use crate::inside::tree::check_name;
use crate::newfile::{Existing, Staged, cannot_write, there};
use crate::progress::Progress;
use crate::report::{self, Talk};
use crate::visible::visible;

/// What there is, and what was written.
struct Told {
    /// Lines for people.
    text: String,
    kernels: Vec<Value>,
    kernel: Option<PathBuf>,
    ramdisk: Option<PathBuf>,
}

/// List the kernels, or take one out.
pub(super) fn run(args: &ImageKernelArgs, talk: Talk) -> Result<ExitCode> {
    let name = named(&args.image, args.partition.as_deref())?;
    let opened = open::open(&name.file, Progress::new(args.quiet))?;
    let fail = |e| open::failure(&name.file, &e);
    let raw = &opened.raw;
    let selected = select(&name, raw)?;
    let own = selected.partition.as_ref().map(|partition| partition.number);
    let table = table::read(raw).map_err(fail)?;
    let devices = boot::devices(table.as_ref(), raw).map_err(fail)?;
    let told = within(&name, selected, |tree| {
        let guest = guest::look(tree, &devices);
        boot::with_boot(&name, raw, (tree, own), &guest, |boot| take(args, &name.file, boot, talk))
    })?;
    raw.check_unchanged().map_err(fail)?;
    match args.json {
        false => report::print(&told.text)?,
        true => report::print_json(&json!({
            "image": shown(&name),
            "kernels": told.kernels,
            "kernel": told.kernel.map(|path| path.to_string_lossy().into_owned()),
            "ramdisk": told.ramdisk.map(|path| path.to_string_lossy().into_owned()),
        }))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn take(args: &ImageKernelArgs, image: &Path, places: &[Boot<'_>; 2], talk: Talk) -> Result<Told> {
    let of = |boot| move |found| (boot, found);
    let mut all: Vec<(&Boot<'_>, &Found)> =
        places.iter().flat_map(|boot| boot.kernels.iter().map(of(boot))).collect();
    let [boot, _] = places;
    let there_is = |all: &[(&Boot<'_>, &Found)]| {
        let versions = all.iter().map(|(_, found)| format!("`{}`", found.kernel.version));
        versions.collect::<Vec<_>>().join(", ")
    };
    if let Some(version) = &args.version {
        let listed = there_is(&all);
        all.retain(|(_, found)| found.kernel.version == *version);
        if all.is_empty() && !listed.is_empty() {
            let place = boot.tree.shown(&boot.directory);
            return Err(Failure::new(format!("{place} has no kernel of version `{version}`"))
                .hint(format!("there are {listed}")));
        }
    }
    let Some((boot, first)) = all.first().copied() else {
        let place = boot.tree.shown(&boot.directory);
        return Err(Failure::new(format!("no kernel is in {place}"))
            .hint("a kernel is called vmlinuz or vmlinux, with its version behind a hyphen, or lies in /usr/lib/modules"));
    };
    let kernels = all.iter().map(|(boot, found)| boot.json(found)).collect();
    let Some(directory) = &args.output else {
        let text = all.iter().map(|(boot, found)| boot.line(found) + "\n").collect();
        return Ok(Told { text, kernels, kernel: None, ramdisk: None });
    };
    let files: Vec<&String> =
        [Some(&first.kernel.file), first.kernel.ramdisk.as_ref()].into_iter().flatten().collect();
    if first.kernel.ramdisk.is_none() {
        talk.note(&format!("the kernel `{}` has no ramdisk in the image", first.kernel.file));
    }
    let paths = copy(args, image, boot, directory, &files)?;
    let text = paths.iter().map(|path| format!("{}\n", visible(&path.to_string_lossy()))).collect();
    let mut paths = paths.into_iter();
    Ok(Told { text, kernels, kernel: paths.next(), ramdisk: paths.next() })
}

/// Copy files of the image into `directory`: each is there whole or not at all, and none where one cannot be read.
fn copy(
    args: &ImageKernelArgs,
    image: &Path,
    boot: &Boot<'_>,
    directory: &Path,
    files: &[&String],
) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(directory).map_err(|e| cannot_write(directory, &e))?;
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    let mut staged = Vec::new();
    for file_name in files {
        // The name is a stranger's: joined to a path, it must not lead elsewhere.
        let own = Path::new(file_name).file_name().unwrap_or(file_name.as_ref());
        check_name(own, &boot.directory).map_err(|e| boot.tree.failure(&e))?;
        let target = directory.join(own);
        if existing == Existing::Keep && target.symlink_metadata().is_ok() {
            return Err(there(&target));
        }
        let new = Staged::beside(&target, &[image])?;
        let mut file = new.file();
        let mut out = Watched::new(&mut file);
        let copied = boot.tree.copy_to(&boot.path(file_name), &mut out);
        if let Some(error) = out.error() {
            return Err(cannot_write(&target, &error));
        }
        copied.map_err(|e| boot.tree.failure(&e))?;
        staged.push((new, target));
    }
    let mut paths = Vec::new();
    for (new, target) in staged {
        new.publish(existing)?;
        paths.push(target);
    }
    Ok(paths)
}
