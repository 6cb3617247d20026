//! Values of a domain, each checked once, when it is made: what cannot be told to xl, or would mean something else
//! there, is refused by name. So nothing has to be checked where they are written, and a value read back from JSON
//! has passed the same rules.
//!
//! The rules are those of libxlutil, which reads the configuration. A string stands in double quotes, where `"` and `\`
//! are escaped; control characters are refused, for a newline cannot be written, a NUL aborts xl, and the rest is of
//! no use. What stands inside a disk or a network specification must not hold that language's own signs.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Why a value cannot be told to xl.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A character that cannot stand in a quoted string.
    #[error("a control character (U+{code:04X}) in the {what}", code = u32::from(*.char))]
    Control {
        /// Which value.
        what: &'static str,
        /// The character.
        char: char,
    },
    /// The value breaks the rule of its kind.
    #[error("the {what} {rule}: `{value}`")]
    Rule {
        /// Which value.
        what: &'static str,
        /// The rule: `must be …`.
        rule: &'static str,
        /// The value.
        value: String,
    },
    /// Two disks claim one device.
    #[error("two disks claim the device `{0}`")]
    SameDevice(String),
    /// A disk is attached whole and in part.
    #[error("`{0}` is attached both as a whole disk and by partitions")]
    WholeAndPart(String),
    /// The guest type cannot start that way.
    #[error("a guest of type {0} cannot start {1}")]
    Boot(&'static str, &'static str),
}

fn rule(what: &'static str, rule: &'static str, value: &str) -> Error {
    Error::Rule { what, rule, value: value.escape_debug().to_string() }
}

fn no_control(what: &'static str, value: &str) -> Result<(), Error> {
    match value.chars().find(|c| c.is_control()) {
        Some(char) => Err(Error::Control { what, char }),
        None => Ok(()),
    }
}

