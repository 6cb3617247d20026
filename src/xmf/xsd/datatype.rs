//! Simple types: the built-in ones that are served, and their restrictions.
//!
//! A value is taken apart as XML Schema says: first its white space is treated as the type wants, then the rest must
//! have the type's form, then it must keep to the facets.

use crate::xmf::suggest;
use crate::xmf::xml::chars::{is_blank, is_name_char, is_name_start};

/// A built-in type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltIn {
    /// `string`: as it is written.
    String,
    /// `normalizedString`: tabs and line ends are blanks.
    NormalizedString,
    /// `token`: blanks around are nothing, several are one. So it is for all that follow.
    Token,
    /// `NMTOKEN`: name characters.
    NmToken,
    /// `Name`.
    Name,
    /// `NCName`: a name without a colon.
    NcName,
    /// `integer` and all types derived from it, with their bounds, both included.
    Integer(&'static str, Option<i128>, Option<i128>),
}

/// Digits of the largest integer. XML Schema asks for 18 at least; libxml2 takes 24.
const MAX_DIGITS: usize = 24;

const INTEGERS: [BuiltIn; 13] = [
    BuiltIn::Integer("integer", None, None),
    BuiltIn::Integer("nonPositiveInteger", None, Some(0)),
    BuiltIn::Integer("negativeInteger", None, Some(-1)),
    BuiltIn::Integer("nonNegativeInteger", Some(0), None),
    BuiltIn::Integer("positiveInteger", Some(1), None),
    BuiltIn::Integer("long", Some(i64::MIN as i128), Some(i64::MAX as i128)),
    BuiltIn::Integer("int", Some(i32::MIN as i128), Some(i32::MAX as i128)),
    BuiltIn::Integer("short", Some(i16::MIN as i128), Some(i16::MAX as i128)),
    BuiltIn::Integer("byte", Some(i8::MIN as i128), Some(i8::MAX as i128)),
    BuiltIn::Integer("unsignedLong", Some(0), Some(u64::MAX as i128)),
    BuiltIn::Integer("unsignedInt", Some(0), Some(u32::MAX as i128)),
    BuiltIn::Integer("unsignedShort", Some(0), Some(u16::MAX as i128)),
    BuiltIn::Integer("unsignedByte", Some(0), Some(u8::MAX as i128)),
];

const STRINGS: [BuiltIn; 6] = [
    BuiltIn::String,
    BuiltIn::NormalizedString,
    BuiltIn::Token,
    BuiltIn::NmToken,
    BuiltIn::Name,
    BuiltIn::NcName,
];

/// Every type that XML Schema names and that is not served.
const NOT_SERVED: [&str; 25] = [
    "anyType",
    "anySimpleType",
    "boolean",
    "decimal",
    "float",
    "double",
    "duration",
    "dateTime",
    "time",
    "date",
    "gYearMonth",
    "gYear",
    "gMonthDay",
    "gDay",
    "gMonth",
    "hexBinary",
    "base64Binary",
    "anyURI",
    "QName",
    "NOTATION",
    "language",
    "ID",
    "IDREF",
    "ENTITY",
    "NMTOKENS",
];

impl BuiltIn {
    /// The type that XML Schema calls `name`.
    pub fn by_name(name: &str) -> Option<Self> {
        STRINGS.into_iter().chain(INTEGERS).find(|known| known.name() == name)
    }

    /// Whether XML Schema has a type `name` that is not served here.
    pub fn is_not_served(name: &str) -> bool {
        NOT_SERVED.contains(&name) || matches!(name, "IDREFS" | "ENTITIES")
    }

