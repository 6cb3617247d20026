//! Overlays, against QEMU: an edit laid over an image is what a raw copy is that was edited, byte for byte.

use std::cell::Cell;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use imgfmt::copy::copy_sparse;
use imgfmt::ext::Fs;
use imgfmt::qcow2::{self, Backing, Header, Layer, Qcow2, Written, write_overlay};
use imgfmt::{Changes, Error, Image, ImageMut, Storage, Volume};

mod judge;
use judge::{Mount, run, sparse_file, text};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

struct Random(u64);

impl Random {
    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 16) % end
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }
}

/// A raw image, and the overlay that is made of it.
struct Lab {
    directory: tempfile::TempDir,
    raw: PathBuf,
}

impl Lab {
    /// A disk of `len` bytes with noise at its beginning, in its middle and at its end.
    fn new(len: u64) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let raw = sparse_file(directory.path(), "base.raw", len);
        let file = File::options().write(true).open(&raw).expect("it is there");
        let mut random = Random(len);
        for at in [0, len / 3, len / 2 + 12_345, len.saturating_sub(200_000)] {
            let noise = random.bytes(len.saturating_sub(at).min(200_000));
            file.write_all_at(&noise, at).expect("there is room");
        }
        Self { directory, raw }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The raw image in another form.
    fn base(&self, form: Form) -> PathBuf {
        let options: &[&str] = match form {
            Form::Raw => return self.raw.clone(),
            Form::Qcow2 => &["-o", "cluster_size=64k"],
            Form::Compressed => &["-o", "compression_type=zstd", "-c"],
        };
        let path = self.path("base.qcow2");
        let arguments =
            [&["convert", "-f", "raw", "-O", "qcow2"], options, &[text(&self.raw), text(&path)]];
        run("qemu-img", &arguments.concat());
        path
    }

    fn overlay(&self, base: &Path, changes: &Changes) -> (PathBuf, Written) {
        let path = self.path("overlay.qcow2");
        let to = File::create(&path).expect("the directory is ours");
        let written = write_overlay(changes, &layer(base), &backing(base), &to);
        (path, written.expect("there is room"))
    }

    /// A raw copy that was edited.
    fn twin(&self, changes: &Changes) -> PathBuf {
        let path = self.path("twin.raw");
        let file = File::create(&path).expect("the directory is ours");
        let from = Image::open(&self.raw).expect("it is there");
        let mut go_on = |_, _| std::ops::ControlFlow::Continue(());
        copy_sparse(&from, &file, &mut go_on).expect("there is room");
        for (offset, bytes) in changes.iter() {
            file.write_all_at(bytes, offset).expect("there is room");
        }
        path
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Raw,
    Qcow2,
    Compressed,
}

fn is_qcow2(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "qcow2")
}

fn layer(path: &Path) -> Layer {
    let image = Image::open(path).expect("it is there");
    match is_qcow2(path) {
        true => Layer::Qcow2(Box::new(qcow2::open(image, &[]).expect("it is whole"))),
        false => Layer::Raw(image),
    }
}

fn backing(path: &Path) -> Backing {
    let format = if is_qcow2(path) { "qcow2" } else { "raw" };
    Backing { name: text(path).into(), format: Some(format.into()) }
}

/// The overlay as our own reader reads it, over `base`, which is open already: no name is looked at.
fn open_over(path: &Path, base: &Path) -> Qcow2<Image, Layer> {
    let file = Image::open(path).expect("it is there");
    let header = Header::read(&file).expect("it is whole");
    Qcow2::new(file, header, Some(layer(base))).expect("it has a backing file")
}

/// Wherever `one` has data, `other` has the same.
fn assert_within(one: &dyn Storage, other: &dyn Storage, what: &str) {
    let (mut mine, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0;
    while let Some(data) = one.data_from(at).expect(what) {
        assert!(data.start < data.end && at < data.end, "{what}: {data:?} from {at}");
        at = at.max(data.start);
        while at < data.end {
            let len = (data.end - at).min(MIB) as usize;
            let held = other.len().saturating_sub(at).min(len as u64) as usize;
            one.read_at(at, &mut mine[..len]).expect(what);
            other.read_at(at, &mut theirs[..held]).expect(what);
            theirs[held..len].fill(0);
            assert!(mine[..len] == theirs[..len], "{what}: at byte {at}");
            at += len as u64;
        }
    }
}

fn json(arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&run("qemu-img", arguments)).expect("QEMU writes JSON")
}

