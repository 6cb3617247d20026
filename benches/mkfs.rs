//! To make a file system: decided (`layout`), written empty (`write`), filled with files (`fill`).
//!
//! What is written grows with the size, by 64 bytes of descriptors for each 128 MiB and their copies.

#[path = "common/bytes.rs"]
mod bytes;
#[path = "common/timing.rs"]
mod timing;

use std::fs::File;
use std::hint::black_box;
use std::io;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use imgfmt::archive::{Content, Data, Entry, Kind, Meta, Sink, TreePath};
use imgfmt::ext::mkfs::{self, Builder, Layout, Options, Room, Target};

/// Files that a file system is filled with, in directories of a hundred each.
const FILES: usize = 10_000;
/// Bytes of each of them.
const FILE_LEN: usize = 2000;

/// Counts what is written.
#[derive(Default)]
struct Counter {
    bytes: u64,
}

impl Target for Counter {
    fn write_at(&mut self, _: u64, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

fn options(size: u64) -> Options {
    Options { block_size: Some(4096), ..Options::new(mkfs::Kind::Ext4, size) }
}

fn blank(size: u64) -> File {
    let file = tempfile::tempfile().expect("a temporary file");
    file.set_len(size).expect("a host with sparse files");
    file
}

fn empty(c: &mut Criterion) {
    // The largest file that ext4 holds is two blocks less than 16 TiB.
    for (name, size) in [("64M", 64 << 20), ("32G", 32 << 30), ("16T", (1 << 44) - 8192)] {
        let options = options(size);
        let layout = Layout::new(&options).expect("plain options");
        let mut counter = Counter::default();
        mkfs::write(&layout, &mut counter).expect("nothing that could fail");

        let mut group = c.benchmark_group("mkfs_layout");
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter_with_large_drop(|| Layout::new(black_box(&options)).expect("plain options"));
        });
        group.finish();

        let mut group = c.benchmark_group("mkfs_write");
        group.sample_size(10).throughput(Throughput::Bytes(counter.bytes));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter_batched(
                || blank(size),
                |mut file| {
                    mkfs::write(black_box(&layout), &mut file).expect("room on the host");
                    file
                },
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

fn entries() -> Vec<Entry> {
    let len = FILE_LEN as u64;
    let entry = |nr: usize| Entry {
        path: TreePath::new(format!("dir-{}/file-{nr}", nr / 100).as_bytes()).expect("a path"),
        meta: Meta { mode: 0o644, ..Meta::default() },
        xattrs: Vec::new(),
        kind: Kind::File { len, data: Data::Whole },
    };
    (0..FILES).map(entry).collect()
}

fn fill(entries: &[Entry], content: &[u8], target: &mut dyn Target) {
    let mut builder =
        Builder::new(&options(256 << 20), Room::Fixed, target).expect("plain options");
    for entry in entries {
        let mut from = content;
        let mut content = Content::new(&mut from, content.len() as u64);
        let mut warn = |what| panic!("{what}");
        builder.entry(entry, &mut content, &mut warn).expect("room");
    }
    builder.finish().expect("room");
}

fn filled(c: &mut Criterion) {
    let (entries, content) = (entries(), bytes::noise(FILE_LEN, 1));
    let mut group = c.benchmark_group("mkfs_fill");
    group.sample_size(10).throughput(Throughput::Elements(FILES as u64));
    group.bench_function("10000_files", |b| {
        b.iter_batched(
            || blank(256 << 20),
            |mut file| {
                fill(black_box(&entries), &content, &mut file);
                file
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = timing::criterion();
    targets = empty, filled
}
criterion_main!(benches);
