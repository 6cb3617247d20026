//! Other people's programs, as judges. A judge that is missing fails the test, with the name of its package.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each file of tests compiles this module for itself, and none uses all of it"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Which Debian package has it.
fn package(program: &str) -> &'static str {
    match program {
        "blkid" | "mkswap" | "swaplabel" | "flock" | "partx" => "util-linux",
        "swapon" | "swapoff" => "mount",
        "losetup" | "mount" | "umount" => "mount",
        "sfdisk" => "fdisk",
        "sgdisk" => "gdisk",
        "mkfs.fat" | "fsck.fat" | "fatlabel" => "dosfstools",
        "mcopy" | "mdir" | "mmd" | "mtype" => "mtools",
        "mke2fs" | "debugfs" | "e2fsck" | "tune2fs" => "e2fsprogs",
        "mkfs.xfs" => "xfsprogs",
        "mkfs.btrfs" => "btrfs-progs",
        "mkfs.f2fs" => "f2fs-tools",
        "mkfs.erofs" => "erofs-utils",
        "mkfs.ntfs" => "ntfs-3g",
        "mkfs.exfat" => "exfatprogs",
        "mksquashfs" => "squashfs-tools",
        "xorriso" => "xorriso",
        "pvcreate" => "lvm2",
        "cryptsetup" => "cryptsetup-bin",
        "qemu-img" | "qemu-io" => "qemu-utils",
        "tar" => "tar",
        "bash" => "bash",
        "bsdtar" => "libarchive-tools",
        "python3" => "python3",
        "setfattr" => "attr",
        "zstd" => "zstd",
        "gzip" => "gzip",
        "xz" => "xz-utils",
        "cp" | "dd" | "truncate" | "chown" | "chmod" | "touch" => "coreutils",
        "setfacl" => "acl",
        other => panic!("{other}: write its package down in this table"),
    }
}

/// `program`, with the directories of the administrator in its path.
pub(crate) fn command(program: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{path}:/usr/sbin:/sbin");
    let found = path.split(':').any(|directory| Path::new(directory).join(program).exists());
    assert!(found, "{program} is missing: apt-get install {}", package(program));
    let mut command = Command::new(program);
    command.env("PATH", path).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

/// What `program` says, whatever its exit status.
pub(crate) fn outcome(program: &str, arguments: &[&str]) -> Output {
    command(program).args(arguments).output().expect("the program was found")
}

/// The standard output of `program`, which has to succeed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = outcome(program, arguments);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Run `program` with `input` on its standard input; it has to succeed.
pub(crate) fn run_with_input(program: &str, arguments: &[&str], input: &str) {
    use std::io::Write;
    let mut child = command(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the program was found");
    let mut pipe = child.stdin.take().expect("it is piped");
    pipe.write_all(input.as_bytes()).expect("the program reads its input");
    drop(pipe);
    let status = child.wait().expect("the child is ours");
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// A new file of `len` zero bytes, all of them a hole.
pub(crate) fn sparse_file(directory: &Path, name: &str, len: u64) -> PathBuf {
    let path = directory.join(name);
    std::fs::File::create(&path).and_then(|file| file.set_len(len)).expect("the directory is ours");
    path
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

/// Something mounted for as long as it lives.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// A tmpfs of `size` bytes on `directory`.
    pub(crate) fn tmpfs(directory: &Path, size: u64) -> Self {
        let options = format!("size={size}");
        run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", text(directory)]);
        Self(directory.into())
    }

    /// The file system in `image` on `directory`.
    pub(crate) fn image(image: &Path, directory: &Path) -> Self {
        run("mount", &["-o", "loop", text(image), text(directory)]);
        Self(directory.into())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _status = command("umount").arg("--lazy").arg(&self.0).status();
    }
}
