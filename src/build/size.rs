//! Sizes as they are typed: `64M`, `auto`, `auto+1G`, `auto+20%`, `rest`.

use imgfmt::ext::mkfs::Free;

/// How large a volume is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// So many bytes.
    Bytes(u64),
    /// As large as what is put into it, and so much free.
    Auto(Free),
    /// What the other partitions leave.
    Rest,
}

impl Size {
    /// The size that `text` means.
    ///
    /// # Errors
    /// What would serve.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(free) = text.strip_prefix("auto") else {
            return match text {
                "rest" => Ok(Self::Rest),
                _ => bytes(text).map(Self::Bytes),
            };
        };
        if free.is_empty() {
            return Ok(Self::Auto(Free::default()));
        }
        let free = free
            .strip_prefix('+')
            .ok_or("`auto` stands alone, or as in `auto+1G` and `auto+20%`")?;
        let Some(percent) = free.strip_suffix('%') else {
            return Ok(Self::Auto(Free { bytes: bytes(free)?, percent: 0 }));
        };
        match percent.parse() {
            Ok(percent @ 0..=90) => Ok(Self::Auto(Free { bytes: 0, percent })),
            _ => Err("0 to 90 percent of a file system may be left free".into()),
        }
    }
}

/// A number of bytes, or one with K, M, G or T, each a power of 1024.
///
/// # Errors
/// What would serve.
pub fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "not a number of bytes, or one with K, M, G or T behind it".to_owned();
    let unit = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let shift = match unit {
        "" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - unit.len()].parse().map_err(|_| wrong())?;
    match number.checked_mul(1 << shift) {
        Some(bytes) if i64::try_from(bytes).is_ok() => Ok(bytes),
        _ => Err("no file is that large".into()),
    }
}

#[cfg(test)]
mod tests {
    use imgfmt::ext::mkfs::Free;

    use super::{Size, bytes};

    #[test]
    fn a_size_is_bytes_or_what_it_takes_or_the_rest() {
        let auto = |bytes, percent| Ok(Size::Auto(Free { bytes, percent }));
        assert_eq!(Size::parse("64M"), Ok(Size::Bytes(64 << 20)));
        assert_eq!(Size::parse("auto"), auto(0, 0));
        assert_eq!(Size::parse("auto+1G"), auto(1 << 30, 0));
        assert_eq!(Size::parse("auto+20%"), auto(0, 20));
        assert_eq!(Size::parse("rest"), Ok(Size::Rest));
        for wrong in ["", "auto-1G", "auto+", "auto+91%", "auto+%", "rest+1G", "-1", "+1G", "1GB"] {
            assert!(Size::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn units_are_powers_of_1024() {
        for (text, expected) in [("512", 512), ("3K", 3072), ("1MiB", 1 << 20), ("2T", 2 << 40)] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for wrong in ["K", "1k", "1.5G", "8388608T", "99999999999999999999"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
