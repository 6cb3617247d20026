//! Opening images beside other users of them, and committing to them on hosts of all kinds.
#![expect(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says enough, also in what tests share"
)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use imgfmt::{Changes, Error, Image, ImageMut, Storage};

mod judge;
use judge::{Mount, command, run, sparse_file, text};

const MIB: u64 = 1 << 20;

fn changes(writes: &[(u64, &[u8])]) -> Changes {
    let mut changes = Changes::new();
    for (offset, bytes) in writes {
        changes.insert(*offset, bytes.to_vec());
    }
    changes
}

fn message<T: std::fmt::Debug>(outcome: Result<T, Error>, path: &Path) -> String {
    outcome.unwrap_err().to_string().replace(text(path), "PATH")
}

/// A program that holds something for as long as it lives: it says a line once it has it.
struct Holder(Child);

impl Holder {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let mut child = command(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program was found");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("it is piped"))
            .read_line(&mut line)
            .expect("it says a line");
        assert_eq!(line.trim(), "ready", "{program} {arguments:?}");
        Self(child)
    }

    /// A lock by flock(1), `--shared` or `--exclusive`.
    fn flock(kind: &str, path: &Path) -> Self {
        Self::start("flock", &[kind, text(path), "-c", "echo ready; read line"])
    }

    /// The program ends with its input.
    fn end(mut self) {
        drop(self.0.stdin.take());
        self.0.wait().expect("the child is ours");
    }
}

/// A loop device that is detached in the end.
struct LoopDevice(String);

impl LoopDevice {
    fn attach(options: &[&str], path: &Path) -> Self {
        let arguments = [options, &["--find", "--show", text(path)]].concat();
        Self(run("losetup", &arguments).trim().to_string())
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        run("losetup", &["--detach", &self.0]);
    }
}

#[test]
fn only_regular_files_are_images() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let socket = directory.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (path, what) in [
        (directory.path(), "is a directory"),
        (Path::new("/dev/null"), "is a character device"),
        (&pipe, "is a named pipe"),
        (&socket, "is a socket"),
    ] {
        let expected = format!("`PATH`: {what}, not an image file");
        assert_eq!(message(Image::open(path), path), expected);
        assert_eq!(message(ImageMut::open(path), path), expected);
    }
    let absent = directory.path().join("absent");
    let expected = "`PATH`: No such file or directory (os error 2)";
    assert_eq!(message(Image::open(&absent), &absent), expected);
    assert_eq!(message(ImageMut::open(&absent), &absent), expected);
}

#[test]
fn a_block_device_is_not_an_image() {
    let directory = tempfile::tempdir().unwrap();
    let device = LoopDevice::attach(&[], &sparse_file(directory.path(), "image", MIB));
    let path = Path::new(&device.0);
    let expected = "`PATH`: is a block device, not an image file";
    assert_eq!(message(Image::open(path), path), expected);
    assert_eq!(message(ImageMut::open(path), path), expected);
}

#[test]
fn a_symbolic_link_to_an_image_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let image = sparse_file(directory.path(), "image", MIB);
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&image, &link).unwrap();
    assert_eq!(Image::open(&link).unwrap().len(), MIB);
}

#[test]
fn readers_share_an_image_and_an_edit_has_it_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = sparse_file(directory.path(), "image", MIB);
    let first = Image::open(&path).unwrap();
    let second = Image::open(&path).unwrap();
    let who = format!("process {} (", std::process::id());
    assert!(
        message(ImageMut::open(&path), &path)
            .starts_with(&format!("the image is in use: `PATH`: {who}"))
    );
    drop((first, second));
    let edit = ImageMut::open(&path).unwrap();
    assert!(message(Image::open(&path), &path).contains(&who));
    drop(edit);
    Image::open(&path).unwrap();
}

#[test]
fn the_process_that_holds_a_lock_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = sparse_file(directory.path(), "image", MIB);
    let holder = Holder::flock("--exclusive", &path);
    let expected =
        format!("the image is in use: `PATH`: process {} (flock) has locked it", holder.0.id());
    assert_eq!(message(Image::open(&path), &path), expected);
    assert_eq!(message(ImageMut::open(&path), &path), expected);
    holder.end();
    let holder = Holder::flock("--shared", &path);
    Image::open(&path).unwrap();
    assert!(message(ImageMut::open(&path), &path).contains("(flock) has locked it"));
    holder.end();
    ImageMut::open(&path).unwrap();
}

