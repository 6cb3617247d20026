//! What is signed of an image: its manifest, a text of which there is exactly one spelling.
//!
//! ```text
//! autoxen-image 1
//! name root.img
//! size 2147483648
//! digest tree-sha256:4fc2…
//! creator alice@site
//! created 2026-11-29T12:00:00Z
//! expires 2027-11-29T12:00:00Z        may be left out
//! ```
//!
//! Each line ends with one newline; a keyword, one blank, a value. Numbers are decimal without leading zeros, times are
//! UTC in whole seconds. `name` and `creator` are UTF-8 of at most 255 bytes, neither empty nor with a blank at an end, and
//! without characters that cannot be seen; so there is nothing to escape. A name has no `/`. What is parsed is written
//! again, and refused where that gives other bytes: two readers cannot see two manifests in one signed text.

use std::fmt;

use super::time::Moment;
use crate::digest::tree::Digest;
use crate::visible::is_seen;

/// What the text begins with.
pub const MAGIC: &str = "autoxen-image ";
/// The most bytes of a manifest; none that is written comes near.
pub const MAX_LEN: u64 = 16 << 10;
/// The most bytes of a name.
const NAME_MAX: usize = 255;

/// An image, as it was when it was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    name: String,
    creator: String,
    /// Length of the file in bytes.
    pub size: u64,
    /// Digest of the file.
    pub digest: Digest,
    /// When the manifest was made.
    pub created: Moment,
    /// The last second in which it serves.
    pub expires: Option<Moment>,
}

/// Why a text is no manifest: lower case, to be put behind `garbled manifest: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Garbled(String);

fn garbled(what: impl Into<String>) -> Garbled {
    Garbled(what.into())
}

impl Manifest {
    /// The manifest of an image with this name and creator.
    ///
    /// # Errors
    /// Where one of both cannot stand in a manifest, or it ends before it begins.
    pub fn new(
        name: &str,
        creator: &str,
        (size, digest): (u64, Digest),
        created: Moment,
        expires: Option<Moment>,
    ) -> Result<Self, Garbled> {
        if name.contains('/') {
            return Err(garbled("a name with `/`"));
        }
        if expires.is_some_and(|expires| expires < created) {
            return Err(garbled("it expires before it is made"));
        }
        let [name, creator] = [("name", name), ("creator", creator)].map(|(what, text)| {
            if text.is_empty() || text.len() > NAME_MAX || text.trim() != text {
                let rule = "1 to 255 bytes without blanks at the ends";
                return Err(garbled(format!("a {what} is {rule}")));
            }
            if !text.chars().all(is_seen) {
                return Err(garbled(format!("a {what} with characters that cannot be seen")));
            }
            Ok(text.to_owned())
        });
        Ok(Self { name: name?, creator: creator?, size, digest, created, expires })
    }