/// A checked string: made by `new`, read by `as_str`, the same in JSON as the text that it holds.
macro_rules! checked_string {
    ($(#[$docs:meta])* $name:ident) => {
        $(#[$docs])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Check the text.
            ///
            /// # Errors
            /// Where it breaks the rule of this type.
            pub fn new(text: impl Into<String>) -> Result<Self, Error> {
                let text = text.into();
                Self::check(&text)?;
                Ok(Self(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self, Error> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked_string! {
    /// A domain's name: a letter or `_`, then letters, digits, `_`, `.` and `-`, at most 64 bytes, no `..`.
    ///
    /// xl puts it into the path of a log file, and takes a number for a domain's id.
    Name
}

impl Name {
    fn check(text: &str) -> Result<(), Error> {
        let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
        let fits = text.bytes().next().is_some_and(letter)
            && text
                .bytes()
                .all(|byte| letter(byte) || byte.is_ascii_digit() || b".-".contains(&byte))
            && text.len() <= 64
            && !text.contains("..");
        if !fits {
            return Err(rule(
                "domain name",
                "must be letters, digits, `_`, `.` or `-`, begin with a letter",
                text,
            ));
        }
        if text == "Domain-0" {
            return Err(rule("domain name", "must not be that of the host", text));
        }
        Ok(())
    }
}

checked_string! {
    /// The command line of a kernel: one line, no control characters.
    CommandLine
}

impl CommandLine {
    fn check(text: &str) -> Result<(), Error> {
        no_control("kernel command line", text)
    }
}

checked_string! {
    /// A boot loader that the host runs: `pygrub`, or the absolute path of a program.
    Bootloader
}

impl Bootloader {
    fn check(text: &str) -> Result<(), Error> {
        if text == "pygrub" { Ok(()) } else { HostPath::check_as("path of the boot loader", text) }
    }
}

checked_string! {
    /// An absolute path on the host, without `.`, `..` and doubled or trailing slashes.
    ///
    /// It does not end in a comma or a blank: xl drops the comma at the end of a disk's target, and the blank is
    /// nobody's intention.
    HostPath
}

impl HostPath {
    fn check(text: &str) -> Result<(), Error> {
        Self::check_as("path", text)
    }

    fn check_as(what: &'static str, text: &str) -> Result<(), Error> {
        no_control(what, text)?;
        let Some(rest) = text.strip_prefix('/') else {
            return Err(rule(what, "must be absolute", text));
        };
        if rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(rule(what, "must be without `.`, `..` and empty parts", text));
        }
        if text.ends_with([',', ' ']) {
            return Err(rule(what, "must not end in a comma or a blank", text));
        }
        Ok(())
    }

    /// The path, if it is one that xl can be told.
    ///
    /// # Errors
    /// Where it is not UTF-8, or breaks the rule of this type.
    pub fn from_path(path: &Path) -> Result<Self, Error> {
        match path.to_str() {
            Some(text) => Self::new(text),
            None => Err(rule("path", "must be UTF-8", &path.to_string_lossy())),
        }
    }
}

checked_string! {
    /// The name of a file in a bundle: letters, digits, `.`, `_`, `+` and `-`, not `.` in front, at most 128 bytes.
    FileName
}

impl FileName {
    fn check(text: &str) -> Result<(), Error> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
        if text.is_empty() || text.len() > 128 || text.starts_with('.') || !text.bytes().all(fits) {
            return Err(rule("file name", "must be letters, digits, `.`, `_`, `+` or `-`", text));
        }
        Ok(())
    }
}

checked_string! {
    /// A bridge of the host: the name of a network interface, at most 15 bytes.
    Bridge
}

impl Bridge {
    fn check(text: &str) -> Result<(), Error> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if text.is_empty()
            || text.len() > 15
            || matches!(text, "." | "..")
            || !text.bytes().all(fits)
        {
            return Err(rule(
                "bridge",
                "must be letters, digits, `.`, `_` or `-`, at most 15",
                text,
            ));
        }
        Ok(())
    }
}

checked_string! {
    /// A network card's address: six octets in lower-case hexadecimal, joined by colons; not a group's.
    Mac
}

impl Mac {
    fn check(text: &str) -> Result<(), Error> {
        let octet = |part: &str| {
            let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            if part.len() == 2 && part.bytes().all(hex) {
                u8::from_str_radix(part, 16).ok()
            } else {
                None
            }
        };
        let octets: Option<Vec<u8>> = text.split(':').map(octet).collect();
        match octets.as_deref() {
            Some([0, 0, 0, 0, 0, 0]) => Err(rule("mac", "must not be zero", text)),
            Some([first, _, _, _, _, _]) if first & 1 == 0 => Ok(()),
            Some([_, _, _, _, _, _]) => {
                Err(rule("mac", "must not be the address of a group", text))
            }
            _ => Err(rule("mac", "must be six octets such as `00:16:3e:00:00:01`", text)),
        }
    }
}

checked_string! {
    /// A virtual block device: `xvda`, `xvda1` … `xvda255`, `hda` … `hdd63`, `sda` … `sdp15`.
    Vdev
}

impl Vdev {
    fn check(text: &str) -> Result<(), Error> {
        Self::parts(text).map(drop).ok_or_else(|| {
            rule(
                "device",
                "must be one that Xen knows, such as `xvda1` (xvd, hd up to hdd63, sd up to sdp15)",
                text,
            )
        })
    }

    fn parts(text: &str) -> Option<(&str, Option<u32>)> {
        let digits = text.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (disk, number) = text.split_at_checked(text.len().checked_sub(digits)?)?;
        let (letters, last_letter, last_number) = if let Some(letters) = disk.strip_prefix("xvd") {
            (letters, b'z', 255)
        } else if let Some(letters) = disk.strip_prefix("hd") {
            (letters, b'd', 63)
        } else {
            (disk.strip_prefix("sd")?, b'p', 15)
        };
        // libxl numbers the disks of `xvd` in 20 bits; three letters stay below that.
        let count = if last_letter == b'z' { 1..=3 } else { 1..=1 };
        if !count.contains(&letters.len())
            || !letters.bytes().all(|byte| (b'a'..=last_letter).contains(&byte))
        {
            return None;
        }
        if number.is_empty() {
            return Some((disk, None));
        }
        let partition = number.parse().ok().filter(|nr| (1..=last_number).contains(nr))?;
        (!number.starts_with('0')).then_some((disk, Some(partition)))
    }

    /// The disk: `xvda` of `xvda1`.
    pub fn disk(&self) -> &str {
        Self::parts(&self.0).expect("checked when it was made").0
    }

    /// Does it name a partition, which Xen attaches as a device of its own?
    pub fn is_partition(&self) -> bool {
        self.disk().len() < self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_xl_would_take_for_something_else_are_refused() {
        for bad in
            ["", "0", "7up", "a/b", "../x", "a..b", "a b", "é", "Domain-0", "-a", &"a".repeat(65)]
        {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "_x", "job-7.night", &"a".repeat(64)] {
            assert!(Name::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn only_devices_that_xen_knows_pass() {
        for good in ["xvda", "xvda1", "xvdzz255", "hda", "hdd63", "sda", "sdp15"] {
            assert!(Vdev::new(good).is_ok(), "{good:?}");
        }
        for bad in [
            "",
            "xvd",
            "xvd1",
            "xvda0",
            "xvda01",
            "xvda256",
            "hde",
            "hda64",
            "sdq",
            "sda16",
            "sdaa",
            "vda",
            "/dev/xvda",
            "xvdA",
            "xvda1p1",
            "xvda,access=w",
            "xvdé",
            "xvda4294967297",
        ] {
            assert!(Vdev::new(bad).is_err(), "{bad:?}");
        }
        let device = Vdev::new("xvdaa12").expect("valid");
        assert_eq!((device.disk(), device.is_partition()), ("xvdaa", true));
    }

    #[test]
    fn paths_that_a_disk_line_would_change_are_refused() {
        for bad in [
            "", "x", "/", "nbd:/x", "/a//b", "/a/", "/a/./b", "/a/../b", "/a,", "/a ", "/a\n",
            "/a\t", "/a\u{7f}", "/a\u{85}",
        ] {
            assert!(HostPath::new(bad).is_err(), "{bad:?}");
        }
        for good in ["/a", "/a,b", "/a b", "/a\"b\\", "/é", "/script=x,vdev=hda", "/a..b"] {
            assert!(HostPath::new(good).is_ok(), "{good:?}");
        }
        let error = HostPath::new("/a\u{7}").expect_err("a bell");
        assert_eq!(error.to_string(), "a control character (U+0007) in the path");
    }

    #[test]
    fn an_address_is_six_octets_of_one_card() {
        assert!(Mac::new("00:16:3e:00:00:01").is_ok());
        for bad in [
            "",
            "00:16:3e:00:00",
            "00:16:3e:00:00:0",
            "00:16:3E:00:00:01",
            "01:16:3e:00:00:01",
            "00:00:00:00:00:00",
            "00:16:3e:00:00:01:02",
            "00:16:3e:00:00:+1",
            "00:16:3e:00:00:01,bridge=x",
        ] {
            assert!(Mac::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn json_cannot_bring_in_what_new_refuses() {
        assert!(serde_json::from_str::<Bridge>(r#""xenbr0""#).is_ok());
        let error = serde_json::from_str::<Bridge>(r#""br0,script=x""#).expect_err("a comma");
        assert!(error.to_string().starts_with("the bridge must be letters"), "{error}");
    }
}
