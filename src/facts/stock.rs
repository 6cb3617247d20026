//! The stock images that a document names: opened once each, compared with their digest, unpacked where they are not raw.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use imgfmt::compressed;
use imgfmt::copy::write_sparse;
use imgfmt::qcow2::{self, Layer};
use imgfmt::{Image, Storage};

use super::form::Form;
use super::gather::{Purpose, Search, Stop};
use super::known::Slot;
use super::locate;
use super::vouch::{Asked, must_serve, vouch};
use super::words::{about, finding};
use crate::diagnostic::Diagnostic;
use crate::digest;
use crate::failure::plain;
use crate::interrupt;
use crate::newfile::create_like;
use crate::sign::image::Vouched;
use crate::sign::manifest::Manifest;
use crate::xmf::model::Spanned;

/// A stock image, open (and so locked) for as long as this lives.
#[derive(Debug)]
pub struct Stock {
    /// The disk: the stock file itself, or what was unpacked from it into the scratch directory.
    pub disk: Layer,
    /// Path of the file that is, or holds, the disk.
    pub path: PathBuf,
    /// SHA-256 of the stock file, where the document gave one and it was compared.
    pub sha256: Option<String>,
    /// Who vouches for the stock file, where somebody had to.
    pub vouched: Option<Vouched>,
    /// The tree of the stock file's digest, as far as they are known.
    pub known: Slot,
    /// In which form the stock file holds it.
    pub(super) form: Form,
    /// The stock file where it was unpacked, with its backing files.
    packed: Option<Layer>,
}

impl Stock {
    /// One that lies as it is.
    pub(crate) fn of_raw(image: Image) -> Self {
        Self::of(Layer::Raw(image))
    }

    fn of(disk: Layer) -> Self {
        Self {
            path: disk.files()[0].path().to_owned(),
            disk,
            sha256: None,
            vouched: None,
            known: Slot::default(),
            form: Form::Raw,
            packed: None,
        }
    }

    /// The stock file itself.
    pub fn file(&self) -> &Image {
        self.layers().files()[0]
    }

    /// The stock file with those that it is laid over.
    fn layers(&self) -> &Layer {
        self.packed.as_ref().unwrap_or(&self.disk)
    }

    /// The raw image that is copied, or edited where it lies.
    ///
    /// # Panics
    /// Where it is qcow2 and disks are laid over it.
    pub fn raw(&self) -> &Image {
        match &self.disk {
            Layer::Raw(image) => image,
            Layer::Qcow2(_) => panic!("what is laid over is not copied"),
        }
    }

    /// The same, for an edit.
    ///
    /// # Panics
    /// As of [`Stock::raw`].
    pub fn into_raw(self) -> Image {
        match self.disk {
            Layer::Raw(image) => image,
            Layer::Qcow2(_) => panic!("what is laid over is not edited"),
        }
    }

    /// Its format, by the name that QEMU has for it.
    pub fn format(&self) -> &'static str {
        match &self.disk {
            Layer::Raw(_) => "raw",
            Layer::Qcow2(_) => "qcow2",
        }
    }

    /// The last of the files that it is laid over; no digest of the stock file covers any of them.
    pub fn below(&self) -> Option<&Image> {
        self.layers().files().into_iter().skip(1).last()
    }

    /// Whether the raw image lies in the scratch directory.
    pub fn is_unpacked(&self) -> bool {
        self.packed.is_some()
    }
}

/// Opens them.
pub(super) struct Stocks<'a> {
    pub(super) search: Search<'a>,
    /// The signers that the document asks for.
    pub(super) asked: Vec<Asked<'a>>,
    /// By their absolute path.
    pub(super) all: BTreeMap<PathBuf, Stock>,
    /// What is odd about them and does not keep them from serving.
    pub(super) warnings: Vec<String>,
}

