//! To open an image, to read a file in it, to edit it, to replace a file.
//!
//! Opening and editing cost nothing by the size of an image: 64 MiB and a sparse 16 TiB must cost the same.
//! A replacement costs what the file costs.

#[path = "common/bytes.rs"]
mod bytes;
#[path = "common/e2fsprogs.rs"]
mod e2fsprogs;
#[path = "common/timing.rs"]
mod timing;
#[path = "common/tree.rs"]
mod tree;

use std::fs;
use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use imgfmt::{Changes, Image, ImageMut, Volume, ext};

/// Time of all edits.
const NOW: i64 = 1_767_225_600;

/// The largest file that ext4 holds: two blocks less than 16 TiB. Its descriptors and their copies take 240 MB.
const LARGEST: &str = "17179869176k";

/// Both sizes, and their names.
const SIZES: [(&str, &str); 2] = [("64M", "64M"), ("16T", LARGEST)];

fn opens(c: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let tree = tree::with_fstab(directory.path());
    for (name, size) in SIZES {
        let path = e2fsprogs::image(directory.path(), &tree, size, 4);
        let mut group = c.benchmark_group("open");
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                let image = Image::open(black_box(&path)).expect("an image");
                let fs = ext::Fs::open(Volume::whole(&image)).expect("a file system");
                assert!(!fs.needs_recovery());
            });
        });
        group.finish();
        let mut group = c.benchmark_group("open_and_read");
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                let image = Image::open(&path).expect("an image");
                let fs = ext::Fs::open(Volume::whole(&image)).expect("a file system");
                fs.read(black_box("/etc/fstab")).expect("it is there")
            });
        });
        group.finish();
    }
}

/// Replace the fstab and the job script with contents that differ each time.
fn edit(path: &Path, round: u64) {
    let mut image = ImageMut::open(path).expect("an image");
    let changes = {
        let fs = ext::Fs::open(Volume::whole(&image)).expect("a file system");
        let mut tx = fs.begin(NOW).expect("a clean file system");
        tx.write("/etc/fstab", format!("# {round}\n").as_bytes()).expect("room");
        tx.create_dir_all("/etc/xenjobs.d").expect("room");
        tx.write("/etc/xenjobs.d/10-job", format!("#!/bin/sh\necho {round}\n").as_bytes())
            .expect("room");
        tx.set_mode("/etc/xenjobs.d/10-job", 0o755).expect("it is there");
        tx.finish().expect("a whole edit")
    };
    image.commit(black_box(&changes)).expect("room on the host");
}

fn edits(c: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let tree = tree::with_fstab(directory.path());
    let mut group = c.benchmark_group("edit");
    group.throughput(Throughput::Elements(1));
    for (name, size) in SIZES {
        let path = e2fsprogs::image(directory.path(), &tree, size, 4);
        let mut round = 0;
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                round += 1;
                edit(&path, round);
            });
        });
    }
    group.finish();
}

/// What replaces the content of `path`.
fn replacement(image: &ImageMut, path: &str, content: &[u8]) -> Changes {
    let fs = ext::Fs::open(Volume::whole(image)).expect("a file system");
    let mut tx = fs.begin(NOW).expect("a clean file system");
    tx.write(path, content).expect("room");
    tx.finish().expect("a whole edit")
}

/// Replace a file with as much content: what is to be written (`changes`), and that written and synced (`written`).
fn replacements(c: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let tree = tree::with_fstab(directory.path());
    let files = [("4K", 4 << 10), ("1M", 1 << 20), ("16M", 16 << 20)];
    for (name, len) in files {
        fs::write(tree.join(name), bytes::noise(len, 1)).expect("a file");
    }
    let path = e2fsprogs::image(directory.path(), &tree, "128M", 4);
    let mut image = ImageMut::open(&path).expect("an image");
    let mut group = c.benchmark_group("replace");
    for (name, len) in files {
        group.throughput(Throughput::Bytes(len as u64));
        let contents = [bytes::noise(len, 2), bytes::noise(len, 3)];
        group.bench_function(BenchmarkId::new("changes", name), |b| {
            b.iter_with_large_drop(|| replacement(&image, name, black_box(&contents[0])));
        });
        let mut round = 0;
        group.bench_function(BenchmarkId::new("written", name), |b| {
            b.iter_batched(
                || {
                    round += 1;
                    &contents[round % 2]
                },
                |content| {
                    let changes = replacement(&image, name, black_box(content));
                    image.commit(&changes).expect("room on the host");
                },
                BatchSize::PerIteration,
            );
        });
        let fs = ext::Fs::open(Volume::whole(&image)).expect("a file system");
        assert!(round == 0 || fs.read(name).expect("it is there") == contents[round % 2]);
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = timing::criterion();
    targets = opens, edits, replacements
}
criterion_main!(benches);
