//! Images of which a signature is asked: verified on the descriptor that is open, before one byte of them is parsed.

use std::path::{Path, PathBuf};

use imgfmt::{Image, Storage};

use super::gather::{Search, Stop};
use super::locate;
use super::words::finding;
use crate::diagnostic::Diagnostic;
use crate::digest::nodes::Tree;
use crate::failure::plain;
use crate::interrupt;
use crate::sign::Refusal;
use crate::sign::beside::{self, Signed};
use crate::sign::demand::Demands;
use crate::sign::image::{Error, Vouched};
use crate::xmf::model::{Document, Spanned};

/// A signer whom the document asks for, and of which image.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    path: PathBuf,
    signedby: &'a Spanned<String>,
}

/// All that the document asks for: an image may be named twice, and is opened once.
pub(super) fn asked<'a>(document: &'a Document, base: &Path) -> Vec<Asked<'a>> {
    let images = document.images.iter();
    images
        .filter_map(|image| {
            let (url, signedby) = (image.url.as_ref()?, image.signedby.as_ref()?);
            let path = std::fs::canonicalize(locate::path(url, base)).ok()?;
            Some(Asked { path, signedby })
        })
        .collect()
}

/// Who vouches for `image`, where somebody must, and the tree that was compared. `signedby` is whom the element asks for by
/// which the image is opened: that holds whatever its path was when [`asked`] looked.
///
/// # Errors
/// The rule that is broken, at the attribute that asks, or at `url` where the site does.
pub(super) fn vouch(
    url: &Spanned<String>,
    image: &Image,
    signedby: Option<&Spanned<String>>,
    asked: &[Asked<'_>],
    search: &Search<'_>,
) -> Result<Option<(Vouched, Tree)>, Stop> {
    let path = image.path();
    let demands = search.demands;
    let of_others = asked.iter().filter(|asked| asked.path == path).map(|asked| asked.signedby);
    let of_document = signedby
        .into_iter()
        .chain(of_others.filter(|other| !signedby.is_some_and(|own| std::ptr::eq(own, *other))))
        .map(|signedby| (signedby, vec![signedby.value.clone()]));
    let of_site = demands.of_site(path).map(|demand| (url, demand.signers.clone()));
    let wanted: Vec<(&Spanned<String>, Vec<String>)> = of_document.chain(of_site).collect();
    let Some((place, _)) = wanted.first() else { return Ok(None) };
    let mut vouched = begin(demands, path).map_err(|why| why.at(place, path))?;
    for (place, patterns) in &wanted {
        vouched.signer.must_match(patterns).map_err(|e| Why::Refusal(e).at(place, path))?;
    }
    let patterns: Vec<&[String]> = wanted.iter().map(|(_, list)| list.as_slice()).collect();
    vouched.signer.go_by(&patterns);
    let bar = search.progress.bar("verify");
    let checked = vouched.check(image, &|done| {
        bar.set(done, image.len());
        interrupt::check_io()
    });
    interrupt::check()?;
    match checked {
        Ok(tree) => Ok(Some((vouched, tree))),
        Err(Error::Refused(refusal)) => Err(Why::Refusal(refusal).at(place, path).into()),
        Err(Error::Host(e)) => {
            Err(finding(url, path, &imgfmt::Error::io("cannot read it", e)).into())
        }
    }
}

/// The same for an image that is open already: what was found of it then has to serve `signedby`, too.
///
/// # Errors
/// The rule that is broken. An image of which no signature was asked when it was opened is refused: it was parsed since.
pub(super) fn must_serve(
    signedby: &Spanned<String>,
    path: &Path,
    vouched: Option<&Vouched>,
) -> Result<(), Stop> {
    let Some(vouched) = vouched else {
        let what = format!(
            "image `{}`: it was opened before its signature was asked for: a link to it was changed meanwhile",
            path.display()
        );
        return Err(Diagnostic::error(signedby.span.clone(), what).hint("run it again").into());
    };
    let served = vouched.signer.must_match(std::slice::from_ref(&signedby.value));
    served.map_err(|e| Why::Refusal(e).at(signedby, path).into())
}

/// Whose manifest lies beside the image, as far as that is told without the image.
fn begin(demands: &Demands, path: &Path) -> Result<Vouched, Why> {
    let is_of_site = demands.of_site(path).next().is_some();
    let signers = if is_of_site { &demands.site_signers } else { &demands.signers };
    let Some(signers) = signers else { return Err(Why::Nobody) };
    let signed = Signed::of_image(path).map_err(|error| match error {
        beside::Error::Refused(refusal) => Why::Refusal(refusal),
        beside::Error::Host { path, source } => {
            Why::Host(format!("cannot read `{}`: {}", path.display(), plain(&source)))
        }
    })?;
    Vouched::new(signers, &signed, demands.now).map_err(Why::Refusal)
}

/// Why an image is not vouched for.
enum Why {
    Nobody,
    Refusal(Refusal),
    Host(String),
}

impl Why {
    fn at(self, place: &Spanned<String>, path: &Path) -> Diagnostic {
        let (what, hint) = match &self {
            Self::Nobody => (
                "a signature is asked for, and there is no file of allowed signers".to_owned(),
                Some("`--allowed-signers FILE`, or /etc/autoxen/allowed_signers"),
            ),
            Self::Refusal(refusal) => (refusal.to_string(), refusal.hint()),
            Self::Host(what) => (what.clone(), None),
        };
        let found =
            Diagnostic::error(place.span.clone(), format!("image `{}`: {what}", path.display()));
        match hint {
            Some(hint) => found.hint(hint),
            None => found,
        }
    }
}
