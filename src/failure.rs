//! Why a command could not do its work, sorted by how it is told.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::diagnostic::Diagnostic;

/// The way out where a file grows past the limit of the process or of the host's file system.
pub const FILE_TOO_LARGE: &str = "raise the limit (`ulimit -f`), or choose another place with `-o`";

/// What commands return.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// A command's failure. Each ends the program with exit status 2, an interruption with 130.
#[derive(Debug)]
pub enum Failure {
    /// A document was refused: each finding has its place in the text.
    Refused {
        /// The file, as the user named it.
        file: String,
        /// Its decoded text.
        text: String,
        /// What was found, errors and warnings.
        findings: Vec<Diagnostic>,
    },
    /// Anything else, in one line.
    Plain {
        /// What and where: lower case, no full stop.
        message: String,
        /// A way out, if one is known.
        hint: Option<String>,
    },
    /// The user or the system asked us to stop.
    Interrupted {
        /// Images that are edited where they lie, and stay so.
        edited: Vec<PathBuf>,
    },
    /// The same, where bundles that were made before stay.
    InterruptedBundles {
        /// How many of them there are.
        whole: usize,
        /// Where they are, as the user named it.
        into: PathBuf,
    },
    /// The same, where what was copied to the host so far stays.
    InterruptedCopy {
        /// Where it is, as the user named it.
        to: PathBuf,
    },
}

impl Failure {
    /// A failure in one line.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Plain { message: message.into(), hint: None }
    }

    /// A failure of the host at `path`.
    pub fn host(what: &str, path: &Path, error: &io::Error) -> Self {
        let failure = Self::new(format!("{what} `{}`: {}", path.display(), plain(error)));
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                failure.hint("make room there, or choose another place with `-o`")
            }
            io::ErrorKind::FileTooLarge => failure.hint(FILE_TOO_LARGE),
            io::ErrorKind::ReadOnlyFilesystem => failure.hint("choose another place with `-o`"),
            _ => failure,
        }
    }

    /// The same, where the images `edited` are edited already, so that the user knows how things stand.
    #[must_use]
    pub fn after_edits(self, edited: &[PathBuf]) -> Self {
        match self {
            Self::Plain { message, hint } if !edited.is_empty() => {
                let hint = hint.map(|hint| format!("{hint}; then ")).unwrap_or_default();
                Self::Plain {
                    message: format!("{message}; {}", already(edited)),
                    hint: Some(format!("{hint}run the same command again: {TWICE}")),
                }
            }
            other => other,
        }
    }

    /// The same, of one job description of many.
    #[must_use]
    pub fn of_job(self, file: &Path) -> Self {
        match self {
            Self::Plain { message, hint } => {
                let file = file.display();
                let is_named = message.starts_with(&format!("{file}: "));
                let message = if is_named { message } else { format!("{file}: {message}") };
                let hint = hint.map(|hint| hint.replace(" with `-o`", " with `--into`"));
                Self::Plain { message, hint }
            }
            other => other,
        }
    }

    /// Show a way out where one is known.
    #[must_use]
    pub fn any_hint(self, hint: Option<&str>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// Show a way out.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        match self {
            Self::Plain { message, .. } => Self::Plain { message, hint: Some(hint.into()) },
            other => other,
        }
    }
}

/// Why the same command serves again.
pub const TWICE: &str = "an image that is edited twice is as one that is edited once";

/// Which images are edited already.
pub fn already(edited: &[PathBuf]) -> String {
    let names: Vec<String> = edited.iter().map(|path| format!("`{}`", path.display())).collect();
    let are = if names.len() == 1 { "is" } else { "are" };
    format!("{} {are} edited already, and there is no bundle yet", names.join(", "))
}

/// The host's words without Rust's `(os error N)`.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { file, findings, .. } => {
                write!(f, "{file}: refused with {} findings", findings.len())
            }
            Self::Plain { message, .. } => f.write_str(message),
            Self::Interrupted { .. }
            | Self::InterruptedBundles { .. }
            | Self::InterruptedCopy { .. } => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use std::io;

    use super::plain;

    #[test]
    fn the_hosts_words_come_without_their_number() {
        assert_eq!(plain(&io::Error::from_raw_os_error(2)), "no such file or directory");
    }
}
