//! `autoxen image ls`: which files are listed, in which order. How one is shown is in [`super::listed`].

use std::cmp::Reverse;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::listed::{Columns, Format, Listed};
use super::{names, places, session};
use crate::cli::LsArgs;
use crate::failure::{Failure, Result};
use crate::inside::glob;
use crate::inside::owner::Accounts;
use crate::inside::tree::{Meta, Tree};
use crate::inside::walk::Walk;
use crate::interrupt;
use crate::report::{Talk, unwritten};

/// List.
pub(super) fn run(args: &LsArgs, talk: Talk) -> Result<ExitCode> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut is_whole = true;
    let groups = places::by_image(&args.places)?;
    let has_several = args.places.len() > 1;
    let images = groups.len();
    let mut is_first = true;
    for (image, paths) in groups {
        let done = session::read(&image, |tree| {
            let is_long = args.long || args.numeric_uid_gid;
            let is_named = is_long && !args.numeric_uid_gid && !args.json;
            let accounts = is_named.then(|| accounts(tree));
            let format = Format {
                is_long,
                has_inode: args.inode,
                is_human: args.human_readable,
                time_style: args.time_style,
                accounts: accounts.as_ref(),
                is_escaped: io::stdout().is_terminal(),
            };
            let image = (images > 1).then(|| session::shown(&image));
            let prefix = image.as_ref().map_or(String::new(), |image| format!("{image}:"));
            let (out, is_first, is_whole) = (&mut out, &mut is_first, &mut is_whole);
            let mut ls = Ls { args, tree, format, image, prefix, talk, out, is_whole, is_first };
            match ls.places(&paths, has_several) {
                Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
                Err(Stop::Output(error)) => Err(unwritten(&error)),
                Err(Stop::Asked(failure)) => Err(failure),
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
    Asked(Failure),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Asked(failure)
    }
}

/// A file or directory: its name as it is listed, and where it is.
type Entry = (OsString, PathBuf, Meta);

struct Ls<'a> {
    args: &'a LsArgs,
    tree: &'a dyn Tree,
    format: Format<'a>,
    /// The image, where what is listed is in several.
    image: Option<String>,
    /// In front of what is named then.
    prefix: String,
    talk: Talk,
    out: &'a mut dyn Write,
    is_whole: &'a mut bool,
    is_first: &'a mut bool,
}

impl Ls<'_> {
    fn places(&mut self, paths: &[PathBuf], has_several: bool) -> Result<(), Stop> {
        let mut found = Vec::new();
        for path in paths {
            match glob::expand(self.tree, path)? {
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
                Ok(meta) => {
                    let mut name = OsString::from(&self.prefix);
                    name.push(&path);
                    match meta.is_dir() && !self.args.directory {
                        true => directories.push((name, path, meta)),
                        false => files.push((name, path, meta)),
                    }
                }
                Err(error) => self.fault(&error),
            }
        }
        self.sort(&mut files);
        self.sort(&mut directories);
        if !files.is_empty() {
            if !*self.is_first && !self.args.json {
                self.out.write_all(b"\n")?;
            }
            self.rows(files)?;
            *self.is_first = false;
        }
        for (_, directory, meta) in directories {
            self.directory(directory, meta, has_headings)?;
        }
        Ok(())
    }

    fn directory(&mut self, top: PathBuf, meta: Meta, has_heading: bool) -> Result<(), Stop> {
        let mut walk = Walk::default();
        let mut left = vec![(top, meta)];
        while let Some((directory, meta)) = left.pop() {
            interrupt::check()?;
            let entered = walk.enter(self.tree, &directory, &meta);
            let entries = match entered.and_then(|()| self.entries(&directory)) {
                Ok(entries) => entries,
                Err(error) => {
                    self.fault(&error);
                    continue;
                }
            };
            if has_heading && !self.args.json {
                if !*self.is_first {
                    self.out.write_all(b"\n")?;
                }
                self.out.write_all(self.prefix.as_bytes())?;
                match self.format.is_escaped {
                    true => write!(self.out, "{}", names::shown(directory.as_os_str()))?,
                    false => self.out.write_all(directory.as_os_str().as_bytes())?,
                }
                self.out.write_all(b":\n")?;
            }
            *self.is_first = false;
            if self.args.recursive {
                let below = entries
                    .iter()
                    .rev()
                    .filter(|(name, _, meta)| meta.is_dir() && name != "." && name != "..");
                left.extend(below.map(|(_, path, meta)| (path.clone(), meta.clone())));
            }
            self.rows(entries)?;
        }
        Ok(())
    }

    fn entries(&mut self, directory: &Path) -> imgfmt::Result<Vec<Entry>> {
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

    fn sort(&self, all: &mut [Entry]) {
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

    fn rows(&mut self, entries: Vec<Entry>) -> Result<(), Stop> {
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
        let value = match row.json(self.tree, self.args.sha256) {
            Ok(mut value) => {
                if let Some(image) = &self.image {
                    value["image"] = image.as_str().into();
                }
                value
            }
            Err(error) => {
                self.fault(&error);
                return Ok(());
            }
        };
        serde_json::to_writer(&mut *self.out, &value).map_err(io::Error::from)?;
        Ok(self.out.write_all(b"\n")?)
    }

    fn fault(&mut self, error: &imgfmt::Error) {
        self.talk.failure(&self.tree.failure(error));
        *self.is_whole = false;
    }
}
