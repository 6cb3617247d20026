//! Signatures as `ssh-keygen -Y sign` makes them, armored. PROTOCOL.sshsig of OpenSSH has the format.
//!
//! ```text
//! -----BEGIN SSH SIGNATURE-----
//! base64, 70 letters a line: "SSHSIG", version 1, public key, namespace, "" (reserved), hash, signature
//! -----END SSH SIGNATURE-----
//! ```
//!
//! What a key signs is the SHA-512 (or SHA-256) of the message with the namespace before it. The version and the shape of
//! the armor are not signed, so they are held to what ssh-keygen writes: a signature has one spelling.

use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};

use super::public::unsupported;
use super::{Namespace, Refusal};

/// What an armored signature begins with.
pub const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----\n";
const END: &str = "-----END SSH SIGNATURE-----\n";
/// Letters of a line of the armor.
const WIDTH: usize = 70;

/// Read a signature. Nothing of it is trusted yet, the key in it neither.
///
/// # Errors
/// [`Refusal::Garbled`] and [`Refusal::Unsupported`].
pub fn parse(bytes: &[u8]) -> Result<SshSig, Refusal> {
    let bad = |why: &str| Refusal::garbled("signature", why);
    let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not text"))?;
    if !is_armor(text) {
        return Err(bad("it is not spelled as ssh-keygen spells signatures"));
    }
    let signature = SshSig::from_pem(text).map_err(|_| bad("it is not an SSH signature"))?;
    if let Some(what) = unsupported(signature.public_key()) {
        return Err(Refusal::Unsupported(what));
    }
    if signature.version() != SshSig::VERSION || !signature.reserved().is_empty() {
        return Err(bad("it is of another version than 1"));
    }
    // The crate writes signatures of security keys on P-256 in a way of its own.
    let written = signature.to_pem(LineEnding::LF);
    if signature.algorithm() != Algorithm::SkEcdsaSha2NistP256
        && !written.is_ok_and(|written| written == text)
    {
        return Err(bad("it is not spelled as ssh-keygen spells signatures"));
    }
    Ok(signature)
}

/// Whether `text` has the shape of ssh-keygen's armor, to the last newline.
fn is_armor(text: &str) -> bool {
    let inner = text.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    let Some(lines) = inner.and_then(|inner| inner.strip_suffix('\n')) else { return false };
    let is_base64 = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/' | b'=');
    let mut lines = lines.split('\n').peekable();
    while let Some(line) = lines.next() {
        let fits = match lines.peek() {
            Some(_) => line.len() == WIDTH,
            None => (1..=WIDTH).contains(&line.len()),
        };
        if !fits || !line.bytes().all(is_base64) {
            return false;
        }
    }
    true
}

/// Whether `signature` is one of `message`, made by the key `key` for this namespace.
pub fn verify(signature: &SshSig, key: &KeyData, namespace: Namespace, message: &[u8]) -> bool {
    PublicKey::new(key.clone(), "").verify(namespace.name(), message, signature).is_ok()
}

/// Sign `message`.
///
/// # Errors
/// Where the key cannot: what is wrong.
pub fn sign(key: &PrivateKey, namespace: Namespace, message: &[u8]) -> Result<String, String> {
    key.sign(namespace.name(), HashAlg::Sha512, message)
        .and_then(|signature| signature.to_pem(LineEnding::LF))
        .map_err(|e| e.to_string())
}
