//! The undo file that guards an edit in place where no journal does: what is rolled back, what is refused and left alone.
//! (`ext_suite/crash.rs` has every state that a crash may leave.)

mod judge;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use imgfmt::in_place::Disk;
use imgfmt::{Changes, Error, Image, ImageMut, InPlace, Recovered, Result, Storage, recover};
use judge::{Mount, sparse_file};

/// 64 KiB of sevens.
fn image(directory: &Path) -> PathBuf {
    let path = directory.join("disk.img");
    fs::write(&path, vec![7; 65_536]).expect("the directory is ours");
    path
}

fn undo_of(image: &Path) -> PathBuf {
    let mut name = image.as_os_str().to_owned();
    name.push(".autoxen-undo");
    name.into()
}

fn edit() -> InPlace {
    let mut changes = Changes::new();
    // Two sectors, the first in part, and one far behind.
    changes.insert(1000, vec![1; 536]);
    changes.insert(60_000, vec![2; 10]);
    InPlace::undo(changes)
}

/// A disk that dies at its first write, and leaves the undo file.
struct Dying<'a>(&'a Path, Vec<u8>);

impl Storage for Dying<'_> {
    fn len(&self) -> u64 {
        self.1.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        self.1.read_at(offset, buf)
    }
}

impl Disk for Dying<'_> {
    fn write_at(&mut self, _: u64, _: &[u8]) -> Result<()> {
        Err(Error::Stopped)
    }

    fn sync(&mut self) -> Result<()> {
        Err(Error::Stopped)
    }

    fn keep_undo(&mut self, undo: &[u8]) -> Result<()> {
        fs::write(undo_of(self.0), undo).expect("the directory is ours");
        Ok(())
    }

    fn drop_undo(&mut self) -> Result<()> {
        Err(Error::Stopped)
    }
}

/// Leave the undo file of [`edit`] beside the image, as if the process had been killed.
fn interrupt(path: &Path) {
    let mut disk = Dying(path, fs::read(path).expect("the image"));
    assert!(matches!(edit().apply(&mut disk), Err(Error::Stopped)));
}

/// Have the first `len` bytes of `edit` at home.
fn write_some(path: &Path, len: usize) {
    let file = File::options().write(true).open(path).expect("the image");
    file.write_all_at(&vec![1; len], 1000).expect("a write");
}

/// What an operation says, with the path of the image taken out.
fn message<T: std::fmt::Debug>(outcome: Result<T>, path: &Path) -> String {
    let text = outcome.expect_err("it is refused").to_string();
    text.replace(path.to_str().expect("plain"), "PATH")
}

#[test]
fn an_interrupted_edit_is_refused_to_readers_and_undone_for_writers() {
    let directory = tempfile::tempdir().unwrap();
    let path = image(directory.path());
    let before = fs::read(&path).unwrap();
    interrupt(&path);
    // The first sector is whole, the second is not written.
    write_some(&path, 24);
    assert_eq!(
        message(Image::open(&path), &path),
        "`PATH`: an edit of it was interrupted and has to be undone first"
    );
    drop(ImageMut::open(&path).unwrap());
    assert!(fs::read(&path).unwrap() == before);
    assert!(!undo_of(&path).exists());
    Image::open(&path).unwrap();
    assert_eq!(recover(&path).unwrap(), Recovered::Nothing);
}

#[test]
fn recovery_says_how_much_it_put_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = image(directory.path());
    interrupt(&path);
    assert_eq!(recover(&path).unwrap(), Recovered::RolledBack { bytes: 0 });
    interrupt(&path);
    write_some(&path, 536);
    // Bytes 1000 to 1536 lie in the second sector and the third.
    assert_eq!(recover(&path).unwrap(), Recovered::RolledBack { bytes: 1024 });
    assert!(fs::read(&path).unwrap() == vec![7; 65_536]);
}

#[test]
fn an_edit_writes_its_bytes_and_leaves_nothing_beside_the_image() {
    let directory = tempfile::tempdir().unwrap();
    let path = image(directory.path());
    ImageMut::open(&path).unwrap().commit_in_place(&edit()).unwrap();
    let mut expected = vec![7; 65_536];
    expected[1000..1536].fill(1);
    expected[60_000..60_010].fill(2);
    assert!(fs::read(&path).unwrap() == expected);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn the_undo_file_stands_beside_the_file_that_a_link_leads_to() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = image(directory.path());
    let link = elsewhere.path().join("link");
    symlink(&path, &link).unwrap();
    interrupt(&path);
    write_some(&path, 536);
    assert!(matches!(Image::open(&link), Err(Error::Interrupted(_))));
    assert_eq!(recover(&link).unwrap(), Recovered::RolledBack { bytes: 1024 });
    ImageMut::open(&link).unwrap().commit_in_place(&edit()).unwrap();
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
}

#[test]
fn an_image_that_was_changed_since_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = image(directory.path());
    interrupt(&path);
    write_some(&path, 24);
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"somebody", 60_100).unwrap();
    let (before, undo) = (fs::read(&path).unwrap(), fs::read(undo_of(&path)).unwrap());
    // Sector 117 of the image.
    let expected = "`PATH.autoxen-undo` has the name of an undo file, but cannot be used: \
                    byte 59904 of the image was changed since";
    assert_eq!(message(recover(&path), &path), expected);
    assert_eq!(message(ImageMut::open(&path), &path), expected);
    file.set_len(65_000).unwrap();
    assert!(message(recover(&path), &path).ends_with("it is for 65536 bytes, not 65000"));
    file.set_len(65_536).unwrap();
    assert!(fs::read(&path).unwrap()[..65_000] == before[..65_000]);
    assert!(fs::read(undo_of(&path)).unwrap() == undo);
}

