//! `autoxen completions`: what a shell completes, made from the command line's own description.

use clap_complete::Shell;

use crate::cli;
use crate::failure::Result;
use crate::report;

/// Print the completion script of `shell`.
pub fn run(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::described(), "autoxen", &mut script);
    report::print_with(|out| out.write_all(&script))
}
