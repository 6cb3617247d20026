//! The domain of a plan, and the boot files that its bundle holds.

use std::num::NonZeroU32;
use std::ops::Range;
use std::path::Path;

use super::boot::{self, Place, Start};
use super::disks::Layout;
use super::known::Known;
use super::{BootFile, BootSource, Disk, Options, Source};
use crate::diagnostic::Diagnostic;
use crate::domain::bundle::{MANIFEST, SIGNATURES};
use crate::domain::value::{self, Bootloader, Bridge, CommandLine, FileName, HostPath, Mac, Name};
use crate::domain::xl;
use crate::xmf::model::{Document, GuestType, Network, WhenDone};

/// File names that the bundle needs for itself.
const RESERVED: [&str; 4] = ["domain.cfg", MANIFEST, SIGNATURES[0], SIGNATURES[1]];

/// The domain's name: the document's, or one made of the file's name.
pub(super) fn name(document: &Document, options: &Options) -> Result<Name, Diagnostic> {
    match &document.general.name {
        Some(name) => Name::new(name.value.as_str()).map_err(at(&name.span)),
        None => Ok(default_name(&options.name_default)),
    }
}

/// A domain's name out of a file's name: what a domain cannot have becomes `-`.
fn default_name(file: &str) -> Name {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut text: String = file.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        text.insert_str(0, "job-");
    }
    text.truncate(64);
    if text == "Domain-0" {
        text.insert_str(0, "job-");
    }
    Name::new(text).expect("made of what a name may have")
}

/// What xl is told, and the files that it boots from.
pub(super) fn with_boot_files(
    known: &Known<'_>,
    options: &Options,
    start: &Start,
    name: Name,
    disks: &[Disk],
) -> Result<(Vec<BootFile>, xl::Domain), Diagnostic> {
    let general = &known.document.general;
    let memory = &general.memory_mib;
    let memory_mib = positive(memory.value, "memory", &memory.span)?;
    let vcpus = match &general.vcpus {
        Some(vcpus) => positive(vcpus.value, "vcpus", &vcpus.span)?,
        None => NonZeroU32::MIN,
    };
    let (boot_files, boot) = boot(known, options, start, disks)?;
    let parts = xl::Parts {
        name,
        guest_type: general
            .guest_type
            .as_ref()
            .map_or(GuestType::Pv, |guest_type| guest_type.value),
        memory_mib,
        vcpus,
        boot,
        disks: disks.iter().map(|disk| attached(disk, &memory.span)).collect::<Result<_, _>>()?,
        networks: general.networks.iter().map(network).collect::<Result<_, _>>()?,
        restarts: known.document.when_done == WhenDone::Reboot,
    };
    Ok((boot_files, xl::Domain::new(parts).map_err(at(&memory.span))?))
}

/// A refused value, with its place in the document.
fn at(span: &Range<usize>) -> impl FnOnce(value::Error) -> Diagnostic {
    let span = span.clone();
    move |error| Diagnostic::error(span, error.to_string())
}

fn positive(value: u32, what: &str, span: &Range<usize>) -> Result<NonZeroU32, Diagnostic> {
    NonZeroU32::new(value)
        .ok_or_else(|| Diagnostic::error(span.clone(), format!("`{what}` is at least 1")))
}

fn boot(
    known: &Known<'_>,
    options: &Options,
    start: &Start,
    disks: &[Disk],
) -> Result<(Vec<BootFile>, xl::Boot), Diagnostic> {
    let general = &known.document.general;
    let slot = &known.layout.slots[known.root];
    let line = boot::command_line(known.document, options, start, &slot.device, &slot.source);
    // What the tool's own command line says has no place in the document; `memory` stands for `general`.
    let written = general.cmdline.as_ref().filter(|_| options.cmdline.is_none());
    let span = written.map_or(&general.memory_mib.span, |written| &written.span);
    let cmdline = line.map(CommandLine::new).transpose().map_err(at(span))?;

    let mut boot_files = Vec::new();
    let mut add = |from: &Place, fallback: &str| {
        let file = boot_file_name(from, fallback, disks, &boot_files);
        boot_files.push(BootFile { file: file.clone(), from: boot_source(from, known.layout) });
        xl::File::Bundle(file)
    };
    let boot = match start {
        Start::Kernel { kernel, ramdisk, .. } => xl::Boot::Kernel {
            kernel: add(kernel, "kernel"),
            ramdisk: ramdisk.as_ref().map(|ramdisk| add(ramdisk, "ramdisk")),
            cmdline: cmdline.expect("a kernel always gets a command line"),
        },
        Start::Bootloader => {
            let written = general.bootloader.as_ref().expect("chosen because it is there");
            let program = Bootloader::new(written.value.as_str()).map_err(at(&written.span))?;
            xl::Boot::Bootloader { program, cmdline }
        }
        Start::Firmware => xl::Boot::Firmware {},
    };
    Ok((boot_files, boot))
}

fn attached(disk: &Disk, span: &Range<usize>) -> Result<xl::Disk, Diagnostic> {
    let target = match (&disk.file, &disk.source) {
        (Some(file), _) => xl::File::Bundle(file.clone()),
        (None, Source::Image(path)) => xl::File::Host(HostPath::from_path(path).map_err(at(span))?),
        (None, Source::Blank { .. } | Source::Inputs { .. }) => {
            unreachable!("a new disk is a file of the bundle")
        }
    };
    Ok(xl::Disk { vdev: disk.vdev.clone(), read_only: disk.read_only, format: disk.format, target })
}

fn network(network: &Network) -> Result<xl::Network, Diagnostic> {
    let mac = network.mac.as_ref().map(|mac| Mac::new(mac.value.as_str()).map_err(at(&mac.span)));
    let bridge = network
        .bridge
        .as_ref()
        .map(|bridge| Bridge::new(bridge.value.as_str()).map_err(at(&bridge.span)));
    Ok(xl::Network { mac: mac.transpose()?, bridge: bridge.transpose()? })
}

fn boot_source(from: &Place, layout: &Layout) -> BootSource {
    match from {
        Place::Host(path) => BootSource::Host(path.clone()),
        Place::Image { image, path } => {
            let slot = &layout.slots[*image];
            BootSource::Image { disk: slot.disk, partition: slot.partition, path: path.clone() }
        }
    }
}

/// The file's own name, where the bundle can have it, else one with `fallback` in front.
fn boot_file_name(from: &Place, fallback: &str, disks: &[Disk], others: &[BootFile]) -> FileName {
    let path = match from {
        Place::Host(path) => path.as_path(),
        Place::Image { path, .. } => Path::new(path),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    let own: String = path
        .file_name()
        .map(|name| name.to_string_lossy())
        .unwrap_or_default()
        .chars()
        .map(|c| if fits(c) { c } else { '_' })
        .take(100)
        .collect();
    let is_taken = |name: &FileName| {
        RESERVED.contains(&name.as_str())
            || disks.iter().any(|disk| disk.file.as_ref() == Some(name))
            || others.iter().any(|other| other.file == *name)
    };
    let mut name = FileName::new(own.as_str());
    let mut text = own;
    while name.as_ref().map_or(true, is_taken) {
        text = format!("{fallback}-{}", text.trim_start_matches('.'));
        text.truncate(128);
        name = FileName::new(text.as_str());
    }
    name.expect("the loop ends with a name")
}
