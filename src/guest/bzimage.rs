//! What a kernel for x86 says of itself: the header of the Linux/x86 boot protocol.
//!
//! ```text
//! byte 0x202   0x20e                            0x200 + that
//! | HdrS |  …  | kernel_version, relative to 0x200 | …  6.1.0-18-amd64 (debian-kernel@…) #1 SMP … NUL
//! ```

/// As many bytes from the start of a kernel tell all that can be told: the offset has 16 bits, the text is cut.
pub const HEAD_LEN: usize = 0x200 + 0x1_0000 + LEN_MAX;
const LEN_MAX: usize = 256;

/// The release, as `uname -r` will say, of the kernel that begins with `head`; `None` where it is no kernel for x86.
pub fn release(head: &[u8]) -> Option<String> {
    if head.get(0x202..0x206) != Some(b"HdrS") {
        return None;
    }
    let offset = usize::from(u16::from_le_bytes([*head.get(0x20e)?, *head.get(0x20f)?]));
    let text = head.get(0x200 + offset..).filter(|_| offset > 0)?;
    let len = text.iter().take(LEN_MAX).position(|byte| *byte == b' ' || *byte == 0)?;
    let release = std::str::from_utf8(&text[..len]).ok()?;
    (!release.is_empty()).then(|| release.to_owned())
}

#[cfg(test)]
mod tests {
    use super::release;

    #[test]
    fn a_kernel_says_its_release() {
        let mut head = vec![0; 0x400];
        head[0x202..0x206].copy_from_slice(b"HdrS");
        assert_eq!(release(&head), None);
        head[0x20e] = 0x40;
        head[0x240..0x250].copy_from_slice(b"2.6.18-8.el5 (x\0");
        assert_eq!(release(&head).as_deref(), Some("2.6.18-8.el5"));
        // Past the end, and without an end.
        head[0x20f] = 0xff;
        assert_eq!(release(&head), None);
        head.truncate(0x210);
        assert_eq!(release(&head), None);
        assert_eq!(release(b""), None);
    }
}
