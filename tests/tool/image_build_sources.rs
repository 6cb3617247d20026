//! `autoxen image build` of sources that are not what they look like at first.

use std::os::unix::fs::MetadataExt;

use crate::image_build::sh;
use crate::site::{Site, e2fsck, run};

#[test]
fn an_image_is_not_made_in_the_directory_that_goes_into_it() {
    let site = Site::new();
    sh(&site, "mkdir -p root/below && echo x > root/file");
    for place in ["root/x.img", "root/below/x.img"] {
        let said = site.fails(&["image", "build", "-o", place, "root"]);
        assert!(said.starts_with("error: the image would lie in its own source `root`"), "{said}");
    }
    assert_eq!(sh(&site, "find root | sort"), "root\nroot/below\nroot/file\n");
    site.succeeds(&["image", "build", "-o", "x.img", "root"]);
}

#[test]
fn a_tar_that_begins_like_a_container_image_is_a_tar_however_it_comes() {
    let site = Site::new();
    sh(&site, "echo '{}' > manifest.json && echo '//' > background.js");
    sh(&site, "tar -cf app.tar manifest.json background.js && gzip -k app.tar");
    let program = env!("CARGO_BIN_EXE_autoxen");
    for (image, source) in
        [("1.img", "app.tar"), ("2.img", "app.tar.gz"), ("3.img", "- < app.tar.gz")]
    {
        let build =
            format!("SOURCE_DATE_EPOCH=1 {program} image build --seed s -o {image} {source}");
        sh(&site, &build);
        e2fsck(&site.path(image));
        let cat = ["image", "cat", &format!("{image}:/background.js")];
        assert_eq!(site.succeeds(&cat), "//\n");
    }
}

#[test]
fn a_fat_of_automatic_size_has_room_for_directories_that_no_entry_names() {
    let site = Site::new();
    sh(
        &site,
        "mkdir t && cd t && for n in $(seq 400); do mkdir -p d$n/e/f/g; echo $n > d$n/e/f/g/file; done",
    );
    sh(&site, "cd t && find . -type f | tar -cf ../t.tar -T -");
    site.succeeds(&["image", "build", "--type", "vfat", "-o", "x.img", "t.tar"]);
    run("fsck.fat", "dosfstools", &["-n", site.path("x.img").to_str().unwrap()]);
}

#[test]
fn a_fat_has_the_share_free_that_was_asked_for() {
    let site = Site::new();
    sh(&site, "mkdir t && truncate -s 100000000 t/file");
    site.succeeds(&["image", "build", "--type", "vfat", "--size", "auto+90%", "-o", "x.img", "t"]);
    let len = site.path("x.img").metadata().unwrap().len();
    assert!((1_000_000_000..1_100_000_000).contains(&len), "{len}");
    run("fsck.fat", "dosfstools", &["-n", site.path("x.img").to_str().unwrap()]);
}

#[test]
fn an_image_in_use_is_not_replaced() {
    let site = Site::new();
    sh(&site, "mkdir root && echo old > x.img");
    let file = std::fs::File::open(site.path("x.img")).unwrap();
    file.lock().unwrap();
    let said = site.fails(&["image", "build", "--force", "-o", "x.img", "root"]);
    assert!(said.starts_with("error: image `x.img` is in use: "), "{said}");
    assert_eq!(sh(&site, "cat x.img"), "old\n");
}

#[test]
fn a_second_name_in_a_fat_is_a_copy_piece_by_piece() {
    let site = Site::new();
    sh(
        &site,
        "mkdir t && head -c 9000001 /dev/urandom > t/a && ln t/a t/b && tar -C t -cf t.tar a b",
    );
    site.succeeds(&["image", "build", "--type", "vfat", "-o", "x.img", "t.tar"]);
    run("fsck.fat", "dosfstools", &["-n", site.path("x.img").to_str().unwrap()]);
    sh(&site, "mcopy -i x.img ::a 1 && mcopy -i x.img ::b 2 && cmp t/a 1 && cmp t/a 2");
}

#[test]
fn holes_of_raw_bytes_stay_holes() {
    let site = Site::new();
    sh(
        &site,
        "truncate -s 64M raw && echo x | dd of=raw bs=1 seek=50000000 conv=notrunc status=none",
    );
    site.succeeds(&["image", "build", "--disk", "gpt", "--part", "fs=raw,from=raw", "-o", "x.img"]);
    let blocks = site.path("x.img").metadata().unwrap().blocks();
    assert!(blocks * 512 < 4 << 20, "{blocks}");
    sh(&site, "dd if=x.img bs=1M skip=1 count=64 status=none | cmp - raw");
}