    /// Read a manifest.
    ///
    /// # Errors
    /// For any bytes but those that [`Manifest::to_bytes`] gives.
    pub fn parse(bytes: &[u8]) -> Result<Self, Garbled> {
        if bytes.len() as u64 > MAX_LEN {
            return Err(garbled("it is too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| garbled("it is not UTF-8"))?;
        let mut lines = text.lines();
        match lines.next().and_then(|line| line.strip_prefix(MAGIC)) {
            Some("1") => {}
            Some(_) => return Err(garbled("a format of another version than 1")),
            None => return Err(garbled("it does not begin with `autoxen-image 1`")),
        }
        let mut value = |keyword: &'static str| {
            let line = lines.next().unwrap_or_default();
            let value = line.strip_prefix(keyword).and_then(|rest| rest.strip_prefix(' '));
            value.ok_or_else(|| garbled(format!("no `{keyword}` where it belongs")))
        };
        let name = value("name")?;
        let size = value("size")?.parse().map_err(|_| garbled("`size` is no number"))?;
        let digest = value("digest")?.parse().map_err(|e| garbled(format!("`digest` is {e}")))?;
        let creator = value("creator")?;
        let time = |keyword, text| {
            Moment::parse(text).ok_or_else(|| garbled(format!("`{keyword}` is no time in UTC")))
        };
        let created = time("created", value("created")?)?;
        let expires = match value("expires") {
            Ok(text) => Some(time("expires", text)?),
            Err(_) => None,
        };
        let manifest = Self::new(name, creator, (size, digest), created, expires)?;
        if manifest.to_bytes() != bytes {
            return Err(garbled("it is not spelled as manifests are"));
        }
        Ok(manifest)
    }

    /// The text that is signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }

    /// The image's file name, when it was signed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who made it, in their own words: the signature says who vouches for that.
    pub fn creator(&self) -> &str {
        &self.creator
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, creator, size, digest, created, expires } = self;
        write!(f, "{MAGIC}1\nname {name}\nsize {size}\ndigest {digest}\n")?;
        write!(f, "creator {creator}\ncreated {created}\n")?;
        expires.map_or(Ok(()), |expires| writeln!(f, "expires {expires}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Manifest, Moment};

    fn text() -> String {
        format!(
            "autoxen-image 1\nname root é.img\nsize 42\ndigest tree-sha256:{}\ncreator alice@site\n\
             created 2026-11-29T12:00:00Z\nexpires 2027-11-29T12:00:00Z\n",
            "0a".repeat(32)
        )
    }

    #[test]
    fn a_manifest_is_read_and_written_alike() {
        let without = text().replace("expires 2027-11-29T12:00:00Z\n", "");
        for text in [text(), without] {
            let found = Manifest::parse(text.as_bytes()).unwrap();
            assert_eq!(found.to_string(), text);
            assert_eq!(
                (found.name(), found.creator(), found.size),
                ("root é.img", "alice@site", 42)
            );
        }
    }

    #[test]
    fn any_other_spelling_is_refused() {
        let text = text();
        for (from, to) in [
            ("image 1\n", "image 2\n"),
            ("image 1\n", "image 01\n"),
            ("\nname", "\n\nname"),
            ("\n", "\r\n"),
            ("size 42", "size 042"),
            ("size 42", "size +42"),
            ("size 42", "size 42 "),
            ("size 42", "size  42"),
            ("size 42", "size -1"),
            ("size 42", "size 18446744073709551616"),
            ("0a0a", "0A0a"),
            ("12:00:00Z", "12:00:00+00:00"),
            ("name root é.img", "name a/b"),
            ("name root é.img", "name "),
            ("name root é.img", "name a\u{202e}b"),
            ("name root é.img", "name a\tb"),
            ("creator alice@site", "creator alice@site "),
            ("expires 2027", "expires 2025"),
            ("2027-11-29T12:00:00Z\n", "2027-11-29T12:00:00Z"),
            ("2027-11-29T12:00:00Z\n", "2027-11-29T12:00:00Z\nmore 1\n"),
            ("2027-11-29T12:00:00Z\n", "2027-11-29T12:00:00Z\n\n"),
            ("created", "made"),
        ] {
            let bad = text.replacen(from, to, 1);
            assert_ne!(bad, text);
            assert!(Manifest::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let long = text.replace("root é", &"x".repeat(256));
        assert!(Manifest::parse(long.as_bytes()).is_err());
        assert!(Manifest::parse(b"autoxen-image 1\nname \xff\n").is_err());
        assert!(Manifest::parse(&vec![b'a'; 20_000]).is_err());
        assert!(Manifest::parse(b"").is_err());
    }

    #[test]
    fn it_cannot_expire_before_it_is_made() {
        let digest = format!("tree-sha256:{}", "0a".repeat(32)).parse().unwrap();
        let at = |seconds| Moment::new(seconds).unwrap();
        let new = |end| Manifest::new("a", "b", (1, digest), at(100), Some(at(end)));
        assert!(new(100).is_ok() && new(99).is_err());
    }
}
