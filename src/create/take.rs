//! Copies of a bundle's files, where only root writes. What was hashed is what starts, for it is the copy that is hashed.

use std::fs::File;
use std::io;

use imgfmt::{Error, Image, Storage, copy};

use super::bundle::Open;
use super::state::Place;
use crate::digest::tree::{self, Digest};
use crate::failure::{Failure, Result, plain};
use crate::interrupt;
use crate::policy::Refusal;
use crate::progress::Progress;

/// Copy `open` into `place`, and compare the copy's digest with what the manifest says. Where the host can, the copy shares
/// its blocks with the original.
///
/// # Errors
/// Where the file is in use by somebody who writes, or changes; no room; by the rule `bundle.digest` another digest.
pub(super) fn take(open: Open, place: &Place, progress: Progress) -> Result<()> {
    let Open { needed, file, len, .. } = open;
    let name = needed.name.as_str();
    let to = place.create(&format!("files/{name}"))?;
    // What was counted is `len`; what grows behind our back would be neither counted nor hashed.
    let grew = |found: u64| {
        Refusal::new("bundle.length", format!("`{name}` had {len} bytes, and has {found} now"))
    };
    let image = Image::of_file(file, name.as_ref()).map_err(|e| unread(name, &e))?;
    if image.len() != len {
        return Err(grew(image.len()).into());
    }
    let bar = progress.bar("copy");
    let copied = copy::copy_sparse(&image, &to, &mut |done, total| bar.step(done, total));
    interrupt::check()?;
    copied.map_err(|e| unread(name, &e))?;
    // A host that shares blocks copies whatever the file has by then.
    let found = to.metadata().map_err(|e| Failure::host("cannot read", name.as_ref(), &e))?.len();
    if found != len {
        return Err(grew(found).into());
    }
    if let Some((_, said)) = needed.said {
        compare(name, &to, len, said, progress)?;
    }
    Ok(())
}

/// Compare the digest of an open file.
///
/// # Errors
/// By the rules `bundle.digest`, and `bundle.length` where it becomes shorter.
pub(super) fn compare(
    name: &str,
    file: &File,
    len: u64,
    said: Digest,
    progress: Progress,
) -> Result<()> {
    let bar = progress.bar("digest");
    let found = tree::of(file, len, &|done| {
        bar.set(done, len);
        interrupt::check_io()
    });
    interrupt::check()?;
    let found = found.map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => {
            let why = format!("`{name}` became shorter than {len} bytes");
            Refusal::new("bundle.length", why).into()
        }
        _ => Failure::new(format!("cannot read `{name}`: {}", plain(&e))),
    })?;
    if found != said {
        let why = format!("`{name}` is {found}, the manifest says {said}");
        return Err(Refusal::new("bundle.digest", why)
            .hint("it was changed since it was prepared; prepare the bundle again")
            .into());
    }
    Ok(())
}

fn unread(name: &str, error: &Error) -> Failure {
    match error {
        Error::HostFull(_) => Failure::new(format!("no space left on the host to take `{name}`")),
        other => Refusal::new("bundle.file", format!("`{name}`: {other}")).into(),
    }
}
