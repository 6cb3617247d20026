//! Container images: layers packed by GNU tar, under layouts written by hand as the specification has them.

use std::path::Path;

use imgfmt::archive::{ExtSink, OciSource, Source, TreePath};
use imgfmt::{Error, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::ext::opened;
use crate::judge::{run, sparse_file, text};
use crate::support::{bytes_of, listing, piped};

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A layout that is being written.
struct Layout(tempfile::TempDir);

impl Layout {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(dir.path().join("blobs/sha256")).expect("directories");
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn blob(&self, kind: &str, bytes: &[u8]) -> Value {
        let hex = sha256(bytes);
        std::fs::write(self.path().join("blobs/sha256").join(&hex), bytes).expect("a blob");
        json!({ "mediaType": kind, "digest": format!("sha256:{hex}"), "size": bytes.len() })
    }

    fn json(&self, kind: &str, value: &Value) -> Value {
        self.blob(kind, value.to_string().as_bytes())
    }

    /// A manifest with its configuration.
    fn image(&self, architecture: &str, layers: &[Value]) -> Value {
        let config = json!({ "os": "linux", "architecture": architecture });
        let config = self.json("application/vnd.oci.image.config.v1+json", &config);
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
        self.json("application/vnd.oci.image.manifest.v1+json", &manifest)
    }

    fn index(&self, manifests: &[Value]) {
        let index = json!({ "schemaVersion": 2, "manifests": manifests });
        std::fs::write(self.path().join("index.json"), index.to_string()).expect("an index");
    }

    /// The same as a tar.
    fn archive(&self) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        run("tar", &["-cf", text(file.path()), "-C", text(self.path()), "."]);
        file
    }
}

/// A layer of empty files and directories, in that order; a name after `=` is a hard link's target.
fn layer(names: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a directory");
    for name in names {
        let (name, first) = name.split_once('=').map_or((*name, None), |(a, b)| (a, Some(b)));
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("one")).expect("directories");
        match first {
            _ if name.ends_with('/') => std::fs::create_dir_all(&path).expect("a directory"),
            Some(first) => std::fs::hard_link(dir.path().join(first), &path).expect("a link"),
            None => std::fs::write(&path, "").expect("a file"),
        }
    }
    let options = ["--owner=0", "--group=0", "--mtime=@0", "--no-recursion", "-cf", "-", "-C"];
    let mut all = options.to_vec();
    all.push(text(dir.path()));
    all.extend(names.iter().map(|name| name.split('=').next().expect("a name")));
    bytes_of("tar", &all)
}

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// Path and kind of each entry.
fn read(path: &Path, architecture: &str) -> Result<String> {
    let all = listing(&mut OciSource::open(path, Some(architecture))?)?;
    let short = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let what = words.get(4).filter(|_| words.len() > 4).unwrap_or(&words[1]);
        format!("{} {}", words[0].trim_matches('"'), if *what == "0" { "file" } else { what })
    };
    Ok(all.lines().map(short).collect::<Vec<_>>().join("\n"))
}

fn two_layers(upper: &[&str]) -> Layout {
    let layout = Layout::new();
    let lower = layer(&["d/", "d/a", "d/b", "d/sub/", "d/sub/c", "e/", "e/f", "g"]);
    let layers = [
        layout.blob(&format!("{TAR}+gzip"), &piped("gzip", &["-c"], &lower)),
        layout.blob(&format!("{TAR}+zstd"), &piped("zstd", &["-c"], &layer(upper))),
    ];
    layout.index(&[layout.image("amd64", &layers)]);
    layout
}

const LOWER: &str = "d Dir\nd/a file\nd/b file\nd/sub Dir\nd/sub/c file\ne Dir\ne/f file\ng file\n";

#[test]
fn whiteouts_speak_of_layers_below_wherever_they_stand() {
    for (upper, expected) in [
        (&["d/.wh.a", ".wh.e", "d/new"][..], "d/a Whiteout\ne Whiteout\nd/new file"),
        (&["d/", "d/.wh..wh..opq", "d/new"], "d Dir\nd Opaque\nd/new file"),
        // Late: what this layer has already stays.
        (&["d/new", "d/b", "d/.wh..wh..opq"], "d/new file\nd/b file\nd/a Whiteout\nd/sub Whiteout"),
        (&["d/sub/new", "d/.wh.sub"], "d/sub/new file\nd/sub/c Whiteout"),
        (&["d/a", "d/.wh.a"], "d/a file"),
        // A file in the place of a directory that is not empty.
        (&["e"], "e Whiteout\ne file"),
        (&[".wh..wh.plnk", "h"], "h file"),
        (&["h", "i=h"], "h file\ni HardLink(\"h\")"),
    ] {
        let layout = two_layers(upper);
        assert_eq!(read(layout.path(), "amd64").expect("sound"), format!("{LOWER}{expected}"));
        let archive = layout.archive();
        assert_eq!(read(archive.path(), "amd64").expect("sound"), format!("{LOWER}{expected}"));
    }
}

