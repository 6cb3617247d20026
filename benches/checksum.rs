//! CRC-32C, called as `imgfmt::ext` calls it: going on from a seed, without the final inversion.

#[path = "common/bytes.rs"]
mod bytes;
#[path = "common/timing.rs"]
mod timing;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn crc32c(c: &mut Criterion) {
    let mut group = c.benchmark_group("crc32c");
    // The check value of CRC-32C, not inverted.
    assert_eq!(!crc32c::crc32c_append(0, b"123456789"), !0xE306_9283);
    for (name, len) in [("inode", 256), ("superblock", 1020), ("block", 4096), ("1M", 1 << 20)] {
        let bytes = bytes::noise(len, 1);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| !crc32c::crc32c_append(!black_box(0x1234_5678), black_box(&bytes)));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = timing::criterion();
    targets = crc32c
}
criterion_main!(benches);
