//! `autoxen image ls`: which files are listed, in which order. How one is shown is in [`super::listed`].

use std::cmp::Reverse;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::listed::{Columns, Format, Listed};
use super::{names, places, session};
use crate::cli::LsArgs;
use crate::failure::{Failure, Result, plain};
use crate::inside::glob;
use crate::inside::owner::Accounts;
use crate::inside::tree::{Meta, Tree};
use crate::report::Talk;

/// List.
pub(super) fn run(args: &LsArgs, talk: Talk) -> Result<ExitCode> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut is_whole = true;
    let groups = places::by_image(&args.places)?;
    let has_several = args.places.len() > 1;
    for (image, paths) in groups {
        let done = session::read(&image, |tree| {
            let accounts = accounts(tree);
            let is_long = args.long || args.numeric_uid_gid;
            let format = Format {
                is_long,
                has_inode: args.inode,
                is_human: args.human_readable,
                time_style: args.time_style,
                accounts: (!args.numeric_uid_gid).then_some(&accounts),
                is_escaped: io::stdout().is_terminal(),
            };
            let mut ls =
                Ls { args, tree, format, talk, out: &mut out, is_whole: true, is_first: true };
            let result = ls.places(&paths, has_several);
            is_whole &= ls.is_whole;
            match result {
                Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
                Err(Stop::Output(error)) => Err(unwritten(&error)),
                Err(Stop::Tree(error)) => Err(tree.failure(&error)),
                Ok(()) => Ok(true),
            }
        })?;
        if !done {
            return Ok(ExitCode::SUCCESS);
        }
    }
    match out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(unwritten(&error)),
        _ => {}
    }
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn unwritten(error: &io::Error) -> Failure {
    Failure::new(format!("cannot write to standard output: {}", plain(error)))
}

/// The users and groups that the image knows; none where it has no such files.
pub(super) fn accounts(tree: &dyn Tree) -> Accounts {
    // A file of accounts that is longer than this is none.
    let read = |path: &str| {
        let mut bytes = Vec::new();
        let path = Path::new(path);
        match tree.metadata(path, true) {
            Ok(meta) if meta.len <= 16 << 20 => {
                let _ = tree.copy_to(path, &mut bytes);
            }
            _ => {}
        }
        bytes
    };
    Accounts::parse(&read("/etc/passwd"), &read("/etc/group"))
}

/// Why nothing more is listed.
enum Stop {
    Output(io::Error),
    Tree(imgfmt::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

struct Ls<'a> {
    args: &'a LsArgs,
    tree: &'a dyn Tree,
    format: Format<'a>,
    talk: Talk,
    out: &'a mut dyn Write,
    is_whole: bool,
    is_first: bool,
}

impl Ls<'_> {
    fn places(&mut self, paths: &[PathBuf], has_several: bool) -> Result<(), Stop> {
        let mut found = Vec::new();
        for path in paths {
            match glob::expand(self.tree, path) {
                Ok(all) => found.extend(all),
                Err(error) => self.fault(&error),
            }
        }
        let has_headings = has_several || found.len() > 1 || self.args.recursive;
        let (mut files, mut directories) = (Vec::new(), Vec::new());
        for path in found {
            // A link on the command line is followed where it leads to a directory, but for a long listing.
            let follow = !(self.args.directory || self.args.long || self.args.json);
            let ends_in_slash = path.as_os_str().as_bytes().ends_with(b"/");
            let meta = match self.tree.metadata(&path, follow || ends_in_slash) {
                Err(imgfmt::Error::NotFound(_)) => self.tree.metadata(&path, false),
                other => other,
            };
            match meta {
                Ok(meta) if meta.is_dir() && !self.args.directory => directories.push(path),
                Ok(meta) => files.push((path.clone().into_os_string(), path, meta)),
                Err(error) => self.fault(&error),
            }
        }
        if !files.is_empty() {
            self.rows(files)?;
            self.is_first = false;
        }
        for directory in directories {
            self.directory(&directory, has_headings)?;
        }
        Ok(())
    }

    fn directory(&mut self, top: &Path, has_heading: bool) -> Result<(), Stop> {
        let mut left = vec![top.to_owned()];
        let mut seen = HashSet::new();
        while let Some(directory) = left.pop() {
            let entries = match self.entries(&directory) {
                Ok(entries) => entries,
                Err(error) => {
                    self.fault(&error);
                    continue;
                }
            };
            if has_heading && !self.args.json {
                if !self.is_first {
                    self.out.write_all(b"\n")?;
                }
                match self.format.is_escaped {
                    true => write!(self.out, "{}", names::shown(directory.as_os_str()))?,
                    false => self.out.write_all(directory.as_os_str().as_bytes())?,
                }
                self.out.write_all(b":\n")?;
            }
            self.is_first = false;
            if self.args.recursive {
                let below = entries.iter().rev().filter(|(name, _, meta)| {
                    // A directory that holds itself would have no end.
                    let is_new = meta.id == (0, 0) || seen.insert(meta.id);
                    meta.is_dir() && name != "." && name != ".." && is_new
                });
                left.extend(below.map(|(_, path, _)| path.clone()));
            }
            self.rows(entries)?;
        }
        Ok(())
    }

    fn entries(&mut self, directory: &Path) -> imgfmt::Result<Vec<(OsString, PathBuf, Meta)>> {
        let mut all = Vec::new();
        let is_shown = |name: &OsStr| {
            let everything = self.args.all || self.args.almost_all || self.args.json;
            everything || !name.as_bytes().starts_with(b".")
        };
        let mut listed = self.tree.read_dir(directory)?;
        listed.retain(|name| is_shown(name));
        if self.args.all && !self.args.json {
            for name in [".", ".."] {
                let path = directory.join(name);
                all.push((name.into(), path.clone(), self.tree.metadata(&path, true)?));
            }
        }
        for name in listed {
            let path = directory.join(&name);
            match self.tree.metadata(&path, false) {
                Ok(meta) => all.push((name, path, meta)),
                Err(error) => self.fault(&error),
            }
        }
        self.sort(&mut all);
        Ok(all)
    }

    fn sort(&self, all: &mut [(OsString, PathBuf, Meta)]) {
        all.sort_by(|a, b| a.0.cmp(&b.0));
        if self.args.by_size {
            all.sort_by_key(|(_, _, meta)| Reverse(meta.len));
        } else if self.args.by_time {
            all.sort_by_key(|(_, _, meta)| Reverse(meta.mtime));
        }
        if self.args.reverse {
            all.reverse();
        }
    }

    fn rows(&mut self, entries: Vec<(OsString, PathBuf, Meta)>) -> Result<(), Stop> {
        let mut rows = Vec::with_capacity(entries.len());
        for (name, path, meta) in entries {
            match Listed::new(self.tree, name, path, meta, self.format.is_long || self.args.json) {
                Ok(row) if self.args.json => self.json(&row)?,
                Ok(row) => rows.push(row),
                Err(error) => self.fault(&error),
            }
        }
        let columns = Columns::of(&rows, &self.format);
        for row in &rows {
            row.write(&self.format, &columns, self.out)?;
        }
        Ok(())
    }

    fn json(&mut self, row: &Listed) -> Result<(), Stop> {
        let value = row.json(self.tree, self.args.sha256).map_err(Stop::Tree)?;
        serde_json::to_writer(&mut *self.out, &value).map_err(io::Error::from)?;
        Ok(self.out.write_all(b"\n")?)
    }

    fn fault(&mut self, error: &imgfmt::Error) {
        self.talk.failure(&self.tree.failure(error));
        self.is_whole = false;
    }
}
