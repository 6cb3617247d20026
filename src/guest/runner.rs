//! The program that runs the jobs in a guest, and how a guest is known that has one of its own.
//!
//! A runner of its own is what its init system starts and what names [`DIRECTORY`]: a script, a line of inittab, a unit or
//! the program of a unit. What [`hook`](super::hook) has put there is ours.

use super::hook::{RUNNER, SERVICE};
use super::script::DIRECTORY;

/// The text of our runner: a script of `/bin/sh`.
pub const TEXT: &str = include_str!("run-jobs.sh");

/// What a guest with cloud-init has, one of these at least.
pub const CLOUD_INIT: [&str; 3] =
    ["/usr/bin/cloud-init", "/usr/local/bin/cloud-init", "/usr/sbin/cloud-init"];

/// Files by which init systems start programs.
pub const STARTED: [&str; 5] = [
    "/etc/inittab",
    "/etc/rc.local",
    "/etc/rc.d/rc.local",
    "/etc/init.d/boot.local",
    "/etc/crontab",
];

/// Directories of such files.
pub const STARTED_IN: [&str; 11] = [
    "/etc/init.d",
    "/etc/rc.d/init.d",
    "/etc/rc.d",
    "/etc/local.d",
    "/etc/init",
    "/etc/event.d",
    "/etc/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/etc/sv",
    "/etc/cron.d",
];

/// Bytes of a file, and whether it may be run.
pub type Script = (Vec<u8>, bool);

/// The path of the guest's own runner, among `paths`, which its init systems start, and what those start themselves.
/// `read` gives a file's bytes, and whether it may be run.
pub fn own(
    paths: impl Iterator<Item = String>,
    read: &dyn Fn(&str) -> Option<Script>,
) -> Option<String> {
    for path in paths {
        let name = path.rsplit('/').next().unwrap_or_default();
        if name.split('.').next() == Some(SERVICE) || path == RUNNER {
            continue;
        }
        let Some((bytes, is_program)) = read(&path) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        let is_table = path.ends_with(".service") || path.ends_with(".conf") || is_table(&path);
        if (is_program || is_table) && names_jobs(&text) {
            return Some(path);
        }
        let programs = if is_table { programs(&text) } else { Vec::new() };
        let own = programs.into_iter().filter(|program| program != RUNNER).find(|program| {
            read(program).is_some_and(|(bytes, is_program)| {
                is_program && names_jobs(&String::from_utf8_lossy(&bytes))
            })
        });
        if own.is_some() {
            return own;
        }
    }
    None
}

fn is_table(path: &str) -> bool {
    ["/etc/inittab", "/etc/crontab"].contains(&path) || path.starts_with("/etc/cron.d/")
}

/// Whether a line that is no comment names the directory of jobs.
fn names_jobs(text: &str) -> bool {
    text.lines().any(|line| !line.trim_start().starts_with('#') && line.contains(DIRECTORY))
}

/// The programs that a unit, a job of upstart or a table starts: the first absolute path of a line.
fn programs(text: &str) -> Vec<String> {
    let program = |line: &str| {
        let line = line.trim();
        let command = line
            .strip_prefix("ExecStart=")
            .or_else(|| line.strip_prefix("exec "))
            .or_else(|| line.split_once(':').map(|(_, rest)| rest))?;
        let start = command.find('/')?;
        let word = command[start..].split(|c: char| c.is_whitespace() || c == ';').next()?;
        Some(word.to_owned())
    };
    text.lines().filter_map(program).collect()
}

#[cfg(test)]
mod tests {
    use super::own;

    fn found(files: &[(&str, &str, bool)]) -> Option<String> {
        let read = |path: &str| {
            let file = files.iter().find(|(name, ..)| *name == path)?;
            Some((file.1.as_bytes().to_vec(), file.2))
        };
        own(files.iter().map(|(path, ..)| (*path).to_owned()), &read)
    }

    #[test]
    fn a_program_that_init_starts_and_that_names_the_directory_is_a_runner() {
        let script = "#!/bin/sh\nrun-parts /etc/xenjobs.d\n";
        let is = |files: &[_], path: &str| assert_eq!(found(files).as_deref(), Some(path));
        is(&[("/etc/init.d/xenjobs", script, true)], "/etc/init.d/xenjobs");
        is(&[("/etc/inittab", "::once:/bin/run-parts /etc/xenjobs.d\n", false)], "/etc/inittab");
        is(
            &[
                ("/etc/systemd/system/j.service", "[Service]\nExecStart=-/opt/jobs -a\n", false),
                ("/opt/jobs", script, true),
            ],
            "/opt/jobs",
        );
        is(
            &[("/etc/inittab", "j:3:once:/opt/jobs\n", false), ("/opt/jobs", script, true)],
            "/opt/jobs",
        );
    }

    #[test]
    fn what_is_not_run_a_comment_and_what_is_ours_are_none() {
        for (path, text, is_program) in [
            ("/etc/init.d/xenjobs", "run-parts /etc/xenjobs.d\n", false),
            ("/etc/init.d/x", "# was: run-parts /etc/xenjobs.d\n", true),
            ("/etc/init.d/autoxen-jobs", "exec /etc/autoxen/run-jobs /etc/xenjobs.d\n", true),
            (
                "/etc/systemd/system/autoxen-jobs.service",
                "ConditionPathExists=/etc/xenjobs.d\n",
                false,
            ),
            ("/etc/autoxen/run-jobs", "/etc/xenjobs.d\n", true),
        ] {
            assert_eq!(found(&[(path, text, is_program)]), None, "{path}");
        }
        let table = ("/etc/inittab", "::once:/etc/autoxen/run-jobs\n", false);
        assert_eq!(found(&[table, ("/etc/autoxen/run-jobs", "/etc/xenjobs.d", true)]), None);
    }
}
