//! Images made by the programs of e2fsprogs, so that what is read was not written by us.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Run a program of e2fsprogs, which must end with one of `accepted`; its standard output.
pub(crate) fn run(program: &str, args: &[&str], accepted: &[i32]) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program)
        .args(args)
        .env("PATH", path)
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}; install the package `e2fsprogs`"));
    let status = output.status.code();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        status.is_some_and(|code| accepted.contains(&code)),
        "{program} {args:?}: {status:?}\n{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

/// An ext4 image of `size` in `directory`, with blocks of 4 KiB, a log of `log_mib`, and what is in `tree`. It is
/// sparse: what `mke2fs` may leave to the first mount is left to it.
pub(crate) fn image(directory: &Path, tree: &Path, size: &str, log_mib: u32) -> PathBuf {
    let path = directory.join(format!("{size}.img"));
    let (from, to) = (text(tree), text(&path));
    let log = format!("size={log_mib}");
    let lazy = "lazy_itable_init=1,lazy_journal_init=1,nodiscard";
    let args =
        ["-q", "-F", "-t", "ext4", "-b", "4096", "-J", &log, "-E", lazy, "-d", from, to, size];
    run("mke2fs", &args, &[0]);
    path
}

/// The path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}
