//! The entries of the boot loaders that keep their menus in a directory: `/boot`, or the partition mounted there.

use std::path::{Path, PathBuf};

use imgfmt::Error;
use imgfmt::ext::FileType;

use super::tree::Tree;
use crate::guest::loader::{self, ENTRIES_MAX, Entry, Style};

/// The longest menu that is read, in bytes.
const MENU_MAX: u64 = 1 << 20;

/// Where menus are. Where one file is two of these, as `menu.lst` is a link to `grub.conf`, the first counts.
const MENUS: [(&str, Style); 8] = [
    ("grub/grub.cfg", Style::Grub),
    ("grub2/grub.cfg", Style::Grub),
    ("grub/grub.conf", Style::GrubLegacy),
    ("grub/menu.lst", Style::GrubLegacy),
    ("extlinux/extlinux.conf", Style::Syslinux),
    ("extlinux.conf", Style::Syslinux),
    ("syslinux/syslinux.cfg", Style::Syslinux),
    ("syslinux.cfg", Style::Syslinux),
];

/// Files with an entry each.
const SPECIFIED: &str = "loader/entries";

/// An entry, and the file that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub entry: Entry,
}

/// The entries of all menus below `directory`, and what could not be read.
pub fn entries(tree: &dyn Tree, directory: &Path) -> (Vec<Found>, Vec<String>) {
    let (mut all, mut warnings, mut read) = (Vec::new(), Vec::new(), Vec::new());
    for (name, style) in MENUS {
        let path = directory.join(name);
        if let Some(text) = text(tree, &path, &mut read, &mut warnings) {
            let entries = loader::entries(style, &text).into_iter();
            all.extend(entries.map(|entry| Found { path: path.clone(), entry }));
        }
    }
    let directory = directory.join(SPECIFIED);
    let mut names = match tree.read_dir(&directory) {
        Ok(names) => names,
        Err(Error::NotFound(_) | Error::NotADirectory(_)) => Vec::new(),
        Err(error) => {
            warnings.push(format!("`{}`: {error}", directory.display()));
            Vec::new()
        }
    };
    names.retain(|name| Path::new(name).extension().is_some_and(|end| end == "conf"));
    names.sort();
    names.truncate(ENTRIES_MAX);
    for name in names {
        let path = directory.join(&name);
        if let Some(text) = text(tree, &path, &mut read, &mut warnings) {
            let entry = loader::specified(&name.to_string_lossy(), &text);
            all.extend(entry.map(|entry| Found { path, entry }));
        }
    }
    all.truncate(ENTRIES_MAX);
    (all, warnings)
}

/// What a file says that is there and was not `read`.
fn text(
    tree: &dyn Tree,
    path: &Path,
    read: &mut Vec<(u64, u64)>,
    warnings: &mut Vec<String>,
) -> Option<Vec<u8>> {
    let mut look = || {
        let found = tree.metadata(path, true)?;
        if found.id != (0, 0) && read.contains(&found.id) {
            return Ok(None);
        }
        read.push(found.id);
        if found.kind != FileType::File || found.len > MENU_MAX {
            let what = format!("no regular file of at most {MENU_MAX} bytes");
            return Err(Error::Unsupported(what));
        }
        let mut bytes = Vec::new();
        tree.copy_to(path, &mut bytes)?;
        Ok(Some(bytes))
    };
    match look() {
        Ok(text) => text,
        Err(Error::NotFound(_) | Error::NotADirectory(_)) => None,
        Err(error) => {
            warnings.push(format!("`{}`: {error}", path.display()));
            None
        }
    }
}
