//! qcow2, against QEMU: what its programs made is read, what is written they check and compare.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use imgfmt::qcow2::{self, Header, Layer, Options, Qcow2};
use imgfmt::{Image, Storage};

mod judge;
use judge::{outcome, run, text};

/// 5 MiB and 512 bytes: text, zeros, noise that does not compress, more zeros, and a last sector of text.
fn bytes() -> Vec<u8> {
    let mut bytes: Vec<u8> =
        (0..60_000_u32).flat_map(|nr| format!("line {nr}\n").into_bytes()).collect();
    bytes.resize(2 << 20, 0);
    let mut state = 1_u64;
    bytes.extend((0..600_000).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    }));
    bytes.resize(5 << 20, 0);
    bytes.extend([b'e'; 512]);
    bytes
}

struct Lab {
    directory: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn raw(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("the directory is ours");
        path
    }

    /// What the disk holds, as QEMU reads it.
    fn by_qemu(&self, image: &Path) -> Vec<u8> {
        let raw = self.path("by-qemu.raw");
        run("qemu-img", &["convert", "-O", "raw", text(image), text(&raw)]);
        fs::read(raw).expect("it was just written")
    }
}

fn open(path: &Path) -> imgfmt::Result<Qcow2<Image, qcow2::Layer>> {
    qcow2::open(Image::open(path)?, &[])
}

/// All of a disk, by reads that begin and end anywhere.
fn read(disk: &dyn Storage) -> std::io::Result<Vec<u8>> {
    let mut all = vec![0xaa; usize::try_from(disk.len()).expect("it is small")];
    let mut at = 0;
    for step in [1_usize, 511, 4096, 70_000, 300_001].iter().cycle() {
        let end = (at + step).min(all.len());
        disk.read_at(at as u64, &mut all[at..end])?;
        at = end;
        if at == all.len() {
            return Ok(all);
        }
    }
    unreachable!("the cycle has no end")
}

/// All of a disk, of which only what is said to be data is read.
fn read_data(disk: &dyn Storage) -> std::io::Result<Vec<u8>> {
    let mut all = vec![0; usize::try_from(disk.len()).expect("it is small")];
    let mut at = 0;
    while let Some(data) = disk.data_from(at)? {
        assert!(
            data.start >= at && data.end > data.start && data.end <= disk.len(),
            "{data:?} from {at}"
        );
        let (start, end) = (data.start as usize, data.end as usize);
        disk.read_at(data.start, &mut all[start..end])?;
        at = data.end;
    }
    Ok(all)
}

fn assert_reads(path: &Path, expected: &[u8], what: &str) {
    let disk = open(path).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(disk.len(), expected.len() as u64, "{what}");
    assert!(read(&disk).expect(what) == expected, "{what}: read");
    assert!(read_data(&disk).expect(what) == expected, "{what}: data");
}

#[test]
fn images_of_every_kind_are_read_as_qemu_reads_them() {
    let lab = Lab::new();
    let bytes = bytes();
    let raw = lab.raw("raw", &bytes);
    for options in [
        "compat=0.10",
        "compat=0.10,cluster_size=512",
        "compat=1.1",
        "compat=1.1,cluster_size=512",
        "compat=1.1,cluster_size=4k,refcount_bits=1",
        "compat=1.1,cluster_size=2M,refcount_bits=64",
        "compat=1.1,preallocation=metadata",
        "compat=1.1,preallocation=full",
        "compat=1.1,extended_l2=on,cluster_size=128k",
        "compat=1.1,lazy_refcounts=on",
        "compat=1.1,compression_type=zstd",
    ] {
        for compress in [false, true] {
            if compress && options.contains("preallocation") {
                continue;
            }
            let image = lab.path("image.qcow2");
            let mut arguments = vec!["convert", "-f", "raw", "-O", "qcow2", "-o", options];
            arguments.extend(compress.then_some("-c"));
            arguments.extend([text(&raw), text(&image)]);
            run("qemu-img", &arguments);
            assert_reads(&image, &bytes, &format!("{options}, compressed: {compress}"));
        }
    }
}

