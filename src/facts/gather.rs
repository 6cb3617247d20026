//! Looks at the images and the files that a document names. Images are opened read-only and read with `pread`; one that
//! is not raw is unpacked into a scratch directory first.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use imgfmt::table::Table;
use imgfmt::{Storage, Volume, ext, probe, table};

use super::choose::Candidates;
use super::known::Known;
use super::stock::{Stock, Stocks};
use super::words::finding;
use super::{Facts, HostFile, ImageFacts, VolumeFacts, inputs, inside, locate, vouch};
use crate::diagnostic::Diagnostic;
use crate::failure::{Failure, plain};
use crate::progress::Progress;
use crate::sign::demand::Demands;
use crate::xmf::model::{BootFile, Document, FileContent, ImageFile, MountPoint};

/// What was found, and where the bytes are.
#[derive(Debug)]
pub struct Gathered {
    /// What a plan needs to know.
    pub facts: Facts,
    /// The stock images by their absolute path.
    pub stock: BTreeMap<PathBuf, Stock>,
    /// What is odd about the images and does not keep them from serving.
    pub warnings: Vec<String>,
}

/// Where to look, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// Relative paths start here.
    pub base: &'a Path,
    /// Images that are not raw are unpacked here.
    pub scratch: &'a Path,
    /// Files of the host that the command line names.
    pub extra: &'a [PathBuf],
    /// What will become of the images.
    pub purpose: Purpose,
    /// What is asked of images before they are used.
    pub demands: &'a Demands,
    /// What this process knows of images that it has seen.
    pub known: &'a Known,
    /// Where long work is shown.
    pub progress: Progress,
}

/// What will become of the images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// They are copied, if anything is written at all.
    Copy,
    /// Disks are laid over them.
    Overlay,
    /// They would be edited where they lie, but are only looked at.
    PlanInPlace,
    /// They are edited where they lie: an edit that was interrupted is undone first.
    EditInPlace,
}

