//! Public keys, of ssh and of minisign, as a line of allowed signers has them: a type, a blank, the key in base64.
//!
//! Certificates and DSA keys are refused by name, as are RSA keys of less than 2048 and of more than 4096
//! bits.

use minisign::PublicKey as MinisignKey;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg};

/// The type that stands before a key of minisign.
pub const MINISIGN: &str = "minisign";
/// What the types of certificates have in them.
pub(super) const CERTIFICATE: &str = "-cert-v";
/// The shortest RSA key that counts, in bits.
const RSA_MIN_BITS: usize = 2048;
/// The longest one, which the crate `rsa` still verifies with.
const RSA_MAX_BITS: usize = 4096;

/// A public key.
#[derive(Clone, Debug)]
pub enum PublicKey {
    /// One of ssh.
    Ssh(KeyData),
    /// One of minisign.
    Minisign(MinisignKey),
}

impl PublicKey {
    /// The key of this type.
    ///
    /// # Errors
    /// What is wrong with it: lower case.
    pub fn parse(kind: &str, base64: &str) -> Result<Self, String> {
        if kind == MINISIGN {
            let key = MinisignKey::from_base64(base64).map_err(|_| "not a key of minisign")?;
            // Of the algorithm `Ed`; there is no other.
            if !key.to_bytes().starts_with(b"Ed") || key.to_base64() != base64 {
                return Err("not a key of minisign".into());
            }
            return Ok(Self::Minisign(key));
        }
        if kind.contains(CERTIFICATE) {
            return Err(format!("a certificate (`{kind}`) is not supported"));
        }
        let key = ssh_key::PublicKey::from_openssh(&format!("{kind} {base64}"))
            .map_err(|_| format!("not a key of type `{kind}`"))?;
        let data = key.key_data();
        match unsupported(data) {
            Some(what) => Err(format!("{what} is not supported")),
            None => Ok(Self::Ssh(data.clone())),
        }
    }

    /// What names it: `SHA256:…` as `ssh-keygen -l` prints it, `minisign:` and the key's number.
    pub fn fingerprint(&self) -> String {
        match self {
            Self::Ssh(key) => key.fingerprint(HashAlg::Sha256).to_string(),
            Self::Minisign(key) => minisign_name(key.keynum()),
        }
    }

    /// Type and key, as they stand in a line.
    pub fn line(&self) -> String {
        match self {
            Self::Ssh(key) => ssh_key::PublicKey::new(key.clone(), "")
                .to_openssh()
                .map(|line| line.trim_end().to_owned())
                .expect("a key that was decoded is encoded"),
            Self::Minisign(key) => format!("{MINISIGN} {}", key.to_base64()),
        }
    }

    /// Whether both are one key.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ssh(one), Self::Ssh(other)) => one == other,
            (Self::Minisign(one), Self::Minisign(other)) => one == other,
            _ => false,
        }
    }
}

/// The number of a key as `minisign` prints it.
pub(super) fn minisign_name(number: &[u8]) -> String {
    let digits: String = number.iter().rev().map(|byte| format!("{byte:02X}")).collect();
    format!("minisign:{digits}")
}

/// By what name a key of ssh is refused, if it is.
pub(super) fn unsupported(key: &KeyData) -> Option<String> {
    match key {
        KeyData::Rsa(key) => {
            let bits = bits(key.n.as_positive_bytes().unwrap_or_default());
            let is_fit = (RSA_MIN_BITS..=RSA_MAX_BITS).contains(&bits);
            (!is_fit).then(|| format!("an RSA key of {bits} bits"))
        }
        KeyData::Ed25519(_)
        | KeyData::Ecdsa(_)
        | KeyData::SkEd25519(_)
        | KeyData::SkEcdsaSha2NistP256(_) => None,
        other => Some(match other.algorithm() {
            Algorithm::Dsa => "a DSA key".into(),
            kind if kind.as_str().contains(CERTIFICATE) => {
                format!("a certificate (`{}`)", kind.as_str())
            }
            kind => format!("a key of type `{}`", kind.as_str()),
        }),
    }
}

/// How long a number is, its highest byte first.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let highest = number.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
    (number.len() - zeros) * 8 - highest
}

#[cfg(test)]
mod tests {
    use ssh_key::Mpint;
    use ssh_key::public::{KeyData, RsaPublicKey};

    use super::{PublicKey, bits, unsupported};

    #[test]
    fn rsa_keys_count_with_2048_to_4096_bits() {
        for (len, highest, bits, is_fit) in [
            (128, 0x80, 1024, false),
            (256, 0x7f, 2047, false),
            (256, 0x80, 2048, true),
            (512, 0xff, 4096, true),
            (513, 0x01, 4097, false),
            (1024, 0x80, 8192, false),
        ] {
            let mut number = vec![0xff; len];
            number[0] = highest;
            let [e, n] = [&[1, 0, 1][..], &number].map(|n| Mpint::from_positive_bytes(n).unwrap());
            let found = unsupported(&KeyData::Rsa(RsaPublicKey { e, n }));
            assert_eq!(found, (!is_fit).then(|| format!("an RSA key of {bits} bits")));
        }
        assert_eq!([bits(&[]), bits(&[0, 0]), bits(&[0, 1])], [0, 0, 1]);
    }

    #[test]
    fn a_key_of_minisign_has_the_name_that_minisign_prints() {
        let base64 = "RWSOdYVfRmaeYUB3yITWlEW6p1/hUz6CEvJzifhQVOwwihv7YXTGPFgq";
        let key = PublicKey::parse("minisign", base64).unwrap();
        assert_eq!(key.fingerprint(), "minisign:619E66465F85758E");
        assert_eq!(key.line(), format!("minisign {base64}"));
        for bad in [&base64[1..], &format!("{base64}A"), "", &base64.replace("RWS", "RXS")] {
            assert!(PublicKey::parse("minisign", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_of_ssh_has_the_name_that_ssh_keygen_prints() {
        let base64 = "AAAAC3NzaC1lZDI1NTE5AAAAICXk45p772bNP/FbKU6KgTxm34jdQC6CPfc1450wRo64";
        let key = PublicKey::parse("ssh-ed25519", base64).unwrap();
        assert_eq!(key.fingerprint(), "SHA256:1Upo4cvFj7xHy5be7bOlAKD+JoKPMA8a5cxd+giwiKQ");
        assert_eq!(key.line(), format!("ssh-ed25519 {base64}"));
        assert!(key.is(&key) && PublicKey::parse("ssh-rsa", base64).is_err());
    }
}
