//! Paths, walked one name at a time, so that what was checked is what was opened.
//!
//! ```text
//! straight   a stranger's path: a symbolic link at any place is refused, whoever made it
//! trusted    a path of the site's own: every directory on the way belongs to root and is writable by root alone. Links are
//!            followed, for only root can have put them into such a directory
//! ```
//!
//! Both return descriptors. A path is never resolved a second time.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};
use rustix::io::Errno;

use crate::failure::plain;
use crate::policy::Refusal;

/// As many links as the kernel follows in one path.
const LINKS_MAX: usize = 40;

/// The mode bits that let others than the owner write.
const WRITABLE: u32 = 0o022;

/// Open the directory `path`, which is absolute, without following a link.
///
/// # Errors
/// By the rule `bundle.links` for a link or `..`, by `bundle.directory` for anything else in the way.
pub fn straight(path: &Path) -> Result<OwnedFd, Refusal> {
    let mut directory = root()?;
    let mut so_far = PathBuf::from("/");
    for part in path.components() {
        let name = match part {
            Component::RootDir | Component::CurDir => continue,
            Component::Normal(name) => name,
            Component::ParentDir | Component::Prefix(_) => {
                let why = format!("`{}` goes up by `..`", path.display());
                return Err(Refusal::new("bundle.links", why));
            }
        };
        so_far.push(name);
        let (next, kind) =
            step(directory.as_fd(), name).map_err(|e| absent("bundle.directory", &so_far, e))?;
        match kind {
            FileType::Directory => directory = next,
            FileType::Symlink => {
                let refusal = Refusal::new(
                    "bundle.links",
                    format!("`{}` is a symbolic link", so_far.display()),
                );
                return Err(refusal.hint("name the bundle by the path that `realpath` shows"));
            }
            _ => {
                let why = format!("`{}` is no directory", so_far.display());
                return Err(Refusal::new("bundle.directory", why));
            }
        }
    }
    Ok(directory)
}

/// Open the regular file `name` in `directory` for reading. It is no link, and has no second name.
///
/// # Errors
/// By the rules `bundle.links`, `bundle.file`, `bundle.hard_links`. `None` where there is no such file.
pub fn file(directory: &OwnedFd, name: &str) -> Result<Option<(File, Stat)>, Refusal> {
    // Not waiting, so that a named pipe that nobody writes to does not hold us up.
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = match openat(directory, name, flags, Mode::empty()) {
        Ok(opened) => opened,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => {
            return Err(Refusal::new("bundle.links", format!("`{name}` is a symbolic link")));
        }
        Err(Errno::NXIO) => {
            return Err(Refusal::new("bundle.file", format!("`{name}` is a socket")));
        }
        Err(e) => {
            let why = format!("`{name}` cannot be read: {}", plain(&e.into()));
            return Err(Refusal::new("bundle.file", why));
        }
    };
    let found = stat(&opened, Path::new(name))?;
    let what = match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => None,
        FileType::Directory => Some("a directory"),
        FileType::Fifo => Some("a named pipe"),
        FileType::BlockDevice => Some("a block device"),
        FileType::CharacterDevice => Some("a character device"),
        _ => Some("no regular file"),
    };
    if let Some(what) = what {
        return Err(Refusal::new("bundle.file", format!("`{name}` is {what}")));
    }
    if found.st_nlink != 1 {
        let why = format!("`{name}` has {} names (hard links)", found.st_nlink);
        let hint = "make a copy of it: `cp --reflink=auto`";
        return Err(Refusal::new("bundle.hard_links", why).hint(hint));
    }
    Ok(Some((File::from(opened), found)))
}

/// Open the file or directory `path` that only root can have put there and only root can change.
///
/// # Errors
/// By `rule`, naming the place that others may write to. `None` where there is no such file.
pub fn trusted(rule: &'static str, path: &Path) -> Result<Option<(File, Stat)>, Refusal> {
    let mut parts: Vec<OsString> = names(path);
    parts.reverse();
    // The directories that we are in, from the root on.
    let mut stack = vec![(root()?, PathBuf::from("/"))];
    let mut links = 0;
    let mut ends_in_link = false;
    check_owner(rule, Path::new("/"), &stat(&stack[0].0, Path::new("/"))?)?;
    while let Some(name) = parts.pop() {
        if name == ".." {
            stack.truncate((stack.len() - 1).max(1));
            continue;
        }
        let (directory, place) = stack.last().expect("the root stays");
        let place = place.join(&name);
        let (next, kind) = match step(directory.as_fd(), &name) {
            Ok(found) => found,
            // A link that leads nowhere is not the same as nothing: it may be to a disk that is not mounted.
            Err(Errno::NOENT) if !ends_in_link && (links == 0 || parts.is_empty()) => {
                return Ok(None);
            }
            Err(e) => return Err(absent(rule, &place, e)),
        };
        let found = stat(&next, &place)?;
        match kind {
            FileType::Symlink => {
                links += 1;
                ends_in_link |= parts.is_empty();
                if links > LINKS_MAX {
                    let why = format!("`{}`: too many symbolic links", path.display());
                    return Err(Refusal::new(rule, why));
                }
                let target = readlinkat(&next, c"", Vec::new())
                    .map_err(|e| absent(rule, &place, e))?
                    .into_bytes();
                let target = PathBuf::from(OsString::from_vec(target));
                if target.is_absolute() {
                    stack.truncate(1);
                }
                let mut further = names(&target);
                further.reverse();
                parts.extend(further);
            }
            FileType::Directory => {
                check_owner(rule, &place, &found)?;
                stack.push((next, place));
            }
            _ if parts.is_empty() => {
                check_owner(rule, &place, &found)?;
                return reopened(rule, &next, &place, &found).map(Some);
            }
            _ => {
                return Err(Refusal::new(rule, format!("`{}` is no directory", place.display())));
            }
        }
    }
    let (directory, place) = stack.pop().expect("the root stays");
    let found = stat(&directory, &place)?;
    reopened(rule, &directory, &place, &found).map(Some)
}

