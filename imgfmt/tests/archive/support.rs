//! What the tests of archives share: a tree with all that is nasty, and a sink that writes down what it is given.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::Stdio;

use crc::{CRC_64_XZ, Crc};
use imgfmt::archive::{
    Content, Data, DirSource, Entry, Kind, Sink, Source, TarSource, Warn, unpack,
};
use imgfmt::{Error, Result};

use crate::judge::{command, run, text};

/// One that is the same everywhere and for ever: a test has a value of it.
const HASH: Crc<u64> = Crc::<u64>::new(&CRC_64_XZ);

/// Open an image, by `f`. Whoever had it as well (a loop device that is being given back, a child of another test between
/// fork and exec) is let go on first; who keeps it fails the test.
pub(crate) fn unlocked<T>(f: impl Fn() -> Result<T>) -> Result<T> {
    for _ in 0..10_000 {
        match f() {
            Err(Error::Busy(_)) => std::thread::yield_now(),
            outcome => return outcome,
        }
    }
    f()
}

/// A sink that makes one line of each entry.
#[derive(Default)]
pub(crate) struct Listing(pub(crate) Vec<String>);

impl Sink for Listing {
    fn entry(&mut self, entry: &Entry, content: &mut Content<'_>, _: &mut Warn<'_>) -> Result<()> {
        let meta = entry.meta;
        let mut line = format!("{:?} ", entry.path);
        if !matches!(entry.kind, Kind::HardLink(_) | Kind::Whiteout | Kind::Opaque) {
            let (secs, nanos) = (meta.mtime.secs, meta.mtime.nanos);
            write!(line, "{:04o} {}:{} {secs}.{nanos:09} ", meta.mode, meta.uid, meta.gid)
                .expect("text");
        }
        match &entry.kind {
            Kind::File { len, data } => {
                // Data at the same place, or zeros for holes: what a reader sees.
                let mut hash = HASH.digest();
                let (mut bytes, mut at) = (Vec::new(), 0);
                while content.left() > 0 {
                    let mut piece = vec![0; 1000];
                    let count = content.read(&mut piece)?;
                    bytes.extend_from_slice(&piece[..count]);
                }
                let mut from = 0;
                for run in data.runs(*len) {
                    let count = usize::try_from(run.len).expect("small");
                    let data = &bytes[from..from + count];
                    from += count;
                    for (index, byte) in data.iter().enumerate().filter(|(_, byte)| **byte != 0) {
                        hash.update(&(run.offset + index as u64).to_le_bytes());
                        hash.update(&[*byte]);
                    }
                    at = run.offset + run.len;
                }
                assert!(at <= *len);
                let holes = if *data == Data::Whole { "" } else { " sparse" };
                write!(line, "file {len} {:016x}{holes}", hash.finalize()).expect("text");
            }
            Kind::Symlink(target) => {
                write!(line, "-> {:?}", OsStr::from_bytes(target)).expect("text");
            }
            other => write!(line, "{other:?}").expect("text"),
        }
        let mut xattrs: Vec<_> = entry.xattrs.iter().collect();
        xattrs.sort();
        if let Kind::HardLink(_) = entry.kind {
            xattrs.clear();
        }
        for xattr in xattrs {
            write!(line, " {}={}", xattr.name.escape_ascii(), xattr.value.escape_ascii())
                .expect("text");
        }
        self.0.push(line);
        Ok(())
    }
}

/// Lines of all entries in their order, then those of the warnings.
pub(crate) fn listing(source: &mut dyn Source) -> Result<String> {
    let mut listing = Listing::default();
    let mut warnings = Vec::new();
    source.feed(&mut listing, &mut |warning| warnings.push(format!("warning: {warning}")))?;
    listing.0.extend(warnings);
    Ok(listing.0.join("\n"))
}

