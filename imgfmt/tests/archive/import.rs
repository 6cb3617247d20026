//! Archives unpacked into a file system that is there.

use std::path::{Path, PathBuf};

use imgfmt::archive::{Content, Owned};
use imgfmt::archive::{DirSource, Entry, ExtSink, Kind, Meta, Sink, Source, TarSource, TreePath};
use imgfmt::{Error, ImageMut, Result, ext::Transaction};

use crate::ext::opened;
use crate::judge::{Mount, run, sparse_file, text};
use crate::support::{attributes, bytes_of, nasty_tree, of_dir, unlocked};

fn blank(dir: &Path, options: &[&str]) -> PathBuf {
    let image = sparse_file(dir, "image", 64 << 20);
    let mut all = vec!["-q", "-F"];
    all.extend(options);
    all.push(text(&image));
    run("mke2fs", &all);
    image
}

/// Edit the image, and have `e2fsck` look at it.
fn edit(image: &Path, f: impl FnOnce(&mut Transaction<'_>) -> Result<()>) -> Result<()> {
    let changes = opened(image, |fs| {
        let mut tx = fs.begin(1_767_225_600)?;
        f(&mut tx)?;
        tx.finish()
    })?;
    let mut file = unlocked(|| ImageMut::open(image))?;
    file.commit(&changes)?;
    drop(file);
    run("e2fsck", &["-fn", text(image)]);
    Ok(())
}

/// Unpack, with what was warned of.
fn import(image: &Path, at: &str, source: &mut dyn Source) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    edit(image, |tx| {
        let root = TreePath::new(at.as_bytes()).expect("a path");
        let mut sink = ExtSink::new(tx, &root);
        let mut warn = |warning| warnings.push(warning);
        source.feed(&mut sink, &mut warn)?;
        sink.finish(&mut warn)
    })?;
    Ok(warnings)
}

fn seen_by_the_kernel(image: &Path) -> String {
    let at = tempfile::tempdir().expect("a directory");
    let mount = Mount::image(image, at.path());
    let seen = of_dir(at.path());
    drop(mount);
    seen
}

#[test]
fn what_gnu_tar_packed_is_what_the_kernel_sees_in_the_image() {
    let dir = tempfile::tempdir().expect("a directory");
    nasty_tree(dir.path());
    attributes(dir.path());
    let options = ["--format=pax", "--sparse", "--xattrs", "--xattrs-include=*", "--sort=name"];
    let archive =
        bytes_of("tar", &[&options[..], &["-cf", "-", "-C", text(dir.path()), "."]].concat());
    for options in [&["-t", "ext4"][..], &["-t", "ext2", "-I", "256", "-b", "1024"]] {
        let place = tempfile::tempdir().expect("a directory");
        let image = blank(place.path(), options);
        let warnings = import(&image, "", &mut TarSource::new(&archive[..])).expect("imported");
        assert_eq!(warnings, Vec::<String>::new());
        let seen = seen_by_the_kernel(&image);
        let seen: Vec<&str> = seen.lines().filter(|line| !line.contains("lost+found")).collect();
        assert_eq!(seen.join("\n"), of_dir(dir.path()), "{options:?}");
    }
}

/// An entry of root, without content.
fn entry(path: &str, kind: Kind) -> Entry {
    let meta = Meta { mode: 0o700, ..Meta::default() };
    let path = TreePath::new(path.as_bytes()).expect("a path");
    Entry { path, meta, xattrs: Vec::new(), kind }
}

