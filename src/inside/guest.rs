//! What lives in a root: which distribution, for which processor, with which kernels, started by what.
//!
//! All of it is read from a stranger's files: each is read up to a length that no honest one has, and what cannot be read
//! is told as a warning, so that one damaged file does not hide the others. What the files mean is known in
//! [`crate::guest`].

use std::path::{Path, PathBuf};

use imgfmt::Error;
use imgfmt::ext::FileType;

use super::tree::Tree;
use crate::guest::fstab::{self, Device, Entry};
use crate::guest::init::{self, Init};
use crate::guest::kernel::{self, Kernel};
use crate::guest::{bzimage, hostname, machine, release};
use crate::xmf::model::GuestType;

/// The longest text that is read, in bytes.
const TEXT_MAX: u64 = 1 << 20;
/// The longest program in which a version is looked for.
const PROGRAM_MAX: u64 = 8 << 20;
/// Kernels that are told of.
const KERNELS_MAX: usize = 64;

/// A guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guest {
    /// Its distribution.
    pub release: Option<release::Release>,
    /// Its processor, as `uname -m` has it.
    pub machine: Option<&'static str>,
    /// What starts its services, and what else could.
    pub inits: Vec<Init>,
    /// The version of systemd.
    pub systemd: Option<String>,
    /// Its name.
    pub hostname: Option<String>,
    /// Its `/etc/fstab`.
    pub fstab: Vec<Mount>,
    /// What could not be read.
    pub warnings: Vec<String>,
}

/// An entry of `/etc/fstab`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The entry.
    pub entry: Entry,
    /// The path of the device that it means, of those that were given.
    pub device: Option<String>,
}

/// A kernel in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its file names and version.
    pub kernel: Kernel,
    /// Bytes of the kernel.
    pub len: u64,
    /// What it says of itself, where it does.
    pub release: Option<String>,
}

/// Reads in a tree, and remembers what could not be read.
struct Reader<'a> {
    tree: &'a dyn Tree,
    warnings: Vec<String>,
}

/// Look at the root `tree`. `devices` are what fstab may mean.
pub fn look(tree: &dyn Tree, devices: &[Device]) -> Guest {
    let mut reader = Reader { tree, warnings: Vec::new() };
    let release = release::of(&mut |path| reader.text(path));
    let (inits, systemd) = reader.inits();
    let hostname = reader.hostname();
    let machine = reader.machine();
    let fstab = reader.text("/etc/fstab").unwrap_or_default();
    let fstab = fstab::entries(&fstab, devices).into_iter();
    let mount = |(entry, device): (Entry, Option<&Device>)| Mount {
        entry,
        device: device.map(|device| device.path.clone()),
    };
    Guest {
        release,
        machine,
        inits,
        systemd,
        hostname,
        fstab: fstab.map(mount).collect(),
        warnings: reader.warnings,
    }
}

