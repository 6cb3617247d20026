//! Names in an image that mean the same file, or meet in one place: nothing is lost.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::site::{Site, debugfs_cat, e2fsck, run};

/// An image with `a/x`, `b/x`, the directory `d`, and `lib`, which leads to `usr/lib`.
fn site() -> Site {
    let site = Site::new();
    site.write("tree/a/x", "of a\n");
    site.write("tree/b/x", "of b\n");
    site.write("tree/usr/lib/y", "y\n");
    fs::create_dir(site.path("tree/d")).unwrap();
    symlink("usr/lib", site.path("tree/lib")).unwrap();
    site.mke2fs("root.img", "16M", &["-t", "ext4"]);
    site
}

/// Each of these is refused with its words, and leaves `image` as it was.
fn refused(site: &Site, image: &str, cases: &[(&[&str], &str)]) {
    let before = fs::read(site.path(image)).unwrap();
    for (args, words) in cases {
        let refusal = site.fails(&[&["image"], *args].concat());
        assert!(refusal.starts_with("error: ") && refusal.contains(words), "{args:?}: {refusal}");
        assert!(before == fs::read(site.path(image)).unwrap(), "{args:?}");
    }
}

#[test]
fn two_files_of_one_name_do_not_meet_in_one_directory() {
    let site = site();
    fs::copy(site.path("root.img"), site.path("other.img")).unwrap();
    site.write("g1/n", "of g1\n");
    site.write("g2/n", "of g2\n");
    site.write("g2/x", "of g2\n");
    let just = "was just made there, from another place";
    refused(
        &site,
        "root.img",
        &[
            (&["mv", "root.img:/a/x", "root.img:/b/x", "root.img:/d"], just),
            (&["ln", "-f", "root.img:/a/x", "root.img:/b/x", "root.img:/d"], just),
            (&["ln", "-sf", "/a/x", "/b/x", "root.img:/d"], just),
            (&["cp", "g1/n", "g2/n", "root.img:/d"], just),
            // One source after another, each from another tree.
            (&["cp", "g1/n", "root.img:/b/x", "g2/n", "root.img:/d"], just),
            (&["cp", "root.img:/a/x", "other.img:/b/x", "root.img:/d"], just),
            (&["cp", "other.img:/a/x", "g2/x", "root.img:/d"], just),
        ],
    );
    fs::create_dir(site.path("out")).unwrap();
    let refusal = site.fails(&["image", "cp", "root.img:/a/x", "other.img:/b/x", "out"]);
    assert!(refusal.contains(just), "{refusal}");
    assert_eq!(fs::read_to_string(site.path("out/x")).unwrap(), "of a\n");
    // What was there before is replaced, as ever.
    site.succeeds(&["image", "cp", "root.img:/b/x", "root.img:/d"]);
    site.succeeds(&["image", "mv", "root.img:/a/x", "root.img:/d"]);
    assert_eq!(debugfs_cat(&site.path("root.img"), "/d/x"), "of a\n");
    e2fsck(&site.path("root.img"));
}

#[test]
fn a_name_that_ends_in_a_slash_is_a_directorys() {
    let site = site();
    site.write("host.txt", "host\n");
    refused(
        &site,
        "root.img",
        &[
            (&["mv", "root.img:/a/x", "root.img:/none/"], "`/none/`: not a directory"),
            (&["ln", "root.img:/a/x", "root.img:/none/"], "`/none/`: not a directory"),
            (&["ln", "-s", "x", "root.img:/none/"], "`/none/`: not a directory"),
            (&["cp", "host.txt", "root.img:/none/"], "`/none/`: not a directory"),
            (&["cp", "root.img:/a/x", "root.img:/none/"], "`/none/`: not a directory"),
        ],
    );
    let refusal = site.fails(&["image", "cp", "root.img:/a/x", "none/"]);
    assert!(refusal.contains("`none/`: not a directory"), "{refusal}");
    // A directory may have such a name before it is there.
    site.succeeds(&["image", "mv", "root.img:/a", "root.img:/new/"]);
    site.succeeds(&["image", "cp", "-r", "root.img:/new", "root.img:/newer/"]);
    assert_eq!(debugfs_cat(&site.path("root.img"), "/newer/x"), "of a\n");
}

