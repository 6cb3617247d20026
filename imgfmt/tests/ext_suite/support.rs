//! What the tests of the ext engine share: images made by `mke2fs`, an edit applied with plain writes, and the judges
//! `e2fsck`, the kernel and `ext4-view`.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use imgfmt::compressed::{Compression, unpack};
use imgfmt::ext::{FileType, Fs, Transaction};
use imgfmt::{Changes, Error, Image, Result, Volume};

/// Time of all edits: 2026-01-01, so that e2fsck finds no time in the future.
pub(crate) const NOW: i64 = 1_767_225_600;

/// Run a program that the tests cannot do without.
pub(crate) fn run(program: &str, args: &[&str]) -> Output {
    command(program, args, &[])
}

/// The same, `e2fsck` at another time: in Unix seconds.
pub(crate) fn run_at(time: &str, program: &str, args: &[&str]) -> Output {
    command(program, args, &[("E2FSCK_TIME", time)])
}

/// The same, with variables of its environment; it must succeed.
pub(crate) fn run_with(program: &str, args: &[&str], env: &[(&str, &str)]) {
    let output = command(program, args, env);
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
}

fn command(program: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
    let package = match program {
        "mke2fs" | "e2fsck" | "debugfs" | "tune2fs" | "dumpe2fs" | "resize2fs" => "e2fsprogs",
        "stat" | "tar" | "cp" => "coreutils, tar",
        "getfacl" => "acl",
        _ => "mount",
    };
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    Command::new(program)
        .args(args)
        .env("PATH", path)
        .env("MKE2FS_DEVICE_SECTSIZE", "512")
        .envs(env.iter().copied())
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}; install the package `{package}`"))
}

