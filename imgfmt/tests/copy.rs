//! Sparse copies, against the source and against what the host says of holes.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use imgfmt::copy::{CopyReport, copy_sparse, write_sparse};
use imgfmt::{Error, Image, Storage, Volume};

mod judge;
use judge::{Mount, run, sparse_file, text};

const MIB: u64 = 1 << 20;

fn copy(from: &Path, to: &Path) -> Result<CopyReport, Error> {
    let to = File::create(to).expect("the directory is ours");
    copy_sparse(&Image::open(from)?, &to, &mut |_, _| ControlFlow::Continue(()))
}

/// Data at the beginning, in two places in the middle that are not aligned, and a hole at the end.
fn source(directory: &Path) -> std::path::PathBuf {
    let path = sparse_file(directory, "stock", 64 * MIB + 100);
    let file = File::options().write(true).open(&path).expect("it was made");
    for (offset, len) in [(0, 10_000), (5 * MIB + 77, 3 << 20), (40 * MIB, 4096)] {
        file.write_all_at(&vec![0x5a; len], offset).expect("there is room");
    }
    file.sync_all().expect("there is room");
    path
}

fn assert_copied(from: &Path, to: &Path) {
    assert!(fs::read(from).expect("a file") == fs::read(to).expect("a file"), "other bytes");
    let used = |path: &Path| fs::metadata(path).expect("a file").blocks() * 512;
    // Hosts differ in how many blocks they need to find the others.
    assert!(used(to) <= used(from) + 128 * 1024, "{} and {}", used(from), used(to));
}

#[test]
fn a_copy_has_the_same_bytes_and_the_same_holes() {
    let directory = tempfile::tempdir().unwrap();
    let from = source(directory.path());
    let to = directory.path().join("copy");
    let report = copy(&from, &to).unwrap();
    assert!(!report.cloned);
    // Whole blocks: 3, 769 and 1 of 4096 bytes.
    assert_eq!(report.bytes_copied, 773 * 4096);
    assert_copied(&from, &to);
}

#[test]
fn whatever_the_target_held_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let from = source(directory.path());
    let path = directory.path().join("copy");
    fs::write(&path, vec![0xff; 80 << 20]).unwrap();
    let to = File::options().write(true).open(&path).unwrap();
    copy_sparse(&Image::open(&from).unwrap(), &to, &mut |_, _| ControlFlow::Continue(())).unwrap();
    assert_copied(&from, &path);
}

#[test]
fn holes_stay_holes_from_one_file_system_to_another() {
    let directory = tempfile::tempdir().unwrap();
    let mounted = directory.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    let _mount = Mount::tmpfs(&mounted, 16 * MIB);
    let from = source(directory.path());
    let there = mounted.join("there");
    copy(&from, &there).unwrap();
    assert_copied(&from, &there);
    let back = directory.path().join("back");
    copy(&there, &back).unwrap();
    assert_copied(&from, &back);
}

#[test]
fn zero_blocks_are_skipped_where_data_is_copied_by_hand() {
    let directory = tempfile::tempdir().unwrap();
    let mounted = directory.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    let _mount = Mount::tmpfs(&mounted, MIB);
    let from = directory.path().join("stock");
    let mut bytes = vec![0; 8 << 20];
    bytes[5_000_000] = 1;
    fs::write(&from, &bytes).unwrap();
    // 8 MiB of data with one block that is not zero have room on a host of 1 MiB.
    let report = copy(&from, &mounted.join("copy")).unwrap();
    assert_eq!(report, CopyReport { bytes_copied: 4096, cloned: false });
    assert!(fs::read(mounted.join("copy")).unwrap() == bytes);
}

#[test]
fn a_file_system_that_can_share_blocks_shares_them() {
    let directory = tempfile::tempdir().unwrap();
    let disk = sparse_file(directory.path(), "host", 320 * MIB);
    run("mkfs.xfs", &["-q", "-m", "reflink=1", text(&disk)]);
    let mounted = directory.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    let _mount = Mount::image(&disk, &mounted);
    let from = source(&mounted);
    let to = mounted.join("copy");
    let report = copy(&from, &to).unwrap();
    assert_eq!(report, CopyReport { bytes_copied: 0, cloned: true });
    assert_copied(&from, &to);
}

#[test]
fn an_empty_image_and_one_that_is_all_hole_are_copied() {
    let directory = tempfile::tempdir().unwrap();
    for len in [0, 1, 4096, 33 * MIB] {
        let from = sparse_file(directory.path(), "stock", len);
        let to = directory.path().join("copy");
        let report = copy(&from, &to).unwrap();
        assert_eq!(report.bytes_copied, 0);
        assert_copied(&from, &to);
    }
}

