//! Walks through directories of a hostile image, which lie in themselves or in one another by many ways: each ends.

use std::fs;
use std::path::PathBuf;

use crate::site::{Site, judge, run, text};

/// An image in which 40 directories lie in one another, each by two names: 2^40 ways, and no circle. And one with a circle.
fn mazes(site: &Site) -> [PathBuf; 2] {
    let ways = site.mke2fs("ways.img", "16M", &["-t", "ext4"]);
    let circle = site.mke2fs("circle.img", "16M", &["-t", "ext4"]);
    let mut script = String::from("mkdir /way\n");
    for step in 0..40 {
        script += &format!("mkdir /d{step}\n");
    }
    for step in 0..39 {
        let next = step + 1;
        script += &format!("link /d{next} /d{step}/x\nlink /d{next} /d{step}/y\n");
    }
    script += "link /d0 /way/d\n";
    let script = site.write("ways.debugfs", script);
    let circles = "mkdir /way\nlink /way /way/x\nlink /way /way/y\n";
    let circles = site.write("circle.debugfs", circles);
    for (image, script) in [(&ways, script), (&circle, circles)] {
        let args = ["-w", "-f", script.to_str().unwrap(), image.to_str().unwrap()];
        run("debugfs", "e2fsprogs", &args);
        // It is as broken as it has to be.
        let judged = judge("e2fsck", "e2fsprogs", &["-fn", image.to_str().unwrap()]);
        assert_eq!(judged.status.code(), Some(4), "{}", text(&judged.stdout));
    }
    [ways, circle]
}

#[test]
fn a_walk_through_directories_that_lie_in_themselves_ends() {
    let site = Site::new();
    for image in mazes(&site) {
        let name = image.file_name().unwrap().to_str().unwrap();
        let copy = site.path("copy.img");
        fs::copy(&image, &copy).unwrap();
        let before = fs::read(&image).unwrap();
        let way = format!("{name}:/way");
        let below = format!("{name}:/way/**");
        let file = format!("{name}:/way/**/file");
        for args in [
            &["ls", "-R", &way][..],
            &["ls", "-R", "--json", &way],
            &["ls", &below],
            &["cat", &file],
            &["rm", "-rv", &way],
            &["chmod", "-R", "700", &way],
            &["chown", "-R", "1:1", &way],
            &["cp", "-r", &way, &format!("{name}:/copied")],
            &["cp", "-r", &way, "out"],
            &["diff", &way, "copy.img:/way"],
        ] {
            let refusal = site.fails(&[&["image"], args].concat());
            assert!(refusal.contains("corrupt image: directory `/way/"), "{args:?}: {refusal}");
            assert!(refusal.contains("lies in two places, or in itself"), "{args:?}: {refusal}");
            assert!(before == fs::read(&image).unwrap(), "{args:?}");
        }
        fs::remove_dir_all(site.path("out")).unwrap();
        // Without -v, all is removed by the inodes, each of which knows where it lies.
        let refusal = site.fails(&["image", "rm", "-r", &way]);
        assert!(refusal.contains("corrupt image: `/way"), "{refusal}");
        assert!(before == fs::read(&image).unwrap(), "rm -r");
    }
}
