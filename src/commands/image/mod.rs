//! `autoxen image`: verbs for an image, one a file.

mod about;

mod attributes;
mod boot;
mod build;
mod cat;
mod convert;
mod cp;
mod diff;
mod edit;
mod export;
mod grow;
mod import;
mod info;
mod kernel;
mod links;
mod listed;
mod ls;
mod map;
mod names;
mod names_of;
mod open;
mod places;
mod recover;
mod screen;
mod select;
mod session;
mod shown;
mod shown_guest;
mod target;
mod verbs;
mod watched;

use std::process::ExitCode;

use crate::cli::{ImageArgs, ImageCommand, ReadVerb};
use crate::failure::Result;
use crate::report::Talk;

/// Do what `args` says.
pub fn run(args: &ImageArgs, talk: Talk) -> Result<ExitCode> {
    match &args.command {
        ImageCommand::Info(args) => info::run(args, talk),
        ImageCommand::Kernel(args) => kernel::run(args, talk),
        ImageCommand::Recover(args) => recover::run(args, talk),
        ImageCommand::Build(args) => build::run(args, talk),
        ImageCommand::Read(ReadVerb::Ls(args)) => ls::run(args, talk),
        ImageCommand::Read(ReadVerb::Cat(args)) => cat::run(args, talk),
        ImageCommand::Edit(verb) => verbs::run(verb, talk),
        ImageCommand::Read(ReadVerb::Diff(args)) => diff::run(args),
        ImageCommand::Read(ReadVerb::Edit(args)) => edit::run(args, talk),
        ImageCommand::Import(args) => import::run(args, talk),
        ImageCommand::Export(args) => export::run(args, talk),
        ImageCommand::Grow(args) => grow::run(args),
        ImageCommand::Convert(args) => convert::run(args, talk),
    }
}
