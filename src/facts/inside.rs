//! What stands inside a file system of the ext family, as far as a plan wants to know.

use imgfmt::{Error, Result, ext};

use super::RootFacts;

/// The largest text file of the guest that is read, in bytes.
const TEXT_MAX: u64 = 1 << 20;

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
    })
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