/// Why the looking ended.
#[derive(Debug)]
pub enum Stop {
    /// The document does not fit what is there.
    Findings(Vec<Diagnostic>),
    /// Anything else.
    Failure(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Diagnostic> for Stop {
    fn from(finding: Diagnostic) -> Self {
        Self::Findings(vec![finding])
    }
}

/// Look at all that `document` names.
///
/// # Errors
/// [`Stop::Findings`] with all images and files that cannot serve.
pub fn gather(document: &Document, search: Search<'_>) -> Result<Gathered, Stop> {
    let Search { base, extra, .. } = search;
    let asked = vouch::asked(document, base);
    let stocks = Stocks { search, asked, all: BTreeMap::new(), warnings: Vec::new() };
    let mut gatherer = Gatherer { document, stocks };
    let mut facts = Facts::default();
    let mut findings = Vec::new();
    for image in &document.images {
        match gatherer.image(image) {
            Ok(found) => facts.images.push(found),
            Err(Stop::Findings(more)) => findings.extend(more),
            Err(stop) => return Err(stop),
        }
    }
    for (name, span) in host_files(document) {
        match host_file(name, base) {
            Ok(file) => facts.host_files.push(file),
            Err(what) => findings.push(Diagnostic::error(span, what)),
        }
    }
    for input in document.jobs.iter().flat_map(|job| &job.inputs) {
        match inputs::look(input, base) {
            Ok(found) => facts.inputs.push(found),
            Err(what) => findings.push(Diagnostic::error(input.source.span.clone(), what)),
        }
    }
    for path in extra {
        let name = path.display().to_string();
        // What the command line names is relative to where the user stands, not to the document.
        let here = std::env::current_dir().map_err(|e| Failure::new(plain(&e)))?;
        facts.host_files.push(host_file(&name, &here).map_err(Failure::new)?);
    }
    if findings.is_empty() {
        let Stocks { all: stock, warnings, .. } = gatherer.stocks;
        Ok(Gathered { facts, stock, warnings })
    } else {
        Err(Stop::Findings(findings))
    }
}

/// The files of the host that a document names, each with its place in the text.
fn host_files(document: &Document) -> Vec<(&str, Range<usize>)> {
    let general = &document.general;
    let boot = [&general.kernel, &general.ramdisk].into_iter().flatten().filter_map(|file| {
        match &file.value {
            BootFile::Host(path) => Some((path.as_str(), file.span.clone())),
            BootFile::NewestInImage | BootFile::InImage(_) => None,
        }
    });
    let sources = document.images.iter().flat_map(|image| &image.files).filter_map(|file| {
        match &file.content {
            FileContent::Host(source) => Some((source.value.as_str(), source.span.clone())),
            FileContent::Text(_) | FileContent::Directory | FileContent::Symlink(_) => None,
        }
    });
    boot.chain(sources).collect()
}

fn host_file(name: &str, base: &Path) -> Result<HostFile, String> {
    let path = locate::path(name, base);
    let fail = |e: io::Error| format!("cannot read `{}`: {}", path.display(), plain(&e));
    // Asked before it is opened: to open a fifo would wait for its other end.
    if !fs::metadata(&path).map_err(fail)?.is_file() {
        return Err(format!("`{}` is not a regular file", path.display()));
    }
    let len = File::open(&path).and_then(|file| file.metadata()).map_err(fail)?.len();
    Ok(HostFile { name: name.to_owned(), path, len })
}

struct Gatherer<'a> {
    document: &'a Document,
    stocks: Stocks<'a>,
}

impl Gatherer<'_> {
    /// Look at what one `imagefile` names.
    fn image(&mut self, image: &ImageFile) -> Result<ImageFacts, Stop> {
        let Some(url) = &image.url else {
            let len = image.size.as_ref().map_or(0, |size| size.value);
            return Ok(ImageFacts { len, ..ImageFacts::default() });
        };
        let path = self.stocks.open(url, image.sha256.as_ref(), image.signedby.as_ref())?;
        let Stocks { search, all, warnings, .. } = &mut self.stocks;
        let stock = &all[&path];
        let table = table::read(&stock.disk).map_err(|e| finding(url, &path, &e))?;
        let volumes = match &table {
            None => vec![volume(None, Some(&Volume::whole(&stock.disk)))],
            Some(table) => table
                .partitions
                .iter()
                .map(|partition| {
                    let window = Volume::new(&stock.disk, partition.start, partition.len).ok();
                    VolumeFacts {
                        part_uuid: Some(partition.part_uuid.clone()),
                        part_label: partition.label.clone(),
                        ..volume(Some(partition.number), window.as_ref())
                    }
                })
                .collect(),
        };
        let mut facts = ImageFacts {
            path: Some(path.clone()),
            form: stock.form.name(),
            signer: stock.vouched.as_ref().map(|vouched| vouched.signer.principals.clone()),
            len: stock.disk.len(),
            table: table.as_ref().map(|table| match table.kind {
                table::Kind::Mbr => "mbr",
                table::Kind::Gpt => "gpt",
            }),
            volumes,
            ..ImageFacts::default()
        };
        let odd = table.iter().flat_map(|table| &table.warnings);
        warnings.extend(odd.map(|what| format!("image `{}`: {what}", path.display())));
        if let Some(table) = &table {
            facts.chosen =
                root_of(image, table, &stock.disk).map_err(|e| finding(url, &path, &e))?;
        }
        let partition = facts.partition(image);
        let window = match (&table, partition) {
            (None, None) => Some(Volume::whole(&stock.disk)),
            (Some(table), Some(number)) => table.volume(number, &stock.disk).ok(),
            // A partition too many or too few: the plan says so, since it knows what else the document says.
            _ => None,
        };
        let selected = facts.selected(partition);
        if let Some(window) = window
            && let MountPoint::Path(mountpoint) = &image.mountpoint.value
            && selected.is_some_and(is_ext)
        {
            let fail = |e| finding(url, &path, &e);
            let below = below(self.document, mountpoint);
            let is_edited = mountpoint == "/" || !image.files.is_empty();
            if is_edited || mountpoint == "/boot" || !below.is_empty() {
                let fs = ext::Fs::open(window).map_err(fail)?;
                if is_edited && fs.needs_recovery() {
                    let place = match search.purpose {
                        Purpose::Copy => " in the copy",
                        Purpose::Overlay => " in the overlay",
                        Purpose::PlanInPlace | Purpose::EditInPlace => "",
                    };
                    warnings.push(format!(
                        "image `{}`: it was not unmounted; its journal is replayed{place}",
                        path.display()
                    ));
                }
                facts.has_journal = fs.info().features.iter().any(|name| name == "has_journal");
                if is_edited {
                    // Refused here, before anything is copied, if it cannot be edited at all.
                    let _untouched = fs.begin(0).map_err(fail)?;
                }
                facts.directories = inside::directories(&fs, below);
                facts.root = match mountpoint.as_str() {
                    "/" => Some(inside::root(&fs).map_err(fail)?),
                    _ => None,
                };
                if mountpoint == "/boot" {
                    facts.boot = inside::names(&fs, "/").map_err(fail)?;
                }
            }
        }
        Ok(facts)
    }
}

