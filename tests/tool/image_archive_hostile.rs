//! Archives that would harm: nothing leaves the directory that is imported into, and what fails changes nothing.

use std::fs;

use crate::image_build::sh;
use crate::site::{Site, e2fsck};

const AUTOXEN: &str = env!("CARGO_BIN_EXE_autoxen");

/// An image with a few files, and links that lead about.
fn image(site: &Site) {
    site.write("tree/etc/passwd", "root:x:0:0::/:/bin/sh\n");
    site.write("tree/jail/there/file", "old");
    site.write("tree/outside/file", "old");
    sh(
        site,
        "cd tree && touch -d 2001-01-01 outside && ln -s /etc jail/absolute && ln -s ../../.. jail/up && \
         ln -s ../outside jail/beside && ln -s loop jail/loop",
    );
    site.succeeds(&["image", "build", "-o", "x.img", "--size", "16M", "tree"]);
}

/// Write `evil.tar`: `(name, type, link, content)` in the words of Python.
fn evil(site: &Site, members: &str) {
    site.write(
        "evil.py",
        format!(
            "import tarfile, io\nL, D, S, H, C = b'0', b'5', b'2', b'1', b'3'\n\
             with tarfile.open('evil.tar', 'w', format=tarfile.PAX_FORMAT) as tar:\n \
             for name, kind, link, content in [{members}]:\n  info = tarfile.TarInfo(name)\n  \
             info.type, info.linkname, info.size, info.mode = kind, link, len(content), 0o777\n  \
             tar.addfile(info, io.BytesIO(content))\n"
        ),
    );
    sh(site, "python3 evil.py");
}

/// All that is not in the jail, as the image has it.
fn outside(site: &Site) -> String {
    sh(
        site,
        &format!(
            "{AUTOXEN} image ls -lR --json x.img | grep -v -e '\"/jail' -e lost.found | sed 's/\"ino\":[0-9]*,//'"
        ),
    )
}

#[test]
fn no_link_leads_an_entry_out_of_the_directory() {
    for (members, inside) in [
        // Links that the archive brings.
        ("('a', S, '/etc', b''), ('a/passwd', L, '', b'evil')", "/jail/etc/passwd"),
        ("('a', S, '..', b''), ('a/outside/file', L, '', b'evil')", "/jail/outside/file"),
        (
            "('d', D, '', b''), ('d/b', S, '../../etc', b''), ('d/b/passwd', L, '', b'evil')",
            "/jail/etc/passwd",
        ),
        (
            "('a', S, 'b', b''), ('b', S, '/outside', b''), ('a/file', L, '', b'evil')",
            "/jail/outside/file",
        ),
        // Links that were there.
        ("('absolute/passwd', L, '', b'evil')", "/jail/etc/passwd"),
        ("('up/etc/passwd', L, '', b'evil')", "/jail/etc/passwd"),
        ("('beside/file', L, '', b'evil')", "/jail/outside/file"),
        // A directory that becomes a link when it was used as one.
        (
            "('w', D, '', b''), ('w/x', L, '', b''), ('z', S, '/outside', b''), ('z/file', L, '', b'evil')",
            "/jail/outside/file",
        ),
        // A hard link through a link is to a file of the jail, or to none.
        ("('outside/file', L, '', b'evil'), ('h', H, 'beside/file', b'')", "/jail/h"),
        // A directory where a link leads out: its mode and time are not those of what is outside.
        (
            "('outside', D, '', b''), ('beside', D, '', b''), ('beside/file', L, '', b'evil')",
            "/jail/outside/file",
        ),
        ("('/absolute.txt', L, '', b'evil')", "/jail/absolute.txt"),
    ] {
        let site = Site::new();
        image(&site);
        let before = outside(&site);
        evil(&site, members);
        let made = "('etc', D, '', b''), ('outside', D, '', b''), ";
        let output = site.autoxen(&["image", "import", "x.img:/jail", "evil.tar"]);
        if !output.status.success() {
            // What a link leads to and is missing is not made.
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(told.contains("no such file or directory"), "{members}: {told}");
            evil(&site, &format!("{made}{members}"));
            site.succeeds(&["image", "import", "x.img:/jail", "evil.tar"]);
        }
        assert_eq!(outside(&site), before, "{members}");
        assert_eq!(
            site.succeeds(&["image", "cat", &format!("x.img:{inside}")]),
            "evil",
            "{members}"
        );
        e2fsck(&site.path("x.img"));
    }
}

