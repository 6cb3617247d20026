//! Where a bundle comes from, in digests: those of the stock images before any edit, and of the bundle's files after all.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use imgfmt::storage::OpenFile;
use imgfmt::{Image, Storage};

use crate::bundle::Staging;
use crate::digest::nodes::Nodes;
use crate::digest::tree::{self, Digest};
use crate::facts::gather::Gathered;
use crate::facts::stock::Stock;
use crate::facts::words::{about, hint};
use crate::failure::{Failure, Result, plain};
use crate::interrupt;
use crate::progress::Progress;
use crate::sign::bundle::{BundleFile, open};
use crate::sign::image::Vouched;

/// What is known of a stock image.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// SHA-256, where the job description demanded one and it was compared.
    pub sha256: Option<String>,
    /// The tree digest; nothing where nobody wanted to know.
    pub digest: Option<Digest>,
    /// Who vouches for it, where somebody had to.
    pub vouched: Option<Vouched>,
}

/// What is known of each stock image, by its path. Of those that lie packed the digest is made now: once they are unpacked
/// into their places, their files are closed.
pub fn origins(
    gathered: &Gathered,
    digests: bool,
    progress: Progress,
) -> Result<BTreeMap<PathBuf, Origin>> {
    let mut origins = BTreeMap::new();
    for (path, stock) in &gathered.stock {
        let vouched = stock.vouched.clone();
        let mut origin = Origin { sha256: stock.sha256.clone(), digest: None, vouched };
        if stock.is_unpacked() {
            origin.digest = of_stock(stock, digests, progress)?;
        }
        origins.insert(path.clone(), origin);
    }
    Ok(origins)
}

/// Add the digests of those stock images that were not packed: most were made while they were copied.
///
/// # Errors
/// Where one cannot be read, or was changed meanwhile.
pub fn complete(
    origins: &mut BTreeMap<PathBuf, Origin>,
    gathered: &Gathered,
    digests: bool,
    progress: Progress,
) -> Result<()> {
    for (path, stock) in &gathered.stock {
        if let Some(origin) = origins.get_mut(path).filter(|origin| origin.digest.is_none()) {
            origin.digest = of_stock(stock, digests, progress)?;
        }
    }
    Ok(())
}

/// The digest of a stock file that nobody wrote to meanwhile, as far as that can be told.
fn of_stock(stock: &Stock, digests: bool, progress: Progress) -> Result<Option<Digest>> {
    if let Some(vouched) = &stock.vouched {
        return Ok(Some(vouched.manifest.digest));
    }
    // A digest of a file alone says nothing of those that it is laid over.
    if !digests || stock.below().is_some() {
        return Ok(None);
    }
    let file = stock.file();
    let bar = OnceLock::new();
    let tree = stock.known.tree(file, &|done| {
        bar.get_or_init(|| progress.bar("digest")).set(done, file.len());
        interrupt::check_io()
    });
    Ok(Some(sound(file, tree)?.digest()))
}

/// The tree of an image, where it could be made and nobody wrote to the image meanwhile.
pub(super) fn sound(image: &Image, tree: io::Result<Arc<dyn Nodes>>) -> Result<Arc<dyn Nodes>> {
    interrupt::check()?;
    let path = image.path();
    let tree = tree.map_err(|e| unread(path, &e))?;
    image.check_unchanged().map_err(|e| Failure::new(about(path, &e)).any_hint(hint(&e)))?;
    Ok(tree)
}

/// The files of the bundle in the making, by their names. The digests of some are `known`.
pub fn files(
    staging: &Staging,
    known: &BTreeMap<String, Digest>,
    progress: Progress,
) -> Result<Vec<BundleFile>> {
    let fail = |e: &io::Error| Failure::host("cannot read", staging.target(), e);
    let mut names = Vec::new();
    for entry in fs::read_dir(staging.path()).map_err(|e| fail(&e))? {
        let name = entry.map_err(|e| fail(&e))?.file_name().into_string();
        names.push(name.map_err(|_| Failure::new("a file of the bundle whose name is not UTF-8"))?);
    }
    names.sort();
    let mut opened = Vec::new();
    for name in names {
        let named = staging.target().join(&name);
        let fail = |e: &io::Error| Failure::host("cannot read", &named, e);
        let file = open(&staging.path().join(&name)).map_err(|e| fail(&e))?;
        let len = file.metadata().map_err(|e| fail(&e))?.len();
        opened.push((name, named, file, len));
    }
    let total = opened.iter().map(|(.., len)| len).sum();
    let bar = progress.bar("bundle");
    let mut before = 0;
    let mut files = Vec::new();
    for (name, named, file, len) in opened {
        let digest = match known.get(&name) {
            Some(digest) => *digest,
            None => {
                hash(&OpenFile::new(&file, len), &named, &|done| bar.set(before + done, total))?
            }
        };
        before += len;
        files.push(BundleFile { name, len, digest });
    }
    Ok(files)
}

fn hash<S: Storage + Sync>(file: &S, named: &Path, show: &(dyn Fn(u64) + Sync)) -> Result<Digest> {
    let digest = tree::of_storage(file, &|done| {
        show(done);
        interrupt::check_io()
    });
    interrupt::check()?;
    digest.map_err(|e| unread(named, &e))
}

/// A file that was to be hashed.
pub(super) fn unread(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot read `{}`: {}", path.display(), plain(error)))
}