#[test]
fn a_loop_device_is_in_the_way_of_an_edit_and_a_writable_one_of_reading() {
    let directory = tempfile::tempdir().unwrap();
    let path = sparse_file(directory.path(), "image", MIB);
    let device = LoopDevice::attach(&["--read-only"], &path);
    let expected =
        format!("the image is in use: `PATH`: the loop device {} is attached to it", device.0);
    Image::open(&path).unwrap();
    assert_eq!(message(ImageMut::open(&path), &path), expected);
    drop(device);
    let device = LoopDevice::attach(&[], &path);
    let expected =
        format!("the image is in use: `PATH`: the loop device {} is attached to it", device.0);
    assert_eq!(message(Image::open(&path), &path), expected);
    assert_eq!(message(ImageMut::open(&path), &path), expected);
    drop(device);
    ImageMut::open(&path).unwrap();
}

/// qemu-io has the image open as a guest would, until its input ends; it is told to say a line.
fn qemu(options: &[&str], path: &Path) -> Holder {
    let mut child = command("qemu-io")
        .args([options, &["-f", "raw", text(path)]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program was found");
    let input = child.stdin.as_mut().expect("it is piped");
    std::io::Write::write_all(input, b"length\n").expect("it reads its input");
    // Its prompt has no end of line: the answer comes on the same line.
    let mut answer = [0; 1];
    let output = child.stdout.as_mut().expect("it is piped");
    while answer != *b"\n" {
        output.read_exact(&mut answer).expect("it answers");
    }
    Holder(child)
}

#[test]
fn a_qemu_that_writes_is_in_the_way_and_one_that_reads_only_of_an_edit() {
    let directory = tempfile::tempdir().unwrap();
    let path = sparse_file(directory.path(), "image", MIB);
    let holder = qemu(&[], &path);
    let expected = "the image is in use: `PATH`: QEMU, or a program that locks as it does, \
                    has it open for writing";
    assert_eq!(message(Image::open(&path), &path), expected);
    assert_eq!(message(ImageMut::open(&path), &path), expected);
    holder.end();
    let holder = qemu(&["-r"], &path);
    Image::open(&path).unwrap();
    assert_eq!(
        message(ImageMut::open(&path), &path),
        "the image is in use: `PATH`: QEMU, or a program that locks as it does, \
         has it open"
    );
    holder.end();
    ImageMut::open(&path).unwrap();
}

#[test]
fn a_stock_image_that_is_truncated_meanwhile_is_an_error_and_no_signal() {
    let directory = tempfile::tempdir().unwrap();
    let path = sparse_file(directory.path(), "image", MIB);
    let image = Image::open(&path).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(4096).unwrap();
    let error = image.read_at(8192, &mut [0; 512]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    image.read_at(0, &mut [0; 512]).unwrap();
    assert!(image.reader().read_to_end(&mut Vec::new()).is_err());
}

#[test]
fn a_reader_gives_all_bytes_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    let bytes: Vec<u8> = (0..100_000_u32).map(|nr| (nr % 251) as u8).collect();
    fs::write(&path, &bytes).unwrap();
    let mut read = Vec::new();
    Image::open(&path).unwrap().reader().read_to_end(&mut read).unwrap();
    assert!(read == bytes);
}

#[test]
fn a_commit_writes_its_ranges_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    let mut expected: Vec<u8> = (0..100_000_u32).map(|nr| (nr % 251) as u8).collect();
    fs::write(&path, &expected).unwrap();
    let mut image = ImageMut::open(&path).unwrap();
    // The first byte, a range over a page's border, and the last bytes of a file that ends within a page.
    image.commit(&changes(&[(0, &[1]), (4090, &[2; 100]), (99_990, &[3; 10])])).unwrap();
    image.sync().unwrap();
    expected[0] = 1;
    expected[4090..4190].fill(2);
    expected[99_990..].fill(3);
    assert!(fs::read(&path).unwrap() == expected);
    let mut seen = [0; 10];
    image.read_at(99_990, &mut seen).unwrap();
    assert_eq!(seen, [3; 10]);
    image.commit(&Changes::new()).unwrap();
}

#[test]
fn a_commit_allocates_the_pages_that_it_touches_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let path = sparse_file(directory.path(), "image", 1 << 35);
    let mut image = ImageMut::open(&path).unwrap();
    image.commit(&changes(&[(1 << 34, &[1; 10]), ((1 << 35) - 1, &[2])])).unwrap();
    let meta = fs::metadata(&path).unwrap();
    // Two pages, and at most two blocks of the host's own to find them.
    assert!((8192..=16_384).contains(&(meta.blocks() * 512)), "{}", meta.blocks());
    assert_eq!(meta.len(), 1 << 35);
}

#[test]
fn a_change_past_the_end_is_refused_before_a_byte_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = sparse_file(directory.path(), "image", 8192);
    let mut image = ImageMut::open(&path).unwrap();
    let error = image.commit(&changes(&[(0, &[1]), (8190, &[1; 3])])).unwrap_err().to_string();
    assert_eq!(
        error,
        "corrupt image: change at byte 8190 with 3 bytes reaches past the end of the image \
         (8192 bytes)"
    );
    assert!(fs::read(&path).unwrap() == [0; 8192]);
}

