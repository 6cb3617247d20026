//! `prepare --into`: many bundles by one process.

use std::fs;

use crate::site::{Site, debugfs_cat, e2fsck, job, text};

/// Job descriptions `NAME.xml`, each of which says its own name.
fn jobs(site: &Site, names: &[&str]) {
    site.mke2fs("root.img", "8M", &["-t", "ext4"]);
    for name in names {
        let document = job("ext4", "root.img").replace("echo hello", &format!("echo {name}"));
        site.write(&format!("{name}.xml"), document);
    }
}

#[test]
fn each_job_description_becomes_a_bundle_of_its_own() {
    let site = Site::new();
    jobs(&site, &["a", "b", "c"]);
    let said = site.succeeds(&["prepare", "a.xml", "b.xml", "c.xml", "--into", "all"]);
    assert_eq!(said, "all: 3 bundles\n");
    for name in ["a", "b", "c"] {
        let image = site.path(&format!("all/{name}/xvda.img"));
        e2fsck(&image);
        let script = format!("#!/bin/sh\necho {name}\n");
        assert_eq!(debugfs_cat(&image, "/etc/xenjobs.d/10-job"), script);
    }
    // The same bundle as alone, digests and all, but for its place.
    let alone = |args: &[&str]| assert!(site.autoxen_at("1700000000", args).status.success());
    alone(&["prepare", "a.xml", "-o", "alone"]);
    alone(&["prepare", "a.xml", "b.xml", "--into", "together", "--parallel", "1"]);
    let files = |bundle: &str| {
        let bytes = fs::read(site.path(bundle).join("manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let files = manifest["files"].as_array().unwrap().clone();
        files.into_iter().filter(|file| file["name"] != "domain.cfg").collect::<Vec<_>>()
    };
    assert_eq!(files("alone"), files("together/a"));
    assert_eq!(files("alone").len(), 3);
}

#[test]
fn a_job_that_fails_keeps_no_other_from_being_prepared() {
    let site = Site::new();
    jobs(&site, &["a", "b", "c"]);
    site.write("b.xml", "<xenmetaconfig>");
    site.write("d.xml", job("ext4", "missing.img"));
    fs::create_dir_all(site.path("all/c")).unwrap();
    let said = site.fails(&["prepare", "a.xml", "b.xml", "c.xml", "d.xml", "--into", "all"]);
    assert!(said.contains("b.xml"), "{said}");
    assert!(said.contains("error: c.xml: `SITE/all/c` is there already\n"), "{said}");
    assert!(said.contains("cannot open image `SITE/missing.img`"), "{said}");
    assert!(said.ends_with(
        "error: 3 of 4 job descriptions were not prepared\nhint: bundles that are whole, in `all`: 1\n"
    ), "{said}");
    e2fsck(&site.path("all/a/xvda.img"));
    let mut names: Vec<_> =
        fs::read_dir(site.path("all")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a", "c"]);
}

#[test]
fn what_is_said_of_one_image_is_said_once_and_json_has_a_line_each() {
    let site = Site::new();
    jobs(&site, &["a", "b", "c"]);
    for name in ["a", "b", "c"] {
        let path = site.path(&format!("{name}.xml"));
        let document = fs::read_to_string(&path).unwrap().replace("/dev/xvda", "/dev/sda");
        fs::write(path, document).unwrap();
    }
    let output = site.autoxen(&["prepare", "a.xml", "b.xml", "c.xml", "--into", "all", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let notes = text(&output.stderr);
    assert_eq!(notes.matches("/dev/sda is /dev/xvda in the guest").count(), 1, "{notes}");
    let manifests: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(manifests.len(), 3);
}

#[test]
fn two_jobs_of_one_name_are_refused_before_anything_is_made() {
    let site = Site::new();
    jobs(&site, &["a"]);
    site.write("other/a.xml", job("ext4", "../root.img"));
    let said = site.fails(&["prepare", "a.xml", "other/a.xml", "--into", "all"]);
    assert!(
        said.starts_with("error: `a.xml` and `other/a.xml` would both become `all/a`\n"),
        "{said}"
    );
    let said = site.fails(&["prepare", "a.xml", "other/a.xml", "-o", "all"]);
    assert!(said.contains("hint: `--into DIR` makes a bundle of each in DIR"), "{said}");
    assert!(!site.path("all").exists());
}

#[test]
fn nothing_is_remembered_of_an_image_that_is_young() {
    let site = Site::new();
    jobs(&site, &["a"]);
    let digest = |output: std::process::Output| {
        assert!(output.status.success(), "{output:?}");
        let manifest: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        manifest["disks"][0]["image_digest"].as_str().unwrap().to_owned()
    };
    let prepare = |to: &str| {
        let cache = site.path("cache");
        let variables = [("XDG_CACHE_HOME", cache.to_str().unwrap())];
        digest(site.autoxen_with(&variables, &["prepare", "a.xml", "-o", to, "--json"]))
    };
    // It is young: nothing is remembered of it.
    let first = prepare("first");
    assert!(!site.path("cache").exists());
    let image = site.path("root.img");
    let mut bytes = fs::read(&image).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&image, bytes).unwrap();
    assert_ne!(prepare("second"), first);
}

#[test]
fn where_no_bundle_is_whole_none_is_spoken_of() {
    let site = Site::new();
    let said = site.fails(&["prepare", "missing.xml", "--into", "all"]);
    assert_eq!(
        said,
        "error: missing.xml: no such file or directory\nerror: 1 of 1 job descriptions were not prepared\n"
    );
    site.write("file", "");
    let said = site.fails(&["prepare", "a.xml", "b.xml", "--into", "file"]);
    assert_eq!(
        said,
        "error: `file` is not a directory\nhint: `--into` names the directory of the bundles\n"
    );
}
