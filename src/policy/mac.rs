//! Ranges of network cards' addresses: `00:16:3e:00:00:00-00:16:3e:7f:ff:ff`, both ends in it; or one address.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::value::{Error, Mac};

/// Addresses from one to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacRange {
    /// As 48-bit numbers.
    first: u64,
    last: u64,
}

impl MacRange {
    /// Whether `mac` lies in it.
    pub fn contains(&self, mac: &Mac) -> bool {
        (self.first..=self.last).contains(&number(mac))
    }

    /// The address at `index` from the first; the range is gone round, so that every index has one.
    ///
    /// # Errors
    /// Where the range holds addresses that no card can have, and this is one.
    pub fn at(&self, index: u64) -> Result<Mac, Error> {
        let count = self.last - self.first + 1;
        let octets = (self.first + index % count).to_be_bytes();
        let octets: Vec<String> = octets[2..].iter().map(|octet| format!("{octet:02x}")).collect();
        Mac::new(octets.join(":"))
    }
}

/// The address as a number of 48 bits.
fn number(mac: &Mac) -> u64 {
    let octets = mac.as_str().split(':');
    octets.fold(0, |number, octet| {
        (number << 8) | u64::from_str_radix(octet, 16).expect("checked when it was made")
    })
}

impl TryFrom<String> for MacRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        let read = |text: &str| {
            Mac::new(text.to_ascii_lowercase()).map(|mac| number(&mac)).map_err(|e| e.to_string())
        };
        let (first, last) = (read(first)?, read(last)?);
        if first > last {
            return Err(format!("`{text}` ends before it begins"));
        }
        Ok(Self { first, last })
    }
}

impl From<MacRange> for String {
    fn from(range: MacRange) -> Self {
        range.to_string()
    }
}

impl fmt::Display for MacRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |number: u64| {
            let octets = number.to_be_bytes();
            octets[2..].iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":")
        };
        write!(f, "{}-{}", text(self.first), text(self.last))
    }
}

#[cfg(test)]
mod tests {
    use super::MacRange;
    use crate::domain::value::Mac;

    fn range(text: &str) -> Result<MacRange, String> {
        MacRange::try_from(text.to_owned())
    }

    #[test]
    fn a_range_holds_both_its_ends() {
        let range = range("00:16:3E:00:00:FE-00:16:3e:00:01:01").expect("a range");
        let holds = |text: &str| range.contains(&Mac::new(text).expect("an address"));
        assert!(holds("00:16:3e:00:00:fe") && holds("00:16:3e:00:01:01"));
        assert!(!holds("00:16:3e:00:00:fd") && !holds("00:16:3e:00:01:02"));
        assert_eq!(range.at(2).expect("an address").as_str(), "00:16:3e:00:01:00");
        assert_eq!(range.at(4).expect("it goes round").as_str(), "00:16:3e:00:00:fe");
        assert_eq!(range.to_string(), "00:16:3e:00:00:fe-00:16:3e:00:01:01");
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for wrong in ["", "00:16:3e", "00:16:3e:00:00:02-00:16:3e:00:00:01", "01:00:00:00:00:00"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
