//! `autoxen domain`: a bundle's configuration, written again for xl or libvirt.

use std::fs;
use std::os::unix::fs::symlink;

use crate::site::{Site, run, text};

/// A site with the bundle `ready`.
fn site() -> Site {
    let site = Site::new();
    site.mke2fs("root.img", "24M", &["-t", "ext4"]);
    site.job("ext4", "root.img");
    site.succeeds(&["prepare", "job.xml", "-o", "ready"]);
    site
}

#[test]
fn the_configuration_for_xl_is_that_of_domain_cfg() {
    let site = site();
    let written = fs::read_to_string(site.path("ready/domain.cfg")).unwrap();
    assert_eq!(site.succeeds(&["domain", "ready"]), written);
    symlink("ready", site.path("link")).unwrap();
    assert_eq!(site.succeeds(&["domain", "--format", "xl", "link"]), written);

    fs::create_dir(site.path("elsewhere")).unwrap();
    fs::rename(site.path("ready"), site.path("elsewhere/moved")).unwrap();
    let moved = site.succeeds(&["domain", "elsewhere/moved"]);
    assert_eq!(moved, written.replace("/ready/", "/elsewhere/moved/"));
}

#[test]
fn libvirts_schema_takes_the_domain_of_a_bundle_which_stays_the_same() {
    let site = site();
    let xml = site.succeeds(&["domain", "--format", "libvirt", "ready"]);
    let file = site.write("job.libvirt.xml", &xml);
    run("virt-xml-validate", "libvirt-clients", &[file.to_str().unwrap(), "domain"]);
    let ask = |expression: &str| {
        let file = file.to_str().unwrap();
        run("xmllint", "libxml2-utils", &["--xpath", expression, file]).trim_end().to_owned()
    };
    let image = fs::canonicalize(site.path("ready/xvda.img")).unwrap();
    assert_eq!(ask("string(/domain/devices/disk/source/@file)"), image.to_str().unwrap());
    assert_eq!(ask("string(/domain/memory)"), "256");
    let kernel = fs::canonicalize(site.path("ready/vmlinuz-6.1.0-13-amd64")).unwrap();
    assert_eq!(ask("string(/domain/os/kernel)"), kernel.to_str().unwrap());
    assert_eq!(site.succeeds(&["domain", "--format", "libvirt", "ready"]), xml);
}

#[test]
fn a_bundle_that_is_none_or_was_changed_is_refused_in_one_line() {
    let site = site();
    let manifest = fs::read_to_string(site.path("ready/manifest.json")).unwrap();
    assert_eq!(
        site.fails(&["domain", "nothing"]),
        "error: cannot read `nothing/manifest.json`: no such file or directory\n\
         hint: name the directory that `autoxen prepare -o` has made\n"
    );
    for (old, new, why) in [
        ("\"format\": 1", "\"format\": 7", "`ready/manifest.json` has format 7, not 1"),
        ("\"memory_mib\": 256", "\"memory_mib\": 0", "is no manifest of a bundle: invalid value"),
        ("\"vcpus\": 1", "\"vcpus\": 1, \"a\\u001b[2J\\nb\": 1", r"unknown field `a\u{1b}[2J\n"),
        ("\"xvda.img\"", "\"../xvda.img\"", "the file name must be"),
    ] {
        let changed = manifest.replace(old, new);
        assert_ne!(changed, manifest, "{old}");
        site.write("ready/manifest.json", changed);
        for format in ["xl", "libvirt"] {
            let refused = site.fails(&["domain", "--format", format, "ready"]);
            assert!(refused.contains(why), "{refused}");
            assert_eq!(refused.lines().count(), 2, "{refused}");
        }
    }
}

#[test]
fn what_libvirt_cannot_be_told_is_refused_and_xl_gets_it() {
    let site = site();
    let manifest = fs::read_to_string(site.path("ready/manifest.json")).unwrap();
    let (old, new) = ("\"vcpus\": 1", "\"vcpus\": 70000");
    assert!(manifest.contains(old));
    site.write("ready/manifest.json", manifest.replace(old, new));
    assert!(site.succeeds(&["domain", "ready"]).contains("vcpus = 70000\n"));
    let output = site.autoxen(&["domain", "--format", "libvirt", "ready"]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""));
    assert_eq!(
        text(&output.stderr),
        "error: libvirt cannot be told this domain: 70000 vcpus, and libvirt counts 65535 at most\n"
    );
}

#[test]
fn a_manifest_of_any_length_is_not_read_into_memory() {
    let site = site();
    let file = fs::File::create(site.path("ready/manifest.json")).unwrap();
    file.set_len(1 << 40).unwrap();
    assert!(site.fails(&["domain", "ready"]).contains("is longer than 16 MiB"));
}
