//! The journal (jbd2): an edit in place that goes through it, and a log that has to be replayed.
//!
//! Each of the files that an edit renames is alone in its directory, and so in a block: the log gets about as many
//! blocks as there are files. Logs that have to be replayed are written by `debugfs`.

#[path = "common/bytes.rs"]
mod bytes;
#[path = "common/e2fsprogs.rs"]
mod e2fsprogs;
#[path = "common/timing.rs"]
mod timing;

use std::cell::RefCell;
use std::fs::{self, File};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use imgfmt::ext::{Fs, Transaction};
use imgfmt::in_place::Guard;
use imgfmt::{Image, ImageMut, InPlace, Volume, copy::copy_sparse};

/// Time of all edits.
const NOW: i64 = 1_767_225_600;
/// Files that are renamed.
const FILES: [usize; 3] = [1, 100, 1000];
/// Blocks that have a copy in a log that has to be replayed.
const LOGGED: [usize; 2] = [1000, 8000];
/// Room for the log, in MiB: twice what the largest of all that takes.
const LOG_MIB: u32 = 64;
const BLOCK: usize = 4096;

/// An image with `/0` to `/999`, and the file `a` in each.
fn image_with_files(directory: &Path) -> PathBuf {
    let tree = directory.join("tree");
    for nr in 0..FILES[2] {
        let place = tree.join(nr.to_string());
        fs::create_dir_all(&place).expect("a directory");
        fs::write(place.join("a"), "").expect("a file");
    }
    e2fsprogs::image(directory, &tree, "256M", LOG_MIB)
}

/// An edit of `count` files: each goes from one name to the other.
fn renamed<'a>(fs: &'a Fs<'_>, count: usize, [from, to]: [&str; 2]) -> Transaction<'a> {
    let mut tx = fs.begin(NOW).expect("a clean file system");
    for nr in 0..count {
        tx.rename(format!("/{nr}/{from}"), format!("/{nr}/{to}")).expect("it is there");
    }
    tx
}

/// The edit as steps.
fn steps(tx: Transaction<'_>, count: usize) -> InPlace {
    let edit = tx.finish_in_place().expect("room in the log");
    assert!(edit.guard() == Guard::Journal && edit.log_blocks() as usize > count);
    edit
}

/// To make the steps of an edit, of which nothing is written, and to write them: with a sync behind each.
fn commits(c: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let image = ImageMut::open(&image_with_files(directory.path())).expect("an image");
    let image = RefCell::new(image);
    let names = ["a", "b"];
    let mut group = c.benchmark_group("journal_commit");
    for count in FILES {
        let log_blocks = {
            let image = image.borrow();
            let fs = Fs::open(Volume::whole(&*image)).expect("a file system");
            let log_blocks = steps(renamed(&fs, count, names), count).log_blocks();
            group.throughput(Throughput::Elements(log_blocks.into()));
            group.bench_function(BenchmarkId::new("steps", count), |b| {
                b.iter_batched(
                    || renamed(&fs, count, names),
                    |tx| steps(black_box(tx), count),
                    BatchSize::SmallInput,
                );
            });
            log_blocks
        };
        let mut is_back = true;
        group.throughput(Throughput::Elements(log_blocks.into()));
        group.bench_function(BenchmarkId::new("in_place", count), |b| {
            b.iter_batched(
                || {
                    is_back = !is_back;
                    let image = image.borrow();
                    let fs = Fs::open(Volume::whole(&*image)).expect("a file system");
                    let [a, b] = names;
                    steps(renamed(&fs, count, if is_back { [b, a] } else { [a, b] }), count)
                },
                |edit| {
                    let outcome = image.borrow_mut().commit_in_place(black_box(&edit));
                    outcome.expect("room on the host");
                },
                BatchSize::PerIteration,
            );
        });
        // The next one finds all as it was.
        if !is_back {
            let edit = {
                let image = image.borrow();
                let fs = Fs::open(Volume::whole(&*image)).expect("a file system");
                steps(renamed(&fs, count, ["b", "a"]), count)
            };
            image.borrow_mut().commit_in_place(&edit).expect("room on the host");
        }
    }
    group.finish();
}

