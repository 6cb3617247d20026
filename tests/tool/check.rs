//! `autoxen check` from outside: what it prints, and its exit status.

use crate::site::{Site, job, text};

#[test]
fn a_right_document_is_valid() {
    let site = Site::new();
    site.job("ext4", "root.img");
    assert_eq!(site.succeeds(&["check", "job.xml"]), "job.xml: valid\n");
}

#[test]
fn each_error_is_shown_with_its_place_and_a_way_out() {
    let site = Site::new();
    let xmf = job("ext4", "root.img").replace("memory", "memry").replace("/dev/xvda", "/dev/xvda0");
    site.write("job.xml", xmf);
    let output = site.autoxen(&["check", "job.xml"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "job.xml: refused, 2 errors\n");
    assert_eq!(
        text(&output.stderr),
        "\
error: job.xml:4:6: unknown element `memry` in `general`
  |
4 |     <memry>256</memry>
  |      ^^^^^ expected `memory`
hint: did you mean `memory`?
error: job.xml:9:18: `blockdevice`: `/dev/xvda0` is no block device of a Xen guest
  |
9 |     <blockdevice>/dev/xvda0</blockdevice>
  |                  ^^^^^^^^^^ expected `xvda`, `xvda1` …; `hda` to `hdd` and `sda` to `sdp`, with or without a partition
"
    );
}

#[test]
fn no_document_and_no_file_name_steers_the_terminal() {
    let site = Site::new();
    // U+009B begins a control sequence as ESC [ does, and XML allows it.
    let xmf = job("ext4", "root.img").replace("256", "2\u{9b}31m6").replace("/xvda", "/\u{202e}x");
    site.write("a\x1b[31m.xml", xmf);
    let output = site.autoxen(&["check", "a\x1b[31m.xml"]);
    assert_eq!(output.status.code(), Some(2));
    let all = text(&output.stdout) + &text(&output.stderr);
    assert!(all.contains("a\\u{1b}[31m.xml: refused, 2 errors\n"), "{all:?}");
    let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!all.chars().any(steers), "{all:?}");
}

#[test]
fn programs_get_the_findings_of_all_files() {
    let site = Site::new();
    site.job("ext4", "root.img");
    site.write("bad.xml", job("ext4", "root.img").replace("memory", "memry"));
    let output = site.autoxen(&["check", "--json", "job.xml", "bad.xml", "missing.xml"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stderr), "");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found[0]["valid"], true);
    assert_eq!(found[1]["valid"], false);
    assert_eq!(found[1]["findings"][0]["line"], 4);
    assert_eq!(found[1]["findings"][0]["column"], 6);
    assert_eq!(found[1]["findings"][0]["hint"], "did you mean `memory`?");
    assert_eq!(found[2]["error"], "missing.xml: no such file or directory");
}

#[test]
fn a_warning_lets_a_document_pass_unless_strict() {
    let site = Site::new();
    site.write("job.xml", job("ext5", "root.img"));
    let output = site.autoxen(&["check", "job.xml"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "job.xml: valid, 1 warning\n");
    assert_eq!(site.autoxen(&["check", "--strict", "job.xml"]).status.code(), Some(1));
}

#[test]
fn what_is_too_large_or_no_file_is_refused() {
    let site = Site::new();
    site.write("large.xml", vec![b' '; 2 << 20]);
    let stderr = site.fails(&["check", "large.xml"]);
    assert!(stderr.starts_with("error: large.xml:1:1: the file is too long\n"), "{stderr}");
    assert!(stderr.contains("expected at most 1048576 bytes"), "{stderr}");
    assert_eq!(site.fails(&["check", "."]), "error: .: is a directory\n");
}

#[test]
fn completions_and_man_pages_are_made() {
    let site = Site::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(site.succeeds(&["completions", shell]).contains("prepare"), "{shell}");
    }
    site.succeeds(&["man", "pages"]);
    let page = std::fs::read_to_string(site.path("pages/autoxen-prepare.1")).unwrap();
    assert!(page.contains("SOURCE_DATE_EPOCH"), "{page}");
}