/// The kernels in `directory`, the newest first; links to others of them are left out.
///
/// # Errors
/// Where the directory cannot be read; one that is not there is empty.
pub fn kernels(tree: &dyn Tree, directory: &Path) -> imgfmt::Result<Vec<Found>> {
    let names = match tree.read_dir(directory) {
        Ok(names) => names,
        Err(Error::NotFound(_) | Error::NotADirectory(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let names: Vec<String> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
    let mut all = Vec::new();
    for kernel in kernel::all(&names, GuestType::Pv) {
        let path = directory.join(&kernel.file);
        let is_alias = tree.read_link(&path).is_ok_and(|target| {
            target.to_str().is_some_and(|target| names.iter().any(|name| name == target))
        });
        let found = tree.metadata(&path, true).ok().filter(|found| found.kind == FileType::File);
        let Some(found) = found.filter(|_| !is_alias && all.len() < KERNELS_MAX) else { continue };
        let release =
            head(tree, &path, bzimage::HEAD_LEN).ok().and_then(|head| bzimage::release(&head));
        all.push(Found { kernel, len: found.len, release });
    }
    Ok(all)
}

/// The kernels that lie beside their modules, as Fedora and Arch keep them: `/usr/lib/modules/6.8.5/vmlinuz`, the newest
/// first. The first of `directories` that is there is looked at.
///
/// # Errors
/// Where that directory cannot be read.
pub fn kernels_of_modules(
    tree: &dyn Tree,
    directories: &[&str],
) -> imgfmt::Result<(PathBuf, Vec<Found>)> {
    for directory in directories.iter().map(Path::new) {
        let mut versions = match tree.read_dir(directory) {
            Ok(names) => names,
            Err(Error::NotFound(_) | Error::NotADirectory(_)) => continue,
            Err(error) => return Err(error),
        };
        versions.retain(|name| name.to_str().is_some());
        versions
            .sort_by(|a, b| kernel::compare_versions(&b.to_string_lossy(), &a.to_string_lossy()));
        let mut all = Vec::new();
        for version in versions.iter().filter_map(|name| name.to_str()) {
            let Ok(files) = kernels(tree, &directory.join(version)) else { continue };
            let own = files.into_iter().find(|found| found.kernel.version.is_empty());
            let Some(Found { kernel, len, release }) = own.filter(|_| all.len() < KERNELS_MAX)
            else {
                continue;
            };
            let within = |file: String| format!("{version}/{file}");
            let kernel = Kernel {
                file: within(kernel.file),
                version: version.to_owned(),
                ramdisk: kernel.ramdisk.map(within),
            };
            all.push(Found { kernel, len, release });
        }
        return Ok((directory.to_owned(), all));
    }
    Ok((PathBuf::new(), Vec::new()))
}

/// At most `cap` bytes from the start of a file, without those behind its first hole.
fn head(tree: &dyn Tree, path: &Path, cap: usize) -> imgfmt::Result<Vec<u8>> {
    let mut head = Vec::new();
    while head.len() < cap {
        match tree.next_data(path, head.len() as u64, cap - head.len())? {
            Some((at, bytes)) if at == head.len() as u64 && !bytes.is_empty() => head.extend(bytes),
            _ => break,
        }
    }
    Ok(head)
}

impl Reader<'_> {
    /// A file of at most `cap` bytes; `None` where there is none.
    fn read(&mut self, path: &str, cap: u64) -> Option<Vec<u8>> {
        let read = || {
            let found = self.tree.metadata(Path::new(path), true)?;
            if found.kind != FileType::File || found.len > cap {
                let what = format!("`{path}` is no regular file of at most {cap} bytes");
                return Err(Error::Unsupported(what));
            }
            let mut bytes = Vec::new();
            self.tree.copy_to(Path::new(path), &mut bytes)?;
            Ok(bytes)
        };
        match read() {
            Ok(bytes) => Some(bytes),
            Err(Error::NotFound(_) | Error::NotADirectory(_)) => None,
            Err(error) => {
                self.warnings.push(format!("`{path}`: {error}"));
                None
            }
        }
    }

    fn text(&mut self, path: &str) -> Option<Vec<u8>> {
        self.read(path, TEXT_MAX)
    }

    fn inits(&mut self) -> (Vec<Init>, Option<String>) {
        let tree = self.tree;
        let is_there = |path: &str| tree.metadata(Path::new(path), true).is_ok();
        let target = init::program(&|path| tree.metadata(path, false).is_ok(), &|path| {
            let found = tree.metadata(path, false).ok()?;
            (found.kind == FileType::Symlink).then(|| tree.read_link(path).ok()).flatten()
        });
        let inits = init::recognise(target.as_deref().and_then(Path::to_str), &is_there);
        let systemd = inits.contains(&Init::Systemd).then(|| self.systemd()).flatten();
        (inits, systemd)
    }

    fn systemd(&mut self) -> Option<String> {
        let by_name = init::SYSTEMD_LIBRARIES.iter().find_map(|directory| {
            let names = self.tree.read_dir(Path::new(directory)).ok()?;
            init::systemd_version(names.iter().filter_map(|name| name.to_str()))
        });
        by_name.or_else(|| {
            let program = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
            let program = program.into_iter().find_map(|path| self.read(path, PROGRAM_MAX))?;
            init::systemd_version_in(&program)
        })
    }

    fn hostname(&mut self) -> Option<String> {
        let line = |bytes: Vec<u8>| {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let name =
                text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
            name.filter(|name| hostname::is_valid(name)).map(str::to_owned)
        };
        ["/etc/hostname", "/etc/HOSTNAME"]
            .into_iter()
            .find_map(|path| self.text(path).and_then(line))
            .or_else(|| {
                let network = self.text("/etc/sysconfig/network")?;
                let network = String::from_utf8_lossy(&network).into_owned();
                let mut values =
                    network.lines().filter_map(|line| line.trim().strip_prefix("HOSTNAME="));
                values.next_back().map(|value| value.trim_matches(['"', '\'']).to_owned())
            })
            .filter(|name| hostname::is_valid(name))
    }

    /// Of the first program that is one.
    fn machine(&self) -> Option<&'static str> {
        let programs =
            ["/sbin/init", "/bin/sh", "/bin/bash", "/bin/busybox", "/usr/bin/env", "/bin/ls"];
        programs.into_iter().find_map(|path| {
            let path = Path::new(path);
            let is_file = self.tree.metadata(path, true).ok()?.kind == FileType::File;
            let head = head(self.tree, path, 64).ok().filter(|_| is_file)?;
            machine::of(&head)
        })
    }
}