#[test]
fn a_foreign_file_of_that_name_is_refused_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = image(directory.path());
    let undo = undo_of(&path);
    interrupt(&path);
    let sound = fs::read(&undo).unwrap();
    for (content, expected) in [
        (&b""[..], "it does not begin as one does"),
        (b"my notes on undoing", "it does not begin as one does"),
        (&sound[..sound.len() - 1], "its digest is wrong"),
        (&sound[..23], "its digest is wrong"),
    ] {
        fs::write(&undo, content).unwrap();
        for said in [
            message(Image::open(&path), &path),
            message(ImageMut::open(&path), &path),
            message(recover(&path), &path),
        ] {
            assert!(said.ends_with(expected), "{said}, not {expected}");
        }
        assert!(fs::read(&undo).unwrap() == content);
    }
    // A sound one that anybody may write to.
    fs::write(&undo, &sound).unwrap();
    fs::set_permissions(&undo, fs::Permissions::from_mode(0o666)).unwrap();
    let expected = "it may be written by others than the owner of the image";
    assert!(message(recover(&path), &path).ends_with(expected));
    fs::set_permissions(&undo, fs::Permissions::from_mode(0o600)).unwrap();
    // One of a user who may not write to the image.
    std::os::unix::fs::chown(&undo, Some(65_534), None).unwrap();
    assert!(message(recover(&path), &path).ends_with(expected));
    fs::remove_file(&undo).unwrap();
    fs::create_dir(&undo).unwrap();
    assert!(message(recover(&path), &path).ends_with("it is not a regular file"));
    fs::remove_dir(&undo).unwrap();
    symlink(&path, &undo).unwrap();
    assert!(message(recover(&path), &path).ends_with("it is not a regular file"));
    assert!(fs::read(&path).unwrap() == vec![7; 65_536]);
}

#[test]
fn an_undo_file_that_appears_meanwhile_stops_the_edit() {
    let directory = tempfile::tempdir().unwrap();
    let path = image(directory.path());
    let mut image = ImageMut::open(&path).unwrap();
    fs::write(undo_of(&path), "not ours").unwrap();
    let said = message(image.commit_in_place(&edit()), &path);
    assert!(said.ends_with("it appeared meanwhile"), "{said}");
    assert!(fs::read(&path).unwrap() == vec![7; 65_536]);
    assert_eq!(fs::read(undo_of(&path)).unwrap(), b"not ours");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn an_image_with_two_names_would_not_find_its_undo_file_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = image(directory.path());
    fs::hard_link(&path, directory.path().join("other")).unwrap();
    let mut image = ImageMut::open(&path).unwrap();
    assert_eq!(
        message(image.commit_in_place(&edit()), &path),
        "`PATH`: an edit in place without a journal, of an image with 2 names (hard links)"
    );
    assert!(fs::read(&path).unwrap() == vec![7; 65_536]);
}

#[test]
fn an_image_with_a_name_too_long_for_an_undo_file_beside_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    // A name has 255 bytes at most; `.autoxen-undo` has 13, and 7 more for a moment.
    for (len, fits) in [(255, false), (243, false), (236, false), (235, true)] {
        let path = directory.path().join("a".repeat(len));
        fs::write(&path, vec![7; 65_536]).unwrap();
        Image::open(&path).unwrap();
        let outcome = ImageMut::open(&path).unwrap().commit_in_place(&edit());
        assert_eq!(outcome.is_ok(), fits, "{len}: {outcome:?}");
        if !fits {
            assert_eq!(
                message(outcome, &path),
                "`PATH`: an edit in place without a journal, of an image whose name is too long to have an undo file \
                 beside it"
            );
            assert!(fs::read(&path).unwrap() == vec![7; 65_536]);
        }
        assert_eq!(recover(&path).unwrap(), Recovered::Nothing);
        fs::remove_file(path).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}

/// Bytes that this thread has read so far.
fn read_so_far() -> u64 {
    let io = fs::read_to_string("/proc/thread-self/io").expect("a kernel with accounting");
    let read = io.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("a count");
    read.parse().expect("a number")
}

#[test]
fn a_large_file_of_that_name_is_not_read_when_it_begins_as_no_undo_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = image(directory.path());
    File::create(undo_of(&path)).unwrap().set_len(1 << 29).unwrap();
    let before = read_so_far();
    assert!(message(Image::open(&path), &path).ends_with("it does not begin as one does"));
    assert!(read_so_far() - before < 1 << 24);
    File::create(undo_of(&path)).unwrap().set_len((1 << 30) + 1).unwrap();
    assert!(message(Image::open(&path), &path).ends_with("it is too large"));
}

#[test]
fn a_host_without_room_for_the_edit_or_its_undo_file_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let _mount = Mount::tmpfs(directory.path(), 1 << 20);
    let path = sparse_file(directory.path(), "disk.img", 1 << 20);
    let before = fs::read(&path).unwrap();
    // 768 KiB into a hole and as much for the undo file; and 2 MiB into holes; and what has room.
    for (len, fits) in [(768 << 10, false), ((1 << 20) - 4096, false), (64 << 10, true)] {
        let mut changes = Changes::new();
        changes.insert(0, vec![3; len]);
        let outcome = ImageMut::open(&path).unwrap().commit_in_place(&InPlace::undo(changes));
        assert_eq!(outcome.is_ok(), fits, "{len}: {outcome:?}");
        assert!(fits || matches!(outcome, Err(Error::HostFull(_))), "{len}: {outcome:?}");
        assert!(fits || fs::read(&path).unwrap() == before, "{len}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        // Holes that were reserved in vain take the room of the next edit.
        if !fits {
            assert!(fs::metadata(&path).unwrap().blocks() * 512 <= 4096, "the holes are back");
        }
    }
}
