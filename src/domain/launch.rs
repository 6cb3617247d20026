//! Starting the domain of a bundle, and waiting for its end: the one step that wants a privilege, taken by another program.
//!
//! ```text
//! Launcher::Command   sh -c 'CMD "$@"' autoxen BUNDLE       returns when the domain has gone
//! Launcher::Create    [sudo -n] autoxen create BUNDLE        the name, from what it prints
//!                     [sudo -n] autoxen wait NAME            returns when the domain has gone, its results in the bundle
//!                     [sudo -n] autoxen destroy NAME         where it is late, or we are asked to stop
//! ```

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde::Deserialize;

use super::value::Name;
use crate::failure::{Failure, Result, plain};
use crate::interrupt;

/// How much longer than the limit of its document a domain may live: it boots, and it shuts down.
pub const GRACE: Duration = Duration::from_secs(120);

/// How long a launcher may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether the domain has gone.
const INTERVAL: Duration = Duration::from_millis(50);

/// What starts a domain.
#[derive(Clone, Debug)]
pub enum Launcher<'a> {
    /// `autoxen create`, by this program.
    Create {
        /// This program.
        program: PathBuf,
        /// By sudo, for we are not root.
        by_sudo: bool,
    },
    /// A command of the shell, which gets the bundle as its last argument.
    Command(&'a str),
}

/// How a launcher ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The domain has gone.
    Gone,
    /// The launcher says that it failed; how, in words.
    Failed(String),
    /// The domain lived too long, and was ended.
    Late,
    /// The user asked us to stop, and the domain was ended.
    Interrupted,
}

/// What `autoxen create --json` prints, as far as it is of use here.
#[derive(Deserialize)]
struct Created {
    name: Name,
}

/// Start the domain of the bundle in `bundle`, and wait for its end, `limit` at the longest.
///
/// # Errors
/// Where the launcher cannot be started.
pub fn launch(launcher: &Launcher<'_>, bundle: &Path, limit: Option<Duration>) -> Result<Ended> {
    match launcher {
        Launcher::Command(text) => {
            let mut command = Command::new("sh");
            // As `sh -c` has it, `$@` is what follows the name of the shell.
            command.arg("-c").arg(format!("{text} \"$@\"")).arg("autoxen").arg(bundle);
            let mut child = spawn(&mut command)?;
            watch(&mut child, limit, end)
        }
        Launcher::Create { .. } => {
            let created = launcher
                .verb("create")
                .args(["--json", "--prefix", "--quiet", "--"])
                .arg(bundle)
                .stdin(Stdio::null())
                .stderr(talk()?)
                .process_group(0)
                .output()
                .map_err(|e| unstarted(&launcher.verb("create"), &e))?;
            if !created.status.success() {
                return Ok(ended(created.status));
            }
            let Created { name } = serde_json::from_slice(&created.stdout)
                .map_err(|e| Failure::new(format!("`autoxen create` printed no domain: {e}")))?;
            let mut waits = spawn(launcher.verb("wait").args(["--quiet", name.as_str()]))?;
            watch(&mut waits, limit, |child| {
                let begun = Instant::now();
                // It fails where the domain has gone meanwhile, or is between two starts. What waits sees the end, and brings
                // the results.
                while begun.elapsed() < PATIENCE {
                    let mut destroys = launcher.verb("destroy");
                    destroys.arg(name.as_str()).stdin(Stdio::null()).process_group(0);
                    let is_done = destroys.status().is_ok_and(|status| status.success());
                    if is_done || waited(child)?.is_some() {
                        break;
                    }
                    std::thread::sleep(INTERVAL);
                }
                match gone(child)? {
                    true => Ok(()),
                    false => Err(Failure::new(format!("the domain `{name}` is there still"))
                        .hint(format!("`sudo autoxen destroy {name}` ends it"))),
                }
            })
        }
    }
}

impl Launcher<'_> {
    /// A verb of ours.
    fn verb(&self, verb: &str) -> Command {
        let Self::Create { program, by_sudo } = self else {
            unreachable!("a command of the shell has no verbs");
        };
        let mut command = if *by_sudo {
            let mut command = Command::new("sudo");
            // Without a terminal, which is not ours to read from in a process group of its own.
            command.args(["-n", "--"]).arg(program);
            command
        } else {
            // Whoever may have us act as root here may have anything; the bundle is root's own.
            let mut command = Command::new(program);
            for variable in ["SUDO_UID", "DOAS_USER", "PKEXEC_UID"] {
                command.env_remove(variable);
            }
            command
        };
        command.arg(verb);
        command
    }
}

/// Start a command whose output is not ours. In a process group of its own it is ended whole, and not by the terminal's ^C
/// before us.
fn spawn(command: &mut Command) -> Result<Child> {
    let spawned = command.stdin(Stdio::null()).stdout(talk()?).process_group(0).spawn();
    spawned.map_err(|e| unstarted(command, &e))
}

fn unstarted(command: &Command, error: &std::io::Error) -> Failure {
    let program = command.get_program().display();
    let failure = Failure::new(format!("cannot run `{program}`: {}", plain(error)));
    match program.to_string().as_str() {
        "sudo" => failure.hint("run it as root, or name what starts a domain: `--launcher CMD`"),
        _ => failure,
    }
}

/// Standard error, as something to write to.
fn talk() -> Result<Stdio> {
    let copy = rustix::io::dup(std::io::stderr());
    copy.map(Stdio::from).map_err(|e| Failure::new(plain(&e.into())))
}

/// Wait for the child's end; `stop` ends it where it takes longer than `limit`, or the user asks for it.
fn watch(
    child: &mut Child,
    limit: Option<Duration>,
    stop: impl FnOnce(&mut Child) -> Result<()>,
) -> Result<Ended> {
    let begun = Instant::now();
    loop {
        if let Some(status) = waited(child)? {
            return Ok(ended(status));
        }
        let is_late = limit.is_some_and(|limit| begun.elapsed() > limit);
        if is_late || interrupt::asked() {
            stop(child)?;
            return Ok(if is_late { Ended::Late } else { Ended::Interrupted });
        }
        std::thread::sleep(INTERVAL);
    }
}

fn waited(child: &mut Child) -> Result<Option<ExitStatus>> {
    child
        .try_wait()
        .map_err(|e| Failure::new(format!("cannot wait for the launcher: {}", plain(&e))))
}

fn ended(status: ExitStatus) -> Ended {
    if status.success() { Ended::Gone } else { Ended::Failed(status.to_string()) }
}

/// Have a launcher ended.
fn end(child: &mut Child) -> Result<()> {
    for signal in [Signal::TERM, Signal::KILL] {
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // sudo's is not ours to end.
            let _ = rustix::process::kill_process_group(group, signal);
        }
        if gone(child)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether the child ends while there is patience.
fn gone(child: &mut Child) -> Result<bool> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if waited(child)?.is_some() {
            return Ok(true);
        }
        std::thread::sleep(INTERVAL);
    }
    Ok(false)
}
