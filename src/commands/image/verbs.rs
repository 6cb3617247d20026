//! The verbs that edit: one of them from the command line is one transaction, and so are all of a script.

use std::ffi::OsString;
use std::process::ExitCode;

use super::session::{self, Write};
use super::{attributes, cp, links, names_of, places};
use crate::cli::EditVerb;
use crate::failure::Result;
use crate::inside::address::Naming;
use crate::inside::tree::TreeMut;
use crate::report::{self, Talk};

/// What an edit has to say once it is written.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// For standard output: what `-v` asks for.
    pub(super) lines: Vec<String>,
    /// For standard error.
    pub(super) notes: Vec<String>,
}

impl Said {
    /// Say it.
    pub(super) fn print(&self, talk: Talk) -> Result<()> {
        self.notes.iter().for_each(|note| talk.note(note));
        report::print_with(|out| {
            self.lines
                .iter()
                .try_for_each(|line| writeln!(out, "{}", crate::visible::visible(line)))
        })
    }
}

/// Do what the command line says.
pub(super) fn run(verb: &EditVerb, talk: Talk) -> Result<ExitCode> {
    if let EditVerb::Cp(args) = verb {
        return cp::run(args, talk);
    }
    let image = places::one_image(&edited(verb), Naming::CommandLine)?;
    let image = image.expect("only a script leaves it out");
    let mut said = Said::default();
    session::edit(&image, Write::Commit, |tree| apply(verb, Naming::CommandLine, tree, &mut said))?;
    said.print(talk)?;
    Ok(ExitCode::SUCCESS)
}

/// The arguments of `verb` that are in the image that is edited.
fn edited(verb: &EditVerb) -> Vec<OsString> {
    match verb {
        EditVerb::Ln(args) if args.symbolic => args.places.last().cloned().into_iter().collect(),
        EditVerb::Ln(args) => args.places.clone(),
        EditVerb::Cp(args) => args.places.last().cloned().into_iter().collect(),
        EditVerb::Mkdir(args) => args.places.clone(),
        EditVerb::Rm(args) => args.places.clone(),
        EditVerb::Mv(args) => args.places.clone(),
        EditVerb::Chmod(args) => args.places.clone(),
        EditVerb::Chown(args) => args.places.clone(),
    }
}

/// Do it in `tree`, as part of a transaction.
pub(super) fn apply(
    verb: &EditVerb,
    naming: Naming,
    tree: &mut dyn TreeMut,
    said: &mut Said,
) -> Result<()> {
    if naming == Naming::Script {
        // A script names no other image but to copy from.
        places::check_unnamed(&edited(verb))?;
    }
    match verb {
        EditVerb::Cp(args) => cp::apply(args, naming, None, tree, said),
        EditVerb::Mkdir(args) => names_of::mkdir(args, naming, tree, said),
        EditVerb::Rm(args) => names_of::rm(args, naming, tree, said),
        EditVerb::Mv(args) => names_of::mv(args, naming, tree, said),
        EditVerb::Ln(args) => links::ln(args, naming, tree, said),
        EditVerb::Chmod(args) => attributes::chmod(args, naming, tree, said),
        EditVerb::Chown(args) => attributes::chown(args, naming, tree, said),
    }
}
