//! How a place inside an image is written on the command line: `IMAGE[#PARTITION]:PATH`.
//!
//! `PATH` begins with `/`. Names of images may hold `:` and `#`, so that the host is asked which of the ways to read an
//! argument names a file:
//!
//! ```text
//! root.img:/etc/fstab        the image root.img
//! disk.img#2:/etc            partition 2 of disk.img; a GPT label or a UUID serves as well
//! root.img:                  the root directory, as does root.img:/
//! a:b.img:/etc               the image a:b.img, where there is one: the longest name of a file counts
//! c#1.img:/etc               the image c#1.img, where there is one
//! root.img:/a:b              /a:b in root.img: no file is called `root.img:/a`
//! notes.txt                  a file of the host: no colon
//! ./x:y                      a file of the host, also where there is a file x: `y` does not begin with `/`
//! x:y                        refused, as is x:/y without an image x: ./x:y is a file of the host
//! ```
//!
//! Nothing here opens a file; whether there is one is told by the caller.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};

/// An image, and which of its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName {
    /// The file, as the user named it.
    pub file: PathBuf,
    /// The text behind `#`.
    pub partition: Option<OsString>,
}

/// What an argument names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file of the host.
    Host(PathBuf),
    /// A path inside an image; it begins with `/`.
    Inside {
        /// Which image; `None` for the one that a script edits.
        image: Option<ImageName>,
        /// Where in it.
        path: PathBuf,
    },
}

/// How arguments are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// `IMAGE:PATH`, as on the command line.
    CommandLine,
    /// `:PATH` is in the image that the script edits.
    Script,
}

/// What `text` names, which may be of the host. `is_file` says whether a path of the host names a file.
///
/// # Errors
/// Where it has a colon and is neither.
pub fn place(text: &OsStr, naming: Naming, is_file: &dyn Fn(&Path) -> bool) -> Result<Place> {
    let bytes = text.as_bytes();
    if naming == Naming::Script
        && let [b':', path @ ..] = bytes
    {
        let path = inside_path(path).ok_or_else(|| relative(text))?;
        return Ok(Place::Inside { image: None, path });
    }
    for colon in colons(bytes).rev() {
        let (name, path) = (&bytes[..colon], &bytes[colon + 1..]);
        if let Some(path) = inside_path(path)
            && let Some(image) = image(name, is_file)
        {
            return Ok(Place::Inside { image: Some(image), path });
        }
    }
    let is_plainly_of_the_host =
        [&b"/"[..], b"./", b"../"].iter().any(|start| bytes.starts_with(start));
    let Some(colon) = colons(bytes).next().filter(|_| !is_plainly_of_the_host) else {
        return Ok(Place::Host(text.into()));
    };
    if image(&bytes[..colon], is_file).is_some() {
        return Err(relative(text));
    }
    Err(no_image(text, &bytes[..colon])
        .hint("write `./NAME` for a file of the host that has a colon in its name"))
}

/// The image and the path that `text` names; an image alone stands for its root directory.
///
/// # Errors
/// Where it names no image.
pub fn inside(
    text: &OsStr,
    naming: Naming,
    is_file: &dyn Fn(&Path) -> bool,
) -> Result<(Option<ImageName>, PathBuf)> {
    if naming == Naming::Script && text.as_bytes().starts_with(b"/") {
        return Ok((None, text.into()));
    }
    match place(text, naming, is_file)? {
        Place::Inside { image, path } => Ok((image, path)),
        Place::Host(path) => Err(not_inside(text, &path, naming)),
    }
}

/// The image that `text` names, with a path or alone, and the path: `/` without one.
///
/// # Errors
/// Where it names none.
pub fn image_or_inside(
    text: &OsStr,
    is_file: &dyn Fn(&Path) -> bool,
) -> Result<(ImageName, PathBuf)> {
    match place(text, Naming::CommandLine, is_file) {
        Ok(Place::Inside { image, path }) => {
            Ok((image.expect("only a script leaves it out"), path))
        }
        other => match (image(text.as_bytes(), is_file), other) {
            (Some(image), _) => Ok((image, "/".into())),
            (None, Err(failure)) => Err(failure),
            (None, Ok(_)) => Err(not_inside(text, Path::new(text), Naming::CommandLine)),
        },
    }
}

/// The image that `text`, `IMAGE` or `IMAGE#PARTITION`, names, where there is such a file.
pub fn image_alone(text: &OsStr, is_file: &dyn Fn(&Path) -> bool) -> Option<ImageName> {
    image(text.as_bytes(), is_file)
}

fn image(name: &[u8], is_file: &dyn Fn(&Path) -> bool) -> Option<ImageName> {
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    let named = |bytes: &[u8]| !bytes.is_empty() && is_file(&path(bytes));
    if named(name) {
        return Some(ImageName { file: path(name), partition: None });
    }
    let mut hashes = (0..name.len()).rev().filter(|&at| name[at] == b'#' && at + 1 < name.len());
    let hash = hashes.find(|&at| named(&name[..at]))?;
    let partition = OsString::from_vec(name[hash + 1..].to_vec());
    Some(ImageName { file: path(&name[..hash]), partition: Some(partition) })
}

fn colons(bytes: &[u8]) -> impl DoubleEndedIterator<Item = usize> {
    (0..bytes.len()).filter(|&at| bytes[at] == b':')
}