/// Run a program that must succeed; its standard output.
pub(crate) fn run_ok(program: &str, args: &[&str]) -> String {
    let output = run(program, args);
    assert!(
        output.status.success(),
        "{program} {args:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Open an image, by `f`. Between fork and exec, a child of another test holds our files open, and their locks with them.
pub(crate) fn unlocked<T>(f: impl Fn() -> Result<T>) -> Result<T> {
    for _ in 0..10_000 {
        match f() {
            Err(Error::Busy(who)) if who.ends_with("has locked it") => std::thread::yield_now(),
            outcome => return outcome,
        }
    }
    f()
}

/// A file system in a file of its own, perhaps behind other bytes as in a partition.
pub(crate) struct TestImage {
    dir: tempfile::TempDir,
    start: u64,
    len: u64,
}

impl TestImage {
    /// `mke2fs ARGS image SIZE`, with `start` bytes of something else before it.
    pub(crate) fn new(args: &str, kib: u64, start: u64) -> Self {
        let image = Self::blank(kib, start);
        image.mke2fs(args, kib);
        image
    }

    /// The same, filled from a directory.
    pub(crate) fn populated(args: &str, kib: u64, start: u64, from: &Path) -> Self {
        let image = Self::blank(kib, start);
        image.mke2fs(&format!("{args} -d {}", from.display()), kib);
        image
    }

    /// An image that holds `bytes`, the volume from `start` on. It is in memory where that goes: `e2fsck` syncs a lot.
    pub(crate) fn from_bytes(bytes: &[u8], start: u64) -> Self {
        let memory = tempfile::tempdir_in("/dev/shm");
        let dir = memory.or_else(|_| tempfile::tempdir()).expect("a temporary directory");
        let image = Self { dir, start, len: bytes.len() as u64 - start };
        write_sparse(&image.path(), bytes);
        image
    }

    /// The one of `fixtures/images`: the same bytes on each machine.
    pub(crate) fn fixture(name: &str) -> Self {
        let packed = Path::new(env!("CARGO_MANIFEST_DIR"));
        let packed = packed.join(format!("../fixtures/images/{name}.img.zst"));
        let packed = std::fs::read(packed).expect("it is there");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = File::create(dir.path().join("image")).expect("an image");
        let mut go_on = |_, _| ControlFlow::Continue(());
        let unpacked = unpack(&packed, Compression::Zstd, &file, 1 << 30, &mut go_on);
        Self { dir, start: 0, len: unpacked.expect("it is whole").len }
    }

    /// Zeros, all of them a hole, in memory where that goes.
    pub(crate) fn sparse(len: u64) -> Self {
        let memory = tempfile::tempdir_in("/dev/shm");
        let dir = memory.or_else(|_| tempfile::tempdir()).expect("a temporary directory");
        let image = Self { dir, start: 0, len };
        let file = File::create(image.path()).expect("an image");
        file.set_len(len).expect("a length");
        image
    }

    /// It has become another length.
    pub(crate) fn with_len(self, len: u64) -> Self {
        Self { len, ..self }
    }

    fn blank(kib: u64, start: u64) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let image = Self { dir, start, len: kib * 1024 };
        let file = File::create(image.path()).expect("an image");
        file.set_len(start + kib * 1024).expect("a length");
        image
    }

    fn mke2fs(&self, args: &str, kib: u64) {
        let path = self.path();
        let offset = format!("offset={}", self.start);
        let mut all: Vec<&str> = vec!["-q", "-F", "-U", "6a1d2c3b-0000-4000-8000-1234567890ab"];
        all.extend(args.split_whitespace());
        // Extended options may be given once; `-E` in `args` has to come with a comma at its end.
        let joined;
        match all.iter().position(|&arg| arg == "-E") {
            Some(at) => {
                joined = format!(
                    "{},hash_seed=11111111-2222-4333-8444-555555555555,{offset}",
                    all[at + 1]
                );
                all[at + 1] = &joined;
            }
            None => {
                joined = format!("hash_seed=11111111-2222-4333-8444-555555555555,{offset}");
                all.extend(["-E", &joined]);
            }
        }
        let size = format!("{kib}k");
        all.extend([path.to_str().expect("a plain path"), &size]);
        run_ok("mke2fs", &all);
    }

    /// Change it with the kernel's driver, and keep it as it is on the disk in that moment, still mounted.
    pub(crate) fn left_dirty(&self, options: &str, f: impl FnOnce(&Path)) {
        let kept = self.dir.path().join("kept");
        self.with_kernel_options(options, |at| {
            f(at);
            std::fs::copy(self.path(), &kept).expect("a copy");
        });
        std::fs::rename(&kept, self.path()).expect("the copy takes its place");
    }

    /// Another file, with other bytes.
    pub(crate) fn with_bytes(&self, bytes: &[u8]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let image = Self { dir, start: self.start, len: self.len };
        std::fs::write(image.path(), bytes).expect("an image");
        image
    }

    /// Another file with the same bytes.
    pub(crate) fn twin(&self) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let twin = Self { dir, start: self.start, len: self.len };
        std::fs::copy(self.path(), twin.path()).expect("a copy");
        twin
    }

    /// The file.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    /// All its bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).expect("the image")
    }

    /// Read it with ours.
    pub(crate) fn with_fs<R>(&self, f: impl FnOnce(&Fs<'_>) -> R) -> R {
        let image = unlocked(|| Image::open(&self.path())).expect("the image opens");
        let volume = Volume::new(&image, self.start, self.len).expect("the volume is there");
        f(&Fs::open(volume).expect("the file system opens"))
    }

    /// Edit it with ours, and write what changed.
    pub(crate) fn edit(&self, f: impl FnOnce(&mut Transaction<'_>) -> Result<()>) -> Result<()> {
        let changes = self.with_fs(|fs| {
            let mut tx = fs.begin(NOW)?;
            f(&mut tx)?;
            tx.finish()
        })?;
        self.apply(&changes);
        Ok(())
    }

    /// Write changes into the file.
    pub(crate) fn apply(&self, changes: &Changes) {
        let file = File::options().write(true).open(self.path()).expect("the image");
        for (offset, bytes) in changes.iter() {
            assert!(offset >= self.start && offset + bytes.len() as u64 <= self.start + self.len);
            file.write_all_at(bytes, offset).expect("a write");
        }
    }

    /// `e2fsck -fn` must find nothing.
    pub(crate) fn fsck(&self) {
        let path = format!("{}?offset={}", self.path().display(), self.start);
        let path = if self.start == 0 { self.path().display().to_string() } else { path };
        let output = run("e2fsck", &["-fn", &path]);
        let text = String::from_utf8_lossy(&output.stdout);
        let complaints: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with("Pass ") && !line.is_empty())
            .filter(|line| !(line.contains(" files (") && line.contains(" blocks")))
            .collect();
        assert!(output.status.success() && complaints.is_empty(), "{}: {text}", output.status);
    }

    /// Every file as the kernel's driver sees it.
    pub(crate) fn kernel_tree(&self) -> Tree {
        let at = self.dir.path().join("mnt");
        std::fs::create_dir_all(&at).expect("a mount point");
        let at_str = at.to_str().expect("a plain path");
        let options = format!("loop,ro,offset={},sizelimit={}", self.start, self.len);
        let path = self.path();
        let _mounted = Mounted::new(path.to_str().expect("a plain path"), at_str, &options);
        let mut tree = Tree::new();
        walk_host(&at, &at, &mut tree);
        tree
    }

    /// Where the file system begins, in bytes.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Let `e2fsck` replay the log; there must be nothing else for it to do.
    pub(crate) fn recover_by_e2fsck(&self) {
        let (image, volume) = (self.path(), self.dir.path().join("volume"));
        // e2fsck 1.47 forgets an offset when it opens the file again after the replay.
        let start = usize::try_from(self.start).expect("small");
        let path = if start == 0 { &image } else { &volume };
        if start > 0 {
            write_sparse(&volume, &self.bytes()[start..]);
        }
        let output = run("e2fsck", &["-fp", path.to_str().expect("a plain path")]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}: {text}", output.status);
        if start > 0 {
            let recovered = std::fs::read(&volume).expect("the volume");
            write_sparse(&image, &[&self.bytes()[..start], &recovered].concat());
        }
        self.fsck();
    }

    /// Every file as the kernel's driver sees it once it has replayed the log.
    pub(crate) fn kernel_recovered_tree(&self) -> Tree {
        self.with_kernel(|_| {});
        self.kernel_tree()
    }

    /// Change it with the kernel's driver, mounted read-write at the path that `f` gets.
    pub(crate) fn with_kernel(&self, f: impl FnOnce(&Path)) {
        self.with_kernel_options("rw", f);
    }

    /// The same, with options of the mount.
    pub(crate) fn with_kernel_options(&self, options: &str, f: impl FnOnce(&Path)) {
        let at = self.dir.path().join("mnt");
        std::fs::create_dir_all(&at).expect("a mount point");
        let options = format!("loop,offset={},sizelimit={},{options}", self.start, self.len);
        let path = self.path();
        let _mounted = Mounted::new(
            path.to_str().expect("a plain path"),
            at.to_str().expect("a plain path"),
            &options,
        );
        f(&at);
    }

    /// Every file as we see it.
    pub(crate) fn tree(&self) -> Tree {
        self.with_fs(tree)
    }
}

