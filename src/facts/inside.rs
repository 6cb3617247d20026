//! What stands inside a file system of the ext family, as far as a plan wants to know.

use std::path::Path;

use imgfmt::{Error, Result, ext};

use super::RootFacts;
use crate::guest::init::{self, Init};
use crate::guest::{hook, runner};

/// The largest text file of the guest that is read, in bytes.
const TEXT_MAX: u64 = 1 << 20;

/// The largest script that is looked into, in bytes.
const SCRIPT_MAX: u64 = 256 << 10;

/// Names of a directory that are looked at.
const NAMES_MAX: usize = 1024;

/// What a root file system holds of that which a plan changes or reads.
pub(super) fn root(fs: &ext::Fs<'_>) -> Result<RootFacts> {
    Ok(RootFacts {
        fstab: text(fs, "/etc/fstab")?,
        hostname: text(fs, "/etc/hostname")?,
        sysconfig_network: text(fs, "/etc/sysconfig/network")?,
        suse_hostname: text(fs, "/etc/HOSTNAME")?,
        xenjobs: names(fs, "/etc/xenjobs.d")?,
        authorized_keys: text(fs, "/root/.ssh/authorized_keys")?,
        boot: names(fs, "/boot")?,
        modules: names(fs, "/lib/modules")?,
        inits: inits(fs),
        inittab: text(fs, hook::INITTAB)?,
        depend_start: text(fs, hook::DEPEND_START)?,
        has_etc_init: is_there(fs, "/etc/init"),
        has_cloud_init: runner::CLOUD_INIT.iter().any(|path| is_there(fs, path)),
        own_runner: own_runner(fs),
    })
}

fn is_there(fs: &ext::Fs<'_>, path: &str) -> bool {
    fs.metadata(path).is_ok()
}

fn inits(fs: &ext::Fs<'_>) -> Vec<Init> {
    let link = |path: &Path| {
        let found = fs.symlink_metadata(path).ok()?;
        (found.kind == ext::FileType::Symlink).then(|| fs.read_link(path).ok()).flatten()
    };
    let program = init::program(&|path| fs.symlink_metadata(path).is_ok(), &link);
    init::recognise(program.as_deref().and_then(Path::to_str), &|path| is_there(fs, path))
}

/// The program of the guest that runs the jobs. What cannot be read runs none.
fn own_runner(fs: &ext::Fs<'_>) -> Option<String> {
    let below = |directory: &'static str| {
        let names = names(fs, directory).unwrap_or_default();
        names.into_iter().take(NAMES_MAX).map(move |name| format!("{directory}/{name}"))
    };
    let paths = runner::STARTED_IN.into_iter().flat_map(below);
    let paths = runner::STARTED.iter().map(|path| (*path).to_owned()).chain(paths);
    let read = |path: &str| {
        let found = fs.metadata(path).ok()?;
        let is_program = found.mode & 0o111 != 0;
        let bytes = fs.read_capped(path, SCRIPT_MAX).ok()?;
        Some((bytes, is_program))
    };
    runner::own(paths, &read)
}

/// Those of `paths` that are directories.
pub(super) fn directories(fs: &ext::Fs<'_>, paths: Vec<String>) -> Vec<String> {
    paths
        .into_iter()
        .filter(|path| fs.metadata(path).is_ok_and(|found| found.kind == ext::FileType::Directory))
        .collect()
}

/// The names in a directory that are UTF-8, sorted; none where there is no such directory.
pub(super) fn names(fs: &ext::Fs<'_>, path: &str) -> Result<Vec<String>> {
    match fs.read_dir(path) {
        Ok(entries) => {
            let names = entries.into_iter().filter_map(|entry| entry.name.into_string().ok());
            let mut names: Vec<String> = names.collect();
            names.sort();
            Ok(names)
        }
        Err(Error::NotFound(_) | Error::NotADirectory(_)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// A text file; `None` where there is none.
fn text(fs: &ext::Fs<'_>, path: &str) -> Result<Option<Vec<u8>>> {
    match fs.read_capped(path, TEXT_MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Error::NotFound(_) | Error::NotADirectory(_)) => Ok(None),
        Err(Error::Unsupported(what)) => Err(Error::Unsupported(format!("`{path}`: {what}"))),
        Err(error) => Err(error),
    }
}