/// The root where nothing is said; `None` where it is relative.
fn inside_path(bytes: &[u8]) -> Option<PathBuf> {
    match bytes {
        [] => Some("/".into()),
        [b'/', ..] => Some(OsStr::from_bytes(bytes).into()),
        _ => None,
    }
}

fn relative(text: &OsStr) -> Failure {
    Failure::new(format!("`{}`: a path inside an image begins with `/`", text.display())).hint(
        "write `IMAGE:/PATH`, and `./NAME` for a file of the host that has a colon in its name",
    )
}

fn no_image(text: &OsStr, name: &[u8]) -> Failure {
    let name = OsStr::from_bytes(name);
    Failure::new(format!("`{}`: there is no image `{}`", text.display(), name.display()))
}

fn not_inside(text: &OsStr, path: &Path, naming: Naming) -> Failure {
    let hint = match naming {
        Naming::Script => "write `:/PATH`",
        Naming::CommandLine => "write `IMAGE:/PATH`, or `IMAGE#PARTITION:/PATH`",
    };
    let colon = colons(text.as_bytes()).next();
    match colon {
        Some(at) if at > 0 => no_image(text, &text.as_bytes()[..at]),
        _ => Failure::new(format!("`{}` is no path inside an image", path.display())).hint(hint),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::path::Path;

    use super::{ImageName, Naming, Place, image_or_inside, inside, place};

    const FILES: [&str; 8] =
        ["root.img", "disk.img", "./a:b.img", "a:b.img", "c#1.img", "x", "./x", "/srv/root.img"];

    fn is_file(path: &Path) -> bool {
        FILES.iter().any(|file| path == Path::new(file) && path.as_os_str() == *file)
    }

    /// `image|partition|path`, `host|path`, or the error.
    fn read(text: &str, naming: Naming) -> String {
        match place(OsStr::new(text), naming, &is_file) {
            Ok(Place::Host(path)) => format!("host|{}", path.display()),
            Ok(Place::Inside { image, path }) => {
                let image = image.map_or("-".into(), |ImageName { file, partition }| {
                    let partition = partition.unwrap_or_default();
                    format!("{}|{}", file.display(), partition.display())
                });
                format!("{image}|{}", path.display())
            }
            Err(failure) => failure.to_string(),
        }
    }

    #[test]
    fn each_way_to_write_a_place_is_read() {
        for (text, expected) in [
            ("root.img:/etc/fstab", "root.img||/etc/fstab"),
            ("/srv/root.img:/etc", "/srv/root.img||/etc"),
            ("root.img:", "root.img||/"),
            ("disk.img#2:/etc", "disk.img|2|/etc"),
            ("disk.img#EFI system:/", "disk.img|EFI system|/"),
            ("disk.img#a:b:/etc", "disk.img|a:b|/etc"),
            ("disk.img#a#b:/etc", "disk.img|a#b|/etc"),
            ("a:b.img:/etc", "a:b.img||/etc"),
            ("./a:b.img#2:/etc", "./a:b.img|2|/etc"),
            ("c#1.img:/etc", "c#1.img||/etc"),
            ("c#1.img#1:/etc", "c#1.img|1|/etc"),
            ("root.img:/a:b", "root.img||/a:b"),
            ("root.img:/a:/b", "root.img||/a:/b"),
            ("notes.txt", "host|notes.txt"),
            ("root.img", "host|root.img"),
            ("-", "host|-"),
            ("./x:y", "host|./x:y"),
            ("./none:/y", "host|./none:/y"),
            ("x:y", "`x:y`: a path inside an image begins with `/`"),
            ("root.img:etc", "`root.img:etc`: a path inside an image begins with `/`"),
            ("none:/y", "`none:/y`: there is no image `none`"),
            ("disk.img#:/y", "`disk.img#:/y`: there is no image `disk.img#`"),
            (":/y", "`:/y`: there is no image ``"),
        ] {
            assert_eq!(read(text, Naming::CommandLine), expected);
        }
    }

    #[test]
    fn a_script_names_its_image_with_nothing() {
        for (text, expected) in [
            (":/etc", "-|/etc"),
            (":", "-|/"),
            ("motd", "host|motd"),
            ("root.img:/etc", "root.img||/etc"),
            (":etc", "`:etc`: a path inside an image begins with `/`"),
        ] {
            assert_eq!(read(text, Naming::Script), expected);
        }
        let found = inside(OsStr::new("/etc"), Naming::Script, &is_file).unwrap();
        assert_eq!(found, (None, "/etc".into()));
        let failure = inside(OsStr::new("etc"), Naming::Script, &is_file).unwrap_err();
        assert_eq!(failure.to_string(), "`etc` is no path inside an image");
    }

    #[test]
    fn an_image_alone_stands_for_its_root() {
        for (text, file, partition) in [
            ("root.img", "root.img", None),
            ("disk.img#2", "disk.img", Some("2")),
            ("disk.img#a:b", "disk.img", Some("a:b")),
            ("a:b.img", "a:b.img", None),
        ] {
            let partition = partition.map(Into::into);
            let image = ImageName { file: file.into(), partition };
            assert_eq!(image_or_inside(OsStr::new(text), &is_file).unwrap(), (image, "/".into()));
        }
        let (image, path) = image_or_inside(OsStr::new("disk.img#2:/etc"), &is_file).unwrap();
        assert_eq!((image.partition, path), (Some("2".into()), "/etc".into()));
        let failure = image_or_inside(OsStr::new("/none:/etc"), &is_file).unwrap_err();
        assert_eq!(failure.to_string(), "`/none:/etc`: there is no image `/none`");
    }
}
