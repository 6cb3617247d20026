//! How many files this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many as the host allows. What many threads have open at a time is little, but the usual limit (1,024) is from days
/// when a process had few of them, and a directory in the making cannot be removed without a descriptor.
pub fn raise() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