    /// The names of the types that are served.
    pub fn names() -> impl Iterator<Item = &'static str> {
        STRINGS.into_iter().chain(INTEGERS).map(|known| known.name())
    }

    /// Its name in XML Schema.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::NormalizedString => "normalizedString",
            Self::Token => "token",
            Self::NmToken => "NMTOKEN",
            Self::Name => "Name",
            Self::NcName => "NCName",
            Self::Integer(name, _, _) => name,
        }
    }

    /// Whether every value of `self` is one of `base` by derivation, so that `xsi:type` may say so.
    pub fn derives_from(self, base: Self) -> bool {
        match (self, base) {
            (Self::Integer(name, low, high), Self::Integer(base, base_low, base_high)) => {
                let narrower = low.max(base_low) == low
                    && (base_high.is_none() || high.is_some_and(|high| Some(high) <= base_high));
                // The unsigned types come from nonNegativeInteger, not from long, whatever their bounds.
                let apart = name.starts_with("unsigned")
                    && matches!(base, "long" | "int" | "short" | "byte" | "positiveInteger");
                let positive = name == "positiveInteger" && base.starts_with("unsigned");
                narrower && !apart && !positive
            }
            (Self::Integer(..), _) | (_, Self::Integer(..)) => false,
            (derived, base) => {
                let rank = |one| STRINGS.iter().position(|known| *known == one);
                // NMTOKEN and Name are siblings below token; the others form a chain.
                rank(derived) >= rank(base) && (base != Self::NmToken || derived == base)
            }
        }
    }

    /// What a value of this type looks like, for people.
    pub fn describe(self) -> String {
        match self {
            Self::String | Self::NormalizedString | Self::Token => "text".into(),
            Self::NmToken => "letters, digits, `.`, `-`, `_` and `:`".into(),
            Self::Name | Self::NcName => "a name".into(),
            Self::Integer(_, None, None) => "a whole number".into(),
            Self::Integer(_, low, high) => describe_range(low, high),
        }
    }

    /// The white space of a value as this type wants it.
    fn normalise(self, value: &str) -> String {
        match self {
            Self::String => value.to_owned(),
            // libxml2 takes no blanks around a number of a machine's size.
            Self::Integer(name, _, _) if !name.to_ascii_lowercase().ends_with("integer") => {
                value.to_owned()
            }
            Self::NormalizedString => {
                value.chars().map(|c| if is_blank(c) { ' ' } else { c }).collect()
            }
            _ => {
                value.split(is_blank).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
            }
        }
    }

    fn admits(self, value: &str) -> bool {
        match self {
            Self::String | Self::NormalizedString | Self::Token => true,
            Self::NmToken => !value.is_empty() && value.chars().all(is_name_char),
            Self::Name | Self::NcName => {
                value.starts_with(is_name_start)
                    && value.chars().all(is_name_char)
                    && (self == Self::Name || !value.contains(':'))
            }
            // Nor a sign before one that has none.
            Self::Integer(name, ..)
                if name.starts_with("unsigned") && value.starts_with(['+', '-']) =>
            {
                false
            }
            Self::Integer(_, low, high) => integer(value).is_some_and(|number| {
                low.is_none_or(|low| low <= number) && high.is_none_or(|high| number <= high)
            }),
        }
    }
}

/// A type of a schema: a built-in one, and what its values keep to besides.
#[derive(Clone, Debug)]
pub struct SimpleType {
    /// The built-in type below.
    pub base: BuiltIn,
    /// Whether it is a restriction of `base`, and so a type of its own.
    pub restricted: bool,
    /// The values that are allowed; empty allows all.
    pub enumeration: Vec<String>,
    /// The least number, included.
    pub min: Option<i128>,
    /// The greatest number, included.
    pub max: Option<i128>,
}

/// Why a value is none of a type.
#[derive(Debug, PartialEq, Eq)]
pub struct BadValue {
    /// What is wrong.
    pub message: String,
    /// What was expected.
    pub expected: String,
    /// A way out.
    pub hint: Option<String>,
}

impl From<BuiltIn> for SimpleType {
    fn from(base: BuiltIn) -> Self {
        Self { base, restricted: false, enumeration: Vec::new(), min: None, max: None }
    }
}

impl SimpleType {
    /// The value as this type sees it, its white space treated.
    ///
    /// # Errors
    /// The value is none of this type.
    pub fn check(&self, raw: &str) -> Result<String, BadValue> {
        let value = self.base.normalise(raw);
        let shown = suggest::shorten(&value);
        let what =
            if value.is_empty() { "the value is empty".into() } else { format!("`{shown}`") };
        if !self.enumeration.is_empty() && !self.enumeration.contains(&value) {
            let names = self.enumeration.iter().map(String::as_str);
            return Err(BadValue {
                message: if value.is_empty() { what } else { format!("unknown value {what}") },
                expected: suggest::alternatives(names.clone()),
                hint: suggest::did_you_mean(&value, names),
            });
        }
        let in_range = || {
            let Some(number) = integer(&value) else { return true };
            self.min.is_none_or(|min| min <= number) && self.max.is_none_or(|max| number <= max)
        };
        if self.base.admits(&value) && in_range() {
            return Ok(value);
        }
        let expected = match (self.base, self.min, self.max) {
            (base, None, None) => base.describe(),
            (BuiltIn::Integer(_, low, high), min, max) => describe_range(min.or(low), max.or(high)),
            (_, min, max) => describe_range(min, max),
        };
        let message = match (value.is_empty(), integer(&value)) {
            (true, _) => what,
            (_, Some(_)) => format!("{what} is out of range"),
            _ if is_long_integer(&value) => format!("{what} has more than {MAX_DIGITS} digits"),
            _ => format!("{what} is not {expected}"),
        };
        Err(BadValue { message, expected, hint: None })
    }
}

