//! `image ls`: the order of what is named, several images, and files that cannot be read.

use std::fs;

use crate::site::{Site, run, text};

/// `root.img` with `/srv/{a,b,c}`, of which `b` is the newest and `c` the oldest.
fn site() -> Site {
    let site = Site::new();
    for (name, day) in [("a", 2), ("b", 3), ("c", 1)] {
        let path = site.write(&format!("tree/srv/{name}"), name);
        let day = format!("2001-02-0{day}");
        run("touch", "coreutils", &["-d", &day, path.to_str().unwrap()]);
    }
    site.write("tree/etc/x", "x\n");
    site.mke2fs("root.img", "16M", &["-t", "ext4"]);
    site
}

#[test]
fn what_is_named_is_listed_in_order() {
    let site = site();
    let ls = |args: &[&str]| site.succeeds(&[&["image", "ls"], args].concat());
    let (a, c) = ("root.img:/srv/a", "root.img:/srv/c");
    assert_eq!(ls(&[c, a]), "/srv/a\n/srv/c\n");
    assert_eq!(ls(&["-r", a, c]), "/srv/c\n/srv/a\n");
    assert_eq!(ls(&["-t", "root.img:/srv/*"]), "/srv/b\n/srv/a\n/srv/c\n");
    assert_eq!(ls(&["-tr", "root.img:/srv/*"]), "/srv/c\n/srv/a\n/srv/b\n");
    // Files come first, and then directories.
    assert_eq!(
        ls(&["root.img:/srv", "root.img:/etc", a]),
        "/srv/a\n\n/etc:\nfstab\nhostname\nx\n\n/srv:\na\nb\nc\n"
    );
    assert_eq!(ls(&["-d", "root.img:/srv", "root.img:/etc"]), "/etc\n/srv\n");
}

#[test]
fn what_is_of_several_images_says_which() {
    let site = site();
    fs::copy(site.path("root.img"), site.path("other.img")).unwrap();
    assert_eq!(
        site.succeeds(&[
            "image",
            "ls",
            "root.img:/srv/a",
            "root.img:/srv",
            "other.img:/srv",
            "other.img:/etc/x"
        ]),
        "root.img:/srv/a\n\nroot.img:/srv:\na\nb\nc\n\nother.img:/etc/x\n\nother.img:/srv:\na\nb\nc\n"
    );
    // For programs, too; what is of one image names none.
    let images = |places: &[&str]| {
        let listed = site.succeeds(&[&["image", "ls", "--json"], places].concat());
        let image = |line: &str| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            row.get("image").map(|image| image.as_str().unwrap().to_owned())
        };
        listed.lines().map(image).collect::<Vec<_>>()
    };
    let (root, other) = (Some("root.img".to_owned()), Some("other.img".to_owned()));
    assert_eq!(images(&["root.img:/srv/a", "other.img:/srv/b"]), [root, other]);
    assert_eq!(images(&["root.img:/srv/a", "root.img:/srv/b"]), [None, None]);
}

#[test]
fn a_file_that_cannot_be_read_is_said_and_the_others_are_listed() {
    let site = site();
    let image = site.mke2fs("root.img", "16M", &["-t", "ext2"]);
    let name = image.to_str().unwrap();
    // Past the end of the file system.
    run("debugfs", "e2fsprogs", &["-w", "-R", "sif /srv/a block[0] 99999999", name]);
    let output = site.autoxen(&["image", "ls", "-lR", "--json", "--sha256", "root.img"]);
    let (listed, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{said}");
    assert!(said.contains("99999999"), "{said}");
    assert!(!listed.contains("\"/srv/a\"") && listed.contains("\"/srv/b\""), "{listed}");
    assert!(listed.contains("\"/srv/c\""), "{listed}");
}
