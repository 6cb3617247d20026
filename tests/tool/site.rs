//! A directory with a job description and images, and the programs that judge them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// The stock `/etc/fstab` of the images made here.
pub(crate) const FSTAB: &str = "\
# /etc/fstab: static file system information.
proc\t/proc\tproc\tdefaults\t0 0
/dev/hda1  /  ext3  errors=remount-ro  0 1
/dev/hda5  none  swap  sw  0 0
";

/// A directory of its own for one test.
pub(crate) struct Site {
    dir: TempDir,
}

impl Site {
    /// An empty site.
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new().expect("a temporary directory") }
    }

    /// A path in the site.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Write a file.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, bytes).expect("a file");
        path
    }

    /// The tree of a small guest below `tree/`: fstab, a kernel and its ramdisk.
    pub(crate) fn guest_tree(&self) -> PathBuf {
        self.write("tree/etc/fstab", FSTAB);
        self.write("tree/etc/hostname", "stock\n");
        self.write("tree/boot/vmlinuz-6.1.0-9-amd64", "kernel 9");
        self.write("tree/boot/initrd.img-6.1.0-9-amd64", "ramdisk 9");
        self.write("tree/boot/vmlinuz-6.1.0-13-amd64", "kernel 13");
        self.write("tree/boot/initrd.img-6.1.0-13-amd64", "ramdisk 13");
        self.write("tree/root/.profile", "");
        self.path("tree")
    }

    /// Make an image with mke2fs, filled from the guest's tree. `args` come before the file name.
    pub(crate) fn mke2fs(&self, name: &str, size: &str, args: &[&str]) -> PathBuf {
        let tree = self.guest_tree();
        let path = self.path(name);
        let tree = tree.to_str().expect("UTF-8");
        let file = path.to_str().expect("UTF-8");
        let mut all = vec!["-q", "-F", "-E", "root_owner=0:0", "-d", tree];
        all.extend(args);
        all.extend([file, size]);
        run("mke2fs", "e2fsprogs", &all);
        path
    }

    /// A job description with the root image `url` of type `filesystem`, and one job.
    pub(crate) fn job(&self, filesystem: &str, url: &str) -> PathBuf {
        self.write("job.xml", job(filesystem, url))
    }

    /// Run autoxen in the site.
    pub(crate) fn autoxen(&self, args: &[&str]) -> Output {
        self.autoxen_with(&[("LC_ALL", "C")], args)
    }

    /// Run autoxen in the site with these variables set.
    pub(crate) fn autoxen_with(&self, variables: &[(&str, &str)], args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_autoxen"))
            .args(args)
            .current_dir(self.dir.path())
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env_remove("SOURCE_DATE_EPOCH")
            .envs(variables.iter().copied())
            .output()
            .expect("autoxen runs")
    }

    /// Run autoxen in the site at `epoch`, in seconds since 1970.
    pub(crate) fn autoxen_at(&self, epoch: &str, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_autoxen"))
            .args(args)
            .current_dir(self.dir.path())
            .env("SOURCE_DATE_EPOCH", epoch)
            .output()
            .expect("autoxen runs")
    }

    /// Run autoxen in the site and expect it to succeed; its standard output.
    pub(crate) fn succeeds(&self, args: &[&str]) -> String {
        let output = self.autoxen(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Run autoxen in the site and expect it to fail with status 2; its standard error, with the
    /// site's path written as `SITE`.
    pub(crate) fn fails(&self, args: &[&str]) -> String {
        let output = self.autoxen(args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        let here = fs::canonicalize(self.dir.path()).expect("a path");
        stderr.replace(here.to_str().expect("UTF-8"), "SITE")
    }

    /// Names in the site, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.dir.path())
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }
}

/// A job description as text.
pub(crate) fn job(filesystem: &str, url: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<xenmetaconfig>
  <general>
    <memory>256</memory>
  </general>
  <imagefile>
    <filesystemtype>{filesystem}</filesystemtype>
    <mountpoint>/</mountpoint>
    <blockdevice>/dev/xvda</blockdevice>
    <url>{url}</url>
  </imagefile>
  <job>
    <command>echo hello</command>
  </job>
</xenmetaconfig>
"#
    )
}

/// Run a judge and expect it to be content; its standard output.
///
/// A judge that is not there fails the test: `tests/run` installs it.
pub(crate) fn run(program: &str, package: &str, args: &[&str]) -> String {
    let output = judge(program, package, args);
    assert!(
        output.status.success(),
        "{program} {args:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Run a judge.
pub(crate) fn judge(program: &str, package: &str, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .output()
        .unwrap_or_else(|e| panic!("{program} (Debian: {package}) cannot be run: {e}"))
}

/// Unmount what is at `at`, and expect that to be possible.
pub(crate) fn umount(at: &Path) {
    // Between fork and exec, a child of another test holds our files open, and the mount is busy for that moment.
    for _ in 0..500 {
        if judge("umount", "mount", &[at.to_str().expect("UTF-8")]).status.success() {
            return;
        }
        std::thread::yield_now();
    }
    assert!(std::thread::panicking(), "{} stays busy", at.display());
}

/// A file inside an ext image, as debugfs reads it.
pub(crate) fn debugfs_cat(image: &Path, path: &str) -> String {
    let request = format!("cat {path}");
    run("debugfs", "e2fsprogs", &["-R", &request, image.to_str().expect("UTF-8")])
}

/// What debugfs says of an inode.
pub(crate) fn debugfs_stat(image: &Path, path: &str) -> String {
    let request = format!("stat {path}");
    run("debugfs", "e2fsprogs", &["-R", &request, image.to_str().expect("UTF-8")])
}

/// The whole image passes `e2fsck -fn`.
pub(crate) fn e2fsck(image: &Path) {
    let output = judge("e2fsck", "e2fsprogs", &["-fn", image.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

/// Bytes as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
