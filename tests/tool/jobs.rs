//! What a job takes in and sends out, from the document to the disks of the bundle, and `autoxen run` around it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use serde_json::Value;

use crate::site::{Site, debugfs_cat, debugfs_stat, e2fsck, job, run, text};

/// A site with a root of BusyBox, and a job with these elements in it.
fn site(elements: &str, after: &str) -> Site {
    let site = Site::new();
    let tree = site.guest_tree();
    fs::create_dir_all(tree.join("sbin")).unwrap();
    fs::create_dir_all(tree.join("bin")).unwrap();
    fs::write(tree.join("bin/busybox"), "BusyBox").unwrap();
    symlink("../bin/busybox", tree.join("sbin/init")).unwrap();
    fs::create_dir_all(tree.join("srv/there")).unwrap();
    site.mke2fs("root.img", "24M", &["-t", "ext4"]);
    let text = job("ext4", "root.img").replace("</job>", &format!("{elements}</job>{after}"));
    site.write("job.xml", text);
    site
}

fn sha256(path: &std::path::Path) -> String {
    let out = run("sha256sum", "coreutils", &[path.to_str().unwrap()]);
    out.split(' ').next().unwrap().to_owned()
}

#[test]
fn inputs_are_put_into_the_root_image_with_modes_links_and_digests() {
    let site = site(
        "<input source='tool.sh' path='/srv/bin/tool' sha256='DIGEST'/>\
         <input source='tree' path='/srv/tree' type='directory'/>\
         <input source='data.tar.gz' path='/srv/there' type='tar'/>",
        "",
    );
    let tool = site.write("tool.sh", "#!/bin/sh\n");
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    site.write("tree/deep/file", "in a tree\n");
    symlink("deep/file", site.path("tree/link")).unwrap();
    site.write("packed/sub/file", "in a tar\n");
    let (packed, tar) = (site.path("packed"), site.path("data.tar.gz"));
    run(
        "tar",
        "tar",
        &[
            "-C",
            packed.to_str().unwrap(),
            "--owner=7",
            "--group=8",
            "-czf",
            tar.to_str().unwrap(),
            "sub",
        ],
    );
    let text = fs::read_to_string(site.path("job.xml")).unwrap();
    site.write("job.xml", text.replace("DIGEST", &sha256(&tool)));
    let plan = site.succeeds(&["plan", "job.xml"]);
    for line in [
        "put a file at /srv/bin/tool",
        "put a directory at /srv/tree",
        "unpack a tar in /srv/there",
    ] {
        assert!(plan.contains(line), "{line}: {plan}");
    }
    site.succeeds(&["prepare", "job.xml", "-o", "ready"]);
    let image = site.path("ready/xvda1.img");
    let image = if image.exists() { image } else { site.path("ready/xvda.img") };
    e2fsck(&image);
    assert_eq!(debugfs_cat(&image, "/srv/bin/tool"), "#!/bin/sh\n");
    assert!(debugfs_stat(&image, "/srv/bin/tool").contains("Mode:  0755"));
    assert_eq!(debugfs_cat(&image, "/srv/tree/deep/file"), "in a tree\n");
    assert!(debugfs_stat(&image, "/srv/tree/link").contains("\"deep/file\""));
    assert!(debugfs_stat(&image, "/srv/tree/deep/file").contains("User:     0   Group:     0"));
    assert_eq!(debugfs_cat(&image, "/srv/there/sub/file"), "in a tar\n");
    assert!(debugfs_stat(&image, "/srv/there/sub/file").contains("User:     7   Group:     8"));

    let text = fs::read_to_string(site.path("job.xml")).unwrap();
    site.write("job.xml", text.replace(&sha256(&tool), &"0".repeat(64)));
    for verb in [&["plan", "job.xml"][..], &["prepare", "job.xml", "-o", "other"]] {
        let stderr = site.fails(verb);
        assert!(stderr.contains("tool.sh` has another SHA-256"), "{stderr}");
    }
    assert!(!site.path("other").exists());
}

#[test]
fn what_no_input_can_be_is_refused_where_it_stands() {
    for (element, what) in [
        ("<input source='none' path='/srv/x'/>", "none`: no such file or directory"),
        (
            "<input source='tree' path='/srv/x'/>",
            "tree` is not a regular file: `type=\"directory\"` takes one",
        ),
        ("<input source='job.xml' path='/srv/x' type='directory'/>", "job.xml` is no directory"),
        ("<input source='job.xml' path='/srv/x' type='tar'/>", "job.xml"),
        ("<input source='job.xml' path='/srv/there'/>", "is a directory"),
    ] {
        let site = site(element, "");
        let stderr = site.fails(&["prepare", "job.xml", "-o", "ready"]);
        assert!(stderr.contains(what), "{what}: {stderr}");
        assert!(!site.path("ready").exists());
    }
}

