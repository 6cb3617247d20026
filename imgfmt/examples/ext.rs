//! Read and edit a bare ext file system in an image file.
//!
//! ```text
//! cargo run --example ext -- cat root.img /etc/fstab
//! cargo run --example ext -- ls root.img /etc
//! cargo run --example ext -- put root.img /etc/fstab new-fstab
//! cargo run --example ext -- tree root.img
//! ```
//! `put` writes such that a crash leaves the old file or the new one.
//! `tree` prints a JSON object a line for each file: `path_pct` and `target_pct` (bytes other than 0x21 to 0x7E, and `%`,
//! are `%XX`), `type`, `mode`, `uid`, `gid`, `size`, `nlink`, `mtime`, `ino`, and `sha256` of files of 64 MiB or less.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use imgfmt::ext::{FileType, Fs, InodeNr, Metadata, READ_CAP};
use imgfmt::{Error, Image, ImageMut, Volume};
use serde_json::json;
use sha2::{Digest as _, Sha256};

fn main() -> ExitCode {
    let args: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    let verb = args.first().and_then(|verb| verb.to_str());
    let result = match (verb, args.get(1..).unwrap_or_default()) {
        (Some("cat"), [image, path]) => cat(image.as_ref(), path.as_ref()),
        (Some("ls"), [image, path]) => ls(image.as_ref(), path.as_ref()),
        (Some("put"), [image, path, from]) => put(image.as_ref(), path.as_ref(), from.as_ref()),
        (Some("tree"), [image]) => tree(image.as_ref()),
        _ => {
            let usage = "usage: ext cat|ls IMAGE PATH | ext put IMAGE PATH FILE | ext tree IMAGE";
            Err(Error::io("ext", std::io::Error::other(usage)))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn cat(image: &Path, path: &Path) -> imgfmt::Result<()> {
    let image = Image::open(image)?;
    let bytes = Fs::open(Volume::whole(&image))?.read_capped(path, 1 << 30)?;
    print(&bytes)
}

fn ls(image: &Path, path: &Path) -> imgfmt::Result<()> {
    let image = Image::open(image)?;
    for entry in Fs::open(Volume::whole(&image))?.read_dir(path)? {
        print(entry.name.as_encoded_bytes())?;
        print(b"\n")?;
    }
    Ok(())
}

fn put(image: &Path, path: &Path, from: &Path) -> imgfmt::Result<()> {
    let content = std::fs::read(from).map_err(|e| Error::io(from.display().to_string(), e))?;
    // The clock of file systems and of `e2fsck`; the finer one of `SystemTime` is some milliseconds ahead.
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse).tv_sec;
    let mut image = ImageMut::open(image)?;
    let edit = {
        let fs = Fs::open(Volume::whole(&image))?;
        let mut tx = fs.begin(now)?;
        tx.write(path, &content)?;
        tx.finish_in_place()?
    };
    image.commit_in_place(&edit)
}

/// Every file but the root, each behind its directory.
fn tree(image: &Path) -> imgfmt::Result<()> {
    let image = Image::open(image)?;
    let fs = Fs::open(Volume::whole(&image))?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut seen = HashSet::from([InodeNr::ROOT]);
    let mut dirs = vec![PathBuf::from("/")];
    while let Some(dir) = dirs.pop() {
        for entry in fs.read_dir(&dir)? {
            let path = dir.join(&entry.name);
            let meta = fs.symlink_metadata(&path)?;
            // A directory that holds itself would have no end.
            if meta.kind == FileType::Directory && seen.insert(meta.nr) {
                dirs.push(path.clone());
            }
            let line = line(&fs, &path, &meta)?;
            writeln!(out, "{line}").map_err(|e| Error::io("standard output", e))?;
        }
    }
    out.flush().map_err(|e| Error::io("standard output", e))
}

fn line(fs: &Fs<'_>, path: &Path, meta: &Metadata) -> imgfmt::Result<serde_json::Value> {
    let mut line = json!({
        "path_pct": percent(path.as_os_str()),
        "type": match meta.kind {
            FileType::File => "file",
            FileType::Directory => "dir",
            FileType::Symlink => "symlink",
            FileType::CharDevice => "char",
            FileType::BlockDevice => "block",
            FileType::Fifo => "fifo",
            FileType::Socket => "socket",
        },
        "mode": format!("{:04o}", meta.mode),
        "uid": meta.uid,
        "gid": meta.gid,
        "size": meta.len,
        "nlink": meta.nlink,
        "mtime": unix_seconds(meta.mtime),
        "ino": meta.nr.get(),
    });
    let fast_commits = || fs.info().features.iter().any(|feature| feature == "fast_commit");
    if meta.kind == FileType::Directory && fs.needs_recovery() && fast_commits() {
        // A directory in which the kernel replays names gets the time of the replay, which nobody can know before.
        line.as_object_mut().expect("made above").remove("mtime");
    }
    if meta.kind == FileType::Symlink {
        line["target_pct"] = percent(fs.read_link(path)?.as_os_str()).into();
    }
    if meta.kind == FileType::File && meta.len <= READ_CAP {
        let mut digest = Digest(Sha256::new());
        fs.copy_to(path, &mut digest)?;
        let sum = digest.0.finalize();
        line["sha256"] = sum.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
    }
    Ok(line)
}

fn percent(text: &OsStr) -> String {
    let plain = |byte| matches!(byte, 0x21..=0x7E) && byte != b'%';
    let text = text.as_encoded_bytes().iter();
    text.map(|&byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    })
    .collect()
}

fn unix_seconds(time: SystemTime) -> i64 {
    let whole = |seconds: u64| i64::try_from(seconds).expect("ext keeps 34 bits");
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => whole(since.as_secs()),
        // Nanoseconds count forwards from the second before.
        Err(e) => -whole(e.duration().as_secs()) - i64::from(e.duration().subsec_nanos() > 0),
    }
}

/// Takes bytes for their sum.
struct Digest(Sha256);

impl Write for Digest {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn print(bytes: &[u8]) -> imgfmt::Result<()> {
    std::io::stdout().write_all(bytes).map_err(|e| Error::io("standard output", e))
}