/// The same, in the order of the paths.
pub(crate) fn sorted(source: &mut dyn Source) -> String {
    let listing = listing(source).expect("the source is sound");
    let mut lines: Vec<&str> = listing.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// Entries of a tar, compressed or not.
pub(crate) fn of_tar(bytes: &[u8]) -> Result<String> {
    listing(&mut TarSource::new(unpack(bytes)?))
}

/// Entries of a directory, by path.
pub(crate) fn of_dir(dir: &Path) -> String {
    sorted(&mut DirSource::new(dir))
}

/// All that is nasty and that every form of tar can hold.
pub(crate) fn nasty_tree(dir: &Path) {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    let long = "n".repeat(200);
    std::fs::create_dir_all(dir.join("deep").join(&long).join(&long)).expect("directories");
    std::fs::write(dir.join("deep").join(&long).join(&long).join("leaf"), "leaf").expect("a file");
    std::fs::write(dir.join("empty"), "").expect("a file");
    std::fs::write(dir.join("block"), [7; 512]).expect("a file");
    std::fs::write(dir.join("with\nnewline and  blanks "), "x").expect("a file");
    std::fs::write(dir.join(OsStr::from_bytes(b"latin-\xe9")), "x").expect("a file");
    std::fs::write(dir.join("big"), vec![42; 3 << 20]).expect("a file");
    std::fs::hard_link(dir.join("block"), dir.join("zz-link")).expect("a link");
    symlink("../../etc/passwd", dir.join("climb")).expect("a symlink");
    symlink("l".repeat(300), dir.join("long-link")).expect("a symlink");
    let node = |name: &str, kind, device| {
        mknodat(CWD, dir.join(name), kind, Mode::from(0o640), device).expect("a node; be root");
    };
    node("null", FileType::CharacterDevice, makedev(1, 3));
    node("disk", FileType::BlockDevice, makedev(259, 300));
    node("pipe", FileType::Fifo, 0);
    let sparse = std::fs::File::create(dir.join("sparse")).expect("a file");
    sparse.set_len(5 << 20).expect("a length");
    for at in [1 << 20, 3 << 20] {
        sparse.write_all_at(&[9; 5000], at).expect("data");
    }
    let hole = std::fs::File::create(dir.join("hole")).expect("a file");
    hole.set_len(1 << 20).expect("a length");
    run("chown", &["-h", "1000:70000", text(&dir.join("climb"))]);
    run("chown", &["3000000:3000001", text(&dir.join("block"))]);
    run("chmod", &["6751", text(&dir.join("block"))]);
    run("chmod", &["1777", text(&dir.join("deep"))]);
    run("touch", &["-d", "1969-12-31T23:59:58.25Z", text(&dir.join("empty"))]);
    run("touch", &["-d", "2026-01-01T00:00:00.123456789Z", text(&dir.join("big"))]);
}

/// Attributes, which not every tool keeps.
pub(crate) fn attributes(dir: &Path) {
    let set = |file: &str, name: &str, value: &str| {
        run("setfattr", &["-h", "-n", name, "-v", value, text(&dir.join(file))]);
    };
    set("block", "user.text", "a=b");
    set("block", "user.a=b", "value");
    set("block", "user.p%q%25", "value");
    set("block", "user.bytes", "0x000a0d3dff0a");
    set("block", "security.capability", "0x0100000200040000000000000000000000000000");
    set("deep", "trusted.t", "x");
    set("climb", "trusted.link", "y");
    run("setfacl", &["-m", "u:1234:rw,g:5678:x,m:rwx", text(&dir.join("big"))]);
    run("setfacl", &["-d", "-m", "u:1234:rw", text(&dir.join("deep"))]);
}

/// What `program` prints, which has to succeed.
pub(crate) fn bytes_of(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = command(program).args(arguments).stderr(Stdio::piped()).output().expect("found");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {complaints}");
    output.stdout
}

/// What `program` makes of `input`.
pub(crate) fn piped(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("input");
    std::fs::write(&path, input).expect("a file");
    let file = std::fs::File::open(&path).expect("a file");
    let output = command(program).args(arguments).stdin(file).output().expect("found");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {complaints}");
    output.stdout
}
