//! Looks at the images and the files that a document names. Images are opened read-only and read with `pread`; one that
//! is not raw is unpacked into a scratch directory first.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use imgfmt::compressed;
use imgfmt::copy::write_sparse;
use imgfmt::qcow2::{self, Layer};
use imgfmt::{Image, Storage, Volume, ext, probe, table};

use super::form::Form;
use super::{Facts, HostFile, ImageFacts, VolumeFacts, digest, inside, locate};
use crate::diagnostic::Diagnostic;
use crate::failure::{FILE_TOO_LARGE, Failure, plain};
use crate::interrupt;
use crate::newfile::create_like;
use crate::progress::Progress;
use crate::xmf::model::{BootFile, Document, FileContent, ImageFile, MountPoint, Spanned};

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

/// A stock image, open (and so locked) for as long as this lives.
#[derive(Debug)]
pub struct Stock {
    /// The raw image: the stock file itself, or what was unpacked from it into the scratch directory.
    pub raw: Image,
    /// Path of the raw image.
    pub path: PathBuf,
    /// SHA-256 of the stock file, where the document gave one and it was compared.
    pub sha256: Option<String>,
    form: Form,
    /// The stock file where it is not raw, with its backing files.
    packed: Option<Layer>,
}

impl Stock {
    /// The stock file itself.
    fn file(&self) -> &Image {
        let packed = self.packed.as_ref().and_then(|packed| packed.files().first().copied());
        packed.unwrap_or(&self.raw)
    }

    /// Whether the raw image lies in the scratch directory.
    pub fn is_unpacked(&self) -> bool {
        self.packed.is_some()
    }
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
    /// Where long work is shown.
    pub progress: Progress,
}

/// What will become of the images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// They are copied, if anything is written at all.
    Copy,
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
    let mut gatherer = Gatherer { document, search, stock: BTreeMap::new(), warnings: Vec::new() };
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
    for path in extra {
        let name = path.display().to_string();
        // What the command line names is relative to where the user stands, not to the document.
        let here = std::env::current_dir().map_err(|e| Failure::new(plain(&e)))?;
        facts.host_files.push(host_file(&name, &here).map_err(Failure::new)?);
    }
    if findings.is_empty() {
        Ok(Gathered { facts, stock: gatherer.stock, warnings: gatherer.warnings })
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
    search: Search<'a>,
    stock: BTreeMap<PathBuf, Stock>,
    warnings: Vec<String>,
}

