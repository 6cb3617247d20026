//! `autoxen image cat`: files of images on standard output, one after another.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::watched::Watched;
use super::{places, session};
use crate::cli::CatArgs;
use crate::failure::Result;
use crate::inside::glob;
use crate::inside::tree::Tree;
use crate::report::{Talk, unwritten};

/// Why nothing more is printed.
enum Stop {
    /// The reader has gone away.
    Closed,
    /// Standard output failed.
    Output(io::Error),
}

/// Print the files.
pub(super) fn run(args: &CatArgs, talk: Talk) -> Result<ExitCode> {
    let mut is_whole = true;
    let mut out = io::BufWriter::with_capacity(64 << 10, io::stdout().lock());
    for (image, paths) in places::by_image(&args.places)? {
        let stop = session::read(&image, |tree| {
            for path in paths {
                let files = match glob::expand(tree, &path)? {
                    Ok(files) => files,
                    Err(error) => {
                        talk.failure(&tree.failure(&error));
                        is_whole = false;
                        continue;
                    }
                };
                for file in files {
                    match print(tree, &file, &mut out) {
                        Ok(Ok(())) => {}
                        Ok(Err(stop)) => return Ok(Some(stop)),
                        Err(error) => {
                            talk.failure(&tree.failure(&error));
                            is_whole = false;
                        }
                    }
                }
            }
            Ok(None)
        })?;
        match stop {
            None => {}
            Some(Stop::Closed) => return Ok(ExitCode::SUCCESS),
            Some(Stop::Output(error)) => return Err(unwritten(&error)),
        }
    }
    match out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(unwritten(&error)),
        _ => {}
    }
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// The outer error is the image's, the inner one standard output's.
fn print(tree: &dyn Tree, path: &Path, out: &mut dyn Write) -> imgfmt::Result<Result<(), Stop>> {
    let mut watched = Watched::new(out);
    let copied = tree.copy_to(path, &mut watched);
    match (watched.error(), copied) {
        (Some(error), _) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Err(Stop::Closed)),
        (Some(error), _) => Ok(Err(Stop::Output(error))),
        (None, Ok(_)) => Ok(Ok(())),
        (None, Err(error)) => Err(error),
    }
}
