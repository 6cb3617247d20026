//! Document and facts → plan.

use std::num::NonZeroU32;
use std::path::Path;

use super::boot::{self, Place, Start};
use super::disks::{self, Layout};
use super::volume::{self, Held};
use super::{BootFile, BootSource, Disk, Edit, Options, Plan, Source, VolumeEdits, files, root};
use crate::diagnostic::Diagnostic;
use crate::domain::value::{self, Bootloader, Bridge, CommandLine, FileName, HostPath, Mac, Name};
use crate::domain::xl;
use crate::facts::Facts;
use crate::xmf::model::{Document, GuestType, MountPoint};

/// File names that the bundle needs for itself.
const RESERVED: [&str; 2] = ["domain.cfg", "manifest.json"];

/// Make the plan for a document in a world that is as `facts` say. `facts.images` has one for each of the document's.
///
/// # Errors
/// All that stands in the way, with its place in the document.
pub fn plan(
    document: &Document,
    facts: &Facts,
    options: &Options,
) -> Result<Plan, Vec<Diagnostic>> {
    assert_eq!(
        document.images.len(),
        facts.images.len(),
        "facts are gathered for each image of the document"
    );
    let held = all(document
        .images
        .iter()
        .zip(&facts.images)
        .map(|(image, facts)| volume::held(image, facts)))?;
    let root = root_of(document, &held)?;
    let mut notes: Vec<String> = held.iter().filter_map(|held| held.note.clone()).collect();
    let mut choice = boot::choose(document, facts, root, options).map_err(|error| vec![error])?;
    notes.append(&mut choice.notes);
    let name = domain_name(document, options).map_err(|error| vec![error])?;

    let guest_type =
        document.general.guest_type.as_ref().map_or(GuestType::Pv, |guest_type| guest_type.value);
    let keep = options.keep_device_names
        || guest_type == GuestType::Hvm
        || boot::keeps_device_names(&choice.start, facts, root);
    let mut layout = disks::lay_out(document, facts, &held, !keep, name.as_str())?;
    notes.append(&mut layout.notes);

    let edits = all_edits(document, facts, &held, &layout, root, &mut notes)?;
    let disks = all(layout.disks.iter().enumerate().map(|(nr, disk)| {
        let mut edits: Vec<(usize, &[Edit])> =
            disk.images.iter().map(|&image| (image, &edits[image][..])).collect();
        edits.retain(|(_, edits)| !edits.is_empty());
        finish_disk(document, facts, &layout, nr, edits)
    }))?;
    let (boot_files, domain) =
        domain(document, options, &layout, &disks, Booting { start: choice.start, name, root })
            .map_err(|error| vec![error])
            .map(|(files, domain, more)| {
                notes.extend(more);
                (files, domain)
            })?;
    Ok(Plan { disks, boot_files, domain, notes })
}

/// All values, or all errors.
fn all<T>(results: impl Iterator<Item = Result<T, Diagnostic>>) -> Result<Vec<T>, Vec<Diagnostic>> {
    let mut values = Vec::new();
    let mut errors = Vec::new();
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(values) } else { Err(errors) }
}

/// The index of the image that is mounted at `/`.
fn root_of(document: &Document, held: &[Held]) -> Result<usize, Vec<Diagnostic>> {
    let slash = MountPoint::Path("/".into());
    let Some(root) = document.images.iter().position(|image| image.mountpoint.value == slash)
    else {
        let span = document.images.first().map_or(0..0, |image| image.mountpoint.span.clone());
        return Err(vec![
            Diagnostic::error(span, "no image is mounted at `/`")
                .hint("the image with the guest's system is at `/`"),
        ]);
    };
    let mut errors = Vec::new();
    if !held[root].is_ext() {
        let text = format!("a root in {} cannot be edited", held[root].filesystem);
        errors.push(
            Diagnostic::error(document.images[root].filesystem.span.clone(), text)
                .hint("ext2, ext3 and ext4 images can be prepared"),
        );
    }
    for (_, image) in document.images.iter().enumerate().filter(|(index, _)| *index != root) {
        let spans = image.hostname.iter().map(|name| ("hostname", &name.span));
        for (element, span) in
            spans.chain(image.authorized_keys.iter().map(|key| ("authorizedkey", &key.span)))
        {
            let text = format!("`{element}` belongs to the image that is mounted at `/`");
            errors.push(Diagnostic::error(span.clone(), text));
        }
    }
    if errors.is_empty() { Ok(root) } else { Err(errors) }
}

