//! Names of a directory with 200,000 of them, found by its hash tree, beside names of one with a single block.
//!
//! No program of e2fsprogs makes such a directory in less than minutes: each new name is looked for in all blocks.
//! So a file gets the entries as an ext2 directory has them, `debugfs` calls it a directory, and `e2fsck -D` writes it
//! anew, with its tree and all checksums.

#[path = "common/e2fsprogs.rs"]
mod e2fsprogs;
#[path = "common/timing.rs"]
mod timing;
#[path = "common/tree.rs"]
mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use imgfmt::ext::Fs;
use imgfmt::{Image, Volume};

/// Names in the directory `/many`.
const ENTRIES: usize = 200_000;
/// Files that they are names of: an inode has less than 65,000 links.
const TARGETS: usize = 16;
/// Names that are looked up in one go.
const LOOKUPS: usize = 1000;
/// Time of all edits.
const NOW: i64 = 1_767_225_600;

const BLOCK: usize = 4096;

fn name(nr: usize) -> String {
    format!("entry-{nr:06}")
}

/// One entry (`ext4_dir_entry_2`) that fills `len` bytes.
fn entry(block: &mut Vec<u8>, inode: u32, name: &str, len: usize) {
    let end = block.len() + len;
    block.extend_from_slice(&inode.to_le_bytes());
    block.extend_from_slice(&u16::try_from(len).expect("at most a block").to_le_bytes());
    // The type of a file, which `e2fsck` mends where it is not that.
    block.extend_from_slice(&[u8::try_from(name.len()).expect("a short name"), 1]);
    block.extend_from_slice(name.as_bytes());
    block.resize(end, 0);
}

/// A directory without a tree: `own`, the root above it, and all names, which lead to `targets` by turns.
fn plain_directory(own: u32, targets: &[u32]) -> Vec<u8> {
    // Behind the entries of each block is an empty one of 12 bytes, of type 0xDE: it holds the checksum, wrong here.
    const TAIL: [u8; 12] = [0, 0, 0, 0, 12, 0, 0, 0xDE, 0, 0, 0, 0];
    const ROOM: usize = BLOCK - TAIL.len();
    let dots = [(own, ".".to_owned()), (2, "..".to_owned())];
    let names = (0..ENTRIES).map(|nr| (targets[nr % TARGETS], name(nr)));
    let mut entries = dots.into_iter().chain(names).peekable();
    let len_of = |name: &str| (8 + name.len()).next_multiple_of(4);
    let mut bytes = Vec::new();
    let mut block = Vec::new();
    while let Some((inode, name)) = entries.next() {
        let len = len_of(&name);
        // The last entry of a block reaches to its end.
        let is_last =
            entries.peek().is_none_or(|(_, next)| block.len() + len + len_of(next) > ROOM);
        let len = if is_last { ROOM - block.len() } else { len };
        entry(&mut block, inode, &name, len);
        if is_last {
            block.extend_from_slice(&TAIL);
            bytes.append(&mut block);
        }
    }
    bytes
}

/// The inodes of the root's entries, as `debugfs` tells them: `/13/100644/0/0/target-00/2/`.
fn inodes(image: &Path) -> BTreeMap<String, u32> {
    let listed = e2fsprogs::run("debugfs", &["-R", "ls -p /", e2fsprogs::text(image)], &[0]);
    let entry = |line: &str| {
        let fields: Vec<&str> = line.split('/').collect();
        Some((fields.get(5)?.to_string(), fields[1].parse().ok()?))
    };
    listed.lines().filter_map(entry).collect()
}

/// An image with the directory, and which inode each of its names leads to.
fn image(directory: &Path) -> (PathBuf, Vec<u32>) {
    let tree = tree::with_fstab(directory);
    let names: Vec<String> = (0..TARGETS).map(|nr| format!("target-{nr:02}")).collect();
    for name in &names {
        fs::write(tree.join(name), name).expect("a file");
    }
    // Once to see which inodes they get, and once with them: the same tree is laid out in the same way.
    fs::write(tree.join("many"), plain_directory(2, &[2; TARGETS])).expect("a file");
    let path = e2fsprogs::image(directory, &tree, "256M", 4);
    let found = inodes(&path);
    let targets: Vec<u32> = names.iter().map(|name| found[name]).collect();
    fs::write(tree.join("many"), plain_directory(found["many"], &targets)).expect("a file");
    let path = e2fsprogs::image(directory, &tree, "256M", 4);
    assert_eq!(inodes(&path), found);
    let to_directory = "set_inode_field many mode 040755";
    e2fsprogs::run("debugfs", &["-w", "-R", to_directory, e2fsprogs::text(&path)], &[0]);
    // 1: errors were mended.
    e2fsprogs::run("e2fsck", &["-fyD", e2fsprogs::text(&path)], &[1]);
    e2fsprogs::run("e2fsck", &["-fn", e2fsprogs::text(&path)], &[0]);
    (path, targets)
}

fn directories(c: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, targets) = image(directory.path());
    let image = Image::open(&path).expect("an image");
    let fs = Fs::open(Volume::whole(&image)).expect("a file system");
    // A stride that has no divisor in common with the number of names, so that no two are neighbours.
    let picked = (0..LOOKUPS).map(|at| at * 7919 % ENTRIES);
    let known: Vec<(String, u32)> =
        picked.map(|nr| (format!("/many/{}", name(nr)), targets[nr % TARGETS])).collect();

    let mut group = c.benchmark_group("lookup");
    group.throughput(Throughput::Elements(LOOKUPS as u64));
    group.bench_function("one_block", |b| {
        b.iter(|| {
            for _ in 0..LOOKUPS {
                assert!(fs.exists(black_box("/etc/fstab")).expect("a sound directory"));
            }
        });
    });
    group.bench_function("200000", |b| {
        b.iter(|| {
            for (path, nr) in &known {
                assert_eq!(fs.metadata(black_box(path)).expect("it is there").nr.get(), *nr);
            }
        });
    });
    let unknown: Vec<String> = known.iter().map(|(path, _)| format!("{path}-not")).collect();
    group.bench_function("200000_absent", |b| {
        b.iter(|| {
            for path in &unknown {
                assert!(!fs.exists(black_box(path)).expect("a sound directory"));
            }
        });
    });
    group.finish();

    let mut group = c.benchmark_group("read_dir");
    group.sample_size(20).throughput(Throughput::Elements(ENTRIES as u64));
    group.bench_function("200000", |b| {
        b.iter_with_large_drop(|| {
            let entries = fs.read_dir(black_box("/many")).expect("a sound directory");
            assert_eq!(entries.len(), ENTRIES);
            entries
        });
    });
    group.finish();

    let mut group = c.benchmark_group("create");
    group.throughput(Throughput::Elements(1));
    group.bench_function("200000", |b| {
        b.iter_with_large_drop(|| {
            let mut tx = fs.begin(NOW).expect("a clean file system");
            tx.write(black_box("/many/new"), "new\n").expect("room");
            tx.finish().expect("a whole edit")
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = timing::criterion();
    targets = directories
}
criterion_main!(benches);
