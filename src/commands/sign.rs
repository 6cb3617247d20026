//! `autoxen sign`: a manifest for an image, and a signature for it or for a bundle.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use imgfmt::{Image, Storage};

use crate::cli::SignArgs;
use crate::commands::signers;
use crate::digest::tree;
use crate::domain::bundle::MANIFEST;
use crate::epoch;
use crate::facts::words::{about, hint};
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::newfile::{Existing, Staged, cannot_write, there};
use crate::progress::Progress;
use crate::report::{self, Talk};
use crate::sign::key::{Form, SecretKey};
use crate::sign::manifest::Manifest;
use crate::sign::time::{self, Moment};
use crate::sign::{Namespace, beside};
use crate::visible::visible;

/// Sign, and name the files that were written.
pub fn run(args: &SignArgs, talk: Talk) -> Result<()> {
    let key = match &args.key {
        None => None,
        Some(path) => {
            Some(SecretKey::read(path, &mut || signers::passphrase(&args.passphrase, path))?)
        }
    };
    let (namespace, signed, message) = match args.path.is_dir() {
        true => bundle(args)?,
        false => image(args, key.as_ref())?,
    };
    let mut files = Vec::new();
    if namespace == Namespace::Image {
        files.push((signed.clone(), message.clone()));
    }
    if let Some(key) = &key {
        let signature = key.sign(namespace, &message)?;
        files.push((signature_of(&signed, key.form()), signature.into_bytes()));
    }
    if let Some((path, _)) = files.iter().find(|(path, _)| !args.force && is_there(path)) {
        return Err(there(path).hint("replace it with `--force`"));
    }
    for (path, bytes) in &files {
        write(path, bytes, &args.path)?;
        report::print(&format!("{}\n", visible(&path.to_string_lossy())))?;
    }
    // What another key has signed before is not what lies there now.
    for form in [Form::Ssh, Form::Minisign] {
        let other = signature_of(&signed, form);
        if namespace == Namespace::Image
            && is_there(&other)
            && !files.iter().any(|(path, _)| *path == other)
        {
            talk.warning(&format!("`{}` signs an earlier manifest", other.display()));
        }
    }
    Ok(())
}

fn is_there(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

fn signature_of(signed: &Path, form: Form) -> PathBuf {
    match form {
        Form::Ssh => beside::ssh_signature_of(signed),
        Form::Minisign => beside::minisign_signature_of(signed),
    }
}

/// What is signed of a bundle: the manifest that it has.
fn bundle(args: &SignArgs) -> Result<(Namespace, PathBuf, Vec<u8>)> {
    if args.manifest_only || args.creator.is_some() || args.expires.is_some() {
        return Err(Failure::new("a bundle has its manifest already, without creator and end")
            .hint("`autoxen sign BUNDLE --key KEY`; or `ssh-keygen -Y sign -n autoxen-bundle`"));
    }
    let path = args.path.join(MANIFEST);
    let message = beside::read_bundle_manifest(&args.path).map_err(|e| e.about(&args.path))?;
    if !Namespace::Bundle.fits(&message) {
        return Err(Failure::new(format!("`{}` is no manifest of a bundle", path.display())));
    }
    Ok((Namespace::Bundle, path, message))
}

/// What is signed of an image: a new manifest.
fn image(args: &SignArgs, key: Option<&SecretKey>) -> Result<(Namespace, PathBuf, Vec<u8>)> {
    // The manifest lies beside the image, not beside a link to it: there it is looked for.
    let path = &signers::real_image(&args.path)?;
    let created = Moment::new(epoch::now()?).ok_or_else(|| Failure::new("the clock is wrong"))?;
    let expires = match &args.expires {
        None => None,
        Some(text) => Some(time::of_end(text, created).ok_or_else(|| {
            Failure::new(format!("`--expires {text}` is no time"))
                .hint("90d, 2w, 12h; or a date, as 2027-01-31 or 2027-01-31T12:00:00Z")
        })?),
    };
    let creator = args.creator.as_deref().or(key.map(SecretKey::comment)).unwrap_or_default();
    if creator.is_empty() {
        return Err(Failure::new("nobody says who made the image").hint("`--creator WHO`"));
    }
    let Some(name) = path.file_name() else {
        return Err(Failure::new(format!("`{}` cannot name an image", path.display())));
    };
    let Some(name) = name.to_str() else {
        return Err(Failure::new(format!("`{}`: its name is not UTF-8", path.display())));
    };
    let fail = |e: &imgfmt::Error| Failure::new(about(path, e)).any_hint(hint(e));
    let image = Image::open(path).map_err(|e| fail(&e))?;
    // What cannot stand in a manifest is told before a long digest.
    let zero = tree::of_storage(&Vec::new(), &|_| Ok(())).map_err(io_failure(path))?;
    let bad = |why| Failure::new(format!("`{}` cannot be signed: {why}", path.display()));
    let mut manifest =
        Manifest::new(name, creator, (image.len(), zero), created, expires).map_err(bad)?;
    let bar = Progress::new(args.quiet).bar("digest");
    let digest = tree::of_storage(&image, &|done| signers::step(&bar, done, image.len()));
    interrupt::check()?;
    manifest.digest = digest.map_err(io_failure(path))?;
    image.check_unchanged().map_err(|e| fail(&e))?;
    Ok((Namespace::Image, beside::manifest_of(path), manifest.to_bytes()))
}

fn io_failure(path: &Path) -> impl Fn(io::Error) -> Failure {
    move |e| Failure::host("cannot read", path, &e)
}

/// Write a small file, no more open than what it is about.
fn write(path: &Path, bytes: &[u8], original: &Path) -> Result<()> {
    let staged = Staged::beside(path, &[original])?;
    staged.file().write_all(bytes).map_err(|e| cannot_write(path, &e))?;
    staged.publish(Existing::Replace)
}
