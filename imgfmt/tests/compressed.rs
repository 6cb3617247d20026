//! Unpacking, against the programs that packed: zstd, gzip and xz.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use imgfmt::compressed::{Compression, DEFAULT_LIMIT, Unpacked, unpack};
use imgfmt::{Error, Image, Storage};

mod judge;
use judge::{outcome, text};

/// 3 MiB and a bit: text, a long run of zeros that is a hole in the end, noise, and zeros at the end.
fn bytes() -> Vec<u8> {
    let mut bytes = Vec::new();
    for nr in 0..20_000 {
        bytes.extend_from_slice(format!("line {nr}\n").as_bytes());
    }
    bytes.resize(2 << 20, 0);
    let noise = (0..500_000_u32).map(|nr| (nr.wrapping_mul(2_654_435_761) >> 23) as u8);
    bytes.extend(noise);
    bytes.resize((3 << 20) + 123, 0);
    bytes
}

fn pack(program: &str, options: &[&str], from: &Path) -> Vec<u8> {
    let output = outcome(program, &[options, &["-c", text(from)]].concat());
    assert!(output.status.success(), "{program} {options:?}");
    output.stdout
}

/// What comes out of `packed`, and what is said of it.
fn unpacked(packed: &[u8], limit: u64) -> Result<(PathBuf, tempfile::TempDir, Unpacked), Error> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("image");
    let to = File::create(&path).expect("the directory is ours");
    let compression = Compression::detect(packed)?.expect("it is compressed");
    let mut told = 0;
    let report = unpack(&packed.to_vec(), compression, &to, limit, &mut |done, total| {
        assert!(told <= done && done <= total && total == packed.len() as u64);
        told = done;
        ControlFlow::Continue(())
    })?;
    assert_eq!(told, packed.len() as u64);
    Ok((path, directory, report))
}

fn assert_unpacks_to(packed: &[u8], expected: &[u8]) {
    let (path, _directory, report) = unpacked(packed, DEFAULT_LIMIT).expect("it is whole");
    assert!(fs::read(path).expect("a file") == expected);
    assert_eq!(report.len, expected.len() as u64);
}

const PACKERS: [(&str, &[&str]); 9] = [
    ("zstd", &["-q", "-3"]),
    ("zstd", &["-q", "-19", "--no-check"]),
    ("zstd", &["-q", "--fast=5", "--no-content-size"]),
    ("zstd", &["-q", "--long=27"]),
    ("gzip", &["-1"]),
    ("gzip", &["-9", "--name"]),
    ("xz", &["-1"]),
    ("xz", &["-9", "--check=sha256", "--block-size=1000000"]),
    ("xz", &["--x86", "--lzma2=preset=6", "--check=crc32"]),
];

#[test]
fn what_each_packer_packs_comes_out_again() {
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("bytes");
    let expected = bytes();
    fs::write(&from, &expected).unwrap();
    for (program, options) in PACKERS {
        assert_unpacks_to(&pack(program, options, &from), &expected);
    }
}

#[test]
fn zeros_become_holes() {
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("bytes");
    fs::write(&from, bytes()).unwrap();
    let packed = pack("zstd", &["-q"], &from);
    let (path, _directory, report) = unpacked(&packed, DEFAULT_LIMIT).unwrap();
    let meta = fs::metadata(path).unwrap();
    // 208,890 bytes of text and 500,000 of noise, in whole blocks.
    assert_eq!(report, Unpacked { len: (3 << 20) + 123, bytes_written: 51 * 4096 + 123 * 4096 });
    assert_eq!(meta.blocks() * 512, report.bytes_written);
}

#[test]
fn frames_members_and_streams_one_after_another_are_all_unpacked() {
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("bytes");
    fs::write(&from, b"first").unwrap();
    let other = directory.path().join("other");
    fs::write(&other, b", second").unwrap();
    for (program, options, between) in [
        ("zstd", &["-q"][..], &b"\x53\x2a\x4d\x18\x05\0\0\0abcde"[..]),
        ("gzip", &[], b""),
        ("gzip", &[], b"\0\0\0"),
        ("xz", &[], b""),
        ("xz", &[], b"\0\0\0\0"),
    ] {
        let first = pack(program, options, &from);
        let second = pack(program, options, &other);
        let packed = [&first, between, &second, between].concat();
        assert_unpacks_to(&packed, b"first, second");
    }
    // A skippable frame first, as pzstd writes.
    let packed = [b"\x50\x2a\x4d\x18\x04\0\0\0abcd", &*pack("zstd", &["-q"], &from)].concat();
    assert_unpacks_to(&packed, b"first");
}

#[test]
fn a_stream_that_ends_too_early_is_an_error_wherever_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("bytes");
    fs::write(&from, bytes()).unwrap();
    for (program, options) in PACKERS {
        let packed = pack(program, options, &from);
        for len in [6, 7, 12, 100, packed.len() / 2, packed.len() - 5, packed.len() - 1] {
            let error = unpacked(&packed[..len], DEFAULT_LIMIT).unwrap_err();
            assert!(matches!(error, Error::Corrupt(_)), "{error}");
            let expected = format!("corrupt image: {program} stream ends too early at byte {len}");
            assert_eq!(error.to_string(), expected);
        }
    }
}

