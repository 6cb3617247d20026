//! Small files that somebody names: read only where they are regular files. A FIFO would keep us waiting, and a device might
//! act on being opened.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Open the regular file `path`, without waiting; links are followed.
///
/// # Errors
/// Those of the host, and where it is anything else.
pub fn open(path: &Path) -> io::Result<File> {
    // Looked at before it is opened, and again what was opened: it may be another file by then.
    refuse_special(&fs::metadata(path)?)?;
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("a small flag");
    let file = File::options().read(true).custom_flags(nonblock).open(path)?;
    refuse_special(&file.metadata()?)?;
    Ok(file)
}

/// The first `limit` bytes of it.
///
/// # Errors
/// Those of [`open`].
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn refuse_special(found: &fs::Metadata) -> io::Result<()> {
    match found.is_file() {
        true => Ok(()),
        false if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        false => Err(io::Error::other("it is not a regular file")),
    }
}
