//! Hashes of names, by which large directories are sorted.
//!
//! Three of them: legacy, half MD4 (three rounds instead of MD4's, over 32 bytes at a time) and TEA. Each takes the bytes
//! of a name as signed or unsigned, as the machine did that made the file system: `s_flags` remembers. The lowest bit
//! of a hash is free for the tree.

use crate::ext::geometry::Geometry;

/// The hash of `name`; `None` where the version is not known.
pub(crate) fn hash(geometry: &Geometry, version: u8, name: &[u8]) -> Option<u32> {
    match version {
        0..=2 => Some(hash_with(geometry.hash_seed, version, geometry.hash_unsigned, name)),
        3..=5 => Some(hash_with(geometry.hash_seed, version - 3, true, name)),
        _ => None,
    }
}

fn hash_with(seed: [u32; 4], kind: u8, unsigned: bool, name: &[u8]) -> u32 {
    let seed = match seed {
        [0, 0, 0, 0] => [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476],
        seed => seed,
    };
    let hash = match kind {
        0 => legacy(name, unsigned),
        1 => half_md4(name, seed, unsigned),
        _ => tea(name, seed, unsigned),
    };
    // The greatest value means "past the end" to whoever iterates.
    match hash & !1 {
        0xFFFF_FFFE => 0xFFFF_FFFC,
        hash => hash,
    }
}

fn number(byte: u8, unsigned: bool) -> u32 {
    if unsigned { byte.into() } else { i32::from(byte.cast_signed()).cast_unsigned() }
}

fn legacy(name: &[u8], unsigned: bool) -> u32 {
    let (mut newer, mut older) = (0x12A3_FE2D_u32, 0x37AB_E8F9_u32);
    for &byte in name {
        let mixed = newer ^ number(byte, unsigned).wrapping_mul(7_152_373);
        let mut next = older.wrapping_add(mixed);
        if next & 0x8000_0000 != 0 {
            next = next.wrapping_sub(0x7FFF_FFFF);
        }
        (older, newer) = (newer, next);
    }
    newer << 1
}

/// The first bytes of `name` as `N` numbers, filled up with its length.
fn numbers<const N: usize>(name: &[u8], unsigned: bool) -> [u32; N] {
    let len = u32::try_from(name.len()).expect("255 at most");
    let pad = len | len << 8;
    let pad = pad | pad << 16;
    let mut numbers = [pad; N];
    for (value, chunk) in numbers.iter_mut().zip(name.chunks(4)) {
        *value =
            chunk.iter().fold(pad, |value, &byte| number(byte, unsigned).wrapping_add(value << 8));
    }
    numbers
}

fn half_md4(name: &[u8], seed: [u32; 4], unsigned: bool) -> u32 {
    let mut state = seed;
    let mut rest = name;
    while !rest.is_empty() {
        half_md4_round(&mut state, &numbers(rest, unsigned));
        rest = rest.get(32..).unwrap_or_default();
    }
    state[1]
}

fn half_md4_round(state: &mut [u32; 4], input: &[u32; 8]) {
    type Mix = fn(u32, u32, u32) -> u32;
    const ROUNDS: [(Mix, u32, [usize; 8], [u32; 4]); 3] = [
        (|x, y, z| z ^ (x & (y ^ z)), 0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]),
        (
            |x, y, z| (x & y).wrapping_add((x ^ y) & z),
            0x5A82_7999,
            [1, 3, 5, 7, 0, 2, 4, 6],
            [3, 5, 9, 13],
        ),
        (|x, y, z| x ^ y ^ z, 0x6ED9_EBA1, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]),
    ];
    let [mut a, mut b, mut c, mut d] = *state;
    for (mix, constant, order, shifts) in ROUNDS {
        for (step, index) in order.into_iter().enumerate() {
            let sum = a
                .wrapping_add(mix(b, c, d))
                .wrapping_add(input[index])
                .wrapping_add(constant)
                .rotate_left(shifts[step % 4]);
            (a, b, c, d) = (d, sum, b, c);
        }
    }
    for (word, mixed) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(mixed);
    }
}

fn tea(name: &[u8], seed: [u32; 4], unsigned: bool) -> u32 {
    let (mut left, mut right) = (seed[0], seed[1]);
    let mut rest = name;
    while !rest.is_empty() {
        let key: [u32; 4] = numbers(rest, unsigned);
        let (mut l, mut r, mut sum) = (left, right, 0_u32);
        for _ in 0..16 {
            sum = sum.wrapping_add(0x9E37_79B9);
            l = l.wrapping_add(tea_mix(r, sum, key[0], key[1]));
            r = r.wrapping_add(tea_mix(l, sum, key[2], key[3]));
        }
        left = left.wrapping_add(l);
        right = right.wrapping_add(r);
        rest = rest.get(16..).unwrap_or_default();
    }
    left
}

fn tea_mix(half: u32, sum: u32, first: u32, second: u32) -> u32 {
    (half << 4).wrapping_add(first) ^ half.wrapping_add(sum) ^ (half >> 5).wrapping_add(second)
}

#[cfg(test)]
mod tests {
    use super::hash_with;

    // From `debugfs -R "dx_hash -h KIND -s UUID NAME"`, whose bytes are signed; the UUID is that of the seed.
    #[test]
    fn names_hash_as_debugfs_says() {
        // 11111111-2222-4333-8444-555555555555, each four bytes little-endian.
        let seed = [0x1111_1111, 0x3343_2222, 0x5555_4484, 0x5555_5555];
        let long = "a-name-of-more-than-thirty-two-bytes-\u{e9}";
        for (kind, seed, name, expected) in [
            (0, seed, "fstab", 0x7092_4ae2),
            (0, seed, long, 0xeb51_1844),
            (1, seed, "fstab", 0x4f07_0bc2),
            (1, seed, long, 0x79bf_0ed6),
            (1, [0; 4], "fstab", 0xe7d9_3392),
            (2, seed, "fstab", 0xdb98_bd96),
            (2, seed, long, 0xde61_7a2e),
            (2, [0; 4], "fstab", 0xffaa_d092),
        ] {
            let hash = hash_with(seed, kind, false, name.as_bytes());
            assert_eq!(hash, expected, "{kind} {name}");
        }
    }

    #[test]
    fn signs_matter_for_bytes_past_127_alone() {
        for kind in 0..3 {
            let both = |name: &str| {
                (
                    hash_with([0; 4], kind, false, name.as_bytes()),
                    hash_with([0; 4], kind, true, name.as_bytes()),
                )
            };
            assert_eq!(both("fstab").0, both("fstab").1, "{kind}");
            assert_ne!(both("\u{e9}").0, both("\u{e9}").1, "{kind}");
        }
    }
}
