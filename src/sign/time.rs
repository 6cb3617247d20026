//! Times as manifests, lines of allowed signers and the command line have them.
//!
//! ```text
//! manifest         2026-11-29T12:00:00Z
//! allowed signers  20261129  202611291200  20261129120000, of the local time zone, or with Z behind, of UTC
//! command line     90d, 2w, 12h; 2027-01-31; 2027-01-31T12:00:00Z
//! ```

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// A moment, in whole seconds since 1970, from 1970 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i64);

/// The last second that a timestamp of jiff can be: 9999-12-30T22:00:00Z, before the year 10000 in any time zone.
const LAST: i64 = 253_402_207_200;

impl Moment {
    /// The moment `seconds` after 1970 began; `None` outside of the years that can be written.
    pub fn new(seconds: i64) -> Option<Self> {
        (0..=LAST).contains(&seconds).then_some(Self(seconds))
    }

    /// Seconds since 1970.
    pub fn seconds(self) -> i64 {
        self.0
    }

    /// The moment that a manifest's text names: exactly what [`Moment`]'s `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let moment = Self::new(text.parse::<Timestamp>().ok()?.as_second())?;
        (moment.to_string() == text).then_some(moment)
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = Timestamp::from_second(self.0).expect("within the years of jiff");
        write!(f, "{}", time.strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

/// The time that an option of allowed signers names, in `zone` unless it says UTC.
pub fn of_option(text: &str, zone: &TimeZone) -> Option<Moment> {
    let (digits, zone) = match text.strip_suffix(['Z', 'z']) {
        Some(digits) => (digits, TimeZone::UTC),
        None => match text.strip_suffix("UTC") {
            Some(digits) => (digits, TimeZone::UTC),
            None => (text, zone.clone()),
        },
    };
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number =
        |at: std::ops::Range<usize>| digits.get(at).map_or(Some(0), |two| two.parse::<i8>().ok());
    let date = Date::new(digits[..4].parse().ok()?, number(4..6)?, number(6..8)?).ok()?;
    let time = Time::new(number(8..10)?, number(10..12)?, number(12..14)?, 0).ok()?;
    let zoned = DateTime::from_parts(date, time).to_zoned(zone).ok()?;
    // ssh-keygen takes no time from before 1970 either, nor its first second.
    Moment::new(zoned.timestamp().as_second()).filter(|moment| moment.0 > 0)
}

/// When something ends that begins `now`: after days, weeks or hours, or at a date, which is at its first second in UTC.
pub fn of_end(text: &str, now: Moment) -> Option<Moment> {
    if let Some(moment) = Moment::parse(text) {
        return Some(moment);
    }
    if let Ok(date) = text.parse::<Date>()
        && date.to_string() == text
    {
        let zoned: Zoned = date.to_zoned(TimeZone::UTC).ok()?;
        return Moment::new(zoned.timestamp().as_second());
    }
    let unit = match text.chars().last()? {
        'h' => 3600,
        'd' => 86400,
        'w' => 7 * 86400,
        _ => return None,
    };
    let count = &text[..text.len() - 1];
    if count.is_empty() || !count.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let seconds = count.parse::<i64>().ok()?.checked_mul(unit)?;
    Moment::new(now.0.checked_add(seconds)?)
}

#[cfg(test)]
mod tests {
    use jiff::tz::{TimeZone, offset};

    use super::{Moment, of_end, of_option};

    #[test]
    fn a_moment_has_one_text() {
        let text = "2026-11-29T12:00:00Z";
        assert_eq!(Moment::parse(text).unwrap().seconds(), 1_795_953_600);
        assert_eq!(Moment::parse(text).unwrap().to_string(), text);
        for bad in [
            "2026-11-29T12:00:00+00:00",
            "2026-11-29T12:00:00.0Z",
            "2026-11-29 12:00:00Z",
            "2026-11-29t12:00:00z",
            "2026-11-29T12:00:60Z",
            "2026-11-31T12:00:00Z",
            "1969-12-31T23:59:59Z",
            "+002026-11-29T12:00:00Z",
            "2026-11-29",
            "",
        ] {
            assert_eq!(Moment::parse(bad), None, "{bad}");
        }
        assert_eq!(Moment::new(super::LAST).unwrap().to_string(), "9999-12-30T22:00:00Z");
        assert_eq!(Moment::new(super::LAST + 1), None);
    }

    #[test]
    fn an_option_is_of_the_local_zone_unless_it_says_utc() {
        let tokyo = TimeZone::fixed(offset(9));
        let of = |text| of_option(text, &tokyo).map(|moment| moment.to_string());
        for (text, expected) in [
            ("20260102", "2026-01-01T15:00:00Z"),
            ("20260102Z", "2026-01-02T00:00:00Z"),
            ("20260102UTC", "2026-01-02T00:00:00Z"),
            ("202601021234Z", "2026-01-02T12:34:00Z"),
            ("20260102123456", "2026-01-02T03:34:56Z"),
        ] {
            assert_eq!(of(text).as_deref(), Some(expected), "{text}");
        }
        for bad in [
            "",
            "Z",
            "2026",
            "20261301",
            "20260231",
            "2026010225",
            "202601022500",
            "2026-1-2",
            "19700101Z",
            "２０２６",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_end_is_a_distance_or_a_date() {
        let now = Moment::parse("2026-11-29T12:00:00Z").unwrap();
        let of = |text| of_end(text, now).map(|moment| moment.to_string());
        for (text, expected) in [
            ("90d", "2027-02-27T12:00:00Z"),
            ("2w", "2026-12-13T12:00:00Z"),
            ("12h", "2026-11-30T00:00:00Z"),
            ("0d", "2026-11-29T12:00:00Z"),
            ("2027-01-31", "2027-01-31T00:00:00Z"),
            ("2027-01-31T12:00:00Z", "2027-01-31T12:00:00Z"),
        ] {
            assert_eq!(of(text).as_deref(), Some(expected), "{text}");
        }
        for bad in [
            "",
            "d",
            "90",
            "-1d",
            "+1d",
            "1.5d",
            "90 d",
            "99999999999999999999d",
            "9999999d",
            "2027-1-31",
            "ä",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
