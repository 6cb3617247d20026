//! `autoxen verify`: whether an image or a bundle is what somebody signed whose signature counts.

use std::path::Path;

use imgfmt::{Image, Storage};
use serde::Serialize;

use crate::cli::VerifyArgs;
use crate::commands::signers;
use crate::epoch;
use crate::facts::words::{about, hint};
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::progress::Progress;
use crate::report;
use crate::sign::beside::{self, Signed};
use crate::sign::image::{Error, Vouched};
use crate::sign::manifest::Manifest;
use crate::sign::{Refusal, Signer, Signers, bundle};
use crate::visible::visible;

/// Verify, and say who signed.
pub fn run(args: &VerifyArgs) -> Result<()> {
    let signers = signers::find(&args.signers)?.ok_or_else(signers::nobody)?;
    let progress = Progress::new(args.quiet);
    let shown = match args.path.is_dir() {
        true => of_bundle(args, &signers, progress)?,
        false => of_image(args, &signers, progress)?,
    };
    match args.json {
        true => report::print_json(&shown),
        false => report::print(&shown.text(&args.path)),
    }
}

/// What is told.
#[derive(Default, Serialize)]
struct Shown {
    kind: &'static str,
    principals: String,
    key: String,
    /// Of an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<ShownManifest>,
    /// Files of a bundle whose digests were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<usize>,
    /// Disks of a bundle that lie elsewhere, and are held to nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outside: Vec<Outside>,
}

/// A disk that is an image outside of its bundle.
#[derive(Serialize)]
struct Outside {
    vdev: String,
    image: String,
}

#[derive(Serialize)]
struct ShownManifest {
    name: String,
    size: u64,
    digest: String,
    creator: String,
    created: String,
    expires: Option<String>,
}

impl From<&Manifest> for ShownManifest {
    fn from(manifest: &Manifest) -> Self {
        Self {
            name: manifest.name().into(),
            size: manifest.size,
            digest: manifest.digest.to_string(),
            creator: manifest.creator().into(),
            created: manifest.created.to_string(),
            expires: manifest.expires.map(|moment| moment.to_string()),
        }
    }
}

impl Shown {
    fn text(&self, path: &Path) -> String {
        let mut text = format!(
            "{}: signed by {}, key {}\n",
            visible(&path.to_string_lossy()),
            visible(&self.principals),
            self.key
        );
        let mut line = |name: &str, value: &str| {
            text.push_str(&format!("  {name:<8} {}\n", visible(value)));
        };
        if let Some(manifest) = &self.manifest {
            line("name", &manifest.name);
            line("creator", &manifest.creator);
            line("created", &manifest.created);
            line("expires", manifest.expires.as_deref().unwrap_or("never"));
            line("digest", &manifest.digest);
        }
        match self.files {
            Some(count) => line("files", &format!("{count}, all as they were signed")),
            None if self.kind == "bundle" => line("files", "not looked at"),
            None => {}
        }
        for Outside { vdev, image } in &self.outside {
            line("outside", &format!("{vdev} is {image}, which was not looked at"));
        }
        text
    }
}

fn refused(args: &VerifyArgs, refusal: Refusal) -> Failure {
    beside::Error::Refused(refusal).about(&args.path)
}

fn of_image(args: &VerifyArgs, signers: &Signers, progress: Progress) -> Result<Shown> {
    if args.manifest_only {
        return Err(Failure::new(format!("`{}` is no bundle", args.path.display()))
            .hint("`--manifest-only` is for bundles; an image's manifest is its digest"));
    }
    let path = &signers::real_image(&args.path)?;
    let fail = |e: &imgfmt::Error| Failure::new(about(path, e)).any_hint(hint(e));
    let image = Image::open(path).map_err(|e| fail(&e))?;
    let signed = Signed::of_image(path).map_err(|e| e.about(path))?;
    let mut vouched =
        Vouched::new(signers, &signed, epoch::clock()?).map_err(|e| refused(args, e))?;
    demand(args, &mut vouched.signer)?;
    let bar = progress.bar("digest");
    let checked = vouched.check(&image, &|done| signers::step(&bar, done, image.len()));
    interrupt::check()?;
    match checked {
        Ok(_) => image.check_unchanged().map_err(|e| fail(&e))?,
        Err(Error::Refused(refusal)) => return Err(refused(args, refusal)),
        Err(Error::Host(e)) => return Err(Failure::host("cannot read", path, &e)),
    }
    Ok(Shown {
        kind: "image",
        principals: vouched.signer.principals.clone(),
        key: vouched.signer.key.clone(),
        manifest: Some((&vouched.manifest).into()),
        ..Shown::default()
    })
}

fn of_bundle(args: &VerifyArgs, signers: &Signers, progress: Progress) -> Result<Shown> {
    let path = &args.path;
    let signed = Signed::of_bundle(path).map_err(|e| e.about(path))?;
    let mut signer = signed.verify(signers, epoch::clock()?).map_err(|e| refused(args, e))?;
    demand(args, &mut signer)?;
    let listed = bundle::listed(&signed.message).map_err(|e| refused(args, e))?;
    if !args.manifest_only {
        let files = listed.files.as_ref().ok_or_else(|| {
            let what = "its manifest has no digests of its files, so that they may be any";
            Failure::new(format!("`{}`: {what}", path.display()))
                .hint("`prepare` without `--no-digests`; `verify --manifest-only` looks at no file")
        })?;
        bundle::check_names(path, files).map_err(|e| e.about(path))?;
        let total = files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.len));
        let bar = progress.bar("digest");
        let checked = bundle::check(path, files, &|done| signers::step(&bar, done, total));
        interrupt::check()?;
        checked.map_err(|e| e.about(path))?;
    }
    Ok(Shown {
        kind: "bundle",
        principals: signer.principals,
        key: signer.key,
        files: listed.files.filter(|_| !args.manifest_only).map(|files| files.len()),
        outside: listed.outside.into_iter().map(|(vdev, image)| Outside { vdev, image }).collect(),
        ..Shown::default()
    })
}

fn demand(args: &VerifyArgs, signer: &mut Signer) -> Result<()> {
    if args.signer.is_empty() {
        return Ok(());
    }
    signer.must_match(&args.signer).map_err(|refusal| refused(args, refusal))?;
    signer.go_by(&[&args.signer]);
    Ok(())
}