#[test]
fn an_image_in_a_file_system_is_what_its_layers_say() {
    let layout = two_layers(&["d/new", "d/b", "d/.wh..wh..opq", "e", ".wh.g"]);
    let dir = tempfile::tempdir().expect("a directory");
    let image = sparse_file(dir.path(), "image", 8 << 20);
    run("mke2fs", &["-q", "-F", "-t", "ext4", text(&image)]);
    opened(&image, |fs| {
        let mut tx = fs.begin(1_767_225_600).expect("editable");
        let mut sink = ExtSink::new(&mut tx, &TreePath::root());
        let mut source = OciSource::open(layout.path(), Some("amd64")).expect("an image");
        source.feed(&mut sink, &mut |warning| panic!("{warning}")).expect("sound");
        sink.finish(&mut |warning| panic!("{warning}")).expect("times");
        for (path, is_there) in [
            ("/d/new", true),
            ("/d/b", true),
            ("/d/a", false),
            ("/d/sub", false),
            ("/e", true),
            ("/e/f", false),
            ("/g", false),
        ] {
            assert_eq!(tx.exists(path).expect(path), is_there, "{path}");
        }
    });
}

#[test]
fn a_blob_that_is_a_named_pipe_is_refused_and_not_waited_for() {
    let layout = two_layers(&["h"]);
    let blobs = layout.path().join("blobs/sha256");
    for blob in std::fs::read_dir(&blobs).expect("blobs") {
        let blob = blob.expect("a blob").path();
        let kept = std::fs::read(&blob).expect("its bytes");
        std::fs::remove_file(&blob).expect("removed");
        run("mkfifo", &[text(&blob)]);
        let error = read(layout.path(), "amd64").expect_err("a pipe").to_string();
        assert!(error.ends_with("` is no file"), "{error}");
        std::fs::remove_file(&blob).expect("removed");
        std::fs::write(&blob, kept).expect("put back");
    }
}

