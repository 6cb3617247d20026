//! Secret keys: files of OpenSSH and of minisign, read to sign with, and new ones of ed25519 for OpenSSH.
//!
//! A key of a hardware token signs only through `ssh-keygen -Y sign`, as does one that an agent holds.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use base64ct::{Base64, Encoding};
use minisign::{PublicKey as MinisignKey, SecretKey as MinisignSecret, SecretKeyBox};
use ssh_key::private::KeypairData;
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, LineEnding, PrivateKey};

use super::public::PublicKey;
use super::{Namespace, minisig, regular, sshsig};
use crate::failure::{Failure, Result, plain};

/// The most bytes of a file with a key.
const FILE_MAX: u64 = 64 << 10;
/// Bytes of a secret key of minisign.
const MINISIGN_LEN: usize = 158;
/// What to do about keys that we cannot use.
const BY_SSH_KEYGEN: &str = "`autoxen sign --manifest-only IMAGE`, then `ssh-keygen -Y sign -n autoxen-image -f KEY IMAGE.manifest`";

/// A key to sign with.
#[derive(Debug)]
pub enum SecretKey {
    /// Of OpenSSH.
    Ssh(Box<PrivateKey>),
    /// Of minisign.
    Minisign(Box<MinisignSecret>),
}

/// The two forms of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// SSHSIG, armored: `FILE.sig`.
    Ssh,
    /// minisign's: `FILE.minisig`.
    Minisign,
}

/// Asks for the passphrase of an encrypted key.
pub type Ask<'a> = dyn FnMut() -> Result<String> + 'a;

impl SecretKey {
    /// Read the key in the file `path`, which must be closed to others. Where it is encrypted, `ask` tells the passphrase.
    ///
    /// # Errors
    /// Where it cannot be read or used, or the passphrase is wrong.
    pub fn read(path: &Path, ask: &mut Ask<'_>) -> Result<Self> {
        let file = regular::open(path).map_err(|e| Failure::host("cannot read", path, &e))?;
        let found = file.metadata().map_err(|e| Failure::host("cannot read", path, &e))?;
        let is_own = found.uid() == rustix::process::geteuid().as_raw();
        let mut bytes = Vec::new();
        file.take(FILE_MAX)
            .read_to_end(&mut bytes)
            .map_err(|e| Failure::host("cannot read", path, &e))?;
        let secret = Self::parse(&bytes, ask).map_err(|failure| match failure {
            Failure::Plain { message, hint } => {
                Failure::Plain { message: format!("key `{}`: {message}", path.display()), hint }
            }
            other => other,
        })?;
        // As ssh does; a file that is no key is told of first.
        if is_own && found.mode() & 0o077 != 0 {
            let mode = found.mode() & 0o777;
            return Err(Failure::new(format!(
                "key `{}` is open to others: its mode is {mode:04o}",
                path.display()
            ))
            .hint(format!("chmod 600 {}", path.display())));
        }
        Ok(secret)
    }

    /// The key that `bytes` are.
    ///
    /// # Errors
    /// What is wrong, without the name of the file.
    pub fn parse(bytes: &[u8], ask: &mut Ask<'_>) -> Result<Self> {
        let no_key = || Failure::new("not a secret key of OpenSSH or minisign");
        let text = std::str::from_utf8(bytes).map_err(|_| no_key())?;
        if text.starts_with(minisig::BEGIN) {
            return Ok(Self::Minisign(Box::new(minisign_secret(text, ask)?)));
        }
        if text.starts_with("-----BEGIN ") && !text.starts_with("-----BEGIN OPENSSH PRIVATE KEY") {
            return Err(Failure::new("a key in an old form")
                .hint("`ssh-keygen -p -f KEY` writes it in OpenSSH's own"));
        }
        if text.starts_with("ssh-") || text.starts_with("ecdsa-") || text.starts_with("sk-") {
            return Err(Failure::new("a public key; the secret one is in an agent or a file")
                .hint(format!("with an agent: {BY_SSH_KEYGEN}")));
        }
        let mut key = PrivateKey::from_openssh(text).map_err(|e| match e {
            // The lengths of the armor itself are another error.
            ssh_key::Error::Encoding(_) if text.contains("-----END OPENSSH PRIVATE KEY-----\n") => {
                unreadable()
            }
            _ => no_key(),
        })?;
        if key.is_encrypted() {
            let passphrase = ask()?;
            key = key.decrypt(passphrase).map_err(|e| match e {
                ssh_key::Error::Crypto => Failure::new("wrong passphrase"),
                _ => unreadable(),
            })?;
        }
        match key.key_data() {
            KeypairData::Ed25519(_) | KeypairData::Ecdsa(_) | KeypairData::Rsa(_) => {}
            KeypairData::SkEd25519(_) | KeypairData::SkEcdsaSha2NistP256(_) => {
                return Err(Failure::new("a key of a security token").hint(BY_SSH_KEYGEN));
            }
            _ => return Err(Failure::new("a key of a kind that is not supported")),
        }
        // Nobody would accept what it signs.
        if let Some(what) = super::public::unsupported(key.public_key().key_data()) {
            return Err(Failure::new(format!("{what} is not supported")));
        }
        Ok(Self::Ssh(Box::new(key)))
    }

