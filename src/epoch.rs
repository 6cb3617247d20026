//! The time of all that is written: `SOURCE_DATE_EPOCH`, or the clock.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::failure::{Failure, Result};

/// The last second that ext4 can hold and e2fsck believes, in the year 2310.
const EPOCH_MAX: i64 = (2 << 32) + 0x7fff_ffff;

/// The time of every edit, in seconds since 1970: `SOURCE_DATE_EPOCH`, or the clock.
pub fn now() -> Result<i64> {
    if let Some(given) = given()? {
        return Ok(given);
    }
    // The clock that the kernel's file systems and time(2) go by: the finer one is some milliseconds ahead, and `e2fsck` would
    // find a superblock that was written in the future.
    Ok(clock_gettime(ClockId::RealtimeCoarse).tv_sec.max(0))
}

/// The clock, in seconds since 1970. What is valid, and when something was created for others, is never a question of
/// `SOURCE_DATE_EPOCH`.
///
/// # Errors
/// Where it says less: then all that has an end would be valid.
pub fn clock() -> Result<i64> {
    seconds(SystemTime::now())
}

fn seconds(now: SystemTime) -> Result<i64> {
    let since = now.duration_since(UNIX_EPOCH).ok();
    since.and_then(|since| i64::try_from(since.as_secs()).ok()).ok_or_else(|| {
        Failure::new("the clock is wrong, and so nobody knows what is valid").hint("set the clock")
    })
}

/// `SOURCE_DATE_EPOCH`, where it is set.
pub fn given() -> Result<Option<i64>> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => match text.parse() {
            Ok(seconds @ 0..=EPOCH_MAX) => Ok(Some(seconds)),
            _ => Err(Failure::new(format!("SOURCE_DATE_EPOCH is no time that serves: `{text}`"))
                .hint(format!("a number of seconds since 1970, from 0 to {EPOCH_MAX}"))),
        },
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(Failure::new(format!("SOURCE_DATE_EPOCH: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::seconds;

    #[test]
    fn a_clock_before_1970_is_wrong() {
        assert_eq!(seconds(UNIX_EPOCH + Duration::from_secs(7)).unwrap(), 7);
        let error = seconds(UNIX_EPOCH - Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().starts_with("the clock is wrong"), "{error}");
    }
}
