//! Where a bundle comes from, in digests: those of the stock images before any edit, and of the bundle's files after all.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use imgfmt::storage::OpenFile;
use imgfmt::{Image, Storage};

use crate::bundle::Staging;
use crate::digest::tree::{self, Digest};
use crate::facts::gather::Gathered;
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

/// What is known of each stock image, by its path. Those whose digest no signature tells are hashed, where `digests`.
pub fn origins(
    gathered: &Gathered,
    digests: bool,
    progress: Progress,
) -> Result<BTreeMap<PathBuf, Origin>> {
    let mut origins = BTreeMap::new();
    for (path, stock) in &gathered.stock {
        let file = stock.file();
        let digest = match &stock.vouched {
            Some(vouched) => Some(vouched.manifest.digest),
            // A digest of a file alone says nothing of those that it is laid over.
            None if digests && stock.below().is_none() => {
                let bar = progress.bar("digest");
                Some(of_stock(file, path, &|done| bar.set(done, file.len()))?)
            }
            None => None,
        };
        let origin =
            Origin { sha256: stock.sha256.clone(), digest, vouched: stock.vouched.clone() };
        origins.insert(path.clone(), origin);
    }
    Ok(origins)
}

/// The digest of a stock file that nobody wrote to meanwhile, as far as that can be told.
fn of_stock(file: &Image, path: &Path, show: &(dyn Fn(u64) + Sync)) -> Result<Digest> {
    let digest = hash(file, path, show)?;
    file.check_unchanged().map_err(|e| Failure::new(about(path, &e)).any_hint(hint(&e)))?;
    Ok(digest)
}

/// The files of the bundle in the making, by their names.
pub fn files(staging: &Staging, progress: Progress) -> Result<Vec<BundleFile>> {
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
        let digest =
            hash(&OpenFile::new(&file, len), &named, &|done| bar.set(before + done, total))?;
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
    digest.map_err(|e| Failure::new(format!("cannot read `{}`: {}", named.display(), plain(&e))))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::time::UNIX_EPOCH;

    use imgfmt::Image;

    use super::of_stock;

    #[test]
    fn a_stock_image_that_is_written_to_while_it_is_hashed_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root.img");
        std::fs::write(&path, [0; 4096]).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(UNIX_EPOCH).unwrap();
        let image = Image::open(&path).unwrap();
        of_stock(&image, &path, &|_| {}).unwrap();
        let error = of_stock(&image, &path, &|_| file.write_all_at(b"x", 0).unwrap()).unwrap_err();
        assert!(error.to_string().contains("it was changed while it was read"), "{error}");
    }
}