fn domain_name(document: &Document, options: &Options) -> Result<Name, Diagnostic> {
    if let Some(name) = &document.general.name {
        return Name::new(name.value.as_str())
            .map_err(|error| Diagnostic::error(name.span.clone(), error.to_string()));
    }
    Ok(default_name(&options.name_default))
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

/// The edits of each image, in the order of the document's images.
fn all_edits(
    document: &Document,
    facts: &Facts,
    held: &[Held],
    layout: &Layout,
    root: usize,
    notes: &mut Vec<String>,
) -> Result<Vec<Vec<Edit>>, Vec<Diagnostic>> {
    let mut edits = vec![Vec::new(); document.images.len()];
    let mut errors = Vec::new();
    for (image, edit) in root::mount_points(document, facts, held, notes) {
        edits[image].push(edit);
    }
    for (index, held) in held.iter().enumerate() {
        match files::edits(document, facts, held, index, notes) {
            Ok(files) => edits[index].extend(files),
            Err(more) => errors.extend(more),
        }
    }
    match root::edits(document, facts, held, layout, root, notes) {
        Ok(more) => edits[root].extend(more),
        Err(more) => errors.extend(more),
    }
    if errors.is_empty() { Ok(edits) } else { Err(errors) }
}

fn finish_disk(
    document: &Document,
    facts: &Facts,
    layout: &Layout,
    nr: usize,
    edits: Vec<(usize, &[Edit])>,
) -> Result<Disk, Diagnostic> {
    let disk = &layout.disks[nr];
    let first = disk.images[0];
    let in_place = disk.read_only
        && edits.is_empty()
        && facts.images[first].compression.is_none()
        && matches!(disk.source, Source::Image(_));
    if in_place && let Source::Image(path) = &disk.source {
        let span = document.images[first].url.as_ref().map_or(0..0, |url| url.span.clone());
        HostPath::from_path(path).map_err(|error| {
            Diagnostic::error(span, error.to_string())
                .hint("xl cannot be told this path: move or link the image")
        })?;
    }
    let file = FileName::new(format!("{}.img", disk.vdev))
        .expect("a device's name has only letters and digits");
    let edits = edits
        .into_iter()
        .map(|(image, edits)| VolumeEdits {
            partition: layout.slots[image].partition,
            edits: edits.to_vec(),
        })
        .collect();
    Ok(Disk {
        vdev: disk.vdev.clone(),
        read_only: disk.read_only,
        source: disk.source.clone(),
        file: (!in_place).then_some(file),
        images: disk.images.clone(),
        edits,
    })
}

/// What is known of the start before the domain is put together.
struct Booting {
    start: Start,
    name: Name,
    root: usize,
}

fn domain(
    document: &Document,
    options: &Options,
    layout: &Layout,
    disks: &[Disk],
    booting: Booting,
) -> Result<(Vec<BootFile>, xl::Domain, Vec<String>), Diagnostic> {
    let general = &document.general;
    // What the command line says wrong has no place in the document.
    let anchor = general.memory_mib.span.clone();
    let at = |span: &std::ops::Range<usize>| {
        let span = span.clone();
        move |error: value::Error| Diagnostic::error(span, error.to_string())
    };
    let Booting { start, name, root } = booting;
    let mut notes = Vec::new();
    let slot = &layout.slots[root];
    let cmdline = boot::command_line(document, options, &start, &slot.device, &slot.source);
    let cmdline_span = match (&options.cmdline, &general.cmdline) {
        (None, Some(written)) => written.span.clone(),
        _ => anchor.clone(),
    };
    let cmdline = cmdline.map(CommandLine::new).transpose().map_err(at(&cmdline_span))?;

    let mut boot_files = Vec::new();
    let boot = match start {
        Start::Kernel { kernel, ramdisk, .. } => {
            let mut add = |from: &Place, fallback: &str| {
                let file = boot_file_name(from, fallback, disks, &boot_files);
                boot_files.push(BootFile { file: file.clone(), from: boot_source(from, layout) });
                xl::File::Bundle(file)
            };
            let kernel = add(&kernel, "kernel");
            let ramdisk = ramdisk.map(|ramdisk| add(&ramdisk, "ramdisk"));
            xl::Boot::Kernel {
                kernel,
                ramdisk,
                cmdline: cmdline.expect("a kernel always gets a command line"),
            }
        }
        Start::Bootloader => {
            let written = general.bootloader.as_ref().expect("chosen because it is there");
            if slot.disk != 0 {
                notes.push(
                    "the boot loader looks at the first disk, which is not the root disk".into(),
                );
            }
            let program = Bootloader::new(written.value.as_str()).map_err(at(&written.span))?;
            xl::Boot::Bootloader { program, cmdline }
        }
        Start::Firmware => xl::Boot::Firmware {},
    };

    let mut parts = xl::Parts {
        name,
        guest_type: general
            .guest_type
            .as_ref()
            .map_or(GuestType::Pv, |guest_type| guest_type.value),
        memory_mib: positive(general.memory_mib.value, "memory", &general.memory_mib.span)?,
        vcpus: NonZeroU32::MIN,
        boot,
        disks: Vec::new(),
        networks: Vec::new(),
    };
    if let Some(vcpus) = &general.vcpus {
        parts.vcpus = positive(vcpus.value, "vcpus", &vcpus.span)?;
    }
    for disk in disks {
        let target = match (&disk.file, &disk.source) {
            (Some(file), _) => xl::File::Bundle(file.clone()),
            (None, Source::Image(path)) => {
                xl::File::Host(HostPath::from_path(path).map_err(at(&anchor))?)
            }
            (None, Source::Blank { .. }) => continue,
        };
        parts.disks.push(xl::Disk { vdev: disk.vdev.clone(), read_only: disk.read_only, target });
    }
    for network in &general.networks {
        parts.networks.push(xl::Network {
            mac: network
                .mac
                .as_ref()
                .map(|mac| Mac::new(mac.value.as_str()).map_err(at(&mac.span)))
                .transpose()?,
            bridge: network
                .bridge
                .as_ref()
                .map(|bridge| Bridge::new(bridge.value.as_str()).map_err(at(&bridge.span)))
                .transpose()?,
        });
    }
    let domain = xl::Domain::new(parts).map_err(at(&anchor))?;
    Ok((boot_files, domain, notes))
}

fn positive(
    value: u32,
    what: &str,
    span: &std::ops::Range<usize>,
) -> Result<NonZeroU32, Diagnostic> {
    NonZeroU32::new(value)
        .ok_or_else(|| Diagnostic::error(span.clone(), format!("`{what}` is at least 1")))
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