#[test]
fn a_chain_of_backing_files_is_read_as_qemu_reads_it() {
    let lab = Lab::new();
    let base = lab.raw("base.raw", &bytes());
    for (options, zeros) in [
        ("compat=0.10", "write -P 0 300k 200k"),
        ("compat=1.1", "write -z 300k 200k"),
        ("compat=1.1,extended_l2=on,cluster_size=64k", "write -z 300k 10k"),
    ] {
        let (middle, top) = (lab.path("middle.qcow2"), lab.path("top.qcow2"));
        // Relative names, as people write them; the middle is longer than the base, the top longer than the middle.
        let create = |name: &Path, over: &str, format: &str, len: &str| {
            run(
                "qemu-img",
                &[
                    "create",
                    "-q",
                    "-f",
                    "qcow2",
                    "-o",
                    options,
                    "-b",
                    over,
                    "-F",
                    format,
                    text(name),
                    len,
                ],
            );
        };
        create(&middle, "base.raw", "raw", "7M");
        let io = |image: &Path, command: &str| {
            run("qemu-io", &["-f", "qcow2", "-c", command, text(image)])
        };
        io(&middle, "write -P 0x4d 1M 70k");
        io(&middle, "write -P 0x4e 6M 3k");
        create(&top, "middle.qcow2", "qcow2", "9M");
        io(&top, zeros);
        io(&top, "write -P 0x54 1030k 5k");
        io(&top, "write -P 0x55 8M 64k");
        io(&top, "discard 2M 256k");
        assert_reads(&top, &lab.by_qemu(&top), options);
        let disk = Layer::Qcow2(Box::new(open(&top).expect("it is whole")));
        let files: Vec<_> = disk.files().into_iter().map(Image::path).collect();
        assert_eq!(files, [&top, &middle, &base].map(|path| path.canonicalize().expect("there")));
        // Whoever writes to any of them is noticed.
        disk.check_unchanged().expect("nobody does");
        fs::OpenOptions::new()
            .append(true)
            .open(&base)
            .expect("a file")
            .set_len(6 << 20)
            .expect("room");
        let error = disk.check_unchanged().expect_err("the base has grown").to_string();
        assert!(error.contains("base.raw`: it was changed while it was read"), "{error}");
        fs::write(&base, bytes()).expect("the directory is ours");
    }
}

#[test]
fn a_snapshot_within_the_image_does_not_matter() {
    let lab = Lab::new();
    let raw = lab.raw("raw", &bytes());
    let image = lab.path("image.qcow2");
    run("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", text(&raw), text(&image)]);
    run("qemu-img", &["snapshot", "-c", "before", text(&image)]);
    run("qemu-io", &["-f", "qcow2", "-c", "write -P 0x41 0 100k", text(&image)]);
    assert_eq!(open(&image).expect("it is whole").header().snapshots, 1);
    assert_reads(&image, &lab.by_qemu(&image), "with a snapshot");
}

fn refusal(path: &Path) -> String {
    match open(path) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string().replace(text(path.parent().expect("a directory")), "DIR"),
    }
}

#[test]
fn a_backing_file_in_another_directory_is_not_opened_unless_that_is_allowed() {
    let (lab, other) = (Lab::new(), Lab::new());
    let secret = other.raw("secret", &bytes());
    let image = lab.path("image.qcow2");
    let over = |name: &str, format: &str| {
        fs::remove_file(&image).ok();
        let options = ["create", "-u", "-q", "-f", "qcow2", "-b", name, "-F", format];
        run("qemu-img", &[&options[..], &[text(&image), "5M"]].concat());
    };
    over(text(&secret), "raw");
    let elsewhere = |path: &Path| {
        let path = path.canonicalize().expect("it is there");
        format!(
            "qcow2: the backing file `{}` of `DIR/image.qcow2` lies in another directory",
            path.display()
        )
    };
    assert_eq!(refusal(&image), elsewhere(&secret));
    let allowed = [other.directory.path().to_path_buf()];
    let disk = qcow2::open(Image::open(&image).expect("a file"), &allowed).expect("it is allowed");
    assert!(read(&disk).expect("it is whole") == bytes()[..5 << 20]);
    drop(disk);

    // By way of a link, or out of the directory and back.
    std::os::unix::fs::symlink(&secret, lab.path("innocent")).expect("the directory is ours");
    over("innocent", "raw");
    assert_eq!(refusal(&image), elsewhere(&secret));
    over(&format!("../../{}", text(&secret)), "raw");
    assert!(
        refusal(&image).contains("lies in another directory")
            || refusal(&image).contains("No such file")
    );

    over("nbd://host/disk", "raw");
    assert_eq!(refusal(&image), "qcow2: the backing file `nbd://host/disk` is not a file");
    over("json:{\"driver\":\"raw\"}", "raw");
    assert_eq!(
        refusal(&image),
        "qcow2: the backing file `json:{\"driver\":\"raw\"}` is not a file"
    );
    over("missing.raw", "raw");
    assert_eq!(
        refusal(&image),
        "backing file `DIR/missing.raw`: No such file or directory (os error 2)"
    );
    lab.raw("disk.vmdk", b"x");
    over("disk.vmdk", "vmdk");
    assert_eq!(
        refusal(&image),
        "qcow2 over `DIR/disk.vmdk`, a backing file in the format `vmdk`, is not read"
    );
    over("image.qcow2", "qcow2");
    assert_eq!(refusal(&image), "qcow2: more than 64 backing files");
}