/// A file with these bytes, and holes where they are zeros.
pub(crate) fn write_sparse(path: &Path, bytes: &[u8]) {
    let file = File::create(path).expect("a file");
    file.set_len(bytes.len() as u64).expect("a length");
    for (offset, piece) in (0..).step_by(4096).zip(bytes.chunks(4096)) {
        if piece.iter().any(|&byte| byte != 0) {
            file.write_all_at(piece, offset).expect("a write");
        }
    }
}

/// A mount that ends with it.
pub(crate) struct Mounted(String);

impl Mounted {
    pub(crate) fn new(image: &str, at: &str, options: &str) -> Self {
        run_ok("mount", &["-o", options, image, at]);
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Between fork and exec, a child of another test holds our files open, and the mount is busy for that moment.
        for _ in 0..500 {
            if run("umount", &[&self.0]).status.success() {
                return;
            }
            std::thread::yield_now();
        }
        assert!(std::thread::panicking(), "{} stays busy", self.0);
    }
}

/// Paths, each with a line of what is there.
pub(crate) type Tree = BTreeMap<String, String>;

fn line(
    kind: char,
    mode: u32,
    owner: (u32, u32),
    (content, links, device): (&[u8], u64, (u32, u32)),
    xattrs: &[String],
) -> String {
    let sum = content.iter().fold(0xCBF2_9CE4_8422_2325_u64, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    });
    let len = content.len();
    let (uid, gid) = owner;
    let (major, minor) = device;
    let xattrs = xattrs.join(",");
    format!("{kind} {mode:o} {uid}:{gid} {len} {sum:016x} {links} {major}:{minor} {xattrs}")
}

