//! Read and edit a bare ext file system in an image file.
//!
//! ```text
//! cargo run --example ext -- cat root.img /etc/fstab
//! cargo run --example ext -- ls root.img /etc
//! cargo run --example ext -- put root.img /etc/fstab new-fstab
//! ```
//! `put` writes such that a crash leaves the old file or the new one.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use imgfmt::ext::Fs;
use imgfmt::{Error, Image, ImageMut, Volume};

fn main() -> ExitCode {
    let args: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    let verb = args.first().and_then(|verb| verb.to_str());
    let result = match (verb, args.get(1..).unwrap_or_default()) {
        (Some("cat"), [image, path]) => cat(image.as_ref(), path.as_ref()),
        (Some("ls"), [image, path]) => ls(image.as_ref(), path.as_ref()),
        (Some("put"), [image, path, from]) => put(image.as_ref(), path.as_ref(), from.as_ref()),
        _ => Err(std::io::Error::other("usage: ext cat|ls IMAGE PATH | ext put IMAGE PATH FILE"))
            .map_err(|e| Error::io("ext", e)),
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
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    let mut image = ImageMut::open(image)?;
    let edit = {
        let fs = Fs::open(Volume::whole(&image))?;
        let mut tx = fs.begin(now)?;
        tx.write(path, &content)?;
        tx.finish_in_place()?
    };
    image.commit_in_place(&edit)
}

fn print(bytes: &[u8]) -> imgfmt::Result<()> {
    std::io::stdout().write_all(bytes).map_err(|e| Error::io("standard output", e))
}
