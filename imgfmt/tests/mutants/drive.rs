//! What is done with an image, and what has to hold whatever it holds.

use std::io;

use imgfmt::ext::{FileType, Fs};
use imgfmt::{Changes, Result, Storage, Volume};

use super::image::{Fixture, Image, dirty_fixtures, fixtures};
use super::input::Input;
use super::mutate::mutated;
use super::operate::Operation;

const NOW: i64 = 1_767_225_600;
/// Names that a walk looks at, at most: lying directories can hold more than there is memory.
const NAMES_MAX: usize = 1_000;
/// Bytes of a file that a walk reads, at most.
const READ_MAX: u64 = 1 << 20;
/// Operations of an edit, at most.
const OPERATIONS_MAX: usize = 16;
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

/// Open an image and read all there is.
pub(crate) fn open_and_walk(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let fixture = pick(fixtures(), &mut input);
    let image = mutated(fixture, &mut input);
    read_all(&image);
}

/// Replay a log, in memory to read and with an empty edit to write.
pub(crate) fn replay(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let fixture = pick(dirty_fixtures(), &mut input);
    let mut image = mutated(fixture, &mut input);
    read_all(&image);
    if let Some(changes) = edit(&image, &[]) {
        image.apply(&changes);
        let fs = Fs::open(Volume::whole(&image)).expect("it could be edited");
        assert!(!fs.needs_recovery(), "the log was emptied");
        drop(fs);
        read_all(&image);
    }
}

/// Edit an image, then read what came of it.
pub(crate) fn edit_then_check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let fixture = pick(fixtures(), &mut input);
    let mut image = mutated(fixture, &mut input);
    let mut operations = Vec::new();
    while !input.is_empty() && operations.len() < OPERATIONS_MAX {
        operations.push(Operation::new(&fixture.paths, &mut input));
    }
    if let Some(changes) = edit(&image, &operations) {
        image.apply(&changes);
        read_all(&image);
    }
}

fn pick(fixtures: &'static [Fixture], input: &mut Input<'_>) -> &'static Fixture {
    &fixtures[usize::from(input.byte()) % fixtures.len()]
}

/// What an edit writes, if it is not refused as a whole.
///
/// An operation that is refused must leave no trace: the edit without it writes the same.
fn edit(image: &Image<'_>, operations: &[Operation]) -> Option<Changes> {
    let fs = bounded(image, || Fs::open(Volume::whole(image))).ok()?;
    let mut tx = bounded(image, || fs.begin(NOW)).ok()?;
    let mut accepted = Vec::new();
    for operation in operations {
        if bounded(image, || operation.apply(&mut tx)).is_ok() {
            accepted.push(operation);
        }
    }
    let changes = bounded(image, || tx.finish());
    if accepted.len() < operations.len() {
        let mut again = fs.begin(NOW).expect("it began before");
        for operation in accepted {
            let outcome = operation.apply(&mut again);
            assert!(outcome.is_ok(), "{operation:?} was accepted before: {outcome:?}");
        }
        let again = again.finish();
        assert!(
            again.as_ref().ok() == changes.as_ref().ok(),
            "a refused operation left something behind"
        );
    }
    changes.ok()
}

/// Open and read all there is.
fn read_all(image: &Image<'_>) {
    let Ok(fs) = bounded(image, || Fs::open(Volume::whole(image))) else { return };
    let _ = format!("{:?}", fs.info());
    walk(&fs, image, &mut |_| {});
}

fn walk(fs: &Fs<'_>, image: &Image<'_>, seen: &mut dyn FnMut(&str)) {
    let mut dirs = vec![String::new()];
    let mut names = 0;
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = bounded(image, || fs.read_dir(format!("{dir}/"))) else { continue };
        for entry in entries {
            names += 1;
            if names > NAMES_MAX {
                return;
            }
            // Names that are not text are another's business.
            let Some(name) = entry.name.to_str() else { continue };
            let path = format!("{dir}/{name}");
            seen(&path);
            look_at(fs, image, &path);
            // Directories that hold themselves end with the depth.
            if entry.kind == FileType::Directory && path.len() < 200 {
                dirs.push(path);
            }
        }
    }
}

fn look_at(fs: &Fs<'_>, image: &Image<'_>, path: &str) {
    let meta = bounded(image, || fs.symlink_metadata(path));
    let _ = bounded(image, || fs.metadata(path));
    let _ = bounded(image, || fs.xattrs(path));
    let _ = bounded(image, || fs.read_link(path));
    if meta.is_ok_and(|meta| meta.kind == FileType::File) {
        let _ = bounded(image, || fs.copy_to(path, &mut Sink { room: READ_MAX }));
        let _ = bounded(image, || fs.read_capped(path, READ_MAX));
    }
}

/// Do `f`, which must not read without end.
fn bounded<R>(image: &Image<'_>, f: impl FnOnce() -> Result<R>) -> Result<R> {
    image.take_work();
    let result = f();
    let work = image.take_work();
    assert!(work <= WORK_MAX, "one call read {work} bytes of {}", image.len());
    result
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
