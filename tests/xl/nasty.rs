//! Texts that mean something to a parser, a shell or a path.

/// Numbers that look random and are the same in each run (xorshift64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("below a usize")
    }

    /// A text of some pieces that mean something to a parser, a shell or a path.
    pub(crate) fn nasty(&mut self, start: &str) -> String {
        const PIECES: [&str; 58] = [
            "\"",
            "'",
            "\\",
            "\\\"",
            "\\n",
            "\\x41",
            "\\101",
            "\\0",
            "#",
            "# x",
            ";",
            "=",
            ",",
            ",,",
            "[",
            "]",
            "[\"",
            "\" ]",
            "\", \"",
            "(",
            "+=",
            "\n",
            "\r",
            "\r\n",
            "\t",
            "\0",
            "\u{1b}[31m",
            "\u{7f}",
            "\u{85}",
            "\u{a0}",
            "\u{2028}",
            "é",
            "日本",
            "😀",
            "\u{202e}",
            "script=/bin/sh",
            ",script=x,",
            "nbd:",
            "raw:",
            "qcow2:",
            "phy:/dev/sda",
            "aio:",
            "access=ro",
            "vdev=xvdz",
            "format=qcow2",
            "backendtype=phy",
            "backend=1",
            "target=/etc/shadow",
            "\nkernel = \"/x\"",
            "\"\nbootloader = \"/bin/sh",
            ";name=\"x\"",
            "..",
            "/",
            "/../",
            "%s%n",
            "$(id)",
            " ",
            "010",
        ];
        let mut text = start.to_owned();
        for _ in 0..=self.below(4) {
            if self.below(3) == 0 {
                text.push_str("word");
            }
            text.push_str(PIECES[self.below(PIECES.len())]);
        }
        if self.below(50) == 0 {
            text.push_str(&"long".repeat(2000));
        }
        text
    }
}
