//! How far work has come: nothing in a pipe, a line of JSON for programs that ask for it.

use crate::site::{Site, run, text};

fn site() -> Site {
    let site = Site::new();
    let image = site.mke2fs("root.img", "16M", &["-t", "ext4"]);
    run("zstd", "zstd", &["-q", image.to_str().unwrap()]);
    site.job("ext4", "root.img.zst");
    site
}

#[test]
fn in_a_pipe_nothing_is_said_unless_it_is_asked_for() {
    let site = site();
    let convert = ["image", "convert", "root.img.zst", "out.qcow2", "--force"];
    for more in [&[][..], &["--quiet"], &["--progress", "auto"], &["--progress", "json", "--quiet"]]
    {
        let output = site.autoxen(&[&convert, more].concat());
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{more:?}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn programs_get_a_line_of_json_for_each_step() {
    let site = site();
    for (args, works) in [
        (&["image", "convert", "root.img.zst", "out.qcow2"][..], &["unpack", "convert"][..]),
        (&["image", "info", "--deep", "root.img.zst"], &["unpack", "check"]),
        (&["plan", "job.xml", "--json"], &["unpack"]),
        (&["prepare", "job.xml", "-o", "ready"], &["unpack"]),
    ] {
        let output = site.autoxen(&[args, &["--progress=json"]].concat());
        let stderr = text(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        let mut ended = Vec::new();
        let mut last = (String::new(), 0);
        // What is said in words is said all the same.
        for line in stderr.lines().filter(|line| line.starts_with('{')) {
            let keys = [
                "{\"what\":",
                ",\"done\":",
                ",\"total\":",
                ",\"bytes_per_second\":",
                ",\"seconds_left\":",
            ];
            assert!(keys.iter().all(|key| line.contains(key)), "{line}");
            let found: serde_json::Value = serde_json::from_str(line).unwrap();
            let what = found["what"].as_str().unwrap().to_owned();
            let (done, total) = (found["done"].as_u64().unwrap(), found["total"].as_u64().unwrap());
            assert!(done <= total && (what != last.0 || done >= last.1), "{stderr}");
            if done == total {
                assert_eq!(found["seconds_left"], 0, "{line}");
                ended.push(what.clone());
            }
            last = (what, done);
        }
        assert_eq!(ended, works, "{args:?}: {stderr}");
    }
}

#[test]
fn an_error_is_told_in_words_all_the_same() {
    let site = site();
    let packed = std::fs::read(site.path("root.img.zst")).unwrap();
    site.write("half.zst", &packed[..packed.len() / 2]);
    let stderr = site.fails(&["--progress", "json", "image", "convert", "half.zst", "out.img"]);
    let told: Vec<&str> = stderr.lines().filter(|line| !line.starts_with('{')).collect();
    assert_eq!(told.len(), 2, "{stderr}");
    assert!(
        told[0].starts_with("error: image `half.zst`: corrupt image: zstd stream ends too early"),
        "{stderr}"
    );
    assert_eq!(told[1], "hint: `zstd -t` says more; use a copy that is whole");
    assert!(!site.path("out.img").exists());
}