#[test]
fn an_image_that_shrinks_or_grows_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = sparse_file(directory.path(), "image", MIB);
    let mut image = ImageMut::open(&path).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    for (len, what) in [(4096, "shrank"), (2 * MIB, "grew")] {
        file.set_len(len).unwrap();
        let expected = format!(
            "the image is in use: `PATH` {what} from 1048576 to {len} bytes while it was open"
        );
        assert_eq!(message(image.commit(&changes(&[(0, &[1])])), &path), expected);
    }
}

/// A host file system of `size` bytes, full but for a few blocks.
struct Full {
    _directory: tempfile::TempDir,
    _mount: Mount,
    root: PathBuf,
}

impl Full {
    fn tmpfs(size: u64) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mount = Mount::tmpfs(directory.path(), size);
        Self { root: directory.path().into(), _directory: directory, _mount: mount }
    }

    fn made_by(program: &str, options: &[&str], size: u64) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let disk = sparse_file(directory.path(), "host", size);
        run(program, &[options, &[text(&disk)]].concat());
        let root = directory.path().join("mount");
        fs::create_dir(&root).expect("the directory is ours");
        let mount = Mount::image(&disk, &root);
        Self { root, _directory: directory, _mount: mount }
    }

    /// Write until nothing goes, then take `left` bytes away again.
    fn fill(&self, left: u64) {
        let file = File::create(self.root.join("filler")).expect("a name costs nothing");
        let mut len = 0;
        while file.write_all_at(&[0xaa; 4096], len).is_ok() {
            len += 4096;
        }
        file.sync_all().expect("what was written has room");
        if left > 0 {
            file.set_len(len.saturating_sub(left)).expect("less always goes");
        }
        file.sync_all().expect("what was written has room");
    }
}

/// An image on `host` with data at its beginning and a hole behind it; a commit of more than there is room for, and one
/// that fits.
fn assert_a_full_host_changes_nothing(host: &Full, len: u64) {
    let path = host.root.join("image");
    let file = File::create(&path).unwrap();
    file.write_all_at(&[7; 8192], 0).unwrap();
    file.set_len(len).unwrap();
    file.sync_all().unwrap();
    host.fill(64 << 10);
    let before = fs::read(&path).unwrap();
    let blocks = fs::metadata(&path).unwrap().blocks();
    let mut image = ImageMut::open(&path).unwrap();
    // The first ranges have room, the last has not.
    let many = vec![1; 4 << 20];
    let error = image.commit(&changes(&[(100, &[1; 100]), (MIB, &[2; 8192]), (2 * MIB, &many)]));
    // 4096 and 8192 for the first two.
    assert_eq!(
        message(error, &path),
        "no space left on the host: `PATH`: the change needs 4206592 bytes"
    );
    assert!(fs::read(&path).unwrap() == before);
    assert_eq!(fs::metadata(&path).unwrap().blocks(), blocks, "the holes are holes again");
    // What is in use already is written even on a full host.
    image.commit(&changes(&[(100, &[3; 100])])).unwrap();
    assert!(fs::read(&path).unwrap()[100..200] == [3; 100]);
}

#[test]
fn a_full_tmpfs_is_an_error_and_the_image_is_as_it_was() {
    assert_a_full_host_changes_nothing(&Full::tmpfs(4 * MIB), 16 * MIB);
}

#[test]
fn a_full_ext4_is_an_error_and_the_image_is_as_it_was() {
    let host = Full::made_by("mke2fs", &["-q", "-t", "ext4", "-m0"], 16 * MIB);
    assert_a_full_host_changes_nothing(&host, 16 * MIB);
}

/// ext2 cannot allocate ahead.
#[test]
fn a_full_ext2_is_an_error_and_the_image_is_as_it_was() {
    let host = Full::made_by("mke2fs", &["-q", "-t", "ext2", "-m0", "-b4096"], 16 * MIB);
    assert_a_full_host_changes_nothing(&host, 16 * MIB);
}

#[test]
fn a_host_that_cannot_allocate_ahead_gets_the_change_all_the_same() {
    let host = Full::made_by("mke2fs", &["-q", "-t", "ext2"], 16 * MIB);
    let path = sparse_file(&host.root, "image", 4 * MIB);
    let mut image = ImageMut::open(&path).unwrap();
    image.commit(&changes(&[(MIB, &[1; 8192])])).unwrap();
    let mut expected = vec![0; 4 << 20];
    expected[1 << 20..][..8192].fill(1);
    assert!(fs::read(&path).unwrap() == expected);
}