#[test]
fn inputs_on_disks_of_their_own_are_linked_to() {
    let site = site(
        "<input source='big' path='/srv/big' place='ext'/>\
         <input source='data.tar' path='/srv/data' type='tar' place='ext'/>\
         <input source='fat' path='/srv/fat' type='directory' place='vfat'/>",
        "<results size='8M'/>",
    );
    let big = fs::File::create(site.path("big")).unwrap();
    big.set_len(3 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&big, b"end", (3 << 20) - 3).unwrap();
    site.write("packed/one", "1\n");
    fs::hard_link(site.path("packed/one"), site.path("packed/two")).unwrap();
    let (packed, tar) = (site.path("packed"), site.path("data.tar"));
    run("tar", "tar", &["-C", packed.to_str().unwrap(), "-cf", tar.to_str().unwrap(), "."]);
    site.write("fat/a name/that is long.txt", "on a FAT\n");
    site.succeeds(&["prepare", "job.xml", "-o", "ready", "--json"]);
    let manifest: Value =
        serde_json::from_slice(&fs::read(site.path("ready/manifest.json")).unwrap()).unwrap();
    let results = site.path("ready").join(manifest["results"]["file"].as_str().unwrap());
    e2fsck(&results);
    let blkid = run("blkid", "util-linux", &["-o", "export", results.to_str().unwrap()]);
    assert!(blkid.contains("LABEL=AUTOXEN_RES\n") && blkid.contains("TYPE=ext3\n"), "{blkid}");
    let ext = site.path("ready/xvdc.img");
    e2fsck(&ext);
    assert_eq!(debugfs_cat(&ext, "/1/two"), "1\n");
    assert!(debugfs_stat(&ext, "/1/two").contains("Links: 2"));
    assert_eq!(debugfs_cat(&ext, "/0/big").len(), 3 << 20);
    let fat = site.path("ready/xvdd.img");
    run("fsck.fat", "dosfstools", &["-n", fat.to_str().unwrap()]);
    let read =
        run("mtype", "mtools", &["-i", fat.to_str().unwrap(), "::/0/a name/that is long.txt"]);
    assert_eq!(read, "on a FAT\n");
    let root = site.path("ready/xvda1.img");
    let root = if root.exists() { root } else { site.path("ready/xvda.img") };
    e2fsck(&root);
    assert!(debugfs_stat(&root, "/srv/data").contains("\"/var/lib/autoxen/input/1\""));
    assert!(
        debugfs_cat(&root, "/etc/fstab")
            .contains("/dev/xvdc /var/lib/autoxen/input ext3 ro,nosuid,nodev 0 0")
    );
    assert!(debugfs_cat(&root, "/etc/autoxen/run.conf").contains("device xvdb\n"));
}

/// A launcher that leaves on the results disk what a runner would have.
const LAUNCHER: &str = r#"#!/bin/sh
set -e
id=$(sed -n 's/^  "id": "\(.*\)",$/\1/p' "$1/manifest.json")
printf '{"format":1,"id":"%s","start":1,"end":3,"finished":true,"reason":null}' "$id" > run.json
printf '{"format":1,"start":1,"end":2,"exit":5,"finished":true}' > job.json
printf 'mkdir 10-hello\nwrite run.json run.json\ncd 10-hello\nwrite job.json job.json\nwrite run.json stdout\n' > requests
debugfs -w -f requests "$1/xvdb.img" > /dev/null 2>&1
echo started "$1"
"#;

#[test]
fn a_run_prepares_starts_waits_and_collects() {
    let site = site("", "<results size='8M'/>");
    let launcher = site.write("launcher", LAUNCHER);
    fs::set_permissions(&launcher, fs::Permissions::from_mode(0o755)).unwrap();
    let go = |more: &[&str]| {
        let output = site.autoxen(&[&["run", "job.xml", "-o", "out"], more].concat());
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let (status, stdout, stderr) = go(&["--launcher", "./launcher"]);
    assert_eq!(status, 5, "{stdout} {stderr}");
    assert!(stdout.contains("finished in 2s, exit status 5"), "{stdout}");
    assert!(stderr.contains("started "), "{stderr}");
    assert!(site.path("out/10-hello/stdout").exists());
    assert!(site.names().iter().all(|name| !name.starts_with(".autoxen")), "{:?}", site.names());
    let (status, _, stderr) = go(&["--launcher", "./launcher"]);
    assert!(status == 2 && stderr.contains("out` is there already"), "{stderr}");
    fs::remove_dir_all(site.path("out")).unwrap();

    // A launcher that fails, and one that starts nothing.
    let (status, stdout, stderr) = go(&["--launcher", "exit 3; true", "--bundle", "kept"]);
    assert_eq!(status, 125, "{stdout} {stderr}");
    assert!(stderr.contains("the launcher failed: exit status: 3"), "{stderr}");
    assert!(stdout.contains("its jobs never ran"), "{stdout}");
    assert!(site.path("kept/domain.cfg").exists());
    fs::remove_dir_all(site.path("out")).unwrap();
    let (status, _, stderr) = go(&["--launcher", "rm -r"]);
    assert!(status == 2 && stderr.contains("the bundle is kept"), "{stderr}");
}

#[test]
fn an_interrupted_run_ends_the_launcher_and_keeps_the_bundle() {
    let site = site("", "<results size='8M'/>");
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_autoxen"))
        .args(["run", "job.xml", "-o", "out", "--bundle", "kept", "--launcher"])
        .arg("trap 'echo ended > ended; exit 1' TERM; echo > begun; while :; do sleep 0.1; done; true")
        .current_dir(site.path(""))
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while !site.path("begun").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::yield_now();
    }
    run("kill", "util-linux", &["-INT", &child.id().to_string()]);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("collect"), "{}", text(&output.stderr));
    assert!(site.path("ended").exists() && site.path("kept/domain.cfg").exists());
    assert!(fs::metadata(site.path("kept")).unwrap().mode() & 0o700 == 0o700);
}
