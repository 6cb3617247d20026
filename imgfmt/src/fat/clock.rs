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
pub(super) fn date_time(seconds: u64) -> DateTime {
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

/// Seconds since 1970 of a date as FAT has it; 0 where there is no such day.
pub(super) fn seconds(found: DateTime) -> u64 {
    let DateTime { date, time } = found;
    if !(1980..=2107).contains(&date.year) || !(1..=12).contains(&date.month) {
        return 0;
    }
    let is_leap = |year: u16| year.is_multiple_of(4) && year != 2100;
    let years: u64 = (1980..date.year).map(|year| 365 + u64::from(is_leap(year))).sum();
    let february = 28 + u64::from(is_leap(date.year));
    let lens = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let month = usize::from(date.month) - 1;
    if date.day == 0 || u64::from(date.day) > lens[month] || time.hour > 23 || time.min > 59 {
        return 0;
    }
    let days = years + lens[..month].iter().sum::<u64>() + u64::from(date.day) - 1;
    let of_day = u64::from(time.hour) * 3600 + u64::from(time.min) * 60 + u64::from(time.sec);
    315_532_800 + days * 86_400 + of_day
}

#[cfg(test)]
mod tests {
    use super::{date_time, seconds};

    #[test]
    fn a_date_becomes_its_seconds_again() {
        for at in [315_532_800, 1_078_012_800, 1_795_437_908, 4_107_542_400, 4_354_819_198] {
            assert_eq!(seconds(date_time(at)), at);
        }
        // Day 0 of month 0 is what a tool writes that knows no time.
        let mut never = date_time(0);
        (never.date.month, never.date.day) = (0, 0);
        assert_eq!(seconds(never), 0);
    }

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
