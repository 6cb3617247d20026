//! What a guest's console says of its jobs, for where the disk is lost:
//!
//! ```text
//! AUTOXEN-RESULT job=10-fit exit=7
//! AUTOXEN-RESULT job=11-sum exit=124 timed-out
//! AUTOXEN-RESULT job=12-end exit=137 signal=9
//! AUTOXEN-RESULT exit=7
//! ```
//!
//! Lines of a console end in CR LF, and the kernel may write before, behind or, rarely, into them. Of two lines for one job
//! the last one counts.

use std::collections::BTreeMap;

use super::End;

/// The word before each result.
const WORD: &str = "AUTOXEN-RESULT ";

/// Jobs that are remembered.
const JOBS_MAX: usize = 1000;

/// What a console says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Console {
    /// Of each job, by its name.
    pub jobs: BTreeMap<String, End>,
    /// Of all of them: the runner has come to its end.
    pub exit: Option<u8>,
}

/// Read the log of a console.
pub fn read(log: &[u8]) -> Console {
    let mut console = Console::default();
    for line in log.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let line = String::from_utf8_lossy(line);
        let Some((_, result)) = line.rsplit_once(WORD) else { continue };
        let mut words = result.split_ascii_whitespace();
        let Some(first) = words.next() else { continue };
        if let Some(status) = first.strip_prefix("exit=") {
            console.exit = status.parse().ok().or(console.exit);
            continue;
        }
        let Some(name) = first.strip_prefix("job=") else { continue };
        let status = words.next().and_then(|word| word.strip_prefix("exit=")?.parse::<u8>().ok());
        let Some(status) = status else { continue };
        let end = match words.next() {
            Some("timed-out") => End::TimedOut,
            Some(word) => match word.strip_prefix("signal=").and_then(|nr| nr.parse().ok()) {
                Some(signal) => End::Signal(signal),
                None => End::Exit(status),
            },
            None => End::Exit(status),
        };
        if console.jobs.len() < JOBS_MAX || console.jobs.contains_key(name) {
            console.jobs.insert(name.to_owned(), end);
        }
    }
    console
}

#[cfg(test)]
mod tests {
    use super::{End, read};

    #[test]
    fn results_are_found_between_what_others_write() {
        let log = b"[ 3.1] xvda: xvda1\r\nAUTOXEN-RESULT job=10-a exit=7\r\n\x1b[0mAUTOXEN-RESULT job=11-b exit=124 timed-out\r\n\
            [ 4.2] AUTOXEN-RESULT job=12-c exit=137 signal=9\nAUTOXEN-RESULT job=10-a exit=0 [ 5.0] random: ok\n\xff\n\
            AUTOXEN-RESULT job=13-d exit=x\nAUTOXEN-RESULT exit=124\r\n";
        let console = read(log);
        let jobs: Vec<_> = console.jobs.into_iter().collect();
        assert_eq!(
            jobs,
            [
                ("10-a".into(), End::Exit(0)),
                ("11-b".into(), End::TimedOut),
                ("12-c".into(), End::Signal(9)),
            ]
        );
        assert_eq!(console.exit, Some(124));
        assert_eq!(read(b"exit=3\n").exit, None);
    }
}
