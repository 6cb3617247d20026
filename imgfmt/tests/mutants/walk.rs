//! Everything that can be read of an image, and what it comes to.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::ops::ControlFlow;

use imgfmt::ext::check::Report;
use imgfmt::ext::{FileType, Fs};
use imgfmt::{Result, Storage, Volume};

use super::image::Image;

/// Names that a walk looks at, at most: lying directories can hold more than there is memory.
const NAMES_MAX: usize = 1_000;
/// Bytes of a file that a walk reads, at most.
const READ_MAX: u64 = 1 << 20;
/// Bytes that a whole walk reads, at most: a thousand names, each to be found in a directory that never ends.
const WALK_MAX: u64 = 64 << 20;
/// Bytes that one call may read of an image of 16 MiB, at most: some times all of it.
const WORK_MAX: u64 = 96 << 20;

/// Every path of a sound image, its root first.
pub(crate) fn paths(image: &Image<'_>) -> Vec<String> {
    let mut paths = vec!["/".to_owned()];
    if let Ok(fs) = Fs::open(Volume::whole(image)) {
        walk(&fs, image, &mut |path| paths.push(path.to_owned()));
    }
    paths
}

/// Open and read all there is. The same number means that the same was read; `None` that it was too much.
pub(crate) fn read_all(image: &Image<'_>) -> Option<u64> {
    let mut digest = DefaultHasher::new();
    let mut is_whole = true;
    if let Ok(fs) = bounded(image, || Fs::open(Volume::whole(image))) {
        let _ = format!("{:?}", fs.info());
        is_whole = walk(&fs, image, &mut |path| {
            path.hash(&mut digest);
            look_at(&fs, image, path, &mut digest);
        });
    }
    is_whole.then(|| digest.finish())
}

/// What a check finds, if it opens.
pub(crate) fn check(image: &Image<'_>) -> Option<Report> {
    let fs = bounded(image, || Fs::open(Volume::whole(image))).ok()?;
    let report = bounded(image, || fs.check(&mut |_, _| ControlFlow::Continue(())));
    Some(report.expect("all of the image can be read"))
}

/// Do `f`, which must not read without end.
pub(crate) fn bounded<R>(image: &Image<'_>, f: impl FnOnce() -> Result<R>) -> Result<R> {
    image.take_work();
    let result = f();
    let work = image.take_work();
    assert!(work <= WORK_MAX, "one call read {work} bytes of {}", image.len());
    result
}

/// Go over all names. False where there are too many.
fn walk(fs: &Fs<'_>, image: &Image<'_>, seen: &mut dyn FnMut(&str)) -> bool {
    let start = image.spent();
    let mut dirs = vec![String::new()];
    let mut names = 0;
    while let Some(dir) = dirs.pop() {
        let Ok(mut entries) = bounded(image, || fs.read_dir(format!("{dir}/"))) else { continue };
        // Where a name lies in a directory is nobody's business.
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in entries {
            names += 1;
            if names > NAMES_MAX || image.spent() - start > WALK_MAX {
                return false;
            }
            // Names that are not text are another's business.
            let Some(name) = entry.name.to_str() else { continue };
            let path = format!("{dir}/{name}");
            seen(&path);
            // Directories that hold themselves end with the depth.
            if entry.kind == FileType::Directory && path.len() < 200 {
                dirs.push(path);
            }
        }
    }
    true
}

fn look_at(fs: &Fs<'_>, image: &Image<'_>, path: &str, digest: &mut DefaultHasher) {
    let meta = bounded(image, || fs.symlink_metadata(path));
    let _ = bounded(image, || fs.metadata(path));
    format!("{:?}", meta.as_ref().ok()).hash(digest);
    format!("{:?}", bounded(image, || fs.xattrs(path)).ok()).hash(digest);
    bounded(image, || fs.read_link(path)).ok().hash(digest);
    if meta.is_ok_and(|meta| meta.kind == FileType::File) {
        let _ = bounded(image, || fs.copy_to(path, &mut Sink { room: READ_MAX }));
        bounded(image, || fs.read_capped(path, READ_MAX)).ok().hash(digest);
    }
}

/// Takes so many bytes, and then no more.
struct Sink {
    room: u64,
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.room.checked_sub(bytes.len() as u64);
        self.room = left.ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
