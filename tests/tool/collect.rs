//! `autoxen collect`: what a guest has left on its results disk.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use serde_json::{Value, json};

use crate::site::{Site, run, text};

const RUN: &str = r#"{"format":1,"id":"3f","start":100,"end":172,"finished":true,"reason":null}"#;

fn job(more: &str) -> String {
    format!(
        r#"{{"format":1,"user":"root","start":100,"end":103,"signal":null,"timed_out":false,"full":false,"missing":[],{more}}}"#
    )
}

/// A bundle with two jobs, and the tree that its results disk is made from.
fn bundle() -> Site {
    let site = Site::new();
    let manifest = json!({
        "format": 1, "id": "3f", "domain": {"name": "fit"},
        "jobs": [{"name": "10-fit", "outputs": []}, {"name": "11-sum", "outputs": []}],
        "results": {"vdev": "xvdb", "file": "xvdb.img", "label": "AUTOXEN_RES"},
    });
    site.write("ready/manifest.json", manifest.to_string());
    fs::create_dir_all(site.path("disk")).unwrap();
    site
}

/// Make the results disk from the tree.
fn disk(site: &Site) {
    let (tree, image) = (site.path("disk"), site.path("ready/xvdb.img"));
    let _ = fs::remove_file(&image);
    let arguments =
        ["-q", "-F", "-t", "ext3", "-d", tree.to_str().unwrap(), image.to_str().unwrap(), "8M"];
    run("mke2fs", "e2fsprogs", &arguments);
}