#[test]
fn damage_is_told_in_words_and_not_as_an_early_end() {
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("bytes");
    fs::write(&from, bytes()).unwrap();
    let packed = pack("zstd", &["-q"], &from);
    let len = packed.len();
    // The content checksum is the last four bytes.
    let mut bad = packed.clone();
    bad[len - 1] ^= 1;
    let error = unpacked(&bad, DEFAULT_LIMIT).unwrap_err();
    let expected = format!("zstd stream at byte {len}: content checksum does not match");
    assert_eq!(error.to_string(), format!("corrupt image: {expected}"));
    let trailing = [&packed[..], b"trailing"].concat();
    let error = unpacked(&trailing, DEFAULT_LIMIT).unwrap_err();
    let expected = format!("zstd stream at byte {}: what follows is no zstd frame", len + 4);
    assert_eq!(error.to_string(), format!("corrupt image: {expected}"));
    // Nothing in the notation of Rust, wherever the damage is.
    for at in 4..len.min(400) {
        let mut bad = packed.clone();
        bad[at] ^= 0x55;
        if let Err(error) = unpacked(&bad, 16 << 20) {
            let text = error.to_string();
            assert!(!text.contains("Error(") && !text.contains('{'), "byte {at}: {text}");
        }
    }
}

#[test]
fn damage_is_found_wherever_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("bytes");
    let good = bytes()[..300_000].to_vec();
    fs::write(&from, &good).unwrap();
    for (program, options) in PACKERS {
        // Without a checksum there is damage that nobody can see.
        if options.contains(&"--no-check") {
            continue;
        }
        let packed = pack(program, options, &from);
        for nr in 0..50 {
            let at = 10 + nr * (packed.len() - 10) / 50;
            let mut bad = packed.clone();
            bad[at] ^= 1 << (nr % 8);
            match unpacked(&bad, 16 << 20) {
                Err(Error::Corrupt(_) | Error::Unsupported(_)) => {}
                Err(error) => panic!("{program} {options:?} byte {at}: {error}"),
                // Names and times in headers, and bits that mean nothing.
                Ok((path, _directory, _)) => {
                    assert!(fs::read(path).unwrap() == good, "{program} {options:?} byte {at}");
                }
            }
        }
    }
}

#[test]
fn a_wrong_zstd_checksum_and_a_wrong_length_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("bytes");
    fs::write(&from, [7; 1000]).unwrap();
    let mut packed = pack("zstd", &["-q"], &from);
    let last = packed.len() - 1;
    packed[last] ^= 1;
    let error = unpacked(&packed, DEFAULT_LIMIT).unwrap_err().to_string();
    assert!(error.ends_with("content checksum does not match"), "{error}");
    packed[last] ^= 1;
    // Magic, descriptor, then the length less 256 in two bytes.
    assert_eq!(packed[5..7], [0xe8 - 0x100_u16.to_le_bytes()[0], 0x02]);
    packed[5] += 1;
    let error = unpacked(&packed, DEFAULT_LIMIT).unwrap_err().to_string();
    assert!(error.contains("declares 1001"), "{error}");
}

#[test]
fn rubbish_behind_the_last_stream_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("bytes");
    fs::write(&from, [7; 1000]).unwrap();
    for (program, options) in PACKERS {
        let packed = [&*pack(program, options, &from), b"rubbish and more of it"].concat();
        let error = unpacked(&packed, DEFAULT_LIMIT).unwrap_err();
        assert!(matches!(error, Error::Corrupt(_)), "{error}");
    }
}

#[test]
fn more_than_the_limit_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("bytes");
    let expected = bytes();
    fs::write(&from, &expected).unwrap();
    for (program, options) in PACKERS {
        let packed = pack(program, options, &from);
        let len = expected.len() as u64;
        assert_eq!(
            unpacked(&packed, len - 1).unwrap_err().to_string(),
            format!("image of more than {} bytes", len - 1)
        );
        unpacked(&packed, len).unwrap();
    }
}

#[test]
fn windows_of_more_than_128_mib_are_refused_by_their_size() {
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("bytes");
    fs::write(&from, [7; 1000]).unwrap();
    let mut packed = pack("zstd", &["-q", "--no-content-size"], &from);
    // Magic, descriptor, window: 2 to the power of 10 + the upper five bits.
    packed[5] = 18 << 3;
    let error = unpacked(&packed, DEFAULT_LIMIT).unwrap_err().to_string();
    assert_eq!(error, "zstd window of 268435456 bytes, more than 134217728");
    let packed = pack("xz", &["--lzma2=preset=6,dict=256MiB"], &from);
    let error = unpacked(&packed, DEFAULT_LIMIT).unwrap_err().to_string();
    assert!(error == "xz dictionary of more than 134217728 bytes", "{error}");
}

#[test]
fn the_progress_can_stop_it_and_a_truncated_file_is_the_hosts_error() {
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("bytes");
    fs::write(&from, bytes()).unwrap();
    let path = directory.path().join("packed");
    fs::write(&path, pack("gzip", &[], &from)).unwrap();
    let image = Image::open(&path).unwrap();
    let to = File::create(directory.path().join("image")).unwrap();
    let stopped =
        unpack(&image, Compression::Gzip, &to, DEFAULT_LIMIT, &mut |_, _| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(Error::Stopped)));
    let len = image.len();
    File::options().write(true).open(&path).unwrap().set_len(len / 2).unwrap();
    let mut progress = |_, _| ControlFlow::Continue(());
    let error = unpack(&image, Compression::Gzip, &to, DEFAULT_LIMIT, &mut progress).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}
