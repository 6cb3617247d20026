//! Kernel and ramdisk of a bundle: copied from the host, or taken out of an image.

use std::fs::File;
use std::path::Path;

use imgfmt::{Volume, ext, table};

use crate::bundle::Staging;
use crate::facts::gather::{Gathered, hint};
use crate::failure::{Failure, Result};
use crate::plan::{BootSource, Plan, Source};

/// Put the boot files of `plan` into `staging`.
pub fn take(plan: &Plan, gathered: &Gathered, staging: &Staging) -> Result<()> {
    for file in &plan.boot_files {
        let to = staging.path().join(file.file.as_str());
        let named = staging.target().join(file.file.as_str());
        match &file.from {
            BootSource::Host(path) => {
                let mut from =
                    File::open(path).map_err(|e| Failure::host("cannot read", path, &e))?;
                let fail = |e| Failure::host("cannot write", &named, &e);
                let mut out = File::create_new(&to).map_err(fail)?;
                std::io::copy(&mut from, &mut out).map_err(fail)?;
                out.sync_all().map_err(fail)?;
            }
            BootSource::Image { disk, partition, path } => {
                let Source::Image(stock) = &plan.disks[*disk].source else {
                    return Err(Failure::new(format!("`{path}`: a new disk holds no kernel")));
                };
                let stock = &gathered.stock[stock];
                extract(&stock.raw, *partition, path, &to).map_err(|e| {
                    let failure = Failure::new(format!("cannot take `{path}` out: {e}"));
                    match hint(&e) {
                        Some(hint) => failure.hint(hint),
                        None => failure,
                    }
                })?;
            }
        }
    }
    Ok(())
}

/// Copy the file `path` of the image's file system to `to`, synced.
fn extract(
    stock: &imgfmt::Image,
    partition: Option<u32>,
    path: &str,
    to: &Path,
) -> imgfmt::Result<()> {
    let window = match partition {
        None => Volume::whole(stock),
        Some(number) => table::read(stock)?
            .ok_or_else(|| imgfmt::Error::corrupt("the partition table is gone"))?
            .volume(number, stock)?,
    };
    let mut out = File::create_new(to).map_err(|e| imgfmt::Error::io("cannot create it", e))?;
    ext::Fs::open(window)?.copy_to(path, &mut out)?;
    out.sync_all().map_err(|e| imgfmt::Error::io("cannot sync it", e))
}
