//! qcow2 images wherever an image is named: `image info` and `recover`, `plan` and `prepare`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::image_convert::{overlay, qcow2, qemu_img, qemu_io, root};
use crate::site::{Site, debugfs_cat, e2fsck, job, run, text};

#[test]
fn info_tells_of_the_file_and_then_of_the_disk() {
    let site = Site::new();
    let raw = root(&site);
    let image = qcow2(&site, "root.qcow2", &["-c", "-o", "compression_type=zstd,cluster_size=4k"]);
    let len = fs::metadata(&image).unwrap().len();
    let of_raw = site.succeeds(&["image", "info", "--deep", "root.img"]);
    let out = site.succeeds(&["image", "info", "--deep", "root.qcow2"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "root.qcow2: 24.0 MiB (25165824 bytes), qcow2");
    assert!(lines[1].starts_with("  version 3 in a file of "), "{out}");
    assert!(lines[1].ends_with(&format!(" ({len} bytes)")), "{out}");
    assert_eq!(lines[2], "  clusters of 4096 bytes, zstd where compressed");
    // What is inside is what is inside the raw one, the check included.
    let inside: Vec<&str> = of_raw.lines().skip(1).collect();
    assert_eq!(lines[3..], inside);

    fs::remove_file(raw).unwrap();
    let top = overlay(&site, "top.qcow2", "root.qcow2", "qcow2");
    qemu_img(&["snapshot", "-c", "before", top.to_str().unwrap()]);
    let found = site.succeeds(&["image", "info", "top.qcow2"]);
    let below = fs::canonicalize(&image).unwrap();
    let expected =
        format!("\n  snapshots: 1, which are not looked at\n  over {}\next4: ", below.display());
    assert!(found.contains(&expected), "{found}");
    let found = site.succeeds(&["image", "info", "--json", "top.qcow2"]);
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    let theirs = qemu_img(&["info", "--output=json", top.to_str().unwrap()]);
    let theirs: serde_json::Value = serde_json::from_str(&theirs).unwrap();
    assert_eq!(found["bytes"], theirs["virtual-size"]);
    let told = &found["qcow2"];
    assert_eq!(told["cluster_bytes"], theirs["cluster-size"]);
    assert_eq!(told["backing_file"], theirs["backing-filename"]);
    assert_eq!(told["backing_format"], theirs["backing-filename-format"]);
    assert_eq!(told["backing_paths"], serde_json::json!([below]));
    assert_eq!(told["compression"], theirs["format-specific"]["data"]["compression-type"]);
    assert_eq!((&told["version"], &told["snapshots"]), (&3.into(), &1.into()));
    assert!(found["compression"].is_null());
    assert_eq!(found["volumes"][0]["holds"], "ext4");
}

#[test]
fn what_is_written_to_has_to_be_raw() {
    let site = Site::new();
    root(&site);
    let image = qcow2(&site, "root.qcow2", &[]);
    let before = fs::read(&image).unwrap();
    let expected = "\
error: image `root.qcow2` is qcow2, not raw: no place to write to
hint: make a raw image of it with `autoxen image convert`, and recover that
";
    assert_eq!(site.fails(&["image", "recover", "root.qcow2"]), expected);
    site.job("ext4", "root.qcow2");
    for args in [
        &["plan", "job.xml", "--in-place"][..],
        &["prepare", "job.xml", "-o", "ready", "--in-place"],
    ] {
        let stderr = site.fails(args);
        let what = "job.xml:10:10: image `SITE/root.qcow2` is qcow2, not raw: no place to edit\n";
        assert!(stderr.contains(what), "{stderr}");
        let hint =
            "hint: make a raw image of it with `autoxen image convert`, or leave out --in-place\n";
        assert!(stderr.contains(hint), "{stderr}");
    }
    assert!(fs::read(&image).unwrap() == before);
    assert_eq!(site.names(), ["job.xml", "root.img", "root.qcow2"]);
}

#[test]
fn a_qcow2_image_is_prepared_as_its_raw_disk_is() {
    let site = Site::new();
    root(&site);
    qcow2(&site, "base.qcow2", &["-c"]);
    let top = overlay(&site, "top.qcow2", "base.qcow2", "qcow2");
    fs::set_permissions(site.path("base.qcow2"), Permissions::from_mode(0o600)).unwrap();
    let before = fs::read(&top).unwrap();
    let mut made = Vec::new();
    for (url, how) in [("root.img", None), ("top.qcow2", Some("unpacked"))] {
        site.job("ext4", url);
        let output =
            site.autoxen_at("1700000000", &["prepare", "job.xml", "-o", "ready", "--json"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr).matches("warning: ").count(), 0);
        let manifest: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        if let Some(how) = how {
            assert_eq!(manifest["disks"][0]["how"], how);
        }
        let ready = site.path("ready/xvda.img");
        e2fsck(&ready);
        assert_eq!(debugfs_cat(&ready, "/etc/xenjobs.d/10-job"), "#!/bin/sh\necho hello\n");
        made.push((
            fs::read(&ready).unwrap(),
            fs::metadata(&ready).unwrap().permissions().mode() & 0o777,
        ));
        fs::remove_dir_all(site.path("ready")).unwrap();
    }
    assert!(made[0].0 == made[1].0, "the same disk, prepared to the same bytes");
    // The base is closed to others, and so is what is made of it.
    assert_eq!((made[0].1, made[1].1), (0o644, 0o600));
    assert!(fs::read(&top).unwrap() == before, "the stock image changed");
    let plan = site.succeeds(&["plan", "job.xml"]);
    assert!(plan.contains("/top.qcow2, as xvda.img\n"), "{plan}");
}

#[test]
fn a_digest_is_that_of_the_file_and_says_what_it_does_not_cover() {
    let site = Site::new();
    root(&site);
    let top = overlay(&site, "top.qcow2", "root.img", "raw");
    qemu_io(&top, "write -P 1 23M 4k");
    let sum = run("sha256sum", "coreutils", &[top.to_str().unwrap()]);
    let with = |sum: &str| {
        let xmf = job("ext4", "top.qcow2")
            .replace("<imagefile>", &format!("<imagefile sha256=\"{sum}\">"));
        site.write("job.xml", xmf);
    };
    with(&sum[..64]);
    let output = site.autoxen(&["plan", "job.xml"]);
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let expected = "/top.qcow2`: its sha256 does not cover `";
    assert!(stderr.starts_with("warning: image `") && stderr.contains(expected), "{stderr}");
    assert!(stderr.contains("/root.img`, which it is laid over\n"), "{stderr}");
    with(&"0".repeat(64));
    assert!(site.fails(&["plan", "job.xml"]).contains("has another SHA-256"));
}

#[test]
fn a_qcow2_that_cannot_be_read_is_refused_at_its_place() {
    let (site, other) = (Site::new(), Site::new());
    root(&site);
    let image = qcow2(&site, "root.qcow2", &[]);
    site.job("ext4", "root.qcow2");
    let whole = fs::read(&image).unwrap();
    let refused = |expected: &str, hint: &str| {
        for args in [&["plan", "job.xml"][..], &["prepare", "job.xml", "-o", "ready"]] {
            let stderr = site.fails(args);
            assert!(
                stderr.contains(&format!("job.xml:10:10: image `SITE/root.qcow2`: {expected}")),
                "{stderr}"
            );
            assert!(stderr.contains(&format!("hint: {hint}")), "{stderr}");
        }
        assert_eq!(site.names(), ["job.xml", "root.img", "root.qcow2"]);
    };
    fs::write(&image, &whole[..whole.len() / 2]).unwrap();
    refused(
        "corrupt image: qcow2: byte ",
        "`qemu-img check` says more; use a copy that is whole\n",
    );
    // Incompatible feature 1: the image is marked corrupt.
    let mut marked = whole.clone();
    marked[79] |= 2;
    fs::write(&image, marked).unwrap();
    refused("corrupt image: qcow2: it is marked so ", "`qemu-img check` says more");
    fs::remove_file(&image).unwrap();
    let base = root(&other);
    overlay(&site, "root.qcow2", base.to_str().unwrap(), "raw");
    refused("qcow2: the backing file `", "move it beside the image, or allow its directory: ");
    // Cut short, `info` says so as well.
    fs::write(&image, &whole[..whole.len() / 4]).unwrap();
    let stderr = site.fails(&["image", "info", "--deep", "root.qcow2"]);
    assert!(stderr.contains("corrupt"), "{stderr}");
}
