//! Signatures, and what says who may make them: any bytes, or true ones with some bytes changed.
//!
//! The secret halves of the keys in `signed/` are gone, so that what passes as signed must be the one message that was.

use autoxen::sign::manifest::Manifest;
use autoxen::sign::{Namespace, Refusal, Signers};
use base64ct::{Base64, Encoding};
use libfuzzer_sys::arbitrary::{Result, Unstructured};

const ALLOWED: &[u8] = include_bytes!("signed/allowed_signers");
const MESSAGE: &[u8] = include_bytes!("signed/manifest");
const SSH: &str = include_str!("signed/manifest.sig");
const MINISIGN: &str = include_str!("signed/manifest.minisig");

/// A moment in which the keys serve.
const NOW: i64 = 1_800_000_000;

/// Make the files of `data`, and verify.
pub fn check(data: &[u8]) {
    let mut data = Unstructured::new(data);
    // Bytes that end early make no files.
    let Ok(files) = Files::made(&mut data) else { return };
    manifest(&files.message);
    let revoked = files.revoked.as_deref().map(|text| (text, "revoked"));
    let signers = match Signers::parse(&files.allowed, "allowed", revoked) {
        Ok(signers) => signers,
        Err(failure) => {
            let said = failure.to_string();
            assert!(said.starts_with("allowed:") || said.starts_with("revoked:"), "{said}");
            return;
        }
    };
    for namespace in [Namespace::Image, Namespace::Bundle] {
        match signers.verify(namespace, &files.message, &files.signature, files.now) {
            Ok(signer) => {
                assert_eq!(files.message, MESSAGE, "a forged signature by {}", signer.principals);
                assert_eq!(namespace, Namespace::Image);
                assert!(files.revoked.as_ref().is_none_or(|text| !revokes_all(text)));
            }
            Err(refusal) => {
                assert!(!refusal.rule().is_empty());
                assert!(files.is_changed || namespace == Namespace::Bundle, "{refusal}");
                assert!(
                    !matches!(refusal, Refusal::Size { .. } | Refusal::Digest),
                    "there is no image: {refusal}"
                );
            }
        }
    }
}

/// A manifest has one spelling.
fn manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::parse(bytes) {
        assert_eq!(manifest.to_bytes(), bytes);
    }
}

/// Whether a file of revoked keys has all the lines of the allowed ones, untouched.
fn revokes_all(text: &[u8]) -> bool {
    text == revoked_all()
}

/// The keys of the allowed signers, as a file of revoked ones.
fn revoked_all() -> Vec<u8> {
    let text = std::str::from_utf8(ALLOWED).expect("text");
    let keys = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        format!("{}\n", words[words.len() - 2..].join(" "))
    });
    keys.collect::<String>().into_bytes()
}

struct Files {
    allowed: Vec<u8>,
    revoked: Option<Vec<u8>>,
    message: Vec<u8>,
    signature: Vec<u8>,
    now: i64,
    /// Whether they are any but the true ones.
    is_changed: bool,
}

impl Files {
    fn made(data: &mut Unstructured<'_>) -> Result<Self> {
        let is_ssh: bool = data.arbitrary()?;
        if data.int_in_range(0..=3)? == 0 {
            return Ok(Self {
                allowed: data.arbitrary()?,
                revoked: data.arbitrary()?,
                message: data.arbitrary()?,
                signature: signature(is_ssh, data.arbitrary()?),
                now: data.arbitrary()?,
                is_changed: true,
            });
        }
        let mut files = Self {
            allowed: ALLOWED.to_vec(),
            revoked: None,
            message: MESSAGE.to_vec(),
            signature: (if is_ssh { SSH } else { MINISIGN }).into(),
            now: NOW,
            is_changed: false,
        };
        let edits = data.int_in_range(0..=4)?;
        files.is_changed = edits > 0;
        for _ in 0..edits {
            match data.int_in_range(0..=6)? {
                0 => edit(data, &mut files.allowed)?,
                1 => edit(data, &mut files.message)?,
                2 => edit(data, &mut files.signature)?,
                3 => {
                    // Below the armour.
                    let mut blobs = blobs(if is_ssh { SSH } else { MINISIGN }, is_ssh);
                    let nr = data.choose_index(blobs.len())?;
                    edit(data, &mut blobs[nr])?;
                    files.signature = signature(is_ssh, blobs);
                }
                4 => files.now = data.arbitrary()?,
                5 => files.revoked = Some(revoked_all()),
                _ => {
                    let mut revoked = revoked_all();
                    edit(data, &mut revoked)?;
                    files.revoked = Some(revoked);
                }
            }
        }
        Ok(files)
    }
}

/// Take some bytes out and put others in.
fn edit(data: &mut Unstructured<'_>, bytes: &mut Vec<u8>) -> Result<()> {
    let from = data.int_in_range(0..=bytes.len())?;
    let count = data.int_in_range(0..=(bytes.len() - from).min(40))?;
    let new: Vec<u8> = data.arbitrary()?;
    bytes.splice(from..from + count, new);
    Ok(())
}

/// What stands in base64 in a signature.
fn blobs(text: &str, is_ssh: bool) -> Vec<Vec<u8>> {
    let lines: Vec<&str> = text.lines().collect();
    let texts = match is_ssh {
        true => vec![lines[1..lines.len() - 1].concat()],
        false => vec![lines[1].to_owned(), lines[3].to_owned()],
    };
    texts.iter().map(|text| Base64::decode_vec(text).expect("base64")).collect()
}

/// The same the other way round.
fn signature(is_ssh: bool, blobs: Vec<Vec<u8>>) -> Vec<u8> {
    let mut texts = blobs.iter().map(|blob| Base64::encode_string(blob));
    let first = texts.next().unwrap_or_default();
    let text = if is_ssh {
        let lines: Vec<&str> = first
            .as_bytes()
            .chunks(70)
            .map(|line| std::str::from_utf8(line).expect("base64"))
            .collect();
        format!(
            "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n",
            lines.join("\n")
        )
    } else {
        let second = texts.next().unwrap_or_default();
        format!(
            "untrusted comment: signature\n{first}\ntrusted comment: trusted comment\n{second}\n"
        )
    };
    text.into_bytes()
}