/// QEMU finds the overlay whole, and finds in it what is in `twin`; so do we.
fn assert_is(overlay: &Path, base: &Path, twin: &Path, what: &str) {
    let check = json(&["check", "--output=json", "-f", "qcow2", text(overlay)]);
    for field in ["leaks", "corruptions", "check-errors"] {
        let found = check.get(field).and_then(serde_json::Value::as_u64).unwrap_or(0);
        assert_eq!(found, 0, "{what}: {field}");
    }
    let info = json(&["info", "--output=json", "-f", "qcow2", text(overlay)]);
    assert_eq!(info["backing-filename"], text(base), "{what}");
    let format = if is_qcow2(base) { "qcow2" } else { "raw" };
    assert_eq!(info["backing-filename-format"], format, "{what}");
    let len = fs::metadata(twin).expect("it is there").len();
    assert_eq!(info["virtual-size"], len.next_multiple_of(512), "{what}");
    // Without `-f`: no format is looked for behind QEMU's back, or it would warn.
    let compared = judge::outcome("qemu-img", &["compare", "-F", "raw", text(overlay), text(twin)]);
    assert!(compared.status.success(), "{what}: {compared:?}");
    assert_eq!(String::from_utf8_lossy(&compared.stderr), "", "{what}");

    let ours = open_over(overlay, base);
    assert_eq!(ours.len(), len.next_multiple_of(512), "{what}");
    let twin = Image::open(twin).expect("it is there");
    assert_within(&ours, &twin, what);
    assert_within(&twin, &ours, what);
}

/// Changes of every kind, some far apart, some beside one another, that do not overlap.
fn random_changes(random: &mut Random, len: u64, count: u64) -> Changes {
    let mut taken: Vec<(u64, u64)> = Vec::new();
    let mut changes = Changes::new();
    let mut insert = |at: u64, bytes: Vec<u8>| {
        let end = at + bytes.len() as u64;
        if end <= len && taken.iter().all(|(start, stop)| end <= *start || *stop <= at) {
            taken.push((at, end));
            changes.insert(at, bytes);
        }
    };
    // At the very end, and at the very beginning.
    insert(len - 3, random.bytes(3));
    insert(0, random.bytes(2));
    for nr in 0..count {
        // Half of them where the image has data.
        let anywhere = random.below(len);
        let at = if nr % 2 == 0 { anywhere } else { len / 3 + random.below(200_000).min(len / 3) };
        let border = at.next_multiple_of(64 * KIB);
        match random.below(6) {
            0 => insert(at, random.bytes(1)),
            1 => insert(border.saturating_sub(5), random.bytes(11)),
            2 => {
                let size = 1 + random.below(150_000);
                insert(at, random.bytes(size));
            }
            // Whole clusters of zeros, and zeros within some.
            3 => insert(border, vec![0; 128 << 10]),
            4 => insert(at, vec![0; 50_000]),
            // Two that touch.
            _ => {
                insert(at, random.bytes(100));
                insert(at + 100, random.bytes(30_000));
            }
        }
    }
    changes
}

#[test]
fn an_overlay_is_what_a_raw_copy_is_that_was_edited() {
    let mut random = Random(20_261_201);
    for (len, forms) in [
        (64 * MIB, &[Form::Raw, Form::Qcow2, Form::Compressed][..]),
        (64 * MIB - 100, &[Form::Raw, Form::Qcow2]),
        (64 * MIB + 512 * 3, &[Form::Raw, Form::Compressed]),
        (40_001, &[Form::Raw]),
        (2 * GIB, &[Form::Raw, Form::Qcow2, Form::Compressed]),
        (2 * GIB + 16 * KIB - 1, &[Form::Raw]),
        (TIB, &[Form::Raw, Form::Compressed]),
        (TIB + 7, &[Form::Raw]),
        (5 * TIB, &[Form::Raw]),
    ] {
        let lab = Lab::new(len);
        for form in forms {
            let base = lab.base(*form);
            for count in [0, 10, 60] {
                let what = format!("{len} bytes, {form:?}, {count} changes");
                let changes = random_changes(&mut random, len, count);
                let (overlay, written) = lab.overlay(&base, &changes);
                let found = fs::metadata(&overlay).expect("it is there").len();
                assert_eq!(
                    (written.file_len, written.disk_len),
                    (found, len.next_multiple_of(512))
                );
                let twin = lab.twin(&changes);
                assert_is(&overlay, &base, &twin, &what);
                if len <= 64 * MIB {
                    let raw = lab.path("by-qemu.raw");
                    run("qemu-img", &["convert", "-O", "raw", text(&overlay), text(&raw)]);
                    let mut expected = fs::read(twin).expect("it is there");
                    expected.resize(expected.len().next_multiple_of(512), 0);
                    assert!(fs::read(raw).expect("it is there") == expected, "{what}: converted");
                }
            }
        }
    }
}

