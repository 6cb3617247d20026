//! What the arguments of a verb name, with the host asked for the files that there are.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};
use crate::inside::address::{self, ImageName, Naming, Place};
use crate::inside::glob;
use crate::inside::tree::Tree;

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| !found.is_dir())
}

/// What `text` names, be it of the host.
pub(super) fn any(text: &OsStr, naming: Naming) -> Result<Place> {
    address::place(text, naming, &is_file)
}

/// A path inside an image.
pub(super) fn inside(text: &OsStr, naming: Naming) -> Result<(Option<ImageName>, PathBuf)> {
    address::inside(text, naming, &is_file)
}

/// An image with a path, or alone.
pub(super) fn image_or_inside(text: &OsStr) -> Result<(ImageName, PathBuf)> {
    address::image_or_inside(text, &is_file)
}

/// An image alone; `None` where there is no such file.
pub(super) fn image(text: &OsStr) -> Option<ImageName> {
    address::image_alone(text, &is_file)
}

/// An image with a path, or alone: with those that follow one another in one image put together, so that it is opened once.
pub(super) fn by_image(texts: &[OsString]) -> Result<Vec<(ImageName, Vec<PathBuf>)>> {
    let mut all: Vec<(ImageName, Vec<PathBuf>)> = Vec::new();
    for text in texts {
        let (image, path) = image_or_inside(text)?;
        match all.last_mut() {
            Some((last, paths)) if *last == image => paths.push(path),
            _ => all.push((image, vec![path])),
        }
    }
    Ok(all)
}

/// The one image that all of `texts` are in; `None` in a script.
///
/// # Errors
/// Where they are in several: an edit is one transaction, of one file system.
pub(super) fn one_image(texts: &[OsString], naming: Naming) -> Result<Option<ImageName>> {
    let mut images = texts.iter().map(|text| inside(text, naming).map(|found| found.0));
    let first = images.next().transpose()?.flatten();
    for image in images {
        check_same(first.as_ref(), image?.as_ref())?;
    }
    Ok(first)
}

/// Refuse places in a script that name an image: it is known which one is edited.
pub(super) fn check_unnamed(texts: &[OsString]) -> Result<()> {
    for text in texts {
        if let Place::Inside { image: Some(_), .. } = any(text, Naming::Script)? {
            let what = format!(
                "`{}` names an image, and a script edits one that is named once",
                text.display()
            );
            return Err(Failure::new(what).hint("write `:/PATH`"));
        }
    }
    Ok(())
}

fn check_same(first: Option<&ImageName>, second: Option<&ImageName>) -> Result<()> {
    if first == second {
        return Ok(());
    }
    let shown = |image: Option<&ImageName>| match image {
        None => "the image that is edited".to_owned(),
        Some(ImageName { file, partition: None }) => format!("`{}`", file.display()),
        Some(ImageName { file, partition: Some(partition) }) => {
            format!("`{}#{}`", file.display(), partition.display())
        }
    };
    let what = format!("an edit is of one image, not of {} and {}", shown(first), shown(second));
    Err(Failure::new(what).hint("name one image at a time; `cp` copies from one to another"))
}

/// All paths that `texts` stand for in `tree`.
pub(super) fn expand(tree: &dyn Tree, texts: &[OsString], naming: Naming) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for text in texts {
        let (_, path) = inside(text, naming)?;
        all.extend(glob::expand(tree, &path)?.map_err(|e| tree.failure(&e))?);
    }
    Ok(all)
}
