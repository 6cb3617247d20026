//! What we pack, unpacked by others.

use std::path::Path;

use imgfmt::archive::{Content, Data, Entry, Meta, Run, Sink, Time, Xattr};
use imgfmt::archive::{DirSource, Kind, Owned, Source, TarSink, TarSource, TreePath};

use crate::judge::{run, text};
use crate::support::{attributes, listing, nasty_tree, of_dir, of_tar};

/// The archive of a directory, and what was left out.
fn packed(dir: &Path) -> (Vec<u8>, Vec<String>) {
    let (mut sink, mut warnings) = (TarSink::new(Vec::new()), Vec::new());
    let mut source = DirSource::new(dir);
    source.feed(&mut sink, &mut |warning| warnings.push(warning)).expect("the directory is sound");
    (sink.finish().expect("memory takes all"), warnings)
}

fn unpacked(program: &str, options: &[&str], archive: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("archive.tar");
    std::fs::write(&path, archive).expect("a file");
    let to = dir.path().join("tree");
    std::fs::create_dir(&to).expect("a directory");
    let mut all = options.to_vec();
    all.extend(["-xpf", text(&path), "-C", text(&to)]);
    run(program, &all);
    dir
}

#[test]
fn gnu_tar_and_bsdtar_unpack_what_was_packed() {
    let dir = tempfile::tempdir().expect("a directory");
    nasty_tree(dir.path());
    attributes(dir.path());
    let expected = of_dir(dir.path());
    let (archive, warnings) = packed(dir.path());
    assert_eq!(warnings, Vec::<String>::new());
    let gnu = ["--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls"];
    let tree = unpacked("tar", &gnu, &archive);
    assert_eq!(of_dir(&tree.path().join("tree")), expected, "tar");
    let tree = unpacked("bsdtar", &["--numeric-owner", "--xattrs", "--acls"], &archive);
    // It leaves the time of the directory alone in which it unpacks, and takes -1.75 for -1 and 0.75.
    let rest = |listing: &str| {
        let listing = listing.replace("-1.750000000", "-2.250000000");
        listing.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    // And what it writes as `%3D` it reads as that, where GNU tar reads `=`.
    let expected = expected.replace("user.a=b=", "user.a%3Db=").replace("p%q%25=", "p%25q%2525=");
    assert_eq!(rest(&of_dir(&tree.path().join("tree"))), rest(&expected), "bsdtar");
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let dir = tempfile::tempdir().expect("a directory");
    nasty_tree(dir.path());
    let (first, _) = packed(dir.path());
    run("touch", &["-a", text(&dir.path().join("big"))]);
    let (second, _) = packed(dir.path());
    assert!(first == second);
    assert_eq!(first.len() % 10240, 0);
}

#[test]
fn a_socket_is_left_out_with_a_warning() {
    let dir = tempfile::tempdir().expect("a directory");
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).expect("bound");
    let (archive, warnings) = packed(dir.path());
    assert_eq!(warnings, ["`/socket`: a socket has no form in a tar, left out"]);
    assert_eq!(of_tar(&archive).expect("sound").lines().count(), 1);
}

#[test]
fn owners_are_replaced_on_the_way() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("file"), "x").expect("a file");
    run("chown", &["12:34", text(&dir.path().join("file"))]);
    let mut sink = TarSink::new(Vec::new());
    let mut owned = Owned::new(&mut sink, Some(0), None);
    DirSource::new(dir.path()).feed(&mut owned, &mut |_| {}).expect("sound");
    let lines = of_tar(&sink.finish().expect("memory")).expect("sound");
    assert!(lines.lines().nth(1).expect("two").starts_with("\"file\" 0644 0:34 "), "{lines}");
}

#[test]
fn what_no_field_holds_goes_through_records() {
    let path = TreePath::new(&[b'p'; 300]).expect("a path");
    let meta = Meta {
        mode: 0o7777,
        uid: u32::MAX,
        gid: 2_097_152,
        mtime: Time { secs: -5_000_000_000, nanos: 1 },
        ..Meta::default()
    };
    let kind = Kind::CharDevice { major: u32::MAX, minor: 2_097_152 };
    let entry = Entry { path, meta, xattrs: Vec::new(), kind };
    let mut sink = TarSink::new(Vec::new());
    sink.entry(&entry, &mut Content::new(&mut std::io::empty(), 0), &mut |_| {}).expect("taken");
    let archive = sink.finish().expect("memory");
    let name = "p".repeat(300);
    assert_eq!(
        listing(&mut TarSource::new(&archive[..])).expect("sound"),
        format!(
            "{name:?} 7777 4294967295:2097152 -5000000000.000000001 \
             CharDevice {{ major: 4294967295, minor: 2097152 }}"
        )
    );
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &archive).expect("a file");
    let line = run("tar", &["--numeric-owner", "-tvf", text(file.path())]);
    assert!(line.starts_with("crwsrwsrwt 4294967295/2097152 "), "{line}");
}

#[test]
fn what_is_larger_than_a_piece_keeps_the_members_behind_it_in_their_places() {
    let entry = |name: &[u8], kind, xattrs| {
        let path = TreePath::new(name).expect("a path");
        Entry { path, meta: Meta::default(), xattrs, kind }
    };
    let many =
        (0..20).map(|nr| Xattr { name: format!("user.{nr}").into(), value: vec![b'v'; 64 << 10] });
    // A map of more than a mebibyte: each run is two lines of up to twelve digits.
    let runs = (0..100_000).map(|nr| Run { offset: 1_000_000_000_000 + nr * 1024, len: 1 });
    let runs: Vec<Run> = runs.collect();
    let len = 2_000_000_000_000;
    let sparse = Kind::File { len, data: Data::sparse(runs, len).expect("in order") };
    let mut sink = TarSink::new(Vec::new());
    for entry in [
        entry(b"attributes", Kind::Fifo, many.collect()),
        entry(b"sparse", sparse, vec![]),
        entry(b"last", Kind::Dir, vec![]),
    ] {
        let mut zeros = std::io::repeat(0);
        let mut content = Content::new(&mut zeros, entry.content_len());
        sink.entry(&entry, &mut content, &mut |_| {}).expect("taken");
    }
    let archive = sink.finish().expect("memory");
    let ours = listing(&mut TarSource::new(&archive[..])).expect("sound");
    assert_eq!(ours.lines().count(), 3);
    assert!(ours.lines().any(|line| line.starts_with("\"last\"")));
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &archive).expect("a file");
    // bsdtar takes no more than a mebibyte of records.
    let names = run("tar", &["-tf", text(file.path())]);
    assert_eq!(names, "./attributes\n./sparse\n./last/\n");
}
