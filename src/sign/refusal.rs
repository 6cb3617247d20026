//! Why a signature does not count, each by its rule.

use super::time::Moment;

/// The rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no signature.
    #[error("unsigned: there is no {0}")]
    Unsigned(String),
    /// Bytes that are no signature or no manifest.
    #[error("garbled {what}: {why}")]
    Garbled {
        /// `signature` or `manifest`.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A key or signature of a kind that is not accepted.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// No line of allowed signers has the key.
    #[error("unknown key: {0} is not among the allowed signers")]
    UnknownKey(String),
    /// The key was revoked.
    #[error("revoked: the key {0}")]
    Revoked(String),
    /// The line of allowed signers is of the past.
    #[error("expired: the key {key} was valid until {until}")]
    KeyExpired {
        /// Its fingerprint.
        key: String,
        /// Its last second.
        until: Moment,
    },
    /// The line of allowed signers is of the future.
    #[error("not yet valid: the key {key} is valid from {from}")]
    KeyNotYetValid {
        /// Its fingerprint.
        key: String,
        /// Its first second.
        from: Moment,
    },
    /// The signature was made for something else.
    #[error("wrong namespace: the signature is for `{found}`, not for `{wanted}`")]
    WrongNamespace {
        /// What it was made for.
        found: String,
        /// What is asked.
        wanted: &'static str,
    },
    /// The key may not sign such things.
    #[error("wrong namespace: the key {key} may not sign for `{wanted}`")]
    KeyNotForNamespace {
        /// Its fingerprint.
        key: String,
        /// What is asked.
        wanted: &'static str,
    },
    /// The signature is not of this message by this key.
    #[error("bad signature: it is not the key {0}'s of this manifest")]
    BadSignature(String),
    /// Somebody signed who is trusted, but not for this.
    #[error("wrong signer: signed by `{principals}`, and `{wanted}` is asked for")]
    WrongSigner {
        /// The principals of the line.
        principals: String,
        /// The patterns.
        wanted: String,
    },
    /// The manifest is of the past.
    #[error("expired: the manifest of `{name}` was valid until {until}")]
    Expired {
        /// The image's name in it.
        name: String,
        /// Its last second.
        until: Moment,
    },
    /// The file has another length than the manifest says.
    #[error("changed: {found} bytes long, and {signed} bytes were signed")]
    Size {
        /// Of the file.
        found: u64,
        /// Of the manifest.
        signed: u64,
    },
    /// A file of a bundle is not what its manifest says.
    #[error("changed: its file `{name}` {what}")]
    BundleFile {
        /// Its name in the bundle.
        name: String,
        /// In which way.
        what: &'static str,
    },
    /// The file has another digest than the manifest says.
    #[error("changed: it is not what was signed, its digest is another")]
    Digest,
}

impl Refusal {
    pub(super) fn garbled(what: &'static str, why: impl ToString) -> Self {
        Self::Garbled { what, why: why.to_string() }
    }

    /// The rule in one or two words, for programs.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Unsigned(_) => "unsigned",
            Self::Garbled { .. } => "garbled",
            Self::Unsupported(_) => "not supported",
            Self::UnknownKey(_) => "unknown key",
            Self::Revoked(_) => "revoked",
            Self::KeyExpired { .. } | Self::Expired { .. } => "expired",
            Self::KeyNotYetValid { .. } => "not yet valid",
            Self::WrongNamespace { .. } | Self::KeyNotForNamespace { .. } => "wrong namespace",
            Self::BadSignature(_) => "bad signature",
            Self::WrongSigner { .. } => "wrong signer",
            Self::Size { .. } | Self::BundleFile { .. } | Self::Digest => "changed",
        }
    }

    /// A way out, where there is one.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unsigned(what) if what.starts_with("`manifest.json") => {
                Some("ask its maker for its signature; `autoxen sign` signs a bundle of your own")
            }
            Self::Unsigned(_) => Some(
                "ask its maker for IMAGE.manifest and its signature; `autoxen sign` makes them for an image of your own",
            ),
            Self::UnknownKey(_) => Some(
                "get the maker's public key from the maker, and add its line to the allowed signers",
            ),
            Self::Expired { .. } => Some("ask its maker for a newer one, or a newer signature"),
            Self::Size { .. } | Self::Digest => {
                Some("fetch it again; do not use it unless you know why it differs")
            }
            _ => None,
        }
    }
}
