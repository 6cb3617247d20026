//! The program `xl`, started with nothing of its caller's: no variable, no directory, no input, no limit.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use uuid::Uuid;

use super::walk;
use crate::failure::{Failure, Result};
use crate::policy::Refusal;

/// The environment that xl, its scripts and what they start get.
const ENVIRONMENT: [(&str, &str); 3] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("LC_ALL", "C"),
    ("HOME", "/root"),
];

/// How much of what xl says is kept, in bytes.
const TALK_MAX: u64 = 64 << 10;

/// How long xl may take to list or to destroy.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a program with what comes as its input kept open beside, under a number that xl leaves alone: what has the numbers 0
/// to 2 it closes when it goes into the background. A descriptor that is merely not closed at an exec would go to whatever
/// else is started at that moment.
const KEEPING: &str = "exec 9<&0 0</dev/null; exec \"$0\" \"$@\"";

/// xl.
#[derive(Clone, Debug)]
pub struct Xl {
    program: PathBuf,
}

/// A domain that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// Its UUID.
    pub uuid: Uuid,
    /// Its number.
    pub id: u32,
}

impl Xl {
    /// The program at `path`, which only root may have put there.
    ///
    /// # Errors
    /// By the rule `paths.xl`.
    pub fn at(path: &Path) -> Result<Self> {
        match walk::trusted("paths.xl", path)? {
            Some(_) => Ok(Self { program: path.to_owned() }),
            None => {
                let refusal = Refusal::new("paths.xl", format!("there is no `{}`", path.display()));
                Err(refusal
                    .hint("this host has no Xen, or the policy's `paths.xl` is not right")
                    .into())
            }
        }
    }

    /// Create the domain that the file `configuration` describes. What xl says goes to the new file `log`. The xl that stays,
    /// to wait for the domain's end and to start it again where that is wanted, keeps `lock` open, and so locked.
    ///
    /// # Errors
    /// With the first line of what xl said.
    pub fn create(&self, configuration: &Path, log: &Path, lock: &File) -> Result<()> {
        let fail = |e: &std::io::Error| Failure::host("cannot write", log, e);
        let to = File::create_new(log).map_err(|e| fail(&e))?;
        let also = to.try_clone().map_err(|e| fail(&e))?;
        let keep = lock.try_clone().map_err(|e| fail(&e))?;
        let mut command = Command::new("/bin/sh");
        let status = clean(&mut command)
            .args(["-c", KEEPING])
            .arg(&self.program)
            .arg("create")
            .arg(configuration)
            .stdin(keep)
            // Not a pipe: the xl that stays would keep it open.
            .stdout(to)
            .stderr(also)
            .status()
            .map_err(|e| self.unstarted(&e))?;
        if status.success() {
            return Ok(());
        }
        let mut said = Vec::new();
        let _ = File::open(log).and_then(|file| file.take(TALK_MAX).read_to_end(&mut said));
        Err(self.failed("create", &said, &status.to_string()))
    }

    /// The domains that are there.
    ///
    /// # Errors
    /// Where xl fails.
    pub fn list(&self) -> Result<Vec<Live>> {
        let output = self.said("list", &["list", "-v"])?;
        Ok(parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// End a domain at once.
    ///
    /// # Errors
    /// Where xl fails.
    pub fn destroy(&self, live: Live) -> Result<()> {
        self.said("destroy", &["destroy", &live.id.to_string()]).map(drop)
    }

    fn said(&self, verb: &str, arguments: &[&str]) -> Result<Output> {
        let mut child = self
            .command()
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| self.unstarted(&e))?;
        // The site's lock may be held: an xl that hangs is not to hang all the others.
        let (done, is_done) = mpsc::channel::<()>();
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let watch = std::thread::spawn(move || {
            let is_late = is_done.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout);
            if let (true, Some(group)) = (is_late, id) {
                let _ = rustix::process::kill_process_group(group, Signal::KILL);
            }
            is_late
        });
        let read = both(&mut child);
        let output =
            read.and_then(|(stdout, stderr)| Ok(Output { status: child.wait()?, stdout, stderr }));
        drop(done);
        if watch.join().unwrap_or(false) {
            let seconds = PATIENCE.as_secs();
            return Err(Failure::new(format!("xl {verb} did not answer within {seconds} s")));
        }
        let output = output.map_err(|e| self.unstarted(&e))?;
        if output.status.success() {
            return Ok(output);
        }
        Err(self.failed(verb, &output.stderr, &output.status.to_string()))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        clean(&mut command).stdin(Stdio::null());
        command
    }