/// Overwrite bytes of the file.
fn patched(lab: &Lab, image: &Path, patches: &[(usize, &[u8])]) -> PathBuf {
    let mut bytes = fs::read(image).expect("it is there");
    for (at, patch) in patches {
        bytes[*at..at + patch.len()].copy_from_slice(patch);
    }
    lab.raw("patched.qcow2", &bytes)
}

#[test]
fn what_is_not_read_is_refused_by_its_name() {
    let lab = Lab::new();
    let image = lab.path("image.qcow2");
    run("qemu-img", &["create", "-q", "-f", "qcow2", text(&image), "5M"]);
    let said = |patches: &[(usize, &[u8])]| refusal(&patched(&lab, &image, patches));
    assert_eq!(said(&[(7, &[4])]), "qcow2 with version 4 is not read");
    assert_eq!(said(&[(35, &[1])]), "qcow2 with encryption (AES) is not read");
    assert_eq!(said(&[(35, &[2])]), "qcow2 with encryption (LUKS) is not read");
    assert_eq!(said(&[(79, &[4])]), "qcow2 with an external data file is not read");
    assert_eq!(
        said(&[(79, &[2])]),
        "corrupt image: qcow2: it is marked so (repair it: `qemu-img check -r all`)"
    );
    // The table of names that QEMU writes knows bit 0; here it is made to speak of bit 5.
    let table = fs::read(&image).expect("it is there");
    let dirty = table.windows(9).position(|window| window == b"dirty bit").expect("QEMU names it");
    assert_eq!(
        said(&[(79, &[0x20]), (dirty - 1, &[5]), (dirty, b"warp cores")]),
        "qcow2 with the feature `warp cores` is not read"
    );
    assert_eq!(said(&[(72, &[0x80])]), "qcow2 with the incompatible feature of bit 63 is not read");
    assert_eq!(said(&[(23, &[22])]), "corrupt image: qcow2: clusters of 2^22 bytes");
    assert_eq!(
        said(&[(24, &[0x7f])]),
        "corrupt image: qcow2: 1 entries in the L1 table, 17045651457 are needed"
    );
    assert_eq!(said(&[(46, &[1])]), "corrupt image: qcow2: L1 table at byte 196864");
}

#[test]
fn a_file_that_is_cut_short_is_not_read_as_zeros() {
    let lab = Lab::new();
    let raw = lab.raw("raw", &bytes());
    let image = lab.path("image.qcow2");
    run("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", text(&raw), text(&image)]);
    let whole = fs::read(&image).expect("it is there");
    let mut cut = 0;
    for tenth in 1..10 {
        let short = lab.raw("short.qcow2", &whole[..whole.len() * tenth / 10]);
        let Ok(disk) = open(&short) else {
            cut += 1;
            continue;
        };
        let error = read(&disk).expect_err("some of it is not there");
        assert!(error.to_string().starts_with("corrupt qcow2: "), "{error}");
        cut += 1;
    }
    assert_eq!(cut, 9);
}

/// Damage of one byte in header and tables, which gives an error, or other bytes; never a panic.
#[test]
fn a_lying_image_gives_an_error_or_bytes() {
    let lab = Lab::new();
    let raw = lab.raw("raw", &bytes()[..1 << 20]);
    for options in [&["-c"][..], &["-o", "compression_type=zstd", "-c"], &["-o", "extended_l2=on"]]
    {
        let image = lab.path("image.qcow2");
        let arguments =
            [&["convert", "-f", "raw", "-O", "qcow2"], options, &[text(&raw), text(&image)]];
        run("qemu-img", &arguments.concat());
        let whole = fs::read(&image).expect("it is there");
        let mut state = 20_261_123_u64;
        let (mut failed, mut read_all) = (0, 0);
        for _ in 0..400 {
            let mut bytes = whole.clone();
            for _ in 0..4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Of the file, its first clusters: header, tables, first data.
                let at = (state >> 33) as usize % bytes.len().min(5 << 16);
                let at = if state & 1 == 0 { at % 128 } else { at };
                bytes[at] = (state >> 56) as u8;
            }
            let header = match Header::read(&bytes) {
                Ok(header) if header.len > 64 << 20 => continue,
                Ok(header) if header.backing.is_some() => continue,
                Ok(header) => header,
                Err(_) => {
                    failed += 1;
                    continue;
                }
            };
            let disk = Qcow2::new(bytes, header, None::<Vec<u8>>).expect("no backing file");
            match read(&disk).and_then(|_| read_data(&disk)) {
                Ok(_) => read_all += 1,
                Err(_) => failed += 1,
            }
        }
        assert!(failed > 20 && read_all > 20, "{failed} failed, {read_all} were read");
    }
}

