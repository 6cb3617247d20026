//! Sizes as they are typed: `64M`, `auto`, `auto+1G`, `auto+20%`, `rest`.

use imgfmt::ext::mkfs::Free;

use crate::bytes::bytes;

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

#[cfg(test)]
mod tests {
    use imgfmt::ext::mkfs::Free;

    use super::Size;

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
}
