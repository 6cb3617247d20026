//! `autoxen image`: verbs for an image, one a file.

mod about;
mod build;
mod info;
mod open;
mod recover;
mod shown;

use std::process::ExitCode;

use crate::cli::{ImageArgs, ImageCommand};
use crate::failure::Result;
use crate::report::Talk;

/// Do what `args` says.
pub fn run(args: &ImageArgs, talk: Talk) -> Result<ExitCode> {
    match &args.command {
        ImageCommand::Info(args) => info::run(args, talk),
        ImageCommand::Recover(args) => recover::run(args, talk),
        ImageCommand::Build(args) => build::run(args, talk),
    }
}
