//! An image against its signed manifest, in an order that reads nothing of the image before who signed is known:
//! signature, spelling of the manifest, expiry; then length and digest of the descriptor that is open already.
//!
//! Nothing here knows what an image holds: no byte of it is parsed.

use std::io;

use imgfmt::Storage;

use super::beside::Signed;
use super::manifest::Manifest;
use super::{Refusal, Signer, Signers};
use crate::digest::nodes::{Nodes, Tree};
use crate::digest::sha256_of;
use crate::digest::tree::{self, Digest, Step};

/// A manifest whose signature counts.
#[derive(Clone, Debug)]
pub struct Vouched {
    /// What was signed.
    pub manifest: Manifest,
    /// Who signed it.
    pub signer: Signer,
    /// SHA-256 of the manifest's bytes, in lower-case hexadecimal.
    pub manifest_sha256: String,
}

/// Why an image is not what was signed.
#[derive(Debug)]
pub enum Error {
    /// A rule.
    Refused(Refusal),
    /// The host, or that we were asked to stop.
    Host(io::Error),
}

impl Vouched {
    /// The manifest in `signed`, where its signature counts at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn new(signers: &Signers, signed: &Signed, now: i64) -> Result<Self, Refusal> {
        let signer = signed.verify(signers, now)?;
        let manifest =
            Manifest::parse(&signed.message).map_err(|why| Refusal::garbled("manifest", why))?;
        match manifest.expires {
            Some(until) if until.seconds() < now => {
                Err(Refusal::Expired { name: manifest.name().into(), until })
            }
            _ => Ok(Self { manifest, signer, manifest_sha256: sha256_of(&signed.message) }),
        }
    }

    /// The tree of `image`, which is what was signed, from its first byte to its last.
    /// [`digest::tree::of`](crate::digest::tree::of) has the use of `step`.
    ///
    /// # Errors
    /// [`Refusal::Size`] and [`Refusal::Digest`]; those of the host.
    pub fn check<S: Storage + Sync>(&self, image: &S, step: &Step<'_>) -> Result<Tree, Error> {
        self.check_size(image)?;
        let tree = Tree::of(image, step).map_err(Error::Host)?;
        self.check_digest(tree.digest())?;
        Ok(tree)
    }

    fn check_size(&self, image: &impl Storage) -> Result<(), Error> {
        let (found, signed) = (image.len(), self.manifest.size);
        match found == signed {
            true => Ok(()),
            false => Err(Error::Refused(Refusal::Size { found, signed })),
        }
    }

    fn check_digest(&self, found: Digest) -> Result<(), Error> {
        match found == self.manifest.digest {
            true => Ok(()),
            false => Err(Error::Refused(Refusal::Digest)),
        }
    }
}

/// Both in one: whose image this is, and that it is whole.
///
/// # Errors
/// Those of [`Vouched::new`] and [`Vouched::check`].
pub fn verify<S: Storage + Sync>(
    image: &S,
    signed: &Signed,
    signers: &Signers,
    now: i64,
    step: &Step<'_>,
) -> Result<Vouched, Error> {
    let vouched = Vouched::new(signers, signed, now).map_err(Error::Refused)?;
    vouched.check_size(image)?;
    vouched.check_digest(tree::of_storage(image, step).map_err(Error::Host)?)?;
    Ok(vouched)
}