struct Entries(Vec<(Entry, &'static str)>);

impl Source for Entries {
    fn feed(&mut self, sink: &mut dyn Sink, warn: &mut imgfmt::archive::Warn<'_>) -> Result<()> {
        for (entry, content) in &self.0 {
            let mut bytes = content.as_bytes();
            sink.entry(entry, &mut Content::new(&mut bytes, content.len() as u64), warn)?;
        }
        Ok(())
    }
}

fn file(path: &str, content: &'static str) -> (Entry, &'static str) {
    let data = imgfmt::archive::Data::Whole;
    (entry(path, Kind::File { len: content.len() as u64, data }), content)
}

fn other(path: &str, kind: Kind) -> (Entry, &'static str) {
    (entry(path, kind), "")
}

fn link(path: &str, target: &str) -> (Entry, &'static str) {
    other(path, Kind::Symlink(target.into()))
}

#[test]
fn an_import_goes_as_unpacking_does() {
    let dir = tempfile::tempdir().expect("a directory");
    let image = blank(dir.path(), &["-t", "ext4"]);
    let hard = |first: &str| Kind::HardLink(TreePath::new(first.as_bytes()).expect("a path"));
    import(
        &image,
        "",
        &mut Entries(vec![
            file("usr/lib/old", "old"),
            link("lib", "usr/lib"),
            link("out", "../../../../etc"),
            link("nowhere", "gone"),
            file("twin", "twin"),
            other("other", hard("twin")),
            file("full/file", ""),
            other("vacant", Kind::Dir),
            file("layer/lower", ""),
            file("white/lower", ""),
        ]),
    )
    .expect("the first");
    import(
        &image,
        "",
        &mut Entries(vec![
            // A link to a directory stays, and leads inside the image.
            other("lib", Kind::Dir),
            file("lib/new", "new"),
            other("out", Kind::Dir),
            file("out/passwd", "in"),
            // One that leads nowhere gives way.
            other("nowhere", Kind::Dir),
            // A new file leaves the other name of the old one alone.
            file("twin", "new"),
            other("twin", hard("twin")),
            file("vacant", "file"),
            other("usr/lib/old", Kind::Dir),
            other("layer", Kind::Opaque),
            file("layer/upper", ""),
            other("white", Kind::Whiteout),
            other("never/there", Kind::Whiteout),
            other("twin/below", Kind::Whiteout),
        ]),
    )
    .expect("the second");
    opened(&image, |fs| {
        for (path, content) in
            [("/usr/lib/new", "new"), ("/twin", "new"), ("/other", "twin"), ("/vacant", "file")]
        {
            assert_eq!(fs.read(path).expect(path), content.as_bytes(), "{path}");
        }
        let names = |path: &str| {
            let mut names: Vec<_> = fs.read_dir(path).expect(path).into_iter().collect();
            names.sort_by(|a, b| a.name.cmp(&b.name));
            names.iter().map(|e| e.name.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names("/layer"), "upper");
        assert_eq!(names("/usr/lib"), "new old");
        assert!(!fs.exists("/white").expect("looked"));
        // `out` led to /etc of the image, which was not there: a link that leads nowhere.
        assert_eq!(fs.read("/out/passwd").expect("inside"), b"in");
    });
    let refused = import(&image, "", &mut Entries(vec![file("full", "")]));
    assert!(matches!(refused, Err(Error::WrongKind { .. })), "{refused:?}");
    let missing = import(&image, "", &mut Entries(vec![other("x", hard("none"))]));
    assert!(matches!(missing, Err(Error::NotFound(_))), "{missing:?}");
    let root = import(&image, "", &mut Entries(vec![file("", "")]));
    assert!(matches!(root, Err(Error::IsADirectory(_))), "{root:?}");
}

#[test]
fn what_a_directory_hands_down_gives_way_to_what_the_entry_says() {
    let dir = tempfile::tempdir().expect("a directory");
    let image = blank(dir.path(), &["-t", "ext4"]);
    let at = tempfile::tempdir().expect("a directory");
    let mount = Mount::image(&image, at.path());
    let home = at.path().join("home");
    std::fs::create_dir(&home).expect("a directory");
    run("setfacl", &["-d", "-m", "u:7:rwx", text(&home)]);
    run("chown", &["5:6", text(&home)]);
    run("chmod", &["2775", text(&home)]);
    drop(mount);
    let tree = tempfile::tempdir().expect("a directory");
    std::fs::write(tree.path().join("file"), "x").expect("a file");
    std::fs::create_dir(tree.path().join("dir")).expect("a directory");
    let mut warnings = Vec::new();
    edit(&image, |tx| {
        let mut sink = ExtSink::new(tx, &TreePath::new(b"home/deep").expect("a path"));
        let mut owned = Owned::new(&mut sink, Some(1), Some(2));
        DirSource::new(tree.path()).feed(&mut owned, &mut |warning| warnings.push(warning))?;
        sink.finish(&mut |warning| panic!("{warning}"))
    })
    .expect("imported");
    let seen = seen_by_the_kernel(&image);
    let line = |name: &str| seen.lines().find(|line| line.starts_with(name)).expect(name);
    assert!(line("\"home/deep/file\"").starts_with("\"home/deep/file\" 0644 1:2 "), "{seen}");
    assert!(!line("\"home/deep/file\"").contains("acl"), "{seen}");
    assert!(line("\"home/deep/dir\"").starts_with("\"home/deep/dir\" 0755 1:2 "), "{seen}");
    assert!(!line("\"home/deep/dir\"").contains("acl"), "{seen}");
    assert!(line("\"home\"").contains("acl_default"), "{seen}");
}
