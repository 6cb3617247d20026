//! Numbers of bytes, as people read them.

/// `64.0 MiB (67108864 bytes)`.
pub fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut shift = 10;
    let Some(mut unit) = units.first().filter(|_| bytes >= 1024) else {
        return format!("{bytes} bytes");
    };
    for next in &units[1..] {
        if bytes >> (shift + 10) == 0 {
            break;
        }
        (unit, shift) = (next, shift + 10);
    }
    let tenths = (u128::from(bytes) * 10) >> shift;
    format!("{}.{} {unit} ({bytes} bytes)", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_told_twice() {
        for (bytes, shown) in [
            (1023, "1023 bytes"),
            (1024, "1.0 KiB (1024 bytes)"),
            (1 << 20, "1.0 MiB (1048576 bytes)"),
            ((1 << 20) - 1, "1023.9 KiB (1048575 bytes)"),
            (17 << 40, "17.0 TiB (18691697672192 bytes)"),
            (u64::MAX, "15.9 EiB (18446744073709551615 bytes)"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }
}
