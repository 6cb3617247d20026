//! Kernel and ramdisk of a bundle: copied from the host, or taken out of an image as it is after its edits.

use std::fs::File;
use std::path::Path;

use imgfmt::{Storage, Volume, ext, table};

use super::edits::DiskEdits;
use super::preview::Preview;
use crate::bundle::Staging;
use crate::facts::gather::Gathered;
use crate::facts::words::hint;
use crate::failure::{Failure, Result};
use crate::plan::{BootSource, Plan, Source};

/// Put the boot files of `plan` into `staging`.
pub fn take(
    plan: &Plan,
    edits: &[DiskEdits<'_>],
    gathered: &Gathered,
    staging: &Staging,
) -> Result<()> {
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
            }
            BootSource::Image { disk, partition, path } => {
                let Source::Image(stock) = &plan.disks[*disk].source else {
                    return Err(Failure::new(format!("`{path}`: a new disk holds no kernel")));
                };
                let edited = Preview {
                    stock: &gathered.stock[stock].disk,
                    write: edits[*disk].changes.as_ref().map(|changes| &*changes.write),
                };
                extract(&edited, *partition, path, &to).map_err(|e| {
                    Failure::new(format!("cannot take `{path}` out: {e}")).any_hint(hint(&e))
                })?;
            }
        }
    }
    Ok(())
}

/// Copy the file `path` of the image's file system to `to`.
fn extract(
    image: &dyn Storage,
    partition: Option<u32>,
    path: &str,
    to: &Path,
) -> imgfmt::Result<()> {
    let window = match partition {
        None => Volume::whole(image),
        Some(number) => table::read(image)?
            .ok_or_else(|| imgfmt::Error::corrupt("the partition table is gone"))?
            .volume(number, image)?,
    };
    let mut out = File::create_new(to).map_err(|e| imgfmt::Error::io("cannot create it", e))?;
    ext::Fs::open(window)?.copy_to(path, &mut out)?;
    Ok(())
}
