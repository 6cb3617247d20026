//! What starts: the kernel, its ramdisk, its command line; or a boot loader.
//!
//! The command line of the tool goes before the document. Where neither says a kernel, the newest one in the image's
//! `/boot` is taken, with the ramdisk of its version; an emulated machine whose root is on a partitioned disk starts by
//! its own boot loader. A command line without `root=` gets one in front. `root=` names the device where there is no
//! ramdisk: the kernel alone knows neither labels nor the UUIDs of file systems.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::mounts;
use crate::diagnostic::Diagnostic;
use crate::facts::Facts;
use crate::guest::kernel;
use crate::plan::Options;
use crate::xmf::model::{BootFile, Document, GuestType, MountPoint, Spanned};

/// What starts, before the disks have their names.
pub(super) struct Choice {
    pub(super) start: Start,
    pub(super) notes: Vec<String>,
}

/// How the guest starts.
pub(super) enum Start {
    Kernel { kernel: Place, ramdisk: Option<Place>, version: String },
    Bootloader,
    Firmware,
}

/// Where a boot file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Host(PathBuf),
    /// In this `imagefile`, at this path of its file system.
    Image {
        image: usize,
        path: String,
    },
}

/// Decide what starts. `root` is the index of the root image.
pub(super) fn choose(
    document: &Document,
    facts: &Facts,
    root: usize,
    options: &Options,
) -> Result<Choice, Diagnostic> {
    let general = &document.general;
    let guest_type =
        general.guest_type.as_ref().map_or(GuestType::Pv, |guest_type| guest_type.value);
    let mut notes = Vec::new();
    if let Some(bootloader) = &general.bootloader
        && options.kernel.is_none()
    {
        if let Some(file) = general.kernel.as_ref().or(general.ramdisk.as_ref()) {
            let text = "a boot loader brings the kernel and the ramdisk";
            return Err(Diagnostic::error(file.span.clone(), text)
                .hint("leave out this one, or `bootloader`"));
        }
        if options.ramdisk.is_some() {
            let text = "--ramdisk without --kernel: the boot loader brings its own";
            return Err(Diagnostic::error(bootloader.span.clone(), text));
        }
        if guest_type == GuestType::Hvm {
            let text = "an hvm guest cannot start by a boot loader of the host";
            return Err(Diagnostic::error(bootloader.span.clone(), text)
                .hint("leave it out: the firmware starts the boot loader on the disk"));
        }
        return Ok(Choice { start: Start::Bootloader, notes });
    }

    let boot = BootDirectory::of(document, facts, root);
    let (kernel, version) = match (&options.kernel, &general.kernel) {
        (Some(path), _) => (Place::Host(path.clone()), version_of(path)),
        (None, Some(file)) => boot.find(file, facts, guest_type)?,
        (None, None) => {
            let wants_kernel = general.cmdline.is_some()
                || general.ramdisk.is_some()
                || options.cmdline.is_some()
                || options.ramdisk.is_some();
            if guest_type == GuestType::Hvm && facts.images[root].table.is_some() && !wants_kernel {
                notes.push(
                    "the firmware starts the boot loader on the disk, for no kernel is named"
                        .into(),
                );
                return Ok(Choice { start: Start::Firmware, notes });
            }
            let Some(newest) = kernel::newest(boot.files, guest_type) else {
                return Err(Diagnostic::error(
                    document.images[root].span.clone(),
                    "no kernel is named, and the image has none in /boot",
                )
                .hint("name one with `kernel` in `general`, or with --kernel"));
            };
            notes.push(format!("the kernel is the newest of the image: {}", newest.file));
            (boot.from(&newest.file), newest.version)
        }
    };
    if guest_type == GuestType::Pv && kernel::is_legacy(&version) && !version.contains("xen") {
        notes.push(format!(
            "the kernel {version} may be too old to start as a pv guest: its name lacks `xen`"
        ));
    }

    let ramdisk = match (&options.ramdisk, &general.ramdisk) {
        (Some(path), _) => Some(Place::Host(path.clone())),
        (None, Some(file)) => Some(boot.find_ramdisk(file, facts, &version)?),
        (None, None) => match &kernel {
            Place::Image { .. } => {
                kernel::ramdisk_for(&version, boot.files).map(|file| boot.from(&file))
            }
            Place::Host(_) => None,
        },
    };
    Ok(Choice { start: Start::Kernel { kernel, ramdisk, version }, notes })
}

/// The command line for a kernel, or what a boot loader adds to its own.
pub(super) fn command_line(
    document: &Document,
    options: &Options,
    start: &Start,
    root_device: &str,
    root_source: &str,
) -> Option<String> {
    let written = options
        .cmdline
        .clone()
        .or_else(|| document.general.cmdline.as_ref().map(|line| line.value.clone()));
    let Start::Kernel { ramdisk, version, .. } = start else { return written };
    let root = if ramdisk.is_some() { root_source } else { root_device };
    let Some(written) = written else {
        let guest_type = document
            .general
            .guest_type
            .as_ref()
            .map_or(GuestType::Pv, |guest_type| guest_type.value);
        let console = match guest_type {
            GuestType::Hvm => " console=ttyS0",
            // Kernels for Xen before 3.0 know no hvc0 and find their console without being told.
            GuestType::Pv if kernel::is_legacy(version) => "",
            GuestType::Pv | GuestType::Pvh => " console=hvc0",
        };
        return Some(format!("root={root} ro{console}"));
    };
    if written.split_ascii_whitespace().any(|word| word.starts_with("root=")) {
        Some(written)
    } else {
        Some(format!("root={root} {written}").trim_end().to_owned())
    }
}