impl ImageFacts {
    /// What the volume that an `imagefile` means holds.
    fn selected(&self, partition: Option<u32>) -> Option<&str> {
        let volume = self.volumes.iter().find(|volume| volume.partition == partition)?;
        volume.filesystem.as_deref()
    }
}

/// The partition that holds the root of the guest, where `image` is mounted there and does not name one.
fn root_of(image: &ImageFile, table: &Table, disk: &dyn Storage) -> imgfmt::Result<Option<u32>> {
    let is_root = image.mountpoint.value == MountPoint::Path("/".into());
    if !is_root || image.partition.is_some() {
        return Ok(None);
    }
    let chosen = Candidates::new(table, disk)?.root().ok().map(|chosen| chosen.partition.number);
    // The name of a device says which partition it is, too.
    let written = image.device.partition;
    Ok(chosen.filter(|number| written.is_none_or(|written| written == *number)))
}

fn is_ext(filesystem: &str) -> bool {
    matches!(filesystem, "ext2" | "ext3" | "ext4")
}

/// A volume's facts by its magic; without a window (a partition that reaches past the end) nothing is known.
fn volume(partition: Option<u32>, window: Option<&Volume<'_>>) -> VolumeFacts {
    let probe = window.and_then(|window| probe::probe(window).ok().flatten());
    let mut facts = VolumeFacts { partition, ..VolumeFacts::default() };
    if let Some(probe) = probe {
        facts.filesystem = Some(probe.kind.name().to_owned());
        facts.uuid = probe.uuid;
        facts.label = probe.label;
    }
    facts
}

/// The mount points of `document` below `mountpoint`, and where it wants its inputs, as paths inside what is mounted there.
fn below(document: &Document, mountpoint: &str) -> Vec<String> {
    let prefix = mountpoint.strip_suffix('/').unwrap_or(mountpoint);
    let points = document.images.iter().filter_map(|image| match &image.mountpoint.value {
        MountPoint::Path(path) => Some(path.as_str()),
        MountPoint::None => None,
    });
    // What is to be staged in may have a directory there already.
    let inputs = document.jobs.iter().flat_map(|job| &job.inputs);
    points
        .chain(inputs.map(|input| input.path.value.as_str()))
        .filter(|path| *path != mountpoint)
        .filter_map(|path| path.strip_prefix(prefix).filter(|rest| rest.starts_with('/')))
        .map(str::to_owned)
        .collect()
}
