//! What the host says, in this library's words.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use crate::error::Error;

/// The path that `file` was opened by, for messages; the host may have renamed it since.
pub(crate) fn name(file: &File) -> String {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .map_or_else(|_| "the file".into(), |path| format!("`{}`", path.display()))
}

/// Whether the host has no room, or the user none of its quota.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// An error of reading a disk, which may be damage in the format that it is read through.
pub(crate) fn read_error(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData => {
            let what = error.to_string();
            Error::corrupt(what.strip_prefix("corrupt ").unwrap_or(&what))
        }
        _ => Error::io("cannot read it", error),
    }
}

/// An error of writing `file`: a full host is told apart from all others.
pub(crate) fn write_error(file: &File, what: &str, error: io::Error) -> Error {
    if is_full(&error) {
        Error::HostFull(format!("{}: {what}", name(file)))
    } else {
        Error::io(format!("{}: {what}", name(file)), error)
    }
}

/// What file system `file` lies on: `f_type` of statfs(2).
pub(crate) fn file_system(file: &File) -> Option<u64> {
    rustix::fs::fstatfs(file).ok().and_then(|host| u64::try_from(host.f_type).ok())
}