impl Stocks<'_> {
    /// Open the stock image that `url` names, unless it is open already; its absolute path. A signature and a
    /// digest are verified before anything is read out of the image.
    pub(super) fn open(
        &mut self,
        url: &Spanned<String>,
        sha256: Option<&Spanned<String>>,
        signedby: Option<&Spanned<String>>,
    ) -> Result<PathBuf, Stop> {
        let named = locate::path(url, self.search.base);
        let path = fs::canonicalize(&named).map_err(|e| {
            let what = format!("cannot open image `{}`: {}", named.display(), plain(&e));
            Diagnostic::error(url.span.clone(), what)
        })?;
        if !self.all.contains_key(&path) {
            // The digest is that of the file which is open from here on, not of what bears its name later.
            let file = self.open_stock(&path).map_err(|e| finding(url, &path, &e))?;
            self.refuse_second_name(url, &path)?;
            // Before anything looks at what it holds.
            let vouched = vouch(url, &file, signedby, &self.asked, &self.search)?;
            let known = self.search.known.slot(&file);
            let known = known.map_err(|e| finding(url, &path, &imgfmt::Error::io("stat", e)))?;
            let vouched = vouched.map(|(vouched, tree)| {
                known.keep(tree);
                vouched
            });
            if let Some(vouched) = &vouched {
                refuse_overlay(url, &file)?;
                self.warnings.extend(other_name(&path, &vouched.manifest));
            }
            if let Some(wanted) = sha256 {
                self.compare(url, wanted, &file)?;
            }
            let mut stock = self.unpacked(url, &path, file)?;
            (stock.vouched, stock.known) = (vouched, known);
            self.warnings.extend(sha256.and(stock.below()).map(|below| {
                format!(
                    "image `{}`: its sha256 does not cover `{}`, which it is laid over",
                    path.display(),
                    below.path().display()
                )
            }));
            self.all.insert(path.clone(), stock);
        } else {
            let stock = &self.all[&path];
            if let Some(signedby) = signedby {
                must_serve(signedby, &path, stock.vouched.as_ref())?;
            }
            if let Some(wanted) = sha256
                && stock.sha256.as_ref() != Some(&wanted.value)
            {
                self.compare(url, wanted, stock.file())?;
            }
        }
        if let Some(wanted) = sha256 {
            let stock = self.all.get_mut(&path).expect("it was put there");
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
        if matches!(self.search.purpose, Purpose::Copy | Purpose::Overlay) {
            return Ok(());
        }
        let file = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
        let own = file(path);
        match self.all.keys().find(|other| own.is_some() && file(other) == own) {
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
            interrupt::check_io()
        });
        interrupt::check()?;
        let fail = |e| finding(url, file.path(), &imgfmt::Error::io("cannot read it", e));
        Ok(result.map_err(fail)?)
    }

    /// The raw image that `image` is or holds.
    fn unpacked(
        &mut self,
        url: &Spanned<String>,
        path: &Path,
        image: Image,
    ) -> Result<Stock, Stop> {
        let fail = |e| finding(url, path, &e);
        if image.is_empty() {
            let what = format!("image `{}` is empty", path.display());
            return Err(Diagnostic::error(url.span.clone(), what).into());
        }
        let form = Form::of(&image).map_err(fail)?;
        let Some((what, way_out)) = form.obstacle(path) else {
            return Ok(Stock::of_raw(image));
        };
        match (self.search.purpose, form) {
            (Purpose::Copy, _) => {}
            (Purpose::Overlay, Form::Qcow2) => {
                let disk = Layer::Qcow2(Box::new(qcow2::open(image, &[]).map_err(fail)?));
                return Ok(Stock { path: path.into(), form, ..Stock::of(disk) });
            }
            (Purpose::Overlay, _) => {
                let what = format!("{what}: no disk can be laid over it");
                return Err(Diagnostic::error(url.span.clone(), what)
                    .hint(format!("{way_out}, or leave out --overlay"))
                    .into());
            }
            (Purpose::PlanInPlace | Purpose::EditInPlace, _) => {
                let what = format!("{what}: no place to edit");
                return Err(Diagnostic::error(url.span.clone(), what)
                    .hint(format!("{way_out}, or leave out --in-place"))
                    .into());
            }
        }
        let unpacked = self.search.scratch.join(format!("unpacked-{}.img", self.all.len()));
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
        Ok(Stock { form, packed: Some(packed), ..Stock::of(Layer::Raw(raw)) })
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

/// A signature covers one file: the header alone is read, and nothing is opened that it names.
fn refuse_overlay(url: &Spanned<String>, file: &Image) -> Result<(), Stop> {
    let fail = |e| finding(url, file.path(), &e);
    if !qcow2::is_qcow2(file).map_err(fail)? {
        return Ok(());
    }
    let Some(below) = qcow2::Header::read(file).map_err(fail)?.backing else { return Ok(()) };
    let what = format!(
        "image `{}`: its signature does not cover `{}`, which it is laid over",
        file.path().display(),
        String::from_utf8_lossy(&below.name)
    );
    Err(Diagnostic::error(url.span.clone(), what)
        .hint("`autoxen image convert` makes one image of both; sign that")
        .into())
}

/// A note where the image at `path` was signed by another name: it may be another image of the same signer, or an old one.
fn other_name(path: &Path, manifest: &Manifest) -> Option<String> {
    let is_same = path.file_name().is_some_and(|name| name == manifest.name());
    let image = path.display();
    (!is_same).then(|| format!("image `{image}`: it was signed by the name `{}`", manifest.name()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::Stocks;
    use crate::facts::gather::{Purpose, Search, Stop};
    use crate::facts::known::Known;
    use crate::progress::Progress;
    use crate::sign::demand::Demands;
    use crate::xmf::model::Spanned;

    fn told(result: Result<std::path::PathBuf, Stop>) -> String {
        match result {
            Err(Stop::Findings(findings)) => findings[0].message.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_demand_holds_whatever_the_path_was_when_the_document_was_looked_through() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("root.img"), [0; 4096]).unwrap();
        let search = Search {
            base: directory.path(),
            scratch: Path::new("/nonexistent"),
            extra: &[],
            purpose: Purpose::Copy,
            demands: &Demands::default(),
            known: &Known::default(),
            progress: Progress::new(true),
        };
        // As where the link was missing, or led elsewhere.
        let mut stocks =
            Stocks { search, asked: Vec::new(), all: BTreeMap::new(), warnings: Vec::new() };
        let spanned = |value: &str| Spanned { value: value.to_owned(), span: 0..1 };
        let (url, signedby) = (spanned("root.img"), spanned("*"));
        let found = told(stocks.open(&url, None, Some(&signedby)));
        assert!(found.ends_with("there is no file of allowed signers"), "{found}");
        stocks.open(&url, None, None).unwrap();
        let found = told(stocks.open(&url, None, Some(&signedby)));
        assert!(found.contains("opened before its signature was asked for"), "{found}");
    }
}
