//! Numbers of bytes as they are typed: `512`, `64K`, `64KiB`, `1G`.

/// A number of bytes, or one with K, M, G or T behind it, each a power of 1024.
///
/// # Errors
/// What would serve.
pub fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "not a number of bytes, or one with K, M, G or T behind it".to_owned();
    let unit = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let shift = match unit {
        "" => 0,
        "K" | "k" | "KiB" => 10,
        "M" | "m" | "MiB" => 20,
        "G" | "g" | "GiB" => 30,
        "T" | "t" | "TiB" => 40,
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
    use super::bytes;

    #[test]
    fn units_are_powers_of_1024() {
        for (text, expected) in
            [("512", 512), ("3K", 3072), ("4k", 4096), ("1MiB", 1 << 20), ("2T", 2 << 40)]
        {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for wrong in ["", "K", "-1", "+1", "1 K", "1KB", "1.5G", "8388608T", "99999999999999999999"]
        {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
