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

use base64ct::{Base64, Encoding};
use rsa::{BigUint, Pkcs1v15Sign, RsaPrivateKey};
use ssh_key::private::{KeypairData, RsaKeypair};
use ssh_key::public::KeyData;
use ssh_key::rand_core::OsRng;
use ssh_key::sha2::{Digest, Sha512};
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, Signature, SshSig};

use super::public::{CERTIFICATE, unsupported};
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
    let Ok(signature) = SshSig::from_pem(text) else {
        return Err(match key_type(text) {
            Some(kind) if kind.contains(CERTIFICATE) => {
                Refusal::Unsupported(format!("a certificate (`{}`)", kind.escape_debug()))
            }
            _ => bad("it is not an SSH signature"),
        });
    };
    if let Some(what) = unsupported(signature.public_key()) {
        return Err(Refusal::Unsupported(what));
    }
    if signature.version() != SshSig::VERSION || !signature.reserved().is_empty() {
        return Err(bad("it is of another version than 1"));
    }
    // The crate is lenient about lengths, and has no encoder for signatures of tokens on P-256.
    if blob(text) != encode(&signature) {
        return Err(bad("it is not spelled as ssh-keygen spells signatures"));
    }
    Ok(signature)
}

/// What is in the armor.
fn blob(text: &str) -> Option<Vec<u8>> {
    let inner: String = text.strip_prefix(BEGIN)?.strip_suffix(END)?.split('\n').collect();
    Base64::decode_vec(&inner).ok()
}

/// The one way in which `signature` is written.
fn encode(signature: &SshSig) -> Option<Vec<u8>> {
    let string = |bytes: &[u8]| -> Option<Vec<u8>> {
        Some([&u32::try_from(bytes.len()).ok()?.to_be_bytes(), bytes].concat())
    };
    let algorithm = signature.algorithm();
    let bytes = signature.signature_bytes();
    // Behind that of a token stand its flags and its counter, in no string.
    let trailer = match algorithm {
        Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => 5,
        _ => 0,
    };
    let (numbers, trailer) = bytes.split_at_checked(bytes.len().checked_sub(trailer)?)?;
    let name = string(algorithm.as_str().as_bytes())?;
    let inner = [name.as_slice(), &string(numbers)?, trailer].concat();
    let key = PublicKey::new(signature.public_key().clone(), "").to_bytes().ok()?;
    let parts = [
        b"SSHSIG\0\0\0\x01".to_vec(),
        string(&key)?,
        string(signature.namespace().as_bytes())?,
        string(signature.reserved())?,
        string(signature.hash_alg().as_str().as_bytes())?,
        string(&inner)?,
    ];
    Some(parts.concat())
}

/// The type of the key in an armored signature that the crate cannot read.
fn key_type(text: &str) -> Option<String> {
    let blob = blob(text)?;
    // Magic, version and the length of the key: 6, 4 and 4 bytes.
    let (len, rest) = blob.get(14..)?.split_first_chunk()?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
    String::from_utf8(rest.get(..len)?.to_vec()).ok()
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
    let signature = match key.key_data() {
        KeypairData::Rsa(pair) => sign_rsa(pair, namespace, message),
        _ => key.sign(namespace.name(), HashAlg::Sha512, message),
    };
    signature.and_then(|signature| signature.to_pem(LineEnding::LF)).map_err(|e| e.to_string())
}

/// Sign with RSA: the crate `ssh-key` hands one prime of the key over twice (0.6.7), which no key survives.
fn sign_rsa(pair: &RsaKeypair, namespace: Namespace, message: &[u8]) -> ssh_key::Result<SshSig> {
    let signed = SshSig::signed_data(namespace.name(), HashAlg::Sha512, message)?;
    let [n, e, d, p, q] =
        [&pair.public.n, &pair.public.e, &pair.private.d, &pair.private.p, &pair.private.q]
            .map(|number| number.as_positive_bytes().map(BigUint::from_bytes_be));
    let (Some(n), Some(e), Some(d), Some(p), Some(q)) = (n, e, d, p, q) else {
        return Err(ssh_key::Error::Crypto);
    };
    let key =
        RsaPrivateKey::from_components(n, e, d, vec![p, q]).map_err(|_| ssh_key::Error::Crypto)?;
    let padding = Pkcs1v15Sign::new::<Sha512>();
    // The exponentiation is blinded, so that its time tells nothing of the key.
    let bytes = key
        .sign_with_rng(&mut OsRng, padding, &Sha512::digest(&signed))
        .map_err(|_| ssh_key::Error::Crypto)?;
    let signature = Signature::new(Algorithm::Rsa { hash: Some(HashAlg::Sha512) }, bytes)?;
    let public = KeyData::Rsa(pair.public.clone());
    SshSig::new(public, namespace.name(), HashAlg::Sha512, signature)
}