/// Every file of a file system.
pub(crate) fn tree(fs: &Fs<'_>) -> Tree {
    let mut tree = Tree::new();
    walk_ours(fs, "/", &mut tree);
    tree
}

fn walk_ours(fs: &Fs<'_>, path: &str, tree: &mut Tree) {
    let meta = fs.symlink_metadata(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let (kind, content) = match meta.kind {
        FileType::File => {
            ('f', fs.read_capped(path, 1 << 30).unwrap_or_else(|e| panic!("{path}: {e}")))
        }
        FileType::Directory => ('d', Vec::new()),
        FileType::Symlink => {
            let target = fs.read_link(path).unwrap_or_else(|e| panic!("{path}: {e}"));
            ('l', target.into_os_string().into_encoded_bytes())
        }
        _ => ('s', Vec::new()),
    };
    let mut xattrs: Vec<String> = fs
        .xattrs(path)
        .unwrap_or_else(|e| panic!("{path}: {e}"))
        .into_iter()
        .filter(|x| !x.name.to_string_lossy().starts_with("system."))
        .map(|x| format!("{}={}", x.name.display(), String::from_utf8_lossy(&x.value)))
        .collect();
    xattrs.sort();
    tree.insert(
        path.to_owned(),
        line(
            kind,
            meta.mode.into(),
            (meta.uid, meta.gid),
            (&content, meta.nlink.into(), meta.device.unwrap_or_default()),
            &xattrs,
        ),
    );
    if meta.kind == FileType::Directory {
        for entry in fs.read_dir(path).unwrap_or_else(|e| panic!("{path}: {e}")) {
            let name = entry.name.to_str().expect("a plain name");
            walk_ours(fs, &format!("{}/{name}", path.trim_end_matches('/')), tree);
        }
    }
}

fn walk_host(root: &Path, path: &Path, tree: &mut Tree) {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let meta = path.symlink_metadata().expect("it is there");
    let (kind, content) = if meta.is_file() {
        ('f', std::fs::read(path).expect("the kernel reads it"))
    } else if meta.is_dir() {
        ('d', Vec::new())
    } else if meta.is_symlink() {
        ('l', path.read_link().expect("a link").into_os_string().into_encoded_bytes())
    } else {
        let kind = meta.file_type();
        let known =
            kind.is_fifo() || kind.is_char_device() || kind.is_block_device() || kind.is_socket();
        assert!(known, "{}", path.display());
        ('s', Vec::new())
    };
    let inside = format!("/{}", path.strip_prefix(root).expect("below").display());
    let xattrs = host_xattrs(path);
    let device = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
    tree.insert(
        inside,
        line(
            kind,
            meta.mode() & 0o7777,
            (meta.uid(), meta.gid()),
            (&content, meta.nlink(), device),
            &xattrs,
        ),
    );
    if meta.is_dir() {
        for entry in path.read_dir().expect("a directory") {
            walk_host(root, &entry.expect("an entry").path(), tree);
        }
    }
}

fn host_xattrs(path: &Path) -> Vec<String> {
    let mut names = vec![0; 4096];
    let len = rustix::fs::llistxattr(path, &mut names[..]).expect("names of attributes");
    let mut all: Vec<String> = names[..len]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty() && !name.starts_with(b"system."))
        .map(|name| {
            let name = String::from_utf8_lossy(name).into_owned();
            let mut value = vec![0; 65536];
            let len = rustix::fs::lgetxattr(path, &name, &mut value[..]).expect("an attribute");
            format!("{name}={}", String::from_utf8_lossy(&value[..len]))
        })
        .collect();
    all.sort();
    all
}

/// Bytes that differ from place to place, the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed | 1);
    let mut bytes: Vec<u8> = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend(random.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A small generator (xorshift64*), seeded, so that a failure comes again.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }
}
