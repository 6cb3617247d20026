//! How many inodes, as it is typed: `20000`, or `per16K`.

use imgfmt::ext::mkfs::Inodes;

use crate::bytes::bytes;

/// A count, or one for so many bytes.
///
/// # Errors
/// What would serve.
pub fn inodes(text: &str) -> Result<Inodes, String> {
    match text.strip_prefix("per") {
        Some(ratio) => match bytes(ratio)? {
            0 => Err("one inode for no byte".into()),
            ratio => Ok(Inodes::Ratio(ratio)),
        },
        None => text.parse().map(Inodes::Count).map_err(|_| "a number, or as in `per16K`".into()),
    }
}

#[cfg(test)]
mod tests {
    use imgfmt::ext::mkfs::Inodes;

    use super::inodes;

    #[test]
    fn inodes_are_counted_or_rationed() {
        assert_eq!(inodes("20000"), Ok(Inodes::Count(20000)));
        assert_eq!(inodes("per16K"), Ok(Inodes::Ratio(16384)));
        for wrong in ["", "per", "per0", "16K", "-1"] {
            assert!(inodes(wrong).is_err(), "{wrong}");
        }
    }
}
