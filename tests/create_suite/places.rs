//! Links, pipes, devices and borrowed files at every place of a bundle.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use crate::lab::{Bundle, Lab, POLICY, give};

/// A secret that root can read and the stranger cannot.
const SECRET: &str = "/etc/shadow";

/// What becomes of a file of a bundle.
type Bend = fn(&Lab, &Bundle, &Path);

/// Each way to make a file of a bundle something else, and the rule that refuses it.
const BENDS: [(&str, Bend, &str); 13] = [
    ("an absolute link", |_, _, path| symlink(SECRET, path).unwrap(), "bundle.links"),
    (
        "a relative link",
        |_, _, path| symlink("../../../../../etc/shadow", path).unwrap(),
        "bundle.links",
    ),
    ("a link to itself", |_, _, path| symlink(path, path).unwrap(), "bundle.links"),
    ("a link that leads nowhere", |_, _, path| symlink("none", path).unwrap(), "bundle.links"),
    (
        "a link to a copy that is as it should be",
        |_, bundle, path| {
            let copy = bundle.at("copy");
            fs::write(&copy, "").unwrap();
            give(&copy);
            symlink("copy", path).unwrap();
        },
        "bundle.links",
    ),
    (
        "a link through the process",
        |_, _, path| symlink("/proc/self/fd/0", path).unwrap(),
        "bundle.links",
    ),
    ("a named pipe", |_, _, path| node(path, FileType::Fifo, 0), "bundle.file"),
    (
        "a device for zeros",
        |_, _, path| node(path, FileType::CharacterDevice, 0x105),
        "bundle.file",
    ),
    ("a block device", |_, _, path| node(path, FileType::BlockDevice, 0x700), "bundle.file"),
    ("a directory", |_, _, path| fs::create_dir(path).unwrap(), "bundle.file"),
    ("a socket", |_, _, path| drop(UnixListener::bind(path).unwrap()), "bundle.file"),
    (
        "a second name of a file of root's that everybody can read",
        |lab, _, path| {
            let original = lab.theirs("readable");
            fs::write(&original, "x").unwrap();
            fs::hard_link(&original, path).unwrap();
        },
        "bundle.hard_links",
    ),
    (
        "a file that the stranger cannot read",
        |_, _, path| {
            fs::write(path, "secret").unwrap();
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        },
        "bundle.file",
    ),
];

fn node(path: &Path, kind: FileType, device: u64) {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o666), device).unwrap();
    give(path);
}

#[test]
fn no_file_of_a_bundle_is_anything_but_a_file_of_its_own() {
    for (what, bend, rule) in BENDS {
        for name in [
            "manifest.json",
            "vmlinuz",
            "initrd.img",
            "xvda.img",
            "results.img",
            "manifest.json.sig",
        ] {
            let lab = Lab::new();
            let bundle = lab.bundle("bundle");
            bundle.write();
            let path = bundle.at(name);
            if path.exists() {
                fs::remove_file(&path).unwrap();
            }
            bend(&lab, &bundle, &path);
            let refused = lab.check(POLICY, &bundle.path).expect_err(what);
            assert!(
                refused.starts_with(&format!("refused by {rule}: ")),
                "{name}, {what}: {refused}"
            );
        }
    }
}

