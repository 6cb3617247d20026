//! `autoxen image export`: a directory of an image as a tar archive.
//!
//! ```text
//! ext ─▶ entries ─▶ tar ─▶ gzip, zstd, xz ─▶ file under a temporary name ─▶ sync, rename
//!                                         └▶ standard output
//! ```

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use imgfmt::archive::{Content, Entry, ExtSource, Packer, Sink, Source, TarSink, Warn};
use imgfmt::compressed::Compression;
use imgfmt::{Error, Result as FormatResult};
use serde_json::json;

use super::build::tell;
use super::places;
use super::session::{self, Read};
use crate::cli::{Compress, ImageExportArgs};
use crate::failure::{Failure, Result, plain};
use crate::inside::entries::TreeSource;
use crate::inside::tree::{Tree, resolved};
use crate::interrupt;
use crate::newfile::{Existing, Staged, cannot_write, there};
use crate::progress::{Bar, Progress};
use crate::report::{self, Talk};

/// Make the archive.
pub(super) fn run(args: &ImageExportArgs, talk: Talk) -> Result<ExitCode> {
    let (image, path) = places::image_or_inside(&args.place)?;
    let target = args.output.as_deref().filter(|path| *path != Path::new("-"));
    let compression = compression(args.compress, target);
    let existing = match target {
        Some(target) => refuse_target(target, &image.file, args.force)?,
        None => refuse_output(args.json).map(|()| Existing::Keep)?,
    };
    let progress = Progress::new(args.quiet);
    let staged = target.map(|target| Staged::beside(target, &[&image.file])).transpose()?;
    let (entries, warnings) = session::read_volume(&image, progress, |read| {
        let to = match &staged {
            Some(staged) => staged.file().try_clone(),
            None => io::stdout().as_fd().try_clone_to_owned().map(File::from),
        };
        let to = to.and_then(|to| Packer::new(to, compression));
        let to = to.map_err(|e| unwritten(target, &e))?;
        let (mut warnings, bar) = (Vec::new(), progress.bar("export"));
        let to = Watched { to, bar: &bar, done: 0, total: total(&read, &path) };
        let mut sink = Counted { to: TarSink::new(to), entries: 0 };
        feed(&read, &path, &mut sink, &mut |warning| warnings.push(warning), target)?;
        let to = sink.to.finish().map_err(|e| failure(&read, target, &e))?.to;
        to.finish().map_err(|e| unwritten(target, &e))?;
        Ok((sink.entries, warnings))
    })?;
    interrupt::check()?;
    tell(&warnings, talk);
    let Some((staged, target)) = staged.zip(target) else { return Ok(ExitCode::SUCCESS) };
    let len = staged.file().metadata().map_err(|e| cannot_write(target, &e))?.len();
    staged.publish(existing)?;
    if args.json {
        report::print_json(&json!({
            "archive": target.display().to_string(),
            "compression": compression.map(Compression::name),
            "bytes": len,
            "entries": entries,
            "warnings": warnings,
        }))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the user says, or what the name says.
fn compression(said: Option<Compress>, target: Option<&Path>) -> Option<Compression> {
    let ending = target.and_then(Path::extension).unwrap_or_default().to_ascii_lowercase();
    match (said, ending.to_str()) {
        (Some(Compress::None), _) => None,
        (Some(Compress::Gzip), _) | (None, Some("gz" | "tgz")) => Some(Compression::Gzip),
        (Some(Compress::Zstd), _) | (None, Some("zst" | "tzst" | "zstd")) => {
            Some(Compression::Zstd)
        }
        (Some(Compress::Xz), _) | (None, Some("xz" | "txz")) => Some(Compression::Xz),
        (None, _) => None,
    }
}

/// What is done about the target where it is there already; refused where it must stay.
fn refuse_target(target: &Path, image: &Path, force: bool) -> Result<Existing> {
    let own = match fs::symlink_metadata(target) {
        Ok(own) => own,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Existing::Keep),
        Err(e) => return Err(Failure::host("cannot use", target, &e)),
    };
    let id = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    let shown = target.display();
    if id(target).is_some_and(|found| id(image) == Some(found)) {
        return Err(Failure::new(format!("`{shown}` is the image itself"))
            .hint("choose another name with `-o`"));
    }
    match (force, own.is_file()) {
        (false, _) => Err(there(target)),
        (true, false) => Err(Failure::new(format!("`{shown}` is there, and is no file"))
            .hint("choose another name with `-o`")),
        (true, true) => Ok(Existing::Replace),
    }
}

fn refuse_output(json: bool) -> Result<()> {
    let refused = |what: &str| Err(Failure::new(what).hint("name a file with `-o`"));
    if json {
        return refused("`--json` has no place beside the archive on standard output");
    }
    match io::stdout().is_terminal() {
        true => refused("an archive is not for a terminal"),
        false => Ok(()),
    }
}

/// How many bytes there will be, about; 0 where that is not known.
fn total(read: &Read<'_, '_>, path: &Path) -> u64 {
    match read {
        Read::Ext(tree) if path == Path::new("/") => {
            let info = tree.fs.info();
            info.blocks.saturating_sub(info.free_blocks).saturating_mul(info.block_size.into())
        }
        _ => 0,
    }
}

/// All that is at `path`, behind a symbolic link where that leads to a directory.
fn feed(
    read: &Read<'_, '_>,
    path: &Path,
    sink: &mut dyn Sink,
    warn: &mut Warn<'_>,
    target: Option<&Path>,
) -> Result<()> {
    let fail = |e: &Error| failure(read, target, e);
    let tree: &dyn Tree = match read {
        Read::Ext(tree) => *tree,
        Read::Fat(tree) => *tree,
    };
    let meta = tree.metadata(path, true).or_else(|_| tree.metadata(path, false));
    let path = match meta.map_err(|e| fail(&e))?.is_dir() {
        true => resolved(tree, path).map_err(|e| fail(&e))?,
        false => path.to_owned(),
    };
    let fed = match read {
        Read::Ext(tree) => ExtSource::new(&tree.fs).at(path).feed(sink, warn),
        Read::Fat(_) => TreeSource::new(tree, &path).feed(sink, warn),
    };
    fed.map_err(|e| fail(&e))
}

/// What went wrong with the image or with the archive.
fn failure(read: &Read<'_, '_>, target: Option<&Path>, error: &Error) -> Failure {
    match (error, read) {
        (Error::Stopped, _) => Failure::Interrupted { edited: Vec::new() },
        (Error::Io { what, source }, _) if what == imgfmt::archive::WRITING => {
            unwritten(target, source)
        }
        (_, Read::Ext(tree)) => tree.failure(error),
        (_, Read::Fat(tree)) => tree.failure(error),
    }
}

fn unwritten(target: Option<&Path>, error: &io::Error) -> Failure {
    match target {
        _ if interrupt::asked() => Failure::Interrupted { edited: Vec::new() },
        Some(target) => cannot_write(target, error),
        None => Failure::new(format!("cannot write to standard output: {}", plain(error))),
    }
}

/// Counts entries.
struct Counted<W: Write> {
    to: TarSink<W>,
    entries: u64,
}

impl<W: Write> Sink for Counted<W> {
    fn entry(
        &mut self,
        entry: &Entry,
        content: &mut Content<'_>,
        warn: &mut Warn<'_>,
    ) -> FormatResult<()> {
        self.entries += 1;
        self.to.entry(entry, content, warn)
    }
}

/// A stream whose progress is shown, and that ends when we are asked to stop.
struct Watched<'a, W> {
    to: W,
    bar: &'a Bar,
    done: u64,
    total: u64,
}

impl<W: Write> Write for Watched<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if interrupt::asked() {
            return Err(io::Error::other(Error::Stopped));
        }
        let count = self.to.write(bytes)?;
        self.done += count as u64;
        // Hard links and headers are not in the total.
        let total = if self.done > self.total { 0 } else { self.total };
        self.bar.set(self.done, total);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use imgfmt::compressed::Compression;

    use super::compression;
    use crate::cli::Compress;

    #[test]
    fn what_is_said_counts_more_than_the_ending() {
        for (said, name, expected) in [
            (None, "a.tar", None),
            (None, "a.tar.gz", Some(Compression::Gzip)),
            (None, "a.TGZ", Some(Compression::Gzip)),
            (None, "a.tar.zst", Some(Compression::Zstd)),
            (None, "a.tar.xz", Some(Compression::Xz)),
            (None, "gz", None),
            (Some(Compress::None), "a.tar.gz", None),
            (Some(Compress::Xz), "a.tar.gz", Some(Compression::Xz)),
        ] {
            assert_eq!(compression(said, Some(Path::new(name))), expected, "{name}");
        }
        assert_eq!(compression(None, None), None);
    }
}