#[test]
fn what_cannot_be_imported_changes_nothing() {
    let site = Site::new();
    image(&site);
    let before = fs::read(site.path("x.img")).unwrap();
    for (members, expected) in [
        (
            "('../../etc/passwd', L, '', b'evil')",
            "error: `evil.tar`: header at byte 0: the name `../../etc/passwd` has a `..` in it, which may climb out of the tree\n",
        ),
        (
            "('a/../../x', L, '', b'evil')",
            "error: `evil.tar`: header at byte 0: the name `a/../../x` has a `..` in it, which may climb out of the tree\n",
        ),
        (
            "('fine', L, '', b'x'), ('h', H, '../etc/passwd', b'')",
            "error: `evil.tar`: header at byte 1024: the name `../etc/passwd` has a `..` in it, which may climb out of the tree\n",
        ),
        (
            "('fine', L, '', b'x'), ('h', H, 'none', b'')",
            "error: image `x.img`: `/jail/none`: no such file or directory in the image\n",
        ),
        (
            "('fine', L, '', b'x'), ('h', H, '/etc/passwd', b'')",
            "error: image `x.img`: `/jail/etc`: no such file or directory in the image\n",
        ),
        (
            "('fine', L, '', b'x'), ('loop/x', L, '', b'')",
            "error: image `x.img`: `/jail/loop`: too many levels of symbolic links\n",
        ),
        (
            "('fine', L, '', b'x'), ('fine/x', L, '', b'')",
            "error: image `x.img`: `/jail/fine`: not a directory\n",
        ),
        (
            "('fine', L, '', b'x'), ('there', L, '', b'')",
            "error: image `x.img`: `/jail/there`: is a directory that is not empty\n",
        ),
        (
            "('large', L, '', bytes(20 << 20))",
            "error: image `x.img`: no space left in the file system of the image",
        ),
    ] {
        evil(&site, members);
        let told = site.fails(&["image", "import", "x.img:/jail", "evil.tar"]);
        assert!(told.starts_with(expected), "{members}: {told}");
        assert!(fs::read(site.path("x.img")).unwrap() == before, "{members}");
    }
    for (place, expected) in [
        (
            "x.img:/none",
            "error: image `x.img`: `/none`: no such file or directory in the image\nhint: make it with `autoxen image mkdir -p`, or choose one that is there\n",
        ),
        ("x.img:/etc/passwd", "error: image `x.img`: `/etc/passwd`: not a directory\n"),
    ] {
        evil(&site, "('fine', L, '', b'x')");
        assert_eq!(site.fails(&["image", "import", place, "evil.tar"]), expected);
    }
    assert!(fs::read(site.path("x.img")).unwrap() == before);
}

#[test]
fn an_archive_that_is_cut_short_changes_nothing() {
    let site = Site::new();
    image(&site);
    let before = fs::read(site.path("x.img")).unwrap();
    sh(
        &site,
        "head -c 300000 /dev/urandom > tree/etc/large && tar -cf whole.tar -C tree etc && gzip -k whole.tar && zstd -qk whole.tar && xz -k whole.tar",
    );
    for (name, told) in [
        ("whole.tar", "cut short within `/etc/large`"),
        ("whole.tar.gz", "gzip stream is cut short"),
        ("whole.tar.zst", "zstd stream"),
        ("whole.tar.xz", "xz stream is cut short"),
    ] {
        sh(&site, &format!("head -c 200000 {name} > cut"));
        let error = site.fails(&["image", "import", "x.img:/jail", "cut"]);
        assert!(error.starts_with("error: `cut`: ") && error.contains(told), "{name}: {error}");
        let error = sh(&site, &format!("{AUTOXEN} image import x.img:/jail - < cut 2>&1; echo $?"));
        assert!(
            error.starts_with("error: standard input: ") && error.ends_with("\n2\n"),
            "{error}"
        );
    }
    assert!(fs::read(site.path("x.img")).unwrap() == before);
}