    fn unstarted(&self, error: &std::io::Error) -> Failure {
        Failure::host("cannot run", &self.program, error)
    }

    fn failed(&self, verb: &str, said: &[u8], status: &str) -> Failure {
        let said = String::from_utf8_lossy(said);
        let lines: Vec<&str> =
            said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let told = |line: &&&str| line.contains("rror") || line.contains("ail");
        let line = lines.iter().find(told).or(lines.last());
        Failure::new(format!("xl {verb} failed: {}", line.map_or(status, |line| *line)))
    }
}

/// All that a child says, with a limit, and to the end.
fn both(child: &mut Child) -> io::Result<(Vec<u8>, Vec<u8>)> {
    fn all(from: Option<impl Read>) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            from.by_ref().take(TALK_MAX << 4).read_to_end(&mut bytes)?;
            io::copy(&mut from, &mut io::sink())?;
        }
        Ok(bytes)
    }
    let stderr = child.stderr.take();
    std::thread::scope(|scope| {
        let stderr = scope.spawn(|| all(stderr));
        let stdout = all(child.stdout.take())?;
        Ok((stdout, stderr.join().unwrap_or_else(|_| Ok(Vec::new()))?))
    })
}

/// Nothing of the caller's. A group of its own: the terminal's ^C does not end it in the middle.
pub(super) fn clean(command: &mut Command) -> &mut Command {
    command.env_clear().envs(ENVIRONMENT).current_dir("/").process_group(0)
}

/// The domains in what `xl list -v` prints:
///
/// ```text
/// Name            ID   Mem VCPUs      State   Time(s)   UUID                                 Reason-Code  Security Label
/// Domain-0         0  1024     1     r-----      10.6   00000000-0000-0000-0000-000000000000        -     -
/// ```
///
/// Names may have blanks and look like anything; the last word that is a UUID is the UUID, and the number is five before.
fn parse(text: &str) -> Vec<Live> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let at =
            words.iter().rposition(|word| word.len() == 36 && Uuid::parse_str(word).is_ok())?;
        let id = words.get(at.checked_sub(5)?)?.parse().ok()?;
        Some(Live { uuid: Uuid::parse_str(words[at]).ok()?, id })
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_read_from_the_right() {
        let text = "\
Name                                        ID   Mem VCPUs\tState\tTime(s)   UUID                            Reason-Code\tSecurity Label
Domain-0                                     0  1024     1     r-----      10.6 00000000-0000-0000-0000-000000000000        -                -
11111111-1111-1111-1111-111111111111         7   256     1     -b----       0.1 22222222-2222-2222-2222-222222222222        -                -
a name with blanks                          12   256     1     --ps--       0.1 33333333-3333-3333-3333-333333333333        0                -
(null)                                      13     0     1     --ps-d       0.1
";
        let found: Vec<(u32, String)> =
            parse(text).into_iter().map(|live| (live.id, live.uuid.to_string())).collect();
        assert_eq!(
            found,
            [
                (0, "00000000-0000-0000-0000-000000000000".to_owned()),
                (7, "22222222-2222-2222-2222-222222222222".to_owned()),
                (12, "33333333-3333-3333-3333-333333333333".to_owned()),
            ]
        );
    }
}
