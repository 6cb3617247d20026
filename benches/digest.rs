//! The tree digest of a file that is in the host's memory: of data, and of holes, which cost nothing.

#[path = "common/bytes.rs"]
mod bytes;
#[path = "common/timing.rs"]
mod timing;

use std::fs::File;
use std::hint::black_box;
use std::io::Write;

use autoxen::digest::{sha256, tree};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use imgfmt::storage::{OpenFile, Reader};

/// A file of `len` bytes that begins with `data`.
fn file(data: &[u8], len: u64) -> File {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(data).expect("room on the host");
    file.set_len(len).expect("a host with sparse files");
    file
}

fn digests(c: &mut Criterion) {
    const DATA: usize = 128 << 20;
    let data = bytes::noise(DATA, 1);
    let mut group = c.benchmark_group("digest");
    group.sample_size(10).throughput(Throughput::Bytes(DATA as u64));
    for (name, len) in [("128M", DATA as u64), ("32G_128M_data", 32 << 30)] {
        let file = file(&data, len);
        let first = tree::of(&file, len, &|_| Ok(())).expect("a file of that length");
        group.bench_function(BenchmarkId::new("tree", name), |b| {
            b.iter(|| {
                let digest = tree::of(black_box(&file), len, &|_| Ok(()));
                assert_eq!(digest.expect("a file of that length"), first);
            });
        });
    }
    // Beside it what one core makes, piece after piece.
    let file = file(&data, DATA as u64);
    group.bench_function(BenchmarkId::new("sha256", "128M"), |b| {
        b.iter(|| {
            let storage = OpenFile::new(black_box(&file), DATA as u64);
            sha256(&mut Reader::new(&storage), &mut |_| Ok(())).expect("a file of that length")
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = timing::criterion();
    targets = digests
}
criterion_main!(benches);
