//! `autoxen image`: verbs that look into an image, one a file.

mod info;
mod open;
mod shown;

use std::process::ExitCode;

use crate::cli::{ImageArgs, ImageCommand};
use crate::failure::Result;
use crate::report::Talk;

/// Do what `args` says.
pub fn run(args: &ImageArgs, talk: Talk) -> Result<ExitCode> {
    match &args.command {
        ImageCommand::Info(args) => info::run(args, talk),
    }
}