/// On btrfs each write goes to a new place, so that a block in use is no promise.
#[test]
fn a_full_btrfs_is_an_error_and_the_image_is_as_it_was() {
    let host = Full::made_by("mkfs.btrfs", &["-q", "--mixed"], 64 * MIB);
    let path = host.root.join("image");
    let file = File::create(&path).unwrap();
    file.write_all_at(&[7; 8192], 0).unwrap();
    file.set_len(64 * MIB).unwrap();
    let mut image = ImageMut::open(&path).unwrap();
    image.commit(&changes(&[(100, &[3; 100]), (MIB, &[4; 4096])])).unwrap();
    let before = fs::read(&path).unwrap();
    assert!(before[100..200] == [3; 100] && before[1 << 20..][..4096] == [4; 4096]);
    host.fill(0);
    let many = vec![1; 32 << 20];
    let error = image.commit(&changes(&[(0, &[9; 100]), (2 * MIB, &many)])).unwrap_err();
    assert!(matches!(error, Error::HostFull(_)), "{error}");
    let after = fs::read(&path).unwrap();
    assert!(after == before);
}

/// A reflinked copy shares its blocks: a write needs new ones even where there is no hole.
#[test]
fn a_reflinked_image_on_a_full_xfs_is_an_error_and_the_image_is_as_it_was() {
    let host = Full::made_by("mkfs.xfs", &["-q", "-m", "reflink=1"], 320 * MIB);
    let stock = host.root.join("stock");
    fs::write(&stock, vec![5; 16 << 20]).unwrap();
    let path = host.root.join("image");
    let copy = File::create(&path).unwrap();
    let report = imgfmt::copy::copy_sparse(&Image::open(&stock).unwrap(), &copy, &mut |_, _| {
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    assert!(report.cloned);
    host.fill(0);
    let mut image = ImageMut::open(&path).unwrap();
    let error = image.commit(&changes(&[(0, &[6; 16 << 20])])).unwrap_err();
    assert!(matches!(error, Error::HostFull(_)), "{error}");
    assert!(fs::read(&path).unwrap() == vec![5; 16 << 20]);
    drop(image);
    // XFS frees what a removed file had some time later: of one that is cut, the room is there at the next sync.
    let filler = File::options().write(true).open(host.root.join("filler")).unwrap();
    filler.set_len(0).unwrap();
    filler.sync_all().unwrap();
    let mut image = ImageMut::open(&path).unwrap();
    image.commit(&changes(&[(4096, &[6; 4096])])).unwrap();
    assert!(fs::read(&path).unwrap()[4096..8192] == [6; 4096]);
    assert!(fs::read(&stock).unwrap() == vec![5; 16 << 20]);
}

#[test]
fn what_is_written_past_the_lock_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    std::fs::write(&path, [0; 4096]).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    // A time of its own: two writes within one tick of the kernel's clock bear the same.
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let image = Image::open(&path).unwrap();
    image.check_unchanged().unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"x", 17).unwrap();
    let error = image.check_unchanged().unwrap_err();
    let said =
        format!("the image is in use: `{}`: it was changed while it was read", path.display());
    assert_eq!(error.to_string(), said);
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    image.check_unchanged().unwrap();
    file.set_len(8192).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    image.check_unchanged().unwrap_err();
}

#[test]
fn an_image_that_was_read_is_opened_for_an_edit_only_if_it_is_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("root.img");
    fs::write(&path, vec![1; 4096]).unwrap();

    let image = Image::open(&path).unwrap().into_mut().unwrap();
    assert!(matches!(Image::open(&path), Err(Error::Busy(_))), "the lock is exclusive");
    drop(image);

    let image = Image::open(&path).unwrap();
    fs::write(&path, vec![2; 4097]).unwrap();
    assert_eq!(
        message(image.into_mut(), &path),
        "the image is in use: `PATH`: it was changed while it was read"
    );

    let image = Image::open(&path).unwrap();
    let other = directory.path().join("other.img");
    run("cp", &["-p", text(&path), text(&other)]);
    fs::rename(other, &path).unwrap();
    assert_eq!(
        message(image.into_mut(), &path),
        "the image is in use: `PATH`: it was replaced meanwhile"
    );

    let (first, second) = (Image::open(&path).unwrap(), Image::open(&path).unwrap());
    assert!(matches!(first.into_mut(), Err(Error::Busy(_))), "somebody else reads it");
    drop(second);
}

#[test]
fn an_image_that_was_replaced_is_noticed_by_who_goes_by_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = sparse_file(directory.path(), "image", MIB);
    let image = Image::open(&path).unwrap();
    image.check_in_place().unwrap();
    let other = sparse_file(directory.path(), "other", MIB);
    fs::rename(other, &path).unwrap();
    // What is open has not changed.
    image.check_unchanged().unwrap();
    let error = image.check_in_place().unwrap_err().to_string();
    assert!(error.ends_with("it was replaced meanwhile"), "{error}");
    fs::remove_file(&path).unwrap();
    assert!(image.check_in_place().is_err());
}