#[test]
fn the_second_name_of_a_file_is_no_link_to_a_first_that_failed() {
    let site = Site::new();
    site.write("tree/srv/one", "one\n");
    fs::hard_link(site.path("tree/srv/one"), site.path("tree/srv/two")).unwrap();
    fs::hard_link(site.path("tree/srv/one"), site.path("tree/srv/zwei")).unwrap();
    site.mke2fs("root.img", "16M", &["-t", "ext4"]);
    fs::create_dir_all(site.path("out/srv")).unwrap();
    // Here the first name cannot be written.
    symlink("elsewhere", site.path("out/srv/one")).unwrap();
    let refusal = site.fails(&["image", "cp", "-a", "root.img:/srv", "out"]);
    assert!(refusal.contains("out/srv/one`: "), "{refusal}");
    for name in ["out/srv/two", "out/srv/zwei"] {
        let found = fs::symlink_metadata(site.path(name)).unwrap();
        assert!(found.is_file(), "{name}: {found:?}");
        assert_eq!(fs::read_to_string(site.path(name)).unwrap(), "one\n");
    }
}

/// A FAT with a file and a directory whose names are long, and have an alias therefore.
fn fat() -> (Site, PathBuf) {
    let site = Site::new();
    let image = site.path("fat.img");
    run("mkfs.fat", "dosfstools", &["-C", image.to_str().unwrap(), "16384"]);
    site.write("file", "content\n");
    site.write(
        "script",
        "cp file :/Longfilename.txt\nmkdir /Longdirectory\ncp file :/Longdirectory/file\n",
    );
    site.succeeds(&["image", "edit", "fat.img", "-f", "script"]);
    (site, image)
}

#[test]
fn a_fat_file_has_many_spellings_and_is_copied_onto_none_of_them() {
    let (site, _) = fat();
    site.write("other/LONGFILENAME.txt", "other\n");
    site.write("other2/Longfilename.TXT", "other\n");
    let itself = "is the file itself";
    let from = "fat.img:/Longfilename.txt";
    refused(
        &site,
        "fat.img",
        &[
            (&["cp", from, from], itself),
            (&["cp", from, "fat.img:/LONGFILENAME.TXT"], itself),
            (&["cp", from, "fat.img:/LONGFI~1.TXT"], itself),
            (&["cp", from, "fat.img:/longdi~1/../longfilename.txt"], itself),
            (&["mv", from, from], "is the same place"),
            (&["cp", "-r", "fat.img:/Longdirectory", "fat.img:/LONGDIRECTORY/x"], "into itself"),
            (&["mv", "fat.img:/Longdirectory", "fat.img:/LONGDI~1/x"], "cannot lie in itself"),
            (
                &[
                    "cp",
                    "other/LONGFILENAME.txt",
                    "other2/Longfilename.TXT",
                    "fat.img:/Longdirectory",
                ],
                "was just made there, from another place",
            ),
        ],
    );
}

#[test]
fn a_fat_file_is_moved_to_another_spelling_of_its_name() {
    for to in ["LONGFILENAME.TXT", "LONGFI~1.TXT", "longFILEname.txt"] {
        let (site, image) = fat();
        let name = image.to_str().unwrap();
        site.succeeds(&["image", "mv", "fat.img:/Longfilename.txt", &format!("fat.img:/{to}")]);
        run("fsck.fat", "dosfstools", &["-n", name]);
        assert_eq!(run("mtype", "mtools", &["-i", name, &format!("::/{to}")]), "content\n");
        let listed = run("mdir", "mtools", &["-b", "-i", name, "::"]);
        assert_eq!(listed.lines().count(), 2, "{listed}");
        assert!(listed.contains(&format!("::/{to}\n")), "{listed}");
    }
}
