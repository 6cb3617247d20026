//! UUIDs from a seed: the same seed and purpose, the same UUID, on any machine.

use sha2::{Digest, Sha256};

/// A UUID of version 8 (RFC 9562): the start of a SHA-256 over `purpose` and `seed`.
pub(super) fn uuid(purpose: &str, seed: &[u8]) -> [u8; 16] {
    let mut hash = Sha256::new();
    // A length before each part, so that no other pair of parts is the same bytes.
    for part in [purpose.as_bytes(), seed] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let start: [u8; 16] = *digest.first_chunk().expect("a digest has 32 bytes");
    *uuid::Builder::from_custom_bytes(start).into_uuid().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::uuid;

    #[test]
    fn a_seed_makes_one_uuid_for_each_purpose() {
        let made = uuid("volume", b"seed");
        assert_eq!(made, uuid("volume", b"seed"));
        assert_ne!(made, uuid("hash", b"seed"));
        assert_ne!(uuid("ab", b"c"), uuid("a", b"bc"));
        // Version 8, variant of the RFC.
        assert_eq!((made[6] >> 4, made[8] >> 6), (8, 0b10));
    }
}
