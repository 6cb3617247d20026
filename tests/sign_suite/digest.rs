//! The tree digest against the formula, written down again for python's hashlib.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

use autoxen::digest::shape::PIECE;
use autoxen::digest::tree::{self, Digest};
use imgfmt::{Image, Storage};

use crate::site::{Site, run};

const FORMULA: &str = "\
import hashlib, struct, sys
data = open(sys.argv[1], 'rb')
level, length = b'', 0
while piece := data.read(64 << 10):
    level += hashlib.sha256(piece).digest()
    length += len(piece)
while len(level) > 4096:
    groups = (level[at:at + 4096] for at in range(0, len(level), 4096))
    level = b''.join(hashlib.sha256(group).digest() for group in groups)
head = b'autoxen-tree-sha256\\n' + struct.pack('<Q', length)
print('tree-sha256:' + hashlib.sha256(head + level).hexdigest())
";

/// The digest as python computes it.
fn judged(path: &Path) -> String {
    run("python3", "python3", &["-c", FORMULA, path.to_str().unwrap()]).trim_end().to_owned()
}

fn of(path: &Path) -> io::Result<Digest> {
    let file = File::open(path)?;
    tree::of(&file, file.metadata()?.len(), &|_| Ok(()))
}

#[test]
fn the_digest_is_that_of_the_formula() {
    let site = Site::new();
    let mib = 1 << 20;
    // A length, and the runs of data; all else is holes.
    #[expect(clippy::single_range_in_vec_init, reason = "a run of data is meant")]
    let cases: &[(u64, &[Range<u64>])] = &[
        (0, &[]),
        (1, &[0..1]),
        (1, &[]),
        (mib, &[0..mib]),
        (mib, &[]),
        (mib + 1, &[0..mib + 1]),
        (mib + 1, &[]),
        (2 * mib - 1, &[mib - 1..mib + 1]),
        (5 * mib + 4097, &[0..100, 2 * mib - 4096..2 * mib + 8192, 5 * mib + 4096..5 * mib + 4097]),
        (9 * mib, &[4 * mib..5 * mib]),
        (40 * mib + 7, &[3 * mib + 5..33 * mib + 9]),
        // More than the workers take between two joins.
        (1027 * mib + 3, &[1023 * mib + 9..1024 * mib + 9, 1026 * mib..1026 * mib + 5]),
        // A group that is full, and one hash more; a level more.
        (8 * mib, &[0..8 * mib]),
        (8 * mib + 1, &[8 * mib - 1..8 * mib + 1]),
        (1024 * mib + 1, &[1024 * mib..1024 * mib + 1]),
    ];
    for (nr, (len, runs)) in cases.iter().enumerate() {
        let path = site.path(&format!("{nr}.img"));
        let file = File::create(&path).unwrap();
        file.set_len(*len).unwrap();
        for run in *runs {
            let bytes: Vec<u8> = (run.start..run.end).map(|at| (at % 251) as u8 ^ 0x5a).collect();
            file.write_all_at(&bytes, run.start).unwrap();
        }
        drop(file);
        let found = of(&path).unwrap();
        assert_eq!(found.to_string(), judged(&path), "case {nr}");
        assert_eq!(found.to_string().parse(), Ok(found));
        let image = Image::open(&path).unwrap();
        assert_eq!(tree::of_storage(&image, &|_| Ok(())).unwrap(), found, "case {nr}");
    }
}

#[test]
fn a_hole_is_as_zeros_that_were_written() {
    let site = Site::new();
    let written = site.write("written.img", vec![0; (3 << 20) + 5]);
    let hole = site.path("hole.img");
    File::create(&hole).unwrap().set_len((3 << 20) + 5).unwrap();
    assert_eq!(of(&written).unwrap(), of(&hole).unwrap());
    assert_eq!(of(&hole).unwrap().to_string(), judged(&written));
}

#[test]
fn one_byte_more_or_less_or_other_gives_another_digest() {
    let site = Site::new();
    let digests = [vec![0; 1 << 20], vec![0; (1 << 20) - 1], vec![0; (1 << 20) + 1], vec![0; 0]]
        .map(|bytes| of(&site.write("a.img", bytes)).unwrap());
    for (nr, digest) in digests.iter().enumerate() {
        assert!(!digests[..nr].contains(digest), "{nr}");
    }
}

