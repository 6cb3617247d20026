//! A signal in mid-work leaves nothing behind, and a bundle is whole or not there.

use std::process::{Command, Stdio};

use crate::site::{Site, e2fsck};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn a_signal_leaves_a_whole_bundle_or_none() {
    let site = Site::new();
    // Data enough that the signal falls into the copy more often than not.
    site.write("tree/data", vec![1; 48 << 20]);
    site.mke2fs("root.img", "128M", &["-t", "ext4"]);
    std::fs::remove_dir_all(site.path("tree")).unwrap();
    site.job("ext4", "root.img");
    let mut interrupted = 0;
    for signal in [Signal::INT, Signal::TERM, Signal::HUP].repeat(4) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_autoxen"))
            .args(["prepare", "job.xml", "-o", "ready"])
            .current_dir(site.path(""))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The staging directory is the sign that the work has begun.
        while site.names() == ["job.xml", "root.img"] && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let pid = Pid::from_child(&child);
        // A child that has ended is still ours to name until it is waited for.
        kill_process(pid, signal).unwrap();
        let output = child.wait_with_output().unwrap();
        match output.status.code() {
            Some(130) => {
                interrupted += 1;
                assert_eq!(
                    crate::site::text(&output.stderr),
                    "error: interrupted; nothing was left behind\n"
                );
                assert_eq!(site.names(), ["job.xml", "root.img"]);
            }
            Some(0) => {
                assert_eq!(site.names(), ["job.xml", "ready", "root.img"]);
                e2fsck(&site.path("ready/xvda.img"));
                std::fs::remove_dir_all(site.path("ready")).unwrap();
            }
            other => panic!("{other:?}: {}", crate::site::text(&output.stderr)),
        }
    }
    assert!(interrupted > 0, "no signal fell into the work");
}

#[test]
fn a_signal_in_a_copy_out_of_an_image_says_what_stays() {
    let site = Site::new();
    for number in 0..400 {
        site.write(&format!("tree/srv/{number}"), vec![1; 1 << 16]);
    }
    site.mke2fs("root.img", "64M", &["-t", "ext4"]);
    let mut interrupted = 0;
    for signal in [Signal::INT, Signal::TERM, Signal::HUP].repeat(4) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_autoxen"))
            .args(["image", "cp", "-r", "root.img:/srv", "out"])
            .current_dir(site.path(""))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The first file is the sign that the work has begun.
        while !site.path("out/0").exists() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = crate::site::text(&output.stderr);
        match output.status.code() {
            Some(130) => {
                interrupted += 1;
                assert_eq!(said, "error: interrupted; what was copied so far is in `out`\n");
            }
            Some(0) => {}
            other => panic!("{other:?}: {said}"),
        }
        std::fs::remove_dir_all(site.path("out")).unwrap();
    }
    assert!(interrupted > 0, "no signal fell into the work");
}

#[test]
fn a_signal_among_many_bundles_leaves_whole_ones_alone() {
    let site = Site::new();
    site.mke2fs("root.img", "16M", &["-t", "ext4"]);
    let names: Vec<String> = (0..300).map(|nr| format!("{nr}.xml")).collect();
    for name in &names {
        site.write(name, crate::site::job("ext4", "root.img"));
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_autoxen"))
        .arg("prepare")
        .args(&names)
        .args(["--into", "all"])
        .env("XDG_CACHE_HOME", site.path("cache"))
        .current_dir(site.path(""))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let bundles = || {
        let entries = std::fs::read_dir(site.path("all")).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<Vec<_>>()
    };
    // The first whole bundle is the sign that others are under way.
    while !bundles().iter().any(|name| !name.starts_with('.'))
        && child.try_wait().unwrap().is_none()
    {
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let left = bundles();
    let said = crate::site::text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    // The first of them may have had notes to tell.
    let expected =
        format!("error: interrupted; bundles that are whole, in `all`: {}\n", left.len());
    assert!(said.ends_with(&expected), "{said}");
    assert!(left.len() < 300 && left.iter().all(|name| !name.starts_with('.')), "{left:?}");
    for name in &left {
        assert!(site.path("all").join(name).join("manifest.json").exists(), "{name}");
        e2fsck(&site.path("all").join(name).join("xvda.img"));
    }
}