/// Both jobs have run.
fn whole() -> Site {
    let site = bundle();
    site.write("disk/run.json", RUN);
    site.write("disk/10-fit/job.json", job(r#""exit":0,"finished":true"#));
    site.write("disk/10-fit/stdout", "hello\n");
    site.write("disk/10-fit/stderr", "");
    site.write("disk/11-sum/job.json", job(r#""exit":7,"finished":true"#));
    site.write("disk/11-sum/stdout", "");
    site.write("disk/11-sum/stderr", "no\n");
    site
}

/// Exit status, standard output, standard error.
fn collect(site: &Site, more: &[&str]) -> (i32, String, String) {
    let output = site.autoxen(&[&["collect", "ready", "-o", "out"], more].concat());
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn results_come_home_with_the_status_of_the_first_job_that_failed() {
    let site = whole();
    let kept = site.write("disk/10-fit/outputs/srv/out/a.root", "data");
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o4750)).unwrap();
    symlink("a.root", site.path("disk/10-fit/outputs/srv/out/link")).unwrap();
    run("touch", "coreutils", &["-d", "2001-02-03 04:05:06 UTC", kept.to_str().unwrap()]);
    disk(&site);
    let (status, stdout, stderr) = collect(&site, &[]);
    assert_eq!((status, stderr.as_str()), (7, ""));
    assert_eq!(
        stdout,
        "fit: finished in 1m 12s, exit status 7\n\
         \u{20} job     end     took  stdout  stderr  outputs\n\
         \u{20} 10-fit  exit 0  3s    6 B     0 B     4\n\
         \u{20} 11-sum  exit 7  3s    0 B     3 B     0\n"
    );
    assert_eq!(fs::read_to_string(site.path("out/10-fit/stdout")).unwrap(), "hello\n");
    assert_eq!(fs::read_to_string(site.path("out/11-sum/stderr")).unwrap(), "no\n");
    let copied = site.path("out/10-fit/outputs/srv/out");
    let meta = fs::metadata(copied.join("a.root")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o750, 981_173_106));
    assert_eq!(fs::read_link(copied.join("link")).unwrap().as_os_str(), "a.root");
    let told: Value =
        serde_json::from_slice(&fs::read(site.path("out/results.json")).unwrap()).unwrap();
    assert_eq!((&told["state"], &told["exit"]), (&json!("finished"), &json!(7)));
    assert_eq!(told["jobs"][1]["end"], json!({"kind": "exit", "status": 7}));
    let outputs = told["jobs"][0]["taken"]["outputs"].as_array().unwrap();
    assert_eq!(outputs[2]["path"], "/srv/out/a.root");
    assert_eq!((&outputs[2]["mode"], &outputs[2]["kind"]), (&json!("4750"), &json!("file")));
    // A second time it is in the way.
    let (status, _, stderr) = collect(&site, &[]);
    assert!(status == 2 && stderr.contains("is there already"), "{stderr}");
}

#[test]
fn each_state_of_a_guest_is_said() {
    let site = bundle();
    disk(&site);
    let say = |site: &Site, more: &[&str]| {
        let (status, stdout, _) = collect(site, more);
        fs::remove_dir_all(site.path("out")).unwrap();
        (status, stdout.lines().next().unwrap().to_owned())
    };
    let never = "fit: its jobs never ran: the guest was not started, or did not come up";
    assert_eq!(say(&site, &[]), (125, never.into()));

    site.write("disk/run.json", RUN.replace("true", "false").replace("172", "null"));
    site.write("disk/10-fit/job.json", job(r#""exit":null,"finished":false"#));
    site.write("disk/10-fit/stdout", "so far\n");
    disk(&site);
    let early = "fit: it ended before its jobs did: destroyed, crashed, or still running elsewhere";
    assert_eq!(say(&site, &[]), (125, early.into()));
    let (_, stdout, _) = collect(&site, &["--json"]);
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(told["jobs"][0]["end"], json!({"kind": "unfinished"}));
    assert_eq!(told["jobs"][1]["end"], json!({"kind": "not-run"}));
    assert_eq!(fs::read_to_string(site.path("out/10-fit/stdout")).unwrap(), "so far\n");
    fs::remove_dir_all(site.path("out")).unwrap();

    for (reason, exit, line) in [
        ("limit", r#""exit":124,"timed_out":true"#, "124: its limit of time was reached"),
        ("failed job", r#""exit":3"#, "3: a job failed, and those behind it did not run"),
        ("disk full", r#""exit":3"#, "3: the results disk is full, results are cut"),
    ] {
        site.write("disk/run.json", RUN.replace("null", &format!("\"{reason}\"")));
        let text = job(&format!("{exit},\"finished\":true"));
        // A name twice: the last one counts for some readers, and ours refuses it.
        let text = if exit.contains("timed_out") {
            text.replacen("\"timed_out\":false,", "", 1)
        } else {
            text
        };
        site.write("disk/10-fit/job.json", text);
        disk(&site);
        let (_, said) = say(&site, &[]);
        assert_eq!(said, format!("fit: finished in 1m 12s, exit status {line}"));
    }

    // Somebody has the disk open for writing, and locked.
    let image = fs::File::open(site.path("ready/xvdb.img")).unwrap();
    image.lock().unwrap();
    let runs = "fit: it still runs, or somebody else uses its results disk";
    assert_eq!(say(&site, &[]), (125, runs.into()));
}

#[test]
fn a_console_stands_in_for_a_lost_disk() {
    let site = bundle();
    disk(&site);
    site.write("log", "AUTOXEN-RESULT job=10-fit exit=0\r\nAUTOXEN-RESULT job=11-sum exit=9\r\nAUTOXEN-RESULT exit=9\r\n");
    let (status, stdout, _) = collect(&site, &["--console", "log"]);
    assert_eq!(status, 9, "{stdout}");
    fs::remove_dir_all(site.path("out")).unwrap();
    fs::remove_file(site.path("ready/xvdb.img")).unwrap();
    let (status, _, stderr) = collect(&site, &["--console", "log"]);
    assert!(status == 9 && stderr.contains("no such file"), "{stderr}");
    fs::remove_dir_all(site.path("out")).unwrap();
    let (status, _, stderr) = collect(&site, &[]);
    assert!(status == 2 && stderr.contains("no such file"), "{stderr}");
}

#[test]
fn what_may_lead_out_is_left_out_and_told() {
    let site = whole();
    fs::create_dir_all(site.path("disk/10-fit/outputs/srv")).unwrap();
    symlink("/etc/passwd", site.path("disk/10-fit/outputs/srv/absolute")).unwrap();
    symlink("../../../../x", site.path("disk/10-fit/outputs/srv/climbs")).unwrap();
    disk(&site);
    let image = site.path("ready/xvdb.img");
    let requests = site.write(
        "requests",
        "rm /11-sum/stdout\nsymlink /11-sum/stdout /etc/passwd\ncd /10-fit/outputs\nmknod null c 1 3\n",
    );
    let (image, requests) = (image.to_str().unwrap(), requests.to_str().unwrap());
    run("debugfs", "e2fsprogs", &["-w", "-f", requests, image]);
    let (status, _, stderr) = collect(&site, &[]);
    assert_eq!(status, 7);
    for what in [
        "/10-fit/outputs/null: is a device: left out",
        "/10-fit/outputs/srv/absolute: is a symbolic link to /etc/passwd, which may lead out: left out",
        "/10-fit/outputs/srv/climbs: is a symbolic link to ../../../../x, which may lead out: left out",
        "/11-sum/stdout: is no file: left out",
    ] {
        assert!(stderr.contains(what), "{what}: {stderr}");
    }
    assert!(!site.path("out/11-sum/stdout").exists());
}

#[test]
fn a_bundle_that_is_none_is_refused() {
    let site = bundle();
    let refused = |what: &str| {
        let (status, _, stderr) = collect(&site, &[]);
        assert!(status == 2 && stderr.contains(what), "{what}: {stderr}");
        assert!(!site.path("out").exists());
    };
    let manifest = fs::read_to_string(site.path("ready/manifest.json")).unwrap();
    for (from, to, what) in [
        ("\"format\":1", "\"format\":2", "has format 2, not 1"),
        ("xvdb.img", "../xvdb.img", "is no manifest of a bundle"),
        ("10-fit", "../fit", "names a job `../fit`"),
        ("\"id\":\"3f\"", "\"id\":\"\"", "was made before results were served"),
    ] {
        assert!(manifest.contains(from), "{manifest}");
        site.write("ready/manifest.json", manifest.replace(from, to));
        refused(what);
    }
    site.write("ready/manifest.json", &manifest);
    site.write("disk/run.json", RUN.replace("3f", "40"));
    disk(&site);
    refused("has the results of another preparation: 40, not 3f");
    fs::remove_file(site.path("ready/manifest.json")).unwrap();
    refused("cannot read `ready/manifest.json`");
}
