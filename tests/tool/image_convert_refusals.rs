//! What `autoxen image convert` does not do: one clear line, exit status 2, nothing left behind, every file as it was.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::image_convert::{overlay, qcow2, qemu_img, qemu_io, root};
use crate::refusals::Tmpfs;
use crate::site::{Site, judge, run, text};

fn str(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn each_refusal_says_what_and_a_way_out() {
    let site = Site::new();
    root(&site);
    qcow2(&site, "root.qcow2", &[]);
    overlay(&site, "top.qcow2", "root.qcow2", "qcow2");
    site.write("there.img", "there");
    site.write("empty.img", "");
    run("gzip", "gzip", &["-k", str(&site.path("empty.img"))]);
    run("gzip", "gzip", &["-k", str(&site.path("root.qcow2"))]);
    fs::create_dir(site.path("dir.img")).unwrap();
    symlink("nowhere", site.path("link.img")).unwrap();
    symlink("root.img", site.path("root-link.img")).unwrap();
    fs::hard_link(site.path("root.img"), site.path("root-too.img")).unwrap();
    qemu_img(&["create", "-q", "-f", "vmdk", str(&site.path("a.vmdk")), "1M"]);
    qemu_img(&["create", "-q", "-f", "vdi", str(&site.path("a.vdi")), "1M"]);
    let names = site.names();
    let exists = "is there already\nhint: choose another name, or replace it with `--force`\n";
    let one = "are one file\nhint: choose another name\n";
    let foreign = "\nhint: convert it with `qemu-img convert -O raw`\n";
    for (args, expected) in [
        (
            "root.img out",
            "the name `out` does not tell its format\nhint: say it: `-O raw` or `-O qcow2`\n",
        ),
        (
            "root.img out.vmdk",
            "the name `out.vmdk` does not tell its format\nhint: say it: `-O raw` or `-O qcow2`\n",
        ),
        (
            "--compress root.qcow2 out.img",
            "`--compress` is for qcow2, not for a raw image\nhint: leave it out, or say `-O qcow2`\n",
        ),
        (
            "--cluster-size 4K root.qcow2 out.img",
            "`--cluster-size` is for qcow2, not for a raw image\nhint: leave it out, or say `-O qcow2`\n",
        ),
        ("root.qcow2 there.img", &format!("`there.img` {exists}")),
        ("root.qcow2 link.img", &format!("`link.img` {exists}")),
        ("root.qcow2 dir.img", &format!("`dir.img` {exists}")),
        (
            "--force root.qcow2 dir.img",
            "`dir.img` is a directory: it is not replaced\nhint: choose another name\n",
        ),
        (
            "--force root.qcow2 link.img",
            "`link.img` is a symbolic link: it is not replaced\nhint: choose another name\n",
        ),
        (
            "--force -O raw root.qcow2 /dev/null",
            "`/dev/null` is no regular file: it is not replaced\nhint: choose another name\n",
        ),
        ("root.img root.img", &format!("`root.img` and `root.img` {one}")),
        ("--force root.img root.img", &format!("`root.img` and `root.img` {one}")),
        ("--force root.img root-link.img", &format!("`root.img` and `root-link.img` {one}")),
        ("--force root.img root-too.img", &format!("`root.img` and `root-too.img` {one}")),
        (
            "--force top.qcow2 root.qcow2",
            "`root.qcow2` is a backing file of `top.qcow2`\nhint: choose another name\n",
        ),
        (
            "root.qcow2 no/out.img",
            "cannot write `no/out.img`: no such file or directory\nhint: create its directory first\n",
        ),
        ("root.qcow2 root.img/out.img", "cannot use `root.img/out.img`: not a directory\n"),
        ("missing.img out.img", "image `missing.img`: no such file or directory\n"),
        ("dir.img out.img", "image `dir.img` is a directory\n"),
        ("empty.img out.img", "image `empty.img` is empty\n"),
        ("empty.img.gz out.img", "image `empty.img.gz` is empty once it is unpacked\n"),
        (
            "root.qcow2.gz out.img",
            "image `root.qcow2.gz` is qcow2 once it is unpacked\nhint: unpack it first, then convert that\n",
        ),
        ("a.vmdk out.img", &format!("image `a.vmdk` is vmdk{foreign}")),
        ("a.vdi out.qcow2", &format!("image `a.vdi` is vdi{foreign}")),
    ] {
        let args: Vec<&str> = ["image", "convert"].into_iter().chain(args.split(' ')).collect();
        assert_eq!(site.fails(&args), format!("error: {expected}"), "{args:?}");
        assert_eq!(site.names(), names, "{args:?} left something behind");
    }
    assert_eq!(fs::read(site.path("there.img")).unwrap(), b"there");
    for size in ["1000", "256", "4M", "x"] {
        let stderr =
            site.fails(&["image", "convert", "--cluster-size", size, "root.img", "a.qcow2"]);
        assert!(stderr.contains("a power of two from 512 to 2M"), "{stderr}");
    }
}

#[test]
fn a_backing_file_elsewhere_is_read_only_where_that_is_allowed() {
    let (site, other) = (Site::new(), Site::new());
    let base = root(&other);
    overlay(&site, "top.qcow2", str(&base), "raw");
    let base = fs::canonicalize(&base).unwrap();
    let expected = format!(
        "error: image `top.qcow2`: qcow2: the backing file `{}` of `top.qcow2` lies in another directory\nhint: \
         move it beside the image, or allow its directory: `autoxen image convert --backing-dir DIR`\n",
        base.display()
    );
    assert_eq!(site.fails(&["image", "convert", "top.qcow2", "out.img"]), expected);
    assert_eq!(site.fails(&["image", "info", "top.qcow2"]), expected);
    assert_eq!(site.names(), ["top.qcow2"]);
    let allowed = str(base.parent().unwrap()).to_owned();
    site.succeeds(&["image", "convert", "--backing-dir", &allowed, "top.qcow2", "out.img"]);
    assert!(fs::read(site.path("out.img")).unwrap() == fs::read(&base).unwrap());
    // Gone, it is named.
    fs::remove_file(&base).unwrap();
    let stderr = site.fails(&["image", "convert", "--backing-dir", &allowed, "top.qcow2", "o.img"]);
    let gone = format!(
        "error: image `top.qcow2`: backing file `{}`: no such file or directory\n",
        base.display()
    );
    assert_eq!(stderr, gone);
}

#[test]
fn a_full_host_leaves_nothing_behind() {
    let site = Site::new();
    let raw = root(&site);
    qcow2(&site, "root.qcow2", &[]);
    run("zstd", "zstd", &["-q", str(&raw)]);
    let at = site.path("small");
    // The noise alone has 3 MiB.
    let _tmpfs = Tmpfs::mount(&at, "size=2m");
    for source in ["root.img", "root.qcow2", "root.img.zst"] {
        for target in ["small/out.img", "small/out.qcow2"] {
            let stderr = site.fails(&["image", "convert", source, target]);
            let expected = format!(
                "error: no space left on the host for `{target}`\nhint: make room there, or choose another place\n"
            );
            assert_eq!(stderr, expected, "{source}");
            assert_eq!(fs::read_dir(&at).unwrap().count(), 0, "{source} to {target}");
        }
    }
}

#[test]
fn a_limit_of_file_size_is_an_error_and_leaves_nothing_behind() {
    let site = Site::new();
    root(&site);
    qcow2(&site, "root.qcow2", &[]);
    let names = site.names();
    for target in ["out.img", "out.qcow2"] {
        let shell = format!(
            "cd {} && exec prlimit --fsize={} {} image convert root.qcow2 {target}",
            site.path("").display(),
            1 << 20,
            env!("CARGO_BIN_EXE_autoxen"),
        );
        let output = judge("sh", "dash", &["-c", &shell]);
        assert_eq!(output.status.code(), Some(2));
        let expected = format!(
            "error: cannot write `{target}`: file too large\nhint: raise the limit (`ulimit -f`), or choose another place\n"
        );
        assert_eq!(text(&output.stderr), expected);
        assert_eq!(site.names(), names);
    }
}

#[test]
fn what_is_in_use_is_neither_read_nor_replaced() {
    let site = Site::new();
    root(&site);
    qcow2(&site, "root.qcow2", &[]);
    site.write("old.img", "old");
    let lock = |name: &str| {
        let file = File::options().read(true).write(true).open(site.path(name)).unwrap();
        file.lock().unwrap();
        file
    };
    for held in ["root.qcow2", "old.img"] {
        let _held = lock(held);
        let stderr = site.fails(&["image", "convert", "--force", "root.qcow2", "old.img"]);
        assert!(stderr.starts_with(&format!("error: image `{held}` is in use: ")), "{stderr}");
        assert_eq!(fs::read(site.path("old.img")).unwrap(), b"old");
    }
}

#[test]
fn a_signal_leaves_a_whole_image_or_none() {
    let site = Site::new();
    root(&site);
    let image = qcow2(&site, "root.qcow2", &["-o", "cluster_size=512"]);
    for (offset, pattern) in [(4, 1), (16, 2)] {
        qemu_io(&image, &format!("write -P {pattern} {offset}M 7M"));
    }
    let theirs = site.path("theirs.img");
    qemu_img(&["convert", "-O", "raw", str(&image), str(&theirs)]);
    run("zstd", "zstd", &["-q", str(&theirs), "-o", str(&site.path("root.zst"))]);
    let names = site.names();
    let mut interrupted = 0;
    for (nr, signal) in [Signal::INT, Signal::TERM, Signal::HUP].repeat(4).into_iter().enumerate() {
        let works = [
            &["root.qcow2", "out.img"][..],
            &["root.qcow2", "out.qcow2", "--compress"],
            &["root.zst", "out.img"],
            &["root.zst", "out.qcow2", "--compress"],
        ];
        let work = works[nr % works.len()];
        let target = work[1];
        let mut child = Command::new(env!("CARGO_BIN_EXE_autoxen"))
            .args([&["image", "convert"], work].concat())
            .current_dir(site.path(""))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The file in the making is the sign that the work has begun.
        while site.names() == names && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        match output.status.code() {
            Some(130) => {
                interrupted += 1;
                assert_eq!(text(&output.stderr), "error: interrupted; nothing was left behind\n");
                assert_eq!(site.names(), names);
            }
            Some(0) => {
                qemu_img(&["compare", "-q", str(&theirs), str(&site.path(target))]);
                fs::remove_file(site.path(target)).unwrap();
            }
            other => panic!("{other:?}: {}", text(&output.stderr)),
        }
    }
    assert!(interrupted > 0, "no signal fell into the work");
}
