//! What a process has from whoever started it, put right before it acts as root.
//!
//! sudo keeps its user's limits, directory, umask, priority and ignored signals. With a limit on the size of files root's copy
//! would end in the middle; with a umask of 0, others could read it; what the user had ignored, xl would ignore. The
//! environment is not touched: nothing here reads it but [`super::caller`], and xl gets one of its own.
//!
//! Not put right: the control group, and a scheduling policy such as `SCHED_IDLE`.

use std::path::Path;
use std::sync::Arc;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit, umask};
use rustix::thread::{CpuSet, sched_setaffinity};
use signal_hook::consts::{
    SIGALRM, SIGCHLD, SIGPIPE, SIGQUIT, SIGTSTP, SIGUSR1, SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU,
};

use crate::failure::{Failure, Result, plain};

/// Files that may be open at once.
const FILES: u64 = 1024;

/// The stack of what is started, in bytes, as Linux has it by default.
const STACK: u64 = 8 << 20;

/// Put umask, signals, limits, priority and directory right. Relative paths lead elsewhere from here on.
///
/// # Errors
/// Where the host refuses what cannot be done without.
pub fn tidy() -> Result<()> {
    umask(Mode::from_raw_mode(0o077));
    // A signal that is handled here has its default in what is started, one that is ignored stays ignored. ^Z is among them:
    // a process that holds the lock that all others wait for is not to be stopped by its terminal.
    for signal in [
        SIGALRM, SIGCHLD, SIGPIPE, SIGQUIT, SIGTSTP, SIGUSR1, SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU,
    ] {
        signal_hook::flag::register(signal, Arc::default())
            .map_err(|e| Failure::new(format!("cannot set signals: {}", plain(&e))))?;
    }
    // No core: it would hold what root has read.
    limit(Resource::Core, Some(0))?;
    limit(Resource::Nofile, Some(FILES))?;
    limit(Resource::Stack, Some(STACK))?;
    for resource in [
        Resource::Cpu,
        Resource::Data,
        Resource::As,
        Resource::Rss,
        Resource::Fsize,
        Resource::Nproc,
        Resource::Memlock,
        Resource::Locks,
        Resource::Rttime,
    ] {
        limit(resource, None)?;
    }
    // Courtesies of the host, which a container may not grant.
    let _ = setpriority_process(None, 0);
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
    let _ = sched_setaffinity(None, &all);
    let _ = std::fs::write("/proc/self/oom_score_adj", "0");
    std::env::set_current_dir("/").map_err(|e| Failure::host("cannot enter", Path::new("/"), &e))
}

/// Set a limit, or in a container whose root may not raise one, what may be had.
fn limit(resource: Resource, wanted: Option<u64>) -> Result<()> {
    let both = |limit| Rlimit { current: limit, maximum: limit };
    let set = setrlimit(resource, both(wanted)).or_else(|_| {
        let Rlimit { maximum, .. } = getrlimit(resource);
        setrlimit(resource, both(maximum))
    });
    set.map_err(|e| {
        Failure::new(format!("cannot set the limit {resource:?}: {}", plain(&e.into())))
    })
}