fn describe_range(low: Option<i128>, high: Option<i128>) -> String {
    match (low, high) {
        (Some(low), Some(high)) => format!("a whole number from {low} to {high}"),
        (Some(low), None) => format!("a whole number from {low} on"),
        (None, Some(high)) => format!("a whole number up to {high}"),
        (None, None) => "a whole number".into(),
    }
}

/// The digits of an integer without its leading zeros, and whether it is negative.
fn digits(value: &str) -> Option<(bool, &str)> {
    let (negative, digits) = match value.as_bytes().first() {
        Some(b'-') => (true, &value[1..]),
        Some(b'+') => (false, &value[1..]),
        _ => (false, value),
    };
    let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| (negative, digits.trim_start_matches('0')))
}

fn is_long_integer(value: &str) -> bool {
    digits(value).is_some_and(|(_, digits)| digits.len() > MAX_DIGITS)
}

/// The number that a normalised value is, if it is one of at most `MAX_DIGITS` digits.
pub fn integer(value: &str) -> Option<i128> {
    let (negative, digits) = digits(value).filter(|(_, digits)| digits.len() <= MAX_DIGITS)?;
    let number: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in(name: &str) -> SimpleType {
        BuiltIn::by_name(name).unwrap().into()
    }

    #[test]
    fn white_space_is_treated_as_the_type_wants() {
        assert_eq!(built_in("string").check(" a\t b ").unwrap(), " a\t b ");
        assert_eq!(built_in("normalizedString").check(" a\t b ").unwrap(), " a  b ");
        assert_eq!(built_in("token").check(" a\t b\n").unwrap(), "a b");
        assert_eq!(built_in("integer").check("\n 12 ").unwrap(), "12");
        // A no-break space is no white space to XML.
        assert!(built_in("integer").check("\u{a0}12").is_err());
    }

    #[test]
    fn an_integer_has_a_sign_digits_and_at_most_24_that_count() {
        for good in ["0", "-0", "+1", "007", "123456789012345678901234"] {
            assert!(built_in("integer").check(good).is_ok(), "{good}");
        }
        assert!(built_in("integer").check(&format!("{}7", "0".repeat(60))).is_ok());
        for bad in ["", "-", "1 2", "1.0", "0x1", "1e3", "١", "1234567890123456789012345"] {
            assert!(built_in("integer").check(bad).is_err(), "{bad}");
        }
        assert!(built_in("positiveInteger").check("-0").is_err());
        assert!(built_in("byte").check("-128").is_ok());
        assert!(built_in("byte").check("128").is_err());
        assert!(built_in("byte").check(" 1").is_err());
        assert!(built_in("unsignedByte").check("+1").is_err());
    }

    #[test]
    fn what_is_derived_from_what_is_as_in_the_standard() {
        let derives =
            |a, b| BuiltIn::by_name(a).unwrap().derives_from(BuiltIn::by_name(b).unwrap());
        for (derived, base) in [
            ("integer", "integer"),
            ("byte", "integer"),
            ("byte", "short"),
            ("positiveInteger", "nonNegativeInteger"),
            ("unsignedByte", "unsignedInt"),
            ("unsignedByte", "nonNegativeInteger"),
            ("negativeInteger", "nonPositiveInteger"),
            ("token", "string"),
            ("NCName", "Name"),
            ("NMTOKEN", "token"),
        ] {
            assert!(derives(derived, base), "{derived} {base}");
        }
        for (derived, base) in [
            ("integer", "byte"),
            ("unsignedByte", "long"),
            ("unsignedByte", "short"),
            ("nonNegativeInteger", "positiveInteger"),
            ("positiveInteger", "unsignedLong"),
            ("long", "nonNegativeInteger"),
            ("string", "token"),
            ("Name", "NMTOKEN"),
            ("integer", "string"),
        ] {
            assert!(!derives(derived, base), "{derived} {base}");
        }
    }

    #[test]
    fn a_bad_value_says_what_was_expected() {
        let mut kind = built_in("token");
        kind.enumeration = vec!["pv".into(), "pvh".into(), "hvm".into()];
        let bad = kind.check("pvg").unwrap_err();
        assert_eq!(bad.message, "unknown value `pvg`");
        assert_eq!(bad.expected, "`pv`, `pvh` or `hvm`");
        let mut kind = built_in("positiveInteger");
        kind.max = Some(512);
        let bad = kind.check("1000").unwrap_err();
        assert_eq!(bad.message, "`1000` is out of range");
        assert_eq!(bad.expected, "a whole number from 1 to 512");
    }
}
