//! Bytes that no hole and no compression is found in.

/// `len` bytes that look random and are the same each time; another `seed` gives others.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    // Xorshift, whose state must not be zero.
    let mut state = seed | 1 << 63;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