#[test]
fn a_platform_is_chosen_or_all_are_listed() {
    let layout = Layout::new();
    let blob = layout.blob(TAR, &layer(&["amd"]));
    let mut amd = layout.image("amd64", &[blob]);
    let blob = layout.blob(TAR, &layer(&["arm"]));
    let mut arm = layout.image("arm64", &[blob]);
    amd["platform"] = json!({ "os": "linux", "architecture": "amd64" });
    arm["platform"] = json!({ "os": "linux", "architecture": "arm64", "variant": "v8" });
    let mut proof = arm.clone();
    proof["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    let inner = json!({ "manifests": [amd, arm, proof] });
    layout.index(&[layout.json("application/vnd.oci.image.index.v1+json", &inner)]);
    assert_eq!(read(layout.path(), "amd64").expect("one"), "amd file");
    assert_eq!(read(layout.path(), "arm64").expect("one"), "arm file");
    let error = read(layout.path(), "s390x").expect_err("none").to_string();
    assert!(error.starts_with("no image for linux/s390x; there is linux/a"), "{error}");
    assert!(error.contains("linux/arm64/v8 (sha256:"), "{error}");
    let blob = layout.blob(TAR, &layer(&["other"]));
    layout.index(&[layout.image("amd64", &[blob]), amd]);
    let error = read(layout.path(), "amd64").expect_err("two").to_string();
    assert!(error.starts_with("several images fit: linux/amd64 (sha256:"), "{error}");
}

#[test]
fn of_several_variants_it_is_the_highest_that_runs() {
    let layout = Layout::new();
    let images = [("arm", "v5"), ("arm", "v6"), ("arm", "v7"), ("ppc64", ""), ("ppc64le", "")];
    let images = images.map(|(architecture, variant)| {
        let blob = layout.blob(TAR, &layer(&[&format!("{architecture}{variant}")]));
        let mut image = layout.image(architecture, &[blob]);
        image["platform"] = json!({ "os": "linux", "architecture": architecture });
        if !variant.is_empty() {
            image["platform"]["variant"] = json!(variant);
        }
        image
    });
    layout.index(&images);
    for (wanted, expected) in [
        ("arm", "armv7 file"),
        ("arm/v7", "armv7 file"),
        ("arm/v6", "armv6 file"),
        ("armel", "armv6 file"),
        ("arm/v8", "armv7 file"),
        ("ppc64", "ppc64 file"),
        ("ppc64le", "ppc64le file"),
    ] {
        assert_eq!(read(layout.path(), wanted).expect(wanted), expected, "{wanted}");
    }
    let error = read(layout.path(), "arm/v4").expect_err("none").to_string();
    assert!(error.starts_with("no image for linux/arm/v4; there is linux/"), "{error}");
}

#[test]
fn what_is_damaged_or_missing_is_refused() {
    let broken = |change: &dyn Fn(&Layout, &Value)| {
        let layout = Layout::new();
        let blob = layout.blob(TAR, &layer(&["a"]));
        layout.index(&[layout.image("amd64", std::slice::from_ref(&blob))]);
        change(&layout, &blob);
        read(layout.path(), "amd64").expect_err("broken").to_string()
    };
    let place = |layout: &Layout, blob: &Value| {
        let digest = blob["digest"].as_str().expect("text").replace("sha256:", "");
        layout.path().join("blobs/sha256").join(digest)
    };
    let error = broken(&|layout, blob| {
        let mut bytes = std::fs::read(place(layout, blob)).expect("a blob");
        let last = bytes.len() - 1;
        bytes[last] = 1;
        std::fs::write(place(layout, blob), bytes).expect("a blob");
    });
    assert!(error.starts_with("archive: layer is not what its digest says: sha256:"), "{error}");
    let error = broken(&|layout, blob| {
        std::fs::remove_file(place(layout, blob)).expect("it is there");
    });
    assert!(error.ends_with("is missing"), "{error}");
    let error = broken(&|layout, blob| {
        std::fs::write(place(layout, blob), "short").expect("a blob");
    });
    assert!(error.contains("has 5 bytes, its descriptor says 10240"), "{error}");
    let error = broken(&|layout, _| {
        layout.index(&[json!({ "digest": "sha256:../../../etc/passwd", "size": 1 })]);
    });
    assert_eq!(error, "archive: `sha256:../../../etc/passwd` is not a digest");
    let error = broken(&|layout, _| {
        layout.index(&[json!({ "digest": "sha512:00", "size": 1 })]);
    });
    assert_eq!(error, "digest `sha512:00`: only sha256 is");
    let error = broken(&|layout, blob| {
        let mut blob = blob.clone();
        blob["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+encrypted");
        layout.index(&[layout.image("amd64", &[blob])]);
    });
    assert!(error.ends_with("not a tar, plain or with gzip or zstd"), "{error}");
    let error = broken(&|layout, _| {
        std::fs::remove_file(layout.path().join("index.json")).expect("it is there");
    });
    assert!(error.ends_with("it is no container image"), "{error}");
    let pipe = OciSource::open(Path::new("/dev/null"), None).err().expect("a device");
    assert!(matches!(pipe, Error::Unsupported(_)));
}

/// What old versions of docker write: no blobs, layers by the name of a directory, one of them a link.
#[test]
fn a_saved_image_is_read_by_its_own_list() {
    let dir = tempfile::tempdir().expect("a directory");
    let (lower, upper) = (layer(&["a", "b"]), layer(&[".wh.a", "c"]));
    let save = |last: &[u8]| {
        let config = json!({
            "os": "linux", "architecture": "amd64",
            "rootfs": { "type": "layers", "diff_ids": [
                format!("sha256:{}", sha256(&lower)), format!("sha256:{}", sha256(&upper)),
            ] },
        });
        let manifest = json!([{
            "Config": "config.json", "RepoTags": ["guest:1"],
            "Layers": ["one/layer.tar", "two/layer.tar"],
        }]);
        for (name, bytes) in [
            ("config.json", config.to_string().as_bytes()),
            ("manifest.json", manifest.to_string().as_bytes()),
            ("one/layer.tar", &lower[..]),
            ("three/layer.tar", last),
        ] {
            let path = dir.path().join("tree").join(name);
            std::fs::create_dir_all(path.parent().expect("one")).expect("directories");
            std::fs::write(path, bytes).expect("a file");
        }
        let two = dir.path().join("tree/two");
        std::fs::create_dir_all(&two).expect("a directory");
        let _old = std::fs::remove_file(two.join("layer.tar"));
        std::os::unix::fs::symlink("../three/layer.tar", two.join("layer.tar")).expect("a link");
        let archive = dir.path().join("saved.tar");
        run("tar", &["-cf", text(&archive), "-C", text(&dir.path().join("tree")), "."]);
        archive
    };
    let archive = save(&upper);
    assert_eq!(read(&archive, "amd64").expect("sound"), "a file\nb file\na Whiteout\nc file");
    let error = read(&archive, "arm64").expect_err("another").to_string();
    assert_eq!(error, "no image for linux/arm64; there is linux/amd64");
    let error = read(&save(&layer(&["d"])), "amd64").expect_err("another layer").to_string();
    assert!(error.starts_with("archive: layer is not what its digest says"), "{error}");
    run("gzip", &[text(&archive)]);
    let packed = dir.path().join("saved.tar.gz");
    let error = read(&packed, "amd64").expect_err("packed").to_string();
    assert!(error.ends_with("packed with gzip; unpack it first"), "{error}");
}
