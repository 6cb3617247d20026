//! Signatures over images and bundles, and who may make them.
//!
//! An image is signed by way of its [`manifest`]: a few lines of text, of which there is exactly one spelling. A bundle is
//! signed as the bytes of its `manifest.json`. A signature is an SSHSIG ([`sshsig`]) or minisign's ([`minisig`]), in a file
//! beside what it signs:
//!
//! ```text
//! root.img   root.img.manifest   root.img.manifest.sig  or  root.img.manifest.minisig
//! ready/     ready/manifest.json ready/manifest.json.sig or ready/manifest.json.minisig
//! ```
//!
//! Who may sign is said by a file of [`allowed`] signers and one of [`revoked`] keys, which [`Signers`] holds. All but
//! [`beside`], [`bundle`], [`key`], [`demand`], [`regular`] and [`image`] is text in, value out; the time comes in as an
//! argument. Nothing here prints or asks.

#![forbid(unsafe_code)]

pub mod allowed;
pub mod beside;
pub mod bundle;
pub mod demand;
pub mod image;
pub mod key;
pub mod manifest;
pub mod minisig;
pub mod pattern;
pub mod public;
pub mod refusal;
pub mod regular;
pub mod revoked;
pub mod signers;
pub mod sshsig;
pub mod time;

pub use refusal::Refusal;
pub use signers::{Signer, Signers};

/// What a signature is about, so that one made for another purpose does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// The manifest of an image.
    Image,
    /// The `manifest.json` of a bundle.
    Bundle,
}

impl Namespace {
    /// Its name, as `ssh-keygen -Y sign -n` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "autoxen-image",
            Self::Bundle => "autoxen-bundle",
        }
    }

    /// Whether `message` looks like what this namespace is for. minisign has no namespaces: there this stands for them, and
    /// no message is of two kinds.
    pub fn fits(self, message: &[u8]) -> bool {
        match self {
            Self::Image => message.starts_with(manifest::MAGIC.as_bytes()),
            Self::Bundle => message.starts_with(b"{"),
        }
    }
}