    /// A new key of ed25519.
    ///
    /// # Errors
    /// Where the host has no random bytes.
    pub fn generate(comment: &str) -> Result<Self> {
        let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519)
            .map_err(|e| Failure::new(format!("cannot make a key: {e}")))?;
        key.set_comment(comment);
        Ok(Self::Ssh(Box::new(key)))
    }

    /// The text of the key's file; encrypted, where there is a passphrase.
    ///
    /// # Errors
    /// Where it is a key of minisign, or the host has no random bytes.
    pub fn to_openssh(&self, passphrase: Option<&str>) -> Result<String> {
        let fail = |e: ssh_key::Error| Failure::new(format!("cannot write the key: {e}"));
        let Self::Ssh(key) = self else {
            return Err(Failure::new("a key of minisign is not written"));
        };
        let text = match passphrase {
            None => key.to_openssh(LineEnding::LF),
            Some(passphrase) => key
                .encrypt(&mut OsRng, passphrase)
                .and_then(|encrypted| encrypted.to_openssh(LineEnding::LF)),
        };
        Ok(text.map_err(fail)?.to_string())
    }

    /// Its public half.
    pub fn public(&self) -> Result<PublicKey> {
        match self {
            Self::Ssh(key) => Ok(PublicKey::Ssh(key.public_key().key_data().clone())),
            Self::Minisign(key) => MinisignKey::from_secret_key(key)
                .map(PublicKey::Minisign)
                .map_err(|e| Failure::new(e.to_string())),
        }
    }

    /// Its comment.
    pub fn comment(&self) -> &str {
        match self {
            Self::Ssh(key) => key.comment(),
            Self::Minisign(_) => "",
        }
    }

    /// Which form of signatures it makes.
    pub fn form(&self) -> Form {
        match self {
            Self::Ssh(_) => Form::Ssh,
            Self::Minisign(_) => Form::Minisign,
        }
    }

    /// Sign `message`.
    ///
    /// # Errors
    /// Where the key cannot.
    pub fn sign(&self, namespace: Namespace, message: &[u8]) -> Result<String> {
        let signature = match self {
            Self::Ssh(key) => sshsig::sign(key, namespace, message),
            Self::Minisign(key) => minisig::sign(key, message, namespace.name()),
        };
        signature.map_err(|what| Failure::new(format!("cannot sign: {what}")))
    }
}

/// The crate `ssh-key` (0.6.7) cannot read a secret key of ECDSA whose number begins with zeros: one in 256, and half of
/// those on P-521.
fn unreadable() -> Failure {
    Failure::new("a damaged key, or one of ECDSA with a short number, which is not read here")
        .hint(BY_SSH_KEYGEN)
}

/// The public key in the file `path`: of OpenSSH or minisign, or the public half of a secret one.
///
/// # Errors
/// Where there is none.
pub fn read_public(path: &Path, ask: &mut Ask<'_>) -> Result<(PublicKey, String)> {
    let bytes = regular::read(path, FILE_MAX)
        .map_err(|e| Failure::new(format!("cannot read `{}`: {}", path.display(), plain(&e))))?;
    let text = String::from_utf8_lossy(&bytes);
    let no_key =
        || Failure::new(format!("`{}` is not a key of OpenSSH or minisign", path.display()));
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    if let Some(comment) = first.strip_prefix(minisig::BEGIN)
        && let Some(line) = lines.next()
        && let Ok(key) = PublicKey::parse(super::public::MINISIGN, line)
    {
        return Ok((key, comment.to_owned()));
    }
    if first.starts_with(minisig::BEGIN) {
        return Ok((SecretKey::read(path, ask)?.public()?, String::new()));
    }
    // The public half of a secret key is not encrypted.
    let key = match text.starts_with("-----BEGIN ") {
        true => PrivateKey::from_openssh(text.as_bytes()).map(|key| key.public_key().clone()),
        false => ssh_key::PublicKey::from_openssh(&text),
    };
    let key = key.map_err(|_| no_key())?;
    match super::public::unsupported(key.key_data()) {
        Some(what) => Err(Failure::new(format!("`{}`: {what} is not supported", path.display()))),
        None => Ok((PublicKey::Ssh(key.key_data().clone()), key.comment().to_owned())),
    }
}

/// A secret key of minisign.
///
/// ```text
/// "Ed", how it is encrypted ("Sc", or zeros: not), "B2", salt 32, limits 8 and 8, number 8, key 64, checksum 32
/// ```
fn minisign_secret(text: &str, ask: &mut Ask<'_>) -> Result<MinisignSecret> {
    let bad = || Failure::new("not a secret key of minisign");
    let bytes = text.lines().nth(1).and_then(|line| Base64::decode_vec(line).ok());
    let bytes = bytes.filter(|bytes| bytes.len() == MINISIGN_LEN).ok_or_else(bad)?;
    if bytes[2..4] == [0, 0] {
        // minisign leaves the checksum of such a key empty, which the crate's own reader does not expect.
        return MinisignSecret::from_bytes(&bytes).map_err(|_| bad());
    }
    let passphrase = ask()?;
    SecretKeyBox::from_string(text)
        .and_then(|secret| secret.into_secret_key(Some(passphrase)))
        .map_err(|_| Failure::new("wrong passphrase, or a damaged key of minisign"))
}
