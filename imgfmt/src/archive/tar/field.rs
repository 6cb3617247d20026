//! Numbers and texts in the fields of a header.
//!
//! ```text
//! "0000644\0"   octal, with blanks or NULs around      80 00 00 02 00 00 00 00   base 256, big-endian, as GNU tar does
//! ```
//! In base 256 the bit below the mark is the sign: `ff ff … fe` is −2.

/// A number that may be negative. `None` where it is none, or needs more than 64 bits.
pub(super) fn signed(field: &[u8]) -> Option<i64> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 == 0 {
        return i64::try_from(octal(field)?).ok();
    }
    let negative = first & 0x40 != 0;
    // The mark is no part of the number: in a negative one it is a sign bit like those above it.
    let first = if negative { i128::from(first) - 256 } else { i128::from(first & 0x3F) };
    let number = rest
        .iter()
        .try_fold(first, |number, &byte| number.checked_mul(256)?.checked_add(i128::from(byte)))?;
    i64::try_from(number).ok()
}

/// A number that cannot be negative.
pub(super) fn unsigned(field: &[u8]) -> Option<u64> {
    u64::try_from(signed(field)?).ok()
}

/// An empty field is 0, as GNU tar reads it.
fn octal(field: &[u8]) -> Option<u64> {
    let text = text(field).trim_ascii();
    text.iter().try_fold(0_u64, |number, &digit| match digit {
        b'0'..=b'7' => number.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// The bytes before the first NUL, or all.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_to_the_base_256() {
        for (field, number) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"77777777", Some(0o77_777_777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"0000648\0", None),
            (b"-000644\0", None),
            (b"\x80\0\0\0\0\0\x02\x01", Some(513)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"", None),
        ] {
            assert_eq!(signed(field), number, "{field:x?}");
        }
        assert_eq!(unsigned(b"\xff\xff\xff\xff\xff\xff\xff\xfe"), None);
    }
}
