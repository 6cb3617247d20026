//! What other programs packed, read.

use std::path::Path;

use imgfmt::archive::{TarSource, unpack};

use crate::judge::{self, text};
use crate::support::{attributes, bytes_of, listing, nasty_tree, of_dir, of_tar, piped, sorted};

fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    nasty_tree(dir.path());
    dir
}

/// `tar` prints the archive of the tree.
fn packed(program: &str, options: &[&str], dir: &Path) -> Vec<u8> {
    // By name, so that it is the first name of a file that comes first.
    let script = "cd \"$1\"; shift; find . -print0 | LC_ALL=C sort -z | \"$@\" -cf - --null -T -";
    let mut all = vec!["-c", script, "bash", text(dir), program, "--no-recursion"];
    all.extend(options);
    bytes_of("bash", &all)
}

fn read(archive: &[u8]) -> String {
    sorted(&mut TarSource::new(unpack(archive).expect("a known compression")))
}

/// `-2.250000000` as `-2.000000000`.
fn without_fraction(line: &str) -> String {
    let word = |word: &str| match word.split_once('.') {
        Some((secs, nanos)) if nanos.len() == 9 => format!("{secs}.000000000"),
        _ => word.to_owned(),
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_pax_archive_of_gnu_tar_has_what_the_directory_has() {
    let dir = tree();
    attributes(dir.path());
    // ACLs come as text and as attributes.
    for acls in [&["--numeric-owner", "--acls"][..], &["--xattrs-include=*"]] {
        for sparse in ["0.0", "0.1", "1.0"] {
            let version = format!("--sparse-version={sparse}");
            let mut options = vec!["--format=pax", "--sparse", "--xattrs", &version];
            options.extend(acls);
            let archive = packed("tar", &options, dir.path());
            assert_eq!(read(&archive), of_dir(dir.path()), "{options:?}");
        }
    }
}

#[test]
fn an_archive_of_bsdtar_has_what_the_directory_has() {
    let dir = tree();
    attributes(dir.path());
    // Of -1.75 it writes -2.25.
    judge::run("touch", &["-d", "1969-12-31T23:59:58Z", text(&dir.path().join("empty"))]);
    let archive = packed("bsdtar", &["--format=pax", "--acls", "--xattrs"], dir.path());
    assert_eq!(read(&archive), of_dir(dir.path()));
}

#[test]
fn the_old_form_of_gnu_tar_has_all_but_fractions_and_attributes() {
    let dir = tree();
    // More than four runs, and more than 21 beyond these, take blocks of their own.
    let many = std::fs::File::create(dir.path().join("many")).expect("a file");
    many.set_len(4 << 20).expect("a length");
    for run in 0..60_u64 {
        std::os::unix::fs::FileExt::write_all_at(&many, &[5; 10], run * 65536).expect("data");
    }
    let archive = packed("tar", &["--format=gnu", "--sparse"], dir.path());
    let whole: Vec<String> = of_dir(dir.path()).lines().map(without_fraction).collect();
    assert_eq!(read(&archive), whole.join("\n"));
}

#[test]
fn pythons_tarfile_says_the_same() {
    let dir = tree();
    let program = "import sys, tarfile\n\
        with tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=tarfile.PAX_FORMAT) as t:\n\
        \x20   t.add(sys.argv[1], '.')\n";
    let archive = bytes_of("python3", &["-c", program, text(dir.path())]);
    // It knows no holes, and keeps times as floating point numbers.
    let rounded = |listing: &str| {
        let whole: Vec<String> = listing.lines().map(without_fraction).collect();
        whole.join("\n").replace(" sparse", "")
    };
    assert_eq!(rounded(&read(&archive)), rounded(&of_dir(dir.path())));
}

#[test]
fn a_compressed_archive_is_the_same_one_member_by_member() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("file"), vec![1; 700_000]).expect("a file");
    let plain = packed("tar", &["--format=pax"], dir.path());
    let expected = of_tar(&plain).expect("sound");
    let (first, second) = plain.split_at(100_000);
    for program in ["gzip", "zstd", "xz"] {
        let whole = piped(program, &["-c"], &plain);
        assert_eq!(of_tar(&whole).expect("sound"), expected, "{program}");
        let two = [piped(program, &["-c"], first), piped(program, &["-c"], second)].concat();
        assert_eq!(of_tar(&two).expect("sound"), expected, "{program} twice");
        // Not even the last byte may be missing: it belongs to the checksum.
        for len in [whole.len() - 1, whole.len() / 2, 7] {
            let error = of_tar(&whole[..len]).expect_err("short").to_string();
            assert!(error.contains("cut short"), "{program}, {len} bytes: {error}");
        }
    }
}

/// Bytes that come in pieces, as out of a decoder or a pipe.
struct Pieces<'a>(&'a [u8], usize);

impl std::io::Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let len = buf.len().min(self.1);
        self.0.read(&mut buf[..len])
    }
}

#[test]
fn a_hard_link_without_the_content_that_its_header_tells_of_is_a_link() {
    let program = "import sys, tarfile\n\
        t = tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=tarfile.USTAR_FORMAT)\n\
        t.addfile(tarfile.TarInfo('a'))\n\
        i = tarfile.TarInfo('b')\n\
        i.type, i.linkname, i.size = tarfile.LNKTYPE, 'a', 2000\n\
        t.addfile(i)\n\
        for n in range(10): t.addfile(tarfile.TarInfo(f'c{n}'))\n\
        t.close()\n";
    let archive = bytes_of("python3", &["-c", program]);
    for piece in [usize::MAX, 700, 1] {
        let lines = listing(&mut TarSource::new(Pieces(&archive, piece))).expect("sound");
        assert_eq!(lines.lines().count(), 12, "{piece}: {lines}");
    }
}

#[test]
fn a_hard_link_that_brings_its_content_along_is_a_link() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("a"), vec![1; 2000]).expect("a file");
    std::fs::hard_link(dir.path().join("a"), dir.path().join("b")).expect("a link");
    std::fs::write(dir.path().join("c"), "c").expect("a file");
    let program = "import sys, tarfile, io\n\
        t = tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=int(sys.argv[1]))\n\
        def add(name, data=b'', **more):\n\
        \x20   i = tarfile.TarInfo(name)\n\
        \x20   i.size = len(data)\n\
        \x20   for k, v in more.items(): setattr(i, k, v)\n\
        \x20   t.addfile(i)\n\
        \x20   t.fileobj.write(data + bytes(-len(data) % 512))\n\
        \x20   t.offset += len(data) + -len(data) % 512\n\
        add('a', b'x' * 2000)\n\
        add('b', b'x' * 2000, type=tarfile.LNKTYPE, linkname='a', pax_headers={'comment': 'c'})\n\
        add('c', b'c')\n\
        t.close()\n";
    // 2 is PAX, 0 ustar: there the next block says whether it is a header, however few bytes a read brings.
    for (format, piece) in [("2", 700), ("0", usize::MAX), ("0", 700), ("0", 1)] {
        let archive = bytes_of("python3", &["-c", program, format]);
        let lines = listing(&mut TarSource::new(Pieces(&archive, piece))).expect("sound");
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!(lines[1], "\"b\" HardLink(\"a\")", "{format}");
        assert!(lines[2].starts_with("\"c\" 0644 0:0 0.000000000 file 1 "), "{lines:?}");
        assert_eq!(lines.len(), 3);
    }
}