/// All of the file `path`, as [`trusted`] finds it; `None` where there is no such file.
///
/// # Errors
/// By `rule`, also where it is longer than `max` bytes.
pub fn trusted_bytes(
    rule: &'static str,
    path: &Path,
    max: u64,
) -> Result<Option<Vec<u8>>, Refusal> {
    let Some((file, _)) = trusted(rule, path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(|e| {
        Refusal::new(rule, format!("`{}` cannot be read: {}", path.display(), plain(&e)))
    })?;
    if bytes.len() as u64 > max {
        return Err(Refusal::new(rule, format!("`{}` is longer than {max} bytes", path.display())));
    }
    Ok(Some(bytes))
}

fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect()
}

fn check_owner(rule: &'static str, place: &Path, found: &Stat) -> Result<(), Refusal> {
    if found.st_uid != 0 {
        let why = format!("`{}` belongs to user {}, not to root", place.display(), found.st_uid);
        return Err(Refusal::new(rule, why));
    }
    if found.st_mode & WRITABLE != 0 {
        let mode = found.st_mode & 0o7777;
        let why = format!("others than root may write to `{}` (mode {mode:04o})", place.display());
        return Err(Refusal::new(rule, why).hint("take the right away: chmod go-w"));
    }
    Ok(())
}

/// What was looked at, opened for reading: by its descriptor, so that it is the same.
fn reopened(
    rule: &'static str,
    found_at: &OwnedFd,
    place: &Path,
    found: &Stat,
) -> Result<(File, Stat), Refusal> {
    let kind = FileType::from_raw_mode(found.st_mode);
    if !matches!(kind, FileType::RegularFile | FileType::Directory) {
        return Err(Refusal::new(rule, format!("`{}` is no regular file", place.display())));
    }
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(found_at));
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened =
        rustix::fs::open(path, flags, Mode::empty()).map_err(|e| absent(rule, place, e))?;
    Ok((File::from(opened), *found))
}

fn root() -> Result<OwnedFd, Refusal> {
    rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| absent("bundle.directory", Path::new("/"), e))
}

/// One name further. A link is opened itself.
fn step(
    directory: std::os::fd::BorrowedFd<'_>,
    name: &OsStr,
) -> Result<(OwnedFd, FileType), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let next = openat(directory, name.as_bytes(), flags, Mode::empty())?;
    let kind = FileType::from_raw_mode(fstat(&next)?.st_mode);
    Ok((next, kind))
}

fn stat(file: &OwnedFd, place: &Path) -> Result<Stat, Refusal> {
    fstat(file).map_err(|e| absent("bundle.file", place, e))
}

fn absent(rule: &'static str, place: &Path, error: Errno) -> Refusal {
    Refusal::new(rule, format!("`{}`: {}", place.display(), plain(&error.into())))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn refused_by(result: Result<OwnedFd, Refusal>) -> &'static str {
        result.expect_err("refused").rule
    }

    #[test]
    fn a_link_at_any_place_of_a_strangers_path_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| fs::canonicalize(home.path()).unwrap().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/file"), "").unwrap();
        symlink("a", at("relative")).unwrap();
        symlink(at("a"), at("absolute")).unwrap();
        symlink("b", at("a/link")).unwrap();
        assert!(straight(&at("a/b")).is_ok());
        for path in ["relative/b", "absolute/b", "a/link", "relative", "a/../a/b"] {
            assert_eq!(refused_by(straight(&at(path))), "bundle.links", "{path}");
        }
        for path in ["a/file", "a/file/b", "none"] {
            assert_eq!(refused_by(straight(&at(path))), "bundle.directory", "{path}");
        }
    }

    #[test]
    fn a_path_is_trusted_where_root_alone_may_write_all_the_way() {
        assert!(rustix::process::geteuid().is_root(), "this test wants to be root");
        // Below /tmp everybody may write, so the tree is elsewhere.
        let home = tempfile::tempdir_in("/root").unwrap();
        let at = |name: &str| home.path().join(name);
        let trusted = |name: &str| trusted("rule", &at(name)).map(|found| found.is_some());
        fs::create_dir(at("d")).unwrap();
        fs::write(at("d/file"), "x").unwrap();
        symlink("d/file", at("link")).unwrap();
        symlink(at("link"), at("links")).unwrap();
        symlink("loop", at("loop")).unwrap();
        for name in ["d/file", "link", "links", "d"] {
            assert_eq!(trusted(name), Ok(true), "{name}");
        }
        assert_eq!(trusted("d/none"), Ok(false));
        symlink("d", at("directory")).unwrap();
        symlink("gone", at("dangling")).unwrap();
        assert_eq!(trusted("directory/none"), Ok(false));
        for name in ["dangling", "dangling/none"] {
            assert!(trusted(name).is_err(), "{name}: it leads nowhere");
        }
        for (name, mode) in [("d", 0o1777), ("d", 0o775), ("d/file", 0o666)] {
            let before = fs::metadata(at(name)).unwrap().permissions();
            fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
            let refusal = trusted("links").expect_err("writable");
            assert!(refusal.why.contains("others than root may write"), "{refusal}");
            fs::set_permissions(at(name), before).unwrap();
        }
        std::os::unix::fs::chown(at("d"), Some(5), None).unwrap();
        assert!(trusted("link").expect_err("not root's").why.contains("belongs to user 5"));
        assert!(trusted("loop").expect_err("a loop").why.contains("too many symbolic links"));
    }
}