/// Does the guest's kernel leave its disks the names that the configuration gives them? Where nothing is known of the
/// kernel, those that the image has modules for tell; where there are none, it is taken for one of today.
pub(super) fn keeps_device_names(start: &Start, facts: &Facts, root: usize) -> bool {
    if let Start::Kernel { version, .. } = start
        && version.starts_with(|c: char| c.is_ascii_digit())
    {
        return kernel::is_legacy(version);
    }
    let modules = facts.images[root].root.as_ref().map_or(&[][..], |root| &root.modules);
    let newest = modules.iter().max_by(|a, b| kernel::compare_versions(a, b));
    newest.is_some_and(|version| kernel::is_legacy(version))
}

/// The image that holds the files of the guest's `/boot`.
struct BootDirectory<'a> {
    document: &'a Document,
    image: usize,
    /// `/boot` of a root image, empty for an image that is mounted there.
    path: &'static str,
    files: &'a [String],
}

impl<'a> BootDirectory<'a> {
    fn of(document: &'a Document, facts: &'a Facts, root: usize) -> Self {
        let own = MountPoint::Path("/boot".into());
        match document.images.iter().position(|image| image.mountpoint.value == own) {
            Some(image) => Self { document, image, path: "", files: &facts.images[image].boot },
            None => {
                let files = facts.images[root].root.as_ref().map_or(&[][..], |root| &root.boot);
                Self { document, image: root, path: "/boot", files }
            }
        }
    }

    fn from(&self, file: &str) -> Place {
        Place::Image { image: self.image, path: format!("{}/{file}", self.path) }
    }

    fn find(
        &self,
        file: &Spanned<BootFile>,
        facts: &Facts,
        guest_type: GuestType,
    ) -> Result<(Place, String), Diagnostic> {
        match &file.value {
            BootFile::Host(name) => {
                let path = host_path(name, file, facts)?;
                let version = version_of(&path);
                Ok((Place::Host(path), version))
            }
            BootFile::InImage(path) => {
                Ok((self.named(path, &file.span)?, version_of(Path::new(path))))
            }
            BootFile::NewestInImage => {
                let newest = kernel::newest(self.files, guest_type).ok_or_else(|| {
                    Diagnostic::error(file.span.clone(), "the image has no kernel in /boot")
                        .hint("name a file of the host, or start the tool with --kernel")
                })?;
                Ok((self.from(&newest.file), newest.version))
            }
        }
    }

    fn find_ramdisk(
        &self,
        file: &Spanned<BootFile>,
        facts: &Facts,
        version: &str,
    ) -> Result<Place, Diagnostic> {
        match &file.value {
            BootFile::Host(name) => Ok(Place::Host(host_path(name, file, facts)?)),
            BootFile::InImage(path) => self.named(path, &file.span),
            BootFile::NewestInImage => {
                let found = kernel::ramdisk_for(version, self.files);
                found.map(|found| self.from(&found)).ok_or_else(|| {
                    let text = format!(
                        "the image has no ramdisk for the kernel `{}` in /boot",
                        version.escape_debug()
                    );
                    Diagnostic::error(file.span.clone(), text).hint("name the ramdisk by its path")
                })
            }
        }
    }

    /// The file at this path of the guest. What lies in `/boot` has been listed, so a misprint shows here.
    fn named(&self, path: &str, span: &Range<usize>) -> Result<Place, Diagnostic> {
        let (image, path_there) = mounts::locate(self.document, path);
        let name = path_there.strip_prefix(self.path).and_then(|name| name.strip_prefix('/'));
        if let Some(name) = name
            && image == self.image
            && !name.contains('/')
            && !self.files.iter().any(|listed| listed == name)
        {
            let finding = Diagnostic::error(span.clone(), format!("no file `{path}` in the image"));
            let near = self
                .files
                .iter()
                .map(|listed| (strsim::damerau_levenshtein(listed, name), listed))
                .min()
                .filter(|(distance, _)| *distance <= name.len() / 2);
            return Err(match near {
                Some((_, near)) => finding.hint(format!("did you mean `/boot/{near}`?")),
                None => finding,
            });
        }
        Ok(Place::Image { image, path: path_there })
    }
}

fn host_path(name: &str, file: &Spanned<BootFile>, facts: &Facts) -> Result<PathBuf, Diagnostic> {
    let found = facts.host_files.iter().find(|host| host.name == name);
    found.map(|host| host.path.clone()).ok_or_else(|| {
        Diagnostic::error(file.span.clone(), format!("no such file on this host: {name}"))
    })
}

/// `6.1.0-18-amd64` of `…/vmlinuz-6.1.0-18-amd64`; empty where the name tells nothing.
fn version_of(path: &Path) -> String {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    kernel::kernel_of(name, &[]).map(|kernel| kernel.version).unwrap_or_default()
}