/// Bytes that say what was read of them.
struct Told {
    len: u64,
    data: Range<u64>,
    read: Mutex<Vec<u64>>,
}

impl Storage for Told {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read.lock().unwrap().push(offset / PIECE);
        buf.fill(if self.data.contains(&offset) { 1 } else { 0 });
        Ok(())
    }

    fn data_from(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        Ok((offset < self.data.end).then(|| offset.max(self.data.start)..self.data.end))
    }
}

#[test]
fn of_a_tebibyte_of_holes_only_the_pieces_with_data_are_read() {
    let data = (500 << 30) + 4096..(500 << 30) + 3 * PIECE;
    let told = Told { len: 1 << 40, data, read: Mutex::default() };
    tree::of_storage(&told, &|_| Ok(())).unwrap();
    let mut read = told.read.into_inner().unwrap();
    // The last one sees whether the file has become shorter.
    assert_eq!(read.pop(), Some((1 << 40) / PIECE - 1));
    read.sort_unstable();
    read.dedup();
    let first = (500 << 30) / PIECE;
    assert_eq!(read, [first, first + 1, first + 2]);
}

/// Bytes whose data end where they begin, as a host may say that makes a hole of them meanwhile.
struct Vanishing;

impl Storage for Vanishing {
    fn len(&self) -> u64 {
        3 * PIECE
    }

    fn read_at(&self, _: u64, buf: &mut [u8]) -> io::Result<()> {
        buf.fill(0);
        Ok(())
    }

    fn data_from(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        Ok(Some(offset..offset))
    }
}

#[test]
fn data_that_are_gone_when_they_are_come_to_are_zeros() {
    let steps = Mutex::new(0);
    let few = |_| {
        let mut steps = steps.lock().unwrap();
        *steps += 1;
        if *steps > 100 { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    };
    let zeros = vec![0; 3 * usize::try_from(PIECE).unwrap()];
    let expected = tree::of_storage(&zeros, &|_| Ok(())).unwrap();
    assert_eq!(tree::of_storage(&Vanishing, &few).unwrap(), expected);
}

#[test]
fn a_file_that_is_shorter_than_it_was_is_an_error() {
    let site = Site::new();
    for (name, len) in [("data.img", 3 << 20), ("hole.img", 0)] {
        let path = site.write(name, vec![7; len]);
        let file = File::open(&path).unwrap();
        let error = tree::of(&file, (3 << 20) + 1, &|_| Ok(())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{name}");
    }
}

#[test]
fn the_work_ends_where_a_step_says_so_and_steps_rise() {
    let site = Site::new();
    let path = site.write("a.img", vec![7; (20 << 20) + 1]);
    let file = File::open(&path).unwrap();
    let len = fs::metadata(&path).unwrap().len();
    let steps = Mutex::new(Vec::new());
    let all = tree::of(&file, len, &|done| {
        steps.lock().unwrap().push(done);
        Ok(())
    });
    all.unwrap();
    let steps = steps.into_inner().unwrap();
    assert!(steps.is_sorted() && steps.last() == Some(&len), "{steps:?}");
    for stop in [0, 7 * PIECE, len] {
        let stopped = tree::of(&file, len, &|done| match done >= stop {
            true => Err(io::ErrorKind::Interrupted.into()),
            false => Ok(()),
        });
        assert_eq!(stopped.unwrap_err().kind(), io::ErrorKind::Interrupted, "{stop}");
    }
}

#[test]
fn a_digest_has_one_text() {
    let text = format!("tree-sha256:{}", "0a".repeat(32));
    assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
    for bad in [
        text.to_uppercase(),
        format!("tree-sha256:{}", "0A".repeat(32)),
        format!("sha256:{}", "0a".repeat(32)),
        format!("tree-sha256:{}", "0a".repeat(31)),
        format!("{text} "),
        format!("{text}0a"),
        String::new(),
    ] {
        assert!(bad.parse::<Digest>().is_err(), "{bad}");
    }
    let json = serde_json::to_string(&text.parse::<Digest>().unwrap()).unwrap();
    assert_eq!(json, format!("\"{text}\""));
    assert_eq!(serde_json::from_str::<Digest>(&json).unwrap().to_string(), text);
    assert!(serde_json::from_str::<Digest>("\"tree-sha256:\"").is_err());
}
