//! What an image costs by its size: nothing. To open it and read a file, to edit it (change `/etc/fstab`, add a job
//! script, commit), to copy it; images of 64 MiB and sparse ones of up to 16 TiB must cost the same.

use std::fs::File;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use imgfmt::{Image, ImageMut, Volume, copy, ext};

/// An ext4 image of `size` with an `/etc/fstab`, made by mke2fs.
fn image(directory: &Path, size: &str) -> PathBuf {
    let tree = directory.join("tree/etc");
    std::fs::create_dir_all(&tree).expect("a directory");
    std::fs::write(tree.join("fstab"), "proc /proc proc defaults 0 0\n").expect("a file");
    let path = directory.join(format!("{size}.img"));
    let status = Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-J", "size=4"])
        .args(["-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", "-d"])
        .arg(directory.join("tree"))
        .arg(&path)
        .arg(size)
        .status()
        .expect("mke2fs (Debian: e2fsprogs) runs");
    assert!(status.success());
    path
}

/// The largest file that ext4 holds: two blocks less than 16 TiB. Its descriptors and their copies take 240 MB.
const LARGEST: &str = "17179869176k";

fn opens(c: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut group = c.benchmark_group("open_and_read");
    for (name, size) in [("64M", "64M"), ("16T", LARGEST)] {
        let path = image(directory.path(), size);
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                let image = Image::open(&path).expect("an image");
                let fs = ext::Fs::open(Volume::whole(&image)).expect("a file system");
                fs.read(black_box("/etc/fstab")).expect("it is there")
            });
        });
    }
    group.finish();
}

/// Replace the fstab and the job script with contents that differ each time.
fn edit(path: &Path, round: u64) {
    let mut image = ImageMut::open(path).expect("an image");
    let changes = {
        let fs = ext::Fs::open(Volume::whole(&image)).expect("a file system");
        let mut tx = fs.begin(1_700_000_000).expect("a clean file system");
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
    let mut group = c.benchmark_group("edit");
    for (name, size) in [("64M", "64M"), ("16T", LARGEST)] {
        let path = image(directory.path(), size);
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

/// A copy copies data: 32 GiB with little data cost what 64 MiB with as little cost.
fn copies(c: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut group = c.benchmark_group("copy_sparse");
    for size in ["64M", "32G"] {
        let stock = Image::open(&image(directory.path(), size)).expect("an image");
        let to = directory.path().join("copy.img");
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                let file = File::create(&to).expect("a file");
                let mut step = |_, _| std::ops::ControlFlow::Continue(());
                copy::copy_sparse(&stock, &file, &mut step).expect("a copy");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, opens, edits, copies);
criterion_main!(benches);
