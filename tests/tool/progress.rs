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
        (&["prepare", "job.xml", "-o", "ready", "--no-digests"], &["unpack"]),
        // The stock image, then all files of the bundle.
        (&["prepare", "job.xml", "-o", "digested"], &["unpack", "digest", "bundle"]),
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

/// Runs a command on a terminal of so many columns, as python3's `pty` makes one, and prints what came out of it.
const ON_A_TERMINAL: &str = "\
import fcntl, os, pty, struct, sys, termios
columns = int(sys.argv[1])
child, terminal = pty.fork()
if child == 0:
    fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
    os.execv(sys.argv[2], sys.argv[2:])
while True:
    try:
        piece = os.read(terminal, 65536)
    except OSError:  # Linux says EIO once the other end is closed.
        break
    if not piece:
        break
    sys.stdout.buffer.write(piece)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";

/// What `autoxen` writes to a terminal of 100 columns.
fn on_a_terminal(site: &Site, args: &[&str]) -> String {
    let output = std::process::Command::new("python3")
        .args(["-c", ON_A_TERMINAL, "100", env!("CARGO_BIN_EXE_autoxen")])
        .args(args)
        .current_dir(site.path(""))
        .env("TERM", "xterm")
        .output()
        .unwrap_or_else(|e| panic!("python3 (Debian: python3) cannot be run: {e}"));
    let out = text(&output.stdout);
    assert!(output.status.success(), "{out} {}", text(&output.stderr));
    out
}

#[test]
fn on_a_terminal_a_bar_tells_rate_and_time_left_and_goes() {
    let site = Site::new();
    // Random enough that nothing is skipped as zeros.
    let bytes: Vec<u8> =
        (0..24_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    site.write("disk.img", bytes);
    let out = on_a_terminal(&site, &["image", "convert", "disk.img", "out.qcow2", "--force"]);
    let drawn: Vec<&str> =
        out.split(['\r', '\n']).filter(|line| line.contains("convert ")).collect();
    // `convert ███░░░ 4.00 MiB/22.89 MiB 100.00 MiB/s 0s`
    let last = drawn.last().unwrap_or_else(|| panic!("no bar: {out:?}"));
    let words: Vec<&str> = last.split_whitespace().collect();
    assert!(words.iter().any(|word| word.contains("/s")), "no rate: {last:?}");
    assert!(last.contains("/22.89 MiB") && last.contains('█'), "{last:?}");
    assert!(
        words.last().unwrap().starts_with(|digit: char| digit.is_ascii_digit()),
        "no time left: {last:?}"
    );
    // The bar is wiped away before what was done is told.
    let said = out.rfind("out.qcow2: qcow2, ").unwrap();
    let wiped = out[..said].rfind("\x1b[2K").unwrap_or_else(|| panic!("the bar stays: {out:?}"));
    assert!(out[..wiped].contains("convert "), "{out:?}");
    for quiet in [&["--quiet"][..], &["--progress", "json", "--quiet"]] {
        let args = [&["image", "convert", "disk.img", "out.qcow2", "--force"], quiet].concat();
        let out = on_a_terminal(&site, &args);
        assert!(out.starts_with("out.qcow2: qcow2, ") && !out.contains('\x1b'), "{out:?}");
    }
    let out = on_a_terminal(
        &site,
        &["image", "convert", "disk.img", "out.qcow2", "--force", "--progress=json"],
    );
    let lines: Vec<&str> = out.lines().filter(|line| line.starts_with('{')).collect();
    assert!(!lines.is_empty() && !out.contains('\x1b'), "{out:?}");
    for line in lines {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[test]
fn the_map_is_as_wide_as_the_terminal() {
    let site = Site::new();
    let image = site.path("root.img");
    run("mke2fs", "e2fsprogs", &["-q", "-t", "ext4", "-b", "1024", image.to_str().unwrap(), "1G"]);
    // 128 groups: 91 and 37 beside a margin of 9 columns; 71 and 57 in a pipe.
    let widths = |out: &str| -> Vec<usize> {
        let rows = out.lines().filter(|line| line.starts_with("     "));
        rows.map(|row| row.trim_end().chars().count() - 9).collect()
    };
    assert_eq!(widths(&on_a_terminal(&site, &["image", "info", "--map", "root.img"])), [91, 37]);
    assert_eq!(widths(&site.succeeds(&["image", "info", "--map", "root.img"])), [71, 57]);
}
