//! Signatures as minisign makes them.
//!
//! ```text
//! untrusted comment: any text                       not signed
//! base64("ED", number of the key, 64 bytes)         of the BLAKE2b of the message
//! trusted comment: any text
//! base64(64 bytes)                                  of the 64 bytes above and the trusted comment
//! ```
//!
//! Legacy signatures (`Ed`, of the message itself) are refused by name. minisign has no namespaces:
//! [`super::Namespace::fits`] stands for them.

use std::io::Cursor;

use minisign::{PublicKey, SecretKey, SignatureBox};

use super::Refusal;

/// What a signature begins with.
pub const BEGIN: &str = "untrusted comment: ";

/// Read a signature.
///
/// # Errors
/// [`Refusal::Garbled`] and [`Refusal::Unsupported`].
pub fn parse(bytes: &[u8]) -> Result<SignatureBox, Refusal> {
    let bad = |why: &str| Refusal::garbled("signature", why);
    let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not text"))?;
    let lines: Vec<&str> = text.lines().collect();
    // 74 and 64 bytes in base64. The crate takes the second one's length for granted.
    if lines.len() != 4 || lines[1].len() != 100 || lines[3].len() != 88 {
        return Err(bad("it is not a minisign signature"));
    }
    let signature =
        SignatureBox::from_string(text).map_err(|_| bad("it is not a minisign signature"))?;
    if signature.to_string() != text {
        return Err(bad("it is not spelled as minisign spells signatures"));
    }
    if !signature.is_prehashed() {
        return Err(Refusal::Unsupported("a legacy signature of minisign".into()));
    }
    Ok(signature)
}

/// Whether `signature` is one of `message`, made by `key`.
pub fn verify(signature: &SignatureBox, key: &PublicKey, message: &[u8]) -> bool {
    minisign::verify(key, signature, Cursor::new(message), true, false, false).is_ok()
}

/// Sign `message`; the trusted comment says what for.
///
/// # Errors
/// Where the key cannot: what is wrong.
pub fn sign(key: &SecretKey, message: &[u8], comment: &str) -> Result<String, String> {
    let untrusted = "signature made by autoxen";
    minisign::sign(None, key, Cursor::new(message), Some(comment), Some(untrusted))
        .map(SignatureBox::into_string)
        .map_err(|e| e.to_string())
}
