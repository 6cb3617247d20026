//! For which processor a program is, by the header of an ELF file (elf(5)).
//!
//! ```text
//! byte 0           4            5            18
//! | 7f 45 4c 46 | class 1 2 | data 1 2 | … | e_machine |      2: 64 bits; 1: little-endian
//! ```

/// The processor as `uname -m` names it, of the ELF file that begins with `head`; `None` of anything else, and of a
/// processor that has no name here.
pub fn of(head: &[u8]) -> Option<&'static str> {
    let [0x7f, b'E', b'L', b'F', class, data, ..] = *head else { return None };
    let pair = [*head.get(18)?, *head.get(19)?];
    let is_little = match data {
        1 => true,
        2 => false,
        _ => return None,
    };
    let is_wide = match class {
        1 => false,
        2 => true,
        _ => return None,
    };
    let machine = if is_little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) };
    Some(match (machine, is_wide, is_little) {
        (3, ..) => "i686",
        (62, true, _) => "x86_64",
        (62, false, _) => "x32",
        (40, ..) => "arm",
        (183, _, true) => "aarch64",
        (183, ..) => "aarch64_be",
        (20, ..) => "ppc",
        (21, _, true) => "ppc64le",
        (21, ..) => "ppc64",
        (22, true, _) => "s390x",
        (22, false, _) => "s390",
        (243, true, _) => "riscv64",
        (243, false, _) => "riscv32",
        (8, true, true) => "mips64el",
        (8, true, false) => "mips64",
        (8, false, true) => "mipsel",
        (8, false, false) => "mips",
        (258, true, _) => "loongarch64",
        (50, ..) => "ia64",
        (43, ..) => "sparc64",
        (2 | 18, ..) => "sparc",
        (15, ..) => "parisc",
        (0x9026, ..) => "alpha",
        (4, ..) => "m68k",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn a_program_says_for_which_processor_it_is() {
        let head = |class, data, machine: [u8; 2]| {
            let mut head = [0; 64];
            head[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, data]);
            head[18..20].copy_from_slice(&machine);
            head
        };
        assert_eq!(of(&head(2, 1, [62, 0])), Some("x86_64"));
        assert_eq!(of(&head(1, 1, [3, 0])), Some("i686"));
        assert_eq!(of(&head(2, 2, [0, 22])), Some("s390x"));
        assert_eq!(of(&head(2, 1, [21, 0])), Some("ppc64le"));
        assert_eq!(of(&head(2, 1, [2, 1])), Some("loongarch64"));
        for wrong in [head(0, 1, [62, 0]), head(2, 3, [62, 0]), head(2, 1, [0xff, 0xff])] {
            assert_eq!(of(&wrong), None);
        }
        for short in [&b""[..], b"\x7fELF\x02\x01", b"#!/bin/sh\nexec something else\n"] {
            assert_eq!(of(short), None);
        }
    }
}
