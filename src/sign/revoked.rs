//! The file of revoked keys: a public key a line, as `ssh-keygen -Y verify -r` takes it, or `minisign` and a key.
//!
//! ```text
//! ssh-ed25519 AAAA… a comment
//! minisign RWQ…
//! ```
//!
//! A line that cannot be read is an error, for it may be the one that matters. So is a binary list (KRL), which ssh-keygen
//! reads and we do not.

use super::allowed::{self, BadLine};
use super::public::PublicKey;

/// What a binary list begins with.
const KRL: &[u8] = b"SSHKRL\n\0";

/// The keys of a file.
///
/// # Errors
/// The first line that cannot be read.
pub fn parse(text: &[u8]) -> Result<Vec<PublicKey>, BadLine> {
    if text.starts_with(KRL) {
        let what = "a binary revocation list (KRL) is not supported; list the public keys as text";
        return Err(BadLine { nr: 1, what: what.into() });
    }
    allowed::lines(text, allowed::key)
}
