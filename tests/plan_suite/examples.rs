//! The examples that we ship: each becomes a plan, and xl's own parser reads its configuration back as meant.

use std::fs;
use std::path::{Path, PathBuf};

use autoxen::facts::{Facts, HostFile, ImageFacts, InputFacts, RootFacts, VolumeFacts};
use autoxen::guest::init::Init;
use autoxen::plan::{Options, plan};
use autoxen::xmf;
use autoxen::xmf::model::{BootFile, Document, FileContent, ImageFile, MountPoint};

use crate::judge::{meaning, read_back};

/// Facts of images that are just what `document` says they are.
fn facts(document: &Document) -> Facts {
    let general = &document.general;
    let boot = [&general.kernel, &general.ramdisk].into_iter().flatten();
    let boot = boot.filter_map(|file| match &file.value {
        BootFile::Host(name) => Some(name),
        BootFile::NewestInImage | BootFile::InImage(_) => None,
    });
    let sources = document.images.iter().flat_map(|image| &image.files);
    let sources = sources.filter_map(|file| match &file.content {
        FileContent::Host(name) => Some(&name.value),
        FileContent::Text(_) | FileContent::Directory | FileContent::Symlink(_) => None,
    });
    let host_files = boot.chain(sources).map(|name| HostFile {
        name: name.clone(),
        path: Path::new("/srv").join(name),
        len: 1,
    });
    let inputs = document.jobs.iter().flat_map(|job| &job.inputs);
    let inputs = inputs.map(|input| InputFacts {
        path: Path::new("/srv").join(&input.source.value),
        len: 1,
        mode: 0o644,
    });
    Facts {
        inputs: inputs.collect(),
        images: document.images.iter().map(|image| image_facts(document, image)).collect(),
        host_files: host_files.collect(),
    }
}

fn image_facts(document: &Document, image: &ImageFile) -> ImageFacts {
    let Some(url) = &image.url else {
        let len = image.size.as_ref().expect("a disk without a url has a size").value;
        return ImageFacts { len, ..ImageFacts::default() };
    };
    // All that the document says of this file, whatever partition it is about.
    let same = document
        .images
        .iter()
        .filter(|other| other.url.as_ref().map(|url| &url.value) == Some(&url.value));
    let volumes = same.map(|image| VolumeFacts {
        partition: image.partition.as_ref().map(|number| number.value),
        filesystem: Some(image.filesystem.value.clone()),
        // One for each image of the document.
        uuid: Some(format!("{:08x}-8483-4772-8e79-3d69d8477de4", image.span.start)),
        label: image.label.as_ref().map(|label| label.value.clone()).or(Some("data".into())),
        ..VolumeFacts::default()
    });
    let is_root = matches!(&image.mountpoint.value, MountPoint::Path(path) if path == "/");
    let kernel = |name: &str| format!("{name}-6.1.0-28-amd64");
    ImageFacts {
        path: Some(
            Path::new("/srv/images").join(Path::new(&url.value).file_name().expect("a name")),
        ),
        len: 1 << 30,
        table: image.partition.as_ref().map(|_| "gpt"),
        volumes: volumes.collect(),
        root: is_root.then(|| RootFacts {
            boot: vec![kernel("vmlinuz"), kernel("initrd.img")],
            inits: vec![Init::Systemd],
            ..RootFacts::default()
        }),
        ..ImageFacts::default()
    }
}

#[test]
fn xl_reads_every_example_back_as_meant() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/examples");
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 8, "{files:?}");
    let (mut texts, mut meanings) = (Vec::new(), Vec::new());
    for file in &files {
        let checked = xmf::check(&fs::read(file).unwrap());
        let document = checked.document.unwrap_or_else(|| panic!("{}", file.display()));
        let options = Options { name_default: "example".into(), ..Options::default() };
        let plan = plan(&document, &facts(&document), &options)
            .unwrap_or_else(|findings| panic!("{}: {findings:#?}", file.display()));
        texts.push(plan.domain.in_directory(Path::new("/srv/ready")).unwrap().to_string());
        meanings.push(meaning(plan.domain.parts(), "/srv/ready"));
    }
    for ((file, read), meant) in files.iter().zip(read_back(&texts)).zip(meanings) {
        assert_eq!(read, Ok(meant), "{}", file.display());
    }
}
