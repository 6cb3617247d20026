//! `autoxen image convert` from outside: what comes out is what `qemu-img` makes of it and compares it with.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::site::{Site, e2fsck, run, text};

pub(crate) fn qemu_img(args: &[&str]) -> String {
    run("qemu-img", "qemu-utils", args)
}

fn str(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A guest's root of 24 MiB in `root.img`, with noise in it that does not compress.
pub(crate) fn root(site: &Site) -> PathBuf {
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..3 << 20)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    site.write("tree/noise", noise);
    let image = site.mke2fs("root.img", "24M", &["-t", "ext4"]);
    fs::remove_dir_all(site.path("tree")).unwrap();
    image
}

/// `name`, a qcow2 image of `root.img`.
pub(crate) fn qcow2(site: &Site, name: &str, options: &[&str]) -> PathBuf {
    let (raw, image) = (site.path("root.img"), site.path(name));
    let args = [&["convert", "-f", "raw", "-O", "qcow2"], options, &[str(&raw), str(&image)]];
    qemu_img(&args.concat());
    image
}

/// `name`, laid over `below` in the format `format`.
pub(crate) fn overlay(site: &Site, name: &str, below: &str, format: &str) -> PathBuf {
    let image = site.path(name);
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", below, "-F", format, str(&image)]);
    image
}

pub(crate) fn qemu_io(image: &Path, command: &str) {
    run("qemu-io", "qemu-utils", &["-f", "qcow2", "-c", command, str(image)]);
}

#[test]
fn each_form_gives_the_raw_disk_that_qemu_sees() {
    let site = Site::new();
    let raw = root(&site);
    for (program, name) in [("zstd", "root.zst"), ("gzip", "root.gz"), ("xz", "root.xz")] {
        let shell = format!("{program} -c {} > {}", str(&raw), str(&site.path(name)));
        run("sh", program, &["-c", &shell]);
    }
    qcow2(&site, "old.qcow2", &["-o", "compat=0.10"]);
    qcow2(&site, "zlib.qcow2", &["-c"]);
    qcow2(&site, "zstd.qcow2", &["-c", "-o", "compression_type=zstd"]);
    qcow2(&site, "small.qcow2", &["-o", "cluster_size=512"]);
    qcow2(&site, "sub.qcow2", &["-o", "extended_l2=on"]);
    // What the name says does not count.
    fs::copy(site.path("zlib.qcow2"), site.path("liar.img")).unwrap();
    let mut allocated = Vec::new();
    for name in [
        "root.img",
        "root.zst",
        "root.gz",
        "root.xz",
        "old.qcow2",
        "zlib.qcow2",
        "zstd.qcow2",
        "small.qcow2",
        "sub.qcow2",
        "liar.img",
    ] {
        let said = site.succeeds(&["image", "convert", name, "ours.raw"]);
        assert!(said.starts_with("ours.raw: raw, 24.0 MiB (25165824 bytes); "), "{name}: {said}");
        let ours = site.path("ours.raw");
        assert!(fs::read(&ours).unwrap() == fs::read(&raw).unwrap(), "{name}");
        allocated.push(fs::metadata(&ours).unwrap().blocks() * 512);
        fs::remove_file(ours).unwrap();
    }
    // Of 24 MiB, 3 MiB of noise, some metadata; the journal is a hole.
    assert!(allocated.iter().all(|bytes| *bytes < 5 << 20), "{allocated:?}");
}

#[test]
fn a_chain_of_backing_files_becomes_one_disk() {
    let site = Site::new();
    root(&site);
    let middle = overlay(&site, "middle.qcow2", "root.img", "raw");
    qemu_io(&middle, "write -P 0x4d 20M 70k");
    let top = overlay(&site, "top.qcow2", "middle.qcow2", "qcow2");
    qemu_io(&top, "write -z 20M 10k");
    qemu_io(&top, "write -P 0x54 23M 5k");
    let theirs = site.path("theirs.img");
    qemu_img(&["convert", "-O", "raw", str(&top), str(&theirs)]);
    site.succeeds(&["image", "convert", "top.qcow2", "ours.img"]);
    assert!(fs::read(site.path("ours.img")).unwrap() == fs::read(&theirs).unwrap());
    site.succeeds(&["image", "convert", "top.qcow2", "ours.qcow2"]);
    let info = qemu_img(&["info", str(&site.path("ours.qcow2"))]);
    assert!(!info.contains("backing file"), "{info}");
    qemu_img(&["compare", str(&site.path("ours.qcow2")), str(&theirs)]);
}

#[test]
fn what_is_written_passes_qemus_check_and_comparison() {
    let site = Site::new();
    let raw = root(&site);
    run("zstd", "zstd", &["-q", str(&raw)]);
    let mut sizes = Vec::new();
    for (source, options, cluster, compression) in [
        ("root.img", &[][..], 65_536, "zlib"),
        ("root.img.zst", &["--compress"], 65_536, "zstd"),
        ("root.img", &["--compress", "--cluster-size", "4K"], 4096, "zstd"),
        ("root.img", &["--cluster-size=2M"], 2 << 20, "zlib"),
        ("root.img", &["--cluster-size", "512"], 512, "zlib"),
    ] {
        let what = format!("{source} {options:?}");
        let args = [&["image", "convert", "--json"], options, &[source, "ours.qcow2"]].concat();
        let told: serde_json::Value = serde_json::from_str(&site.succeeds(&args)).unwrap();
        let ours = site.path("ours.qcow2");
        let file = fs::metadata(&ours).unwrap();
        assert_eq!((&told["format"], &told["image"]), (&"qcow2".into(), &"ours.qcow2".into()));
        assert_eq!((&told["bytes"], &told["file_bytes"]), (&(24 << 20).into(), &file.len().into()));
        let form = if source.ends_with("zst") { "zstd" } else { "raw" };
        assert_eq!(told["source_format"], form);
        qemu_img(&["check", "-q", str(&ours)]);
        qemu_img(&["compare", "-q", str(&raw), str(&ours)]);
        let info = qemu_img(&["info", "--output=json", str(&ours)]);
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        assert_eq!(info["cluster-size"], cluster, "{what}");
        let found = &info["format-specific"]["data"]["compression-type"];
        assert_eq!(found, compression, "{what}");
        sizes.push(file.len());
        // And back.
        site.succeeds(&["image", "convert", "ours.qcow2", "back.img"]);
        assert!(fs::read(site.path("back.img")).unwrap() == fs::read(&raw).unwrap(), "{what}");
        e2fsck(&site.path("back.img"));
        fs::remove_file(site.path("back.img")).unwrap();
        fs::remove_file(ours).unwrap();
    }
    // 3 MiB of noise stay; the metadata shrink.
    assert!(sizes[1] < sizes[0] && sizes[1] > 3 << 20, "{sizes:?}");
}

