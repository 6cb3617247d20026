//! The only printer. Standard output is data, standard error is talk; nothing is said by colour alone.

use std::io::{self, IsTerminal, Write};

use crate::cli::Color;
use crate::diagnostic::Diagnostic;
use crate::failure::{Failure, Result, TWICE, already, plain};
use crate::snippet;
use crate::visible::visible;

/// Where talk goes, and whether in colour.
#[derive(Clone, Copy, Debug)]
pub struct Talk {
    color: bool,
}

impl Talk {
    /// Talk to standard error.
    pub fn new(color: Color) -> Self {
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                io::stderr().is_terminal()
                    && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            }
        };
        Self { color }
    }

    /// Say why a command failed.
    pub fn failure(self, failure: &Failure) {
        match failure {
            Failure::Refused { file, text, findings } => self.findings(file, text, findings),
            Failure::Plain { message, hint } => {
                self.line("error", "\x1b[1;31m", message);
                if let Some(hint) = hint {
                    self.line("hint", "\x1b[1;36m", hint);
                }
            }
            Failure::Interrupted { edited } if edited.is_empty() => {
                self.line("error", "\x1b[1;31m", "interrupted; nothing was left behind")
            }
            Failure::InterruptedBundles { whole, into } => {
                let so_far = format!("bundles that are whole, in `{}`: {whole}", into.display());
                self.line("error", "\x1b[1;31m", &format!("interrupted; {so_far}"))
            }
            Failure::InterruptedCopy { to } => {
                let so_far = format!("what was copied so far is in `{}`", to.display());
                self.line("error", "\x1b[1;31m", &format!("interrupted; {so_far}"))
            }
            Failure::Interrupted { edited } => {
                self.line("error", "\x1b[1;31m", &format!("interrupted; {}", already(edited)));
                let again = format!("run the same command again: {TWICE}");
                self.line("hint", "\x1b[1;36m", &again);
            }
        }
    }

    /// Show findings in `file`, whose decoded text is `text`.
    pub fn findings(self, file: &str, text: &str, findings: &[Diagnostic]) {
        for finding in findings {
            self.write(&snippet::render(file, text, finding, self.color));
        }
    }

    /// Something worth knowing.
    pub fn note(self, text: &str) {
        self.line("note", "\x1b[1;32m", text);
    }

    /// Something to look at.
    pub fn warning(self, text: &str) {
        self.line("warning", "\x1b[1;33m", text);
    }

    fn line(self, word: &str, color: &str, text: &str) {
        // What comes from a file name or an image must not steer the terminal.
        let text = visible(text);
        if self.color {
            self.write(&format!("{color}{word}:\x1b[0m {text}\n"));
        } else {
            self.write(&format!("{word}: {text}\n"));
        }
    }

    fn write(self, text: &str) {
        // Nobody is left to be told where standard error is closed.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

/// Write one line for programs to standard error, in one piece.
pub fn tell(line: &str) {
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// Standard output failed.
pub fn unwritten(error: &io::Error) -> Failure {
    Failure::new(format!("cannot write to standard output: {}", plain(error)))
}

/// Write data to standard output. A reader that has gone away (`| head`) is no failure.
pub fn print_with(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(unwritten(&e)),
        _ => Ok(()),
    }
}

/// Write text to standard output.
pub fn print(text: &str) -> Result<()> {
    print_with(|out| out.write_all(text.as_bytes()))
}

/// Write a value to standard output as JSON on one line.
pub fn print_json_line(value: &impl serde::Serialize) -> Result<()> {
    print_with(|out| {
        serde_json::to_writer(&mut *out, value)?;
        out.write_all(b"\n")
    })
}

/// Write a value to standard output as JSON.
pub fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print_with(|out| {
        serde_json::to_writer_pretty(&mut *out, value)?;
        out.write_all(b"\n")
    })
}