#[test]
fn a_full_host_is_an_error_that_names_the_copy() {
    let directory = tempfile::tempdir().unwrap();
    let mounted = directory.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    let _mount = Mount::tmpfs(&mounted, MIB);
    let from = source(directory.path());
    let before = fs::read(&from).unwrap();
    let to = mounted.join("copy");
    let error = copy(&from, &to).unwrap_err();
    assert!(matches!(error, Error::HostFull(_)));
    let expected = format!("no space left on the host: `{}`: copy of 67108964 bytes", to.display());
    assert_eq!(error.to_string(), expected);
    assert!(fs::read(&from).unwrap() == before);
}

#[test]
fn a_source_that_becomes_shorter_meanwhile_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    for shorter in [0, 6 * MIB, 50 * MIB] {
        let from = source(directory.path());
        let image = Image::open(&from).unwrap();
        let to = File::create(directory.path().join("copy")).unwrap();
        let mut cut = Some(File::options().write(true).open(&from).unwrap());
        let error = copy_sparse(&image, &to, &mut |_, _| {
            if let Some(file) = cut.take() {
                file.set_len(shorter).unwrap();
            }
            ControlFlow::Continue(())
        })
        .unwrap_err()
        .to_string();
        let expected =
            format!("`{}` became shorter than 67108964 bytes while it was read: ", from.display());
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn progress_rises_to_the_length_and_can_stop_the_copy() {
    let directory = tempfile::tempdir().unwrap();
    let from = source(directory.path());
    let image = Image::open(&from).unwrap();
    let to = File::create(directory.path().join("copy")).unwrap();
    let mut told = Vec::new();
    let mut progress = |done, total| {
        told.push((done, total));
        ControlFlow::Continue(())
    };
    copy_sparse(&image, &to, &mut progress).unwrap();
    let total = 64 * MIB + 100;
    assert!(told.is_sorted() && told.iter().all(|(_, of)| *of == total), "{told:?}");
    assert_eq!(told.last(), Some(&(total, total)));
    let stopped = copy_sparse(&image, &to, &mut |_, _| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(Error::Stopped)));
}

#[test]
fn any_storage_is_written_with_its_holes() {
    let directory = tempfile::tempdir().unwrap();
    let from = source(directory.path());
    let image = Image::open(&from).unwrap();
    let to = directory.path().join("written");
    // What the target held is lost, and so is what it held behind the end.
    fs::write(&to, vec![0xff; 80 << 20]).unwrap();
    let file = File::options().write(true).open(&to).unwrap();
    let mut told = Vec::new();
    let mut progress = |done, total| {
        told.push((done, total));
        ControlFlow::Continue(())
    };
    let report = write_sparse(&image, &file, &mut progress).unwrap();
    assert!(!report.cloned && report.bytes_copied < 4 * MIB, "{report:?}");
    assert_copied(&from, &to);
    let total = 64 * MIB + 100;
    assert!(told.is_sorted() && told.iter().all(|(_, of)| *of == total), "{told:?}");
    assert_eq!(told.last(), Some(&(total, total)));
    // A window that begins and ends within blocks, of a storage that knows nothing of holes.
    let bytes = fs::read(&from).unwrap();
    let window = Volume::new(&bytes, 5 * MIB + 1, 5 * MIB).unwrap();
    write_sparse(&window, &file, &mut |_, _| ControlFlow::Continue(())).unwrap();
    let start = usize::try_from(5 * MIB + 1).unwrap();
    assert!(fs::read(&to).unwrap() == bytes[start..start + (5 << 20)]);
    file.sync_all().unwrap();
    assert!(file.metadata().unwrap().blocks() * 512 < 4 * MIB);
    let stopped = write_sparse(&image, &file, &mut |_, _| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(Error::Stopped)));
    // Nothing but zeros, and nothing at all.
    for len in [0, 3 * MIB + 1] {
        let zeros = vec![0; usize::try_from(len).unwrap()];
        let report = write_sparse(&zeros, &file, &mut |_, _| ControlFlow::Continue(())).unwrap();
        let written = file.metadata().unwrap();
        assert_eq!((report.bytes_copied, written.len(), written.blocks()), (0, len, 0));
    }
}

/// A disk whose second MiB cannot be read.
struct Damaged(std::io::ErrorKind);

impl Storage for Damaged {
    fn len(&self) -> u64 {
        4 * MIB
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        buf.fill(1);
        match offset + buf.len() as u64 > MIB {
            true => Err(std::io::Error::new(self.0, "corrupt qcow2: byte 1048576")),
            false => Ok(()),
        }
    }
}

#[test]
fn damage_of_a_format_is_told_from_what_the_host_says() {
    let directory = tempfile::tempdir().unwrap();
    let to = File::create(directory.path().join("written")).unwrap();
    let error = |kind| {
        write_sparse(&Damaged(kind), &to, &mut |_, _| ControlFlow::Continue(())).unwrap_err()
    };
    let damage = error(std::io::ErrorKind::InvalidData);
    assert!(matches!(damage, Error::Corrupt(_)));
    assert_eq!(damage.to_string(), "corrupt image: qcow2: byte 1048576");
    assert!(matches!(error(std::io::ErrorKind::Other), Error::Io { .. }));
}
