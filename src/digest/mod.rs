//! Digests: SHA-256 of a stream, as the `sha256` attribute gives it, and the [`tree`] over the pieces of a file, which
//! several cores make at once.

#![forbid(unsafe_code)]

pub mod nodes;
mod pieces;
pub mod shape;
pub mod tree;

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// Bytes read at a time.
const PIECE: usize = 1 << 20;

/// SHA-256 of all that `from` holds, in lower-case hexadecimal. `step` is told the bytes done so far; an error from it ends the
/// work.
pub fn sha256(
    from: &mut dyn Read,
    step: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<String> {
    let mut digest = Sha256::new();
    let mut buf = vec![0; PIECE];
    let mut done = 0;
    loop {
        let len = from.read(&mut buf)?;
        if len == 0 {
            return Ok(hex(&digest.finalize()));
        }
        digest.update(&buf[..len]);
        done += len as u64;
        step(done)?;
    }
}

/// SHA-256 of `bytes`, in lower-case hexadecimal.
pub fn sha256_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_digest_of_abc_is_that_of_fips_180() {
        assert_eq!(
            super::sha256_of(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