#[test]
fn no_link_leads_to_a_bundle() {
    let lab = Lab::new();
    let bundle = lab.bundle("bundle");
    bundle.write();
    fs::create_dir(lab.theirs("in")).unwrap();
    for (target, link, path) in [
        ("bundle", "relative", "relative"),
        (bundle.path.to_str().unwrap(), "absolute", "absolute"),
        ("..", "in/up", "in/up/bundle"),
        ("/proc/self/cwd", "cwd", "cwd"),
    ] {
        symlink(target, lab.theirs(link)).unwrap();
        let refused = lab.check(POLICY, &lab.theirs(path)).expect_err(path);
        assert!(refused.starts_with("refused by bundle.links: "), "{path}: {refused}");
    }
    let refused = lab.check(POLICY, &lab.theirs("in/../bundle")).expect_err("up");
    assert!(refused.starts_with("refused by bundle.links: "), "{refused}");
    for path in [lab.theirs("none"), bundle.at("vmlinuz"), "/dev/null".into()] {
        let refused = lab.check(POLICY, &path).expect_err("no directory");
        assert!(refused.starts_with("refused by bundle.directory: "), "{refused}");
    }
    let empty = lab.theirs("in");
    let refused = lab.check(POLICY, &empty).expect_err("no manifest");
    assert!(refused.contains("has no manifest.json"), "{refused}");
    // Root could enter it.
    let closed = lab.own("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let refused = lab.check(POLICY, &closed).expect_err("closed");
    assert!(refused.contains("ermission denied"), "{refused}");
}

#[test]
fn a_manifest_without_end_is_not_read_to_its_end() {
    for len in [(16 << 20) + 1, 1 << 40] {
        let lab = Lab::new();
        let bundle = lab.bundle("bundle");
        let file = File::create(bundle.at("manifest.json")).unwrap();
        file.set_len(len).unwrap();
        give(&bundle.at("manifest.json"));
        let refused = lab.check(POLICY, &bundle.path).expect_err("long");
        assert_eq!(
            refused,
            "refused by bundle.manifest: `manifest.json` is longer than 16777216 bytes"
        );
    }
}

#[test]
fn lengths_are_counted_before_a_byte_is_copied() {
    let lab = Lab::new();
    let mut bundle = lab.bundle("bundle");
    let path = bundle.at("xvda.img");
    // Nearly all of it is a hole, so that it costs its owner nothing.
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(15 << 40).unwrap();
    bundle.manifest["files"][2]["len"] = json!(15_u64 << 40);
    bundle.write();
    let refused = lab.check(POLICY, &bundle.path).expect_err("long");
    assert_eq!(refused, "refused by limits.domain.disk: 15.00 TiB, at most 64.00 GiB");
}

#[test]
fn a_file_belongs_to_whom_the_policy_lets_it_belong() {
    let lab = Lab::new();
    let bundle = lab.bundle("bundle");
    bundle.write();
    std::os::unix::fs::chown(bundle.at("xvda.img"), Some(1), None).unwrap();
    let refused = lab.check(POLICY, &bundle.path).expect_err("another's");
    assert_eq!(
        refused,
        "refused by bundles.owners: `xvda.img` belongs to `daemon`, not to `games`, `root`"
    );
    let more = format!("{POLICY}[bundles]\nowners = [\"daemon\", \"{{user}}\"]\n");
    lab.check(&more, &bundle.path).expect("it may");
    std::os::unix::fs::chown(bundle.at("manifest.json"), Some(0), None).unwrap();
    let refused = lab.check(&more, &bundle.path).expect_err("root's");
    assert!(refused.starts_with("refused by bundles.owners: `manifest.json`"), "{refused}");
}

#[test]
fn what_lies_outside_of_the_bundle_is_only_what_root_alone_can_change() {
    let lab = Lab::new();
    let mut bundle = lab.bundle("bundle");
    fs::create_dir(lab.own("images")).unwrap();
    fs::write(lab.own("images/base.img"), [0; 4096]).unwrap();
    fs::write(lab.own("images/vmlinuz"), [0; 4096]).unwrap();
    let at = lab.own("images");
    let at = at.to_str().unwrap();
    let policy = format!(
        "{POLICY}[images]\ndirectories = [\"{at}\"]\n[kernels]\nbundle = false\ndirectories = [\"{at}\"]\n"
    );
    bundle.write();
    let refused = lab.check(&policy, &bundle.path).expect_err("its own kernel");
    assert!(refused.starts_with("refused by kernels.bundle: "), "{refused}");

    bundle.manifest["domain"]["boot"]["kernel"] =
        json!({"kernel": {"host": format!("{at}/vmlinuz")}, "ramdisk": null, "cmdline": "ro"});
    let disk =
        json!({"vdev": "xvdc", "read_only": true, "target": {"host": format!("{at}/base.img")}});
    bundle.manifest["domain"]["disks"].as_array_mut().unwrap().push(disk);
    let text = lab.check(&policy, bundle.write()).expect("both are the site's");
    assert!(text.contains(&format!("vdev=xvdc,access=ro,target={at}/base.img")), "{text}");

    let path = lab.own("images/base.img");
    let refused_by = |what: &str, change: &dyn Fn()| {
        change();
        let refused = lab.check(&policy, bundle.write()).expect_err(what);
        assert!(refused.starts_with("refused by images.trusted: "), "{what}: {refused}");
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        fs::write(&path, [0; 4096]).unwrap();
    };
    refused_by("nothing there", &|| fs::remove_file(&path).unwrap());
    refused_by("the stranger's", &|| give(&path));
    refused_by("everybody's", &|| {
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    });
    refused_by("a device", &|| {
        fs::remove_file(&path).unwrap();
        mknodat(CWD, &path, FileType::BlockDevice, Mode::from_raw_mode(0o600), 0x700).unwrap();
    });
    refused_by("a directory", &|| {
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
    });
    refused_by("a link to where the stranger writes", &|| {
        fs::remove_file(&path).unwrap();
        fs::write(lab.theirs("mine.img"), "").unwrap();
        symlink(lab.theirs("mine.img"), &path).unwrap();
    });
    // Below the directory by name, elsewhere in truth.
    bundle.manifest["domain"]["disks"][2]["target"]["host"] = json!(format!("{at}-other/base.img"));
    let refused = lab.check(&policy, bundle.write()).expect_err("beside it");
    assert!(refused.starts_with("refused by images.directories: "), "{refused}");
}

#[test]
fn kernels_are_counted_too() {
    for name in ["vmlinuz", "initrd.img"] {
        let lab = Lab::new();
        let mut bundle = lab.bundle("bundle");
        let file = File::options().write(true).open(bundle.at(name)).unwrap();
        file.set_len(600 << 20).unwrap();
        let nr = usize::from(name == "initrd.img");
        bundle.manifest["files"][nr]["len"] = json!(600 << 20);
        bundle.write();
        let refused = lab.check(POLICY, &bundle.path).expect_err("long");
        assert!(
            refused.starts_with("refused by limits.domain.kernel: 600.00 MiB, at most 512.00 MiB"),
            "{refused}"
        );
        let more =
            POLICY.replace("[limits.domain]", "[limits.domain]\nkernel = \"1G\"\ndisk = \"500M\"");
        let refused = lab.check(&more, &bundle.path).expect_err("long");
        assert!(refused.starts_with("refused by limits.domain.disk: 600.01 MiB"), "{refused}");
    }
}

#[test]
fn a_guest_shows_nobody_what_root_has_closed() {
    let lab = Lab::new();
    let mut bundle = lab.bundle("bundle");
    fs::create_dir(lab.own("boot")).unwrap();
    let path = lab.own("boot/initrd.img");
    fs::write(&path, [1; 100]).unwrap();
    let at = lab.own("boot");
    let at = at.to_str().unwrap();
    let policy = format!("{POLICY}[kernels]\ndirectories = [\"{at}\"]\n");
    bundle.manifest["domain"]["boot"]["kernel"]["ramdisk"] =
        json!({"host": path.to_str().unwrap()});
    lab.check(&policy, bundle.write()).expect("everybody may read it");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let refused = lab.check(&policy, &bundle.path).expect_err("root alone may");
    assert!(refused.starts_with("refused by kernels.trusted: you may not read"), "{refused}");
}

#[test]
fn a_path_that_cannot_be_told_is_no_path_of_a_bundle() {
    use std::os::unix::ffi::OsStrExt;
    let lab = Lab::new();
    for name in [&b"b\xff"[..], b"a\nb", b"\x01"] {
        let path = lab.theirs("").join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir(&path).unwrap();
        let refused = lab.check(POLICY, &path).expect_err("not told");
        assert!(
            refused.starts_with("refused by bundle.directory: the path is not UTF-8"),
            "{refused}"
        );
    }
    let deep = lab.theirs(&"a/".repeat(2100));
    let refused = lab.check(POLICY, &deep).expect_err("long");
    assert!(refused.contains("longer than 4096 bytes"), "{refused}");
}