impl Gatherer<'_> {
    /// Look at what one `imagefile` names.
    fn image(&mut self, image: &ImageFile) -> Result<ImageFacts, Stop> {
        let Some(url) = &image.url else {
            let len = image.size.as_ref().map_or(0, |size| size.value);
            return Ok(ImageFacts { len, ..ImageFacts::default() });
        };
        let path = self.stock(url, image.sha256.as_ref())?;
        let stock = &self.stock[&path];
        let table = table::read(&stock.raw).map_err(|e| finding(url, &path, &e))?;
        let volumes = match &table {
            None => vec![volume(None, Some(&Volume::whole(&stock.raw)))],
            Some(table) => table
                .partitions
                .iter()
                .map(|partition| {
                    let window = Volume::new(&stock.raw, partition.start, partition.len).ok();
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
            len: stock.raw.len(),
            table: table.as_ref().map(|table| match table.kind {
                table::Kind::Mbr => "mbr",
                table::Kind::Gpt => "gpt",
            }),
            volumes,
            ..ImageFacts::default()
        };
        let warnings = table.iter().flat_map(|table| &table.warnings);
        self.warnings.extend(warnings.map(|what| format!("image `{}`: {what}", path.display())));
        let window = match (&table, &image.partition) {
            (None, None) => Some(Volume::whole(&stock.raw)),
            (Some(table), Some(number)) => table.volume(number.value, &stock.raw).ok(),
            // A partition too many or too few: the plan says so, since it knows what else the document says.
            _ => None,
        };
        let selected = facts.selected(image.partition.as_ref().map(|number| number.value));
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
                    let place = match self.search.purpose {
                        Purpose::Copy => " in the copy",
                        Purpose::PlanInPlace | Purpose::EditInPlace => "",
                    };
                    self.warnings.push(format!(
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

    /// Open the stock image that `url` names, unless it is open already; its absolute path. A digest is compared before
    /// anything is read out of the image.
    fn stock(
        &mut self,
        url: &Spanned<String>,
        sha256: Option<&Spanned<String>>,
    ) -> Result<PathBuf, Stop> {
        let named = locate::path(url, self.search.base);
        let path = fs::canonicalize(&named).map_err(|e| {
            let what = format!("cannot open image `{}`: {}", named.display(), plain(&e));
            Diagnostic::error(url.span.clone(), what)
        })?;
        if !self.stock.contains_key(&path) {
            // The digest is that of the file which is open from here on, not of what bears its name later.
            let file = self.open_stock(&path).map_err(|e| finding(url, &path, &e))?;
            self.refuse_second_name(url, &path)?;
            if let Some(wanted) = sha256 {
                self.compare(url, wanted, &file)?;
            }
            let stock = self.open(url, &path, file)?;
            let below = stock.packed.iter().flat_map(Layer::files).skip(1);
            self.warnings.extend(sha256.and(below.last()).map(|file| {
                format!(
                    "image `{}`: its sha256 does not cover `{}`, which it is laid over",
                    path.display(),
                    file.path().display()
                )
            }));
            self.stock.insert(path.clone(), stock);
        } else if let Some(wanted) = sha256 {
            let stock = &self.stock[&path];
            if stock.sha256.as_ref() != Some(&wanted.value) {
                self.compare(url, wanted, stock.file())?;
            }
        }
        if let Some(wanted) = sha256 {
            let stock = self.stock.get_mut(&path).expect("it was put there");
            stock.sha256 = Some(wanted.value.clone());
        }
        Ok(path)
    }

    /// Open a stock image; where it is to be edited, an edit that was interrupted is undone first.
    fn open_stock(&mut self, path: &Path) -> imgfmt::Result<Image> {
        match Image::open(path) {
            Err(imgfmt::Error::Interrupted(_)) if self.search.purpose == Purpose::EditInPlace => {
                imgfmt::recover(path)?;
                self.warnings.push(format!(
                    "image `{}`: an edit of it was interrupted, and is undone now",
                    path.display()
                ));
                Image::open(path)
            }
            opened => opened,
        }
    }

    /// Two hard links to one file would be edited as two images.
    fn refuse_second_name(&self, url: &Spanned<String>, path: &Path) -> Result<(), Stop> {
        if self.search.purpose == Purpose::Copy {
            return Ok(());
        }
        let file = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
        let own = file(path);
        match self.stock.keys().find(|other| own.is_some() && file(other) == own) {
            None => Ok(()),
            Some(other) => Err(Diagnostic::error(
                url.span.clone(),
                format!("`{}` and `{}` are one file", path.display(), other.display()),
            )
            .hint("leave out --in-place, or give each disk an image of its own")
            .into()),
        }
    }

    /// Compare the digest of the stock file with the one that the document demands.
    fn compare(
        &self,
        url: &Spanned<String>,
        wanted: &Spanned<String>,
        file: &Image,
    ) -> Result<(), Stop> {
        let path = file.path();
        let found = self.digest(url, file)?;
        if found != wanted.value {
            let what = format!("image `{}` has another SHA-256: {found}", path.display());
            return Err(Diagnostic::error(wanted.span.clone(), what)
                .expected("the digest of the file that `url` names")
                .hint("do not use this image unless you know why it differs")
                .into());
        }
        Ok(())
    }

    fn digest(&self, url: &Spanned<String>, file: &Image) -> Result<String, Stop> {
        let bar = self.search.progress.bar("sha256");
        let result = digest::sha256(&mut file.reader(), &mut |done| {
            bar.set(done, file.len());
            if interrupt::asked() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
        });
        interrupt::check()?;
        let fail = |e| finding(url, file.path(), &imgfmt::Error::io("cannot read it", e));
        Ok(result.map_err(fail)?)
    }

    fn open(&mut self, url: &Spanned<String>, path: &Path, image: Image) -> Result<Stock, Stop> {
        let fail = |e| finding(url, path, &e);
        if image.is_empty() {
            let what = format!("image `{}` is empty", path.display());
            return Err(Diagnostic::error(url.span.clone(), what).into());
        }
        let form = Form::of(&image).map_err(fail)?;
        let Some((what, way_out)) = form.obstacle(path) else {
            return Ok(Stock { raw: image, path: path.into(), sha256: None, form, packed: None });
        };
        if self.search.purpose != Purpose::Copy {
            return Err(Diagnostic::error(url.span.clone(), format!("{what}: no place to edit"))
                .hint(format!("{way_out}, or leave out --in-place"))
                .into());
        }
        let unpacked = self.search.scratch.join(format!("unpacked-{}.img", self.stock.len()));
        let result = self.unpack(image, form, &unpacked);
        interrupt::check()?;
        let packed = result.map_err(|e| match (e, form.judge()) {
            // Where it was unpacked to is gone by the time that this is read.
            (imgfmt::Error::HostFull(_), _) => {
                fail(imgfmt::Error::HostFull("cannot unpack it".into()))
            }
            (imgfmt::Error::Io { source, .. }, _)
                if source.kind() == io::ErrorKind::FileTooLarge =>
            {
                fail(imgfmt::Error::io("cannot unpack it", source))
            }
            (damage @ imgfmt::Error::Corrupt(_), Some(judge)) => {
                Diagnostic::error(url.span.clone(), about(path, &damage))
                    .hint(format!("`{judge}` says more; use a copy that is whole"))
            }
            (other, _) => fail(other),
        })?;
        let raw = Image::open(&unpacked).map_err(fail)?;
        Ok(Stock { raw, path: unpacked, sha256: None, form, packed: Some(packed) })
    }

    /// Write the disk that `image` holds into a new file at `unpacked`, which is no more open to others than any file that
    /// it comes from. The image, still open.
    fn unpack(&self, image: Image, form: Form, unpacked: &Path) -> imgfmt::Result<Layer> {
        let packed = match form {
            Form::Qcow2 => Layer::Qcow2(Box::new(qcow2::open(image, &[])?)),
            Form::Raw | Form::Compressed(_) => Layer::Raw(image),
        };
        let originals: Vec<&Path> = packed.files().into_iter().map(Image::path).collect();
        let to = create_like(unpacked, &originals)
            .map_err(|e| imgfmt::Error::io("cannot unpack it", e))?;
        let bar = self.search.progress.bar("unpack");
        let step = &mut |done, total| bar.step(done, total);
        let limit = compressed::DEFAULT_LIMIT;
        match form {
            Form::Compressed(compression) => {
                compressed::unpack(&packed, compression, &to, limit, step)?;
            }
            Form::Raw | Form::Qcow2 if packed.len() > limit => {
                let what = format!("image of more than {limit} bytes");
                return Err(imgfmt::Error::Unsupported(what));
            }
            Form::Raw | Form::Qcow2 => {
                write_sparse(&packed, &to, step)?;
            }
        }
        packed.check_unchanged()?;
        Ok(packed)
    }
}

impl ImageFacts {
    /// What the volume that an `imagefile` means holds.
    fn selected(&self, partition: Option<u32>) -> Option<&str> {
        let volume = self.volumes.iter().find(|volume| volume.partition == partition)?;
        volume.filesystem.as_deref()
    }
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

/// The mount points of `document` below `mountpoint`, as paths inside what is mounted there.
fn below(document: &Document, mountpoint: &str) -> Vec<String> {
    let prefix = mountpoint.strip_suffix('/').unwrap_or(mountpoint);
    let points = document.images.iter().filter_map(|image| match &image.mountpoint.value {
        MountPoint::Path(path) => Some(path.as_str()),
        MountPoint::None => None,
    });
    points
        .filter(|path| *path != mountpoint)
        .filter_map(|path| path.strip_prefix(prefix).filter(|rest| rest.starts_with('/')))
        .map(str::to_owned)
        .collect()
}

/// An image that cannot serve, at its place in the document.
fn finding(url: &Spanned<String>, path: &Path, error: &imgfmt::Error) -> Diagnostic {
    let what = about(path, error);
    let finding = Diagnostic::error(url.span.clone(), what);
    match hint(error) {
        Some(hint) => finding.hint(hint),
        None => finding,
    }
}

/// `error` in words, with the image's path once.
pub fn about(path: &Path, error: &imgfmt::Error) -> String {
    let named = path.display();
    match error {
        imgfmt::Error::NotAnImage { what, .. } => format!("image `{named}` {what}"),
        imgfmt::Error::Busy(who) => {
            // The library names the path itself: it does not know that we do.
            let who = who.strip_prefix(&format!("`{named}`: ")).unwrap_or(who);
            format!("image `{named}` is in use: {who}")
        }
        imgfmt::Error::Io { what, source } if what.contains(&format!("`{named}`")) => {
            format!("image `{named}`: {}", plain(source))
        }
        imgfmt::Error::Io { what, source } => format!("image `{named}`: {what}: {}", plain(source)),
        imgfmt::Error::Interrupted(_) => {
            format!("image `{named}`: an edit of it was interrupted and has to be undone first")
        }
        other => format!("image `{named}`: {other}"),
    }
}

/// The way out of an image's error, where one is known.
pub fn hint(error: &imgfmt::Error) -> Option<&'static str> {
    use imgfmt::Error as E;
    Some(match error {
        E::NeedsRecovery(_) => {
            "shut the guest down cleanly, or replay the journal of a copy with `e2fsck -p`"
        }
        E::NotClean(_) => "repair a copy of the image with `e2fsck -f`",
        E::Corrupt(_) => "`e2fsck -fn` and `sfdisk --verify` say more; use a copy that is whole",
        E::Busy(_) => "wait until it is free, or copy it while nobody writes to it",
        E::NoSpace(_) => {
            "enlarge the file system with `truncate` and `resize2fs`, or remove files in it"
        }
        E::Io { source, .. } if source.kind() == io::ErrorKind::FileTooLarge => FILE_TOO_LARGE,
        E::Io { source, .. } if source.kind() == io::ErrorKind::InvalidData => {
            "`qemu-img check` says more; use a copy that is whole"
        }
        E::BackingElsewhere { .. } => {
            "move it beside the image, or allow its directory: `autoxen image convert --backing-dir DIR`"
        }
        E::Interrupted(_) => {
            "`autoxen image recover` undoes what is half done; `autoxen prepare --in-place` does, too, and goes on"
        }
        E::ForeignUndo { .. } => "move that file away, if you know what it is",
        E::HostFull(_) => "make room there, or choose another place with `-o`",
        _ => return None,
    })
}