#[test]
fn an_edit_of_nothing_is_an_overlay_of_tables_alone() {
    for (len, file_len) in [
        // Header, L1, reference counts and their table.
        (64 * MIB, 4 * 16 * KIB),
        // An L1 table of 32768 entries.
        (TIB, (3 + 16) * 16 * KIB),
        // Nothing for an L1 table to tell of.
        (0, 3 * 16 * KIB),
    ] {
        let lab = Lab::new(len);
        let (overlay, written) = lab.overlay(&lab.raw, &Changes::new());
        assert_eq!(written, Written { disk_len: len, file_len });
        assert_is(&overlay, &lab.raw, &lab.raw, &format!("{len} bytes"));
    }
}

#[test]
fn ten_changes_far_apart_are_as_long_as_the_module_says() {
    // header, data and L2, L1, counts, as in the documentation of the overlay, in KiB.
    for (len, kib) in [(64 * GIB, 384), (TIB, 624), (4 * TIB, 992), (8 * TIB, 1600)] {
        let lab = Lab::new(len);
        let mut changes = Changes::new();
        for nr in 0..10 {
            changes.insert(nr * (len / 10) + 777, b"a line of text\n".to_vec());
        }
        let (overlay, written) = lab.overlay(&lab.raw, &changes);
        assert_eq!(written.file_len, kib * KIB, "{len} bytes");
        assert_is(&overlay, &lab.raw, &lab.twin(&changes), &format!("{len} bytes"));
    }
}

#[test]
fn a_cluster_that_becomes_zeros_hides_the_backing_file_and_takes_no_room() {
    let lab = Lab::new(64 * MIB);
    let mut changes = Changes::new();
    changes.insert(16 * KIB, vec![0; 32 << 10]);
    // All of the noise in the middle: what the layer below says of it is over before it is of any use.
    changes.insert(32 * MIB, vec![0; 256 << 10]);
    let (overlay, written) = lab.overlay(&lab.raw, &changes);
    assert_is(&overlay, &lab.raw, &lab.twin(&changes), "zeros");
    // Two L2 tables more than an empty one.
    assert_eq!(written.file_len, 6 * 16 * KIB);
    let map = json(&["map", "--output=json", text(&overlay)]);
    let zeros = map.as_array().expect("runs").iter().find(|run| run["start"] == 16 * KIB);
    let zeros = zeros.expect("a run begins there");
    assert_eq!((&zeros["length"], &zeros["depth"]), (&(32 * KIB).into(), &0.into()));
    assert_eq!((&zeros["zero"], &zeros["data"]), (&true.into(), &false.into()));
}

#[test]
fn qemu_writes_to_an_overlay_and_it_stays_whole() {
    for (len, form) in [(64 * MIB, Form::Compressed), (TIB, Form::Raw)] {
        let lab = Lab::new(len);
        let base = lab.base(form);
        let changes = random_changes(&mut Random(7), len, 20);
        let (overlay, _) = lab.overlay(&base, &changes);
        let twin = lab.twin(&changes);
        let (third, end) = (len / 3 / 512 * 512, len - 4096);
        for command in [
            "write -P 0x51 0 3k".to_string(),
            format!("write -P 0x52 {third} 100k"),
            format!("write -z {} 64k", third + 128 * KIB),
            format!("write -P 0x53 {end} 4k"),
            // Through more L2 tables and, on the small disk, more data than the writer left room for.
            "write -P 0x54 30M 20M".to_string(),
        ] {
            run("qemu-io", &["-f", "qcow2", "-c", &command, text(&overlay)]);
            run("qemu-io", &["-f", "raw", "-c", &command, text(&twin)]);
        }
        assert_is(&overlay, &base, &twin, &format!("{len} bytes"));
    }
}

