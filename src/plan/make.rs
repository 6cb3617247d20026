//! Document and facts → plan.

use super::disks;
use super::known::Known;
use super::volume::{self, Held};
use super::{
    Disk, Edit, Options, Plan, Source, VolumeEdits, boot, domain, extra, files, in_place, inputs,
    jobs, root,
};
use crate::diagnostic::Diagnostic;
use crate::domain::value::{FileName, HostPath, Vdev};
use crate::domain::xl::DiskFormat;
use crate::facts::Facts;
use crate::xmf::model::{Document, GuestType, MountPoint};

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
    let name = domain::name(document, options).map_err(|error| vec![error])?;

    let guest_type =
        document.general.guest_type.as_ref().map_or(GuestType::Pv, |guest_type| guest_type.value);
    let keep = options.keep_device_names
        || guest_type == GuestType::Hvm
        || boot::keeps_device_names(&choice.start, facts, root);
    let mut layout = disks::lay_out(document, facts, &held, !keep, name.as_str())?;
    notes.append(&mut layout.notes);

    let known = Known { document, facts, held: &held, layout: &layout, root };
    let is_legacy = boot::keeps_device_names(&choice.start, facts, root);
    let mut extra = extra::Extra::new(&known, name.as_str(), is_legacy, !keep);
    let results = extra.results()?;
    let staged = inputs::place(&known, &mut extra)?;
    let device = results.map(|nr| extra.disks[nr].vdev.as_str().to_owned());
    let run = jobs::place(&known, options, device.as_deref(), &mut extra, &mut notes);
    let edits = all_edits(&known, &staged, &extra, run, &mut notes)?;
    let mut disks = all(layout.disks.iter().enumerate().map(|(nr, disk)| {
        let mut edits: Vec<(usize, &[Edit])> =
            disk.images.iter().map(|&image| (image, &edits[image][..])).collect();
        edits.retain(|(_, edits)| !edits.is_empty());
        finish_disk(&known, nr, edits, options)
    }))?;
    let before = disks.len();
    disks.append(&mut extra.disks);
    if options.in_place {
        in_place::check(document, &disks)?;
        in_place::note(document, facts, &disks, &mut notes);
    }
    if matches!(choice.start, boot::Start::Bootloader) && layout.slots[root].disk != 0 {
        notes.push("the boot loader looks at the first disk, which is not the root disk".into());
    }
    let (boot_files, domain) =
        domain::with_boot_files(&known, options, &choice.start, name, &disks)
            .map_err(|error| vec![error])?;
    let jobs = jobs::names(document).map_err(|error| vec![error])?;
    let results = results.map(|nr| before + nr);
    Ok(Plan { disks, boot_files, domain, id: options.id.clone(), jobs, results, notes })
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

/// The edits of each image, in the order of the document's images.
fn all_edits(
    known: &Known<'_>,
    staged: &[(usize, Edit)],
    extra: &extra::Extra<'_>,
    run: Result<Vec<Edit>, Vec<Diagnostic>>,
    notes: &mut Vec<String>,
) -> Result<Vec<Vec<Edit>>, Vec<Diagnostic>> {
    let mut edits = vec![Vec::new(); known.document.images.len()];
    let mut errors = Vec::new();
    for (image, edit) in root::mount_points(known, notes) {
        edits[image].push(edit);
    }
    for (index, edits) in edits.iter_mut().enumerate() {
        match files::edits(known, index, notes) {
            Ok(files) => edits.extend(files),
            Err(more) => errors.extend(more),
        }
    }
    for (image, edit) in staged {
        edits[*image].push(edit.clone());
    }
    let (run, refused) = match run {
        Ok(run) => (run, Vec::new()),
        Err(refused) => (Vec::new(), refused),
    };
    match root::edits(known, extra, run) {
        Ok(more) => edits[known.root].extend(more),
        Err(more) => errors.extend(more),
    }
    errors.extend(refused);
    if errors.is_empty() { Ok(edits) } else { Err(errors) }
}

/// The longest name of a backing file, in bytes (QEMU's `docs/interop/qcow2.txt`).
const BACKING_NAME_MAX: usize = 1023;

/// The file of a disk that the bundle holds.
pub(super) fn file_of(vdev: &Vdev, format: DiskFormat) -> FileName {
    let ending = match format {
        DiskFormat::Raw => "img",
        DiskFormat::Qcow2 => "qcow2",
    };
    let name = FileName::new(format!("{vdev}.{ending}"));
    name.expect("a device's name has only letters and digits")
}

fn finish_disk(
    known: &Known<'_>,
    nr: usize,
    edits: Vec<(usize, &[Edit])>,
    options: &Options,
) -> Result<Disk, Diagnostic> {
    let Known { document, facts, layout, .. } = *known;
    let disk = &layout.disks[nr];
    let first = disk.images[0];
    let in_place = options.in_place;
    let (file, format, guard) = match &disk.source {
        Source::Image(path)
            if facts.images[first].form.is_none()
                && (in_place || disk.read_only && edits.is_empty()) =>
        {
            let span = document.images[first].url.as_ref().map_or(0..0, |url| url.span.clone());
            HostPath::from_path(path).map_err(|error| {
                Diagnostic::error(span, error.to_string())
                    .hint("xl cannot be told this path: move or link the image")
            })?;
            let edited: Vec<usize> = edits.iter().map(|(image, _)| *image).collect();
            (None, DiskFormat::Raw, in_place::guard(path, &edited, facts))
        }
        Source::Image(path) if options.overlay && path.as_os_str().len() > BACKING_NAME_MAX => {
            let span = document.images[first].url.as_ref().map_or(0..0, |url| url.span.clone());
            let what = format!(
                "a path of {} bytes; that of an image below an overlay has {BACKING_NAME_MAX} at most",
                path.as_os_str().len()
            );
            return Err(Diagnostic::error(span, what).hint("move it, or leave out --overlay"));
        }
        Source::Image(_) | Source::Blank { .. } | Source::Inputs { .. } => {
            let format = match (&disk.source, options.overlay) {
                (Source::Image(_), true) => DiskFormat::Qcow2,
                _ => DiskFormat::Raw,
            };
            (Some(file_of(&disk.vdev, format)), format, None)
        }
    };
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
        file,
        format,
        guard,
        images: disk.images.clone(),
        edits,
    })
}