#[test]
fn what_is_written_is_whole_for_qemu_and_has_the_same_bytes() {
    let lab = Lab::new();
    let mut odd = bytes();
    odd.truncate(odd.len() - 100);
    for (bytes, cluster_bits, compress) in [
        (bytes(), 16, false),
        (bytes(), 16, true),
        (bytes(), 9, false),
        (bytes(), 9, true),
        (bytes(), 12, true),
        (bytes(), 21, false),
        (bytes(), 21, true),
        (odd, 16, false),
        (vec![0; 1 << 20], 16, false),
        (Vec::new(), 16, false),
    ] {
        let what = format!("{} bytes, 2^{cluster_bits}, compressed: {compress}", bytes.len());
        let raw = lab.raw("raw", &bytes);
        let path = lab.path("ours.qcow2");
        let to = File::create(&path).expect("the directory is ours");
        let from = Image::open(&raw).expect("a file");
        let mut told = 0;
        let written =
            qcow2::write(&from, &to, Options { cluster_bits, compress }, &mut |done, total| {
                assert!(told <= done && done <= total && total == bytes.len() as u64);
                told = done;
                ControlFlow::Continue(())
            });
        let written = written.expect(&what);
        assert_eq!(told, bytes.len() as u64, "{what}");
        assert_eq!(written.file_len, fs::metadata(&path).expect("it is there").len(), "{what}");
        run("qemu-img", &["check", "-q", "-f", "qcow2", text(&path)]);
        run("qemu-img", &["compare", "-q", "-f", "raw", "-F", "qcow2", text(&raw), text(&path)]);
        let mut expected = bytes.clone();
        expected.resize(bytes.len().next_multiple_of(512), 0);
        assert_eq!(written.disk_len, expected.len() as u64, "{what}");
        assert_reads(&path, &expected, &what);
        assert!(lab.by_qemu(&path) == expected, "{what}");
    }
}

#[test]
fn a_sparse_disk_of_a_tebibyte_is_a_small_image() {
    let lab = Lab::new();
    let (raw, path) = (lab.path("raw"), lab.path("ours.qcow2"));
    let file = File::create(&raw).expect("the directory is ours");
    file.set_len(1 << 40).expect("it is sparse");
    std::os::unix::fs::FileExt::write_all_at(&file, b"last", (1 << 40) - 512)
        .expect("there is room");
    drop(file);
    let to = File::create(&path).expect("the directory is ours");
    let from = Image::open(&raw).expect("a file");
    let written =
        qcow2::write(&from, &to, Options::default(), &mut |_, _| ControlFlow::Continue(()));
    // Header, one cluster of data, one L2 table, 2048 entries of L1, two of reference counts.
    assert_eq!(written.expect("there is room").file_len, 6 << 16);
    run("qemu-img", &["check", "-q", "-f", "qcow2", text(&path)]);
    let disk = open(&path).expect("it is whole");
    assert_eq!(disk.data_from(0).expect("it is whole"), Some((1 << 40) - (1 << 16)..1 << 40));
    let mut last = [0; 4];
    disk.read_at((1 << 40) - 512, &mut last).expect("it is there");
    assert_eq!(&last, b"last");
}

#[test]
fn a_table_of_a_foreign_image_is_found_through_qcow2() {
    let lab = Lab::new();
    let raw = lab.raw("raw", &vec![0; 4 << 20]);
    run("sgdisk", &["-n", "1:2048:4096", "-c", "1:data", text(&raw)]);
    let image = lab.path("image.qcow2");
    run("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", "-c", text(&raw), text(&image)]);
    let disk = open(&image).expect("it is whole");
    let table = imgfmt::table::read(&disk).expect("it is whole").expect("there is one");
    assert_eq!(table.partitions[0].label.as_deref(), Some("data"));
    assert_eq!(outcome("sgdisk", &["-v", text(&raw)]).status.code(), Some(0));
}