/// To make the steps of an edit that is mostly file data, which goes into free blocks and not through the log.
fn data(c: &mut Criterion) {
    const LEN: usize = 16 << 20;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).expect("a directory");
    fs::write(tree.join("data"), bytes::noise(LEN, 1)).expect("a file");
    let path = e2fsprogs::image(directory.path(), &tree, "256M", LOG_MIB);
    let image = Image::open(&path).expect("an image");
    let fs = Fs::open(Volume::whole(&image)).expect("a file system");
    let content = bytes::noise(LEN, 2);
    let replaced = || {
        let mut tx = fs.begin(NOW).expect("a clean file system");
        tx.write("/data", &content).expect("room");
        tx
    };
    let mut group = c.benchmark_group("journal_data");
    group.sample_size(20).throughput(Throughput::Bytes(LEN as u64));
    group.bench_function("steps/16M", |b| {
        b.iter_batched(
            replaced,
            |tx| {
                let edit = steps(black_box(tx), 0);
                assert!(edit.len() > LEN as u64);
                edit
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// An image whose log holds a new content for all `count` blocks of the file `/data`, and that content.
fn image_with_log(directory: &Path, count: usize) -> (PathBuf, Vec<u8>) {
    let tree = directory.join(format!("tree-{count}"));
    fs::create_dir(&tree).expect("a directory");
    fs::write(tree.join("data"), bytes::noise(count * BLOCK, 1)).expect("a file");
    let image = e2fsprogs::image(directory, &tree, "256M", LOG_MIB);
    let path = directory.join(format!("log-{count}.img"));
    fs::rename(image, &path).expect("one file system");
    let (content, new) = (bytes::noise(count * BLOCK, 2), directory.join("new"));
    fs::write(&new, &content).expect("a file");
    let image = e2fsprogs::text(&path);
    let blocks = e2fsprogs::run("debugfs", &["-R", "blocks /data", image], &[0]);
    // `debugfs` wants ranges, or its line would be too long.
    let blocks: Vec<&str> = blocks.split_whitespace().collect();
    assert_eq!(blocks.len(), count);
    let mut script = String::from("journal_open -c -v 3\n");
    script.push_str(&format!("journal_write -b {} {}\n", ranges(&blocks), e2fsprogs::text(&new)));
    script.push_str("journal_close\n");
    let commands = directory.join("commands");
    fs::write(&commands, script).expect("a file");
    e2fsprogs::run("debugfs", &["-w", "-f", e2fsprogs::text(&commands), image], &[0]);
    (path, content)
}

/// Numbers that rise, as `1-3,7-7`.
fn ranges(numbers: &[&str]) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers.iter().map(|number| number.parse().expect("a number")) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let ranges: Vec<String> = ranges.iter().map(|(from, to)| format!("{from}-{to}")).collect();
    ranges.join(",")
}

/// A copy of an image that is on the disk, and open for an edit.
fn fresh_copy(of: &Image, to: &Path) -> ImageMut {
    let file = File::create(to).expect("a file");
    copy_sparse(of, &file, &mut |_, _| ControlFlow::Continue(())).expect("a copy");
    file.sync_all().expect("a disk");
    ImageMut::open(to).expect("an image")
}

fn recover(image: &mut ImageMut) {
    let edit = {
        let fs = Fs::open(Volume::whole(image)).expect("a file system");
        fs.recover(NOW).expect("a sound log")
    };
    image.commit_in_place(black_box(&edit)).expect("room on the host");
}

/// To open a file system whose log has to be replayed, which replays it in memory; to read through that; to replay it
/// on the disk.
fn replays(c: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let copy = directory.path().join("copy.img");
    let mut group = c.benchmark_group("replay");
    for count in LOGGED {
        let (path, content) = image_with_log(directory.path(), count);
        let image = Image::open(&path).expect("an image");
        group.throughput(Throughput::Elements(count as u64));
        group.sample_size(50).bench_function(BenchmarkId::new("open", count), |b| {
            b.iter_with_large_drop(|| {
                let fs = Fs::open(Volume::whole(black_box(&image))).expect("a sound log");
                assert!(fs.needs_recovery());
                fs
            });
        });
        let fs = Fs::open(Volume::whole(&image)).expect("a sound log");
        group.sample_size(20).bench_function(BenchmarkId::new("read", count), |b| {
            b.iter_with_large_drop(|| fs.read(black_box("/data")).expect("it is there"));
        });
        assert!(fs.read("/data").expect("it is there") == content);
        group.sample_size(10).bench_function(BenchmarkId::new("recover", count), |b| {
            b.iter_batched(
                || fresh_copy(&image, &copy),
                |mut image| {
                    recover(&mut image);
                    image
                },
                BatchSize::PerIteration,
            );
        });
        let mut image = fresh_copy(&image, &copy);
        recover(&mut image);
        drop(image);
        e2fsprogs::run("e2fsck", &["-fn", e2fsprogs::text(&copy)], &[0]);
        let image = Image::open(&copy).expect("an image");
        let fs = Fs::open(Volume::whole(&image)).expect("a file system");
        assert!(!fs.needs_recovery() && fs.read("/data").expect("it is there") == content);
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = timing::criterion();
    targets = commits, data, replays
}
criterion_main!(benches);
