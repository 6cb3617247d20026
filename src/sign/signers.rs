//! Who may sign: allowed signers and revoked keys, and the one question that is asked of them.

use std::path::Path;

use jiff::tz::TimeZone;
use minisign::SignatureBox;
use ssh_key::SshSig;

use super::allowed::{self, BadLine, Line};
use super::pattern::PatternList;
use super::public::{PublicKey, minisign_name};
use super::time::Moment;
use super::{Namespace, Refusal, minisig, regular, revoked, sshsig};
use crate::failure::{Failure, Result, plain};

/// The most bytes of a file of signers or revoked keys.
const FILE_MAX: u64 = 4 << 20;
/// The most bytes of a signature.
pub const SIGNATURE_MAX: u64 = 64 << 10;

/// Those whose signatures count.
#[derive(Clone, Debug, Default)]
pub struct Signers {
    lines: Vec<Line>,
    revoked: Vec<PublicKey>,
}

/// Whose signature it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The principals of one line that allows it: the first, until [`Signer::go_by`] chooses.
    pub principals: String,
    /// `SHA256:…` or `minisign:…`.
    pub key: String,
    /// The principals of all lines that do.
    lines: Vec<PatternList>,
}

impl Signer {
    /// Whether one of the lines that allow the signature is of somebody whom `patterns` name, and none of somebody whom they
    /// exclude; each of them may be a list. [`PatternList::meets`] has the rules.
    pub fn matches(&self, patterns: &[String]) -> bool {
        let is_excluded = self.lines.iter().any(|principals| principals.is_excluded_by(patterns));
        !is_excluded && self.lines.iter().any(|principals| principals.meets(patterns))
    }

    /// Call the signer what the first line says that meets all of these demands, or else the first demand.
    pub fn go_by(&mut self, demands: &[&[String]]) {
        let of = |demands: &[&[String]]| {
            self.lines.iter().find(|line| demands.iter().all(|patterns| line.meets(patterns)))
        };
        let first = demands.get(..1).unwrap_or_default();
        if let Some(line) = of(demands).or_else(|| of(first)) {
            self.principals = line.as_str().into();
        }
    }

    /// [`Self::matches`], as a rule.
    ///
    /// # Errors
    /// [`Refusal::WrongSigner`].
    pub fn must_match(&self, patterns: &[String]) -> Result<(), Refusal> {
        if self.matches(patterns) {
            return Ok(());
        }
        let lists: Vec<&str> = self.lines.iter().map(PatternList::as_str).collect();
        let (principals, wanted) = (lists.join(" "), patterns.join(","));
        Err(Refusal::WrongSigner { principals, wanted })
    }
}

impl Signers {
    /// Read the files.
    ///
    /// # Errors
    /// Where one cannot be read, or has a line that cannot: a file of revoked keys that cannot be read never means that
    /// none is.
    pub fn read(allowed: &Path, revoked: Option<&Path>) -> Result<Self> {
        let bytes = read(allowed)?;
        let revoked = revoked
            .map(|path| read(path).map(|bytes| (bytes, path.to_string_lossy())))
            .transpose()?;
        let revoked = revoked.as_ref().map(|(bytes, name)| (bytes.as_slice(), name.as_ref()));
        Self::parse(&bytes, &allowed.to_string_lossy(), revoked)
    }

    /// The same from text, of files with these names.
    ///
    /// # Errors
    /// A line that cannot be read, with its number.
    pub fn parse(
        allowed_text: &[u8],
        allowed_name: &str,
        revoked: Option<(&[u8], &str)>,
    ) -> Result<Self> {
        let lines = allowed::parse(allowed_text, &TimeZone::system())
            .map_err(|line| bad_line(allowed_name, line))?;
        let revoked = match revoked {
            Some((text, name)) => revoked::parse(text).map_err(|line| bad_line(name, line))?,
            None => Vec::new(),
        };
        Ok(Self { lines, revoked })
    }

    /// Take the keys in another file of revoked keys as revoked, too.
    ///
    /// # Errors
    /// Those of [`Signers::read`].
    pub fn revoke(&mut self, path: &Path) -> Result<()> {
        let more =
            revoked::parse(&read(path)?).map_err(|line| bad_line(&path.to_string_lossy(), line))?;
        self.revoked.extend(more);
        Ok(())
    }

