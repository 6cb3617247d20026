//! Errors, sorted by what the caller can do about them.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// What imgfmt's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an image could not be read or edited. Messages are lower case and name the one value that matters.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such file or directory inside the image.
    #[error("`{}`: no such file or directory in the image", .0.display())]
    NotFound(PathBuf),
    /// A component of a path inside the image is not a directory.
    #[error("`{}`: not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// A directory stands where a file is wanted.
    #[error("`{}`: is a directory", .0.display())]
    IsADirectory(PathBuf),
    /// Something of that name is there already.
    #[error("`{}`: already exists in the image", .0.display())]
    AlreadyExists(PathBuf),
    /// More than 40 symbolic links on the way, or a circle of them.
    #[error("`{}`: too many levels of symbolic links", .0.display())]
    SymlinkLoop(PathBuf),
    /// A name or path inside the image that no file can have.
    #[error("`{}`: {what}", .path.display())]
    InvalidPath {
        /// The path as it was given.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A file of another kind than the operation can serve (a device node, a fifo).
    #[error("`{}`: {what}", .path.display())]
    WrongKind {
        /// The path inside the image.
        path: PathBuf,
        /// What stands there and why it does not serve.
        what: String,
    },
    /// No extended attribute of that name.
    #[error("`{}`: no extended attribute `{}`", .path.display(), .name.display())]
    NoSuchXattr {
        /// The path inside the image.
        path: PathBuf,
        /// The full name of the attribute.
        name: OsString,
    },
    /// A flag of the inode forbids the operation, to root as well: `FS_IMMUTABLE_FL` or `FS_APPEND_FL`.
    #[error("`{}`: {what}", .path.display())]
    Protected {
        /// The path inside the image.
        path: PathBuf,
        /// Which flag, and how to lift it.
        what: &'static str,
    },
    /// The file system in the image has no room: blocks, inodes or a full directory.
    #[error("no space left in the file system of the image: {0}")]
    NoSpace(String),
    /// A feature of the image that this version does not support, by its name.
    #[error("{0}")]
    Unsupported(String),
    /// The journal has to be replayed, and cannot be here; why, is said.
    #[error("the journal has to be replayed first (needs_recovery): {0}")]
    NeedsRecovery(&'static str),
    /// The file system is marked as not clean.
    #[error("the file system is not clean: {0}")]
    NotClean(String),
    /// The bytes contradict the format.
    #[error("corrupt image: {0}")]
    Corrupt(String),
    /// An archive contradicts its format, ends too early, or has an entry that nothing can take; where and why, is said.
    #[error("archive: {0}")]
    Archive(String),
    /// A path on the host that is not a regular file: a directory, a device, a pipe.
    #[error("`{}`: {what}, not an image file", .path.display())]
    NotAnImage {
        /// The path on the host.
        path: PathBuf,
        /// What stands there.
        what: &'static str,
    },
    /// A backing file of a qcow2 image in a directory that the caller does not allow it in.
    #[error(
        "qcow2: the backing file `{}` of `{}` lies in another directory",
        .place.display(),
        .image.display()
    )]
    BackingElsewhere {
        /// The image that names it.
        image: PathBuf,
        /// Where it lies.
        place: PathBuf,
    },
    /// The caller's progress callback asked to stop.
    #[error("stopped on request")]
    Stopped,
    /// Somebody else has the image open.
    #[error("the image is in use: {0}")]
    Busy(String),
    /// An edit in place was interrupted, and the undo file that brings the image back was not used yet: by
    /// [`recover`](crate::recover), or by opening the image for an edit.
    #[error("`{}`: an edit of it was interrupted and has to be undone first", .0.display())]
    Interrupted(PathBuf),
    /// A file that has the name of an image's undo file, and is not to be used. It was left as it is.
    #[error("`{}` has the name of an undo file, but cannot be used: {what}", .path.display())]
    ForeignUndo {
        /// The file.
        path: PathBuf,
        /// Why not.
        what: String,
    },
    /// The host has no room for what must be written.
    #[error("no space left on the host: {0}")]
    HostFull(String),
    /// The host said no.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the path or offset.
        what: String,
        /// The host's answer.
        source: io::Error,
    },
}

impl Error {
    /// The bytes contradict the format; `what` says where and how.
    pub fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }

    /// An ext file system that is to be repaired before it is edited; `what` says why.
    pub(crate) fn not_clean(what: &str) -> Self {
        Self::NotClean(format!("{what} (run `e2fsck` on it)"))
    }

    /// The host's answer, with what was being done.
    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }
}