#[test]
fn an_overlay_lies_over_another() {
    let lab = Lab::new(64 * MIB);
    let mut random = Random(11);
    let first = random_changes(&mut random, 64 * MIB, 20);
    let (middle, _) = lab.overlay(&lab.raw, &first);
    let named = lab.path("middle.qcow2");
    fs::rename(middle, &named).expect("the directory is ours");
    let second = random_changes(&mut random, 64 * MIB, 20);
    let (top, _) = lab.overlay(&named, &second);
    let twin = lab.twin(&first);
    let file = File::options().write(true).open(&twin).expect("it is there");
    for (offset, bytes) in second.iter() {
        file.write_all_at(bytes, offset).expect("there is room");
    }
    assert_is(&top, &named, &twin, "two");
}

#[test]
fn a_name_is_taken_as_it_is() {
    let lab = Lab::new(40_000);
    let mut changes = Changes::new();
    changes.insert(10, vec![1; 10]);
    let twin = lab.twin(&changes);
    // A colon makes a protocol of a name that does not begin with a slash.
    let mut names = vec![lab.path("nbd:one, two %20=3.raw")];
    // Exactly 1023 bytes.
    let mut deep = lab.path("");
    while 1023 - text(&deep).len() > 255 {
        deep = deep.join("d".repeat(150)).join("");
    }
    fs::create_dir_all(&deep).expect("the directory is ours");
    names.push(deep.join("n".repeat(1023 - text(&deep).len())));
    assert_eq!(text(&names[1]).len(), 1023);
    for name in names {
        fs::copy(&lab.raw, &name).expect("the directory is ours");
        let (overlay, _) = lab.overlay(&name, &changes);
        assert_is(&overlay, &name, &twin, text(&name));
    }
}

#[test]
fn what_lies_in_another_directory_is_read_by_who_has_it_open() {
    let (lab, other) = (Lab::new(MIB), Lab::new(MIB));
    let mut changes = Changes::new();
    changes.insert(10, vec![1; 10]);
    let (overlay, _) = lab.overlay(&other.raw, &changes);
    let image = Image::open(&overlay).expect("it is there");
    assert!(matches!(qcow2::open(image, &[]), Err(Error::BackingElsewhere { .. })));
    assert_is(&overlay, &other.raw, &other.twin(&changes), "elsewhere");
}

/// Zeros, and how often they were asked where data is.
struct Asked(Rc<Cell<u32>>);

impl Storage for Asked {
    fn len(&self) -> u64 {
        TIB
    }

    fn read_at(&self, _: u64, buf: &mut [u8]) -> io::Result<()> {
        buf.fill(0);
        Ok(())
    }

    fn data_from(&self, _: u64) -> io::Result<Option<std::ops::Range<u64>>> {
        self.0.set(self.0.get() + 1);
        Ok(None)
    }
}

#[test]
fn the_layer_below_is_asked_once_for_its_next_data() {
    let lab = Lab::new(0);
    let count = Rc::new(Cell::new(0));
    let below = Asked(Rc::clone(&count));
    let mut changes = Changes::new();
    changes.insert(TIB / 2, vec![1; 10]);
    let path = lab.path("overlay.qcow2");
    let to = File::create(&path).expect("the directory is ours");
    write_overlay(&changes, &below, &backing(&lab.raw), &to).expect("there is room");
    let file = Image::open(&path).expect("it is there");
    let header = Header::read(&file).expect("it is whole");
    let disk = Qcow2::new(file, header, Some(below)).expect("it has a backing file");
    let run = TIB / 2..TIB / 2 + 16 * KIB;
    assert_eq!(disk.data_from(0).expect("it is whole"), Some(run.clone()));
    assert_eq!(disk.data_from(run.end).expect("it is whole"), None);
    // Once before the change and once behind it, not for each of 32768 entries of the L1 table.
    assert_eq!(count.get(), 2);
}

