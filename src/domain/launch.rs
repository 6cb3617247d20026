//! Starting the domain of a bundle, and waiting for its end: the one step that wants a privilege, taken by another program.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::failure::{Failure, Result, plain};
use crate::interrupt;

/// How much longer than the limit of its document a domain may live: it boots, and it shuts down.
pub const GRACE: Duration = Duration::from_secs(120);

/// How long a launcher may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether the domain has gone.
const INTERVAL: Duration = Duration::from_millis(50);

/// What starts a domain.
#[derive(Clone, Copy, Debug)]
pub enum Launcher<'a> {
    /// `xl create -F`.
    Xl,
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

/// Start the domain `name` of the bundle in `bundle`, and wait for its end, `limit` at the longest.
///
/// # Errors
/// Where the launcher cannot be started.
pub fn launch(
    launcher: Launcher<'_>,
    bundle: &Path,
    name: &str,
    limit: Option<Duration>,
) -> Result<Ended> {
    let mut command = match launcher {
        Launcher::Xl => {
            let mut command = Command::new("xl");
            command.args(["create", "-F"]).arg(bundle.join("domain.cfg"));
            command
        }
        Launcher::Command(text) => {
            // As `sh -c` has it, `$@` is what follows the name of the shell.
            let mut command = Command::new("sh");
            command.arg("-c").arg(format!("{text} \"$@\"")).arg("autoxen").arg(bundle);
            command
        }
    };
    // Its output is not ours. In a process group of its own it is ended whole, and not by the terminal's ^C before us.
    let output = std::io::stderr();
    let output = rustix::io::dup(&output).map_err(|e| Failure::new(plain(&e.into())))?;
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::from(output)).process_group(0).spawn();
    let mut child = spawned.map_err(|e| {
        let program = command.get_program().display().to_string();
        let failure = Failure::new(format!("cannot run `{program}`: {}", plain(&e)));
        match launcher {
            Launcher::Xl => failure.hint(
                "this host has no Xen: `--launcher CMD` names what starts a domain elsewhere",
            ),
            Launcher::Command(_) => failure,
        }
    })?;
    let begun = Instant::now();
    loop {
        if let Some(status) = waited(&mut child)? {
            return Ok(ended(status));
        }
        let is_late = limit.is_some_and(|limit| begun.elapsed() > limit);
        if is_late || interrupt::asked() {
            end(launcher, name, &mut child)?;
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

/// Have the domain ended, and then the launcher.
fn end(launcher: Launcher<'_>, name: &str, child: &mut Child) -> Result<()> {
    if let Launcher::Xl = launcher {
        // It fails where the domain has gone meanwhile.
        let _ = Command::new("xl").args(["destroy", name]).stdin(Stdio::null()).status();
    }
    for signal in [Signal::TERM, Signal::KILL] {
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, signal);
        }
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if waited(child)?.is_some() {
                return Ok(());
            }
            std::thread::sleep(INTERVAL);
        }
    }
    Ok(())
}