    /// Whose signature of `message` this is, at `now` in seconds since 1970. Its form is told by its first bytes.
    ///
    /// Keys that nobody allows are refused before any cryptography is done with them.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn verify(
        &self,
        namespace: Namespace,
        message: &[u8],
        signature: &[u8],
        now: i64,
    ) -> Result<Signer, Refusal> {
        let signature = Signature::parse(signature)?;
        let key = signature.key();
        let lines: Vec<&Line> = self
            .lines
            .iter()
            .filter(|line| !line.is_authority && signature.may_be_by(&line.key))
            .collect();
        let is_revoked = |revoked: &PublicKey| {
            signature.may_be_by(revoked) || lines.iter().any(|line| line.key.is(revoked))
        };
        if self.revoked.iter().any(is_revoked) {
            return Err(Refusal::Revoked(key));
        }
        signature.check_namespace(namespace, message)?;
        let mut refusal = Refusal::UnknownKey(key.clone());
        let mut serving = Vec::new();
        for line in lines {
            match check_line(line, &key, namespace, now) {
                Ok(()) => serving.push(line),
                Err(other) => refusal = other,
            }
        }
        if serving.is_empty() {
            return Err(refusal);
        }
        serving.retain(|line| signature.is_by(&line.key, namespace, message));
        let lines: Vec<PatternList> = serving.iter().map(|line| line.principals.clone()).collect();
        match lines.first() {
            Some(first) => Ok(Signer { principals: first.as_str().into(), key, lines }),
            None => Err(Refusal::BadSignature(key)),
        }
    }
}

fn bad_line(name: &str, BadLine { nr, what }: BadLine) -> Failure {
    Failure::new(format!("{name}:{nr}: {what}"))
}

/// Whether a line serves for a namespace at a time.
fn check_line(line: &Line, key: &str, namespace: Namespace, now: i64) -> Result<(), Refusal> {
    let (key, wanted) = (key.to_owned(), namespace.name());
    if line.namespaces.as_ref().is_some_and(|list| !list.matches(wanted)) {
        return Err(Refusal::KeyNotForNamespace { key, wanted });
    }
    let before = |moment: Moment| moment.seconds() < now;
    match (line.valid_after, line.valid_before) {
        (Some(from), _) if now < from.seconds() => Err(Refusal::KeyNotYetValid { key, from }),
        (_, Some(until)) if before(until) => Err(Refusal::KeyExpired { key, until }),
        _ => Ok(()),
    }
}

/// A signature that was read and is not trusted yet.
enum Signature {
    Ssh(Box<SshSig>),
    Minisign(Box<SignatureBox>),
}

impl Signature {
    fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() as u64 > SIGNATURE_MAX {
            return Err(Refusal::garbled("signature", "it is too long"));
        }
        if bytes.starts_with(sshsig::BEGIN.as_bytes()) {
            return Ok(Self::Ssh(Box::new(sshsig::parse(bytes)?)));
        }
        if bytes.starts_with(minisig::BEGIN.as_bytes()) {
            return Ok(Self::Minisign(Box::new(minisig::parse(bytes)?)));
        }
        Err(Refusal::garbled("signature", "it is neither an SSH signature nor one of minisign"))
    }

    /// The name of the key that it says made it.
    fn key(&self) -> String {
        match self {
            Self::Ssh(signature) => PublicKey::Ssh(signature.public_key().clone()).fingerprint(),
            Self::Minisign(signature) => minisign_name(signature.keynum()),
        }
    }

    /// Whether it says that this key made it.
    fn may_be_by(&self, key: &PublicKey) -> bool {
        match (self, key) {
            (Self::Ssh(signature), PublicKey::Ssh(key)) => signature.public_key() == key,
            (Self::Minisign(signature), PublicKey::Minisign(key)) => {
                signature.keynum() == key.keynum()
            }
            _ => false,
        }
    }

    fn check_namespace(&self, namespace: Namespace, message: &[u8]) -> Result<(), Refusal> {
        let (found, wanted) = match self {
            Self::Ssh(signature) => (signature.namespace(), namespace.name()),
            Self::Minisign(_) if namespace.fits(message) => return Ok(()),
            Self::Minisign(_) => ("something else", namespace.name()),
        };
        if found == wanted {
            return Ok(());
        }
        Err(Refusal::WrongNamespace { found: found.into(), wanted })
    }

    /// Whether this key made it of this message.
    fn is_by(&self, key: &PublicKey, namespace: Namespace, message: &[u8]) -> bool {
        match (self, key) {
            (Self::Ssh(signature), PublicKey::Ssh(key)) => {
                sshsig::verify(signature, key, namespace, message)
            }
            (Self::Minisign(signature), PublicKey::Minisign(key)) => {
                minisig::verify(signature, key, message)
            }
            _ => false,
        }
    }
}

/// The bytes of a small file.
fn read(path: &Path) -> Result<Vec<u8>> {
    let fail = |e: &std::io::Error| {
        Failure::new(format!("cannot read `{}`: {}", path.display(), plain(e)))
    };
    let bytes = regular::read(path, FILE_MAX + 1).map_err(|e| fail(&e))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(Failure::new(format!("`{}` has more than {FILE_MAX} bytes", path.display())));
    }
    Ok(bytes)
}
