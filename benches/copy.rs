//! Copies of images. A copy copies data: 32 GiB with little data cost what 64 MiB with as little cost.

#[path = "common/bytes.rs"]
mod bytes;
#[path = "common/e2fsprogs.rs"]
mod e2fsprogs;
#[path = "common/timing.rs"]
mod timing;
#[path = "common/tree.rs"]
mod tree;

use std::fs::{self, File};
use std::hint::black_box;
use std::ops::ControlFlow;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use imgfmt::{Image, Storage, copy};

/// Bytes of an image that are not in its holes.
fn data_len(image: &Image) -> u64 {
    let (mut at, mut len) = (0, 0);
    while let Some(data) = image.data_from(at).expect("a host that reads") {
        len += data.end - data.start;
        at = data.end;
    }
    len
}

/// `copy_sparse` by the kernel, where it can even share blocks, and `write_sparse`, which reads all that is data.
fn copies(c: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let tree = tree::with_fstab(directory.path());
    let to = directory.path().join("copy.img");
    for (name, size, len) in
        [("64M", "64M", 0), ("32G", "32G", 0), ("32G_128M_data", "32G", 128 << 20)]
    {
        fs::write(tree.join("data"), bytes::noise(len, 1)).expect("a file");
        let path = e2fsprogs::image(directory.path(), &tree, size, 4);
        let image = Image::open(&path).expect("an image");
        let samples = if len == 0 { 100 } else { 10 };

        let mut group = c.benchmark_group("copy_sparse");
        group.sample_size(samples).throughput(Throughput::Bytes(data_len(&image)));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                let file = File::create(&to).expect("a file");
                let mut step = |_, _| ControlFlow::Continue(());
                let report = copy::copy_sparse(black_box(&image), &file, &mut step);
                let report = report.expect("a copy");
                assert!(report.cloned || report.bytes_copied > len as u64);
            });
        });
        group.finish();

        let mut group = c.benchmark_group("write_sparse");
        group.sample_size(samples).throughput(Throughput::Bytes(data_len(&image)));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                let file = File::create(&to).expect("a file");
                let mut step = |_, _| ControlFlow::Continue(());
                let report = copy::write_sparse(black_box(&image), &file, &mut step);
                assert!(report.expect("a copy").bytes_copied > len as u64);
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = timing::criterion();
    targets = copies
}
criterion_main!(benches);
