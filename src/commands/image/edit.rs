//! `autoxen image edit`: a script of verbs as one transaction. All of it is read and understood before the image is opened.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;

use super::places;
use super::session::{self, Write};
use super::verbs::{self, Said};
use crate::cli::{EditArgs, EditVerb, ScriptReader};
use crate::failure::{Failure, Result, plain};
use crate::inside::address::Naming;
use crate::inside::script::{self, Line, at_line};
use crate::report::Talk;

/// No script of commands is longer, in bytes.
const SCRIPT_MAX: u64 = 64 << 20;

/// Do what the script says.
pub(super) fn run(args: &EditArgs, talk: Talk) -> Result<ExitCode> {
    let (image, path) = places::image_or_inside(&args.image)?;
    if path != Path::new("/") {
        let what = format!("`{}`: a script edits an image, not a path in it", args.image.display());
        return Err(Failure::new(what).hint("write `IMAGE` or `IMAGE#PARTITION`"));
    }
    let name = match &args.file {
        Some(file) => file.display().to_string(),
        None => "standard input".to_owned(),
    };
    let text = read(args.file.as_deref(), &name)?;
    let mut reader = ScriptReader::default();
    let mut commands: Vec<(usize, EditVerb)> = Vec::new();
    for Line { number, words } in script::lines(&text, &name)? {
        let verb =
            reader.read(words).map_err(|e| at_line(Failure::new(meaning(&e)), &name, number))?;
        commands.push((number, verb));
    }
    let write = match (args.dry_run, args.no_sync) {
        (true, _) => Write::Forget,
        (false, true) => Write::NoSync,
        (false, false) => Write::Commit,
    };
    let mut said = Said::default();
    session::edit(&image, write, |tree| {
        commands.iter().try_for_each(|(number, verb)| {
            verbs::apply(verb, Naming::Script, tree, &mut said)
                .map_err(|failure| at_line(failure, &name, *number))
        })
    })?;
    said.print(talk)?;
    Ok(ExitCode::SUCCESS)
}

fn read(file: Option<&Path>, name: &str) -> Result<Vec<u8>> {
    let fail = |e: io::Error| Failure::new(format!("cannot read {name}: {}", plain(&e)));
    let mut text = Vec::new();
    let read = match file {
        Some(file) => {
            File::open(file).and_then(|file| file.take(SCRIPT_MAX + 1).read_to_end(&mut text))
        }
        None => io::stdin().lock().take(SCRIPT_MAX + 1).read_to_end(&mut text),
    };
    if read.map_err(fail)? as u64 > SCRIPT_MAX {
        return Err(Failure::new(format!("{name} is longer than {SCRIPT_MAX} bytes: no script")));
    }
    Ok(text)
}

/// What is wrong with a command, without the usage that would follow.
fn meaning(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelp {
        return "`--help` is no command of a script".to_owned();
    }
    let text = error.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    let text = lines.collect::<Vec<_>>().join(" ");
    text.strip_prefix("error: ").unwrap_or(&text).to_owned()
}
