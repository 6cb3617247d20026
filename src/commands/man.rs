//! `autoxen man`: the man pages, made from the command line's own description.

use std::fs;
use std::path::Path;

use crate::cli;
use crate::failure::{Failure, Result};

/// Write `autoxen.1` and one page for each verb into `directory`.
pub fn run(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).map_err(|e| Failure::host("cannot create", directory, &e))?;
    clap_mangen::generate_to(cli::described(), directory)
        .map_err(|e| Failure::host("cannot write to", directory, &e))
}