#[test]
fn the_format_is_that_of_the_option_and_then_of_the_name() {
    let site = Site::new();
    root(&site);
    for (target, options, magic) in [
        ("a.QCOW2", &[][..], true),
        ("a.img", &["-O", "qcow2"], true),
        ("a.qcow2", &["--output-format", "raw"], false),
        ("a.raw", &[], false),
        ("a", &["-Oqcow2"], true),
    ] {
        let args = [&["image", "convert", "root.img", target], options].concat();
        site.succeeds(&args);
        let bytes = fs::read(site.path(target)).unwrap();
        assert_eq!(bytes.starts_with(b"QFI\xfb"), magic, "{target} {options:?}");
        fs::remove_file(site.path(target)).unwrap();
    }
}

#[test]
fn a_disk_that_ends_within_a_sector_gets_a_whole_one_in_qcow2() {
    let site = Site::new();
    site.write("odd.raw", [7; 1000]);
    let output = site.autoxen(&["image", "convert", "odd.raw", "odd.qcow2"]);
    assert!(output.status.success());
    assert_eq!(
        text(&output.stderr),
        "note: a qcow2 disk is of whole sectors of 512 bytes: 24 zeros follow the 1000 bytes of `odd.raw`\n"
    );
    let theirs = site.path("theirs.raw");
    qemu_img(&["convert", "-O", "raw", str(&site.path("odd.qcow2")), str(&theirs)]);
    assert_eq!(fs::read(theirs).unwrap(), [&[7; 1000][..], &[0; 24]].concat());
}

#[test]
fn the_copy_is_as_closed_as_the_most_closed_of_its_files() {
    let site = Site::new();
    let raw = root(&site);
    let top = overlay(&site, "top.qcow2", "root.img", "raw");
    run("zstd", "zstd", &["-q", str(&raw)]);
    for (name, mode) in [("root.img", 0o600), ("root.img.zst", 0o640), ("top.qcow2", 0o644)] {
        fs::set_permissions(site.path(name), Permissions::from_mode(mode)).unwrap();
    }
    for (source, mode) in [("root.img", 0o600), ("root.img.zst", 0o640), (str(&top), 0o600)] {
        for target in ["ours.img", "ours.qcow2"] {
            site.succeeds(&["image", "convert", source, target]);
            let made = fs::metadata(site.path(target)).unwrap().permissions().mode();
            assert_eq!(made & 0o777, mode, "{source} to {target}");
            fs::remove_file(site.path(target)).unwrap();
        }
    }
}

#[test]
fn force_replaces_a_whole_file_by_a_whole_one() {
    let site = Site::new();
    let raw = root(&site);
    let image = qcow2(&site, "root.qcow2", &[]);
    let target = site.write("old.img", "old");
    site.succeeds(&["image", "convert", "--force", "root.qcow2", "old.img"]);
    assert!(fs::read(&target).unwrap() == fs::read(&raw).unwrap());
    // A source that turns out to be damaged half-way: the old file stays.
    File::options().write(true).open(image).unwrap().set_len(2 << 20).unwrap();
    fs::write(&target, "old").unwrap();
    let names = site.names();
    let stderr = site.fails(&["image", "convert", "--force", "root.qcow2", "old.img"]);
    assert!(
        stderr.starts_with("error: image `root.qcow2`: corrupt image: qcow2: byte "),
        "{stderr}"
    );
    assert!(
        stderr.ends_with("\nhint: `qemu-img check` says more; use a copy that is whole\n"),
        "{stderr}"
    );
    assert_eq!(fs::read(&target).unwrap(), b"old");
    assert_eq!(site.names(), names);
}

#[test]
fn a_tebibyte_of_holes_costs_nothing() {
    let site = Site::new();
    let file = File::create(site.path("huge.img")).unwrap();
    file.set_len(1 << 40).unwrap();
    file.write_all_at(b"last", (1 << 40) - 512).unwrap();
    site.succeeds(&["image", "convert", "huge.img", "huge.qcow2"]);
    qemu_img(&["check", "-q", str(&site.path("huge.qcow2"))]);
    site.succeeds(&["image", "convert", "huge.qcow2", "again.raw"]);
    let again = File::open(site.path("again.raw")).unwrap();
    let (mut last, meta) = ([0; 4], again.metadata().unwrap());
    again.read_exact_at(&mut last, (1 << 40) - 512).unwrap();
    assert_eq!((&last, meta.len()), (b"last", 1 << 40));
    assert!(meta.blocks() * 512 <= 64 << 10, "{} blocks", meta.blocks());
}
