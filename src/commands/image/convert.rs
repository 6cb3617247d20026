//! `autoxen image convert`: another file with the same disk in it, raw or qcow2.
//!
//! What is made is a file of its own, built beside the place that it will have. The original is read, locked, and nothing
//! else; all that can be refused is refused before the first byte is written.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use imgfmt::compressed::{self, Compression};
use imgfmt::copy::{copy_sparse, write_sparse};
use imgfmt::qcow2::{self, Layer};
use imgfmt::{Error, Image, Storage, probe};
use serde_json::json;

use super::open;
use crate::cli::{ImageConvertArgs, ImageFormat};
use crate::facts::form::Form;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::newfile::{Existing, Staged, cannot_write, there};
use crate::progress::Progress;
use crate::report::{self, Talk};
use crate::size::size;
use crate::visible::visible;

/// log2 of a cluster's size where the user says nothing: QEMU's own.
const CLUSTER_BITS: u32 = 16;

/// What was made.
struct Made {
    /// Length of the disk, in bytes.
    disk_len: u64,
    file: fs::Metadata,
}

/// Make the image.
pub(super) fn run(args: &ImageConvertArgs, talk: Talk) -> Result<ExitCode> {
    let format = format(args)?;
    let (path, target) = (&args.source, &args.target);
    let image = Image::open(path).map_err(|e| open::failure(path, &e))?;
    let form = open::form(path, &image)?;
    let disk = open::layered(path, image, form, &args.backing_dir)?;
    let existing = refuse_target(args, &disk)?;
    let work = Work { args, form, progress: Progress::new(args.quiet) };
    let (staged, len) = work.make(&disk, format)?;
    let made = check(args, &staged, format, len)?;
    disk.check_unchanged().map_err(|e| open::failure(path, &e))?;
    interrupt::check()?;
    staged.publish(existing)?;
    if made.disk_len != len {
        talk.note(&format!(
            "a qcow2 disk is of whole sectors of 512 bytes: {} zeros follow the {len} bytes of `{}`",
            made.disk_len - len,
            path.display()
        ));
    }
    let told = match args.json {
        true => report::print_json(&made.json(target, format, form)),
        false => report::print(&made.text(target, format)),
    };
    told.map_err(|failure| failure.hint(format!("the image is whole: `{}`", target.display())))?;
    Ok(ExitCode::SUCCESS)
}

/// What is to be made: what the user says, or what the name says.
fn format(args: &ImageConvertArgs) -> Result<ImageFormat> {
    let ending = args.target.extension().unwrap_or_default().to_ascii_lowercase();
    let format = match (args.output_format, ending.to_str()) {
        (Some(format), _) => format,
        (None, Some("qcow2")) => ImageFormat::Qcow2,
        (None, Some("raw" | "img")) => ImageFormat::Raw,
        _ => {
            let what = format!("the name `{}` does not tell its format", args.target.display());
            return Err(Failure::new(what).hint("say it: `-O raw` or `-O qcow2`"));
        }
    };
    let option = match (args.compress, args.cluster_size) {
        (true, _) => "--compress",
        (false, Some(_)) => "--cluster-size",
        (false, None) => return Ok(format),
    };
    match format {
        ImageFormat::Qcow2 => Ok(format),
        ImageFormat::Raw => {
            Err(Failure::new(format!("`{option}` is for qcow2, not for a raw image"))
                .hint("leave it out, or say `-O qcow2`"))
        }
    }
}

/// What is done about the target where it is there already; refused where it must stay.
fn refuse_target(args: &ImageConvertArgs, disk: &Layer) -> Result<Existing> {
    let target = &args.target;
    let fail = |e: &io::Error| Failure::host("cannot use", target, e);
    let own = match fs::symlink_metadata(target) {
        Ok(own) => own,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Existing::Keep),
        Err(e) => return Err(fail(&e)),
    };
    // A link may lead to the image. One that leads nowhere is in the way all the same.
    if let Ok(found) = fs::metadata(target) {
        let id = |found: &fs::Metadata| (found.dev(), found.ino());
        for (nr, file) in disk.files().into_iter().enumerate() {
            if id(&fs::metadata(file.path()).map_err(|e| fail(&e))?) == id(&found) {
                let (target, source) = (target.display(), args.source.display());
                let what = match nr {
                    0 => format!("`{source}` and `{target}` are one file"),
                    _ => format!("`{target}` is a backing file of `{source}`"),
                };
                return Err(Failure::new(what).hint("choose another name"));
            }
        }
    }
    if !args.force {
        return Err(there(target));
    }
    if !own.is_file() {
        let what = match own.file_type() {
            kind if kind.is_dir() => "a directory",
            kind if kind.is_symlink() => "a symbolic link",
            _ => "no regular file",
        };
        let what = format!("`{}` is {what}: it is not replaced", target.display());
        return Err(Failure::new(what).hint("choose another name"));
    }
    open::check_idle(target)?;
    Ok(Existing::Replace)
}

/// The work, and where it is shown.
struct Work<'a> {
    args: &'a ImageConvertArgs,
    form: Form,
    progress: Progress,
}