/// An edit of `/etc/fstab`, as a file system makes it.
#[test]
#[expect(clippy::print_stderr, reason = "the figures are what it is for")]
fn an_edit_of_fstab_is_less_than_a_mebibyte() {
    for (len, size) in [(64 * MIB, "64M"), (2 * GIB, "2G"), (TIB, "1T")] {
        let lab = Lab::new(0);
        let tree = lab.path("tree");
        fs::create_dir_all(tree.join("etc")).expect("the directory is ours");
        fs::write(tree.join("etc/fstab"), "/dev/xvda1 / ext4 defaults 0 1\n").expect("room");
        run("mke2fs", &["-q", "-t", "ext4", "-d", text(&tree), text(&lab.raw), size]);
        let changes = {
            let image = Image::open(&lab.raw).expect("it is there");
            assert_eq!(image.len(), len);
            let fs = Fs::open(Volume::whole(&image)).expect("it is whole");
            let fstab = fs.read("/etc/fstab").expect("it is there");
            let mut tx = fs.begin(1_767_225_600).expect("it is clean");
            let more = [&fstab[..], b"tmpfs /tmp tmpfs defaults 0 0\n"].concat();
            tx.write("/etc/fstab", more).expect("there is room");
            tx.finish().expect("there is room")
        };
        let (overlay, written) = lab.overlay(&lab.raw, &changes);
        let places = changes.iter().count();
        eprintln!("{size}: {places} changes of {} bytes, {written:?}", changes.len());
        assert!(written.file_len < MIB, "{size}: {written:?}");
        let twin = lab.twin(&Changes::new());
        ImageMut::open(&twin).expect("it is there").commit(&changes).expect("there is room");
        assert_is(&overlay, &lab.raw, &twin, size);
        if len < TIB {
            let raw = lab.path("by-qemu.raw");
            run("qemu-img", &["convert", "-O", "raw", text(&overlay), text(&raw)]);
            run("e2fsck", &["-fn", text(&raw)]);
            let fstab = run("debugfs", &["-R", "cat /etc/fstab", text(&raw)]);
            assert!(fstab.ends_with("0 1\ntmpfs /tmp tmpfs defaults 0 0\n"), "{fstab}");
        }
    }
}

#[test]
fn a_full_host_leaves_no_image() {
    let lab = Lab::new(MIB);
    let small = lab.path("small");
    fs::create_dir(&small).expect("the directory is ours");
    let _mount = Mount::tmpfs(&small, 64 << 10);
    let mut changes = Changes::new();
    changes.insert(0, vec![1; 1 << 20]);
    let path = small.join("overlay.qcow2");
    let to = File::create(&path).expect("it is empty");
    let error = write_overlay(&changes, &layer(&lab.raw), &backing(&lab.raw), &to)
        .expect_err("a mebibyte is too much");
    assert!(matches!(error, Error::HostFull(_)), "{error}");
    assert_eq!(
        error.to_string(),
        format!("no space left on the host: `{}`: overlay", path.display())
    );
    let left = fs::read(&path).expect("it is there");
    assert!(!qcow2::is_qcow2(&left).expect("it can be read"));
}

/// Fails from its second half on.
struct Failing;

impl Storage for Failing {
    fn len(&self) -> u64 {
        MIB
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        buf.fill(1);
        match offset < MIB / 2 {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "corrupt qcow2: a cluster")),
        }
    }
}

#[test]
fn an_image_below_that_cannot_be_read_leaves_no_image() {
    let lab = Lab::new(0);
    let mut changes = Changes::new();
    changes.insert(0, vec![1; 10]);
    changes.insert(MIB - 10, vec![1; 10]);
    let path = lab.path("overlay.qcow2");
    // What was there before is no image any more, either.
    fs::write(&path, b"QFI\xfb").expect("the directory is ours");
    let to = File::options().write(true).open(&path).expect("it is there");
    let error = write_overlay(&changes, &Failing, &backing(&lab.raw), &to).expect_err("it fails");
    assert_eq!(error.to_string(), "corrupt image: qcow2: a cluster");
    let left = fs::read(&path).expect("it is there");
    assert!(!qcow2::is_qcow2(&left).expect("it can be read"));
}
