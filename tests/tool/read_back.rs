//! The independent reader sees when an image is not what was planned.

use std::borrow::Cow;

use autoxen::apply::contents::Loaded;
use autoxen::apply::verify::{self, Finished, Verdict};

use crate::site::{FSTAB, Site};

fn write(path: &'static str, content: &'static str, mode: Option<u32>) -> Loaded<'static> {
    let bytes = Cow::Borrowed(content.as_bytes());
    Loaded::Write { path, bytes, mode, owner: Some((0, 0)) }
}

#[test]
fn each_difference_is_named() {
    let site = Site::new();
    std::fs::create_dir_all(site.path("tree/bin")).unwrap();
    std::os::unix::fs::symlink("busybox", site.path("tree/bin/sh")).unwrap();
    let image = Finished::raw(&site.mke2fs("root.img", "8M", &["-t", "ext4"])).unwrap();
    let sound = [
        write("/etc/fstab", FSTAB, Some(0o644)),
        Loaded::Symlink { path: "/bin/sh", target: "busybox" },
        Loaded::CreateDir { path: "/boot", mode: Some(0o755), owner: Some((0, 0)) },
    ];
    assert_eq!(verify::edits(&image, 0, None, &sound).unwrap(), Verdict::Equal { edits: 3 });
    let different = [
        (write("/etc/fstab", "other", None), "`/etc/fstab` has another content"),
        (write("/etc/fstab", FSTAB, Some(0o600)), "`/etc/fstab` has mode 0644"),
        (
            Loaded::CreateDir { path: "/boot", mode: None, owner: Some((0, 4)) },
            "`/boot` belongs to 0:0",
        ),
        (
            Loaded::CreateDir { path: "/etc/fstab", mode: None, owner: None },
            "`/etc/fstab` is no directory",
        ),
        (Loaded::Symlink { path: "/bin/sh", target: "dash" }, "`/bin/sh` points to `busybox`"),
        (write("/etc/nothing", "", None), "`/etc/nothing` file not found"),
    ];
    for (edit, expected) in different {
        let error = verify::edits(&image, 0, None, &[edit]).unwrap_err().to_string();
        assert_eq!(error, format!("the independent reader does not see the plan: {expected}"));
    }
}

#[test]
fn what_the_reader_does_not_know_is_said() {
    let site = Site::new();
    let made = site.mke2fs("root.img", "8M", &["-t", "ext4", "-O", "casefold"]);
    let image = Finished::raw(&made).unwrap();
    let verdict = verify::edits(&image, 0, None, &[write("/etc/fstab", FSTAB, None)]).unwrap();
    assert!(matches!(&verdict, Verdict::NotReadable { .. }), "{verdict:?}");
}
