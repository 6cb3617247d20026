//! An overlay of hundreds of MiB takes no more memory than a small one.

use std::fs::File;
use std::os::unix::fs::FileExt;

use imgfmt::Changes;
use imgfmt::qcow2::{Backing, write_overlay};
use imgfmt::{Image, qcow2::Written};
use peak_alloc::PeakAlloc;

mod judge;
use judge::{run, sparse_file, text};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

#[test]
fn a_large_edit_takes_the_memory_of_its_tables() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let len = 2_u64 << 30;
    let base = sparse_file(directory.path(), "base.raw", len);
    let twin = sparse_file(directory.path(), "twin.raw", len);
    let file = File::options().write(true).open(&twin).expect("it is there");
    let mut changes = Changes::new();
    // 300 pieces of a MiB, which begin and end within clusters.
    for nr in 1..=300_u64 {
        let bytes = [nr.to_le_bytes(), (!nr).to_le_bytes()].concat().repeat(1 << 16);
        let at = nr * (6 << 20) + nr;
        file.write_all_at(&bytes, at).expect("there is room");
        changes.insert(at, bytes);
    }
    let path = directory.path().join("overlay.qcow2");
    let to = File::create(&path).expect("the directory is ours");
    let backing = Backing { name: text(&base).into(), format: Some("raw".into()) };
    let below = Image::open(&base).expect("it is there");

    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let written = write_overlay(&changes, &below, &backing, &to).expect("there is room");
    let taken = MEMORY.peak_usage() - before;
    // What is gathered, a cluster, an L2 table, and two bytes for each of 20000 clusters, twice.
    assert!(taken < 1 << 20, "{taken} bytes");

    // 65 clusters for each piece; an L2 table for each 32 MiB from 6 to 1801 MiB.
    let clusters = 300 * 65 + 57;
    // Header, L1 table; three blocks of counts for 8192 clusters each, and their table.
    assert_eq!(written, Written { disk_len: len, file_len: (clusters + 2 + 3 + 1) << 14 });
    run("qemu-img", &["check", "-q", "-f", "qcow2", text(&path)]);
    run("qemu-img", &["compare", "-q", "-f", "qcow2", "-F", "raw", text(&path), text(&twin)]);
}
