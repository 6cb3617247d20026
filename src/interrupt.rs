//! A signal asks us to stop: long work looks here between its steps, so that what it began is removed on the way out.

use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Failure, Result};

static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Let SIGINT, SIGTERM and SIGHUP set a flag in place of ending the process at once. A second one ends it.
pub fn install() {
    let stop = STOP.get_or_init(Arc::default);
    for signal in
        [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
    {
        // Registered in this order, the first signal only sets the flag, and the second finds it set and ends us.
        let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(stop));
        let _ = signal_hook::flag::register(signal, Arc::clone(stop));
    }
    // Past the limit of a file's size (`ulimit -f`) a write shall fail, not end the process before it has tidied up.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

/// Whether we were asked to stop.
pub fn asked() -> bool {
    STOP.get().is_some_and(|stop| stop.load(Ordering::Relaxed))
}

/// The same for work that fails in the host's words alone; [`check`] behind it says what it was.
pub fn check_io() -> io::Result<()> {
    if asked() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
}

/// Go on, unless we were asked to stop.
pub fn check() -> Result<()> {
    if asked() { Err(Failure::Interrupted { edited: Vec::new() }) } else { Ok(()) }
}
