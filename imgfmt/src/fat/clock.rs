//! The time that FAT stamps on files: given by the caller, so that the same edit gives the same bytes.
//!
//! FAT keeps a date and a time without a zone, from 1980 to 2107, in steps of two seconds; it is taken as UTC here.

use std::cell::Cell;
use std::fmt;

use fatfs::{Date, DateTime, Time, TimeProvider};

thread_local! {
    /// The crate wants a clock that lives for ever, and the caller's time is known for an edit only.
    static NOW: Cell<u64> = const { Cell::new(0) };
}

/// Run `edit` at `now`, in seconds since 1970.
pub(super) fn at<R>(now: u64, edit: impl FnOnce() -> R) -> R {
    NOW.set(now);
    edit()
}

/// The clock that shows what [`at`] was told.
pub(super) struct Clock;

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

impl TimeProvider for Clock {
    fn get_current_date(&self) -> Date {
        self.get_current_date_time().date
    }

    fn get_current_date_time(&self) -> DateTime {
        date_time(NOW.get())
    }
}

/// `seconds` since 1970, moved into the years that FAT has.
fn date_time(seconds: u64) -> DateTime {
    // 1980-01-01 00:00:00 and 2107-12-31 23:59:58.
    let seconds = seconds.clamp(315_532_800, 4_354_819_198);
    let day_seconds = u16::try_from(seconds % 86_400 / 2).expect("less than 43200");
    let (mut year, mut days) = (1980_u16, (seconds - 315_532_800) / 86_400);
    // 2100 is no leap year.
    let is_leap = |year: u16| year.is_multiple_of(4) && year != 2100;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for len in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < len {
            break;
        }
        days -= len;
        month += 1;
    }
    let day = u16::try_from(days).expect("less than 31") + 1;
    let (hour, min, sec) = (day_seconds / 1800, day_seconds / 30 % 60, day_seconds % 30 * 2);
    DateTime { date: Date { year, month, day }, time: Time { hour, min, sec, millis: 0 } }
}

#[cfg(test)]
mod tests {
    use super::date_time;

    #[test]
    fn seconds_become_a_date_that_fat_has() {
        let text = |seconds| {
            let fatfs::DateTime { date, time } = date_time(seconds);
            format!(
                "{}-{:02}-{:02} {:02}:{:02}:{:02}",
                date.year, date.month, date.day, time.hour, time.min, time.sec
            )
        };
        for (seconds, expected) in [
            (0, "1980-01-01 00:00:00"),
            (1_078_012_799, "2004-02-28 23:59:58"),
            (1_078_012_800, "2004-02-29 00:00:00"),
            (1_078_099_200, "2004-03-01 00:00:00"),
            (1_795_437_908, "2026-11-23 12:45:08"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (u64::MAX, "2107-12-31 23:59:58"),
        ] {
            assert_eq!(text(seconds), expected);
        }
    }
}