impl Work<'_> {
    /// Make the new file. It, and the length of the disk.
    fn make(&self, disk: &Layer, format: ImageFormat) -> Result<(Staged, u64)> {
        if let Form::Compressed(compression) = self.form {
            let (staged, unpacked) = self.unpack(disk, compression)?;
            return match format {
                ImageFormat::Raw => Ok((staged, unpacked.len())),
                ImageFormat::Qcow2 => Ok((self.convert(&unpacked, disk, format)?, unpacked.len())),
            };
        }
        if let Layer::Raw(image) = disk {
            self.refuse_foreign(image, "")?;
        }
        Ok((self.convert(disk, disk, format)?, disk.len()))
    }

    /// Unpack the image beside the target; what came out, as it lies there.
    fn unpack(&self, packed: &Layer, compression: Compression) -> Result<(Staged, Layer)> {
        let staged = self.staged(packed)?;
        let bar = self.progress.bar("unpack");
        let limit = compressed::DEFAULT_LIMIT;
        let unpacked =
            compressed::unpack(packed, compression, staged.file(), limit, &mut |done, total| {
                bar.step(done, total)
            });
        interrupt::check()?;
        unpacked.map_err(|e| self.failure(packed, &e))?;
        let image = Image::open(staged.path()).map_err(|e| open::failure(&self.args.source, &e))?;
        if image.is_empty() {
            let path = self.args.source.display();
            return Err(Failure::new(format!("image `{path}` is empty once it is unpacked")));
        }
        self.refuse_foreign(&image, " once it is unpacked")?;
        Ok((staged, Layer::Raw(image)))
    }

    /// A disk in a format that is neither read here nor raw is not what anybody wants to have copied.
    fn refuse_foreign(&self, image: &Image, when: &str) -> Result<()> {
        let path = &self.args.source;
        let found = probe::probe(image).map_err(|e| open::failure(path, &e))?;
        let Some(kind) = found.map(|found| found.kind).filter(|kind| kind.is_image_format()) else {
            return Ok(());
        };
        let what = format!("image `{}` is {}{when}", path.display(), kind.name());
        Err(Failure::new(what).hint(match kind {
            probe::Kind::Qcow2 => "unpack it first, then convert that",
            _ => "convert it with `qemu-img convert -O raw`",
        }))
    }

    /// Write the disk `from`, which came out of `source`, into a new file.
    fn convert(&self, from: &Layer, source: &Layer, format: ImageFormat) -> Result<Staged> {
        let staged = self.staged(source)?;
        let bar = self.progress.bar("convert");
        let step = &mut |done, total| bar.step(done, total);
        let written = match (format, from) {
            (ImageFormat::Raw, Layer::Raw(image)) => {
                copy_sparse(image, staged.file(), step).map(|_| ())
            }
            (ImageFormat::Raw, disk) => write_sparse(disk, staged.file(), step).map(|_| ()),
            (ImageFormat::Qcow2, disk) => {
                let options = qcow2::Options {
                    cluster_bits: self.args.cluster_size.unwrap_or(CLUSTER_BITS),
                    compress: self.args.compress,
                };
                qcow2::write(disk, staged.file(), options, step).map(|_| ())
            }
        };
        interrupt::check()?;
        written.map_err(|e| self.failure(source, &e))?;
        Ok(staged)
    }

    /// A new file, no more open than any file that the disk comes from.
    fn staged(&self, source: &Layer) -> Result<Staged> {
        let originals: Vec<&Path> = source.files().into_iter().map(Image::path).collect();
        Staged::beside(&self.args.target, &originals)
    }

    /// Why the work failed: the target has no room, or the original is not whole.
    fn failure(&self, source: &Layer, error: &Error) -> Failure {
        let (path, target) = (&self.args.source, &self.args.target);
        match error {
            Error::HostFull(_) => cannot_write(target, &io::ErrorKind::StorageFull.into()),
            Error::Io { source, .. } if source.kind() == io::ErrorKind::FileTooLarge => {
                cannot_write(target, source)
            }
            // Whoever changed it meanwhile is the cause of all else that may be found.
            _ => match source.check_unchanged() {
                Err(changed) => open::failure(path, &changed),
                Ok(()) => open::damage(path, self.form, error),
            },
        }
    }
}

/// The new file, read back: it has the disk's length.
fn check(args: &ImageConvertArgs, staged: &Staged, format: ImageFormat, len: u64) -> Result<Made> {
    let fail = |e| open::failure(&args.target, &e);
    let image = Image::open(staged.path()).map_err(fail)?;
    let (disk_len, expected) = match format {
        ImageFormat::Raw => (image.len(), len),
        ImageFormat::Qcow2 => {
            (qcow2::Header::read(&image).map_err(fail)?.len, len.next_multiple_of(512))
        }
    };
    if disk_len != expected {
        let target = args.target.display();
        return Err(Failure::new(format!(
            "`{target}` would have a disk of {disk_len} bytes, not {expected}: it was not made"
        )));
    }
    let file = staged.file().metadata().map_err(|e| cannot_write(&args.target, &e))?;
    Ok(Made { disk_len, file })
}

impl Made {
    fn text(&self, target: &Path, format: ImageFormat) -> String {
        let name = match format {
            ImageFormat::Raw => "raw",
            ImageFormat::Qcow2 => "qcow2",
        };
        format!(
            "{}: {name}, {}; {} on the host\n",
            visible(&target.to_string_lossy()),
            size(self.disk_len),
            size(self.allocated())
        )
    }

    fn json(&self, target: &Path, format: ImageFormat, form: Form) -> serde_json::Value {
        json!({
            "image": target.to_string_lossy(),
            "format": match format {
                ImageFormat::Raw => "raw",
                ImageFormat::Qcow2 => "qcow2",
            },
            "bytes": self.disk_len,
            "file_bytes": self.file.len(),
            "allocated_bytes": self.allocated(),
            "source_format": form.name().unwrap_or("raw"),
        })
    }

    /// Bytes of the host that it takes.
    fn allocated(&self) -> u64 {
        self.file.blocks().saturating_mul(512)
    }
}
